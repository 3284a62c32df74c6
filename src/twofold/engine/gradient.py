"""The gradient of both operations by the weight, compiled.

    dW[k, c, tap] = sum of grad[n, k, cell] * x[n, c, fine(cell, tap)] over n, then coarse cells in row-major order

Each element is one chain of multiply-adds that begins at zero. Threads share the elements, never a sum, so the bits of
the result depend neither on their number nor on how the cells are cut into bands.
"""

from __future__ import annotations

import itertools
import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from twofold.engine import binary, gradient_code, pool
from twofold.engine.address import address
from twofold.engine.emit import Module
from twofold.engine.gradient_code import DRIVER, ENTRY, JOB, LAUNCH, RUN, Copy, Unpack
from twofold.engine.gradient_plan import Plan, Side, plan
from twofold.engine.machine import Machine
from twofold.engine.threads import parallel
from twofold.geometry import Problem

__all__ = ["WeightGradient"]

Array = npt.NDArray[Any]
_AT = LAUNCH.index
_MANY, _SINGLE, _OUT, _SCRATCH = (_AT[field] for field in ("many_array", "single_array", "out", "scratch"))
_ZEROS = 32 * 64  # bytes: as many as all registers have


class WeightGradient:
    """The weight gradient of one layer, bound to machine code; `run` may be called by many threads at once.

    problem    of any operation: x is its fine side, grad its coarse side; float32 or float64
    threads    at most so many share a call
    """

    name = "weight gradient"
    relative: float | None = None  # its error, if it is not that of a direct sum

    def __init__(self, problem: Problem, machine: Machine, threads: int = 1) -> None:
        self.problem, self.machine, self.threads = problem, machine, threads
        self.workspace, self.loops, self.kernels = 0, "every element is zero", list[str]()
        self._ready: dict[object, _Ready] = {}
        self._bound: _Bound | None = None
        self._other: _Bound | None = None  # for arrays that are not contiguous in the layout
        made = plan(problem, machine, threads)
        if made is not None:
            self._bound = _Bound(made, problem, machine, threads)
            self.workspace, self.loops, self.kernels = self._bound.workspace, made.loops, self._bound.kernels

    def run(self, x: Array, grad: Array, out: Array) -> None:
        """Write the gradient of every element of the weight.

        x     (batch, fine_channels, *fine_size), any strides
        grad  (batch, coarse_channels, *coarse_size), any strides
        out   weight_shape, C order; all of the problem's dtype
        """
        if self._bound is None:
            out.fill(0)
            return
        key = (x.strides, grad.strides)
        ready = self._ready.get(key)
        if ready is None:
            ready = self._ready[key] = self._fitting(x, grad)
        bound, template, x_offset, grad_offset = ready
        launch = template.copy()
        scratch = pool.empty((bound.workspace,), np.uint8)
        fine, coarse = address(x) + x_offset, address(grad) + grad_offset
        launch[_MANY], launch[_SINGLE] = (fine, coarse) if bound.many_is_fine else (coarse, fine)
        launch[_OUT] = address(out)
        launch[_SCRATCH] = -(-address(scratch) // 64) * 64
        parallel(bound.work, address(launch), bound.threads)

    @property
    def what(self) -> str:
        """The family, in a sentence."""
        return "weight gradient: outer products of pixels, summed in registers over the cells of a band"

    @property
    def sentences(self) -> list[str]:
        """The choices made for this layer."""
        if self._bound is None:
            return ["no cell meets another: every element is zero"]
        shared = f"{self._bound.threads} thread{'s' * (self._bound.threads > 1)}, which share elements, never a sum"
        return [f"kernels {', '.join(self.kernels)}", f"{shared}; {self.workspace:,} bytes of scratch memory"]

    @property
    def all_codes(self) -> list[binary.Code]:
        """The machine code of everything that runs."""
        return [] if self._bound is None else self._bound.codes

    def _fitting(self, x: Array, grad: Array) -> _Ready:
        assert self._bound is not None
        ready = self._bound.ready(x, grad)
        if ready is None:
            if self._other is None:
                made = plan(self.problem, self.machine, self.threads, in_place=False)
                assert made is not None
                self._other = _Bound(made, self.problem, self.machine, self.threads)
            ready = self._other.ready(x, grad)
        assert ready is not None
        return ready


class _Bound:
    """A plan with its addresses."""

    def __init__(self, made: Plan, problem: Problem, machine: Machine, threads: int) -> None:
        self.plan, self.problem, self.machine = made, problem, machine
        self.threads = min(threads, len(made.jobs))
        self.workspace = made.scratch_bytes * self.threads + 64
        self.many_is_fine = made.many.is_fine
        self.scalar = made.tiles[0].scalar
        self.size = np.dtype(problem.dtype).itemsize
        unpack = Unpack(made.unpack, self.scalar)
        self.codes = [_code(kernel, machine) for kernel in (*made.tiles, unpack, gradient_code)]
        self.kernels = [*(tile.name for tile in made.tiles), unpack.name, DRIVER]
        self.work = _address(gradient_code, machine)
        self._zeros = np.zeros(_ZEROS + 64, np.uint8)
        op, table, runs, map_ = ENTRY.index["op"], RUN.index["table"], JOB.index["runs"], JOB.index["map"]
        made.program[:, op] = np.array([_address(tile, machine) for tile in made.tiles])[made.program[:, op]]
        made.bands[:, -2:] += made.ranges.ctypes.data
        if made.unpack == "turn":
            made.lines[:, table] += made.places.ctypes.data
        made.jobs[:, runs] = made.jobs[:, runs] * made.lines.strides[0] + made.lines.ctypes.data
        made.jobs[:, map_] += made.maps.ctypes.data
        fixed = made.fixed | {
            "jobs": made.jobs.ctypes.data, "bands": made.bands.ctypes.data, "program": made.program.ctypes.data,
            "scratch_bytes": made.scratch_bytes, "unpack": _address(unpack, machine),
            "zeros": -(-self._zeros.ctypes.data // 64) * 64, "identity": made.identity.ctypes.data,
        }  # fmt: skip
        self._template = np.zeros(len(LAUNCH.fields), np.int64)
        for field, value in fixed.items():
            self._template[_AT[field]] = value

    def ready(self, x: Array, grad: Array) -> _Ready | None:
        """Return the launch record for arrays of these strides, and where in them their first cells are, in bytes.

        None if the plan reads an array in place that has other strides.
        """
        made = self.plan
        launch = self._template.copy()
        offsets = {}
        for name, side in (("many", made.many), ("single", made.single)):
            array = x if side.is_fine else grad
            steps = (0,) * (3 - self.problem.rank) + array.strides[2:]
            strides = dict(zip("nc", array.strides[:2], strict=True))
            strides |= {axis: step * apart for axis, step, apart in zip("dhw", steps, side.apart, strict=True)}
            offsets[side.is_fine] = sum(step * first for step, first in zip(steps, side.origin, strict=True))
            for field, value in strides.items():
                launch[_AT[f"{name}_{field}"]] = value
            if side.strides is not None:
                wanted = zip("ncdhw", side.strides, (*array.shape[:2], *self._shape(array)), strict=True)
                if any(count > 1 and strides[axis] != step for axis, step, count in wanted):
                    return None
                for axis, step in zip("ncdhw", side.strides, strict=True):
                    launch[_AT[f"{name}_{axis}"]] = step
                continue
            way = self._way(side, strides["c"], strides["w"])
            launch[_AT[f"{name}_pack"]] = _address(Copy(way, side.block, self.scalar), self.machine)
            if name == "single" and made.may_read and way == "pixels" and self._is_dense(strides):
                launch[_AT["direct"]] = 1
                for axis in "ndhw":
                    launch[_AT[f"single_to_{axis}"]] = strides[axis]
        return self, launch, offsets[True], offsets[False]

    def _shape(self, array: Array) -> tuple[int, ...]:
        return (1,) * (3 - self.problem.rank) + array.shape[2:]

    def _is_dense(self, strides: dict[str, int]) -> bool:
        # Whether the cells of a band are neighbours, where the driver takes them for one row.
        fixed = self.plan.fixed
        counts = [fixed[f"single_size_{axis}"] for axis in "whd"]
        dense = list(itertools.accumulate(counts, operator.mul, initial=strides["w"]))
        axes = {0: "", 1: "hd", 2: "hdn"}[fixed["folded"]]
        return all(strides[axis] == dense["whdn".index(axis)] for axis in axes)

    def _way(self, side: Side, channel: int, column: int) -> str:
        if side.is_mapped:
            return "gather"
        if column == self.size:
            return "rows" if side.block == 1 else "squares"
        if channel == self.size:
            return "turn" if side.block == 1 else "pixels"
        return "cells" if side.block == 1 else "gather"


_Ready = tuple[_Bound, Array, int, int]


def _text(kernel: Any, machine: Machine) -> str:
    module = Module(machine)
    kernel.emit(module)
    return str(module)


def _address(kernel: Any, machine: Machine) -> int:
    code = _code(kernel, machine)
    return code.address(code.name)


def _code(kernel: Any, machine: Machine) -> binary.Code:
    name = DRIVER if kernel is gradient_code else kernel.name
    return binary.load(name, lambda: _text(kernel, machine), machine)
