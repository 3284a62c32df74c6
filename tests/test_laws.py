"""Laws that tie the operations to one another and to the geometry; integers in float64, so that `==` is exact."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import twofold
from strategies import MODES, Case, cases, few
from twofold.geometry import Axis


def run(case: Case, x, weight, bias=None):
    return getattr(twofold, case.op)(x, weight, bias, **case.options)


@given(cases(max_rank=4, op="conv"))
def test_conv_transpose_is_the_adjoint_of_conv(case):
    """<conv(x), y> == <x, conv_transpose(y)>, exactly, in every padding mode and with flip."""
    x, weight, _ = case.arrays
    y = case.integers(*case.y_shape, salt=4)
    options = {name: value for name, value in case.options.items() if name != "output_padding"}
    back = twofold.conv_transpose(y, weight, output_size=case.in_size, **options)
    assert (twofold.conv(x, weight, **options) * y).sum() == (x * back).sum()


@given(cases(max_rank=3))
def test_the_weight_gradient_is_the_third_contraction(case):
    """<operation(x, w), g> == <w, wgrad(x, g)>, exactly; a transposed layer swaps the arguments."""
    x, weight, _ = case.arrays
    grad = case.integers(*case.y_shape, salt=4)
    options = {name: value for name, value in case.options.items() if name != "output_padding"}
    sides = (x, grad) if case.op == "conv" else (grad, x)
    grad_weight = twofold.conv_weight_gradient(*sides, case.kernel_size, **options)
    assert grad_weight.shape == weight.shape
    assert (run(case, x, weight) * grad).sum() == (weight * grad_weight).sum()


@few(30)
@given(cases(max_rank=2, op="conv_transpose"))
def test_a_transposed_convolution_is_the_sum_of_what_each_input_cell_paints(case):
    x, weight, bias = case.arrays
    total = np.zeros(case.y_shape) + bias.reshape(-1, *[1] * case.rank)
    for cell in np.ndindex(*x.shape):
        one_hot = np.zeros_like(x)
        one_hot[cell] = 1
        total += x[cell] * run(case, one_hot, weight)
    assert (run(case, x, weight, bias) == total).all()


@given(cases(max_rank=3))
def test_the_operations_are_linear_in_input_and_weight(case):
    x, weight, bias = case.arrays
    x2, weight2 = case.integers(*x.shape, salt=7), case.integers(*weight.shape, salt=8)
    assert (run(case, 3 * x - x2, weight) == 3 * run(case, x, weight) - run(case, x2, weight)).all()
    assert (run(case, x, weight + weight2) == run(case, x, weight) + run(case, x, weight2)).all()
    channels = bias.reshape(-1, *[1] * case.rank)
    assert (run(case, x, weight, bias) == run(case, x, weight) + channels).all()


def dense_sum(x: np.ndarray, weights: np.ndarray, shifts: range, cells: int) -> np.ndarray:
    """A stride-1 sum of one row, as a phase says it: cell q takes weights[j] * x[q + shifts[j]]."""
    y = np.zeros(cells)
    for q in range(cells):
        y[q] = sum(w * x[q + shift] for w, shift in zip(weights, shifts, strict=True) if 0 <= q + shift < len(x))
    return y


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_the_phases_interleaved_are_the_whole_transposed_convolution(stride):
    for k, d, before, extra in itertools.product((1, 2, 3, 5), (1, 2, 3), (0, 1, 3), (0, 1)):
        case = Case("conv_transpose", (5,), (k,), (stride,), (d,), ((0, 0),), (0,), seed=k)
        x, weight, _ = case.arrays
        fine = 4 * stride + d * (k - 1) + 1 - before + extra
        if fine < 1 or extra >= max(stride, d):
            continue
        whole = twofold.conv_transpose(
            x, weight, stride=stride, dilation=d, padding=((before, 0),), output_padding=extra
        )[0, 0]
        interleaved = np.full(fine, np.nan)
        for phase in Axis(k, stride, d, before, 0).phases():
            cells = interleaved[phase.residue :: stride]
            cells[:] = dense_sum(x[0, 0], weight[0, 0][list(phase.taps)], phase.shifts, len(cells))
        assert (whole == interleaved).all()


@given(cases(max_rank=2, op="conv_transpose", modes=("zeros",)))
def test_overlap_is_the_transposed_convolution_of_ones(case):
    one = Case(**{**case.__dict__, "in_channels": 1, "out_channels": 1, "groups": 1, "batch": 1})
    y = run(one, np.ones(one.x_shape), np.ones(one.weight_shape))[0, 0]
    counts = [
        Axis(k, s, d, *pads).overlap(n, m)
        for k, s, d, pads, n, m in zip(
            one.kernel_size, one.stride, one.dilation, one.padding, one.in_size, one.out_size, strict=True
        )
    ]
    expected = np.array(counts[0]) if len(counts) == 1 else np.multiply.outer(*map(np.array, counts))
    assert (y == expected).all()


@given(cases(max_rank=3))
def test_flip_is_a_turned_kernel(case):
    x, weight, bias = case.arrays
    turned = np.flip(weight, tuple(range(2, weight.ndim)))
    other = Case(**{**case.__dict__, "flip": not case.flip})
    assert (run(other, x, turned, bias) == run(case, x, weight, bias)).all()


@given(cases(max_rank=2))
def test_groups_are_separate_layers_side_by_side(case):
    x, weight, bias = case.arrays
    one = Case(
        **{
            **case.__dict__,
            "groups": 1,
            "in_channels": case.in_channels // case.groups,
            "out_channels": case.out_channels // case.groups,
        }
    )
    parts = zip(np.split(x, case.groups, 1), np.split(weight, case.groups), np.split(bias, case.groups), strict=True)
    side_by_side = np.concatenate([run(one, *part) for part in parts], axis=1)
    assert (run(case, x, weight, bias) == side_by_side).all()


@given(cases(max_rank=2))
def test_the_images_of_a_batch_do_not_meet(case):
    x, weight, bias = case.arrays
    y = run(case, x, weight, bias)
    for i in range(case.batch):
        assert (run(case, x[i : i + 1], weight, bias) == y[i : i + 1]).all()
        assert (run(case, x[i], weight, bias) == y[i]).all()


@given(cases(max_rank=3))
def test_the_order_of_the_axes_does_not_matter(case):
    x, weight, bias = case.arrays
    turn = (0, 1, *range(x.ndim - 1, 1, -1))
    sides = ("in_size", "kernel_size", "stride", "dilation", "padding", "output_padding")
    turned = Case(**{**case.__dict__, **{name: getattr(case, name)[::-1] for name in sides}})
    assert (
        run(turned, x.transpose(turn), weight.transpose(turn), bias).transpose(turn) == run(case, x, weight, bias)
    ).all()


@few(30)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(2, 9), st.data())
def test_changing_later_inputs_never_changes_earlier_outputs_of_a_causal_layer(k, s, d, n, data):
    case = Case("conv", (n,), (k,), (s,), (d,), ((0, 0),), (0,), seed=data.draw(st.integers(0, 99)))
    x, weight, _ = case.arrays
    now = data.draw(st.integers(0, n - 1))
    changed = x.copy()
    changed[..., now:] += 1 + np.abs(x[..., now:])
    options = {"stride": s, "dilation": d, "padding": "causal"}
    before, after = (twofold.conv(array, weight, **options) for array in (x, changed))
    earlier = -(-now // s)  # output cell t stands at input cell t * s
    assert (before[..., :earlier] == after[..., :earlier]).all()
    before, after = (twofold.conv_transpose(array, weight, **options) for array in (x, changed))
    assert before.shape[2] == n * s
    assert (before[..., : now * s] == after[..., : now * s]).all()


@pytest.mark.parametrize("mode", MODES)
def test_padding_then_convolving_is_one_operation(mode):
    case = Case("conv", (6, 5), (3, 2), (2, 1), (1, 2), ((2, 1), (0, 3)), (0, 0), 2, 3, 4, padding_mode=mode)
    x, weight, bias = case.arrays
    numpys = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    padded = np.pad(x, ((0, 0), (0, 0), *case.padding), mode=numpys)
    expected = twofold.conv(padded, weight, bias, stride=case.stride, dilation=case.dilation)
    assert (run(case, x, weight, bias) == expected).all()


@given(cases(max_rank=3))
def test_a_kernel_of_one_one_at_stride_one_is_the_identity(case):
    x = case.arrays[0]
    weight = np.eye(case.in_channels).reshape(case.in_channels, case.in_channels, *[1] * case.rank)
    assert (twofold.conv(x, weight) == x).all()
    assert (twofold.conv_transpose(x, weight) == x).all()
