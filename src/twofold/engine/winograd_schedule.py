"""The schedule of a layer in Winograd's tiles.

    for each depth and row phase                               one for a convolution
      transform the patch, tile by tile, into points           [block of channels][plane, point, tile, channel]
      for each block of output channels
        for each point: a sum over planes and input channels   the register tile of `micro`, tiles for pixels
        transform back into rows of the result, and store them

Where the weights are larger than the second cache, the points are outside and the blocks inside: each weight is read
once for as many tiles as a job has, and asked for while those before it are multiplied.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from twofold.engine.emit import BYTES
from twofold.engine.lower import Line
from twofold.engine.machine import Machine
from twofold.engine.micro import Tile
from twofold.engine.records import ENTRY, NOW
from twofold.engine.schedule import Lanes, Layer, Planner, Schedule, Table
from twofold.engine.store import Store
from twofold.engine.winograd import Cut, Row, all_cuts
from twofold.engine.winograd_code import MISSING, PASS, Pass, Shape, WeightTransform

__all__ = ["Corner", "Phase", "Tiles", "schedule"]

_MOST_BYTES = 24 << 20  # of what a job has at hand where the weights are read from far away


def schedule(layer: Layer, machine: Machine, threads: int = 1, *, most: int) -> Schedule:
    """Write the tables of such a layer."""
    return Tiles(layer, machine, threads, all_cuts(layer, most)).result()


def _kinds(axes: int) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for _ in range(axes):
        found = [(*kind, small) for i, kind in enumerate(found) for small in ((1, 0) if i % 2 == 0 else (0, 1))]
    return found


_KINDS = _kinds(3)


@dataclass(frozen=True, slots=True)
class Corner:
    """A row of tiles: where it begins, and what tiles they are along the first two axes."""

    depth: int  # cells
    row: int
    m: tuple[int, int]
    small: tuple[int, int]
    index: tuple[int, int]  # among those of the same kind


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase in a band: its tiles along each axis, and their numbers.

    Tiles of one kind, of a size along each axis, are neighbours. Kinds stand in an order in which each next one differs
    along one axis: then those that have a point are neighbours too, on two axes always, on three mostly.
    """

    number: int
    cuts: tuple[Cut, ...]
    lines: tuple[Line, ...]
    cells: tuple[int, ...]
    rows: tuple[tuple[Row, ...], ...]  # of tiles, along each axis
    counts: tuple[tuple[int, int], ...] = field(init=False)  # of large and small ones
    starts: dict[tuple[int, ...], tuple[int, int]] = field(init=False, hash=False)  # of each kind, in one image

    def __post_init__(self) -> None:
        counts = tuple(
            (sum(row.count for row in rows if not row.small), sum(row.count for row in rows if row.small))
            for rows in self.rows
        )
        starts, at = {}, 0
        for kind in _KINDS:
            count = math.prod(of[small] for of, small in zip(counts, kind, strict=True))
            if count:
                starts[kind] = at, at + count
                at += count
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "starts", starts)

    @property
    def tiles(self) -> int:
        """Of one image."""
        return math.prod(map(sum, self.counts))

    @property
    def points(self) -> tuple[int, ...]:
        """Along each axis."""
        return tuple(cut.points for cut in self.cuts)

    def with_point(self, point: Sequence[int], images: int) -> list[tuple[int, int]]:
        """Return the numbers of the tiles that have a point: small ones lack the last along their axis."""
        lacks = [cut.m > 1 and p == cut.points - 1 for cut, p in zip(self.cuts, point, strict=True)]
        found: list[tuple[int, int]] = []
        for kind, (start, stop) in self.starts.items():
            if any(small and lack for small, lack in zip(kind, lacks, strict=True)):
                continue
            if found and found[-1][1] == start:
                start = found.pop()[0]
            found.append((start, stop))
        return [(start * images, stop * images) for start, stop in found]

    def corners(self) -> list[Corner]:
        """Return the rows of tiles of an image."""
        axes = []
        for cut, rows in zip(self.cuts[:2], self.rows[:2], strict=True):
            seen, places = [0, 0], []
            for row in rows:
                for i in range(row.count):
                    places.append((row.first + cut.step * row.m * i, row.m, row.small, seen[row.small]))
                    seen[row.small] += 1
            axes.append(places)
        return [
            Corner(d, h, (m_d, m_h), (small_d, small_h), (i, j))
            for (d, m_d, small_d, i), (h, m_h, small_h, j) in itertools.product(*axes)
        ]

    def across(self, corner: Corner, image: int, images: int) -> list[tuple[Row, int]]:
        """Return the tiles of a corner from the left to the right: of one size, and the number of the first."""
        seen, found = [0, 0], []
        depths, heights = (of[small] for of, small in zip(self.counts, corner.small, strict=False))
        before = (image * depths + corner.index[0]) * heights + corner.index[1]
        for row in self.rows[2]:
            start = self.starts[*corner.small, row.small][0] * images
            found.append((row, start + before * self.counts[2][row.small] + seen[row.small]))
            seen[row.small] += row.count
        return found


