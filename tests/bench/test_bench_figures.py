"""Medians, ratios and means of made-up samples, and what is written of them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from twofold.bench import Run, markdown, remarks, tables, text
from twofold.bench.figures import best, choices, figures, geometric_mean, means
from twofold.bench.machine import limit_seconds
from twofold.bench.result import Measured, Row, Way
from twofold.errors import FileError
from twofold.geometry import Problem

MACHINE = {
    "cpu": "made | up", "system": "x", "python": "3", "numpy": "2", "threads": 1, "cores": [0], "present": 2,
    "load": [1.0, 2.0], "fma_gflops": {"float32": 1.0, "float64": 0.5}, "peak_is": "said so",
    "copy_gbs": {"1048576": 1.0},
}  # fmt: skip
FAMILIES = {
    "twofold": "twofold", "twofold-cl": "twofold", "twofold-packed": "twofold-packed", "torch": "torch",
    "torch-cl": "torch", "ort": "ort",
}  # fmt: skip
CONV, TRANSPOSED = "ci10 co10 i12 k3", "conv_transpose ci10 co10 i10 k3"  # 10 * 10 * 10 * 3 multiplications


def ok(*milliseconds):
    return Measured("ok", "", 1e-7, 0.1, tuple(ms / 1e3 for ms in milliseconds))


def run(*rows, training=False):
    peers = {name: {"family": family, "version": "1"} for name, family in FAMILIES.items()}
    made = tuple(
        Row(f"layer {i}", Problem.parse(text), dict(zip(FAMILIES, cells, strict=True)))
        for i, (text, *cells) in enumerate(rows)
    )
    settings = {"seconds": 1.0, "rounds": 5, "timeout": 9.0}
    return Run("0.1", "2026-11-23T00:00:00+00:00", training, MACHINE, settings, peers, made)


NOT_YET, WRONG = Measured("cannot", "not yet: no plan"), Measured("wrong", "off by far", 0.5, 1e5)
PLAIN = run((CONV, ok(9, 3, 4), ok(8), NOT_YET, ok(2), ok(1.5, 1.0, 9.0), ok(6)))
PACKED = run((CONV, ok(4), ok(8), ok(2), ok(2), ok(3), ok(1)), (TRANSPOSED, ok(4), ok(8), ok(1), ok(8), ok(9), ok(4)))


def test_the_median_is_of_all_samples_and_the_better_layout_counts():
    row = PLAIN.rows[0]
    assert row.peers["twofold"].seconds == 0.004
    assert (best(PLAIN, row, ["twofold"]), best(PLAIN, row, ["torch"]), best(PLAIN, row, ["none"])) == (
        "twofold", "torch-cl", None,
    )  # fmt: skip


def test_ratios_are_seconds_of_the_other_over_ours():
    found = figures(PLAIN, PLAIN.rows[0])
    assert (found.ours, found.torch, found.peer) == ("twofold", "torch-cl", "torch-cl")
    assert (found.against_torch, found.against_best) == (1.5 / 4, 1.5 / 4)


def test_torch_is_held_against_packing_on_each_call_and_the_best_peer_against_packed_weights():
    found = figures(PACKED, PACKED.rows[0])
    assert (found.against_torch, found.against_best, found.ours) == (2 / 4, 1 / 2, "twofold-packed")


def test_of_peak_counts_two_operations_per_multiplication_and_training_thrice():
    # 3000 multiplications, 6000 operations in 4 ms of a machine that does 1e9 a second: 6e-6 / 4e-3
    assert figures(PLAIN, PLAIN.rows[0]).of_peak == pytest.approx(6e-6 / 4e-3)
    row = (CONV, ok(4), ok(8), NOT_YET, ok(2), ok(3), ok(6))
    training = run(row, training=True)
    assert figures(training, training.rows[0]).of_peak == pytest.approx(18e-6 / 4e-3)


def test_the_limit_is_the_longer_of_computing_and_moving():
    facts = {"fma_gflops": {"float32": 2.0}, "copy_gbs": {"1000": 4.0, "2000": 1.0}}
    assert limit_seconds(4000, 900, "float32", facts) == (2e-6, "peak")
    assert limit_seconds(400, 1000, "float32", facts) == (0.25e-6, "bandwidth")
    assert limit_seconds(400, 1001, "float32", facts) == (1.001e-6, "bandwidth")  # does not fit in the smaller set
    assert limit_seconds(400, 5000, "float32", facts) == (5e-6, "bandwidth")  # nor in any


def test_means_are_geometric_and_apart_for_both_operations():
    conv, transposed = means(PACKED)
    assert (conv.op, conv.against_torch, conv.against_best) == ("conv", 0.5, 0.5)
    assert (transposed.op, transposed.against_torch, transposed.against_best) == ("conv_transpose", 2.0, 4.0)
    assert geometric_mean([2, 8]) == pytest.approx(4) and geometric_mean([]) is None
    assert math.isclose(geometric_mean([0.5, 0.5, 4]), 1)


def test_who_is_wrong_is_no_best_and_has_no_ratio():
    made = run((CONV, WRONG, WRONG, NOT_YET, ok(2, 2, 2), WRONG, WRONG))
    found = figures(made, made.rows[0])
    assert (found.ours, found.torch, found.against_torch, found.of_peak) == (None, "torch", None, None)
    row = tables(made)[0].rows[0]
    assert row[2:5] == ("WRONG", "not yet", "2") and row[6:] == ("-", "-", "-", "-")
    assert means(made)[0].against_torch is None


def test_the_table_shows_times_ratios_and_few_samples():
    ratios, mean, times = tables(PLAIN)
    assert ratios.rows[0][:8] == ("layer 0", "1", "4", "not yet", "1.5 torch-cl", "1.5 torch-cl", "0.38", "0.38")
    assert mean.rows == (("conv", "0.38 (1 layers)", "0.38 (1 layers)"),)
    assert times.rows[0][2:5] == ("4 (3 to 9)", "~8 (8 to 8)", "not yet")
    lines = text(ratios).splitlines()
    assert len({len(line) for line in lines[1:]}) == 1 and lines[1].startswith("layer    batch")


def test_every_absence_is_told_once_with_its_layers():
    made = run((CONV, ok(1), ok(1), NOT_YET, ok(2), WRONG, ok(1)), (CONV, ok(1), ok(1), NOT_YET, ok(2), ok(2), ok(1)))
    said = remarks(made)
    assert "twofold-packed: not yet: no plan" in said
    assert "torch-cl: WRONG: off by far [layer 0 (batch 1)]" in said


def test_markdown_is_one_table_per_table_and_escapes_its_marks():
    page = markdown(PLAIN)
    assert page.startswith("# twofold bench: made | up, 2026-11-23\n")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert "| layer 0 | 1 | 4 | not yet | 1.5 torch-cl | 1.5 torch-cl | 0.38 | 0.38 | 0.15 % | 0.15 % peak |" in rows
    assert {line.count("|") for line in rows} == {11, 4, 9}
    assert r"\~8 (8 to 8)" in page and r"made \| up, 1 thread" in page


def test_json_reads_back_as_it_was_and_what_is_not_finite_is_null():
    made = run((CONV, ok(1, 2), ok(1), NOT_YET, ok(2), Measured("wrong", "nan", math.inf, math.nan), ok(1)))
    fields = json.loads(made.json())
    assert fields["rows"][0]["problem"] == "conv n1 ci10 co10 i12 k3 f32"
    assert fields["rows"][0]["peers"]["torch-cl"]["error"] is None
    assert fields["rows"][0]["peers"]["twofold"]["samples"] == [0.001, 0.002]
    assert Run.read(made.json()).json() == made.json()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "rows": [{}]}'])
def test_what_is_no_result_is_refused(text):
    with pytest.raises(FileError):
        Run.read(text)


WAYS = (
    Way("channels_first", "direct", True, ok(3, 4, 9)),
    Way("channels_first", "fft", False, ok(2)),
    Way("channels_first", "planar", False, WRONG),
    Way("channels_last", "direct", False, ok(6)),
    Way("channels_last", "in place", True, ok(5)),
)


def with_ways(*ways):
    row = PLAIN.rows[0]
    return replace(PLAIN, rows=(replace(row, ways=ways),), settings={**PLAIN.settings, "accuracy": "fast"})


def test_the_choice_is_held_against_the_best_of_its_layout():
    first, last = choices(with_ways(*WAYS).rows[0])
    assert (first.layout, first.planned, first.best, first.ratio) == ("channels_first", "direct", "fft", 2.0)
    assert (last.layout, last.planned, last.best, last.ratio) == ("channels_last", "in place", "in place", 1.0)
    assert list(first.seconds.items()) == [("fft", 0.002), ("direct", 0.004)]
    wrong = replace(WAYS[0], measured=WRONG)
    assert [choice.layout for choice in choices(with_ways(wrong, *WAYS[1:]).rows[0])] == ["channels_last"]
    assert choices(PLAIN.rows[0]) == []


def test_the_table_of_algorithms_marks_the_planned_one():
    made = with_ways(*WAYS)
    table = tables(made)[-1]
    assert table.rows[0][2:] == ("channels_first", "direct", "fft", "2.00", "fft 2, direct* 4, planar WRONG")
    assert "ours with accuracy fast" in remarks(made)
    told = "within 5 % of the best on 1 of 2 layers and layouts; geometric mean of planned / best 1.414, worst 2.00"
    assert any(told in line for line in remarks(made))
    assert len(tables(PLAIN)) == 3 and not any("planned" in line for line in remarks(PLAIN))
    nothing = with_ways(Way("channels_first", "all", False, Measured("crashed", "it died")))
    assert tables(nothing)[-1].rows[0][-1] == "all crashed"


def test_algorithms_are_kept_in_the_file():
    made = with_ways(*WAYS)
    assert Run.read(made.json()).rows[0].ways == made.rows[0].ways
    assert "ways" not in json.loads(PLAIN.json())["rows"][0]
