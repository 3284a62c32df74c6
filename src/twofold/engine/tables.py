"""Tables of the strip kernels: which rows of the input meet which rows of a tile, through which rows of taps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twofold.engine.emit import BYTES
from twofold.engine.lower import Line, Side
from twofold.engine.machine import Machine
from twofold.engine.pace import pace
from twofold.engine.schedule import Layer
from twofold.engine.strip import HEAD, ranges

__all__ = [
    "UNIT", "Heads", "Meeting", "band_class", "cost_of_tiles", "cover", "meets", "offsets", "products",
    "relative_error", "tap_sources",
]  # fmt: skip

Table = npt.NDArray[np.int64]
UNIT = {"float": 2.0**-24, "double": 2.0**-53}  # half the machine epsilon of sums of this type


def offsets(side: Side, line: Line) -> list[int]:
    """Return, for each tap of a line, the cell that it reads for m = 0."""
    return [shift * side.step_in + side.residues[plane] for plane, shift in zip(line.planes, line.shifts, strict=True)]


def band_class(side: Side, first: int, stop: int) -> object:
    """Return what the program of cells first … stop - 1 depends on: for each phase its runs, counted from the first."""
    return tuple(
        tuple(
            (max(r.start, first) - first, min(r.stop, stop) - first, r.first, r.last)
            for r in line.runs
            if r.start < stop and r.stop > first
        )
        for line in side.lines
    )


@dataclass(frozen=True, slots=True)
class Meeting:
    """The steps of a tile of rows: (offset of the row of x, number of the row of taps, first row, row behind the last).

    Of the rows that meet the same row of x, each next one does so `apart` rows of taps earlier.
    """

    parts: tuple[tuple[int, int, int, int], ...]
    apart: int

    def steps(self, rows: int) -> list[tuple[int, int, int]]:
        """Return them with their ranges by number, for a tile of so many rows."""
        number = {pair: i for i, pair in enumerate(ranges(rows))}
        return [(x, tap, number[first, stop]) for x, tap, first, stop in self.parts]


def meets(
    sides: Sequence[Side], lines: Sequence[Line], at: tuple[int, int], rows: int, place: Callable[[int, int], int]
) -> Meeting:
    """Return the steps of rows at[1] … of depth at[0]; `place` is the offset of a row of x, counted in cells from m."""
    (side_d, side_h), (line_d, line_h) = sides, lines
    depths = [(t, o) for t, o in enumerate(offsets(side_d, line_d)) if 0 <= side_d.step_in * at[0] + o < side_d.in_size]
    across = offsets(side_h, line_h)
    index = {o: t for t, o in enumerate(across)}
    found = {t - index[o - side_h.step_in] for t, o in enumerate(across) if o - side_h.step_in in index}
    apart = found.pop() if len(found) == 1 else 0
    # Cell step * (m + r) + o: the rows r that read it through tap t, in the order in which each row has its taps.
    meeting: dict[int, list[tuple[int, int]]] = {}
    for r in range(rows):
        for t, o in enumerate(across):
            cell = side_h.step_in * r + o
            if 0 <= side_h.step_in * at[1] + cell < side_h.in_size:
                meeting.setdefault(cell, []).append((r, t))
    down = len(across) > 1 and across[0] > across[1]
    parts = []
    for t_d, o_d in depths:
        for cell in sorted(meeting, reverse=down):
            run: list[tuple[int, int]] = []
            for r, t in [*meeting[cell], (-1, -1)]:
                if run and (r != run[-1][0] + 1 or not apart or t != run[-1][1] - apart):
                    parts.append((place(o_d, cell), t_d * len(across) + run[0][1], run[0][0], run[-1][0] + 1))
                    run = []
                run.append((r, t))
    return Meeting(tuple(parts), apart)


def products(layer: Layer) -> int:
    """Return the multiplications with cells of the input, per input channel and output of a group, of all images."""
    total = layer.batch
    for side in layer.sides:
        total *= sum((run.stop - run.start) * (run.last - run.first) for line in side.lines for run in line.runs)
    return total


def relative_error(layer: Layer) -> float:
    """Return about how far the worst element of a direct sum is off, over the largest output.

    Rounding walks at random: after K additions to partial sums that grow to the size of the result, sqrt(K / 3) units,
    times 4 for the worst of many. Measured in docs/how-to/accuracy.md.
    """
    return float(1.5 * UNIT[layer.scalar] * math.sqrt(layer.inputs * math.prod(layer.kernel) + 2))


def cost_of_tiles(layer: Layer, machine: Machine, copies: bool = True) -> float:
    """Return about how many cycles of one core the register tiles of `schedule` take, with the copies into patches."""
    lanes = machine.vector_bytes // BYTES[layer.scalar]
    cells_in = math.prod(side.in_size for side in layer.sides) * layer.batch
    cells_out = math.prod(side.out_size for side in layer.sides) * layer.batch
    here, spread = pace(machine), any(side.step_out > 1 for side in layer.sides)
    if layer.depthwise:
        blocks = -(-layer.groups // lanes)
        return blocks * (here.depthwise[0] * products(layer) + 16.0 * cells_in + (12.0 if spread else 4.0) * cells_out)
    vectors = -(-layer.outputs // lanes) * layer.groups
    copied = layer.groups * layer.inputs * cells_in * BYTES[layer.scalar] / 8 if copies else 0.0
    weights = math.prod(layer.kernel) * layer.groups * layer.inputs * layer.outputs * BYTES[layer.scalar]
    stored = here.stored[0 if layer.channels_last else 1 + spread]
    computed = vectors * (products(layer) * layer.inputs / 1.3 + stored * cells_out)
    return computed + copied + here.reads(weights, machine, transformed=False)


class Heads:
    """The table that heads, steps and columns share, each list once."""

    def __init__(self) -> None:
        self._words: list[int] = []
        self._known: dict[object, int] = {}

    def add(
        self,
        steps: Sequence[tuple[int, int, int]],
        columns: Sequence[int],
        weight_row: int,
        weight_tap: int,
        rows: int,
        limit: int = 0,
        met: int = 0,
    ) -> int:
        """Return the offset of a head in the table, in bytes."""
        step_at = self.words([word for step in steps for word in step])
        column_at = self.words(columns)
        key = (step_at, len(steps), column_at, len(columns), weight_row, weight_tap, rows, limit, met)
        if key not in self._known:
            at = self._known[key] = 8 * len(self._words)
            self._words += (step_at - at, len(steps), column_at - at, *key[3:])
        assert len(key) == len(HEAD.fields)
        return self._known[key]

    def words(self, words: Sequence[int]) -> int:
        """Return the offset of a list of numbers in the table, in bytes."""
        key = (None, *words)
        if key not in self._known:
            self._known[key] = 8 * len(self._words)
            self._words += words
        return self._known[key]

    def table(self) -> Table:
        """Return all of it, in the shape of the lists of taps of a schedule."""
        return np.array(self._words + [0] * (2 + len(self._words) % 2), np.int64).reshape(-1, 2)


def cover(
    cells: int, ladder: Sequence[tuple[int, float]], short: Sequence[tuple[int, float]] = ((1, 1.0),)
) -> list[tuple[int, int]]:
    """Cover a row by tiles (first cell, cells), each size at its cost, at least in all; the last may reach back.

    `short` holds the sizes for rows shorter than every size of the ladder.
    """
    sizes = [(q, c) for q, c in ladder if q <= cells] or [(q, c) for q, c in short if q <= cells]
    best = [0.0] + [math.inf] * cells
    pick = [0] * (cells + 1)
    for n in range(1, cells + 1):
        for q, c in sizes:
            total = best[max(0, n - q)] + c
            if total < best[n]:
                best[n], pick[n] = total, q
    found, n = [], cells
    while n > 0:
        found.append((min(cells - n, cells - pick[n]), pick[n]))
        n -= pick[n]
    return found


def tap_sources(layer: Layer, phase: Sequence[Line]) -> Table:
    """Return the offsets of the taps of a phase in the kernel, in cells, in the order of summation."""
    total = np.zeros(1, np.int64)
    for line, size, stride in zip(phase, layer.kernel, layer.tap_strides, strict=True):
        taps = np.array(line.taps, np.int64)
        total = (total[:, None] + (size - 1 - taps if layer.flip else taps)[None] * stride).ravel()
    return total
