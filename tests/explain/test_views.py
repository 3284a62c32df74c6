"""The views: laws that tie them to the operation, the worked numbers, and what must not happen."""

from __future__ import annotations

import itertools
import json
import re
from math import gcd
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given

from oracles import torch_conv, torch_conv_transpose
from strategies import cases, counted_coarse, few
from twofold import explain
from twofold.analysis.chain import Chain
from twofold.analysis.taps import taps
from twofold.errors import GeometryError, UnsupportedError
from twofold.explain.relatives import adjoint, edges, grad_weight, same, stretched
from twofold.explain.texts import say, templates
from twofold.explain.trace import Trace
from twofold.explain.views import TABS, VIEWS, describe, description, player
from twofold.geometry import Problem

A = explain.conv2d(np.arange(1, 10).reshape(3, 3), [[1, 2], [3, 4]])
B = explain.conv_transpose2d([[1, 2], [3, 4]], [[1, 2], [3, 4]])
ROOT = Path(__file__).parents[2]
K9 = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def traced(case) -> Trace:
    x, weight, bias = case.arrays
    function = explain.conv if case.op == "conv" else explain.conv_transpose
    return function(x, weight, bias, **case.options)


def rows(found, name: str) -> str:
    return " / ".join(" ".join(row) for row in found[name].rows)


# -- laws --------------------------------------------------------------------------------------------------------------


def test_swapped_taps_of_a_convolution_are_those_of_the_transposed_one():
    """With output_padding = (n + 2p - d(k-1) - 1) mod s: every small 1-D layer."""
    tried = 0
    for n, k, s, d, p in itertools.product(range(1, 8), range(1, 5), range(1, 5), range(1, 4), range(3)):
        if n + 2 * p < d * (k - 1) + 1:
            continue
        extra = (n + 2 * p - d * (k - 1) - 1) % s
        coarse = counted_coarse(n, k, s, d, (p, p))
        conv = Problem.parse(f"conv i{n} k{k} s{s} d{d} p{p}")
        back = Problem.of("conv_transpose", [coarse], [k], stride=s, dilation=d, padding=p, output_padding=extra)
        assert back.out_size == (n,) and taps(conv).swapped() == taps(back)
        tried += 1
    assert tried == 760


@few(60)
@given(cases(op="conv_transpose", modes=("zeros",)))
def test_zero_insertion_gives_the_same_output(case):
    trace = traced(case)
    turned = stretched(trace)
    assert turned.problem.op == "conv" and turned.problem.out_size == trace.problem.out_size
    assert same(turned.y, trace.y)
    zeros = turned.x[np.broadcast_to(turned.inserted, turned.in_shape).reshape(turned.x.shape)]
    assert not zeros.any()
    for (before, after), size, n, s in zip(edges(trace.problem), turned.problem.in_size, case.in_size, case.stride,
                                           strict=True):  # fmt: skip
        assert before + after + (n - 1) * s + 1 == size


@few(60)
@given(cases(modes=("zeros",)))
def test_gradients_are_torchs(case):
    x, weight, _ = case.arrays
    grad = case.integers(*case.y_shape, salt=4)
    trace = explain.conv(x, weight, **case.options) if case.op == "conv" else explain.conv_transpose(
        x, weight, **case.options
    )  # fmt: skip
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, weight)]
    oracle = torch_conv if case.op == "conv" else torch_conv_transpose
    oracle(*tensors, **case.options).backward(torch.tensor(grad))
    assert (adjoint(trace, grad).y == tensors[0].grad.numpy()).all()
    assert (grad_weight(trace, grad) == tensors[1].grad.numpy()).all()


@few(40)
@given(cases())
def test_gradients_are_adjoint_in_every_padding_mode(case):
    """<y, g> == <x, dL/dx> == <w, dL/dw>: both operations are linear in each."""
    x, weight, _ = case.arrays
    grad = case.integers(*case.y_shape, salt=4)
    function = explain.conv if case.op == "conv" else explain.conv_transpose
    trace = function(x, weight, **case.options)
    total = (trace.y * grad).sum()
    assert (x * adjoint(trace, grad).y).sum() == total == (weight * grad_weight(trace, grad)).sum()


