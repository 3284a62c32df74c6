"""A layer bound to machine code: its schedule, the functions that its program names, and calls of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from twofold.engine import binary, driver, threads
from twofold.engine.emit import BYTES, Module
from twofold.engine.machine import Machine
from twofold.engine.patch import Packer
from twofold.engine.records import ENTRY, LAUNCH
from twofold.engine.schedule import Layer, Schedule, schedule
from twofold.engine.weights import WeightPacker

import ctypes

Array = npt.NDArray[Any]
_AT = LAUNCH.index


def _code(kernel: Any, machine: Machine) -> int:
    def text() -> str:
        module = Module(machine)
        kernel.emit(module)
        return str(module)

    name = getattr(kernel, "NAME", None) or kernel.name
    return binary.load(name, text, machine).address(name)


class Compiled:
    def __init__(self, layer: Layer, machine: Machine, threads_: int = 1) -> None:
        self.layer, self.machine = layer, machine
        self.schedule = s = schedule(layer, machine, threads_)
        self.threads = threads_
        self.work = _code(driver, machine)
        addresses = np.array([_code(k, machine) for k in s.kernels], np.int64)
        self.program = s.program
        self.program[:, ENTRY.index["op"]] = addresses[self.program[:, ENTRY.index["op"]]]
        self.program[:, ENTRY.index["taps"]] += s.taps.ctypes.data
        self.residues = [np.array(side.residues, np.int64) for side in layer.sides]
        t = np.zeros(len(LAUNCH.fields), np.int64)
        for name, value in s.fixed.items():
            t[_AT[name]] = value
        for axis, r in zip("dhw", self.residues):
            t[_AT[f"residues_{axis}"]] = r.ctypes.data
        t[_AT["chunk"]] = 1
        t[_AT["scratch_bytes"]] = s.scratch_bytes
        t[_AT["rows"]] = s.patch_bytes
        t[_AT["program"]] = self.program.ctypes.data
        t[_AT["jobs"]] = s.jobs.ctypes.data
        self.template = t
        wp = WeightPacker(layer.source, layer.scalar)
        self.packw = _code(wp, machine)
        s.pieces[:, 4] += s.sources.ctypes.data
        self.scratch = aligned(s.scratch_bytes * threads_)
        self.nobias = np.zeros(s.bias_lanes, np.float64)

    def pack(self, weight: Array) -> Array:
        s, l = self.schedule, self.layer
        out = aligned(s.weight_bytes)
        out[:] = 0
        e = weight.itemsize
        outs, ins = l.weight_strides
        if l.depthwise:
            outs = l.group_stride
        rec = np.array(
            [
                weight.ctypes.data,
                out.ctypes.data,
                0,
                s.pieces.ctypes.data,
                len(s.pieces),
                outs * e,
                ins * e,
                1 if l.depthwise else l.inputs,
                s.block,
                1,
            ],
            np.int64,
        )
        threads.parallel(self.packw, rec.ctypes.data, 1)
        return out

    def run(self, x: Array, packed: Array, bias: Array | None, y: Array) -> Array:
        # x is (n, c, d, h, w) with any strides
        s = self.schedule
        t = self.template.copy()
        e = x.itemsize
        st = x.strides
        t[_AT["x"]] = x.ctypes.data
        t[_AT["x_n"]], t[_AT["x_c"]], t[_AT["x_d"]], t[_AT["x_h"]], t[_AT["x_w"]] = st
        way = (
            "pixels"
            if st[1] == e and s.block > 1
            else "squares"
            if st[4] * self.layer.sides[2].step_in == e
            else "cells"
        )
        t[_AT["pack"]] = _code(Packer(way, s.block, self.layer.source, self.layer.scalar), self.machine)
        t[_AT["y"]] = y.ctypes.data
        t[_AT["weights"]] = packed.ctypes.data
        b = self.nobias
        if bias is not None:
            b = np.zeros(s.bias_lanes, {"float": np.float32, "double": np.float64}[self.layer.scalar])
            b[s.bias_index] = bias
        t[_AT["bias"]] = b.ctypes.data
        t[_AT["scratch"]] = self.scratch.ctypes.data
        threads.parallel(self.work, t.ctypes.data, self.threads)
        return y


def aligned(n: int) -> Array:
    raw = np.empty(n + 64, np.uint8)
    at = -raw.ctypes.data % 64
    return raw[at : at + n]
