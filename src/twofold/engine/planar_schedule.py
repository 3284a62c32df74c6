"""The schedule of layers with few outputs per group: a lane is a column of the output.

    for each group, each band of cells                              a job: one patch of planes
      for each depth, each R rows of cells, phases together where they read the same cells
        for each tile: Q vectors of columns of these phases and outputs: one micro-kernel (`strip`, planar)
        for each row: phases and outputs woven into y               unless tiles write y themselves

Phases of a transposed convolution that read the same cells, each through its own taps, are outputs to the micro-kernel:
the more there are, the more is done with each vector that is loaded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from twofold.engine.emit import BYTES
from twofold.engine.lower import Line, Side
from twofold.engine.machine import Machine
from twofold.engine.pace import pace
from twofold.engine.planar import BLOCK, Packer, Weave
from twofold.engine.records import ENTRY, JOB, NOW
from twofold.engine.schedule import Layer, Schedule
from twofold.engine.strip import Strip
from twofold.engine.tables import Heads, band_class, cover, meets, offsets, tap_sources
from twofold.engine.weights import PIECE

__all__ = ["cost", "fits", "packer", "schedule"]

_MOST_STEP = 64
_ENOUGH = 512  # vectors of a row from which its cost is taken to be proportional
Table = npt.NDArray[np.int64]
_MOST_OUTPUTS = 32  # of a group: beyond, lanes are better spent on outputs
_VECTORS = (6, 4, 3, 2, 1)
_LOOPS = """for each image, each group, each band of cells        a job: pack its patch, plane by plane
  for each tile of rows, phases together that read the same cells
    for each block of 16 input channels
      for each row of taps, each of its columns, each channel of the block
        columns of x, times the weight of each output
    weave the rows of phases and outputs into y       unless tiles store y themselves"""


def fits(layer: Layer, machine: Machine) -> bool:
    """Return whether this way is open."""
    if layer.channels_last and layer.groups > 1:
        return False
    if layer.sides[2].step_out > _MOST_STEP:  # phases would wait in too long a row
        return False
    phases = math.prod(len(side.lines) for side in layer.sides)
    return layer.outputs <= _MOST_OUTPUTS and phases <= 4096 and phases * layer.groups <= 1 << 16


def cost(layer: Layer, machine: Machine) -> float:
    """Return about how many cycles of one core it takes."""
    return _Planner(layer, machine, 1).cost()


def packer(layer: Layer, strides: Sequence[int]) -> Packer:
    """Return what packs inputs of such strides (n, c, depth, height, width; in bytes)."""
    item = BYTES[layer.source]
    if strides[4] * layer.sides[2].step_in == item:
        way = "rows"
    else:
        way = "squares" if strides[1] == item and layer.inputs >= 8 else "cells"
    return Packer(way, layer.source, layer.scalar)


def schedule(layer: Layer, machine: Machine, threads: int = 1) -> Schedule:
    """Cut a layer into jobs and write their programs."""
    return _Planner(layer, machine, threads).result()


@dataclass(frozen=True, slots=True)
class _Bundle:
    """Phases, and outputs of each, that one micro-kernel computes side by side; their taps read the same cells."""

    phases: tuple[tuple[int, int], ...]  # numbers of lines in height and width
    first: int  # output
    count: int
    at: int  # where in the packed weights of a group its piece begins, for the first line of depth
    slot: int  # of the row buffer


class _Planner:
    def __init__(self, layer: Layer, machine: Machine, threads: int) -> None:
        self.layer, self.machine, self.threads = layer, machine, threads
        self.size, self.target = BYTES[layer.scalar], BYTES[layer.target]
        self.lanes = machine.vector_bytes // self.size
        self.held = min(layer.inputs, BLOCK)
        self.blocks = -(-layer.inputs // BLOCK)
        self.kernels: dict[Any, int] = {}
        self.known: dict[object, tuple[Table, tuple[int, int]]] = {}
        self.heads = Heads()
        self.free = machine.registers - 1 - (not machine.has_fma)
        self.most = 14 if machine.registers >= 32 else 6  # outputs of a tile
        self._result()
        self._patch()
        self._bundles()

    # -- sizes --------------------------------------------------------------------------------------------------------

    def _result(self) -> None:
        layer = self.layer
        out = [side.out_size for side in layer.sides]
        outs = layer.outputs * layer.groups
        plane = math.prod(out) * self.target
        last = layer.channels_last
        self.y_pixel, self.y_channel = (outs * self.target, self.target) if last else (self.target, plane)
        self.y_pitch = (out[1] * out[2] * self.y_pixel, out[2] * self.y_pixel, self.y_pixel)
        self.y_image = outs * plane
        self.plain = layer.target == layer.scalar and layer.activation == "none" and not layer.residual

    def _patch(self) -> None:
        layer, sides = self.layer, self.layer.sides
        self.band = self._band()
        # Tiles are whole vectors. What they read beyond the columns that are wanted is zeroed with the padding: rubbish
        # may be denormal, and cost a hundred times as much to multiply.
        cells = [*self.band[:2], _round(self.band[2], self.lanes)]
        self.room = [n + s.high - s.low for n, s in zip(cells, sides, strict=True)]
        planes = [len(side.residues) for side in sides]
        line = _round(planes[2] * self.room[2], self.lanes) * self.size
        slab = planes[1] * self.room[1] * line
        channel = _round(planes[0] * self.room[0] * slab, 64)
        channel += 64 * (channel // 64 % 2 == 0)  # an even number of cache lines would make channels share sets
        self.pitch = (slab, line, self.size)
        self.channel = channel
        self.patch_bytes = _round(layer.inputs * channel + _VECTORS[0] * self.machine.vector_bytes, 64)

    def _band(self) -> list[int]:
        layer, sides = self.layer, self.layer.sides
        budget = max(96 << 10, min(self.machine.l2 // 2, 384 << 10))

        def bytes_of(d: int, h: int, w: int) -> int:
            total = layer.inputs * self.size
            for cells, side in zip((d, h, w), sides, strict=True):
                total *= len(side.residues) * (cells + side.high - side.low)
            return total

        d, h, w = (side.cells for side in sides)
        wide = 8 * self.lanes
        while w > wide and bytes_of(1, 1, w) > budget:
            w = max(wide, _round(-(-w // 2), wide))
        while h > 4 and bytes_of(1, h, w) > budget:
            h = max(4, _round(-(-h // 2), 4))
        while d > 1 and bytes_of(d, h, w) > budget:
            d = -(-d // 2)
        jobs = layer.batch * layer.groups * math.prod(-(-s.cells // b) for s, b in zip(sides, (d, h, w), strict=True))
        while jobs < 4 * self.threads > 4 and h > 4:
            h = max(4, _round(-(-h // 2), 4))
            jobs *= 2
        return [d, h, w]

    # -- bundles ------------------------------------------------------------------------------------------------------

    def _bundles(self) -> None:
        # Sets of lines in height, each with the bundles that compute them; the same for every line of depth.
        layer = self.layer
        side_d, side_h, side_w = layer.sides
        chunks = -(-layer.outputs // (8 if self.most > 8 else 4))
        per = -(-layer.outputs // chunks)
        outputs = [(first, min(per, layer.outputs - first)) for first in range(0, layer.outputs, per)]
        across = _alike(side_w)
        widest = per * max(len(lines) for lines in across)
        sets: list[tuple[int, ...]] = []
        for alike in _alike(side_h):
            if widest * len(alike) <= self.most:
                sets.append(tuple(alike))
            else:
                sets += [(line,) for line in alike]
        at = 0
        self.sets: list[tuple[tuple[int, ...], list[_Bundle]]] = []
        for lines in sets:
            bundles, slot = [], 0
            for alike in across:
                phases = list(itertools.product(lines, alike))
                taps = len(side_h.lines[lines[0]].taps) * len(side_w.lines[alike[0]].taps)
                for first, count in outputs:
                    parts = -(-len(phases) * count // self.most)
                    each = -(-len(phases) // min(parts, len(phases)))
                    for start in range(0, len(phases), each):
                        some = tuple(phases[start : start + each])
                        bundles.append(_Bundle(some, first, count, at, slot))
                        at += self._piece(taps, len(some) * count)
                        slot += len(some) * count
            self.sets.append((lines, bundles))
        # Lines of depth come one behind the other: all of it, times their taps.
        self.depth_at = list(itertools.accumulate((at * len(line.taps) for line in side_d.lines), initial=0))
        self.group_bytes = self.depth_at[-1]
        self.slot = _round(self.band[2], self.lanes) * self.size
        self.slots = max(sum(len(b.phases) * b.count for b in bundles) for _, bundles in self.sets)
        single = len(side_w.lines) == 1 and len(side_h.lines) == 1 and not layer.channels_last
        self.direct = self.plain and single and self.band[2] >= self.lanes and side_w.cells % self.band[2] in (
            0, *range(self.lanes, self.band[2])
        )  # fmt: skip

    def _piece(self, taps: int, outputs: int) -> int:
        return self.blocks * taps * self.held * outputs * self.size

    def _shares(self, bundle: _Bundle) -> bool:
        line = self.layer.sides[1].lines[bundle.phases[0][0]]
        return len(bundle.phases) * bundle.count == 1 and len(line.taps) > 1

    def _shape(self, bundle: _Bundle, vectors: int, rows: int) -> tuple[bool, int, tuple[tuple[int, float], ...]]:
        # Whether rows are shared, how many there are, and the ladder of vectors with the cost of each.
        outputs, shared = len(bundle.phases) * bundle.count, self._shares(bundle)

        def fit(r: int, q: int) -> bool:
            spare = q if shared else min(r * q, outputs)
            return r * q * outputs + spare + 1 <= self.free

        def time(r: int, q: int) -> float:
            loads = 2 * q + r if shared else 2 * r * q + outputs
            return max(r * q * outputs / 2, loads / 2, 4.0) + 1.5

        best: tuple[float, int, tuple[tuple[int, float], ...]] | None = None
        for r in (4, 2, 1):
            ladder = tuple((q, time(r, q)) for q in _VECTORS if fit(r, q))
            if not ladder or (r > rows and not shared):
                continue
            cost = sum(time(r, q) for _, q in cover(vectors, ladder)) * math.ceil(rows / r)
            if best is None or cost < best[0] * 0.99:
                best = cost, r, ladder
        assert best is not None
        return shared, best[1], best[2]

    # -- programs -----------------------------------------------------------------------------------------------------

    def _kernel(self, kernel: Any) -> int:
        return self.kernels.setdefault(kernel, len(self.kernels))

    def _program(self, first: tuple[int, ...], stop: tuple[int, ...]) -> list[Table]:
        # Offsets are relative to the band, on both sides.
        side_d, side_h, _ = self.layer.sides
        parts: list[Table] = []
        for d, line_d in enumerate(side_d.lines):
            for depth in range(first[0], min(stop[0], line_d.count)):
                for number, (lines, bundles) in enumerate(self.sets):
                    parted = not all(self._shares(bundle) for bundle in bundles)
                    longest = max((side_h.lines[line] for line in lines), key=lambda line: line.count)
                    for at, rows in _tiles_of_rows(longest, first[1], stop[1], parted):
                        parts.append(self._tile_of_rows(d, number, (depth, at), rows, first, stop))
        return parts

    def _tile_of_rows(
        self, d: int, number: int, at: tuple[int, int], rows: int, first: tuple[int, ...], stop: tuple[int, ...]
    ) -> Table:
        # Written once for all tiles with the same taps and columns, then moved.
        side_d, side_h, side_w = self.layer.sides
        lines, bundles = self.sets[number]
        columns = (stop[2] - first[2], *(min(stop[2], line.count) - first[2] for line in side_w.lines))
        classes = band_class(side_d, at[0], at[0] + 1), band_class(side_h, at[1], at[1] + rows)
        key = (d, number, rows, columns, stop[2] >= side_w.cells, classes)
        down = (at[0] - first[0], at[1] - first[1])
        if key not in self.known:
            entries: list[tuple[int, ...]] = []
            for bundle in bundles:
                entries += self._bundle(d, bundle, at, rows, first, stop)
            if not self.direct:
                for line, r in itertools.product(lines, range(rows)):
                    if at[1] + r >= side_h.lines[line].count:
                        continue
                    y = (side_d.lines[d].start + side_d.step_out * down[0]) * self.y_pitch[0]
                    y += (side_h.lines[line].start + side_h.step_out * (down[1] + r)) * self.y_pitch[1]
                    entries += self._weaves(bundles, line, r, y, first[2], stop[2])
            self.known[key] = np.array(entries, np.int64).reshape(-1, len(ENTRY.fields)), down
        table, place = self.known[key]
        table, moved = table.copy(), (down[0] - place[0], down[1] - place[1])
        base = table[:, ENTRY.index["base"]]  # zero for what stores: that goes from the rows to y
        table[base != 0, ENTRY.index["src"]] += moved[0] * self.pitch[0] + moved[1] * self.pitch[1]
        steps = moved[0] * side_d.step_out * self.y_pitch[0] + moved[1] * side_h.step_out * self.y_pitch[1]
        table[base != NOW.offset("rows"), ENTRY.index["dst"]] += steps
        return table

    def _bundle(
        self, d: int, bundle: _Bundle, at: tuple[int, int], rows: int, first: tuple[int, ...], stop: tuple[int, ...]
    ) -> list[tuple[int, ...]]:
        layer = self.layer
        side_d, side_h, side_w = layer.sides
        h, w = bundle.phases[0]
        line_d, line_h, line_w = side_d.lines[d], side_h.lines[h], side_w.lines[w]
        outputs = len(bundle.phases) * bundle.count
        columns = min(stop[2], max(side_w.lines[w].count for _, w in bundle.phases)) - first[2]
        if columns <= 0:
            return []
        vectors = -(-columns // self.lanes)
        shared, tall, ladder = self._shape(bundle, vectors, rows)
        tap = self.held * outputs * self.size
        cells = [self._cell(side_w, 2, o) for o in offsets(side_w, line_w)]
        if self.direct:
            wide = [(q * self.lanes, c) for q, c in ladder if q * self.lanes <= columns]
            spans = [(at_, n // self.lanes) for at_, n in cover(columns, wide)]
        else:
            spans = [(n * self.lanes, q) for n, q in cover(vectors, ladder)]
        entries: list[tuple[int, ...]] = []
        for down in range(0, rows, tall):
            some = min(tall, rows - down)
            high = tall if shared else some
            here = (at[0], at[1] + down)
            met = meets((side_d, side_h), (line_d, line_h), here, some if shared else 1, self._place)
            steps = [(x, n * len(cells) * tap, which) for x, n, which in met.steps(high)]
            if not shared:
                steps = [(x, n, 0) for x, n, _ in steps]
            head = self.heads.add(steps if cells else (), cells, -met.apart * len(cells) * tap, tap, some)
            source = (here[0] - first[0]) * self.pitch[0] + (here[1] - first[1]) * self.pitch[1]
            block = len(line_d.taps) * len(line_h.taps) * len(cells) * tap
            weights = self.depth_at[d] + bundle.at * len(line_d.taps)
            for column, q in spans:
                if self.direct:
                    base, pitch, y_row = "y", self.y_channel, side_h.step_out * self.y_pitch[1]
                    dst = (line_d.start + side_d.step_out * (here[0] - first[0])) * self.y_pitch[0]
                    dst += (line_h.start + side_h.step_out * (here[1] - first[1])) * self.y_pitch[1]
                    dst += column * self.target + bundle.first * self.y_channel
                else:
                    base, pitch, y_row = "rows", self.slot, self.slots * self.slot
                    dst = (down * self.slots + bundle.slot) * self.slot + column * self.size
                kernel = Strip(high, q, layer.scalar, "", shared=shared, outputs=outputs, channels=bundle.count)
                entries.append(
                    ENTRY.line(
                        op=self._kernel(kernel),
                        taps=head,
                        src=source + column * self.size,
                        src_row=self.pitch[1],
                        weights=weights,
                        weights_block=block,
                        bias=bundle.first * self.size,
                        base=NOW.offset(base),
                        dst=dst,
                        pitch=pitch,
                        dst_row=y_row,
                    )
                )
        return entries

    def _cell(self, side: Side, axis: int, offset: int) -> int:
        # Where a cell of x, counted from the first of its m, stands in the patch.
        plane = side.residues.index(offset % side.step_in)
        return (plane * self.room[axis] + offset // side.step_in - side.low) * self.pitch[axis]

    def _place(self, depth: int, row: int) -> int:
        side_d, side_h, _ = self.layer.sides
        return self._cell(side_d, 0, depth) + self._cell(side_h, 1, row)

    def _weaves(
        self, bundles: Sequence[_Bundle], line: int, row: int, y: int, first: int, stop: int
    ) -> list[tuple[int, ...]]:
        layer, side = self.layer, self.layer.sides[2]
        slots = {}
        for bundle in bundles:
            numbers = itertools.product(bundle.phases, range(bundle.count))
            for n, ((h, w), out) in enumerate(numbers):
                if h == line:
                    slots[w, bundle.first + out] = bundle.slot + n
        columns = min(side.step_out * stop, side.out_size) - side.step_out * first
        lines, outs = range(len(side.lines)), range(layer.outputs)
        turns = [[(w, out) for w in lines] for out in outs]
        if layer.channels_last:
            turns = [[(w, out) for w in lines for out in outs]]
        how = (layer.scalar, layer.target, layer.activation, layer.residual)
        entries: list[tuple[int, ...]] = []
        for out, turn in enumerate(turns):
            apart = len(turn) > self.lanes
            target = y + (0 if layer.channels_last else out * self.y_channel)
            elements = columns * (layer.outputs if layer.channels_last else 1)
            for start in range(0, len(turn), self.lanes):
                some = turn[start : start + self.lanes]
                table = self.heads.words([slots[key] * self.slot for key in some])
                entries.append(
                    ENTRY.line(
                        op=self._kernel(Weave(len(some), *how, apart)),
                        taps=table,
                        src=row * self.slots * self.slot,
                        dst=target + start * self.target,
                        pixels=elements - start,
                        lanes=len(turn),
                    )
                )
        return entries

    # -- all of it ----------------------------------------------------------------------------------------------------

    def result(self) -> Schedule:
        """Write every table."""
        layer, sides = self.layer, self.layer.sides
        programs: dict[object, tuple[int, int]] = {}
        parts: list[Table] = []
        length = 0
        jobs = []
        cuts = [range(0, side.cells, b) for side, b in zip(sides, self.band, strict=True)]
        for place in itertools.product(*cuts):
            stop = tuple(min(p + b, s.cells) for p, b, s in zip(place, self.band, sides, strict=True))
            key = tuple(band_class(side, a, b) for side, a, b in zip(sides, place, stop, strict=True))
            if key not in programs:
                start = length
                for part in self._program(place, stop):
                    parts.append(part)
                    length += len(part)
                programs[key] = start, length
            corner = [p + s.low for p, s in zip(place, sides, strict=True)]
            y = sum(p * s.step_out * pitch for p, s, pitch in zip(place, sides, self.y_pitch, strict=True))
            for group in range(layer.groups):
                outs = group * layer.outputs
                jobs.append(
                    JOB.line(
                        group=group * layer.inputs,
                        first_d=corner[0],
                        first_h=corner[1],
                        first_w=corner[2],
                        y=y + outs * self.y_channel,
                        weights=group * self.group_bytes,
                        bias=outs * self.size,
                        start=programs[key][0],
                        stop=programs[key][1],
                        packs=1,
                        blocks=self.blocks,
                        last=layer.inputs - (self.blocks - 1) * BLOCK,
                    )
                )
        pieces, sources = self._pieces()
        fixed = {
            "per_block": len(jobs), "images": 1, "batch": layer.batch, "y_image": self.y_image,
            "count": len(jobs) * layer.batch, "pixel": self.size, "line": self.pitch[1], "slab": self.pitch[0],
            "block": self.channel, "image": layer.inputs * self.channel,
        }  # fmt: skip
        for axis, side, room in zip("dhw", sides, self.room, strict=True):
            fixed |= {f"size_{axis}": side.in_size, f"step_{axis}": side.step_in, f"room_{axis}": room,
                      f"planes_{axis}": len(side.residues)}  # fmt: skip
        outs = layer.groups * layer.outputs
        return Schedule(
            kernels=cast("Any", list(self.kernels)),
            program=np.concatenate(parts),
            jobs=np.array(jobs, np.int64).reshape(-1, len(JOB.fields)),
            pieces=pieces,
            taps=self.heads.table(),
            sources=sources,
            fixed=fixed,
            weight_bytes=_round(layer.groups * self.group_bytes, 64),
            bias_lanes=outs,
            bias_index=np.arange(outs),
            patch_bytes=self.patch_bytes,
            rows_bytes=0 if self.direct else _round(4 * self.slots * self.slot, 64),
            block=BLOCK,
            loops=_LOOPS,
            vectors=(1,),
            residues=[side.residues for side in layer.sides],
        )

    def _pieces(self) -> tuple[Table, Table]:
        layer, item = self.layer, BYTES[self.layer.source]
        side_d, side_h, side_w = layer.sides
        sources, starts, total = [], {}, 0
        for d, h, w in itertools.product(*(range(len(side.lines)) for side in layer.sides)):
            taps = tap_sources(layer, (side_d.lines[d], side_h.lines[h], side_w.lines[w])) * item
            starts[d, h, w] = total * 8, len(taps)
            sources.append(taps)
            total += len(taps)
        rows = []
        for d, line in enumerate(side_d.lines):
            for bundle in (bundle for _, bundles in self.sets for bundle in bundles):
                row = len(bundle.phases) * bundle.count * self.size
                at = self.depth_at[d] + bundle.at * len(line.taps)
                source = bundle.first * layer.weight_strides[0] * item
                for n, (h, w) in enumerate(bundle.phases):
                    rows.append((source, at + n * bundle.count * self.size, bundle.count, row, *starts[d, h, w]))
        table = np.array(rows, np.int64).reshape(-1, len(PIECE.fields))
        table = np.repeat(table[None], layer.groups, axis=0)
        group = np.arange(layer.groups)[:, None]
        table[:, :, PIECE.index["source"]] += group * layer.group_stride * item
        table[:, :, PIECE.index["target"]] += group * self.group_bytes
        return np.ascontiguousarray(table.reshape(-1, len(PIECE.fields))), np.concatenate(sources).astype(np.int64)

    def cost(self) -> float:
        """Return about how many cycles of one core it takes."""
        # Loads from the second cache make a tile half as slow again as its instructions; where rows are shared, the
        # first and the last steps of a tile meet some of its rows only.
        layer, (side_d, side_h, side_w) = self.layer, self.layer.sides
        total = 0.0
        depths = sum(line.count * len(line.taps) for line in side_d.lines)
        vectors = -(-side_w.cells // self.lanes)
        beyond = max(1.0, vectors / _ENOUGH)  # of long rows a part is looked at
        vectors = min(vectors, _ENOUGH)
        for lines, bundles in self.sets:
            line = side_h.lines[lines[0]]
            for bundle in bundles:
                columns = len(side_w.lines[bundle.phases[0][1]].taps)
                shared, tall, ladder = self._shape(bundle, vectors, line.count)
                steps = len(line.taps) + (tall - 1) * shared
                tile = sum(dict(ladder)[q] for _, q in cover(vectors, ladder))
                total += 1.5 * depths * math.ceil(line.count / tall) * steps * columns * tile * beyond
        cells = math.prod(side.in_size for side in layer.sides)
        copied = cells * layer.inputs * self.size / (5 if side_w.step_in == 1 else 1.2)  # parted into planes
        here, bytes_ = pace(self.machine), self.y_image * layer.batch
        whole = (total * layer.inputs + copied) * layer.groups * layer.batch + bytes_ / 8
        return whole * here.planar + here.written(bytes_, self.machine)


def _tiles_of_rows(line: Line, first: int, stop: int, parted: bool) -> Iterator[tuple[int, int]]:
    # Up to four rows at a time; where they do not share, all of a tile must have the same taps, and be 1, 2 or 4.
    edges = [run.start for run in line.runs] if parted else []
    at, stop = first, min(stop, line.count)
    while at < stop:
        end = min([stop, at + 4, *(edge for edge in edges if edge > at)])
        rows = 2 if parted and end - at == 3 else end - at
        yield at, rows
        at += rows


def _alike(side: Side) -> list[list[int]]:
    # Lines that read the same cells, each through taps of its own. How many cells they have does not matter, so that
    # weights are packed alike for all sizes.
    found: dict[object, list[int]] = {}
    for number, line in enumerate(side.lines):
        found.setdefault((line.shifts, line.planes), []).append(number)
    return list(found.values())


def _round(n: int, step: int) -> int:
    return -(-n // step) * step
