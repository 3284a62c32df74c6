"""Traces: the laws of a trace over drawn problems, the worked numbers, and what must not cost anything."""

from __future__ import annotations

import inspect
import itertools
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given

from oracles import torch_conv, torch_conv_transpose
from strategies import Case, cases, few
from twofold import explain
from twofold.errors import GeometryError, UnsupportedError
from twofold.explain.numbers import number
from twofold.explain.steps import Lazy
from twofold.explain.trace import Trace

A = np.arange(1, 10).reshape(3, 3)
B = [[1, 2], [3, 4]]
K = [[1, 2], [3, 4]]
Z = [[0, 1], [2, 3]]


def traced(case: Case, *, bias: bool = True, fractions: bool = False) -> Trace:
    x, weight, b = case.arrays
    if fractions:
        x, weight, b = x / 7, weight / 3, b / 11
    function = explain.conv if case.op == "conv" else explain.conv_transpose
    return function(x, weight, b if bias else None, **case.options)


# -- laws -------------------------------------------------------------------------------------------------------------


@given(cases())
def test_y_is_torchs(case):
    oracle = torch_conv if case.op == "conv" else torch_conv_transpose
    options = case.options
    expected = oracle(*case.arrays, **options).numpy()
    assert np.array_equal(traced(case).y, expected)


@given(cases())
def test_the_table_summed_by_out_is_y(case):
    trace = traced(case, bias=False)
    total = np.zeros(trace.y.size)
    np.add.at(total, trace.taps.out, trace.weight.ravel()[trace.taps.weight] * trace.x.ravel()[trace.taps.inp])
    assert np.array_equal(total.reshape(trace.y.shape), trace.y)


@given(cases())
@few(30)
def test_the_steps_have_the_bits_of_y(case):
    trace = traced(case, fractions=True)
    steps = trace.gathered
    assert len(steps) == trace.y.size
    for step, value in zip(steps, trace.y.ravel().tolist(), strict=True):
        assert step.result == value
        total = 0.0
        for product in [t.product for t in step.terms] + [step.bias]:
            total += product
        assert total == value
        assert step.text.split("\n")[0].endswith(f"= {number(value)}")


@given(cases(op="conv_transpose"))
@few(30)
def test_the_intermediate_arrays_add_up_to_y(case):
    trace = traced(case, bias=False)
    assert len(trace.intermediates) == len(trace.steps) == trace.x.size
    total = np.zeros(trace.y.shape)
    for step, painted in zip(trace.steps, trace.intermediates, strict=True):
        total = total + painted
        assert np.array_equal(step.running, total)
        assert np.array_equal(step.painted, painted)
    assert np.array_equal(total, trace.y)


@given(cases())
@few(30)
def test_a_step_reads_and_writes_the_cells_of_its_rows(case):
    trace = traced(case)
    index = case.seed % len(trace.steps)
    step = trace.steps[index]
    focus = np.unravel_index(index, case.y_shape if case.op == "conv" else case.x_shape)
    assert step.focus.cells == (tuple(map(int, focus)),)
    for t in step.terms:
        weight = trace.weight[t.tap]
        value = 0.0 if t.padding else trace.x[t.inp]
        assert (t.weight, t.input, t.product) == (weight, value, 0.0 if t.padding else weight * value)
        assert t.out in step.writes.cells and t.tap in step.reads[1].cells
    if case.op == "conv":  # the whole window, padding included
        assert len(step.terms) == np.prod(case.weight_shape[1:])


def test_running_sums_may_be_asked_for_in_any_order():
    trace = explain.conv_transpose2d(B, K)
    forward = [step.running for step in trace.steps]
    for index in (3, 0, 2, 1):
        assert np.array_equal(trace.steps[index].running, forward[index])
    assert trace.covered(0).sum() == 4 and trace.covered(-1).all()


# -- worked numbers of the design -------------------------------------------------------------------------------------


