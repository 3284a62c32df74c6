"""Layers in Winograd's tiles: how an axis is cut into them, what they err and what they cost.

Every phase of a layer is a dense sum of stride 1 (`lower`), and so are its planes, the parts that a stride cuts an
input into; that is all this knows. Along an axis a tile is m cells of the phase, as far apart as its taps: F(m, r) of
`toom`. Where cells are left over, the last tiles are one smaller, so that none are computed in vain: 14 cells are 4, 4,
3 and 3. The tiles of an image begin at its corner, so a result depends on no band, thread or batch; but within a tile
all cells see all inputs: a NaN reaches the whole tile, and one cell that is much larger than others lends it its error.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from twofold.engine.emit import BYTES
from twofold.engine.lower import Line, Side
from twofold.engine.machine import Machine
from twofold.engine.micro import tiles
from twofold.engine.pace import pace
from twofold.engine.pairs import has_amx
from twofold.engine.schedule import Layer
from twofold.engine.tables import UNIT
from twofold.engine.toom import Toom, toom

__all__ = [
    "BLOCK",
    "SIZES",
    "Cut",
    "Row",
    "all_cuts",
    "cost",
    "cut_evenly",
    "cuts_of",
    "error",
    "fits",
    "name",
    "relative",
    "walked",
]

SIZES = (1, 2, 3, 4, 5, 6)  # the largest m of each family
BLOCK = 16  # input channels of a pixel of the patch
_MOST_TAPS, _MOST_POINTS = 5, 8
_LEAST = 8  # input channels: a vector of fewer would be transformed for nothing
_TILE = 1.5  # what a register tile costs beside its pixels
_FEW = 32  # cells of a phase
_CROWDED = 10  # second caches
_ALIKE = 3  # a large tile must save so many percent more than a smaller one


@dataclass(frozen=True, slots=True)
class Row:
    """Tiles of one size, one behind the other."""

    small: int  # 1 if they are one cell smaller than the others
    m: int
    first: int  # cell
    count: int


@dataclass(frozen=True, slots=True)
class Cut:
    """One phase along one axis, in tiles."""

    cells: int
    m: int  # cells of a tile; of the last tiles m - 1, where more would be too many
    r: int
    step: int  # cells between neighbouring cells of a tile
    shifts: tuple[int, ...]  # of each plane: from a cell to what its first tap reads
    taps: tuple[tuple[int, ...], ...]  # of each plane: kernel cells, -1 where there is none
    even: bool = False  # whether all tiles are of one size, the last of a line beyond its end

    @property
    def points(self) -> int:
        """Multiplications of a tile."""
        return self.m + self.r - 1

    @property
    def multiplications(self) -> int:
        """Of all tiles."""
        return sum(row.count * (row.m + self.r - 1) for row in self.rows())

    def rows(self, at: int = 0, stop: int | None = None) -> tuple[Row, ...]:
        """Return the tiles of the cells at … stop - 1, counted from `at`; both must be where tiles begin or end."""
        stop = self.cells if stop is None else min(stop, self.cells)
        found = []
        for first in range(min(self.step, stop - at)):
            large, small = self._numbers(first)
            if stop < self.cells:
                found.append(Row(0, self.m, first, (stop - at) // (self.step * self.m)))
                continue
            left = large - at // (self.step * self.m)
            found.append(Row(0, self.m, first, left))
            found.append(Row(1, self.m - 1, first + self.step * self.m * left, small))
        return tuple(row for row in found if row.count)

    def _numbers(self, first: int) -> tuple[int, int]:
        # Large and small tiles of a line of neighbouring cells, the large ones first.
        cells = -(-(self.cells - first) // self.step)
        count = -(-cells // self.m)
        small = min(count, count * self.m - cells) if self.m > 1 and not self.even else 0
        return count - small, small

    def is_cut_by(self, band: int) -> bool:
        """Return whether bands of so many cells begin where tiles do."""
        last = (self.cells - 1) // band * band
        large = min(self._numbers(first)[0] for first in range(min(self.step, self.cells)))
        return last == 0 or (band % (self.m * self.step) == 0 and last <= large * self.m * self.step)

    def tiles(self, at: int = 0, stop: int | None = None) -> int:
        """Return how many tiles these cells take."""
        return sum(row.count for row in self.rows(at, stop))

    def reach(self, at: int = 0, stop: int | None = None) -> int:
        """Return how many cells of a plane their tiles span, from the first tap on."""
        return max(row.first + self.step * (row.count * row.m + self.r - 2) + 1 for row in self.rows(at, stop))

    @property
    def parts(self) -> tuple[Toom, ...]:
        """The transforms of its tiles."""
        return tuple(toom(m, self.r, self.m) for m in sorted({row.m for row in self.rows()}))


@functools.lru_cache(maxsize=64)
def cuts_of(side: Side, most: int) -> tuple[Cut, ...] | None:
    """Return the tiles of every phase of an axis: the m up to `most` that multiplies least; None where taps forbid."""
    cells = side.cells
    found = [_cut(side, line) for line in side.lines]
    if any(cut is None or cut.r > _MOST_TAPS for cut in found):
        return None
    ones = [cut for cut in found if cut is not None]
    best: tuple[float, tuple[Cut, ...]] | None = None
    for m in range(1, most + 1):
        cuts = tuple(_sized(cut, m, cells) for cut in ones)
        if any(cut.points > _MOST_POINTS for cut in cuts):
            continue
        cost = sum(cut.multiplications for cut in cuts)
        if best is None or cost < best[0] * (1 - _ALIKE / 100):
            best = cost, cuts
    assert best is not None
    return best[1]


def cut_evenly(side: Side) -> list[Cut]:
    """Return the tiles of each size, all alike, of an axis of one phase; none where taps forbid."""
    (line,) = side.lines
    one = _cut(side, line)
    found = [] if one is None else [_sized(one, m, side.cells) for m in range(1, _MOST_POINTS + 1)]
    kept = [replace(cut, even=True) for cut in found if cut.r <= _MOST_TAPS and cut.points <= _MOST_POINTS]
    return list(dict.fromkeys(kept))


def _sized(cut: Cut, m: int, cells: int) -> Cut:
    # In tiles of up to m cells, as few as there must be, of the longest phase that has so many cells.
    lined = -(-cells // cut.step)
    return replace(cut, m=1 if cut.r == 1 else -(-lined // -(-lined // m)))


def _cut(side: Side, line: Line) -> Cut | None:
    # In tiles of one cell.
    groups: list[list[tuple[int, int]]] = [[] for _ in side.residues]
    for tap, plane, shift in zip(line.taps, line.planes, line.shifts, strict=True):
        groups[plane].append((shift, tap))
    if not line.taps or not all(groups):
        return None
    for group in groups:
        group.sort()
    step = math.gcd(*(shift - group[0][0] for group in groups for shift, _ in group)) or 1
    r = 1 + max((group[-1][0] - group[0][0]) // step for group in groups)
    taps = []
    for group in groups:
        known = {(shift - group[0][0]) // step: tap for shift, tap in group}
        taps.append(tuple(known.get(i, -1) for i in range(r)))
    return Cut(line.count, 1, r, step, tuple(group[0][0] for group in groups), tuple(taps))


def name(most: int) -> str:
    """Return the name of the family whose largest tiles have so many outputs along an axis."""
    return f"winograd F({most})" if most > 1 else "tap by tap"


def fits(layer: Layer, machine: Machine, most: int) -> bool:
    """Return whether there are tiles of which the largest side is this one, and with them fewer multiplications."""
    if layer.depthwise or layer.inputs < _LEAST or (layer.source == "bfloat" and has_amx(machine)):
        return False
    cuts = [cuts_of(side, most) for side in layer.sides]
    if any(axis is None for axis in cuts):
        return False
    largest = max(cut.m for axis in cuts if axis for cut in axis)
    saves = most > 1 and _products(layer, most) < 0.9 * _plain_products(layer)
    return largest == most and (saves or (most == 1 and _is_all_weight(layer, machine)))


def _is_all_weight(layer: Layer, machine: Machine) -> bool:
    # Whether a few cells meet so many weights that reading these takes longest: then tap by tap, each of them once.
    size = math.prod(layer.kernel) * layer.inputs * layer.outputs * BYTES[layer.scalar]
    cells = math.prod(side.cells for side in layer.sides) * layer.batch
    return 2 <= cells <= _FEW and size > 2 * machine.l2 and math.prod(layer.kernel) > 1


def all_cuts(layer: Layer, most: int) -> list[tuple[Cut, ...]]:
    """Return the tiles of all axes of a layer that fits."""
    found = [cuts_of(side, most) for side in layer.sides]
    return [axis for axis in found if axis is not None]


def _products(layer: Layer, most: int) -> float:
    # Of one image, for a pair of channels.
    total = 1.0
    for side, axis in zip(layer.sides, all_cuts(layer, most), strict=True):
        total *= len(side.residues) * sum(cut.multiplications for cut in axis)
    return total


def _plain_products(layer: Layer) -> float:
    return math.prod(
        sum((run.stop - run.start) * (run.last - run.first) for line in side.lines for run in line.runs)
        for side in layer.sides
    )


# -- estimates --------------------------------------------------------------------------------------------------------


def error(layer: Layer, most: int) -> float:
    """Return the bound of the worst element, over that of a direct sum, (K + 2) u times the sum of magnitudes.

    For inputs that are equally large, and weights: where one cell is much larger than others, its tile has its error.
    """
    ratios = []
    for phase in _kinds(layer, most):
        planes, taps = math.prod(kind.planes for kind in phase), math.prod(kind.taps for kind in phase)
        for parts in itertools.product(*(kind.parts for kind in phase)):
            terms = layer.inputs * planes + sum(part.roundings for part in parts if part.points > 1)
            grown = math.prod(part.worst * part.r for part in parts) * planes / taps
            ratios.append(grown * terms / (taps * layer.inputs + 2))
    return max(ratios)


class _Kind(NamedTuple):
    parts: tuple[Toom, ...]  # transforms of the tiles of a phase
    planes: int
    taps: int  # in all planes


def _kinds(layer: Layer, most: int) -> Iterator[tuple[_Kind, ...]]:
    # What phases there are, each kind once: of thousands of them a few differ in this.
    axes: list[list[_Kind]] = []
    for cuts in all_cuts(layer, most):
        kinds: dict[tuple[tuple[int, ...], int, int, int], _Kind] = {}
        for cut in cuts:
            taps = sum(tap >= 0 for plane in cut.taps for tap in plane)
            sizes = tuple(sorted({row.m for row in cut.rows()}))
            if (sizes, cut.m, cut.r, taps) not in kinds:
                kinds[sizes, cut.m, cut.r, taps] = _Kind(cut.parts, len(cut.taps), taps)
        axes.append(list(kinds.values()))
    return itertools.product(*axes)


def relative(layer: Layer, most: int) -> float:
    """Return about how far the worst element is off, over the largest output, for random data.

    Roundings walk at random: of a sum of n terms of variance v, n v (n / 6 + roundings of each term / 3) units squared.
    The worst of many is as far out among errors as the largest is among outputs.
    """
    return max(
        walked(parts, layer.inputs * math.prod(kind.planes for kind in phase), layer.scalar)
        for phase in _kinds(layer, most)
        for parts in itertools.product(*(kind.parts for kind in phase))
    )


def walked(parts: Sequence[Toom], terms: int, scalar: str) -> float:
    """Return `relative` of sums of so many terms at a point, by these transforms of each axis."""
    roundings = sum(part.roundings for part in parts if part.points > 1)
    spread = math.prod(part.spread for part in parts)
    return 1.5 * UNIT[scalar] * math.sqrt(spread * (terms / 6 + roundings / 3))


def cost(layer: Layer, machine: Machine, most: int) -> float:
    """Return about how many cycles of one core it takes, in the coin of `tables.cost_of_tiles`."""
    here = pace(machine)
    lanes = machine.vector_bytes // BYTES[layer.scalar]
    outs, ins = -(-layer.outputs // lanes), -(-layer.inputs // lanes)
    points = _products(layer, most) * layer.batch * layer.groups
    planes = math.prod(len(side.residues) for side in layer.sides)
    cells_in = math.prod(side.in_size for side in layer.sides) * layer.batch * layer.groups
    cells_out = math.prod(side.out_size for side in layer.sides) * layer.batch * layer.groups
    cuts = all_cuts(layer, most)
    longest = max(cut.points for axis in cuts for cut in axis)
    forward, back = (one + more * longest for one, more in (here.forward, here.back))
    moved = ins * (forward * points + here.cells[0] * cells_in)
    moved += outs * (back * points / planes + here.cells[1] * cells_out)
    weights = planes * sum(math.prod(cut.points for cut in phase) for phase in itertools.product(*cuts))
    size = weights * layer.groups * layer.inputs * layer.outputs * BYTES[layer.scalar]
    read = here.reads(size, machine, transformed=True)
    summed = _covered_points(layer, machine, cuts) * planes * layer.groups * layer.inputs * outs
    if most == 1:  # a tap is asked for while the one before is multiplied
        read = max(0.0, read - summed / 2)
    # Of two that are nearly as fast, the one that errs less: tiles of more than 6 points must win by 3 %, and those of
    # 8 by 10 % where arrays are larger than some second caches, as they lose most there.
    bytes_ = (cells_in * layer.inputs + cells_out * layer.outputs) * BYTES[layer.scalar]
    crowded = longest > 7 and bytes_ > _CROWDED * machine.l2
    return (summed + moved + read) * (1.1 if crowded else 1.03 if longest > 6 else 1.0)


def _covered_points(layer: Layer, machine: Machine, cuts: Sequence[tuple[Cut, ...]]) -> float:
    # What a pair of channels costs in the register tiles, point by point: how many tiles of the image have it.
    total = 0.0
    for phase in itertools.product(*cuts):
        axes = []
        for cut in phase:
            counts = [sum(row.count for row in cut.rows() if row.small == small) for small in (0, 1)]
            axes.append([(sum(counts), cut.points - bool(counts[1])), (counts[0], int(bool(counts[1])))])
        for parts in itertools.product(*axes):
            count, points = (math.prod(numbers) for numbers in zip(*parts, strict=True))
            total += points * _covered(count * layer.batch, machine, layer.scalar)
    return total


@functools.lru_cache(maxsize=4096)
def _covered(count: int, machine: Machine, scalar: str) -> float:
    # Of so many pixels by tiles of the ladder: 0.8 for each where they fit it.
    ladder = [(q, share) for rows, q, vectors, share in tiles(machine, scalar) if (rows, vectors) == (1, 2)]
    largest = max(q for q, _ in ladder)
    whole = _TILE + largest
    if count > 4 * largest:
        return 0.8 * count
    costs = [0.0]
    for n in range(1, count + 1):
        fitting = [(q, share) for q, share in ladder if q <= count]
        costs.append(min(costs[max(0, n - q)] + q / share + _TILE for q, share in fitting))
    return 0.8 * largest / whole * costs[count]
