"""That nothing hangs: large problems are refused, or looked at in part, and both at once."""

from __future__ import annotations

import time
from unittest import mock

import numpy as np
import pytest
from hypothesis import given

from strategies import cases, few
from twofold import explain
from twofold.errors import GeometryError
from twofold.explain import limits
from twofold.explain.arithmetic import by_taps

SECONDS = 5.0  # what a user may have to wait; the machine of a test may be slow, so these are cases of far below one


@pytest.fixture(autouse=True)
def soon():
    start = time.process_time()
    yield
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("conv i100000000 k100000000", "x of shape .* has 100000000 cells, and at most 10000000 numbers are made up"),
        ("conv i1 k1 n100000000", "x of shape .* numbers are made up"),
        ("conv ci9999 co9999 i1 k1", "weight of shape .* numbers are made up"),
        ("conv i" + "9" * 900 + " k1", "64-bit"),
        ("conv i1 k1 n" + "9" * 30, "64-bit"),
        ("conv i5 k3 p" + "9" * 30 + " s" + "9" * 30, "64-bit"),
        ("conv i3 k2 s" + "9" * 900, "64-bit"),
        ("conv i" + "x".join("1" * 70) + " k1", "axes"),
    ],
)
def test_problems_too_large_are_refused_in_a_sentence(text, words):
    with pytest.raises(GeometryError, match=words) as caught:
        explain.problem(text)
    assert len(caught.value.sentence) < 300 and caught.value.repair


LARGE = [
    "conv i500000 k250000", "conv i5 k3 p100000000", "conv i5 k3 p100000000 reflect", "conv i400000 k200000",
    "conv_transpose i2 k2 s100000000", "conv_transpose i2 k2 s100000000 p40000000 reflect", "conv i40000 k9000",
    "conv_transpose i19000 k9000", "conv i300 k1 p99999999",
]  # fmt: skip


@pytest.mark.parametrize("text", LARGE)
def test_of_an_output_beyond_the_limits_everything_else_can_be_seen(text):
    trace = explain.problem(text)
    assert trace.withheld
    with pytest.raises(GeometryError, match="at most"):
        _ = trace.y
    assert f"the output is not shown as a whole: {trace.withheld}" in str(trace)
    assert repr(trace) and repr(trace.steps) and repr(trace.gathered)
    assert "image/svg+xml" in trace._repr_mimebundle_() or trace.terms > limits.TERMS
    for refused in (lambda: trace.to_json(), lambda: trace.text(full=True)):
        with pytest.raises(GeometryError, match="at most"):
            refused()
    if trace.problem.op == "conv_transpose":
        assert trace.canvas
    if trace.problem.op == "conv_transpose" and np.prod(trace.problem.out_size) > limits.CELLS:
        with pytest.raises(GeometryError, match="at most"):
            _ = trace.intermediates[1]


def test_a_step_of_a_large_problem_is_drawn_without_its_output(tmp_path):
    trace = explain.problem("conv i5 k3 p100000000")
    middle = 10**8 + 1
    assert trace.save(tmp_path / "k.svg", step=middle) == f"step {middle} of 200000003"
    assert trace.steps[middle].result == 20 and "20" in [getattr(i, "text", "") for i in trace.scene(middle).items]
    assert any("not shown as a whole" in getattr(i, "text", "") for i in trace.scene(middle).items)
    given_arrays = explain.conv1d(np.ones(400_000), np.ones(200_000), stride=199_999)
    assert not given_arrays.withheld and given_arrays.y.tolist() == [200_000.0] * 2


def test_a_step_of_too_many_products_is_refused_and_the_text_says_so():
    trace = explain.problem("conv i1000000 k1000000")
    for refused in (lambda: trace.steps[0], lambda: trace.scene(), lambda: trace.save("k.svg")):
        with pytest.raises(GeometryError, match="step 0 has 1000000 products, and at most 100000 are shown") as caught:
            refused()
        assert caught.value.repair
    assert "no step is shown here: step 0 has 1000000 products" in str(trace)
    assert set(trace._repr_mimebundle_()) == {"text/plain"}


@pytest.mark.parametrize(
    "text",
    [
        "conv i1 k1 n1000000", "conv co1000000 i1 k1", "conv i3000000 k1", "conv_transpose i1000000 k3",
        "conv i1500x1500 k3x3", "conv_transpose i700x700 k3x3 s2", "conv i4x4x4x4x4x4x4x4 k1",
        "conv_transpose i3 k3 s3000000",
    ],
)  # fmt: skip
def test_large_problems_within_the_limits_are_shown(text):
    trace = explain.problem(text)
    assert not trace.withheld and str(trace) and trace._repr_svg_()
    assert len(str(trace)) < 40_000 and len(trace.scene().items) < 8000
    with pytest.raises(GeometryError, match="at most"):
        trace.text(full=True)


def test_a_large_bias_is_shortened():
    trace = explain.problem("conv co300000 i1 k1", bias=np.arange(300_000))
    assert "... 299994 more ..." in str(trace) and len(str(trace)) < 5000
    assert trace.scene(0)


def test_a_step_has_a_short_repr():
    assert repr(explain.problem("conv i3 k2").steps[1]) == "<Step 1, dot: 1*2 + 2*3 = 2 + 6 = 8>"
    assert len(repr(explain.problem("conv i50000 k50000").steps[0])) < 300


def test_steps_with_many_products_make_few_frames(tmp_path):
    trace = explain.problem("conv i100005 k100000")
    assert "... 3 more steps" not in str(trace) and "... 5 more steps" in str(trace)
    with pytest.raises(GeometryError, match="the animation would hold 4 steps of 100000 products"):
        trace.save(tmp_path / "a.gif", steps=[0, 1, 2, 3])
    small = explain.problem("conv i20 k3000 p3000")
    assert small.save(tmp_path / "b.gif", steps=range(2)) == "2 frames: chosen from 3021 steps"


# -- sums made tap by tap ---------------------------------------------------------------------------------------------


@given(cases())
@few(60)
def test_sums_over_whole_arrays_have_the_bits_of_the_rows(case):
    x, weight, _ = case.arrays
    function = explain.conv if case.op == "conv" else explain.conv_transpose
    trace = function(x / 7, weight / 3, None, **case.options)
    operands = trace.operands[:2]
    with mock.patch("twofold.explain.arithmetic._MANY", 0):
        fast = by_taps(trace.problem, *operands)
    assert fast is not None or trace.problem.padding_mode != "zeros"
    if fast is None:
        return
    assert np.array_equal(fast, trace.products_of(0, int(np.prod(trace.problem.coarse_shape))))


def test_the_last_running_sum_of_a_large_picture_is_that_of_its_steps():
    trace = explain.problem("conv_transpose i40 k3 s2 op1")
    assert np.array_equal(trace.steps[-1].running, trace.y) and not trace.covered(-1)[-1]
    again = explain.problem("conv_transpose i40 k3 s2 op1")
    for index in range(40):
        running = again.steps[index].running
    assert np.array_equal(running, trace.y) and np.array_equal(again.covered(-1), trace.covered(-1))
