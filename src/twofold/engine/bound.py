"""A schedule bound to machine code: the functions that its program names, loaded, and calls of them.

    bound = Bound(layer, machine, threads)
    packed = bound.pack(weight)                              once, or on every call
    call = bound.call(x.strides)                             what does not change from call to call
    call(x, packed, bias, residual, y)                       addresses

Calls may run on many Python threads at once: what a call writes beside its result is its own, taken from a list of
spare buffers and put back.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import struct
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from twofold.engine import binary, driver, families, threads
from twofold.engine.emit import BYTES, Module
from twofold.engine.machine import Machine
from twofold.engine.pairs import PairWeights
from twofold.engine.patch import Packer
from twofold.engine.records import ENTRY, JOB, LAUNCH
from twofold.engine.schedule import Layer
from twofold.engine.weights import PACKING, PIECE, BlockPacker, WeightPacker

__all__ = ["Bound", "Call", "aligned", "borrowed", "code_of"]

Array = npt.NDArray[Any]
Strides = tuple[int, int, int, int, int]
Buffer = tuple[Array, int]  # memory and its address
_AT = LAUNCH.index
_FUSED = 1 << 19  # bytes of weights from which a job packs what it is about to use
_SHARED = 1 << 18  # bytes of weights from which threads share the packing
_MOST_CALLS = 64  # kinds of strides remembered
_GRAIN = 1 << 16  # scratch memory is of so many bytes, or a multiple


def code_of(kernel: Any, machine: Machine) -> binary.Code:
    """Load a kernel (anything with `name` and `emit`), or compile it."""

    def text() -> str:
        module = Module(machine)
        kernel.emit(module)
        return str(module)

    return binary.load(kernel.name, text, machine)


@dataclass(frozen=True, slots=True)
class _Driver:
    name: str = driver.NAME

    def emit(self, module: Module) -> None:
        driver.emit(module)


class Bound:
    """A layer ready to run."""

    def __init__(
        self, layer: Layer, machine: Machine, count: int = 1, family: str | families.Family | None = None
    ) -> None:
        self.layer, self.machine, self.threads = layer, machine, count
        if family is None:
            family = families.choose(layer, machine)
        self.family = families.named(family) if isinstance(family, str) else family
        self.schedule = plan = self.family.schedule(layer, machine, count)
        self.codes = [code_of(kernel, machine) for kernel in plan.kernels]
        self.driver = code_of(_Driver(), machine)
        self.work = self.driver.address(driver.NAME)
        packer: Any = plan.packer or WeightPacker(layer.source, layer.scalar, plan.fetch)
        packer = PairWeights() if plan.stored == "bfloat" else packer
        self.weights_code = code_of(packer, machine)
        self.pack_work = self.weights_code.address(packer.name)
        self.pack_threads = count if plan.weight_bytes > _SHARED else 1
        pieces = np.delete(plan.pieces, PIECE.index["taps"], axis=1).tobytes()
        packing = hashlib.sha256(pieces + plan.sources.tobytes()).digest()
        self.weight_key = (
            machine.isa, self.family.name, layer.source, layer.scalar, layer.groups, layer.inputs, layer.outputs,
            layer.op, layer.kernel, layer.flip, plan.weight_bytes, packing,
        )  # fmt: skip
        self._link()
        self._calls: dict[tuple[Strides, float], Call] = {}
        self.no_bias = np.zeros(plan.bias_lanes * BYTES[layer.scalar], np.uint8)
        straight = len(plan.bias_index) == plan.bias_lanes
        self.takes_bias_as_is = straight and bool((plan.bias_index == np.arange(plan.bias_lanes)).all())

    def _link(self) -> None:
        # Numbers of kernels and of table rows become addresses.
        plan = self.schedule
        numbers = plan.program[:, ENTRY.index["op"]].copy()
        addresses = np.array([c.address(k.name) for c, k in zip(self.codes, plan.kernels, strict=True)], np.int64)
        op, taps = ENTRY.index["op"], ENTRY.index["taps"]
        plan.program[:, op] = addresses[plan.program[:, op]]
        plan.program[:, taps] += plan.taps.ctypes.data
        packs = np.array([isinstance(kernel, BlockPacker) for kernel in plan.kernels])[numbers]
        plan.pieces[:, 4] += plan.sources.ctypes.data
        self._packing = self.packing()  # what programs that pack read
        plan.program[packs, taps] = self._packing.ctypes.data
        listed = plan.residues or [side.residues for side in self.layer.sides]
        self._residues = [np.array(residues, np.int64) for residues in listed]
        self._template = np.zeros(len(LAUNCH.fields), np.int64)
        fixed = plan.fixed | {
            "chunk": 1,
            "scratch_bytes": plan.scratch_bytes,
            "rows": plan.patch_bytes,
            "program": plan.program.ctypes.data,
            "jobs": plan.jobs.ctypes.data,
        }
        for axis, residues in zip("dhw", self._residues, strict=True):
            fixed[f"residues_{axis}"] = residues.ctypes.data
        for field, value in fixed.items():
            self._template[_AT[field]] = value

    # -- words --------------------------------------------------------------------------------------------------------

    @property
    def what(self) -> str:
        """The family, in a sentence."""
        return f"{self.family.name}: {self.family.what}"

    @property
    def sentences(self) -> list[str]:
        """The choices made for this layer."""
        plan, layer = self.schedule, self.layer
        names = ", ".join(kernel.name for kernel in plan.kernels)
        order = "blocks of {} input channels, then taps, then channels: one order"
        if plan.packer is not None:
            shapes = " and ".join(shape.words for shape in plan.packer.shapes)
            order = f"{shapes}: blocks of {{}} input channels, then planes, then channels"
        jobs = f"{plan.fixed['count']} jobs for {self.threads} thread{'s' * (self.threads > 1)}"
        return [
            f"kernels {names}",
            f"{jobs}, each with a patch of {plan.patch_bytes:,} bytes and rows of {plan.rows_bytes:,}; "
            f"packed weights of {plan.weight_bytes:,} bytes",
            f"sums in {layer.scalar}, {order.format(plan.block)}",
        ]

    @property
    def loops(self) -> str:
        """The loop nest."""
        return self.schedule.loops

    @property
    def all_codes(self) -> list[binary.Code]:
        """The machine code of everything that runs."""
        extra = [call.code for call in self._calls.values() if call.code is not None]
        return [*self.codes, *dict.fromkeys(extra), self.weights_code, self.driver]

    @property
    def workspace(self) -> int:
        """Bytes beside the arrays."""
        return self.schedule.weight_bytes + self.threads * self.schedule.scratch_bytes

    # -- weights ------------------------------------------------------------------------------------------------------

    @property
    def table_bytes(self) -> int:
        """Bytes of the tables."""
        plan = self.schedule
        return sum(table.nbytes for table in (plan.program, plan.jobs, plan.pieces, plan.taps, plan.sources))

    @property
    def fusable(self) -> bool:
        """Whether every block of outputs belongs to one job, which could as well pack its weights."""
        plan, layer = self.schedule, self.layer
        bands = len(np.unique(plan.jobs[:, [JOB.index[f"first_{axis}"] for axis in "dhw"]], axis=0))
        several = bands > 1 or plan.fixed["count"] > plan.fixed["per_block"]
        takes = self.family.name in ("direct", "pointwise", "single")
        alone = takes and plan.stored != "bfloat" and not layer.depthwise
        return alone and not several and plan.weight_bytes >= _FUSED

    @property
    def weight_bytes(self) -> int:
        """Size of packed weights."""
        return self.schedule.weight_bytes

    def new_weights(self) -> Array:
        """Return memory for packed weights, zero."""
        buffer = aligned(self.schedule.weight_bytes)
        buffer[:] = 0
        return buffer

    def packing(self) -> Array:
        """Return the record of a packing, without the two addresses."""
        layer, plan = self.layer, self.schedule
        item = BYTES[layer.source]
        outs, ins = (layer.group_stride, 0) if layer.depthwise else layer.weight_strides
        phases = 1 if plan.stored == "bfloat" else plan.phases
        record = np.zeros(len(PACKING.fields), np.int64)
        for field, value in {
            "pieces": plan.pieces.ctypes.data, "count": len(plan.pieces) // phases, "phases": phases,
            "outs": outs * item, "ins": ins * item,
            "channels": 1 if layer.depthwise else layer.inputs, "block": plan.block,
            "places": 0 if plan.places is None else plan.places.ctypes.data,
            "cells": 0 if plan.places is None else len(plan.places),
        }.items():  # fmt: skip
            record[PACKING.index[field]] = value
        return record

    def pack(self, weight: int, target: int) -> None:
        """Pack the weight at an address into the buffer at another."""
        record = self.packing()
        record[:2] = weight, target
        threads.parallel(self.pack_work, record.ctypes.data, self.pack_threads)

    # -- calls --------------------------------------------------------------------------------------------------------

    def call(self, strides: Strides, slope: float = 0.0) -> Call:
        """Return a call for inputs of these strides, in bytes: (n, c, d, h, w)."""
        found = self._calls.get((strides, slope))
        if found is None:
            if len(self._calls) >= _MOST_CALLS:
                self._calls.clear()
            found = self._calls[strides, slope] = self._new_call(strides, slope)
        return found

    def _new_call(self, strides: Strides, slope: float) -> Call:
        template = self._template.copy()
        for field, stride in zip(("x_n", "x_c", "x_d", "x_h", "x_w"), strides, strict=True):
            template[_AT[field]] = stride
        template[_AT["slope"]] = np.float64(slope).view(np.int64)
        code = None
        way = self.family.reads(self.layer, strides)
        if way is not None:
            stored = self.schedule.stored or self.layer.scalar
            packer = Packer(way, self.schedule.block, self.layer.source, stored) if isinstance(way, str) else way
            code = code_of(packer, self.machine)
            template[_AT["pack"]] = code.address(packer.name)
        return Call(self, template, code)

    def take_weights(self) -> Buffer:
        """Return memory for packed weights: what was given back, or new."""
        found = _spares.take(self.weight_key)
        if found is None:
            memory = self.new_weights()
            found = memory, memory.ctypes.data
        return found

    def give_weights(self, buffer: Buffer) -> None:
        """Put it back."""
        _spares.give(self.weight_key, buffer)

    def padded_bias(self, bias: Array) -> Array:
        """Return the bias as kernels read it: whole vectors, in the type of the sums."""
        padded = np.zeros(self.schedule.bias_lanes, np.float64 if self.layer.scalar == "double" else np.float32)
        padded[self.schedule.bias_index] = bias
        return padded


class Call:
    """A bound layer for inputs of certain strides; what is left to say are addresses."""

    def __init__(self, bound: Bound, template: Array, code: binary.Code | None) -> None:
        self.bound, self.code = bound, code
        self._record = template.tobytes() + bound.packing().tobytes() + bytes(bound.layer.batch)
        self._marks = len(self._record) - bound.layer.batch
        self._spreads = not bound.family.direct
        self._work, self._threads = bound.work, bound.threads
        self._packs = bound.layer.packs
        self._no_bias = bound.no_bias.ctypes.data
        self._scratch = -(-bound.schedule.scratch_bytes * bound.threads // _GRAIN) * _GRAIN
        self._records: list[tuple[Any, int]] = []

    def __call__(self, x: int, weights: int, bias: int, residual: int, y: int, packed: bool = True) -> bytes:
        """Run; zero stands for no bias and for no residual. Weights that are not packed yet are packed first.

        returns  nothing, or a byte for each image: 1 where a number that is not finite has reached cells whose windows
                 do not contain it, which are to be computed again
        """
        bound = self.bound
        scratch = _spares.take(self._scratch)
        if scratch is None:
            memory = aligned(self._scratch)
            memory[:] = 0  # what tiles read beyond a row is thrown away, but subnormal rubbish would slow them down
            scratch = memory, memory.ctypes.data
        try:
            record, at = launch = self._records.pop()
        except IndexError:
            record = ctypes.create_string_buffer(self._record, len(self._record))
            at = ctypes.addressof(record)
            _POINTER.pack_into(record, LAUNCH.offset("marks"), at + self._marks)
            launch = record, at
        borrowed = None
        if not packed and not self._packs:
            borrowed = bound.take_weights()
            _PACKED.pack_into(record, LAUNCH.bytes, weights, borrowed[1], 0)
            threads.parallel(bound.pack_work, at + LAUNCH.bytes, bound.pack_threads)
            weights = borrowed[1]
        _HEAD.pack_into(record, 0, x, y, weights, bias or self._no_bias, residual, scratch[1], 0, 0)
        threads.parallel(self._work, at, self._threads)
        spread = self._taken_marks(record) if self._spreads else b""
        self._records.append(launch)
        _spares.give(self._scratch, scratch)
        if borrowed is not None:
            bound.give_weights(borrowed)
        return spread

    def _taken_marks(self, record: Any) -> bytes:
        marks: bytes = record[self._marks :]
        if 1 not in marks:
            return b""
        record[self._marks :] = bytes(len(marks))
        return marks


class _Spares:
    """Buffers that calls have given back, for calls to come: by what they fit, so many bytes in all."""

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._lists: dict[Hashable, list[Buffer]] = {}

    def take(self, key: Hashable) -> Buffer | None:
        try:
            found = self._lists[key].pop()
        except (KeyError, IndexError):
            return None
        self._bytes -= found[0].nbytes
        return found

    def give(self, key: Hashable, buffer: Buffer) -> None:
        size = buffer[0].nbytes
        if self._bytes + size > self._most:
            if size > self._most:
                return
            self._lists, self._bytes = {}, 0
        self._bytes += size
        self._lists.setdefault(key, []).append(buffer)


_POINTER = struct.Struct("q")
_HEAD = struct.Struct("8q")  # the first fields of LAUNCH, those that differ from call to call
_PACKED = struct.Struct("3q")  # of PACKING
_spares = _Spares(256 << 20)


@contextmanager
def borrowed(shape: tuple[int, ...], dtype: Any) -> Iterator[Array]:
    """Lend an array for a while, not cleared, and again what was given back: fresh pages cost more than their use."""
    size = -(-math.prod(shape) * np.dtype(dtype).itemsize // _GRAIN) * _GRAIN
    found = _spares.take(size)
    if found is None:
        memory = aligned(size)
        found = memory, memory.ctypes.data
    try:
        yield found[0].view(dtype)[: math.prod(shape)].reshape(shape)
    finally:
        _spares.give(size, found)


def aligned(size: int) -> Array:
    """Return so many bytes, not cleared, that begin at a multiple of 64."""
    raw = np.empty(size + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    return raw[skip : skip + size]
