"""The register tile: R x Q pixels of V vectors of output channels, summed over every tap and input channel.

    for each block of input channels            the canonical order of summation, one chain of multiply-adds per output
      for each tap of the list
        for each channel of the block
          V vectors of weights; for each pixel: its input in all lanes, times the weights, added

Counts are run-time arguments. What is known here is the tile and the distance of neighbouring pixels in the patch, so
every address inside the innermost loop is a register plus a constant. In the depthwise form a lane is a channel, of the
input as well: no broadcast, and no sum over channels. In the form that reads the input where it stands, the distance is
an argument too: every fifth pixel of a row has a register, the four after it are that plus a multiple of the distance.

The weights of a tap are [channel][V * lanes]; a list of taps holds, for each, the offset of its pixel in the patch and
of its weights. Results, plus bias, go to pixels `pitch` bytes apart, always whole vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twofold.engine.emit import BYTES, Function, Module, Value, vector
from twofold.engine.machine import Machine
from twofold.engine.records import ENTRY, NOW

__all__ = ["Tile", "tiles"]

_REACH = 5  # pixels that one register reaches: an address holds 1, 2 or 4 times an index, here one distance or three
_AHEAD = 4096  # bytes: weights come from the second cache or from beyond; 3-15 % faster than without


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A micro-kernel: its shape and what it multiplies."""

    rows: int
    pixels: int  # of a row
    vectors: int
    block: int  # channels of a pixel in the patch
    scalar: str = "float"
    depthwise: bool = False
    streaming: bool = False  # stores past the caches
    in_place: bool = False  # reads the input where it stands
    biased: bool = True  # adds the bias

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        kind = "depthwise" if self.depthwise else "in_place" if self.in_place else "dense"
        tail = "_streaming" * self.streaming + "_bare" * (not self.biased)
        return f"{kind}_{self.rows}x{self.pixels}x{self.vectors}_b{self.block}_{self.scalar}{tail}"

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        _emit(self, module)


def tiles(machine: Machine, scalar: str) -> tuple[tuple[int, int, int, float], ...]:
    """Return the shapes (rows, pixels, vectors) that fit the registers, each with its share of the peak.

    A tile holds rows * pixels * vectors sums, its weights and one input in registers.
    """
    wide: tuple[tuple[int, int, float], ...]
    narrow: tuple[tuple[int, int, float], ...]
    if machine.registers >= 32:
        wide = ((1, 14, 1.0), (2, 7, 1.0), (1, 8, 0.96), (2, 4, 0.96), (1, 4, 0.86), (1, 2, 0.6), (1, 1, 0.33))
        narrow = ((1, 28, 0.98), (1, 14, 0.93), (2, 7, 0.93), (1, 8, 0.85), (1, 4, 0.5), (1, 1, 0.14))
    else:
        wide = ((1, 6, 1.0), (2, 3, 1.0), (1, 4, 0.9), (1, 2, 0.6), (1, 1, 0.33))
        narrow = ((1, 12, 0.95), (1, 6, 0.85), (1, 2, 0.4), (1, 1, 0.2))
    return tuple((r, q, 2, share) for r, q, share in wide) + tuple((r, q, 1, share) for r, q, share in narrow)


def _emit(tile: Tile, module: Module) -> None:
    f = module.function(tile.name, now="ptr", entry="ptr")
    size = BYTES[tile.scalar]
    lanes = module.machine.vector_bytes // size
    kind = vector(lanes, tile.scalar)
    row = ENTRY.get(f, f.entry, "src_row")
    source = NOW.get(f, f.now, "x" if tile.in_place else "patch", "ptr") + ENTRY.get(f, f.entry, "src")
    weights = NOW.get(f, f.now, "weights", "ptr") + ENTRY.get(f, f.entry, "weights")
    taps = ENTRY.get(f, f.entry, "taps", "ptr")
    count = ENTRY.get(f, f.entry, "count")
    sums = [f.zero(kind)] * (tile.rows * tile.pixels * tile.vectors)
    apart = _Apart(row, ahead=None if tile.biased else ENTRY.get(f, f.entry, "step"))
    if tile.in_place:
        one = ENTRY.get(f, f.entry, "step")
        apart = _Apart(row, one, f.hide(one * 3))
    if tile.depthwise:
        sums = _over_taps(f, tile, kind, (source, weights, taps, count), apart, None, sums)
    else:
        blocks, last = NOW.get(f, f.now, "blocks"), NOW.get(f, f.now, "last")
        step, weights_step = NOW.get(f, f.now, "block"), ENTRY.get(f, f.entry, "weights_block")
        final = blocks - 1
        with f.loop(blocks, carry=[source, weights, *sums], some=True) as turn:
            here, there, *sums = turn.values
            channels = f.select(f.compare("eq", turn.index, final), last, tile.block)
            sums = _over_taps(f, tile, kind, (here, there, taps, count), apart, channels, sums)
            turn.next([here + step, there + weights_step, *sums])
        sums = turn.results[2:]
    _finish(f, tile, kind, sums)


