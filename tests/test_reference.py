"""The definition against torch, SciPy and loops over Python's own integers, over drawn problems."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from strategies import MODES, Case, cases, few
from twofold import reference
from twofold.errors import GeometryError
from twofold.geometry import Axis, Problem


def described(case: Case, **more) -> Problem:
    return Problem.of(
        case.op,
        case.in_size,
        case.kernel_size,
        in_channels=case.in_channels,
        out_channels=case.out_channels,
        batch=case.batch,
        **case.options,
        **more,
    )


@given(cases(max_rank=3))
def test_both_operations_equal_torch(case):
    x, weight, bias = case.arrays
    y = reference.run(described(case), x, weight, bias)
    oracle = oracles.torch_conv if case.op == "conv" else oracles.torch_conv_transpose
    expected = oracle(x, weight, bias, **case.options).numpy()
    assert y.dtype == expected.dtype and y.shape == expected.shape
    assert (y == expected).all()


@given(cases(max_rank=3, modes=("zeros",)))
def test_both_operations_equal_scipy(case):
    x, weight, _ = case.arrays
    options = {name: value for name, value in case.options.items() if name != "padding_mode"}
    oracle = oracles.scipy_conv if case.op == "conv" else oracles.scipy_conv_transpose
    expected = oracle(x, weight, **options)
    y = reference.run(described(case), x, weight)
    assert y.shape == expected.shape and (y == expected).all()


@few(20)
@given(cases(max_rank=4))
def test_both_operations_equal_a_loop_over_python_integers(case):
    x, weight, bias = (array.astype(np.int64) for array in case.arrays)
    y = reference.run(described(case, dtype="int64"), x, weight, bias)
    assert y.dtype == np.int64
    assert (y == oracles.brute(case, x, weight, bias)).all()


@few(20)
@given(cases(max_rank=3))
def test_the_weight_gradient_equals_a_loop_over_python_integers(case):
    x, grad_y = case.integers(*case.x_shape, salt=1), case.integers(*case.y_shape, salt=4)
    fine, coarse = (x, grad_y) if case.op == "conv" else (grad_y, x)
    grad = reference.run(described(case).weight_gradient(), fine, coarse)
    assert grad.shape == case.weight_shape
    assert (grad == oracles.brute_weight_gradient(case, fine, coarse)).all()


@few(20)
@given(cases(max_rank=2), st.integers(2**62, 2**66))
def test_sums_beyond_int64_are_exact_or_refused(case, scale):
    x, weight, bias = (array.astype(np.int64) for array in case.arrays)
    x = x * (scale // 81)
    expected = oracles.brute(case, x, weight, bias)
    fits = bool((expected >= -(2**63)).all() and (expected < 2**63).all())
    if fits:
        y = reference.run(described(case, dtype="int64"), x, weight, bias)
        assert y.dtype == np.int64 and (y == expected).all()
    else:
        with pytest.raises(OverflowError, match=r"which int64 does not hold(.|\n)*try out_dtype=np.float64"):
            reference.run(described(case, dtype="int64"), x, weight, bias)


@given(
    st.integers(2, 7),
    st.integers(0, 20),
    st.integers(0, 20),
    st.sampled_from([("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")]),
)
def test_fine_source_is_numpys_pad_of_the_indices(size, before, after, modes):
    ours, numpys = modes
    expected = np.pad(np.arange(size), (before, after), mode=numpys)
    assert list(reference.fine_source(Axis(3, pad_before=before, pad_after=after), size, ours)) == list(expected)


def test_fine_source_with_a_negative_pad_after_leaves_cells_out():
    assert list(reference.fine_source(Axis(3, pad_before=1, pad_after=-2), 5, "circular")) == [4, 0, 1, 2]


def test_fine_source_of_zeros_is_refused():
    with pytest.raises(GeometryError, match="padding_mode 'zeros' copies no cells"):
        reference.fine_source(Axis(3), 5, "zeros")


@pytest.mark.parametrize("mode", MODES)
def test_an_output_padding_of_stride_or_more_has_an_exact_adjoint(mode):
    problem = Problem.parse(f"conv_transpose n1 ci1 co1 i4 k3 s2 p1 d5 op4 {mode} f64")
    case = Case("conv_transpose", (4,), (3,), (2,), (5,), ((1, 1),), (4,), padding_mode=mode, seed=1)
    x, weight, _ = case.arrays
    y = case.integers(*case.y_shape, salt=5)
    assert problem.adjoint().coarse_size == (4,)
    forward, backward = reference.run(problem, x, weight), reference.run(problem.adjoint(), y, weight)
    assert (forward * y).sum() == (x * backward).sum()
    assert (forward == oracles.brute(case, x, weight)).all()


def test_shapes_that_are_not_the_problems_are_refused():
    problem = Problem.parse("i5 k3")
    with pytest.raises(GeometryError, match=r"x has shape \(1, 1, 6\), but the problem says \(1, 1, 5\)"):
        reference.run(problem, np.ones((1, 1, 6)), np.ones((1, 1, 3)))
    with pytest.raises(GeometryError, match=r"weight has shape \(1, 1, 4\), but the problem says \(1, 1, 3\)"):
        reference.run(problem, np.ones((1, 1, 5)), np.ones((1, 1, 4)))
    with pytest.raises(GeometryError, match=r"grad_y has shape \(1, 1, 9\), but the problem says \(1, 1, 3\)"):
        reference.run(problem.weight_gradient(), np.ones((1, 1, 5)), np.ones((1, 1, 9)))


@pytest.mark.parametrize("text", ["conv i9 k3 p2", "conv_transpose i9 k3 s2", "conv ci4 co6 i5x5 k3 circular p9"])
def test_the_workspace_is_an_upper_bound_of_what_is_allocated(text):
    problem = Problem.parse(text.replace("i9", "i9000").replace("i5x5", "i90x90"))
    in_shape = problem.fine_shape if problem.op == "conv" else problem.coarse_shape
    x, weight = np.ones(in_shape, np.float32), np.ones(problem.weight_shape, np.float32)
    reference.run(problem, x, weight)
    tracemalloc.start()
    y = reference.run(problem, x, weight)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= y.nbytes + reference.workspace(problem, 4, widens=False) + 50_000  # Python's own objects


@pytest.mark.parametrize(
    "text",
    [
        "conv i5 k99 p60",
        "conv ci2 co2 i4x5 k70x3 s2x1 p40x1 g2 flip",
        "conv i99 k90 s3 d1",
        "conv i150 k70 s2 d2",
        "conv ci2 co3 i3x3 k80x80 p45",
        "conv_transpose ci3 co2 i2x3 k80x80 s3x2 d1x2",
        "conv_transpose i90 k80 s2 p84",
        "conv_weight_gradient ci2 co2 i300 k90 s3 d2 g2",
    ],
)
def test_kernels_of_more_taps_than_cells_equal_torch(text):
    """Beyond 64 taps the loop goes over the cells of the smaller side; torch's loop knows no such choice."""
    problem = Problem.parse(text)
    rng = np.random.default_rng(7)
    fine, coarse, weight = (
        rng.integers(-9, 10, shape).astype(float)
        for shape in (problem.fine_shape, problem.coarse_shape, problem.weight_shape)
    )
    turned = np.flip(weight, tuple(range(2, weight.ndim))) if problem.flip else weight
    x, w = torch.tensor(fine, requires_grad=True), torch.tensor(turned.copy(), requires_grad=True)
    axes = problem.geometry.axes
    y = getattr(torch.nn.functional, f"conv{problem.rank}d")(
        x, w, None, [a.stride for a in axes], [a.pad_before for a in axes], [a.dilation for a in axes],
        problem.geometry.groups,
    )  # fmt: skip
    y.backward(torch.tensor(coarse))
    expected = {"conv": y, "conv_transpose": x.grad, "conv_weight_gradient": w.grad}[problem.op].detach().numpy()
    first, second = {
        "conv": (fine, weight), "conv_transpose": (coarse, weight), "conv_weight_gradient": (fine, coarse)
    }[problem.op]  # fmt: skip
    assert np.array_equal(reference.run(problem, first, second), expected)


def test_a_kernel_too_large_to_list_is_summed_in_stretches():
    kernel = np.broadcast_to(1.0, (10_000_000,))
    assert conv_total(np.ones(3), kernel) == 3 * 10_000_000


def conv_total(x, kernel):
    problem = Problem.of("conv_transpose", (3,), (len(kernel),), dtype="float64")
    return reference.run(problem, x[None, None], kernel[None, None]).sum()
