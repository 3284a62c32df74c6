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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twofold.engine.emit import BYTES
from twofold.engine.lower import Line
from twofold.engine.machine import Machine
from twofold.engine.micro import Tile
from twofold.engine.records import ENTRY, NOW
from twofold.engine.schedule import Lanes, Layer, Planner, Schedule, Table
from twofold.engine.store import Store
from twofold.engine.winograd import Cut, all_cuts
from twofold.engine.winograd_code import MISSING, PASS, Pass, Shape, WeightTransform

__all__ = ["schedule"]

_MOST_BYTES = 24 << 20  # of what a job has at hand where the weights are read from far away


def schedule(layer: Layer, machine: Machine, threads: int = 1, *, most: int) -> Schedule:
    """Write the tables of such a layer."""
    return _Winograd(layer, machine, threads, most).result()


@dataclass(frozen=True, slots=True)
class _Phase:
    """One phase in a band: its tiles along each axis, and where its points lie."""

    number: int
    cuts: tuple[Cut, ...]
    lines: tuple[Line, ...]
    cells: tuple[int, ...]

    @property
    def tiles(self) -> int:
        """Of one image."""
        return math.prod(cut.tiles(n) for cut, n in zip(self.cuts, self.cells, strict=True))

    @property
    def points(self) -> tuple[int, ...]:
        """Along each axis."""
        return tuple(cut.points for cut in self.cuts)


