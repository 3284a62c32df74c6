"""The strip: R rows x Q vectors of outputs, summed row of taps by row of taps, with few loads for each multiply-add.

    for each block of input channels                          (planar only: a lane is a column of the output)
      for each step: a row of the input, and the rows r of the tile that meet it
        for each column of the taps
          for each channel of the block                       (planar only)
            Q vectors of x; for each of those rows its own weights, times x, added

A row of the input is loaded once for all rows of the tile that read it, each through another row of taps. Rows of the
input come in the order of the taps, so each output still has the one chain of multiply-adds of the dense tile, to the
bit. There are two meanings of a lane:

    in place   a lane is a channel of a depthwise layer; x is read where it stands (channels_last), the weights of a tap
               are a vector; blocks of channels are independent, the last reaches back over the one before it
    planar     a lane is one of neighbouring columns of a patch, [channel][row][column]; weights are broadcast, for
               several outputs: channels, and phases of a transposed convolution that read the same cells

In place, small filters are unrolled: the taps and the stride are known, and a row of x is held in registers while every
tap takes its part of it.

Where outputs are several there is enough to do with each vector of x, and rows are not `shared`: every row of the tile
meets every step, in its own row of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from twofold.engine.emit import BYTES, Function, Module, Value, vector
from twofold.engine.records import ENTRY, NOW, Record

__all__ = ["HEAD", "STEP", "Strip", "ranges"]

# What an entry's `taps` points to: its steps and columns (offsets from here, and counts), the distance of the weights
# of one row of the tile from those of the row before, of one column from the one before; rows that exist; bytes of a
# row of x. In place, `src` is of the row and `count` of the column: what lies outside of the row is zero.
# A filter has no lists: bits of the rows of x that exist, and the entry says how far apart the columns (`src_row`) and
# the rows (`step`) of x are.
HEAD = Record("steps", "step_count", "columns", "column_count", "weight_row", "weight_tap", "rows", "limit", "met")
STEP = Record("x", "weights", "range")


def ranges(rows: int) -> list[tuple[int, int]]:
    """Return the ranges of rows that a step may name by number; the first is all of them."""
    return [(0, rows)] + [(a, b) for a in range(rows) for b in range(a + 1, rows + 1) if (a, b) != (0, rows)]


@dataclass(frozen=True, slots=True, order=True)
class Strip:
    """A micro-kernel: its shape and the meaning of its lanes."""

    rows: int
    vectors: int
    scalar: str = "float"
    source: str = "float"  # of x, where it is read in place
    in_place: bool = False
    guarded: bool = False  # columns may lie outside of x
    shared: bool = True
    outputs: int = 1  # planar: channels x phases
    channels: int = 1  # planar: of them; bias is theirs
    streaming: bool = False  # in place: stores past the caches, where the result is aligned
    filter: tuple[int, ...] = ()  # in place: taps in height and width, steps in height and width; unrolled

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        words = ["strip", f"{self.rows}x{self.vectors}x{self.outputs}", f"c{self.channels}", self.scalar]
        words += [word for word in ("shared", "guarded", "streaming") if getattr(self, word)]
        if self.filter:
            words.append("filter" + "x".join(map(str, self.filter)))
        return "_".join([*words, f"in_place_{self.source}"] if self.in_place else words)

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        _Writer(self, module).write()


class _Writer:
    def __init__(self, strip: Strip, module: Module) -> None:
        self.strip = strip
        self.f = f = module.function(strip.name, now="ptr", entry="ptr")
        self.width = module.machine.vector_bytes
        self.size = BYTES[strip.scalar]
        self.lanes = self.width // self.size
        self.kind = vector(self.lanes, strip.scalar)
        self.head = ENTRY.get(f, f.entry, "taps", "ptr")
        self.weights = NOW.get(f, f.now, "weights", "ptr") + ENTRY.get(f, f.entry, "weights")
        self.weights_block = ENTRY.get(f, f.entry, "weights_block")
        self.bias = NOW.get(f, f.now, "bias", "ptr") + ENTRY.get(f, f.entry, "bias")
        self.y = f.load("ptr", f.now + ENTRY.get(f, f.entry, "base"), 8) + ENTRY.get(f, f.entry, "dst")
        self.row, self.y_row, self.pitch = (ENTRY.get(f, f.entry, x) for x in ("src_row", "dst_row", "pitch"))
        self.steps = self.head + self.of("steps")
        self.step_count, self.column_count = self.of("step_count"), self.of("column_count")
        self.columns_at = self.head + self.of("columns")
        self.weight_row, self.weight_tap = self.of("weight_row"), self.of("weight_tap")

    def of(self, field: str) -> Value:
        return HEAD.get(self.f, self.head, field)

    def write(self) -> None:
        (self.in_place if self.strip.in_place else self.planar)()

    # -- the two forms ------------------------------------------------------------------------------------------------

    def in_place(self) -> None:
        f, strip = self.f, self.strip
        x = NOW.get(f, f.now, "x", "ptr") + ENTRY.get(f, f.entry, "src")
        self.column, self.limit = ENTRY.get(f, f.entry, "count"), self.of("limit")
        if strip.guarded:
            self.nothing = f.stack(self.width)
            f.store(f.zero(vector(self.lanes, strip.source)), self.nothing)
        else:
            x = x + self.column
        taps_w, step_w = (strip.filter[1], strip.filter[3]) if strip.filter else (1, 1)
        self.x_apart = _Multiples(f, self.row, (strip.vectors - 1) * step_w + taps_w)
        self.weights_apart = _Multiples(f, self.weight_row, strip.rows)
        channels = ENTRY.get(f, f.entry, "lanes")
        sums = [f.zero(self.kind)] * (strip.rows * strip.vectors)
        with f.loop(channels, step=self.lanes, carry=[self.weights], some=True) as block:
            first = f.least(block.index, channels - self.lanes)
            here = x + first * BYTES[strip.source]
            if strip.filter:
                results = self.over_filter(here, block.values[0], sums)
            else:
                results = self.over_steps(here, block.values[0], None, sums)
            bias = f.load(self.kind, self.bias + first * self.size)
            self.finish_pixels(results, bias, self.y + first * self.size)
            block.next([block.values[0] + self.weights_block])

    def planar(self) -> None:
        f, strip = self.f, self.strip
        x = NOW.get(f, f.now, "patch", "ptr") + ENTRY.get(f, f.entry, "src")
        self.apart = NOW.get(f, f.now, "block")  # of channels
        self.weights_apart = _Multiples(f, self.weight_row, strip.rows if strip.shared else 1)
        self.rows_apart = _Multiples(f, self.row, 1 if strip.shared else strip.rows)
        blocks, last = NOW.get(f, f.now, "blocks"), NOW.get(f, f.now, "last")
        final = blocks - 1
        sums = [f.zero(self.kind)] * (strip.rows * strip.outputs * strip.vectors)
        with f.loop(blocks, carry=[x, self.weights, *sums], some=True) as block:
            here, there, *sums = block.values
            channels = f.select(f.compare("eq", block.index, final), last, 16)
            sums = self.over_steps(here, there, channels, sums)
            block.next([here + self.apart * 16, there + self.weights_block, *sums])
        self.finish_planes(block.results[2:])

    # -- loops --------------------------------------------------------------------------------------------------------

    def over_steps(self, x: Value, weights: Value, channels: Value | None, sums: Sequence[Value]) -> list[Value]:
        f, strip = self.f, self.strip
        with f.loop(self.step_count, carry=sums) as step:
            at = self.steps + step.index * STEP.bytes
            here, there = x + STEP.get(f, at, "x"), weights + STEP.get(f, at, "weights")
            some = ranges(strip.rows) if strip.shared else [(0, strip.rows)]
            bodies = [partial(self.over_columns, here, there, channels, step.values, r) for r in some]
            step.next(f.choose(STEP.get(f, at, "range"), bodies) if len(bodies) > 1 else bodies[0]())
        return step.results

    def over_columns(
        self, x: Value, weights: Value, channels: Value | None, sums: Sequence[Value], rows: tuple[int, int]
    ) -> list[Value]:
        f = self.f
        with f.loop(self.column_count, carry=[weights, *sums], some=True) as tap:
            there, *sums = tap.values
            offset = f.load("i64", self.columns_at + tap.index * 8)
            if channels is None:
                results = self.products_in_place(x, offset, f.hide(there), sums, rows)
            else:
                step = self.strip.outputs * self.size
                with f.loop(channels, carry=[f.hide(x + offset), f.hide(there), *sums], some=True) as channel:
                    here, own, *sums = channel.values
                    results = self.products_planar(here, own, sums, rows)
                    channel.next([here + self.apart, own + step, *results])
                results = channel.results[2:]
            tap.next([there + self.weight_tap, *results])
        return tap.results[1:]

    def over_filter(self, x: Value, weights: Value, sums: Sequence[Value]) -> list[Value]:
        f, strip, q = self.f, self.strip, self.strip.vectors
        taps_h, taps_w, step_h, step_w = strip.filter
        met, down = self.of("met"), ENTRY.get(f, f.entry, "step")
        columns = (q - 1) * step_w + taps_w

        def row(line: Value, i: int, before: Sequence[Value]) -> list[Value]:
            after = list(before)
            cells = self.cells_in_place(line, None, columns)
            for r in range(strip.rows):
                tap = i - step_h * r
                if not 0 <= tap < taps_h:
                    continue
                for s in range(taps_w):
                    weight = f.load(self.kind, weights + (tap * taps_w + s) * self.width, self.width)
                    for n in range(q):
                        after[r * q + n] = f.fma(cells[n * step_w + s], weight, after[r * q + n])
            return after

        results = list(sums)
        for i in range((strip.rows - 1) * step_h + taps_h):
            here = f.hide(x)
            exists = f.binary("and", f.let("i64", f"lshr i64 {met.text}, {i}"), f.constant(1))
            results = f.choose(exists, [partial(list, results), partial(row, here, i, results)])
            x = x + down
        return results

    # -- multiply-adds ------------------------------------------------------------------------------------------------

    def products_in_place(
        self, x: Value, offset: Value, weights: Value, sums: Sequence[Value], rows: tuple[int, int]
    ) -> list[Value]:
        f, q = self.f, self.strip.vectors
        cells = self.cells_in_place(x, offset, q)
        results = list(sums)
        for r in range(*rows):
            weight = f.load(self.kind, self.weights_apart.add(weights, r - rows[0]), self.width)
            for i in range(q):
                results[r * q + i] = f.fma(cells[i], weight, results[r * q + i])
        return results

    def cells_in_place(self, x: Value, offset: Value | None, count: int) -> list[Value]:
        f = self.f
        if self.strip.guarded:
            first = self.column if offset is None else offset + self.column
            at = []
            for i in range(count):
                cell = first if i == 0 else first + self.row * i
                inside = f.let("i1", f"icmp ult i64 {cell.text}, {self.limit.text}")
                at.append(f.select(inside, x + cell, self.nothing))
        else:
            start = x if offset is None else f.hide(x + offset)
            at = [self.x_apart.add(start, i) for i in range(count)]
        kind = vector(self.lanes, self.strip.source)
        return [f.convert(f.load(kind, place), self.strip.scalar) for place in at]

    def products_planar(self, x: Value, weights: Value, sums: Sequence[Value], rows: tuple[int, int]) -> list[Value]:
        f, strip, q = self.f, self.strip, self.strip.vectors
        results = list(sums)

        def weight(row: int, out: int) -> Value:
            at = self.weights_apart.add(weights, row) + out * self.size
            return f.splat(f.load(strip.scalar, at), self.lanes)

        def place(r: int, out: int, i: int) -> int:
            return (r * strip.outputs + out) * q + i

        if strip.shared:
            cells = [f.load(self.kind, x + i * self.width) for i in range(q)]
            for r in range(*rows):
                for out in range(strip.outputs):
                    w = weight(r - rows[0], out)
                    for i in range(q):
                        at = place(r, out, i)
                        results[at] = f.fma(cells[i], w, results[at])
            return results
        lines = [self.rows_apart.add(x, r) for r in range(strip.rows)]
        if strip.rows * q < strip.outputs:
            cells = [f.load(self.kind, line + i * self.width) for line in lines for i in range(q)]
            for out in range(strip.outputs):
                w = weight(0, out)
                for n, cell in enumerate(cells):
                    at = place(n // q, out, n % q)
                    results[at] = f.fma(cell, w, results[at])
            return results
        own = [weight(0, out) for out in range(strip.outputs)]
        for r, line in enumerate(lines):
            for i in range(q):
                cell = f.load(self.kind, line + i * self.width)
                for out in range(strip.outputs):
                    at = place(r, out, i)
                    results[at] = f.fma(cell, own[out], results[at])
        return results

    # -- results ------------------------------------------------------------------------------------------------------

    def finish_pixels(self, sums: Sequence[Value], bias: Value, y: Value) -> None:
        f, q = self.f, self.strip.vectors
        rows = self.of("rows")
        totals = [f.binary("fadd", x, bias) for x in sums]

        def write(streaming: bool) -> None:
            apart = _Multiples(f, self.pitch, q)
            for r in range(self.strip.rows):
                line = y if r == 0 else y + self.y_row * r
                with f.when(f.compare("sgt", rows, r)):
                    for i in range(q):
                        at = apart.add(line, i)
                        f.store(totals[r * q + i], at, self.width if streaming else None, streaming)

        if not self.strip.streaming:
            write(False)
            return
        start = f.let("i64", f"ptrtoint ptr {y.text} to i64")
        odd = f.binary("or", f.binary("or", start, self.pitch), self.y_row)
        aligned = f.compare("eq", f.let("i64", f"and i64 {odd.text}, {self.width - 1}"), 0)
        with f.when(aligned):
            write(True)
        with f.when(f.negate(aligned)):
            write(False)

    def finish_planes(self, sums: Sequence[Value]) -> None:
        f, strip = self.f, self.strip
        rows = self.of("rows")
        biases = [f.splat(f.load(strip.scalar, self.bias + i * self.size), self.lanes) for i in range(strip.channels)]
        for r in range(strip.rows):
            with f.when(f.compare("sgt", rows, r)):
                line = self.y if r == 0 else self.y + self.y_row * r
                for out in range(strip.outputs):
                    for i in range(strip.vectors):
                        total = sums[(r * strip.outputs + out) * strip.vectors + i]
                        f.store(f.binary("fadd", total, biases[out % strip.channels]), line + i * self.width)
                    line = line + self.pitch


class _Multiples:
    """Addresses some multiples of a distance away: an address takes 1, 2, 4 or 8 times a register."""

    def __init__(self, f: Function, distance: Value, count: int) -> None:
        self.f = f
        self.odd = {n: distance * n for n in range(1, count, 2)}

    def add(self, pointer: Value, times: int) -> Value:
        if times == 0:
            return pointer
        scale = times & -times
        distance = self.odd[times // scale].text
        return self.f.let("ptr", f"getelementptr [{scale} x i8], ptr {pointer.text}, i64 {distance}")