def test_1_and_2_a_dot_product():
    trace = explain.conv2d(A, K)
    assert trace.steps[0].text == "1*1 + 2*2 + 3*4 + 4*5 = 1 + 4 + 12 + 20 = 37"
    assert [cell[2:] for cell in trace.steps[0].reads[0].cells] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert trace.steps[2].text == "1*4 + 2*5 + 3*7 + 4*8 = 4 + 10 + 21 + 32 = 67"
    assert trace.steps[2].aria.startswith("output row 1 column 0 is 67: weight 0,0 (1) times input 1,0 (4), plus ")


def test_4_padding_is_in_the_terms():
    trace = explain.conv2d(A, K, padding=1)
    assert trace.y.tolist() == [[4, 11, 18, 9], [18, 37, 47, 21], [36, 67, 77, 33], [14, 23, 26, 9]]
    step = trace.steps[0]
    assert [t.padding for t in step.terms] == [True, True, True, False]
    assert step.text == "1*0 + 2*0 + 3*0 + 4*1 = 0 + 0 + 0 + 4 = 4"


def test_5_dilation_and_digits():
    assert explain.conv2d(A, K, dilation=2).y.tolist() == [[64]]
    assert explain.problem("conv i3x3 k2x2", weight="digits").y.tolist() == [[5421, 6532], [8754, 9865]]


def test_6_painting():
    trace = explain.conv_transpose2d(B, K)
    assert trace.intermediates[2].tolist() == [[0, 0, 0], [3, 6, 0], [9, 12, 0]]
    assert trace.y.tolist() == [[1, 4, 4], [6, 20, 16], [9, 24, 16]]
    assert len(trace.gathered[4].terms) == 4 and trace.gathered[4].result == 20


def test_7_stride():
    trace = explain.conv_transpose2d(B, K, stride=2)
    assert trace.y.tolist() == [[1, 2, 2, 4], [3, 4, 6, 8], [3, 6, 4, 8], [9, 12, 12, 16]]
    assert {len(step.terms) for step in trace.gathered} == {1}
    assert explain.problem("conv_transpose i2x2 k2x2", weight="digits").y[1, 1] == 1234


def test_8_output_padding_shows_real_values_only_where_padding_cropped_some():
    full = explain.problem("conv_transpose i2x2 k3x3 s2")
    assert full.y.tolist() == [
        [1, 2, 5, 4, 6], [4, 5, 14, 10, 12], [10, 14, 36, 24, 30], [12, 15, 34, 20, 24], [21, 24, 55, 32, 36],
    ]  # fmt: skip
    assert np.array_equal(explain.problem("conv_transpose i2x2 k3x3 s2 p1").y, full.y[1:4, 1:4])
    grown = explain.problem("conv_transpose i2x2 k3x3 s2 p1 op1")
    assert grown.y[-1].tolist() == [24, 55, 32, 36]
    assert [(c.size, c.before, c.after) for c in grown.canvas] == [(5, 1, 0)] * 2
    unpainted = explain.problem("conv_transpose i2x2 k3x3 s2 op1")
    assert not unpainted.y[-1].any() and unpainted.canvas[0].after == -1


def test_18_one_and_three_axes():
    assert explain.conv_transpose1d([1, 2, 3], [1, 10, 100]).y.tolist() == [1, 12, 123, 230, 300]
    assert explain.conv_transpose1d([1, 2, 3], [1, 10, 100], stride=2).y.tolist() == [1, 10, 102, 20, 203, 30, 300]
    y = explain.problem("conv i3x3x3 k2x2x2", weight=np.ones((2, 2, 2))).y
    assert y.ravel().tolist() == [60, 68, 84, 92, 132, 140, 156, 164]


def test_the_anchor():
    assert explain.conv_transpose2d(Z, Z).y.tolist() == [[0, 0, 1], [0, 4, 6], [4, 12, 9]]


# -- channels, bias, views --------------------------------------------------------------------------------------------


def test_channels_have_a_line_of_sums():
    x = np.arange(1, 19).reshape(2, 3, 3)
    trace = explain.conv2d(x, np.arange(1, 9).reshape(1, 2, 2, 2), [100])
    first, second = trace.steps[0].text.split("\n")
    assert first.startswith("1*1 + 2*2") and first.endswith("+ 112 + 100 = 456")
    assert second == "channel 0: 37, channel 1: 319, bias 100, sum 456"


