"""Finished pixels on their way to the result: from the row buffer to where the layout wants them.

    last     channels are neighbours: pixel by pixel
    first    columns are neighbours: squares of pixels x channels, transposed in registers
    spread   neither: phases that share a row buffer, cell by cell through a table of offsets

On the way a residual is added, then the activation applied, then the sum rounded to the type of the result.
"""

from __future__ import annotations

from dataclasses import dataclass

from twofold.engine import activation
from twofold.engine.emit import BYTES, Function, Module, Value, vector
from twofold.engine.records import ENTRY, NOW

__all__ = ["Store"]


@dataclass(frozen=True, slots=True)
class Store:
    """One way of storing."""

    way: str  # last, first or spread
    scalar: str
    target: str
    activation: str = "none"
    residual: bool = False

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        tail = "_residual" if self.residual else ""
        return f"store_{self.way}_{self.scalar}_{self.target}_{self.activation}{tail}"

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        f = module.function(self.name, now="ptr", entry="ptr")
        writer = _Writer(self, f)
        {"last": writer.last, "first": writer.first, "spread": writer.spread}[self.way]()


class _Writer:
    def __init__(self, store: Store, f: Function) -> None:
        self.f, self.how = f, store
        self.size, self.wide = BYTES[store.target], BYTES[store.scalar]
        self.lanes = f.module.machine.vector_bytes // self.wide
        self.source = NOW.get(f, f.now, "rows", "ptr") + self.of("src")
        self.at = self.of("dst")
        self.target = NOW.get(f, f.now, "y", "ptr") + self.at
        self.residual = NOW.get(f, f.now, "residual", "ptr") + self.at if store.residual else None
        self.slope = NOW.get(f, f.now, "slope", "double")
        self.pitch, self.pixels, self.channels = self.of("pitch"), self.of("pixels"), self.of("lanes")

    def of(self, field: str) -> Value:
        return ENTRY.get(self.f, self.f.entry, field)

    def finish(self, x: Value, offset: Value, mask: Value | None) -> None:
        f = self.f
        if self.residual is not None:
            kind = x.type.replace(self.how.scalar, self.how.target)
            at = self.residual + offset
            other = f.load(kind, at) if mask is None else f.load_masked(kind, at, mask)
            x = f.binary("fadd", x, f.convert(other, self.how.scalar))
        x = f.convert(activation.apply(f, self.how.activation, x, self.slope), self.how.target)
        if mask is None:
            f.store(x, self.target + offset)
        else:
            f.store_masked(x, self.target + offset, mask)

    def last(self) -> None:
        f, lanes = self.f, self.lanes
        kind = vector(lanes, self.how.scalar)
        step = self.of("step")
        with f.loop(self.pixels) as pixel, f.loop(self.channels, step=lanes) as lane:
            here = self.source + pixel.index * self.pitch + lane.index * self.wide
            there = pixel.index * step + lane.index * self.size
            left = self.channels - lane.index
            whole = f.compare("sge", left, lanes)
            with f.when(whole):
                self.finish(f.load(kind, here), there, None)
            with f.when(f.negate(whole)):
                self.finish(f.load(kind, here), there, f.mask(left, lanes))

    def first(self) -> None:
        # A square is put back to memory after it is transposed, so that what finishes a row is written out twice and
        # not 2 * lanes times: gelu compiles in 12 ms then, not 56, and the store of 56 x 32 cells takes 2 % longer, or
        # 12 % with silu.
        f, lanes = self.f, self.lanes
        kind, width = vector(lanes, self.how.scalar), f.module.machine.vector_bytes
        apart = self.of("dst_row")
        square = f.stack(lanes * width)
        with f.loop(self.channels, step=lanes) as channel, f.loop(self.pixels, step=lanes) as pixel:
            here = self.source + pixel.index * self.pitch + channel.index * self.wide
            for i, row in enumerate(f.transpose([f.load(kind, here + self.pitch * i) for i in range(lanes)])):
                f.store(row, square + i * width, width)
            there = channel.index * apart + pixel.index * self.size
            left, wanted = self.pixels - pixel.index, f.least(self.channels - channel.index, lanes)
            whole = f.compare("sge", left, lanes)
            with f.when(whole), f.loop(wanted) as line:
                self.finish(f.load(kind, square + line.index * width, width), there + apart * line.index, None)
            with f.when(f.negate(whole)):
                mask = f.mask(left, lanes)
                with f.loop(wanted) as line:
                    self.finish(f.load(kind, square + line.index * width, width), there + apart * line.index, mask)

    def spread(self) -> None:
        # The table holds, for each of `count` phases, where its first pixel stands; then its pixels are `pitch` apart.
        f = self.f
        table, phases, apart, between = (self.of(field) for field in ("taps", "count", "dst_row", "src_row"))
        table = ENTRY.get(f, f.entry, "taps", "ptr")
        with f.loop(self.channels) as channel, f.loop(self.pixels) as cell:
            start = f.load("i64", table + cell.index % phases * 8)
            here = self.source + start + cell.index // phases * self.pitch + channel.index * between
            x = f.load(vector(1, self.how.scalar), here)
            self.finish(x, channel.index * apart + cell.index * self.of("step"), None)
