"""The patch: the part of the input that a job reads, copied so that every pixel stands where a micro-kernel expects it.

    [image][block of channels][depth plane, depth][row plane, row][column plane][column][channel of the block]

All that is irregular about an input happens in this copy: its strides, its padding, the channels missing in the last
block, the stride of a convolution (columns of one residue modulo the stride are neighbours here: a plane), types that
are widened. Rows that lie outside of the input are left as they are, for no tap list reads them; columns are zeroed.
Transforms read all cells of their tiles: for them rows are zeroed, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twofold.engine.emit import BYTES, Function, Module, Value, vector
from twofold.engine.records import JOB, LAUNCH, NOW

__all__ = ["Packer"]


@dataclass(frozen=True, slots=True)
class Packer:
    """The copy into patches of `block` channels per pixel, in one of three ways.

    pixels    the channels of a pixel are neighbours in memory
    squares   the columns of a plane are: squares of channels x columns are transposed in registers
    cells     neither
    """

    way: str
    block: int
    source: str  # scalar type in memory
    scalar: str  # scalar type of the sums
    clears: bool = False  # whether rows outside of the input are zeroed, too

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        return f"patch_{self.way}_b{self.block}_{self.source}_{self.scalar}" + "_clears" * self.clears

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        f = module.function(self.name, launch="ptr", now="ptr", job="ptr", x="ptr")
        _Writer(self, f).images()


class _Writer:
    def __init__(self, packer: Packer, f: Function) -> None:
        self.f, self.packer = f, packer
        self.size = BYTES[packer.source]
        self.wide = BYTES[packer.scalar]
        self.patch = NOW.get(f, f.now, "patch", "ptr")
        self.per_pixel = self.of("pixel")
        self.is_whole = packer.scalar == "bfloat"  # all channels of a block are read: those missing are zero
        self.held: list[Value] = []  # whether a channel of the square exists
        self.side = min(packer.block, f.module.machine.vector_bytes // self.wide)  # of the squares that are transposed

    def of(self, field: str) -> Value:
        return LAUNCH.get(self.f, self.f.launch, field)

    def images(self) -> None:
        f = self.f
        with f.loop(NOW.get(f, f.now, "images")) as image:
            source = f.x + image.index * self.of("x_n")
            target = self.patch + image.index * self.of("image")
            self.lines("d", source, target, self.of("slab"), self.rows)

    def rows(self, source: Value, target: Value) -> None:
        self.lines("h", source, target, self.of("line"), self.row)

    def row(self, source: Value, target: Value) -> None:
        # All blocks of channels of a row, one after the other, while it is in the first cache.
        f = self.f
        blocks, last = NOW.get(f, f.now, "blocks"), NOW.get(f, f.now, "last")
        with f.loop(blocks) as block:
            channels = f.select(f.compare("eq", block.index, blocks - 1), last, self.packer.block)
            here = source + block.index * (self.of("x_c") * self.packer.block)
            self.columns(here, target + block.index * self.of("block"), channels)

    def lines(
        self, axis: str, source: Value, target: Value, pitch: Value, inner: Callable[[Value, Value], None]
    ) -> None:
        # Every cell of every plane of this axis that lies inside of the input.
        f = self.f
        room, first = self.of(f"room_{axis}"), JOB.get(f, f.job, f"first_{axis}")
        residues = LAUNCH.get(f, f.launch, f"residues_{axis}", "ptr")
        with f.loop(self.of(f"planes_{axis}")) as plane:
            residue = f.load("i64", residues + plane.index * 8)
            with f.loop(room) as line:
                cell = (first + line.index) * self.of(f"step_{axis}") + residue
                there = target + (plane.index * room + line.index) * pitch
                is_inside = f.let("i1", f"icmp ult i64 {cell.text}, {self.of(f'size_{axis}').text}")
                with f.when(is_inside):
                    inner(source + cell * self.of(f"x_{axis}"), there)
                if self.packer.clears:
                    with f.when(f.negate(is_inside)), f.loop(NOW.get(f, f.now, "blocks")) as block:
                        self.clear(there + block.index * self.of("block"), pitch // self.per_pixel)

    def columns(self, source: Value, target: Value, channels: Value) -> None:
        f = self.f
        room, first, step = self.of("room_w"), JOB.get(f, f.job, "first_w"), self.of("step_w")
        residues = LAUNCH.get(f, f.launch, "residues_w", "ptr")
        low = f.least(f.most(first * -1, f.constant(0)), room)
        with f.loop(self.of("planes_w")) as plane:
            residue = f.load("i64", residues + plane.index * 8)
            cells = (self.of("size_w") - residue + step - 1) // step - first
            high = f.most(f.least(cells, room), low)
            line = target + plane.index * room * self.per_pixel
            start = source + ((first + low) * step + residue) * self.of("x_w")
            self.copy(line + low * self.per_pixel, start, high - low, self.of("x_w") * step, channels)
            self.clear(line, low)
            self.clear(line + high * self.per_pixel, room - high)

    def clear(self, target: Value, pixels: Value) -> None:
        zero = self.f.zero(vector(self.packer.block, self.packer.scalar))
        with self.f.loop(pixels) as pixel:
            self.f.store(zero, target + pixel.index * (self.packer.block * self.wide))

    def copy(self, target: Value, source: Value, pixels: Value, step: Value, channels: Value) -> None:
        ways = {"pixels": self.copy_pixels, "squares": self.copy_squares, "cells": self.copy_cells}
        ways[self.packer.way](target, source, pixels, step, channels)

    def copy_cells(self, target: Value, source: Value, pixels: Value, step: Value, channels: Value) -> None:
        f = self.f
        with f.loop(pixels) as pixel, f.loop(channels) as channel:
            x = f.load(self.packer.source, source + pixel.index * step + channel.index * self.of("x_c"))
            at = target + (pixel.index * self.packer.block + channel.index) * self.wide
            f.store(self.widen(x), at)
        if self.is_whole:
            with f.loop(pixels) as pixel, f.loop(f.constant(self.packer.block), start=channels) as channel:
                at = target + (pixel.index * self.packer.block + channel.index) * self.wide
                f.store(f.zero(vector(1, self.packer.scalar)), at)

    def copy_pixels(self, target: Value, source: Value, pixels: Value, step: Value, channels: Value) -> None:
        f, block = self.f, self.packer.block
        kind = vector(block, self.packer.source)
        whole = f.compare("eq", channels, block)
        with f.when(whole), f.loop(pixels, carry=[source, target]) as pixel:
            here, there = pixel.values
            f.store(self.widen(f.load(kind, here)), there)
            pixel.next([here + step, there + block * self.wide])
        with f.when(f.negate(whole)):
            mask = f.mask(channels, block)
            with f.loop(pixels, carry=[source, target]) as pixel:
                here, there = pixel.values
                f.store(self.widen(f.load_masked(kind, here, mask)), there)
                pixel.next([here + step, there + block * self.wide])

    def copy_squares(self, target: Value, source: Value, pixels: Value, step: Value, channels: Value) -> None:
        # Past the last column a square writes rubbish, which what is copied after it, or the zeros, overwrite; past the
        # last channel it repeats that one, which no sum reads.
        f, side = self.f, self.side
        kind = vector(side, self.packer.source)
        last, apart = channels - 1, self.of("x_c")
        for first in range(0, self.packer.block, side):
            if self.is_whole:
                self.held = [f.compare("slt", f.constant(first + c), channels) for c in range(side)]
            starts = [source + f.least(last, first + c) * apart for c in range(side)]
            with f.loop(pixels, step=side) as square:
                left = pixels - square.index
                there = target + (square.index * self.packer.block + first) * self.wide
                rows = [start + square.index * self.size for start in starts]
                if f.module.machine.isa == "avx512":  # where a mask costs nothing
                    mask = f.mask(left, side)
                    self.put([f.load_masked(kind, row, mask) for row in rows], there)
                    continue
                whole = f.compare("sge", left, side)
                with f.when(whole):
                    self.put([f.load(kind, row) for row in rows], there)
                with f.when(f.negate(whole)):
                    mask = f.mask(left, side)
                    self.put([f.load_masked(kind, row, mask) for row in rows], there)

    def put(self, rows: list[Value], target: Value) -> None:
        for c, held in enumerate(self.held):
            rows[c] = self.f.select(held, rows[c], self.f.zero(rows[c].type))
        for i, column in enumerate(self.f.transpose([self.widen(row) for row in rows])):
            self.f.store(column, target + i * self.packer.block * self.wide)

    def widen(self, x: Value) -> Value:
        return self.f.convert(x, self.packer.scalar)