def test_channels_of_a_group_have_their_own_numbers():
    trace = explain.problem("conv ci4 co2 g2 i2 k1")
    assert [channel for channel, _ in trace.steps[2].channels] == [2, 3]
    back = explain.problem("conv_transpose ci4 co2 g2 i2 k1")
    assert [channel for channel, _ in back.gathered[2].channels] == [2, 3]


def test_views():
    trace = explain.conv_transpose2d(B, K)
    gather = trace.view("transposed", "gather")
    assert len(gather.steps) == 9 and gather.steps[4].text == "4*1 + 3*2 + 2*3 + 1*4 = 4 + 6 + 6 + 4 = 20"
    assert gather.view(tab="paint").steps[0].kind == "scatter"
    with pytest.raises(GeometryError, match="no view 'columns'"):
        trace.view("columns")
    with pytest.raises(GeometryError, match="no view 'filter'"):
        trace.view("filter")
    with pytest.raises(GeometryError, match="no tab 'gather'"):
        explain.conv2d(A, K).view(tab="gather")
    for name in ("canvas", "intermediates"):
        with pytest.raises(UnsupportedError, match="conv_transpose"):
            getattr(explain.conv2d(A, K), name)


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_integers_never_wrap():
    big = 2**62
    trace = explain.conv1d([big, big, big], [2, 3])
    assert trace.y.tolist() == [5 * big, 5 * big] == [step.result for step in trace.steps]
    assert explain.conv1d([2**80, 1], [2**80]).y.tolist() == [2**160, 2**80]
    assert explain.conv_transpose1d([big, big], [3, 3]).y.tolist() == [3 * big, 6 * big, 3 * big]
    assert explain.conv1d(np.array([2**64 - 1, 1], np.uint64), np.array([1], np.uint64)).y[0] == 2**64 - 1
    assert explain.conv1d(np.array([200, 100], np.uint8), np.array([2, 2], np.uint8)).y.tolist() == [600]
    assert explain.conv1d([True, True], [True, True]).y.tolist() == [2]


def test_floats_are_exact_or_refused():
    assert explain.conv1d(np.array([0.1], np.float32), [1]).y[0] == float(np.float32(0.1))
    with pytest.raises(UnsupportedError, match="exactly"):
        explain.conv1d([2**53 + 1], [0.5])
    with pytest.raises(UnsupportedError, match="float64"):
        explain.conv1d([10**400], [0.5])


def test_integers_beyond_2_to_the_53_stay_integers_in_a_float_problem():
    assert explain.problem("conv i1 k1", x=[2**53 + 1], weight=[3]).y.tolist() == [3 * (2**53 + 1)]
    assert explain.problem("conv i1 k1", x=[2**70], weight=[3]).y.tolist() == [3 * 2**70]
    assert explain.problem("conv i1 k1", x=[2], weight=[3]).y.dtype == np.float64
    assert explain.conv1d([1, 2], [1], [0.5]).y.tolist() == [1.5, 2.5]


def test_an_error_names_the_call():
    with pytest.raises(GeometryError) as caught:
        explain.conv2d(A, np.ones((4, 4)), stride=2)
    assert "in conv2d(x (3, 3), weight (4, 4), stride=2), axis height" in str(caught.value)


def test_non_finite_numbers_are_printed_and_warn_of_nothing():
    trace = explain.conv1d([float("nan"), float("inf"), 1.0], [0.0, 1.0])
    assert trace.steps[0].text == "0*nan + 1*inf = nan + inf = nan"
    assert trace.steps[1].text == "0*inf + 1*1 = nan + 1 = nan"
    padded = explain.conv1d([1.0], [float("inf")], padding=1)
    assert padded.y.tolist() == [0.0, float("inf"), 0.0] and padded.steps[0].text == "inf*0 = 0"


def test_complex_numbers_are_not_conjugated():
    trace = explain.conv1d([1 + 2j, -1j], [1j, 2])
    assert trace.y.tolist() == [(1 + 2j) * 1j - 2j] == [trace.steps[0].result]
    assert trace.steps[0].text == "(0+1j)*(1+2j) + (2+0j)*(0-1j) = (-2+1j) + (0-2j) = (-2-1j)"


