"""Weights packed: the order in which a micro-kernel reads them, made by generated code at the speed of memory.

    [piece: lanes of outputs, a phase][block of input channels][tap][channel of the block][V * lanes]

A table of pieces says where each begins on both sides; lanes that no output has stay as they are in the target (zero).
"""

from __future__ import annotations

from dataclasses import dataclass

from twofold.engine.emit import BYTES, Module, vector
from twofold.engine.records import Record

__all__ = ["PIECE", "WeightPacker"]

# source and target offsets, lanes that exist, bytes of a row of lanes, taps and the table of their offsets in the source
PIECE = Record("source", "target", "lanes", "row", "taps", "count")


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
        """Write `void f(source, target, pieces, first, last, between outputs, between inputs, channels, block)`."""
        f = module.function(
            self.name, source="ptr", target="ptr", pieces="ptr", start="i64", stop="i64", outs="i64", ins="i64",
            channels="i64", block="i64",
        )  # fmt: skip
        size = BYTES[self.scalar]
        lanes = module.machine.vector_bytes // size
        kind = vector(lanes, self.source)
        between = f.binary("mul", f.lanes(lanes), f.splat(f.outs, lanes))
        held = f.least(f.channels, f.block)  # channels of a block that have room
        with f.loop(f.stop, start=f.start) as at:
            piece = f.pieces + at.index * PIECE.bytes
            row, count = PIECE.get(f, piece, "row"), PIECE.get(f, piece, "count")
            taps = PIECE.get(f, piece, "taps", "ptr")
            source = f.source + PIECE.get(f, piece, "source")
            target = f.target + PIECE.get(f, piece, "target")
            wanted = PIECE.get(f, piece, "lanes")
            with f.loop(f.channels) as channel, f.loop(wanted, step=lanes) as lane:
                mask = f.mask(wanted - lane.index, lanes)
                here = source + channel.index * f.ins + lane.index * f.outs
                block, inside = channel.index // f.block, channel.index % f.block
                there = target + (block * count * held + inside) * row + lane.index * size
                with f.loop(count) as tap:
                    x = f.gather(kind, here + f.load("i64", taps + tap.index * 8), between, mask)
                    f.store_masked(f.convert(x, self.scalar), there + tap.index * (held * row), mask)
