"""bfloat16 times bfloat16, two channels at a time, summed in float32: micro-kernels, their shapes and their weights.

    AmxTile     TDPBF16PS: 16 x 16 sums per instruction. 6 times as fast as widening to float32
    PairTile    VDPBF16PS: 16 sums. Half as fast as widening on Intel, whose FMA have twice its rate

Pixels of the patch are [channels of the block] of bfloat16, weights of a tap [pair][V * lanes][2], always of whole
blocks: what is missing in the last one is zero on both sides. A pair is one 32-bit number to all but the
multiplication, so that addresses and lists of taps are those of float32 with half as many channels. Products are exact
before they are added; subnormal numbers are taken for zero by both instructions (Intel SDM).
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
from dataclasses import dataclass

from twofold.engine.emit import Function, Module, Value, vector
from twofold.engine.machine import Machine
from twofold.engine.micro import _AHEAD, Tile, _finish
from twofold.engine.records import ENTRY, NOW
from twofold.engine.weights import PACKING, PIECE

__all__ = ["AMX_BLOCK", "AmxTile", "PairTile", "PairWeights", "amx_tiles", "has_amx"]

AMX_BLOCK = 32  # channels of a pixel: a row of a tile register, 64 bytes
_LANES = 16
_WIDTH = 64  # bytes of a vector
_PAIR = vector(_LANES, "i32")


@dataclass(frozen=True, slots=True, order=True)
class PairTile:
    """The micro-kernel: see `micro.Tile`, whose entries and sums it shares."""

    rows: int
    pixels: int
    vectors: int
    block: int  # channels of a pixel in the patch: even
    streaming: bool = False

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        tail = "_streaming" if self.streaming else ""
        return f"pairs_{self.rows}x{self.pixels}x{self.vectors}_b{self.block}{tail}"

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        f = module.function(self.name, now="ptr", entry="ptr")
        kind = vector(_LANES, "float")
        source = NOW.get(f, f.now, "patch", "ptr") + ENTRY.get(f, f.entry, "src")
        weights = NOW.get(f, f.now, "weights", "ptr") + ENTRY.get(f, f.entry, "weights")
        row, count = ENTRY.get(f, f.entry, "src_row"), ENTRY.get(f, f.entry, "count")
        taps = ENTRY.get(f, f.entry, "taps", "ptr")
        blocks, last = NOW.get(f, f.now, "blocks"), NOW.get(f, f.now, "last")
        step, weights_step = NOW.get(f, f.now, "block"), ENTRY.get(f, f.entry, "weights_block")
        sums = [f.zero(kind)] * (self.rows * self.pixels * self.vectors)
        final = blocks - 1
        with f.loop(blocks, carry=[source, weights, *sums], some=True) as turn:
            here, there, *sums = turn.values
            channels = f.select(f.compare("eq", turn.index, final), last, self.block)
            with f.loop(count, carry=sums) as tap:
                at = taps + tap.index * 16
                line = f.hide(here + f.load("i64", at))
                start = there + f.load("i64", at + 8)
                with f.loop((channels + 1) // 2, carry=[line, start, *tap.values], some=True) as pair:
                    pair.next(self._products(f, row, *pair.values))
                tap.next(pair.results[2:])
            turn.next([here + step, there + weights_step, *tap.results])
        shape = Tile(self.rows, self.pixels, self.vectors, self.block, streaming=self.streaming)
        _finish(f, shape, kind, turn.results[2:])

    def _products(self, f: Function, row: Value, here: Value, there: Value, *sums: Value) -> list[Value]:
        weights = [f.load(_PAIR, there + v * _WIDTH, _WIDTH) for v in range(self.vectors)]
        for v in range(self.vectors):
            f.prefetch(there + (_AHEAD + v * _WIDTH))
        following = []
        for r in range(self.rows):
            line = here if r == 0 else here + row * r
            for q in range(self.pixels):
                x = f.splat(f.load("i32", line + q * self.block * 2), _LANES)
                for v, w in enumerate(weights):
                    following.append(f.dot_bfloat(x, w, sums[(r * self.pixels + q) * self.vectors + v]))
        return [here + 4, there + self.vectors * _WIDTH, *following]


@functools.cache
def has_amx(machine: Machine) -> bool:
    """Return whether the machine multiplies tiles, and the system lets this process; asks it on the first call.

    Linux keeps the 8 KB of tile registers for processes that asked (Documentation/arch/x86/xstate.rst). It refuses
    where a thread has an alternate signal stack too small to save them on.
    """
    wanted = {"+amx-tile", "+amx-bf16"} <= set(machine.features.split(","))
    if not (wanted and machine.has_bf16 and machine.is_host and sys.platform == "linux"):
        return False
    arch_prctl, request, tile_data = 158, 0x1023, 18
    try:
        return int(ctypes.CDLL(None).syscall(arch_prctl, request, tile_data)) == 0
    except (OSError, AttributeError):
        return False


def amx_tiles() -> tuple[tuple[int, int, int, float], ...]:
    """Return shapes as `micro.tiles` does: (rows, pixels, vectors, share of the peak).

    An instruction takes a cycle per pixel and gives its sums 52 cycles later, when the next tap needs them.
    """
    shapes = [(1, q) for q in (32, 28, 24, 20, 16, 14, 12, 8, 4, 2, 1)] + [(2, q) for q in (16, 14, 12, 8, 7, 4)]
    return tuple((r, q, v, min(1.0, r * q * v / 52)) for v in (2, 1) for r, q in shapes)


@dataclass(frozen=True, slots=True, order=True)
class AmxTile:
    """Up to 2 x 2 tile registers of sums, 16 pixels x 16 outputs each, from blocks of `AMX_BLOCK` channels.

    `rows` is 1 with up to 32 pixels, or 2 with up to 16. The sums begin with the bias. The row of 64 bytes that a tile
    register takes is a pixel of the patch, or a pair of channels of 16 outputs.
    """

    rows: int
    pixels: int
    vectors: int

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        return f"amx_{self.rows}x{self.pixels}x{self.vectors}"

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        f = module.function(self.name, now="ptr", entry="ptr")
        source = NOW.get(f, f.now, "patch", "ptr") + ENTRY.get(f, f.entry, "src")
        weights = NOW.get(f, f.now, "weights", "ptr") + ENTRY.get(f, f.entry, "weights")
        bias = NOW.get(f, f.now, "bias", "ptr") + ENTRY.get(f, f.entry, "bias")
        taps, count = ENTRY.get(f, f.entry, "taps", "ptr"), ENTRY.get(f, f.entry, "count")
        row = ENTRY.get(f, f.entry, "src_row")
        base = f.load("ptr", f.now + ENTRY.get(f, f.entry, "base"), 8) + ENTRY.get(f, f.entry, "dst")
        pitch, dst_row = ENTRY.get(f, f.entry, "pitch"), ENTRY.get(f, f.entry, "dst_row")
        step, weights_step = NOW.get(f, f.now, "block"), ENTRY.get(f, f.entry, "weights_block")
        counts = self._counts()
        second, second_y = (row, dst_row) if self.rows == 2 else (counts[0] * _WIDTH, pitch * counts[0])
        xs, ys = (source, source + second), (base, base + second_y)
        sums = [(2 * i + v, i, v) for i in range(len(counts)) for v in range(self.vectors)]  # registers 0 … 3
        _tiles(f, "ldtilecfg", self._configured(f))
        for register, _, v in sums:
            _tiles(f, "tileloadd64", register, bias + v * _WIDTH, f.constant(0))
        with f.loop(NOW.get(f, f.now, "blocks"), carry=[*xs, weights], some=True) as turn:
            *here, there = turn.values
            with f.loop(count) as tap:
                at = taps + tap.index * 16
                offset, w = f.load("i64", at), there + f.load("i64", at + 8)
                for v in range(self.vectors):
                    _tiles(f, "tileloadd64", 6 + v, w + v * _WIDTH, f.constant(_WIDTH * self.vectors))
                for i in range(len(counts)):
                    _tiles(f, "tileloadd64", 4 + i, here[i] + offset, f.constant(_WIDTH))
                for register, i, v in sums:
                    _tiles(f, "tdpbf16ps", register, 4 + i, 6 + v)
            turn.next([*(x + step for x in here), there + weights_step])
        for register, i, v in sums:
            _tiles(f, "tilestored64", register, ys[i] + v * _WIDTH, pitch)
        _tiles(f, "tilerelease")

    def _counts(self) -> list[int]:
        # Pixels of each register: a row of them, or a row in two halves.
        if self.rows == 2 or self.pixels <= 16:
            return [self.pixels] * self.rows
        return [-(-self.pixels // 2), self.pixels // 2]

    def _configured(self, f: Function) -> Value:
        # Palette 1: bytes of a row, 16 bits from byte 16 on, and rows, 8 bits from byte 48 on, of each register.
        rows = [0] * 8
        for i, pixels in enumerate(self._counts()):
            rows[4 + i] = pixels
            rows[2 * i : 2 * i + self.vectors] = [pixels] * self.vectors
        rows[6 : 6 + self.vectors] = [16] * self.vectors
        facts = struct.pack("<16x8H16x8B8x", *(_WIDTH if n else 0 for n in rows), *rows)
        place = f.stack(_WIDTH)
        for i, number in enumerate(struct.unpack("<8q", b"\1" + facts[1:])):
            f.store(f.constant(number), place + 8 * i)
        return place


def _tiles(f: Function, name: str, *operands: int | Value) -> None:
    # Registers are numbers in the instruction: LLVM assigns none of them here.
    args = [(v.type, v.text) if isinstance(v, Value) else ("i8", str(v)) for v in operands]
    f.intrinsic(f"llvm.x86.{name}", "void", args)


@dataclass(frozen=True, slots=True)
class PairWeights:
    """The copy of bfloat16 weights from any strides into pieces of pairs: see `weights.WeightPacker`."""

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        return "weights_pairs"

    def emit(self, module: Module) -> None:
        """Write `void f(packing)`, which may be called on any number of threads at once; `block` is even."""
        f = module.function(self.name, packing="ptr")
        outs, ins, channels, block = (PACKING.get(f, f.packing, x) for x in ("outs", "ins", "channels", "block"))
        pieces = PACKING.get(f, f.packing, "pieces", "ptr")
        kind = vector(_LANES, "bfloat")
        between = f.binary("mul", f.lanes(_LANES), f.splat(outs, _LANES))
        held = block // 2
        counter = f.packing + PACKING.offset("next")
        with f.forever(f.let("i64", f"atomicrmw add ptr {counter.text}, i64 1 monotonic")) as (number, again):
            f.return_unless(f.compare("slt", number, PACKING.get(f, f.packing, "count")))
            piece = pieces + number * PIECE.bytes
            row, count = PIECE.get(f, piece, "row"), PIECE.get(f, piece, "count")
            taps = PIECE.get(f, piece, "taps", "ptr")
            source = PACKING.get(f, f.packing, "source", "ptr") + PIECE.get(f, piece, "source")
            target = PACKING.get(f, f.packing, "target", "ptr") + PIECE.get(f, piece, "target")
            wanted = PIECE.get(f, piece, "lanes")
            with f.loop((channels + 1) // 2) as pair, f.loop(wanted, step=_LANES) as lane:
                left = wanted - lane.index
                partner = f.compare("slt", pair.index * 2 + 1, channels)
                masks = f.mask(left, _LANES), f.mask(f.select(partner, left, 0), _LANES)
                here = source + pair.index * 2 * ins + lane.index * outs
                there = target + (pair.index // held * count * held + pair.index % held) * row + lane.index * 4
                with f.loop(count) as tap:
                    one = here + f.load("i64", taps + tap.index * 8)
                    even, odd = (f.gather(kind, one + ins * i, between, mask) for i, mask in enumerate(masks))
                    f.store_masked(f.interleave_bits(even, odd), there + tap.index * (held * row), masks[0])
            again(f.let("i64", f"atomicrmw add ptr {counter.text}, i64 1 monotonic"))
