"""A problem as the engine sees it: both operations as dense sums over planes of the input, one per phase of the output.

Per spatial axis, the output cells of a phase are  start + step_out * m,  and its sum over the taps reads the cells

    step_in * (m + shift) + residue            one plane of the input for each residue

A convolution has one phase (step_out 1) and up to `stride` planes; a transposed convolution has `stride` phases and one
plane. Both follow from geometry: `Axis.fine` and `Axis.phases`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from twofold.geometry import Axis, Problem

__all__ = ["Line", "Run", "Side", "lower"]

RANK = 3  # depth, height, width; missing axes have one cell


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring cells of a phase that read the same taps: cells start … stop - 1, taps first … last - 1."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Line:
    """One phase along one axis."""

    start: int  # the first output cell
    count: int  # how many there are
    taps: tuple[int, ...]  # kernel cells, in the order of summation
    planes: tuple[int, ...]  # the plane that each reads
    shifts: tuple[int, ...]
    runs: tuple[Run, ...]  # by the taps that meet the input; they cover 0 … count - 1


@dataclass(frozen=True, slots=True)
class Side:
    """One axis."""

    in_size: int
    out_size: int
    step_in: int
    step_out: int
    residues: tuple[int, ...]
    lines: tuple[Line, ...]
    low: int = field(init=False)  # least and greatest shift
    high: int = field(init=False)

    def __post_init__(self) -> None:
        shifts = [shift for line in self.lines for shift in line.shifts] or [0]
        object.__setattr__(self, "low", min(shifts))
        object.__setattr__(self, "high", max(shifts))

    @property
    def cells(self) -> int:
        """Cells of the longest phase."""
        return max(line.count for line in self.lines)


def lower(problem: Problem) -> tuple[Side, ...]:
    """Return the axes of a convolution or transposed convolution of at most three, from the outermost.

    >>> [line.taps for line in lower(Problem.parse("conv_transpose i4 k3 s2"))[-1].lines]
    [(0, 2), (1,)]
    """
    sizes = zip(problem.geometry.axes, problem.in_size, problem.out_size, strict=True)
    sides = [_side(axis, problem.op, n, m) for axis, n, m in sizes]
    return (*[_side(Axis(1), "conv", 1, 1)] * (RANK - len(sides)), *sides)


def folded(problem: Problem) -> tuple[Side, ...] | None:
    """Return the axes with all cells along the last, where that is the same sum."""
    if not foldable(problem):
        return None
    cells = math.prod(problem.in_size)
    single = _side(Axis(1), "conv", 1, 1)
    return (*[single] * (RANK - 1), _side(Axis(1), "conv", cells, cells))


def foldable(problem: Problem) -> bool:
    """Whether the kernel is one tap and no cell is skipped or added, so that all cells could lie along one axis."""
    return problem.in_size == problem.out_size and all(axis == _POINT for axis in problem.geometry.axes)


_POINT = Axis(1)


def _side(axis: Axis, op: str, in_size: int, out_size: int) -> Side:
    if op == "conv":
        offsets = [axis.fine(0, tap) for tap in range(axis.kernel_size)]
        residues = tuple(sorted({offset % axis.stride for offset in offsets}))
        planes = tuple(residues.index(offset % axis.stride) for offset in offsets)
        shifts = tuple(offset // axis.stride for offset in offsets)
        taps = tuple(range(axis.kernel_size))
        found = [(0, out_size, taps, planes, shifts)]
        step_in, step_out = axis.stride, 1
    else:
        residues, step_in, step_out = (0,), 1, axis.stride
        found = [
            (p.residue, p.size(out_size, axis.stride), tuple(p.taps), (0,) * len(p.taps), tuple(p.shifts))
            for p in axis.phases()
            if p.size(out_size, axis.stride)
        ]
    lines = tuple(
        Line(start, count, taps, planes, shifts, _runs(count, step_in, in_size, [residues[p] for p in planes], shifts))
        for start, count, taps, planes, shifts in found
    )
    return Side(in_size, out_size, step_in, step_out, residues, lines)


def _runs(count: int, step: int, in_size: int, residues: Sequence[int], shifts: Sequence[int]) -> tuple[Run, ...]:
    # Tap i meets the input for cells m with 0 <= step * (m + shift) + residue < in_size. Shifts are monotonous, so the
    # taps that a cell has are neighbours in the list.
    if not shifts:
        return (Run(0, count, 0, 0),)
    shift, residue = np.array(shifts), np.array(residues)
    from_, to = -shift, (in_size - residue + step - 1) // step - shift
    edges = np.unique(np.clip(np.concatenate([from_, to, [0, count]]), 0, count))
    runs = []
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        met = np.flatnonzero((from_ <= start) & (start < to))
        first, last = (int(met[0]), int(met[-1]) + 1) if len(met) else (0, 0)
        runs.append(Run(start, stop, first, last))
    return tuple(runs)


Table = npt.NDArray[np.int64]