def test_torch_tensors_are_taken():
    import torch

    assert explain.conv2d(torch.arange(1, 10).reshape(3, 3), torch.tensor(K)).y.tolist() == [[37, 47], [67, 77]]
    assert explain.conv1d(torch.ones(2, dtype=torch.bfloat16), torch.ones(1, dtype=torch.bfloat16)).y.tolist() == [1, 1]


def test_empty_arrays_have_no_steps():
    trace = explain.conv2d(np.zeros((0, 1, 3, 3)), np.zeros((1, 1, 2, 2)))
    assert trace.y.shape == (0, 1, 2, 2) and len(trace.steps) == 0 and "empty" in str(trace)
    none = explain.conv2d(np.zeros((1, 0, 3, 3)), np.zeros((1, 0, 2, 2)), [5.0])
    assert none.steps[0].text == "no products + 5 = 5" and (none.y == 5).all()
    back = explain.conv_transpose1d([[[1, 2]]], np.zeros((1, 0, 2), int))
    assert back.y.shape == (1, 0, 3) and back.steps[0].text == "no products"


def test_a_hole_is_made_of_nothing():
    trace = explain.problem("conv_transpose i4 k3 s2 d2")
    assert trace.gathered[1].text == "no products = 0"


# -- cost -------------------------------------------------------------------------------------------------------------


def test_a_million_cells_cost_their_arrays_only():
    x, weight = np.zeros((1000, 1000)), np.ones((5, 5))
    for function in (explain.conv2d, explain.conv_transpose2d):
        tracemalloc.start()
        trace = function(x, weight)
        assert len(trace.steps) >= 992_016
        assert trace.steps[500_000].text and trace.steps[-1].aria and repr(trace) and trace.gathered[-1].text
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 12e6  # x alone is 8 MB


def test_steps_of_an_enormous_output_can_be_looked_at():
    trace = explain.problem("conv i9 k3 p99999999999")
    assert len(trace.steps) == 200_000_000_005
    assert trace.steps[10**11 + 3].result == 1 * 5 + 2 * 6 + 3 * 7
    with pytest.raises(GeometryError, match="200000000005 cells, and at most"):
        _ = trace.y


def test_lazy_sequences_are_sequences():
    calls = []
    lazy = Lazy(5, lambda i: calls.append(i) or i)
    assert len(lazy) == 5 and not calls and lazy[-1] == 4 and lazy[1:3] == (1, 2) and list(lazy) == [0, 1, 2, 3, 4]
    with pytest.raises(IndexError, match="no item 5"):
        lazy[5]


def test_importing_explain_loads_no_pillow():
    code = "import sys, twofold.explain; print([n for n in ('PIL', 'torch', 'scipy', 'llvmlite') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# -- the door ---------------------------------------------------------------------------------------------------------


def test_the_three_forms_agree():
    x, weight = np.arange(9.0).reshape(3, 3), np.arange(4.0).reshape(2, 2)
    plain = explain.conv2d(x, weight)
    assert plain.y.shape == (2, 2)
    assert np.array_equal(explain.conv2d(x[None], weight[None, None]).y, plain.y[None])
    assert np.array_equal(explain.conv2d(x[None, None], weight[None, None]).y, plain.y[None, None])
    assert np.array_equal(explain.conv(x[None, None], weight[None, None]).y, plain.y[None, None])
    assert explain.conv2d(x[None], weight[None, None]).to_json() == plain.to_json()


def test_options_stand_where_torch_has_them():
    x, weight = np.arange(5.0), np.arange(3.0)
    assert explain.conv1d(x, weight, None, 2, 1, 1, 1).problem == explain.problem("conv i5 k3 s2 p1 f64").problem
    assert str(explain.conv_transpose1d(x, weight, None, 2, 1, 1, 1, 2).problem) == (
        "conv_transpose n1 ci1 co1 i5 k3 s2 p1 d2 op1 f64"
    )
    assert explain.conv_transpose1d(x, weight, stride=2, output_size=12).problem.out_size == (12,)


