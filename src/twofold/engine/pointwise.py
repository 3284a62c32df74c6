"""Kernels of one tap, channels last: the register tile reads its pixels where they stand in the input.

What a cell of the result needs is one cell of the input, whose channels are neighbours already, so there is nothing to
gain from a patch. The same holds for each phase of a transposed convolution whose kernel is no longer than its stride.
Weights are packed, and sums made, as in `schedule`; tiles reach back instead of beyond a row, where other data begins.
Where no cell is skipped, all cells of all images are one row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from twofold.engine.emit import BYTES
from twofold.engine.lower import Line, Run
from twofold.engine.machine import Machine
from twofold.engine.micro import Tile
from twofold.engine.records import JOB
from twofold.engine.schedule import Layer, Planner, Schedule, Span, Table
from twofold.engine.tables import cost_of_tiles, products

__all__ = ["cost", "fits", "schedule"]

_LEAST = 8  # input channels of a group; with fewer, most of a line of the cache would be of no use to a tile


def fits(layer: Layer, machine: Machine, input_last: bool) -> bool:
    """Return whether this way is open: at most one tap for any cell, all channels last, dense, not to be widened."""
    alone = all(side.residues == (0,) and all(len(line.taps) <= 1 for line in side.lines) for side in layer.sides)
    dense = input_last and layer.channels_last and layer.source == layer.scalar
    return alone and dense and not layer.depthwise and layer.inputs >= _LEAST


def cost(layer: Layer, machine: Machine) -> float:
    """Return about how many cycles of one core it takes, in the coin of `tables.cost_of_tiles`."""
    cells = min(products(layer), layer.batch * math.prod(side.in_size for side in layer.sides))
    fetched = layer.groups * layer.inputs * cells * BYTES[layer.scalar]
    collides = layer.groups * layer.inputs * BYTES[layer.source] % 4096 == 0 and len(layer.sides[2].lines) > 1
    return cost_of_tiles(layer, machine, copies=False) + fetched / (8 if collides else 12)  # pixels in one cache set


def schedule(layer: Layer, machine: Machine, threads: int = 1) -> Schedule:
    """Write the tables of such a layer. The input must be dense, with its channels last."""
    return _Pointwise(_joined(layer), machine, threads).result()


def _joined(layer: Layer) -> Layer:
    # All images as one, where the cells of each are one row already.
    *others, side = layer.sides
    is_same = side.step_in == side.step_out == 1 and side.in_size == side.out_size and not (side.low or side.high)
    if not is_same or side.in_size == 1 or any(other.in_size * other.out_size > 1 for other in others):
        return layer
    cells = layer.batch * side.in_size
    line = Line(0, cells, (0,), (0,), (0,), (Run(0, cells, 0, 1),))
    return replace(layer, batch=1, sides=(*others, replace(side, in_size=cells, out_size=cells, lines=(line,))))


class _Pointwise(Planner):
    def _geometry(self) -> None:
        super()._geometry()
        layer, sides = self.layer, self.layer.sides
        pixel = layer.inputs * layer.groups * self.size
        row = sides[2].in_size * pixel
        slab = sides[1].in_size * row
        self.pitch = [p * side.step_in for p, side in zip((slab, row, pixel), sides, strict=True)]
        self.image_bytes = sides[0].in_size * slab
        self.block_bytes = self.block * self.size
        self.patch_size = 0

    def _budget(self) -> int:
        # More than for patches, of which the cache holds what they were copied from, too.
        return max(super()._budget(), int(self.machine.l2 // 2 * 2.0**self.layer.scale))

    def _tile(self, rows: int, pixels: int, vectors: int, streams: bool) -> int:
        return self._kernel(
            Tile(rows, pixels, vectors, self.block, self.layer.scalar, streaming=streams, in_place=True)
        )  # fmt: skip

    def _rows(self, left: int, widths: Sequence[tuple[int, Line, list[Run]]], vectors: int) -> int:
        return super()._rows(left, widths, vectors) if all(len(runs) == 1 for _, _, runs in widths) else 1

    def _row_tiles(self, runs: Sequence[Run], length: int, vectors: int, indirect: bool) -> tuple[float, list[Span]]:
        # Split wherever padding begins, which nothing may read.
        cost, spans = 0.0, []
        for run in runs:
            per, cover = self._cover(run.stop - run.start, vectors, False)
            cost += per
            spans += [Span(run.start + at, q, run.first, run.last) for at, q in cover]
        return cost, spans

    def _finished(self, program: Table, jobs: Table, pieces: Table, sources: Table) -> Schedule:
        # With one tap the blocks of channels follow each other in the input and in the weights: they are taken as one.
        for field, value in (("packs", 0), ("blocks", 1), ("last", self.channels)):
            jobs[:, JOB.index[field]] = value
        return super()._finished(program, jobs, pieces, sources)

    def _loops(self) -> str:
        return "\n".join(line for line in super()._loops().split("\n") if not line.startswith("pack the patch"))
