"""Weights packed: the order in which a micro-kernel reads them, made by generated code at the speed of memory.

    [piece: lanes of outputs, a phase][block of input channels][tap][channel of the block][V * lanes]

A table of pieces says where each begins on both sides; lanes that no output has stay as they are in the target (zero).
"""

from __future__ import annotations

from dataclasses import dataclass

from twofold.engine.emit import BYTES, Module, vector
from twofold.engine.records import Record

__all__ = ["PACKING", "PIECE", "WeightPacker"]

# Source and target offsets, lanes that exist, bytes of a row of lanes, taps: the table of their offsets in the source.
PIECE = Record("source", "target", "lanes", "row", "taps", "count")
# What all pieces share. Threads take `count` groups off the counter `next`, each of `phases` pieces of the same
# outputs: one channel of all of them after the other, since their taps lie side by side in the source.
PACKING = Record("source", "target", "next", "pieces", "count", "outs", "ins", "channels", "block", "phases")


@dataclass(frozen=True, slots=True)
class WeightPacker:
    """The copy of weights from any strides into pieces."""

    source: str
    scalar: str

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        return f"weights_{self.source}_{self.scalar}"

    def emit(self, module: Module) -> None:
        """Write `void f(packing)`, which may be called on any number of threads at once."""
        f = module.function(self.name, packing="ptr")
        outs, ins, channels, block = (PACKING.get(f, f.packing, x) for x in ("outs", "ins", "channels", "block"))
        pieces = PACKING.get(f, f.packing, "pieces", "ptr")
        source, target = (PACKING.get(f, f.packing, x, "ptr") for x in ("source", "target"))
        phases = PACKING.get(f, f.packing, "phases")
        size = BYTES[self.scalar]
        lanes = module.machine.vector_bytes // size
        kind = vector(lanes, self.source)
        between = f.binary("mul", f.lanes(lanes), f.splat(outs, lanes))
        held = f.least(channels, block)  # channels of a block that have room
        counter = f.packing + PACKING.offset("next")
        with f.forever(f.let("i64", f"atomicrmw add ptr {counter.text}, i64 1 monotonic")) as (number, again):
            f.return_unless(f.compare("slt", number, PACKING.get(f, f.packing, "count")))
            with f.loop(channels) as channel, f.loop(phases) as phase:
                piece = pieces + (number * phases + phase.index) * PIECE.bytes
                row, count = PIECE.get(f, piece, "row"), PIECE.get(f, piece, "count")
                taps = PIECE.get(f, piece, "taps", "ptr")
                wanted = PIECE.get(f, piece, "lanes")
                here = source + PIECE.get(f, piece, "source") + channel.index * ins
                place = (channel.index // block * count * held + channel.index % block) * row
                there = target + PIECE.get(f, piece, "target") + place
                with f.loop(wanted, step=lanes) as lane:
                    mask = f.mask(wanted - lane.index, lanes)
                    from_, to = here + lane.index * outs, there + lane.index * size
                    with f.loop(count) as tap:
                        x = f.gather(kind, from_ + f.load("i64", taps + tap.index * 8), between, mask)
                        f.store_masked(f.convert(x, self.scalar), to + tap.index * (held * row), mask)
            again(f.let("i64", f"atomicrmw add ptr {counter.text}, i64 1 monotonic"))
