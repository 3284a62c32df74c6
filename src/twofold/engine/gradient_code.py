"""What the weight gradient compiles: its register tile, the copies around it, and the driver that calls them.

    Tile       sums of a few taps and channels over the cells of a band, one chain of multiply-adds per element
    Copy       a box of an array -> a patch: planes of a channel each, or pixels of as many channels as there are lanes
    Unpack     finished sums -> the gradient
    emit       the driver: bands of cells, blocks of lanes, tiles

Two arrays meet here and either may play either part, so they are not called x and grad but by what a tile does:

    single     one address in a tile: a vector of lanes from each pixel
    many       several addresses: numbers that are spread over all lanes ("outer"), or vectors as well ("each")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from twofold.engine.emit import BYTES, Function, Module, Value, vector
from twofold.engine.machine import Machine
from twofold.engine.records import Record

__all__ = ["BAND", "DRIVER", "ENTRY", "JOB", "LAUNCH", "ROW", "RUN", "SIDE", "Copy", "Tile", "Unpack", "emit"]

POINTERS = 8  # of a tile: with two more, three steps and a counter they fill the 15 registers for addresses

_AXES = ("d", "h", "w")
_FAR = 16  # pixels where it is the array itself
_AHEAD = 8  # pixels: a panel comes from the second cache or from beyond; 5-10 % faster than without

# Of one of the two arrays: strides, the first cell of a band at 0, its size, cells between coarse neighbours, cells
# that one coarse cell needs; then the pitches of the patch. Offsets and pitches in bytes, all else in cells.
SIDE = Record(
    "array", "pack", "n", "c", *_AXES, *(f"first_{a}" for a in _AXES), *(f"size_{a}" for a in _AXES),
    *(f"step_{a}" for a in _AXES), *(f"extent_{a}" for a in _AXES), "to_c", "to_n", "to_d", "to_h", "to_w",
)  # fmt: skip
LAUNCH = Record(
    "next", "slots", "count", "jobs", "bands", "band_count", "program",
    "scratch", "scratch_bytes", "single_at", "sums_at",  # per thread; where in it the single patch and the sums begin
    "block", "block_bytes",  # channels of a block of lanes; bytes of its sums, 0 where they are stored at once
    "folded",  # 1 if all cells of an image are neighbours in both patches, 2 if all images are
    "repeat",  # patches of `many` side by side, each by its own map of channels
    "out", "out_channel", "lane", "unpack",  # the gradient; bytes of it between channels of `single`, between lanes
    "direct", "in_place",  # whether `single`, and `many`, are read where they are, without a copy
    "least_lanes",  # that unpack is told: channels are not lanes where taps are
    "zeros", "identity",
    *(f"many_{field}" for field in SIDE.fields), *(f"single_{field}" for field in SIDE.fields),
)  # fmt: skip
# Channels of many and single, entries of the program, runs that unpack reads, where in the gradient it begins
JOB = Record("many", "many_count", "single", "single_stop", "start", "stop", "runs", "runs_stop", "out", "map")
BAND = Record("n", "n_count", *(f"{a}{end}" for a in _AXES for end in ("", "_count")), "ranges_d", "ranges_h")
BOX = Record("source", "target", "channels", "map", "n", *_AXES, *(f"first_{a}" for a in _AXES))
NOW = Record(
    "many", "single", "sums", "first", "zeros", "images", "pixels", "ahead", "ranges_d", "ranges_h",
    *(f"{side}_{pitch}" for side in ("many", "single") for pitch in ("n", "d", "h", "w")),
)  # fmt: skip
# A tile: where its sums are, which ranges of depths and rows it sums over, and its addresses in both patches
ENTRY = Record("op", "sums", "range_d", "range_h", "single", *(f"many_{i}" for i in range(POINTERS)))
RUN = Record("table", "count", "out")  # neighbours in the gradient, and the table of where their sums are
ROW = Record("sums", "out", "lanes")  # one vector of sums, its place in the gradient, and lanes at most


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A micro-kernel of pointers x elements x vectors sums.

    outer    many: at each pointer `elements` neighbouring numbers, each times the vectors of the single side
    each     many: at each pointer `elements` neighbouring pixels of vectors, times those of the single side
    """

    kind: str
    pointers: int
    elements: int
    vectors: int
    scalar: str = "float"

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        return f"gradient_{self.kind}_{self.pointers}x{self.elements}x{self.vectors}_{self.scalar}"

    def fits(self, machine: Machine) -> bool:
        """Whether sums, the vectors of the single side and one more are held in registers."""
        more = self.vectors + 1 + (not machine.has_fma)
        return self.pointers * self.elements * self.vectors + more <= machine.registers and self.pointers <= POINTERS

    def cycles(self) -> float:
        """Return how long a pixel takes: two multiply-adds and two loads a cycle, four cycles from one to the next."""
        sums = self.pointers * self.elements * self.vectors
        loads = self.vectors + (sums if self.kind == "each" else self.pointers * self.elements)
        return max(sums / 2, loads / 2, 4.0) + 0.4 + 0.1 * self.vectors  # vectors come from the second cache

    def emit(self, module: Module) -> None:
        """Write `void tile(now, entry)` into a module."""
        f = module.function(self.name, now="ptr", entry="ptr")
        width = module.machine.vector_bytes
        kind = vector(width // BYTES[self.scalar], self.scalar)
        count = self.pointers * self.elements * self.vectors
        now, entry = f.now, f.entry
        single = NOW.get(f, now, "single", "ptr") + ENTRY.get(f, entry, "single")
        base = NOW.get(f, now, "many", "ptr")
        many = [base + ENTRY.get(f, entry, f"many_{i}") for i in range(self.pointers)]
        kept = NOW.get(f, now, "sums", "ptr") + ENTRY.get(f, entry, "sums")
        is_first = f.compare("ne", NOW.get(f, now, "first"), 0)
        start = f.select(is_first, NOW.get(f, now, "zeros", "ptr"), kept)
        sums = [f.load(kind, start + i * width, width) for i in range(count)]
        pitches = {p: (NOW.get(f, now, f"many_{p}"), NOW.get(f, now, f"single_{p}")) for p in ("n", "d", "h", "w")}
        with f.loop(NOW.get(f, now, "images"), carry=sums) as image:
            at = (pitches["n"][0] * image.index, pitches["n"][1] * image.index)
            image.next(self._over(f, "d", at, pitches, (single, many), image.values))
        for i, value in enumerate(image.results):
            f.store(value, kept + i * width, width)

    def _over(
        self, f: Function, axis: str, at: tuple[Value, Value], pitches: dict[str, tuple[Value, Value]],
        bases: tuple[Value, list[Value]], sums: list[Value],
    ) -> list[Value]:  # fmt: skip
        # Depths, then rows, of the range in which the taps of this entry meet the fine array.
        range_ = NOW.get(f, f.now, f"ranges_{axis}", "ptr") + ENTRY.get(f, f.entry, f"range_{axis}")
        with f.loop(f.load("i64", range_ + 8), start=f.load("i64", range_), carry=sums) as turn:
            here = tuple(a + pitch * turn.index for a, pitch in zip(at, pitches[axis], strict=True))
            if axis == "d":
                turn.next(self._over(f, "h", (here[0], here[1]), pitches, bases, turn.values))
            else:
                turn.next(self._pixels(f, (here[0], here[1]), pitches["w"], bases, turn.values))
        return turn.results

    def _pixels(
        self, f: Function, at: tuple[Value, Value], steps: tuple[Value, Value], bases: tuple[Value, list[Value]],
        sums: list[Value],
    ) -> list[Value]:  # fmt: skip
        width = f.module.machine.vector_bytes
        size = BYTES[self.scalar]
        lanes = width // size
        kind = vector(lanes, self.scalar)
        many = [f.hide(pointer + at[0]) for pointer in bases[1]]
        first = [f.constant(0), bases[0] + at[1], *sums]
        ahead = NOW.get(f, f.now, "ahead")
        with f.loop(NOW.get(f, f.now, "pixels"), carry=first, some=True) as pixel:
            index, single, *inner = pixel.values
            ours = [f.load(kind, single + v * width) for v in range(self.vectors)]
            for v in range(self.vectors):
                f.prefetch(single + ahead + v * width)
            i = 0
            for pointer in many:
                here = pointer + index
                for e in range(self.elements):
                    if self.kind == "outer":
                        theirs = [f.splat(f.load(self.scalar, here + e * size), lanes)] * self.vectors
                    else:
                        theirs = [f.load(kind, here + (e * self.vectors + v) * width) for v in range(self.vectors)]
                    for v in range(self.vectors):
                        inner[i] = f.fma(theirs[v], ours[v], inner[i])
                        i += 1
            pixel.next([index + steps[0], single + steps[1], *inner])
        return pixel.results[2:]


@dataclass(frozen=True, slots=True)
class Copy:
    """The copy of a box of an array into a patch, with zeros for all cells outside of the array.

    To planes [channel][image][depth][row][column]:
        rows      columns are neighbours in memory
        turn      channels are: squares of channels x columns are transposed
        cells     neither
    To pixels [image][depth][row][column][block of lanes]:
        pixels    channels are neighbours in memory
        squares   columns are
        gather    neither, or the lanes are other channels, by a map
    """

    way: str
    block: int  # lanes of a pixel; 1 for planes
    scalar: str

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        return f"gradient_copy_{self.way}_b{self.block}_{self.scalar}"

    def emit(self, module: Module) -> None:
        """Write `void copy(side, box)` into a module."""
        _Copier(self, module.function(self.name, side="ptr", box="ptr")).all()


class _Copier:
    def __init__(self, how: Copy, f: Function) -> None:
        self.f, self.how = f, how
        self.size = BYTES[how.scalar]
        self.side = f.module.machine.vector_bytes // self.size  # of the squares that are transposed
        self.kind = vector(self.side, how.scalar)
        self.at_once = {"rows": 1, "turn": self.side, "cells": 1}.get(how.way, 0)  # channels; 0: all
        self.pixel = how.block * self.size

    def of(self, field: str) -> Value:
        return SIDE.get(self.f, self.f.side, field)

    def box(self, field: str, type_: str = "i64") -> Value:
        return BOX.get(self.f, self.f.box, field, type_)

    def all(self) -> None:
        f = self.f
        source, target = self.box("source", "ptr"), self.box("target", "ptr")
        channels = self.box("channels")
        if not self.at_once:
            self.images(source, target, channels)
            return
        with f.loop(channels, step=self.at_once) as channel:
            there = target + channel.index * self.of("to_c")
            self.images(source + channel.index * self.of("c"), there, channels - channel.index)

    def images(self, source: Value, target: Value, channels: Value) -> None:
        f = self.f
        room = self.box("w")
        first = [self.box(f"first_{a}") for a in _AXES]
        low = f.least(f.most(first[2] * -1, f.constant(0)), room)
        high = f.most(f.least(self.of("size_w") - first[2], room), low)
        start = source + (first[2] + low) * self.of("w")
        with f.loop(self.box("n")) as n, f.loop(self.box("d")) as d, f.loop(self.box("h")) as h:
            depth, row = first[0] + d.index, first[1] + h.index
            inside = f.binary("and", self.within(depth, "d"), self.within(row, "h"))
            to = target + n.index * self.of("to_n") + d.index * self.of("to_d") + h.index * self.of("to_h")
            from_, until = f.select(inside, low, room), f.select(inside, high, room)
            self.clear(to, from_, channels)
            with f.when(inside):
                here = start + n.index * self.of("n") + depth * self.of("d") + row * self.of("h")
                copy: Callable[[Value, Value, Value, Value], None] = getattr(self, self.how.way)
                copy(here, to + from_ * self.pixel, until - from_, channels)
            self.clear(to + until * self.pixel, room - until, channels)

    def within(self, cell: Value, axis: str) -> Value:
        return self.f.let("i1", f"icmp ult i64 {cell.text}, {self.of(f'size_{axis}').text}")

    def clear(self, target: Value, cells: Value, channels: Value) -> None:
        # Planes by whole vectors: what is written too much is written again, for addresses only grow, or is slack.
        f = self.f
        zero = f.zero(self.kind)
        if self.how.way == "turn":
            with f.loop(f.least(channels, self.side)) as c, f.loop(cells, step=self.side) as cell:
                f.store(zero, target + c.index * self.of("to_c") + cell.index * self.size)
            return
        step = self.side if self.at_once else 1
        with f.loop(cells, step=step) as cell:
            for v in range(max(1, self.how.block // self.side)):
                f.store(zero, target + cell.index * self.pixel + v * self.side * self.size)

    def rows(self, source: Value, target: Value, cells: Value, channels: Value) -> None:
        f = self.f
        whole = cells // self.side * self.side
        with f.loop(whole, step=self.side) as cell:
            f.store(f.load(self.kind, source + cell.index * self.size), target + cell.index * self.size)
        with f.when(f.compare("slt", whole, cells)):
            mask = f.mask(cells - whole, self.side)
            f.store(f.load_masked(self.kind, source + whole * self.size, mask), target + whole * self.size)

    def cells(self, source: Value, target: Value, cells: Value, channels: Value) -> None:
        f = self.f
        with f.loop(cells, carry=[source]) as cell:
            f.store(f.load(self.how.scalar, cell.values[0]), target + cell.index * self.size)
            cell.next([cell.values[0] + self.of("w")])

    def turn(self, source: Value, target: Value, cells: Value, channels: Value) -> None:
        f, side, step = self.f, self.side, self.of("w")
        last = cells - 1
        with f.loop(cells, step=side) as cell:
            starts = [source + f.least(cell.index + i, last) * step for i in range(side)]
            there = target + cell.index * self.size
            for mask in self.halves(channels):
                with self.where(mask, channels):
                    for c, row in enumerate(f.transpose([self.read(start, mask) for start in starts])):
                        with self.where(mask, channels, c):
                            f.store(row, there + self.of("to_c") * c)

    def halves(self, left: Value) -> list[Value | None]:
        """Return the masks that code is written for: on AVX-512 one costs nothing, else whole vectors go without."""
        mask = self.f.mask(left, self.side)
        return [mask] if self.f.module.machine.isa == "avx512" else [None, mask]

    @contextmanager
    def where(self, mask: Value | None, left: Value, one: int = -1) -> Iterator[None]:
        """Do this for whole vectors if there is no mask, else for what is left, or for one of it."""
        f = self.f
        if (one < 0 and f.module.machine.isa == "avx512") or (one >= 0 and mask is None):
            yield
            return
        how, bound = ("sgt", one) if one >= 0 else ("sge" if mask is None else "slt", self.side)
        with f.when(f.compare(how, left, bound)):
            yield

    def read(self, pointer: Value, mask: Value | None) -> Value:
        return self.f.load(self.kind, pointer) if mask is None else self.f.load_masked(self.kind, pointer, mask)

    def pixels(self, source: Value, target: Value, cells: Value, channels: Value) -> None:
        f, step = self.f, self.of("w")
        whole = f.compare("sge", channels, self.how.block)
        parts = range(0, self.how.block, self.side)
        with f.when(whole), f.loop(cells, carry=[source, target]) as cell:
            here, there = cell.values
            for part in parts:
                f.prefetch(here + step * _AHEAD + part * self.size)
                f.store(f.load(self.kind, here + part * self.size), there + part * self.size)
            cell.next([here + step, there + self.pixel])
        with f.when(f.negate(whole)):
            masks = [f.mask(channels - part, self.side) for part in parts]
            with f.loop(cells, carry=[source, target]) as cell:
                here, there = cell.values
                for part, mask in zip(parts, masks, strict=True):
                    f.store(f.load_masked(self.kind, here + part * self.size, mask), there + part * self.size)
                cell.next([here + step, there + self.pixel])

    def squares(self, source: Value, target: Value, cells: Value, channels: Value) -> None:
        # Past the last channel a square repeats that one; past the last column it writes what is written again.
        f, side, last = self.f, self.side, channels - 1
        with f.loop(self.how.block, step=side) as part:
            starts = [source + f.least(last, part.index + c) * self.of("c") for c in range(side)]
            to = target + part.index * self.size
            with f.loop(cells, step=side) as cell:
                left = cells - cell.index
                for mask in self.halves(left):
                    with self.where(mask, left):
                        rows = [self.read(start + cell.index * self.size, mask) for start in starts]
                        for i, column in enumerate(f.transpose(rows)):
                            f.store(column, to + (cell.index + i) * self.pixel)

    def gather(self, source: Value, target: Value, cells: Value, channels: Value) -> None:
        f, side = self.f, self.side
        kind = vector(side, "i64")
        apart = f.splat(self.of("c"), side)
        map_ = self.box("map", "ptr")
        parts = range(0, self.how.block, side)
        offsets = [f.binary("mul", f.load(kind, map_ + part * 8), apart) for part in parts]
        masks = [f.mask(channels - part, side) for part in parts]
        with f.loop(cells, carry=[source, target]) as cell:
            here, there = cell.values
            for part, offset, mask in zip(parts, offsets, masks, strict=True):
                f.store(f.gather(self.kind, here, offset, mask), there + part * self.size)
            cell.next([here + self.of("w"), there + self.pixel])


@dataclass(frozen=True, slots=True)
class Unpack:
    """The way of finished sums into the gradient.

    turn     lanes are coarse channels, runs of rows are neighbours there: transposed in registers
    rows     lanes of a row are neighbours there, or evenly spaced
    """

    way: str
    scalar: str

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        return f"gradient_unpack_{self.way}_{self.scalar}"

    def emit(self, module: Module) -> None:
        """Write `void unpack(sums, out, table, stop, lanes, lane)`: a table of RUN or ROW, and its end."""
        f = module.function(self.name, sums="ptr", out="ptr", table="ptr", stop="i64", wanted="i64", lane="i64")
        record = {"turn": RUN, "rows": ROW}[self.way]
        with f.loop(f.stop) as at:
            line = f.table + at.index * record.bytes
            {"turn": self._turn, "rows": self._row}[self.way](f, line)

    def _turn(self, f: Function, run: Value) -> None:
        size = BYTES[self.scalar]
        side = f.module.machine.vector_bytes // size
        kind = vector(side, self.scalar)
        table, count = RUN.get(f, run, "table", "ptr"), RUN.get(f, run, "count")
        out = f.out + RUN.get(f, run, "out")
        last = count - 1
        with f.loop(f.wanted, step=side) as lane, f.loop(count, step=side) as at:
            rows = [f.load("i64", table + f.least(at.index + i, last) * 8) for i in range(side)]
            here = f.sums + lane.index * size
            turned = f.transpose([f.load(kind, here + row) for row in rows])
            there = out + lane.index * f.lane + at.index * size
            left, wanted = count - at.index, f.wanted - lane.index
            mask = f.mask(left, side)
            for i, row in enumerate(turned):
                with f.when(f.compare("sgt", wanted, i)):
                    f.store_masked(row, there + f.lane * i, mask)

    def _row(self, f: Function, row: Value) -> None:
        size = BYTES[self.scalar]
        side = f.module.machine.vector_bytes // size
        kind = vector(side, self.scalar)
        here, there = f.sums + ROW.get(f, row, "sums"), f.out + ROW.get(f, row, "out")
        count = f.least(f.wanted, ROW.get(f, row, "lanes"))
        dense = f.compare("eq", f.lane, size)
        with f.when(dense), f.loop(count, step=side) as at:
            x = f.load(kind, here + at.index * size)
            f.store_masked(x, there + at.index * size, f.mask(count - at.index, side))
        with f.when(f.negate(dense)), f.loop(count) as one:
            f.store(f.load(self.scalar, here + one.index * size), there + one.index * f.lane)


DRIVER = "gradient_work"


def emit(module: Module) -> None:
    """Write `void work(launch)`, which may be called on any number of threads at once."""
    _Driver(module.function(DRIVER, launch="ptr")).work()


class _Driver:
    def __init__(self, f: Function) -> None:
        self.f = f

    def of(self, field: str, type_: str = "i64") -> Value:
        return LAUNCH.get(self.f, self.f.launch, field, type_)

    def add(self, field: str) -> Value:
        at = self.f.launch + LAUNCH.offset(field)
        return self.f.let("i64", f"atomicrmw add ptr {at.text}, i64 1 monotonic")

    def work(self) -> None:
        f = self.f
        self.now, self.box = f.stack(NOW.bytes), f.stack(BOX.bytes)
        scratch = self.of("scratch", "ptr") + self.add("slots") * self.of("scratch_bytes")
        self.many, self.single = scratch, scratch + self.of("single_at")
        self.sums = scratch + self.of("sums_at")
        NOW.put(f, self.now, "many", self.many)
        NOW.put(f, self.now, "single", self.single)
        NOW.put(f, self.now, "zeros", self.of("zeros", "ptr"))
        for side in ("many", "single"):
            NOW.put(f, self.now, f"{side}_n", self.of(f"{side}_to_n"))
            for axis in _AXES:
                NOW.put(f, self.now, f"{side}_{axis}", self.of(f"{side}_to_{axis}") * self.of(f"{side}_step_{axis}"))
        far = f.select(f.compare("ne", self.of("direct"), 0), _FAR, _AHEAD)
        NOW.put(f, self.now, "ahead", far * self.of("single_to_w"))
        count = self.of("count")
        with f.forever(self.add("next")) as (number, again):
            f.return_unless(f.compare("slt", number, count))
            job = self.of("jobs", "ptr") + number * JOB.bytes
            bands = self.of("band_count")
            with f.loop(bands) as band:
                here = self.of("bands", "ptr") + band.index * BAND.bytes
                is_last = f.compare("eq", band.index, bands - 1)
                self.band(job, here, band.index, is_last)
            again(self.add("next"))

    def band(self, job: Value, band: Value, number: Value, is_last: Value) -> None:
        f = self.f
        in_place = f.compare("ne", self.of("in_place"), 0)
        with f.when(in_place):
            NOW.put(f, self.now, "many", self.first("many", band, JOB.get(f, job, "many")))
        with f.when(f.negate(in_place)), f.loop(self.of("repeat")) as turn:
            target = self.many + turn.index * self.of("many_to_c")
            map_ = JOB.get(f, job, "map", "ptr") + turn.index * (self.of("block") * 8)
            self.pack("many", band, JOB.get(f, job, "many"), JOB.get(f, job, "many_count"), target, map_)
        cells = {axis: BAND.get(f, band, f"{axis}_count") for axis in ("n", *_AXES)}
        folded = self.of("folded")
        image = cells["d"] * cells["h"] * cells["w"]
        is_row, is_one = f.compare("ne", folded, 0), f.compare("eq", folded, 2)
        NOW.put(f, self.now, "images", f.select(is_one, 1, cells["n"]))
        pixels = f.select(is_one, cells["n"] * image, image)
        NOW.put(f, self.now, "pixels", f.select(is_row, pixels, cells["w"]))
        NOW.put(f, self.now, "first", f.let("i64", f"zext i1 {f.compare('eq', number, 0).text} to i64"))
        for axis in ("d", "h"):
            NOW.put(f, self.now, f"ranges_{axis}", BAND.get(f, band, f"ranges_{axis}", "ptr"))
        start, stop, block = JOB.get(f, job, "single"), JOB.get(f, job, "single_stop"), self.of("block")
        with f.loop((stop - start + block - 1) // block) as turn:
            channel = start + turn.index * block
            wanted = f.least(stop - channel, block)
            direct = f.compare("ne", self.of("direct"), 0)
            with f.when(direct):
                NOW.put(f, self.now, "single", self.first("single", band, channel))
            with f.when(f.negate(direct)):
                self.pack("single", band, channel, wanted, self.single, self.of("identity", "ptr"))
            sums = self.sums + turn.index * self.of("block_bytes")
            NOW.put(f, self.now, "sums", sums)
            with f.loop(JOB.get(f, job, "stop"), start=JOB.get(f, job, "start")) as at:
                entry = self.of("program", "ptr") + at.index * ENTRY.bytes
                f.call(ENTRY.get(f, entry, "op", "ptr"), self.now, entry)
            with f.when(is_last):
                out = self.of("out", "ptr") + JOB.get(f, job, "out") + (channel - start) * self.of("out_channel")
                lanes = f.most(wanted, self.of("least_lanes"))
                runs, stop = JOB.get(f, job, "runs", "ptr"), JOB.get(f, job, "runs_stop")
                f.call(self.of("unpack", "ptr"), sums, out, runs, stop, lanes, self.of("lane"))

    def first(self, side: str, band: Value, channel: Value) -> Value:
        # The first cell of a band, in the array.
        here = self.source(side, band, channel)
        for axis in _AXES:
            cell = self.of(f"{side}_first_{axis}") + BAND.get(self.f, band, axis) * self.of(f"{side}_step_{axis}")
            here = here + cell * self.of(f"{side}_{axis}")
        return here

    def source(self, side: str, band: Value, channel: Value) -> Value:
        at = self.of(f"{side}_array", "ptr") + channel * self.of(f"{side}_c")
        return at + BAND.get(self.f, band, "n") * self.of(f"{side}_n")

    def pack(self, side: str, band: Value, channel: Value, channels: Value, target: Value, map_: Value) -> None:
        f = self.f
        put = {"source": self.source(side, band, channel), "target": target, "channels": channels, "map": map_}
        put["n"] = BAND.get(f, band, "n_count")
        for axis in _AXES:
            step = self.of(f"{side}_step_{axis}")
            count = BAND.get(f, band, f"{axis}_count")
            put[axis] = (count - 1) * step + self.of(f"{side}_extent_{axis}")
            put[f"first_{axis}"] = self.of(f"{side}_first_{axis}") + BAND.get(f, band, axis) * step
        for field, value in put.items():
            BOX.put(f, self.box, field, value)
        at = f.launch + LAUNCH.offset(f"{side}_array")
        f.call(self.of(f"{side}_pack", "ptr"), at, self.box)
