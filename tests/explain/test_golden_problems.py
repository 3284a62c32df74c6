"""The problems that the page must agree on: that the committed file is what Python says, and what it covers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from twofold.geometry import Problem

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))

import draw  # noqa: E402
import make  # noqa: E402

COMMITTED = (GOLDEN / "problems.json").read_text(encoding="utf-8")


def test_the_committed_file_is_what_python_says():
    assert make.problems() == COMMITTED


def test_it_covers_the_option_space():
    entries = json.loads(COMMITTED)
    assert len(entries) >= 300 and len(COMMITTED) < 1_500_000
    problems = [Problem.parse(entry["trace"]["problem"]) for entry in entries]
    assert {p.rank for p in problems} == {1, 2, 3} and {p.op for p in problems} == {"conv", "conv_transpose"}
    assert {p.padding_mode for p in problems} == {"zeros", "reflect", "replicate", "circular"}
    axes = [axis for p in problems for axis in p.geometry.axes]
    assert {axis.stride for axis in axes} >= {1, 2, 3} and {axis.dilation for axis in axes} >= {1, 2, 3}
    assert any(axis.pad_before != axis.pad_after for axis in axes) and any(p.flip for p in problems)
    assert any(p.geometry.groups > 1 for p in problems) and any(p.batch > 1 for p in problems)
    assert any(any(p.output_padding) for p in problems if p.op == "conv_transpose")
    words = COMMITTED
    for value in ('"nan"', '"inf"', '"-inf"', '"18446744073709551616"', "1e+21"):
        assert value in words
    stacks = {view["layers"] for entry in entries for view in entry["views"] if view["layers"]}
    assert len(stacks) > 15 and any(text.count(";") == 2 for text in stacks)
    steps = [(view["step"], view["description"]["steps"]) for entry in entries for view in entry["views"]]
    assert sum(step == count - 1 for step, count in steps if count > 1) < sum(count > 1 for _, count in steps) * 0.8
    views = {(view["view"], view["tab"]) for entry in entries for view in entry["views"]}
    assert len(views) == 1 + 3 + 2 + 1 + 1 + 1 + 2 + 2


@pytest.mark.parametrize("seed", [0, 1])
def test_drawn_problems_depend_on_the_seed_alone(seed):
    assert draw.entries(seed, 8, worked=False) == draw.entries(seed, 8, worked=False)
    assert draw.entries(seed, 8, worked=False) != draw.entries(seed + 1, 8, worked=False)
