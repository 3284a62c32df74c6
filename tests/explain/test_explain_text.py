"""The text of a trace: golden files, and what must hold of every text."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given

from strategies import cases, few
from twofold import explain
from twofold.explain.text import beside, blocks, canvas_text, size_text

GOLDEN = Path(__file__).parent.parent / "golden"
_spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


@pytest.fixture(scope="module")
def golden() -> dict[str, str]:
    return make.texts()


@pytest.mark.parametrize("suffix", ["txt", "json", "svg"])
def test_texts_are_the_golden_ones(golden, suffix):
    chosen = {name: text for name, text in golden.items() if name.endswith(suffix)}
    assert len(chosen) >= 6
    for name, text in chosen.items():
        assert text == (GOLDEN / name).read_bytes().decode(), name


def test_the_anchor_paints_dots_and_adds():
    text = str(explain.conv_transpose2d([[0, 1], [2, 3]], [[0, 1], [2, 3]]))
    assert (
        "input (0,1)  0*1, 1*1, 2*1, 3*1 = 0, 1, 2, 3\npaints    running sum\n. 0 1     0 0 1\n. 2 3     0 2 3" in text
    )
    assert text.endswith("output\n 0  0  1\n 0  4  6\n 4 12  9")


@given(cases())
@few(20)
def test_ascii_means_ascii_and_there_are_no_escapes(case):
    x, weight, bias = case.arrays
    function = explain.conv if case.op == "conv" else explain.conv_transpose
    trace = function(x, weight, bias, **case.options)
    assert str(trace).isascii()
    assert "\x1b" not in trace.text(full=True)
    assert not any(line != line.rstrip() for line in trace.text().split("\n"))


def test_dots_are_round_unless_ascii_is_asked_for():
    trace = explain.conv_transpose1d([1, 2], [1, 1])
    assert "·" in trace.text() and "·" not in trace.text(ascii=True)


def test_long_traces_say_how_much_is_missing():
    trace = explain.problem("conv i60x60 k3x3")
    text = str(trace)
    assert "... 3328 more steps; full=True prints all" in text and text.count("= ") < 200
    assert trace.text(full=True).count("\n(") == 58 * 58
    painted = str(explain.problem("conv_transpose i20 k2"))
    assert "... 4 more steps" in painted
    many = explain.problem("conv ci20 co1 i2 k1")
    assert "... 12 more" in str(many)


def test_of_a_large_canvas_the_painted_part_is_shown():
    text = str(explain.problem("conv_transpose i1x12 k2x3 s9"))
    for part in text.split("\n\ninput (")[1:]:
        painted = part.split("\n", 2)[2].split("\n\n")[0]
        assert sum(char.isdigit() for char in painted.split("    ")[0]) >= 3


def test_an_enormous_output_is_left_out_and_its_first_steps_are_shown():
    text = str(explain.problem("conv i9 k3 p99999999999"))
    assert "(35)" in text and "... 199999999969 more steps; full=True prints all" in text
    assert text.endswith("not shown as a whole: the output has 200000000005 cells, and at most 10000000 are computed")


def test_a_full_text_prints_every_term():
    trace = explain.problem("conv i5x5 k5x5")
    assert "... 19 more ..." in trace.text() and trace.text(full=True).count("*") == 25 + 1  # one in the size sum


def test_sizes_and_crops_in_words():
    assert size_text(explain.problem("conv i5x7 k3x3 s2 p1")).split("\n") == [
        "output (3, 4)",
        "  height: floor((5 + 2*1 - 1*(3-1) - 1)/2) + 1 = 3",
        "  width: floor((7 + 2*1 - 1*(3-1) - 1)/2) + 1 = 4",
    ]
    assert canvas_text(explain.problem("conv_transpose i2x2 k3x3")) == []
    assert canvas_text(explain.problem("conv_transpose i2x3 k3x3 s2 p0x1 op1x0")) == [
        "height: canvas 5, add 1 cell at the end, where nobody paints",
        "width: canvas 7, crop 1 at the start and 1 at the end",
    ]
    assert "(reflect)" in str(explain.problem("conv_transpose i3 k3 p1 reflect"))


def test_blocks_wrap_where_they_would_be_too_wide():
    import numpy as np

    parts = blocks(np.arange(80).reshape(1, 8, 1, 10), "input")
    lines = beside(parts)
    assert max(len(line) for line in lines) <= 100 and lines[2] == "" and lines[0].startswith("input channel 0")
