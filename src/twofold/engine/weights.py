"""Weights packed: the order in which a micro-kernel reads them, made by generated code at the speed of memory.

    [piece: lanes of outputs, a phase][block of input channels][tap][channel of the block][V * lanes]

A table of pieces says where each begins on both sides. There are three ways to fetch:

    gather     vectors of outputs, for any strides and any taps
    squares    where input channels and taps are one dense row per output (convolutions): transposed in registers
    parted     where outputs and 2, 4, 8 or 16 taps are one dense row per input (transposed ones): parted in registers

The last two are three to six times as fast. And two occasions: all weights before the layer (`WeightPacker`), or one
block of outputs by the job that is about to use it (`BlockPacker`), so that they never leave the second cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from twofold.engine.emit import BYTES, Function, Module, Value, vector
from twofold.engine.records import ENTRY, NOW, Record

__all__ = ["PACKING", "PIECE", "BlockPacker", "WeightPacker"]

# Source and target offsets, lanes that exist, bytes of a row of lanes, taps: the table of their offsets in the source.
PIECE = Record("source", "target", "lanes", "row", "taps", "count")
# What all pieces share. Threads take `count` groups off the counter `next`, each of `phases` pieces of the same
# outputs: one channel of all of them after the other, since their taps lie side by side in the source. For squares,
# `places` says to which row of lanes each of the `cells` elements of an output goes; for parted taps, to which row of
# the first block of input channels each goes, and how many rows further for each block.
PACKING = Record(
    "source", "target", "next", "pieces", "count", "outs", "ins", "channels", "block", "phases", "places", "cells"
)


@dataclass(frozen=True, slots=True)
class WeightPacker:
    """The copy of weights into pieces: `void f(packing)`, which may be called on any number of threads at once."""

    source: str
    scalar: str
    way: str = "gather"

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        return f"weights_{self.way}_{self.source}_{self.scalar}"

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        f = module.function(self.name, packing="ptr")
        source, target = (PACKING.get(f, f.packing, x, "ptr") for x in ("source", "target"))
        counter = f.packing + PACKING.offset("next")
        copy = _Copy(f, f.packing, self.source, self.scalar, self.way, whole=False)
        with f.forever(f.let("i64", f"atomicrmw add ptr {counter.text}, i64 1 monotonic")) as (number, again):
            f.return_unless(f.compare("slt", number, PACKING.get(f, f.packing, "count")))
            copy.group(number, source, target)
            again(f.let("i64", f"atomicrmw add ptr {counter.text}, i64 1 monotonic"))


@dataclass(frozen=True, slots=True)
class BlockPacker:
    """The same for one block of outputs, as an entry of a program; tiles after it read what it packed."""

    source: str
    scalar: str
    way: str = "gather"

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        return f"block_{self.way}_{self.source}_{self.scalar}"

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        f = module.function(self.name, now="ptr", entry="ptr")
        packing = ENTRY.get(f, f.entry, "taps", "ptr")
        target = NOW.get(f, f.now, "rows", "ptr") + ENTRY.get(f, f.entry, "dst")
        copy = _Copy(f, packing, self.source, self.scalar, self.way, whole=True)
        copy.group(ENTRY.get(f, f.entry, "src"), NOW.get(f, f.now, "raw", "ptr"), target)
        NOW.put(f, f.now, "weights", target)


class _Copy:
    def __init__(self, f: Function, packing: Value, source: str, scalar: str, way: str, whole: bool) -> None:
        self.f, self.packing, self.source, self.scalar = f, packing, source, scalar
        self.way, self.whole = way, whole  # whether lanes that no output has are written, as zeros
        self.size = BYTES[scalar]
        self.lanes = f.module.machine.vector_bytes // self.size
        self.kind = vector(self.lanes, source)
        self.outs, self.ins, self.channels, self.block, self.phases = (
            PACKING.get(f, packing, x) for x in ("outs", "ins", "channels", "block", "phases")
        )
        self.pieces = PACKING.get(f, packing, "pieces", "ptr")
        self.held = f.least(self.channels, self.block)  # channels of a block that have room
        self.places, self.cells = PACKING.get(f, packing, "places", "ptr"), PACKING.get(f, packing, "cells")
        if way == "gather":
            self.between = f.binary("mul", f.lanes(self.lanes), f.splat(self.outs, self.lanes))

    def group(self, number: Value, source: Value, target: Value) -> None:
        """Copy all pieces of one block of outputs."""
        first = self.pieces + number * self.phases * PIECE.bytes
        if self.way == "squares":
            self._squares(first, source, target)
        elif self.way == "gather":
            self._gathered(first, source, target)
        else:
            self._parted(int(self.way.removeprefix("parted")), first, source, target)

    def _gathered(self, first: Value, source: Value, target: Value) -> None:
        f = self.f
        with f.loop(self.channels) as channel:
            blocks, inside = channel.index // self.block, channel.index % self.block
            with f.loop(self.phases) as phase:
                self._piece(first + phase.index * PIECE.bytes, source, target, (channel.index, blocks, inside))

    def _piece(self, piece: Value, source: Value, target: Value, where: tuple[Value, Value, Value]) -> None:
        f = self.f
        channel, blocks, inside = where
        row, count = PIECE.get(f, piece, "row"), PIECE.get(f, piece, "count")
        taps, wanted = PIECE.get(f, piece, "taps", "ptr"), PIECE.get(f, piece, "lanes")
        here = source + PIECE.get(f, piece, "source") + channel * self.ins
        place = (blocks * count * self.held + inside) * row
        there = target + PIECE.get(f, piece, "target") + place
        with f.loop(wanted, step=self.lanes) as lane:
            mask = f.mask(wanted - lane.index, self.lanes)
            from_, to = here + lane.index * self.outs, there + lane.index * self.size
            with f.loop(count) as tap:
                x = f.gather(self.kind, from_ + f.load("i64", taps + tap.index * 8), self.between, mask)
                at = to + tap.index * (self.held * row)
                if self.whole:
                    f.store(f.convert(x, self.scalar), at)
                else:
                    f.store_masked(f.convert(x, self.scalar), at, mask)

    def _squares(self, piece: Value, source: Value, target: Value) -> None:
        # Outputs x elements, transposed. Outputs past the last are the last again: no sum reads those lanes.
        f, lanes = self.f, self.lanes
        item = BYTES[self.source]
        row, wanted = PIECE.get(f, piece, "row"), PIECE.get(f, piece, "lanes")
        here, there = source + PIECE.get(f, piece, "source"), target + PIECE.get(f, piece, "target")
        with f.loop(wanted, step=lanes) as lane:
            starts = [here + f.least(wanted - 1, lane.index + i) * self.outs for i in range(lanes)]
            to = there + lane.index * self.size
            with f.loop(self.cells, step=lanes) as cell:
                left = self.cells - cell.index
                mask = f.mask(left, lanes)
                for start in starts:
                    f.prefetch(start + (cell.index * item + 4 * lanes * item))
                rows = [f.load_masked(self.kind, start + cell.index * item, mask) for start in starts]
                for i, column in enumerate(f.transpose([f.convert(x, self.scalar) for x in rows])):
                    with f.when(f.compare("sgt", left, i)):
                        place = f.load("i64", self.places + (cell.index + i) * 8)
                        f.store(column, to + place * row)

    def _parted(self, taps: int, piece: Value, source: Value, target: Value) -> None:
        f, lanes = self.f, self.lanes
        item = BYTES[self.source]
        row, wanted = PIECE.get(f, piece, "row"), PIECE.get(f, piece, "lanes")
        here, there = source + PIECE.get(f, piece, "source"), target + PIECE.get(f, piece, "target")
        with f.loop(self.channels) as channel:
            blocks, inside = channel.index // self.block, channel.index % self.block
            line = here + channel.index * self.ins
            with f.loop(wanted, step=lanes) as lane:
                left = (wanted - lane.index) * taps
                start = line + lane.index * (taps * item)
                for i in range(taps):  # each channel is on another page, where the machine foresees nothing
                    f.prefetch(start + self.ins * 3 + i * lanes * item)
                masks = [f.mask(left - i * lanes, lanes) for i in range(taps)]
                cells = [f.load_masked(self.kind, start + i * lanes * item, mask) for i, mask in enumerate(masks)]
                for tap, x in enumerate(self._apart([f.convert(x, self.scalar) for x in cells])):
                    first, further = (f.load("i64", self.places + (2 * tap + i) * 8) for i in (0, 1))
                    place = (first + blocks * further + inside) * row
                    f.store(x, there + place + lane.index * self.size)

    def _apart(self, cells: list[Value]) -> list[Value]:
        # Every n-th element of n vectors, by log2(n) rounds that part the even ones from the odd ones.
        if len(cells) == 1:
            return cells
        even = list(range(0, 2 * self.lanes, 2))
        pairs = list(zip(cells[::2], cells[1::2], strict=True))
        evens, odds = ([self.f.shuffle(a, b, [i + odd for i in even]) for a, b in pairs] for odd in (0, 1))
        parted = zip(self._apart(evens), self._apart(odds), strict=True)
        return [x for pair in parted for x in pair]
