"""Images of one cell: the first layer of a generator, or a dense layer. Neighbouring images are the pixels of a tile.

Each output cell has a list of taps of its own, so nothing is multiplied with padding; weights are read once for a block
of images.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from twofold.engine.lower import Line, Run
from twofold.engine.machine import Machine
from twofold.engine.records import NOW
from twofold.engine.schedule import Lanes, Layer, Planner, Schedule, balanced
from twofold.engine.store import Store

__all__ = ["fits", "schedule"]

_MOST = 56  # images of a block


def fits(layer: Layer, machine: Machine) -> bool:
    """Whether every input is one cell."""
    return not layer.depthwise and all(side.in_size == 1 for side in layer.sides)


def schedule(layer: Layer, machine: Machine, threads: int = 1) -> Schedule:
    """Write the tables of such a layer."""
    return _Single(layer, machine, threads).result()


class _Single(Planner):
    def _band(self) -> list[int]:
        return [side.cells for side in self.layer.sides]

    def _geometry(self) -> None:
        super()._geometry()
        self.room, self.planes, self.pitch = [1, 1, 1], [1, 1, 1], [self.pixel] * 3
        self.images = balanced(self.layer.batch, _MOST)
        self.image_bytes = self.pixel
        self.block_bytes = self.images * self.pixel + self._tail()
        self.patch_size = self.blocks * self.block_bytes
        self.row_bytes = (self.images + 32) * 2 * self.lanes * self.size

    def _first(self, place: tuple[int, ...]) -> list[int]:
        return [0, 0, 0]

    def _residues(self) -> list[tuple[int, ...]]:
        return [(0,)] * 3

    def _patch_cells(self, axis: int, line: Line, first: int, last: int) -> np.ndarray:
        return np.zeros(last - first, np.int64)

    def _program(self, at: tuple[int, ...], stop: tuple[int, ...], block: Lanes) -> list[tuple[int, ...]]:
        lanes_bytes = block.vectors * self.lanes * self.size
        indirect = not (self.direct and block.count == block.vectors * self.lanes)
        starts = list(itertools.accumulate((self._piece_bytes(t, block.vectors) for t in self.full_taps), initial=0))
        entries: list[tuple[int, ...]] = []
        for number, phase in enumerate(self.phases):
            for runs in itertools.product(*(line.runs for line in phase)):
                taps, count = self._taps(number, [(run.first, run.last) for run in runs], block.vectors)
                _, cover = self._cover(self.images, block.vectors, indirect)
                for y in self._cells(phase, runs, block):
                    for image, images in cover:
                        place = (
                            (NOW.offset("rows"), image * lanes_bytes, lanes_bytes)
                            if indirect
                            else (NOW.offset("y"), y + image * self.y_image, self.y_image)
                        )
                        entries.append((
                            self._tile(1, images, block.vectors, self.streams and not indirect), 0, taps * 16, count,
                            image * self.pixel, 0, block.at + starts[number],
                            self.full_taps[number] * self.held * lanes_bytes, block.first * self.size, *place,
                            0, 0, 0, 0,
                        ))  # fmt: skip
                    if indirect:
                        entries.append(self._flush(y, block, lanes_bytes))
        return entries

    def _cells(self, phase: tuple[Line, ...], runs: tuple[Run, ...], block: Lanes) -> Iterator[int]:
        # Where in the result the cells of a run stand, in bytes.
        for cells in itertools.product(*(range(run.start, run.stop) for run in runs)):
            places = zip(cells, phase, self.layer.sides, self.y_pitch, strict=True)
            inside = sum((line.start + side.step_out * cell) * pitch for cell, line, side, pitch in places)
            yield inside + block.first * self.y_channel

    def _flush(self, y: int, block: Lanes, lanes_bytes: int) -> tuple[int, ...]:
        layer = self.layer
        way = "last" if layer.channels_last else "spread"
        store = Store(way, layer.scalar, layer.target, layer.activation, layer.residual)
        if way == "last":
            return (self._kernel(store), 0, 0, 0, 0, 0, 0, 0, 0, 0, y, lanes_bytes, 0, self.images, block.count,
                    self.y_image)  # fmt: skip
        zero = self._zero()
        return (self._kernel(store), 0, zero * 16, 1, 0, self.size, 0, 0, 0, 0, y, lanes_bytes, self.y_channel,
                self.images, block.count, self.y_image)  # fmt: skip