@pytest.mark.parametrize("name", [n for n in explain.__all__ if n.startswith("conv") and n[-1] == "d"])
def test_parameters_have_the_names_and_the_order_of_torchs(name):
    import torch

    line = getattr(torch.nn.functional, name).__doc__.strip().split(" -> ")[0]
    names = [part.split("=")[0].strip() for part in line[line.index("(") + 1 : -1].split(",")]
    own = list(inspect.signature(getattr(explain, name)).parameters)
    assert own[1 : len(names)] == names[1:]  # x is torch's input


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: explain.conv2d([[1, 2], [3]], K), "x is not a rectangular array"),
        (lambda: explain.conv2d(A, [1, 2]), "not x of 2 and weight of 1"),
        (lambda: explain.conv2d(A, np.ones((4, 4))), "kernel does not fit"),
        (lambda: explain.conv2d(np.ones((1, 3, 5, 5)), np.ones((2, 4, 3, 3))), "x has 3 channels, but a weight"),
        (lambda: explain.conv2d(A, K, [1, 2]), "bias has shape"),
        (lambda: explain.conv2d(A, K, stride=0), "stride must be at least 1"),
        (lambda: explain.conv([1, 2, 3], [1, 2]), "weight has 1 axes, but"),
        (lambda: explain.conv2d("a", K), "x must be"),
        (lambda: explain.conv2d([["a"]], K), "holds no numbers"),
        (lambda: explain.problem("conv i3x3 k2x2", x=[1, 2, 3]), "but the problem says"),
        (lambda: explain.problem("conv i3x3 k2x2", weight="letters"), "'digits'"),
        (lambda: explain.problem("conv i9x9 k5x5", weight="digits"), "25 taps"),
        (lambda: explain.problem("conv i3x3 k2x2 int64", x=A + 0.5), "not integers"),
        (lambda: explain.problem("conv_weight_gradient i3 k2"), "weight gradient"),
        (lambda: explain.problem("conv i99999999 k1 ci99999"), "numbers are made up"),
        (lambda: explain.conv2d(A, K, layout="channels_last"), "layout"),
        (lambda: explain.conv_transpose1d([1], [1], stride=2, output_padding=2), "output_padding 2 must be smaller"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(call, words):
    with pytest.raises((GeometryError, UnsupportedError, TypeError), match=words) as caught:
        call()
    assert len(str(caught.value)) < 500


# -- JSON -------------------------------------------------------------------------------------------------------------


def test_json_is_deterministic_and_complete():
    trace = explain.conv_transpose2d([[0.1, float("nan")], [float("-inf"), -0.0]], K, [2])
    text = trace.to_json()
    assert text == explain.conv_transpose2d([[0.1, float("nan")], [float("-inf"), -0.0]], K, [2]).to_json()
    data = json.loads(text)
    assert list(data) == ["problem", "x", "weight", "bias", "y", "count", "steps", "aria", "gathered", "taps"]
    assert data["x"] == [[[[0.1, "nan"], ["-inf", 0]]]] and data["bias"] == [2] and data["count"] == 4
    assert data["steps"] == [step.text for step in trace.steps]
    assert data["gathered"] == [step.text for step in trace.gathered]
    assert data["taps"]["out"] == trace.taps.out.tolist()
    assert ": " not in text.split('"steps"')[0]


def test_json_of_large_traces_is_cut():
    data = json.loads(explain.problem("conv i60x60 k3x3").to_json())
    assert len(data["steps"]) == 1024 and data["count"] == 58 * 58 and data["taps"] is None and data["gathered"] is None
    assert json.loads(explain.conv1d([2**60], [2**10]).to_json())["y"] == [[[str(2**70)]]]


def test_every_step_prints():
    for text in ("conv ci2 co2 i3x3 k2x2 p1 reflect", "conv_transpose i2x2x2 k2x2x2 p1", "conv i2x2x2x2 k1x2x1x2"):
        trace = explain.problem(text)
        assert all(step.text and step.aria for step in itertools.chain(trace.steps, trace.gathered))
