"""Planes of neighbouring columns: the patch of the planar kernels, and the way of their results to the layout of y.

    patch    [channel][depth plane, depth][row plane, row][column plane][column]
    rows     [row of the tile][phase, output][column], woven into y: column by column, phases and channels take turns

As in `patch`, columns outside of the input are zeroed and rows outside of it are left as they are: no step reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twofold.engine import activation, patch
from twofold.engine.emit import BYTES, Function, Module, Value, vector
from twofold.engine.records import ENTRY, NOW

__all__ = ["BLOCK", "Packer", "Weave"]

BLOCK = 16  # channels that the canonical order of summation takes at a time


@dataclass(frozen=True, slots=True)
class Packer:
    """The copy into planes, in one of three ways.

    rows      the columns of a plane are neighbours in memory
    squares   the channels of a pixel are: squares of pixels x channels are transposed in registers
    cells     neither: gathered
    """

    way: str
    source: str  # scalar type in memory
    scalar: str  # scalar type of the sums

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        return f"planes_{self.way}_{self.source}_{self.scalar}"

    @property
    def block(self) -> int:
        """Channels of a pixel of the patch."""
        return 1

    @property
    def clears(self) -> bool:
        """Whether rows outside of the input are zeroed, too."""
        return False

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        f = module.function(self.name, launch="ptr", now="ptr", job="ptr", x="ptr")
        _Planes(self, f).images()


class _Planes(patch._Writer):
    def __init__(self, packer: Packer, f: Function) -> None:
        super().__init__(packer, f)  # type: ignore[arg-type]
        self.lanes = f.module.machine.vector_bytes // self.wide
        blocks, last = NOW.get(f, f.now, "blocks"), NOW.get(f, f.now, "last")
        self.channels = (blocks - 1) * BLOCK + last
        self.apart, self.x_apart = self.of("block"), self.of("x_c")

    def row(self, source: Value, target: Value) -> None:
        self.columns(source, target, self.channels)

    def clear(self, target: Value, pixels: Value) -> None:
        f, zero = self.f, self.f.zero(vector(self.lanes, self.packer.scalar))
        with f.loop(pixels, step=self.lanes) as pixel:
            mask = f.mask(pixels - pixel.index, self.lanes)
            with f.loop(self.channels) as channel:
                f.store_masked(zero, target + (pixel.index * self.wide + channel.index * self.apart), mask)

    def copy(self, target: Value, source: Value, pixels: Value, step: Value, channels: Value) -> None:
        if self.packer.way == "squares":
            self.squares(target, source, pixels, step)
        else:
            self.lines_of(target, source, pixels, step)

    def lines_of(self, target: Value, source: Value, pixels: Value, step: Value) -> None:
        f, lanes = self.f, self.lanes
        kind = vector(lanes, self.packer.source)
        dense = self.packer.way == "rows"
        between = None if dense else f.binary("mul", f.lanes(lanes), f.splat(step, lanes))
        with f.loop(self.channels) as channel:
            line, there = source + channel.index * self.x_apart, target + channel.index * self.apart
            with f.loop(pixels, step=lanes) as pixel:
                left = pixels - pixel.index
                at, to = line + pixel.index * step, there + pixel.index * self.wide
                mask = f.mask(left, lanes)
                if between is not None:
                    f.store_masked(self.widen(f.gather(kind, at, between, mask)), to, mask)
                else:
                    whole = f.compare("sge", left, lanes)
                    with f.when(whole):
                        f.store(self.widen(f.load(kind, at)), to)
                    with f.when(f.negate(whole)):
                        f.store_masked(self.widen(f.load_masked(kind, at, mask)), to, mask)

    def squares(self, target: Value, source: Value, pixels: Value, step: Value) -> None:
        # Beyond the last pixel a square repeats that one, beyond the last channel it has zeros; neither is stored.
        f, lanes = self.f, self.lanes
        kind = vector(lanes, self.packer.source)
        last = pixels - 1
        with f.loop(pixels, step=lanes) as pixel:
            starts = [source + f.least(last, pixel.index + i) * step for i in range(lanes)]
            there = target + pixel.index * self.wide
            left = pixels - pixel.index
            mask = f.mask(left, lanes)
            with f.loop(self.channels, step=lanes) as channel:
                wanted = self.channels - channel.index
                whole = f.compare("sge", wanted, lanes)
                at = channel.index * self.size
                both = f.binary("and", whole, f.compare("sge", left, lanes))
                to = there + channel.index * self.apart
                with f.when(both):
                    for i, row in enumerate(f.transpose([self.widen(f.load(kind, start + at)) for start in starts])):
                        f.store(row, to + self.apart * i)
                with f.when(f.negate(both)):
                    some = f.mask(wanted, lanes)
                    rows = f.transpose([self.widen(f.load_masked(kind, start + at, some)) for start in starts])
                    for i, row in enumerate(rows):
                        with f.when(f.compare("sgt", wanted, i)):
                            f.store_masked(row, to + self.apart * i, mask)


@dataclass(frozen=True, slots=True)
class Weave:
    """The store of so many rows of the row buffer, which take turns in y: y[m * count + i] = row i [m].

    An entry's `taps` lists where the rows begin, `lanes` is how many elements of y there are for each m, and `pixels`
    how many there are from the first to the end. Where these rows are not all that take turns, they are `apart`.
    """

    count: int  # at most the lanes of a vector
    scalar: str
    target: str
    activation: str = "none"
    residual: bool = False
    apart: bool = False

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        words = ["weave", str(self.count), self.scalar, self.target, self.activation]
        return "_".join([*words, *(word for word in ("residual", "apart") if getattr(self, word))])

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        _Weaver(self, module.function(self.name, now="ptr", entry="ptr")).write()


class _Weaver:
    def __init__(self, weave: Weave, f: Function) -> None:
        self.f, self.how = f, weave
        self.size, self.wide = BYTES[weave.target], BYTES[weave.scalar]
        self.width = f.module.machine.vector_bytes
        self.lanes = self.width // self.wide
        self.at = self.of("dst")
        self.target = NOW.get(f, f.now, "y", "ptr") + self.at
        self.residual = NOW.get(f, f.now, "residual", "ptr") + self.at if weave.residual else None
        self.slope = NOW.get(f, f.now, "slope", "double")

    def of(self, field: str) -> Value:
        return ENTRY.get(self.f, self.f.entry, field)

    def write(self) -> None:
        f, how, lanes = self.f, self.how, self.lanes
        kind = vector(lanes, how.scalar)
        turns = lanes if how.apart else 1 << (how.count - 1).bit_length()  # slots that are interleaved; some stay empty
        cells = lanes // turns  # columns of a vector of y
        source = NOW.get(f, f.now, "rows", "ptr") + self.of("src")
        table = ENTRY.get(f, f.entry, "taps", "ptr")
        lines = [source + f.load("i64", table + 8 * i) for i in range(how.count)]
        total, each = self.of("pixels"), self.of("lanes")
        columns = (total + each - 1) // each
        plain = how.activation == "none" and not how.residual
        square = None if plain else f.stack(turns * self.width)
        with f.loop(columns, step=lanes) as column:
            rows = [f.load(kind, line + column.index * self.wide) for line in lines]
            rows = self.woven([*rows, *rows[:1] * (turns - how.count)])
            if how.count < turns and cells > 1:
                pick = [c * turns + i for c in range(cells) for i in range(how.count)]
                rows = [f.shuffle(row, row, (pick + [0] * lanes)[:lanes]) for row in rows]
            start = column.index * each
            some = cells * how.count
            whole = f.compare("sge", total, start + each * lanes)
            if how.count < turns:  # always masked
                whole = f.compare("slt", total, 0)
            if square is not None:
                for i, row in enumerate(rows):
                    f.store(row, square + i * self.width, self.width)
                with f.loop(turns) as turn:
                    row = f.load(kind, square + turn.index * self.width, self.width)
                    self.put(row, start + turn.index * each * cells, total, some)
            else:
                with f.when(whole):
                    self.whole(rows, start, each * cells)
                with f.when(f.negate(whole)):
                    for i, row in enumerate(rows):
                        self.put(row, start + each * (cells * i), total, some)

    def whole(self, rows: Sequence[Value], start: Value, step: Value) -> None:
        target = self.target + start * self.size
        for i, row in enumerate(rows):
            self.f.store(self.f.convert(row, self.how.target), target + step * (i * self.size))

    def woven(self, rows: list[Value]) -> list[Value]:
        # As Function.transpose, for any power of two of rows.
        half, lanes = len(rows) // 2, self.lanes
        low = [lane for i in range(lanes // 2) for lane in (i, lanes + i)]
        high = [lane + lanes // 2 for lane in low]
        for _ in range(len(rows).bit_length() - 1):
            rows = [self.f.shuffle(rows[i], rows[i + half], pick) for i in range(half) for pick in (low, high)]
        return rows

    def put(self, row: Value, start: Value, total: Value, some: int) -> None:
        # So many elements of y from the start on, as far as there are any.
        f, how = self.f, self.how
        left = f.most(f.least(total - start, some), f.constant(0))
        mask = f.mask(left, self.lanes)
        offset = start * self.size
        if self.residual is not None:
            other = f.load_masked(vector(self.lanes, how.target), self.residual + offset, mask)
            row = f.binary("fadd", row, f.convert(other, how.scalar))
        row = f.convert(activation.apply(f, how.activation, row, self.slope), how.target)
        f.store_masked(row, self.target + offset, mask)
