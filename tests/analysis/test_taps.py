"""The table of multiplications against a loop over all cells, and the laws that hold between the tables."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given

from strategies import Case, cases
from twofold.analysis import taps as room
from twofold.analysis.taps import LIMIT, count, fan_out, meetings, reached, rows, taps, walk, window
from twofold.errors import GeometryError
from twofold.geometry import Axis, Problem
from twofold.reference import copied, fine_source

_NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def problem_of(case: Case) -> Problem:
    channels = {"in_channels": case.in_channels, "out_channels": case.out_channels, "batch": case.batch}
    return Problem.of(case.op, case.in_size, case.kernel_size, **channels, **case.options)


def brute_rows(case: Case) -> list[tuple[int, int, int]]:
    """(out, inp, weight) by a loop over coarse cells, channels and taps; knows nothing of Twofold."""
    transposed = case.op == "conv_transpose"
    fine_size, coarse_size = (case.out_size, case.in_size) if transposed else (case.in_size, case.out_size)
    fine_channels, coarse_channels = (case.in_channels, case.out_channels)[:: -1 if transposed else 1]
    sources = [source_list(n, pads, case.padding_mode) for n, pads in zip(fine_size, case.padding, strict=True)]
    width, height = fine_channels // case.groups, coarse_channels // case.groups
    found = []
    for n, c, *cell in np.ndindex(case.batch, coarse_channels, *coarse_size):
        for within, *tap in np.ndindex(width, *case.kernel_size):
            at = [o * s + a * d for o, s, a, d in zip(cell, case.stride, tap, case.dilation, strict=True)]
            fine = [source[i] if i < len(source) else -1 for source, i in zip(sources, at, strict=True)]
            if min(fine) < 0:
                continue
            used = [k - 1 - a for k, a in zip(case.kernel_size, tap, strict=True)] if case.flip else tap
            channel = c // height * width + within
            coarse_index = flat((n, c, *cell), (case.batch, coarse_channels, *coarse_size))
            fine_index = flat((n, channel, *fine), (case.batch, fine_channels, *fine_size))
            weight = flat((c, within, *used), (coarse_channels, width, *case.kernel_size))
            found.append((fine_index, coarse_index, weight) if transposed else (coarse_index, fine_index, weight))
    return found


def source_list(size: int, pads: tuple[int, int], mode: str) -> list[int]:
    if mode == "zeros":
        return [-1] * pads[0] + list(range(size)) + [-1] * pads[1]
    return np.pad(np.arange(size), pads, mode=_NUMPY_MODES[mode]).tolist()


def flat(cell, shape) -> int:
    index = 0
    for at, size in zip(cell, shape, strict=True):
        index = index * size + at
    return index


def triples(table) -> list[tuple[int, int, int]]:
    return list(zip(table.out.tolist(), table.inp.tolist(), table.weight.tolist(), strict=True))


@given(cases())
def test_the_table_is_that_of_a_loop_over_all_cells(case):
    problem = problem_of(case)
    table = taps(problem)
    assert triples(table) == brute_rows(case)
    assert len(table) == count(problem)
    assert {table.out.dtype, table.inp.dtype, table.weight.dtype} == {np.dtype(np.int64)}


@given(cases())
def test_the_rows_of_one_cell_are_those_of_the_table(case):
    problem = problem_of(case)
    table = brute_rows(case)
    pick = np.random.default_rng(case.seed)
    out = tuple(int(pick.integers(n)) for n in case.y_shape)
    inp = tuple(int(pick.integers(n)) for n in case.x_shape)
    weight = tuple(int(pick.integers(n)) for n in case.weight_shape)
    assert triples(window(problem, out)) == [row for row in table if row[0] == flat(out, case.y_shape)]
    assert triples(fan_out(problem, inp)) == [row for row in table if row[1] == flat(inp, case.x_shape)]
    assert triples(meetings(problem, weight)) == [row for row in table if row[2] == flat(weight, case.weight_shape)]


@given(cases(op="conv", modes=("zeros",)))
def test_swapping_out_and_inp_gives_the_transposed_operation(case):
    problem = problem_of(case)
    n, k, s, d = case.in_size, case.kernel_size, case.stride, case.dilation
    extra = [
        (size + sum(pads) - dil * (kernel - 1) - 1) % stride
        for size, pads, kernel, stride, dil in zip(n, case.padding, k, s, d, strict=True)
    ]
    back = Problem.of(
        "conv_transpose", case.out_size, k, in_channels=case.out_channels, out_channels=case.in_channels,
        batch=case.batch, stride=s, dilation=d, padding=case.padding, groups=case.groups, flip=case.flip,
        output_padding=extra,
    )  # fmt: skip
    assert back.out_size == case.in_size
    assert triples(taps(problem).swapped()) == triples(taps(back))


@given(cases(op="conv"))
def test_a_weight_gradient_has_the_rows_of_its_convolution_by_weight_cell(case):
    problem = problem_of(case)
    options = {**case.options, "in_channels": case.in_channels, "out_channels": case.out_channels, "batch": case.batch}
    gradient = Problem.of("conv_weight_gradient", case.in_size, case.kernel_size, **options)
    assert triples(taps(gradient)) == sorted(triples(taps(problem)), key=lambda row: row[2])


@given(cases())
def test_rows_in_pieces_are_the_whole(case):
    problem = problem_of(case)
    pieces = [triples(part) for part in walk(problem, chunk=7)]
    assert list(itertools.chain(*pieces)) == triples(taps(problem))
    later = [triples(part) for part in walk(problem, 1, 3, chunk=1)]
    cells = min(3, math.prod(problem.coarse_shape))
    assert list(itertools.chain(*later)) == triples(rows(problem, 1, cells))


def test_padding_is_shown_when_asked_for():
    table = rows(Problem.parse("conv i3x3 k2x2 p1"), 0, 1, padding=True)
    assert triples(table) == [(0, -1, 0), (0, -1, 1), (0, -1, 2), (0, 0, 3)]


def test_digits_of_worked_number_3():
    # Weight (1,1) of a 2x2 kernel over 3x3 meets inputs 1,1 1,2 2,1 2,2.
    assert meetings(Problem.parse("conv i3x3 k2x2"), (1, 1)).inp.tolist() == [4, 5, 7, 8]


def test_a_table_too_large_is_refused_with_its_count_but_its_cells_are_not():
    problem = Problem.parse("conv i4000x4000 k3x3")
    assert count(problem) == 3998 * 3998 * 9 > LIMIT
    with pytest.raises(GeometryError, match=f"{count(problem)} rows, and at most {LIMIT}"):
        taps(problem)
    with pytest.raises(GeometryError, match="windows of 3 cells, nearly all of them padding"):
        taps(Problem.parse("conv i5 k3 p100000000"))
    assert window(problem, (3997, 3997)).inp[-1] == 4000 * 4000 - 1
    assert len(fan_out(problem, (0, 0))) == 1


def test_a_cell_that_does_not_exist_is_refused():
    problem = Problem.parse("conv i3x3 k2x2")
    for cell in ((2, 0), (0, -1), (0, 0, 0, 0, 0)):
        with pytest.raises(GeometryError, match=r"there is no output cell"):
            window(problem, cell)
    with pytest.raises(GeometryError, match="it is empty"):
        fan_out(Problem.parse("conv n0 i3x3 k2x2"), (0, 0, 0, 0))
    with pytest.raises(GeometryError, match="64-bit"):
        window(Problem.parse("conv i99999999999x99999999999 k1"), (0, 0))


@given(cases(modes=("zeros",)))
def test_the_bound_of_one_fine_cell_holds(case):
    problem = problem_of(case)
    fine = triples(taps(problem))
    column = 0 if case.op == "conv_transpose" else 1
    assert max(np.bincount([row[column] for row in fine] or [0])) <= max(reached(problem), 1)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_copies_what_the_definition_says(mode):
    axis = Axis(kernel_size=1, pad_before=9, pad_after=11)
    for size in (2, 3, 5):
        cells = np.arange(-9, size + 11)
        assert np.array_equal(copied(cells, size, mode), fine_source(axis, size, mode))
        assert [copied(int(cell), size, mode) for cell in cells] == fine_source(axis, size, mode).tolist()


def test_counts_are_made_without_going_over_the_taps():
    assert count(Problem.parse("conv i100000000 k50000000")) == 50_000_001 * 50_000_000
    far = Problem.parse("conv i100000000 k50000000 s7 d2 p49999999")
    spans = (far.geometry.axes[0].span(tap, far.coarse_size[0], 10**8)[0] for tap in range(0, 5 * 10**7, 5 * 10**6))
    assert all(0 <= span.start <= span.stop for span in spans) and count(far) > 0
    with pytest.raises(GeometryError, match="at most"):
        taps(far)


def test_cells_with_too_many_rows_are_refused():
    for text in ("conv i9000000 k8000000", "conv_transpose i9000000 k8000000"):
        with pytest.raises(GeometryError, match="at most 5000000"):
            rows(Problem.parse(text), 0, 1)
    with pytest.raises(GeometryError, match="at most 5000000"):
        window(Problem.parse("conv_transpose i9000000 k8000000"), (8_000_000,))
    with pytest.raises(GeometryError, match="at most 5000000"):
        meetings(Problem.parse("conv i9000000 k1"), (0,))
    folded = Problem.parse("conv_transpose i2 k1 s1000000 p400000 replicate")
    with pytest.raises(GeometryError, match="at most 100000 are gone through"):
        window(folded, (0,))


def test_nothing_gives_no_rows():
    for text in ("conv n0 i3 k2", "conv ci0 co2 i3 k2", "conv_transpose ci2 co0 i3 k2"):
        table = taps(Problem.parse(text))
        assert len(table) == 0 == count(Problem.parse(text))
    assert room.Taps(*[np.zeros(0, np.int64)] * 3) == taps(Problem.parse("conv n0 i3 k2"))