class _Winograd(Planner):
    def __init__(self, layer: Layer, machine: Machine, threads: int, most: int) -> None:
        self.cuts = all_cuts(layer, most)
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
        return max(
            max(cut.shifts) - side.low + cut.reach(min(band, line.count))
            for cut, line in pairs
            if min(band, line.count)
        )

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

    def _apart(self, phase: _Phase, images: int) -> int:
        # Pixels from point to point: odd, so that the points of a tile do not meet in one set of the cache.
        return phase.tiles * images | 1

    def _band(self) -> list[int]:
        # Rows of tiles for which the patch, its points and the sums fit the second cache.
        sides, layer = self.layer.sides, self.layer
        units = [max(cut.m * cut.step for cut in axis) for axis in self.cuts]
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
            while band[axis] > units[axis] and (bytes_(band) > self.budget or (axis < 2 and jobs < wanted)):
                parts = -(-sizes[axis] // band[axis]) + 1
                size = _round(-(-sizes[axis] // parts), units[axis])
                size = size if size < band[axis] else band[axis] - units[axis]
                band[axis] = max(units[axis], size)
                jobs = layer.batch * layer.groups * math.prod(-(-s // b) for s, b in zip(sizes, band, strict=True))
        return band

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
        return tuple(max(0, min(line.count, stop) - first) for line in self.layer.sides[axis].lines)

    def _phase(self, numbers: Sequence[int], at: Sequence[int], stop: Sequence[int]) -> _Phase | None:
        lines = tuple(side.lines[n] for side, n in zip(self.layer.sides, numbers, strict=True))
        cells = tuple(min(line.count, e) - a for line, a, e in zip(lines, at, stop, strict=True))
        if min(cells) <= 0:
            return None
        cuts = tuple(axis[n] for axis, n in zip(self.cuts, numbers, strict=True))
        index = 0
        for axis, n in zip(self.cuts, numbers, strict=True):
            index = index * len(axis) + n
        return _Phase(index, cuts, lines, cells)

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
                entries += _foreseen(tiles)
                for i, block in enumerate(some):
                    entries += self._back([(phase, sums + i * self.block_sums) for phase, _, sums in where], block)
        return entries

    def _corners(self, phase: _Phase) -> list[tuple[int, int, int]]:
        # First tiles of all rows of tiles of an image: depth and row at which they begin, and their number.
        found, number = [], 0
        columns = phase.cuts[2].tiles(phase.cells[2])
        starts = [
            [first + cut.step * cut.m * i for first, count in cut.rows(cells) for i in range(count)]
            for cut, cells in zip(phase.cuts[:2], phase.cells[:2], strict=True)
        ]
        for depth, row in itertools.product(*starts):
            found.append((depth, row, number))
            number += columns
        return found

    def _forward(self, phase: _Phase, points: int) -> list[tuple[int, ...]]:
        entries = []
        apart = self._apart(phase, self.images) * self.pixel
        plane_bytes = math.prod(phase.points) * apart
        for image, block in itertools.product(range(self.images), range(self.blocks)):
            for depth, row, tile in self._corners(phase):
                for plane, planes in enumerate(itertools.product(*(range(n) for n in self.planes))):
                    cells = [
                        p * room + cut.shifts[p] - side.low
                        for p, room, cut, side in zip(planes, self.room, phase.cuts, self.layer.sides, strict=True)
                    ]
                    source = block * self.block_bytes + image * self.image_bytes
                    source += (cells[0] + depth) * self.pitch[0] + (cells[1] + row) * self.pitch[1]
                    target = block * self.block_bytes + points + plane * plane_bytes
                    target += (image * phase.tiles + tile) * self.pixel
                    entries += self._forward_row(phase, source, cells[2], target, apart)
        return entries

    def _forward_row(self, phase: _Phase, source: int, column: int, target: int, apart: int) -> list[tuple[int, ...]]:
        """Transform a row of tiles along the axes that have tiles, one after the other."""
        cuts, counts = phase.cuts, phase.points
        vectors, width = self.pixel // self.machine.vector_bytes, self.machine.vector_bytes
        axes = [axis for axis in range(3) if counts[axis] > 1] or [2]
        reach = cuts[2].reach(phase.cells[2])
        strip = reach * self.pixel
        row_pitch, slab_pitch = cuts[1].step * self.pitch[1], cuts[0].step * self.pitch[0]
        base, at = "patch", source + column * self.pixel
        entries = []
        for i, axis in enumerate(axes):
            last = i == len(axes) - 1
            to_base = "patch" if last else "rows"
            to = target if last else self.between_at + i % 2 * self.strip_bytes
            kernel = Pass("input", cuts[axis].m, cuts[axis].r, self.layer.scalar)
            if axis == 2:
                lines, tile = cuts[2].rows(phase.cells[2]), 0
                for first, count in lines:
                    loops = (
                        (counts[0] * counts[1], row_pitch if base == "patch" else strip, counts[2] * apart),
                        (count, cuts[2].m * cuts[2].step * self.pixel, self.pixel),
                        (vectors, width, width),
                    )
                    here = at + first * self.pixel
                    entries.append(self._pass(
                        kernel, base, here, to_base, to + tile * self.pixel, loops, cuts[2].step * self.pixel, apart
                    ))  # fmt: skip
                    tile += count
                continue
            outer = counts[1] if axis == 0 else counts[0]
            outside = row_pitch if axis == 0 else counts[1] * strip if base == "rows" else 0
            inside = slab_pitch if axis == 0 else row_pitch if base == "patch" else strip
            if last:  # columns are tiles of one cell
                pixels, point, further = phase.cells[2], apart, counts[1] * apart
            else:
                pixels, point = reach, strip * (counts[1] if axis == 0 else 1)
                further = strip if axis == 0 else counts[1] * strip
            loops = ((outer, outside, further), (1, 0, 0), (pixels * vectors, width, width))
            entries.append(self._pass(kernel, base, at, to_base, to, loops, inside, point))
            base, at = to_base, to
        return entries

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

    def _sums(self, phase: _Phase, point: int, points: int, sums: int, block: Lanes) -> list[tuple[int, ...]]:
        """Sum one point of all tiles."""
        row = block.vectors * self.lanes * self.size
        apart, count = self._apart(phase, self.images), math.prod(phase.points)
        taps, planes = self._planes(count * apart * self.pixel, row)
        weights = block.at + sum(self._piece_bytes(n, block.vectors) for n in self.full_taps[: phase.number])
        weights += self._piece_bytes(self.plane_count * point, block.vectors)
        entries = []
        for first, pixels in self._cover(phase.tiles * self.images, block.vectors, False)[1]:
            kernel = Tile(1, pixels, block.vectors, self.block, self.layer.scalar, biased=False)
            entries.append(ENTRY.line(
                op=self._kernel(kernel), taps=taps * 16, count=planes, weights=weights,
                weights_block=self.plane_count * self.held * row,
                src=points + (point * apart + first) * self.pixel, base=NOW.offset("rows"),
                dst=sums + (point * apart + first) * row, pitch=row,
            ))  # fmt: skip
        return entries

    def _back(self, where: Sequence[tuple[_Phase, int]], block: Lanes) -> list[tuple[int, ...]]:
        """Transform sums back, row of tiles by row, and store the rows."""
        entries = []
        model = where[0][0]
        for image in range(self.images):
            for number, (depth, row, _) in enumerate(self._corners(model)):
                for phase, sums in where:
                    tile = image * phase.tiles + number * phase.cuts[2].tiles(phase.cells[2])
                    entries += self._back_row(phase, sums, tile, block, image)
                entries += self._stores([phase for phase, _ in where], image, depth, row, block)
        return entries

    def _back_row(self, phase: _Phase, sums: int, tile: int, block: Lanes, image: int) -> list[tuple[int, ...]]:
        cuts, counts, cells = phase.cuts, phase.points, phase.cells[2]
        lanes, width = block.vectors * self.lanes * self.size, self.machine.vector_bytes
        axes = [axis for axis in (2, 1, 0) if counts[axis] > 1] or [2]
        out = self.layer.sides[2].step_out
        apart = self._apart(phase, self.images) * lanes
        at = sums + tile * lanes
        row_pitch, point = 0, apart  # between points of rows and of columns, in what is read
        row_pitch = counts[2] * apart
        rows = phase.lines[2].start * lanes
        strip = max(count * cuts[2].m * cuts[2].step + first for first, count in cuts[2].rows(cells)) * lanes
        entries = []
        for i, axis in enumerate(axes):
            last = i == len(axes) - 1
            to = rows if last else self.between_at + i % 2 * self.strip_bytes
            pixel = out * lanes if last else lanes
            kernel = Pass("output", cuts[axis].m, cuts[axis].r, self.layer.scalar, last)
            bias = block.first * self.size
            if axis == 2:
                done = 0
                for first, count in cuts[2].rows(cells):
                    loops = (
                        (counts[0] * counts[1], row_pitch, strip),
                        (count, lanes, cuts[2].m * cuts[2].step * pixel),
                        (block.vectors, width, width),
                    )
                    entries.append(self._pass(
                        kernel, "rows", at + done * lanes, "rows", to + first * pixel, loops, point,
                        cuts[2].step * pixel, bias, image,
                    ))  # fmt: skip
                    done += count
                at, row_pitch = to, strip
                continue
            if axis == 1:
                outer, outside = counts[0], counts[1] * row_pitch
                inside, further = row_pitch, cuts[1].m * (self.row_bytes if last else strip)
                step = self.row_bytes if last else strip
            else:
                below = cuts[1].m if counts[1] > 1 else 1
                outer, outside, inside = below, row_pitch if counts[1] == 1 else strip, below * strip
                if counts[1] == 1:
                    inside = row_pitch
                further, step = self.row_bytes, cuts[1].m * self.row_bytes
            loops = ((outer, outside, further), (cells, lanes, pixel), (block.vectors, width, width))
            entries.append(self._pass(kernel, "rows", at, "rows", to, loops, inside, step, bias, image))
            at, row_pitch = to, strip
        return entries

    def _stores(
        self, phases: Sequence[_Phase], image: int, depth: int, row: int, block: Lanes
    ) -> list[tuple[int, ...]]:
        layer, lanes = self.layer, block.vectors * self.lanes * self.size
        model = phases[0]
        side_d, side_h, side_w = layer.sides
        way = Store("last" if layer.channels_last else "first", layer.scalar, layer.target, layer.activation,
                    layer.residual)  # fmt: skip
        number = self._kernel(way)
        low = min(phase.lines[2].start for phase in phases)
        columns = max(phase.lines[2].start + side_w.step_out * (phase.cells[2] - 1) for phase in phases) + 1 - low
        entries = []
        for i, j in itertools.product(range(model.cuts[0].m), range(model.cuts[1].m)):
            cell_d, cell_h = depth + i * model.cuts[0].step, row + j * model.cuts[1].step
            if cell_d >= model.cells[0] or cell_h >= model.cells[1]:
                continue
            y = image * self.y_image + block.first * self.y_channel + low * self.y_pixel
            y += (model.lines[0].start + side_d.step_out * cell_d) * self.y_pitch[0]
            y += (model.lines[1].start + side_h.step_out * cell_h) * self.y_pitch[1]
            entries.append(ENTRY.line(
                op=number, src=(i * model.cuts[1].m + j) * self.row_bytes + low * lanes, dst=y, pitch=lanes,
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