def _over_taps(
    f: Function, tile: Tile, kind: str, at: tuple[Value, ...], apart: _Apart, channels: Value | None, sums: list[Value]
) -> list[Value]:
    source, weights, taps, count = at
    with f.loop(count, carry=sums) as tap:
        pair = taps + tap.index * 16
        here = f.hide(source + f.load("i64", pair))
        there = weights + f.load("i64", pair + 8)
        if channels is None:
            tap.next(_products(f, tile, kind, [here], there, apart, tap.values))
        else:
            step = BYTES[tile.scalar]
            width = tile.vectors * f.module.machine.vector_bytes
            starts = apart.starts(f, tile, here)
            many = len(starts)
            with f.loop(channels, carry=[*starts, there, *tap.values], some=True) as c:
                starts, there, inner = c.values[:many], c.values[many], c.values[many + 1 :]
                inner = _products(f, tile, kind, starts, there, apart, inner)
                c.next([*apart.next(f, starts, step), there + width, *inner])
            tap.next(c.results[many + 1 :])
    return tap.results


@dataclass(frozen=True, slots=True)
class _Apart:
    """Distances of the pixels of a tile in bytes, as far as they are known at run time only."""

    row: Value
    one: Value | None = None  # of neighbours in a row, where they are read in place
    three: Value | None = None
    ahead: Value | None = None  # bytes at which weights are asked for, if not a constant

    def starts(self, f: Function, tile: Tile, here: Value) -> list[Value]:
        """Return the addresses that the loop over channels carries."""
        if self.one is None:
            return [here]
        places = [(r, q) for r in range(tile.rows) for q in range(0, tile.pixels, _REACH)]
        return [f.hide(here + self.row * r + self.one * q) for r, q in places]

    def next(self, f: Function, starts: Sequence[Value], step: int) -> list[Value]:
        """Return them for the next channel, hidden: LLVM would give each pixel a register, and spill some on x86."""
        hides = self.one is not None and f.module.machine.isa != "neon"
        return [f.hide(start + step) if hides else start + step for start in starts]

    def pixel(self, tile: Tile, starts: Sequence[Value], r: int, q: int) -> Value:
        """Return the address of a pixel that is read in place."""
        assert self.one is not None and self.three is not None
        start = starts[r * -(-tile.pixels // _REACH) + q // _REACH]
        times = q % _REACH
        return start + (self.three if times == 3 else self.one * times)


def _products(
    f: Function, tile: Tile, kind: str, starts: Sequence[Value], there: Value, apart: _Apart, sums: list[Value]
) -> list[Value]:
    width = f.module.machine.vector_bytes
    lanes = width // BYTES[tile.scalar]
    pixel = tile.block * BYTES[tile.scalar]
    weights = [f.load(kind, there + v * width, width) for v in range(tile.vectors)]
    if not tile.depthwise:
        ahead = f.constant(_AHEAD) if apart.ahead is None else apart.ahead
        for v in range(tile.vectors):
            f.prefetch(there + ahead + v * width, 3 if apart.ahead is None else 2)
    sums = list(sums)
    for r in range(tile.rows):
        line = starts[0] if r == 0 or tile.in_place else starts[0] + apart.row * r
        for q in range(tile.pixels):
            at = (r * tile.pixels + q) * tile.vectors
            if not tile.depthwise:
                place = apart.pixel(tile, starts, r, q) if tile.in_place else line + q * pixel
                x = f.splat(f.load(tile.scalar, place), lanes)
            for v in range(tile.vectors):
                if tile.depthwise:
                    x = f.load(kind, line + (q * pixel + v * width), width)
                sums[at + v] = f.fma(x, weights[v], sums[at + v])
    return sums


def _finish(f: Function, tile: Tile, kind: str, sums: list[Value]) -> None:
    width = f.module.machine.vector_bytes
    biases = []
    if tile.biased:
        bias = NOW.get(f, f.now, "bias", "ptr") + ENTRY.get(f, f.entry, "bias")
        biases = [f.load(kind, bias + v * width) for v in range(tile.vectors)]
    base = f.load("ptr", f.now + ENTRY.get(f, f.entry, "base"), 8)
    pitch, row = ENTRY.get(f, f.entry, "pitch"), ENTRY.get(f, f.entry, "dst_row")
    line = base + ENTRY.get(f, f.entry, "dst")
    for r in range(tile.rows):
        pixel = line
        for q in range(tile.pixels):
            for v in range(tile.vectors):
                total = sums[(r * tile.pixels + q) * tile.vectors + v]
                total = f.binary("fadd", total, biases[v]) if tile.biased else total
                align = width if tile.streaming else None
                f.store(total, pixel + v * width, align, tile.streaming)
            if q + 1 < tile.pixels:
                pixel = pixel + pitch
        if r + 1 < tile.rows:
            line = line + row