@few(40)
@given(cases(max_rank=3))
def test_every_view_of_every_problem_can_be_described_and_played(case):
    trace = traced(case)
    for view in VIEWS:
        if view == ("transposed" if case.op == "conv" else "filter"):
            continue
        for tab in TABS.get(view, (None,)):
            if tab == "zero-insert" and case.padding_mode != "zeros":
                continue
            steps = player(trace, view, tab)
            found = describe(trace, view, tab, len(steps) - 1 if len(steps) else None)
            assert json.loads(json.dumps(found)) == found and found["steps"] == len(steps)
            assert found["title"] and all(isinstance(text, str) for text in found["why"])
            for table in found["tables"]:
                assert len({len(row) for row in table["rows"]}) == 1
                if table["flags"] is not None:
                    assert [len(row) for row in table["flags"]] == [len(row) for row in table["rows"]]
            if len(steps):
                assert found["formula"] == steps[-1].text and found["aria"]


@given(cases(max_rank=2))
def test_rows_of_the_matrix_are_the_dot_products(case):
    trace = traced(case)
    if np.prod(trace.problem.result_shape[1:]) > 40 or np.prod(trace.in_shape[1:]) > 40:
        return
    dense = np.array(description(trace, "matrix")["matrix"].rows, dtype=float)
    turned = np.array(description(trace, "matrix", "transpose")["matrix"].rows, dtype=float)
    assert (turned == dense.T).all()
    y = dense @ trace.x.reshape(trace.in_shape)[0].ravel()
    bias = np.repeat(trace.bias, len(y) // len(trace.bias))
    assert (y + bias == trace.y.reshape(trace.problem.result_shape)[0].ravel()).all()


# -- the worked numbers ------------------------------------------------------------------------------------------------


def test_4_and_5_padding_dilation_digits():
    padded = explain.conv2d(A.x, A.weight, padding=1)
    assert padded.y.tolist() == [[4, 11, 18, 9], [18, 37, 47, 21], [36, 67, 77, 33], [14, 23, 26, 9]]
    first = padded.steps[0]
    assert len(first.terms) == 4 and sum(t.padding for t in first.terms) == 3 and first.text.endswith("= 4")
    assert explain.conv2d(A.x, A.weight, dilation=2).y.tolist() == [[64]]
    digits = explain.problem("conv i3x3 k2x2", weight="digits")
    assert digits.y.tolist() == [[5421, 6532], [8754, 9865]]


def test_6_and_7_parts():
    found = description(B, tab="paint")
    assert rows(found, "part-1-0") == "0 0 0 / 3 6 0 / 9 12 0"
    assert found["part-1-0"].flags == ("ooo", "..o", "..o") and found["part-1-0"].caption == "3*K"
    assert len([t for t in found.tables if t.name.startswith("part-")]) == 4
    assert B.y.tolist() == [[1, 4, 4], [6, 20, 16], [9, 24, 16]] and len(B.gathered[4].terms) == 4
    apart = explain.conv_transpose2d(B.x, B.weight, stride=2)
    assert apart.y.tolist() == [[1, 2, 2, 4], [3, 4, 6, 8], [3, 6, 4, 8], [9, 12, 12, 16]]
    assert {len(step.terms) for step in apart.gathered} == {1}
    assert explain.problem("conv_transpose i2x2 k2x2", weight="digits").y[1, 1] == 1234


def test_8_crop_and_output_padding():
    whole = explain.conv_transpose2d(B.x, K9, stride=2)
    lines = ["1 2 5 4 6", "4 5 14 10 12", "10 14 36 24 30", "12 15 34 20 24", "21 24 55 32 36"]
    assert [" ".join(map(str, row)) for row in whole.y.tolist()] == lines
    assert (explain.conv_transpose2d(B.x, K9, stride=2, padding=1).y == whole.y[1:4, 1:4]).all()
    grown = explain.conv_transpose2d(B.x, K9, stride=2, padding=1, output_padding=1)
    assert grown.y.shape == (4, 4) and grown.y[-1].tolist() == [24, 55, 32, 36]
    found = description(grown, tab="paint")
    assert rows(found, "canvas") == " / ".join(lines)
    assert found["canvas"].flags == ("xxxxx", "x....", "x....", "x....", "x....")
    beyond = description(explain.conv_transpose2d(B.x, K9, stride=2, output_padding=1))
    assert beyond["canvas"].flags[-1] == "nnnnnn" and beyond["canvas"].rows[-1] == ("0",) * 6


def test_9_zero_insertion():
    found = description(explain.conv_transpose2d(B.x, K9, stride=2), tab="zero-insert")
    assert rows(found, "zero-insert").startswith("1 2 5 4 6 / 4 5 14 10 12")
    assert found["unturned"].rows[0] == ("9", "8", "25", "16", "14")
    assert say("why.zero-insert.equal") in found.why and say("why.zero-insert.unequal") in found.why
    assert found["stretched"].flags[2] == "pp.z.pp" and rows(found, "turned") == "9 8 7 / 6 5 4 / 3 2 1"
    even = description(explain.conv_transpose2d(B.x, [[1, 1], [1, 1]]), tab="zero-insert")
    assert say("why.zero-insert.same") in even.why


def test_10_phases():
    found = description(explain.conv_transpose2d(B.x, K9, stride=2), "phases")
    assert [rows(found, f"kernel-{i}") for i in range(4)] == ["1 3 / 7 9", "2 / 8", "4 6", "5"]
    assert rows(found, "phase-3") == "5 10 / 15 20"
    cost = description(explain.problem("conv_transpose i4x4 k3x3 s2"), "phases").why[-1]
    assert cost == "cost: zero insertion 81*9 = 729 multiplications, real taps 144"


def test_11_the_matrix():
    found = description(A, "matrix", step=1)
    assert found["matrix"].rows[0] == tuple("120340000") and len(found["matrix"].rows) == 4
    assert found.formula == "1*2 + 2*3 + 3*5 + 4*6 = 2 + 6 + 15 + 24 = 47"
    assert "non-zeros 16 of 36" in " ".join(found.why) and "37, 121, 94, 178" in found.why[-1]
    turned = description(A, "matrix", "transpose")
    assert len(turned["matrix"].rows) == 9 and turned.why[-1].endswith("1, 4, 4, 6, 20, 16, 9, 24, 16")


@pytest.mark.parametrize("text, line, words", [
    ("k3 s2", "1 1 2 1 2 1 2 1 1", "uneven: 3 is not a multiple of 2"),
    ("k2 s2", "1 1 1 1 1 1 1 1", "even: every inner cell is made of 1 product"),
    ("k4 s2 p1", "1 2 2 2 2 2 2 1", "even: every inner cell is made of 2 products"),
    ("k2 s3", "1 1 0 1 1 0 1 1 0 1 1", "HOLES: kernel_size 2 is smaller than stride 3"),
    ("k3 s2 d2", "1 0 2 0 3 0 3 0 2 0 1", "HOLES: dilation 2 and stride 2 share factor 2"),
])  # fmt: skip
def test_12_overlap(text, line, words):
    found = description(explain.problem(f"conv_transpose i4 {text}"), "overlap")
    assert rows(found, "overlap") == line and found.why[1].startswith(words)


def test_13_and_14_sizes():
    found = description(explain.problem("conv i24 k3 s2 p1"), "sizes")
    assert found.formula.endswith("= 12") and any("back to 23; output_padding 1 makes it 24" in t for t in found.why)
    up = description(explain.problem("conv_transpose i4 k3 s2 p1 op1"), "sizes")
    assert up.formula == "(4-1)*2 - 2*1 + 1*(3-1) + 1 + 1 = 8"
    assert "7 and 8; that is why output_padding exists (op 0 -> 7, op 1 -> 8)" in up.why[0]
    listed = up["solutions"].rows
    assert listed[:3] == (("k2 s2 p0", "even"), ("k4 s2 p1", "even"), ("k6 s2 p2", "even"))
    assert ("k3 s2 p1 op1", "uneven") in listed and ("k5 s2 p2 op1", "uneven") in listed
    shift = description(explain.problem("conv i6 k3 s2"), "sizes").why[-1]
    assert shift == "Keras SAME pads (0, 1), PyTorch padding=1 pads (1, 1): the windows begin one cell apart."


def test_16_gradients():
    assert rows(description(A, "gradient", "input"), "grad-input") == "1 3 2 / 4 10 6 / 3 7 4"
    found = description(A, "gradient", "weight", 3)
    assert rows(found, "grad-weight") == "12 16 / 24 28"
    assert found.formula == "1*5 + 1*6 + 1*8 + 1*9 = 5 + 6 + 8 + 9 = 28"


def test_17_fields():
    trace = explain.problem("conv i32x32 k3 p1; k3 s2 p1; k3 s2 p1")
    found = description(trace, "field")
    assert "r 3, 5, 9; jump 1, 2, 4; start -1, -2, -4 (after each layer, height x width)" in found.why
    assert found.formula == "output (4,4) sees input height 12 to 20, width 12 to 20: 81 cells"
    gaps = description(explain.problem("conv i20 k3 d2; k3 d2; k3 d2"), "field", step=6)
    assert gaps.why[-1].endswith("span 13 but only 7 cells: 6, 8, 10, 12, 14, 16, 18 (gridding)")
    hole = description(explain.problem("conv_transpose i4 k2 s3"), "field", step=2)
    assert hole.formula == "output (2) sees no input: a hole"


def test_18_one_axis_and_three():
    assert explain.conv_transpose1d([1, 2, 3], [1, 10, 100]).y.tolist() == [1, 12, 123, 230, 300]
    assert explain.conv_transpose1d([1, 2, 3], [1, 10, 100], stride=2).y.tolist() == [1, 10, 102, 20, 203, 30, 300]
    cube = explain.conv3d(np.arange(1, 28).reshape(3, 3, 3), np.ones((2, 2, 2), int))
    assert cube.y.ravel().tolist() == [60, 68, 84, 92, 132, 140, 156, 164]
    assert len([t for t in description(cube, "phases").tables if t.name.startswith("phase-")]) == 3


def test_the_law_of_even_overlap_in_words():
    for k, s, d in itertools.product(range(1, 9), range(1, 6), range(1, 5)):
        trace = explain.problem(f"conv_transpose i3 k{k} s{s} d{d}")
        word = description(trace, "overlap").why[1].split(":")[0]
        assert (word == "even") == (s == 1 or (gcd(d, s) == 1 and k % s == 0))


# -- what must not happen ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call, kind, words", [
    (lambda: A.view("column"), GeometryError, "no view 'column'"),
    (lambda: A.view("matrix", "paint"), GeometryError, "no tab 'paint'"),
    (lambda: A.view("overlap", "paint"), GeometryError, "no tab 'paint'"),
    (lambda: describe(A, "matrix", None, 4), GeometryError, "no step 4"),
    (lambda: describe(A, "field", None, 4), GeometryError, "no cell 4"),
    (lambda: describe(A, "overlap", None, 0), GeometryError, "no step 0"),
    (lambda: stretched(A), UnsupportedError, "zeros are inserted for conv_transpose"),
    (lambda: describe(explain.problem("conv_transpose i4 k3 p1 reflect"), tab="zero-insert"), GeometryError, "reflect"),
    (lambda: adjoint(A, np.ones(3)), GeometryError, "dL/dy has 3 cells"),
])  # fmt: skip
def test_what_cannot_be_shown_is_refused_in_a_sentence(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


@pytest.mark.parametrize(
    "text",
    [
        "conv i1000x1000 k3x3 p1",
        "conv_transpose i600x600 k3x3 s2 p1 op1",
        "conv i1000000 k3",
        "conv_transpose i9 k3 s500",
    ],
)
def test_large_problems_are_described_without_being_written_out(text):
    trace = explain.problem(text)
    for view in VIEWS:
        if view in ("filter", "transposed", "matrix"):
            continue
        found = describe(trace, view)
        assert len(json.dumps(found)) < 60_000


def test_a_matrix_too_large_for_a_table_still_has_its_numbers():
    found = description(explain.problem("conv i1000x1000 k3x3"), "matrix", step=5)
    assert (
        found.why[2]
        == f"non-zeros {998 * 998 * 9} of {998 * 998 * 10**6}: the 9 numbers of the weight again and again."
    )
    assert not found.tables and found.formula.startswith("1*6 + 2*7 + 3*8")


def test_an_infinite_weight_is_told_of_inserted_zeros():
    trace = explain.conv_transpose1d([1.0, 2.0], [1.0, np.inf], stride=2)
    assert say("why.zero-insert.differs") in description(trace, tab="zero-insert").why


@pytest.mark.parametrize("text", ["conv n0 i3x3 k2x2", "conv ci0 i3x3 k2x2", "conv co0 i3x3 k2x2", "conv n0 i3 k2"])
def test_empty_arrays_are_described_and_drawn(text):
    trace = explain.problem(text)
    for view in ("filter", "matrix", "phases", "overlap", "sizes", "field", "image", "gradient"):
        for tab in TABS.get(view, (None,)):
            seen = trace.view(view, tab)
            assert seen.describe()["title"] and seen.text() and seen.text(full=True) and seen.scene()


def test_each_template_is_used():
    """By Python or by the page; a template that nobody asks for is a mistake."""
    places = [*Path(explain.__file__).parent.rglob("*.py"), *(ROOT / "web" / "src").rglob("*.ts*")]
    source = "\n".join(path.read_text() for path in places)
    asked = [re.escape(key) for key in re.findall(r'"([a-z]+\.[^"{}\n]+)"', source)]
    asked += [re.sub(r"\{[^}]*\}", ".+", key) for key in re.findall(r'f"([a-z]+\.[^"\n]+)"', source)]
    for key in templates():
        base = key.removesuffix(".one")
        assert base.startswith("page.") or any(re.fullmatch(stem, base) for stem in asked), key


def test_a_chain_in_the_trace_reaches_its_views():
    trace = explain.problem("conv_transpose i4 k3 s2; conv_transpose k3 s2")
    assert isinstance(trace.chain, Chain)
    found = description(trace, "overlap")
    assert rows(found, "stack-2") == "1 1 2 1 3 2 3 1 3 2 3 1 3 2 3 1 2 1 1"
    assert trace.state()["layers"] == str(trace.chain)


def test_the_texts_of_views_name_planes_and_keep_pairs_together():
    phases = explain.problem("conv_transpose i2x2 k3x3 s2").view("phases").text()
    assert "kernel of phase (even, odd)    output of phase (even, odd)\n2   " in phases
    matrix = explain.problem("conv co2 i2x2 k2x2").view("matrix").text()
    assert "      x00 x01 x10 x11\ny000    1   2   3   4\n" in matrix
    assert "\noutput channel 1\n(0,0)  5*1" in matrix
    wide = explain.problem("conv i9x9 k7x7").view("matrix").text()
    assert max(map(len, wide.split("\n"))) < 260
    field = explain.problem("conv i9x9 k3; k3").view("field").text()
    assert "along height x width: r, jump, start" in field and "along width" not in field
    assert "layer 1" not in explain.problem("conv i9 k3; k3").view("matrix").text()
    assert "kernel own: map\n37 47" in explain.problem("conv i3x3 k2x2").view("image").text()
