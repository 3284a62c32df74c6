"""The schedule of a depthwise layer whose input and result have their channels last: the input is read where it stands.

No patch is packed. A job is a band of rows of one image; its program goes tile by tile, each for all channels:

    for each R rows of cells, phase by phase
      for each tile of Q columns: one micro-kernel (`strip`, in place)
      one store for each row, where results wait in the row buffer

What a tile reads outside of the input is skipped by rows, and by columns where no pixel of the tile has them; the rest
is zero, by a choice between two addresses.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from twofold.engine.emit import BYTES
from twofold.engine.lower import Side
from twofold.engine.machine import Machine
from twofold.engine.pace import pace
from twofold.engine.records import ENTRY, JOB, NOW
from twofold.engine.schedule import Layer, Schedule
from twofold.engine.store import Store
from twofold.engine.strip import Strip
from twofold.engine.tables import Heads, band_class, cover, meets, offsets, products, tap_sources
from twofold.engine.weights import PIECE

__all__ = ["cost", "fits", "schedule"]

Table = npt.NDArray[np.int64]
_BAND = 4  # tiles of rows that a job has
_LOOPS = """for each image, each band of rows                     a job; the input is read where it stands
  for each tile of rows, phase by phase
    for each tile of columns, for each vector of channels
      for each row of x, for each column of taps      or all of them unrolled
        pixels of x, times the weights of each row of the tile that reads them"""


def fits(layer: Layer, machine: Machine, input_last: bool) -> bool:
    """Return whether this way is open: depthwise, all channels last and dense, at least one vector of them."""
    lanes = machine.vector_bytes // BYTES[layer.scalar]
    return layer.depthwise and input_last and layer.channels_last and layer.groups >= lanes


def cost(layer: Layer, machine: Machine) -> float:
    """Return about how many cycles of one core it takes, in the coin of `tables.cost_of_tiles`."""
    lanes = machine.vector_bytes // BYTES[layer.scalar]
    blocks = -(-layer.groups // lanes)
    cells_in = math.prod(side.in_size for side in layer.sides) * layer.batch
    cells_out = math.prod(side.out_size for side in layer.sides) * layer.batch
    bytes_ = (cells_in + cells_out) * blocks * machine.vector_bytes
    here = pace(machine)
    stored = here.phases if any(side.step_out > 1 for side in layer.sides) else 4.0
    computed = blocks * (here.depthwise[1] * products(layer) + stored * cells_out)
    return max(computed, bytes_ / (24 if bytes_ < machine.l2 else 8))


def schedule(layer: Layer, machine: Machine, threads: int = 1) -> Schedule:
    """Cut a layer into jobs and write their programs. The input must be dense, with its channels last."""
    return _Planner(layer, machine, threads).result()


class _Planner:
    def __init__(self, layer: Layer, machine: Machine, threads: int) -> None:
        self.layer, self.machine = layer, machine
        self.size, self.source, self.target = (BYTES[t] for t in (layer.scalar, layer.source, layer.target))
        self.lanes = machine.vector_bytes // self.size
        self.channels = layer.groups
        many = machine.registers >= 32
        self.rows, self.ladder = (4, ((6, 8.0), (4, 6.0))) if many else (2, ((4, 6.0), (3, 5.0)))
        self.filter, self.filter_pixels = self._filter()
        self.kernels: dict[Any, int] = {}
        self.known: dict[object, tuple[Table, int]] = {}
        self.heads = Heads()
        ins, outs = [side.in_size for side in layer.sides], [side.out_size for side in layer.sides]
        pixel = self.channels * self.source
        self.x_pitch = (ins[1] * ins[2] * pixel, ins[2] * pixel, pixel)
        pixel = self.channels * self.target
        self.y_pitch = (outs[1] * outs[2] * pixel, outs[2] * pixel, pixel)
        self.y_image = outs[0] * self.y_pitch[0]
        self.row_bytes = -(-outs[2] * self.channels * self.size // 64) * 64
        self.direct = layer.target == layer.scalar and layer.activation == "none" and not layer.residual
        self.streaming = self.direct and self.y_image * layer.batch > 4 * machine.l2
        self.phases = list(itertools.product(*(side.lines for side in layer.sides)))
        self.taps = [math.prod(len(line.taps) for line in phase) for phase in self.phases]
        blocks = -(-self.channels // self.lanes)
        self.piece = [taps * machine.vector_bytes for taps in self.taps]  # bytes of one block of channels
        self.starts = list(itertools.accumulate((blocks * piece for piece in self.piece), initial=0))
        self.band = self._band(threads)

    def _band(self, threads: int) -> int:
        depth, height, _ = (side.cells for side in self.layer.sides)
        band = self.rows * _BAND
        while band > self.rows and self.layer.batch * depth * -(-height // band) < 4 * threads > 4:
            band -= self.rows
        return band

    def _filter(self) -> tuple[tuple[int, ...], int]:
        # The sums of a tile and a row of its input must stay in registers; what is left is how many pixels it has.
        side_d, *sides = self.layer.sides
        lines = [side.lines[0] for side in sides]
        dense = all(map(_dense, self.layer.sides)) and len(side_d.lines[0].taps) == 1
        taps_h, taps_w = (len(line.taps) for line in lines)
        step_h, step_w = (side.step_in for side in sides)
        if not dense or not (taps_h <= 7 and 3 <= taps_w <= 7) or max(step_h, step_w) > 2:
            return (), 0
        spare = self.machine.registers - 1 - (not self.machine.has_fma)
        for pixels in (4, 3):
            if self.rows * pixels + (pixels - 1) * step_w + taps_w <= spare and lines[1].count >= pixels:
                return (taps_h, taps_w, step_h, step_w), pixels
        return (), 0

    def _kernel(self, kernel: Any) -> int:
        return self.kernels.setdefault(kernel, len(self.kernels))

    # -- programs -----------------------------------------------------------------------------------------------------

    def _program(self, depth: int, first: int, stop: int) -> list[Table]:
        # Offsets are relative to the cell (depth, first) and to what it yields.
        return [self._tile_of_rows(depth, at, min(self.rows, stop - at), first) for at in range(first, stop, self.rows)]

    def _tile_of_rows(self, depth: int, at: int, most: int, first: int) -> Table:
        # Written once for all tiles with the same taps, then moved.
        side_d, side_h, side_w = self.layer.sides
        key = (most, band_class(side_d, depth, depth + 1), band_class(side_h, at, at + most))
        if key not in self.known:
            entries: list[tuple[int, ...]] = []
            places = itertools.product(*(range(len(side.lines)) for side in self.layer.sides))
            numbers = {place: number for number, place in enumerate(places)}
            for d, h in itertools.product(range(len(side_d.lines)), range(len(side_h.lines))):
                rows = min(most, side_h.lines[h].count - at)
                if rows <= 0 or depth >= side_d.lines[d].count:
                    continue
                y = side_d.lines[d].start * self.y_pitch[0]
                y += (side_h.lines[h].start + side_h.step_out * (at - first)) * self.y_pitch[1]
                for w in range(len(side_w.lines)):
                    entries += self._tiles(depth, at, rows, numbers[d, h, w], (at - first), y)
                if not self.direct:
                    entries += self._stores(rows, y)
            self.known[key] = np.array(entries, np.int64).reshape(-1, len(ENTRY.fields)), at - first
        table, place = self.known[key]
        table, moved = table.copy(), at - first - place
        base = table[:, ENTRY.index["base"]]  # zero for what stores: that goes from the rows to y
        table[base != 0, ENTRY.index["src"]] += moved * side_h.step_in * self.x_pitch[1]
        table[base != NOW.offset("rows"), ENTRY.index["dst"]] += moved * side_h.step_out * self.y_pitch[1]
        return table

    def _tiles(self, depth: int, at: int, rows: int, number: int, down: int, y: int) -> list[tuple[int, ...]]:
        layer, line = self.layer, self.phases[number][2]
        side_h, side_w = layer.sides[1:]
        ladder = ((self.filter_pixels, 1.0),) if self.filter else self.ladder
        entries: list[tuple[int, ...]] = []
        for column, wide in cover(line.count, ladder, ((2, 4.0), (1, 3.0))):
            first = side_w.step_in * column
            span = range(first, first + side_w.step_in * wide, side_w.step_in)
            across = offsets(side_w, line)
            met = [t for t, o in enumerate(across) if any(0 <= cell + o < side_w.in_size for cell in span)]
            low, high = (0, len(across)) if self.filter else (met[0], met[-1] + 1) if met else (0, 0)
            guarded = any(
                not 0 <= cell + o < side_w.in_size for o in across[low:high] for cell in (span[0], span[-1])
            )  # fmt: skip
            kernel = Strip(
                self.rows, wide, layer.scalar, layer.source, True, guarded, streaming=self.streaming, filter=self.filter
            )
            find = self._filtered if self.filter else self._stepped
            head, row, cell, apart, line_apart = find((depth, at), rows, number, (low, high))
            if self.direct:
                base, dst = "y", y + (line.start + side_w.step_out * column) * self.y_pitch[2]
                pitch, y_row = side_w.step_out * self.y_pitch[2], side_h.step_out * self.y_pitch[1]
            else:
                pixel = self.channels * self.size
                base, dst = "rows", (line.start + side_w.step_out * column) * pixel
                pitch, y_row = side_w.step_out * pixel, self.row_bytes
            entries.append(
                ENTRY.line(
                    op=self._kernel(kernel),
                    taps=head,
                    count=(first + cell) * self.x_pitch[2],
                    src=row + down * side_h.step_in * self.x_pitch[1],
                    src_row=apart,
                    step=line_apart,
                    weights=self.starts[number] + low * self.machine.vector_bytes,
                    weights_block=self.piece[number],
                    base=NOW.offset(base),
                    dst=dst,
                    pitch=pitch,
                    dst_row=y_row,
                    lanes=self.channels,
                )
            )
        return entries

    def _stepped(
        self, at: tuple[int, int], rows: int, number: int, columns: tuple[int, int]
    ) -> tuple[int, int, int, int, int]:
        # A head; offsets of its row and column (in bytes, in cells); how far apart the columns and rows of x are.
        (side_d, side_h, side_w), (line_d, line_h, line_w) = self.layer.sides, self.phases[number]
        wide = self.machine.vector_bytes
        met = meets((side_d, side_h), (line_d, line_h), at, rows, self._place)
        steps = [(x, tap * len(line_w.taps) * wide, which) for x, tap, which in met.steps(self.rows)]
        cells = [o * self.x_pitch[2] for o in offsets(side_w, line_w)[slice(*columns)]]
        limit = side_w.in_size * self.x_pitch[2]
        head = self.heads.add(steps if cells else (), cells, -met.apart * len(line_w.taps) * wide, wide, rows, limit)
        return head, 0, 0, side_w.step_in * self.x_pitch[2], 0

    def _place(self, depth: int, row: int) -> int:
        return int(depth * self.x_pitch[0] + row * self.x_pitch[1])

    def _filtered(
        self, at: tuple[int, int], rows: int, number: int, columns: tuple[int, int]
    ) -> tuple[int, int, int, int, int]:
        sides = self.layer.sides
        d, h, w = (offsets(side, line)[0] for side, line in zip(sides, self.phases[number], strict=True))
        met = 0
        if 0 <= sides[0].step_in * at[0] + d < sides[0].in_size:
            for i in range((self.rows - 1) * self.filter[2] + self.filter[0]):
                met |= (0 <= sides[1].step_in * at[1] + h + i < sides[1].in_size) << i
        head = self.heads.add((), (), 0, 0, rows, sides[2].in_size * self.x_pitch[2], met)
        return head, d * self.x_pitch[0] + h * self.x_pitch[1], w, self.x_pitch[2], self.x_pitch[1]

    def _stores(self, rows: int, y: int) -> list[tuple[int, ...]]:
        layer, side_h, side_w = self.layer, *self.layer.sides[1:]
        way = Store("last", layer.scalar, layer.target, layer.activation, layer.residual)
        return [
            ENTRY.line(
                op=self._kernel(way),
                src=r * self.row_bytes,
                dst=y + r * side_h.step_out * self.y_pitch[1],
                pitch=self.channels * self.size,
                dst_row=self.target,
                pixels=side_w.out_size,
                lanes=self.channels,
                step=self.y_pitch[2],
            )
            for r in range(rows)
        ]

    # -- all of it ----------------------------------------------------------------------------------------------------

    def result(self) -> Schedule:
        layer, (side_d, side_h, _) = self.layer, self.layer.sides
        programs: dict[object, tuple[int, int]] = {}
        parts: list[Table] = []
        length = 0
        jobs = []
        for depth, first in itertools.product(range(side_d.cells), range(0, side_h.cells, self.band)):
            stop = min(first + self.band, side_h.cells)
            key = (band_class(side_d, depth, depth + 1), band_class(side_h, first, stop))
            if key not in programs:
                start = length
                for part in self._program(depth, first, stop):
                    parts.append(part)
                    length += len(part)
                programs[key] = start, length
            y = depth * side_d.step_out * self.y_pitch[0] + first * side_h.step_out * self.y_pitch[1]
            start, end = programs[key]
            jobs.append(JOB.line(first_d=depth, first_h=first, y=y, start=start, stop=end, blocks=1, last=1))
        pieces, sources = self._pieces()
        fixed = {"per_block": len(jobs), "images": 1, "batch": layer.batch, "y_image": self.y_image,
                 "count": len(jobs) * layer.batch}  # fmt: skip
        for axis, side in zip("dhw", layer.sides, strict=True):
            fixed |= {f"size_{axis}": side.in_size, f"step_{axis}": side.step_in, f"planes_{axis}": len(side.residues)}
        return Schedule(
            kernels=cast("Any", list(self.kernels)),
            program=np.concatenate(parts),
            jobs=np.array(jobs, np.int64).reshape(-1, len(JOB.fields)),
            pieces=pieces,
            taps=self.heads.table(),
            sources=sources,
            fixed=fixed,
            weight_bytes=self.starts[-1],
            bias_lanes=self.channels,
            bias_index=np.arange(self.channels),
            patch_bytes=0,
            rows_bytes=0 if self.direct else self.rows * self.row_bytes,
            block=self.lanes,
            loops=_LOOPS,
            vectors=(1,),
            residues=[side.residues for side in layer.sides],
        )

    def _pieces(self) -> tuple[Table, Table]:
        layer, item = self.layer, BYTES[self.layer.source]
        sources, rows, at = [], [], 0
        for number, phase in enumerate(self.phases):
            sources.append(tap_sources(layer, phase) * item)
            for block, first in enumerate(range(0, self.channels, self.lanes)):
                source = min(first, self.channels - self.lanes) * layer.group_stride * item
                target = self.starts[number] + block * self.piece[number]
                rows.append((source, target, self.lanes, self.machine.vector_bytes, at * 8, self.taps[number]))
            at += self.taps[number]
        return np.array(rows, np.int64).reshape(-1, len(PIECE.fields)), np.concatenate(sources).astype(np.int64)


def _dense(side: Side) -> bool:
    # Whether there is one phase, whose taps are neighbouring cells.
    first, *rest = (offsets(side, line) for line in side.lines)
    return side.step_out == 1 and not rest and first == list(range(first[0], first[0] + len(first)))