class Tiles(Planner):
    """Writes the tables of a layer in tiles."""

    target = "patch"  # where points go

    def __init__(self, layer: Layer, machine: Machine, threads: int, cuts: Sequence[tuple[Cut, ...]]) -> None:
        self.cuts = cuts
        self.plane_count = math.prod(len(side.residues) for side in layer.sides)
        bytes_ = sum(self._full_taps()) * layer.inputs * layer.outputs * BYTES[layer.scalar]
        self.is_heavy = bytes_ > machine.l2  # then weights are read once for a job, point by point
        most = min(bytes_, _MOST_BYTES) if self.is_heavy else 0
        self.budget = int(max(most, min(machine.l2, 2 << 20) * 0.7) * 2.0**layer.scale)
        lanes = machine.vector_bytes // BYTES[layer.scalar]
        self.at_once = -(-layer.outputs // (2 * lanes)) if self.is_heavy else 1  # blocks of output channels
        super().__init__(layer, machine, threads)

    # -- sizes --------------------------------------------------------------------------------------------------------

    def _full_taps(self) -> list[int]:
        phases = itertools.product(*self.cuts)
        return [self.plane_count * math.prod(cut.points for cut in phase) for phase in phases]

    def _geometry(self) -> None:
        super()._geometry()
        sides = self.layer.sides
        self.streams = False
        self.room = [self._room(axis, band) for axis, band in enumerate(self.band)]
        self.pitch = [0, 0, self.pixel]
        self.pitch[1] = self.planes[2] * self.room[2] * self.pixel
        self.pitch[0] = self.planes[1] * self.room[1] * self.pitch[1]
        self.image_bytes = _round(self.planes[0] * self.room[0] * self.pitch[0], 64)
        self.job_blocks = self.blocks
        self.images = self._images()
        self.points_at = self.images * self.image_bytes
        # At least so much that what the packer writes behind a patch does not reach the next one.
        self.block_bytes = self.points_at + max(self._points_bytes(self.band, self.images, self.pixel), self._tail())
        self.patch_size = self.blocks * self.block_bytes + 4096
        # Behind the patch: rows of the result, sums, and what lies between two passes.
        self.widest = 2 * self.lanes * self.size
        slack = max(cut.m * cut.step for cut in self.cuts[2]) * sides[2].step_out
        self.row_bytes = (self.band[2] * sides[2].step_out + slack) * self.widest
        self.tall = [max(cut.m for cut in axis) for axis in self.cuts]
        self.sums_at = _round(self.tall[0] * self.tall[1] * self.row_bytes, 64)
        self.block_sums = self._points_bytes(self.band, self.images, self.widest)
        self.between_at = self.sums_at + self.at_once * self.block_sums
        most = [max(cut.points for cut in axis) for axis in self.cuts]
        wide = max(self.room[2] * self.pixel, (self.band[2] + 2 * slack) * self.widest)
        self.strip_bytes = _round(most[0] * most[1] * wide, 64)
        self.total_rows = self.between_at + 2 * self.strip_bytes

    @property
    def rows_bytes(self) -> int:
        """Of all that a job needs beside its patch."""
        return _round(self.total_rows, 64)

    def _room(self, axis: int, band: int) -> int:
        side = self.layer.sides[axis]
        pairs = zip(self.cuts[axis], side.lines, strict=True)
        return max(max(cut.shifts) - side.low + cut.reach(0, band) for cut, line in pairs if min(band, line.count))

    def _points_bytes(self, band: Sequence[int], images: int, pixel: int) -> int:
        # Of the depth and row phase with the most, all column phases of it.
        most = 0
        for number in itertools.product(*(range(len(axis)) for axis in self.cuts[:2])):
            total = 0
            for w in range(len(self.cuts[2])):
                phase = self._phase((*number, w), (0, 0, 0), tuple(band))
                planes = self.plane_count if pixel == self.pixel else 1
                total += math.prod(phase.points) * planes * self._apart(phase, images) * pixel if phase else 0
            most = max(most, total)
        return most

    def _apart(self, phase: Phase, images: int) -> int:
        # Pixels from point to point: odd, so that the points of a tile do not meet in one set of the cache.
        return phase.tiles * images | 1

    def _band(self) -> list[int]:
        # Rows of tiles for which the patch, its points and the sums fit the second cache.
        sides, layer = self.layer.sides, self.layer
        sizes = [side.cells for side in sides]
        self.planes = [len(side.residues) for side in sides]

        def bytes_(band: Sequence[int]) -> int:
            room = math.prod(self._room(axis, n) * self.planes[axis] for axis, n in enumerate(band))
            points = self._points_bytes(band, 1, self.pixel)
            sums = self._points_bytes(band, 1, 2 * self.lanes * self.size) * self.at_once
            return self.blocks * (room * self.pixel + points) + sums

        band = list(sizes)
        jobs = layer.batch * layer.groups
        for axis in range(3):
            wanted = 2 * self.threads if self.threads > 1 else 1
            for size in self._cuttings(axis):
                if bytes_(band) <= self.budget and (axis == 2 or jobs >= wanted):
                    break
                band[axis] = size
                jobs = layer.batch * layer.groups * math.prod(-(-s // b) for s, b in zip(sizes, band, strict=True))
        return band

    def _cuttings(self, axis: int) -> Iterator[int]:
        # Sizes of bands that cut no tile, falling.
        cells, cuts = self.layer.sides[axis].cells, self.cuts[axis]
        unit = math.lcm(*(cut.m * cut.step for cut in cuts))
        size = cells
        while size > unit:
            size = min(_round(-(-cells // (-(-cells // size) + 1)), unit), (size - 1) // unit * unit)
            if all(cut.is_cut_by(size) for cut in cuts):
                yield size

    def _images(self) -> int:
        whole = all(b == side.cells for b, side in zip(self.band, self.layer.sides, strict=True))
        if not whole or self.layer.batch == 1:
            return 1
        one = self.blocks * (self.image_bytes + self._points_bytes(self.band, 1, self.pixel))
        one += self._points_bytes(self.band, 1, 2 * self.lanes * self.size) * self.at_once
        most = max(1, self.budget // max(one, 1))
        share = -(-self.layer.batch // (2 * self.threads if self.threads > 1 else 1))
        parts = -(-self.layer.batch // max(1, min(most, share, 16)))
        return -(-self.layer.batch // parts)

    # -- weights ------------------------------------------------------------------------------------------------------

    def _pieces(self) -> tuple[Table, Table]:
        layer, item = self.layer, BYTES[self.layer.source]
        phases = list(itertools.product(*self.cuts))
        tables = [self._phase_taps(phase) for phase in phases]
        starts = [0, *itertools.accumulate(len(table) for table in tables)]
        rows = []
        for group in range(layer.groups):
            for block in self.lane_blocks:
                at = group * self.group_bytes + block.at
                source = (group * layer.group_stride + block.first * layer.weight_strides[0]) * item
                row = block.vectors * self.lanes * self.size
                for number, taps in enumerate(self.full_taps):
                    shape = self.shapes.index(self._shape(phases[number]))
                    rows.append((source, at, block.count, row, starts[number] * 8, shape))
                    at += self._piece_bytes(taps, block.vectors)
        return np.array(rows, np.int64), np.concatenate(tables)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """What phases there are."""
        return tuple(sorted({self._shape(phase) for phase in itertools.product(*self.cuts)}, key=lambda s: s.name))

    def _shape(self, phase: Sequence[Cut]) -> Shape:
        return Shape(self.plane_count, tuple((cut.m, cut.r) for cut in phase))

    def _phase_taps(self, phase: Sequence[Cut]) -> Table:
        # Offsets of taps in the weight, in bytes: plane by plane, the last axis innermost.
        layer, item, rows = self.layer, BYTES[self.layer.source], []
        for planes in itertools.product(*(range(len(cut.taps)) for cut in phase)):
            lines = [cut.taps[plane] for cut, plane in zip(phase, planes, strict=True)]
            for taps in itertools.product(*lines):
                cells = [k - 1 - t if layer.flip else t for t, k in zip(taps, layer.kernel, strict=True)]
                offset = sum(c * stride for c, stride in zip(cells, layer.tap_strides, strict=True)) * item
                rows.append(MISSING if min(taps) < 0 else offset)
        return np.array(rows, np.int64)

    # -- programs -----------------------------------------------------------------------------------------------------

    def _class(self, axis: int, first: int, stop: int) -> object:
        pairs = zip(self.cuts[axis], self.layer.sides[axis].lines, strict=True)
        return tuple((max(0, min(line.count, stop) - first), cut.rows(first, stop)) for cut, line in pairs)

    def _phase(self, numbers: Sequence[int], at: Sequence[int], stop: Sequence[int]) -> Phase | None:
        lines = tuple(side.lines[n] for side, n in zip(self.layer.sides, numbers, strict=True))
        cells = tuple(min(line.count, e) - a for line, a, e in zip(lines, at, stop, strict=True))
        if min(cells) <= 0:
            return None
        cuts = tuple(axis[n] for axis, n in zip(self.cuts, numbers, strict=True))
        index = 0
        for axis, n in zip(self.cuts, numbers, strict=True):
            index = index * len(axis) + n
        rows = tuple(cut.rows(a, e) for cut, a, e in zip(cuts, at, stop, strict=True))
        return Phase(index, cuts, lines, cells, rows)

    def _band_program(
        self, place: tuple[int, ...], stop: tuple[int, ...], blocks: Sequence[Lanes]
    ) -> list[tuple[int, ...]]:
        entries: list[tuple[int, ...]] = []
        for numbers in itertools.product(*(range(len(axis)) for axis in self.cuts[:2])):
            found = [self._phase((*numbers, w), place, stop) for w in range(len(self.cuts[2]))]
            phases = [phase for phase in found if phase is not None]
            if not phases:
                continue
            points, sums, where = self.points_at, self.sums_at, []
            for phase in phases:
                where.append((phase, points, sums))
                apart, count = self._apart(phase, self.images), math.prod(phase.points)
                points += count * self.plane_count * apart * self.pixel
                sums += count * apart * self.widest
            for phase, points, _ in where:
                entries += self._forward(phase, points)
            for first in range(0, len(blocks), self.at_once):
                some = blocks[first : first + self.at_once]
                tiles = []
                for phase, points, sums in where:
                    for point in range(math.prod(phase.points)):
                        for i, block in enumerate(some):
                            tiles.append(self._sums(phase, point, points, sums + i * self.block_sums, block))
                entries += _foreseen([group for group in tiles if group])  # no tile may have the last point
                for i, block in enumerate(some):
                    entries += self._back([(phase, sums + i * self.block_sums) for phase, _, sums in where], block)
        return entries

    def _forward(self, phase: Phase, points: int) -> list[tuple[int, ...]]:
        entries = []
        for image, block, corner in self._order(phase.corners()):
            for plane, planes in enumerate(itertools.product(*(range(n) for n in self.planes))):
                cells = [
                    p * room + cut.shifts[p] - side.low
                    for p, room, cut, side in zip(planes, self.room, phase.cuts, self.layer.sides, strict=True)
                ]
                source = block * self.block_bytes + image * self.image_bytes
                source += (cells[0] + corner.depth) * self.pitch[0] + (cells[1] + corner.row) * self.pitch[1]
                source += cells[2] * self.pixel
                target = self._target(phase, points, plane, block)
                entries += self._forward_row(phase, corner, source, target, image)
        return entries

    def _forward_row(self, phase: Phase, corner: Corner, source: int, target: int, image: int) -> list[tuple[int, ...]]:
        """Transform a row of tiles along the axes that have tiles, one after the other."""
        cuts, own = phase.cuts, self._own_points(phase, corner)
        apart, pixel = self._point_bytes(phase), self._tile_bytes()
        rows_read = corner.m[1] + cuts[1].r - 1
        vectors, width = self.pixel // self.machine.vector_bytes, self.machine.vector_bytes
        axes = [axis for axis in range(3) if phase.points[axis] > 1] or [2]
        reach = max(row.first + cuts[2].step * (row.count * row.m + cuts[2].r - 2) + 1 for row in phase.rows[2])
        strip = reach * self.pixel
        row_pitch, slab_pitch = cuts[1].step * self.pitch[1], cuts[0].step * self.pitch[0]
        base, at = "patch", source
        entries = []
        for i, axis in enumerate(axes):
            last = i == len(axes) - 1
            to_base = self.target if last else "rows"
            to = target if last else self.between_at + i % 2 * self.strip_bytes
            if axis == 2:
                for row, tile in self._across(phase, corner, image):
                    kernel = self._transform(row.m, cuts[2])
                    here, there = at + row.first * self.pixel, to + tile * pixel
                    for lines, before, behind in self._planes_of_rows(phase, own):
                        loops = (
                            (lines, row_pitch if base == "patch" else strip, phase.points[2] * apart),
                            (row.count, row.m * cuts[2].step * self.pixel, pixel),
                            (vectors, width, width),
                        )
                        entries.append(self._pass(
                            kernel, base, here + before * strip, to_base, there + behind * apart, loops,
                            cuts[2].step * self.pixel, apart,
                        ))  # fmt: skip
                continue
            kernel = self._transform(corner.m[axis], cuts[axis])
            outer = rows_read if axis == 0 else own[0]
            outside = row_pitch if axis == 0 else rows_read * strip if base == "rows" else 0
            inside = slab_pitch if axis == 0 else row_pitch if base == "patch" else strip
            if last:  # columns are tiles of one cell
                ((_, tile),) = self._across(phase, corner, image)
                pixels, point, further = phase.cells[2], apart, phase.points[1] * apart
                to += tile * pixel
            else:
                pixels, point = reach, strip * (rows_read if axis == 0 else 1)
                further = strip if axis == 0 else own[1] * strip
            columns = ((1, 0, 0), (pixels * vectors, width, width))
            if last and pixel != self.pixel:
                columns = ((pixels, self.pixel, pixel), (vectors, width, width))
            loops = ((outer, outside, further), *columns)
            entries.append(self._pass(kernel, base, at, to_base, to, loops, inside, point))
            base, at = to_base, to
        return entries

    def _order(self, corners: Sequence[Corner]) -> Iterator[tuple[int, int, Corner]]:
        # Image, block of channels and row of tiles, as they are transformed one after the other.
        return itertools.product(range(self.images), range(self.blocks), corners)

    def _target(self, phase: Phase, points: int, plane: int, block: int) -> int:
        # Where the points of a plane begin.
        return block * self.block_bytes + points + plane * math.prod(phase.points) * self._point_bytes(phase)

    def _transform(self, m: int, cut: Cut) -> Pass:
        return Pass("input", m, cut.r, cut.m, self.layer.scalar)

    def _across(self, phase: Phase, corner: Corner, image: int) -> list[tuple[Row, int]]:
        return phase.across(corner, image, self.images)

    def _point_bytes(self, phase: Phase) -> int:
        # From a point to the next.
        return self._apart(phase, self.images) * self.pixel

    def _tile_bytes(self) -> int:
        return self.pixel

    def _own_points(self, phase: Phase, corner: Corner) -> list[int]:
        # Of the tiles of a corner along the first two axes.
        return [n - small for n, small in zip(phase.points, corner.small, strict=False)]

    def _planes_of_rows(self, phase: Phase, own: Sequence[int]) -> list[tuple[int, int, int]]:
        # Points along the first two axes, as the third meets them: how many follow each other evenly, and how many lie
        # before them among those that tiles of this size have, and among those of the largest.
        if own[0] == 1 or own[1] == phase.points[1]:
            return [(own[0] * own[1], 0, 0)]
        return [(own[1], d * own[1], d * phase.points[1] * phase.points[2]) for d in range(own[0])]

    def _pass(
        self, kernel: Pass, base: str, source: int, to_base: str, target: int,
        loops: Sequence[tuple[int, int, int]], from_: int, to: int, bias: int = 0, image: int = 0,
    ) -> tuple[int, ...]:  # fmt: skip
        fields = [number for loop in loops for number in loop]
        record = (*fields, from_, to, NOW.offset(base), NOW.offset(to_base), 0)
        assert len(record) == len(PASS.fields)
        key = ("pass", record)
        if key not in self.tap_tables:
            self.tap_tables[key] = (self.tap_count, len(record) // 2)
            self.tap_rows.append(np.array(record, np.int64).reshape(-1, 2))
            self.tap_count += len(record) // 2
        taps = self.tap_tables[key][0] * 16
        return ENTRY.line(op=self._kernel(kernel), image=image, taps=taps, src=source, dst=target, bias=bias)

    def _planes(self, step: int, row: int) -> tuple[int, int]:
        # The list of planes that a point is summed over: where each lies among the points, and among the weights.
        key = ("planes", step, row)
        if key not in self.tap_tables:
            numbers = np.arange(self.plane_count)
            self.tap_tables[key] = (self.tap_count, self.plane_count)
            self.tap_rows.append(np.stack([numbers * step, numbers * self.held * row], axis=1))
            self.tap_count += self.plane_count
        return self.tap_tables[key]

    def _sums(self, phase: Phase, point: int, points: int, sums: int, block: Lanes) -> list[tuple[int, ...]]:
        """Sum one point of all tiles."""
        row = block.vectors * self.lanes * self.size
        apart, count = self._apart(phase, self.images), math.prod(phase.points)
        taps, planes = self._planes(count * apart * self.pixel, row)
        weights = block.at + sum(self._piece_bytes(n, block.vectors) for n in self.full_taps[: phase.number])
        weights += self._piece_bytes(self.plane_count * point, block.vectors)
        entries = []
        where = list(itertools.product(*(range(n) for n in phase.points)))[point]
        for start, stop in phase.with_point(where, self.images):
            for first, pixels in self._cover(stop - start, block.vectors, False)[1]:
                kernel = Tile(1, pixels, block.vectors, self.block, self.layer.scalar, biased=False)
                at = point * apart + start + first
                entries.append(ENTRY.line(
                    op=self._kernel(kernel), taps=taps * 16, count=planes, weights=weights,
                    weights_block=self.plane_count * self.held * row, src=points + at * self.pixel,
                    base=NOW.offset("rows"), dst=sums + at * row, pitch=row,
                ))  # fmt: skip
        return entries

    def _back(self, where: Sequence[tuple[Phase, int]], block: Lanes) -> list[tuple[int, ...]]:
        """Transform sums back, row of tiles by row, and store the rows."""
        entries = []
        for image, corner in itertools.product(range(self.images), where[0][0].corners()):
            for phase, sums in where:
                entries += self._back_row(phase, corner, sums, block, image)
            entries += self._stores([phase for phase, _ in where], image, corner, block)
        return entries

    def _back_row(self, phase: Phase, corner: Corner, sums: int, block: Lanes, image: int) -> list[tuple[int, ...]]:
        cuts, counts, cells = phase.cuts, phase.points, phase.cells[2]
        own = self._own_points(phase, corner)
        lanes, width = block.vectors * self.lanes * self.size, self.machine.vector_bytes
        axes = [axis for axis in (2, 1, 0) if counts[axis] > 1] or [2]
        out = self.layer.sides[2].step_out
        apart = self._apart(phase, self.images) * lanes
        across = phase.across(corner, image, self.images)
        at = sums + across[0][1] * lanes  # unless there are tiles along the last axis, which is then the first
        row_pitch, point = counts[2] * apart, apart
        rows = phase.lines[2].start * lanes
        strip = max(row.first + row.count * row.m * cuts[2].step for row in phase.rows[2]) * lanes
        bias = block.first * self.size
        entries = []
        for i, axis in enumerate(axes):
            last = i == len(axes) - 1
            to = rows if last else self.between_at + i % 2 * self.strip_bytes
            pixel = out * lanes if last else lanes
            if axis == 2:
                for row, tile in across:
                    kernel = Pass("output", row.m, cuts[2].r, cuts[2].m, self.layer.scalar, last)
                    for lines, before, behind in self._planes_of_rows(phase, own):
                        loops = (
                            (lines, row_pitch, strip),
                            (row.count, lanes, row.m * cuts[2].step * pixel),
                            (block.vectors, width, width),
                        )
                        entries.append(self._pass(
                            kernel, "rows", sums + tile * lanes + behind * apart, "rows",
                            to + row.first * pixel + before * strip, loops, point, cuts[2].step * pixel, bias, image,
                        ))  # fmt: skip
                at, row_pitch = to, strip
                continue
            kernel = Pass("output", corner.m[axis], cuts[axis].r, cuts[axis].m, self.layer.scalar, last)
            is_first = i == 0
            if axis == 1:
                outer, outside = own[0], (counts[1] if is_first else own[1]) * row_pitch
                inside, further = row_pitch, corner.m[1] * (self.row_bytes if last else strip)
                step = self.row_bytes if last else strip
            else:
                below = corner.m[1] if counts[1] > 1 else 1
                outer, outside, inside = below, row_pitch if counts[1] == 1 else strip, below * strip
                if counts[1] == 1:
                    inside = row_pitch
                further, step = self.row_bytes, corner.m[1] * self.row_bytes
            loops = ((outer, outside, further), (cells, lanes, pixel), (block.vectors, width, width))
            entries.append(self._pass(kernel, "rows", at, "rows", to, loops, inside, step, bias, image))
            at, row_pitch = to, strip
        return entries

    def _stores(self, phases: Sequence[Phase], image: int, corner: Corner, block: Lanes) -> list[tuple[int, ...]]:
        layer, lanes = self.layer, block.vectors * self.lanes * self.size
        model = phases[0]
        side_d, side_h, side_w = layer.sides
        way = Store("last" if layer.channels_last else "first", layer.scalar, layer.target, layer.activation,
                    layer.residual)  # fmt: skip
        number = self._kernel(way)
        low = min(phase.lines[2].start for phase in phases)
        columns = max(phase.lines[2].start + side_w.step_out * (phase.cells[2] - 1) for phase in phases) + 1 - low
        entries = []
        for i, j in itertools.product(range(corner.m[0]), range(corner.m[1])):
            cell_d, cell_h = corner.depth + i * model.cuts[0].step, corner.row + j * model.cuts[1].step
            if cell_d >= model.cells[0] or cell_h >= model.cells[1]:
                continue
            y = image * self.y_image + block.first * self.y_channel + low * self.y_pixel
            y += (model.lines[0].start + side_d.step_out * cell_d) * self.y_pitch[0]
            y += (model.lines[1].start + side_h.step_out * cell_h) * self.y_pitch[1]
            entries.append(ENTRY.line(
                op=number, src=(i * corner.m[1] + j) * self.row_bytes + low * lanes, dst=y, pitch=lanes,
                dst_row=self.y_channel, pixels=columns, lanes=block.count, step=self.y_pixel,
            ))  # fmt: skip
        return entries

    # -- all of it ----------------------------------------------------------------------------------------------------

    def result(self) -> Schedule:
        """Write every table."""
        found = super().result()
        found.phases = 1
        found.packer = WeightTransform(self.layer.source, self.layer.scalar, self.shapes)
        return found

    def _loops(self) -> str:
        layer, band = self.layer, self.band
        cuts = [-(-side.cells // b) for side, b in zip(layer.sides, band, strict=True)]
        shapes = " and ".join(shape.words for shape in self.shapes)
        return "\n".join([
            f"for each of {-(-layer.batch // self.images)} x {self.images} image(s)",
            f"for each of {cuts[0]} x {cuts[1]} x {cuts[2]} bands of {band[0]} x {band[1]} x {band[2]} cells",
            f"for each of {layer.groups} group(s)",
            f"pack the patch and transform it, {self.block_bytes:,} bytes for {self.block} channels: {shapes}",
            f"for each of {len(self.lane_blocks)} block(s) of up to {2 * self.lanes} output channels",
            "for each point and register tile: the micro-kernel",
            f"    for each of {self.blocks} block(s) of up to {self.block} input channels",
            f"        for each of {self.plane_count} plane(s)",
            "            for each channel: multiply and add",
            "for each row of tiles: transform it back, add the bias and store it in the layout of the result",
        ])  # fmt: skip


def _foreseen(groups: Sequence[list[tuple[int, ...]]]) -> list[tuple[int, ...]]:
    # Groups of tiles with the same weights: each asks for those of the next, as far ahead as they are.
    weights, step = ENTRY.index["weights"], ENTRY.index["step"]
    at = [group[0][weights] for group in groups]
    ahead = [b - a for a, b in zip(at, [*at[1:], at[-1]], strict=True)]
    return [
        (*entry[:step], far, *entry[step + 1 :]) for group, far in zip(groups, ahead, strict=True) for entry in group
    ]


def _round(n: int, step: int) -> int:
    return -(-n // step) * step
