"""float32 to bfloat16, to nearest even, on all threads: what `accuracy="bf16"` does before anything is multiplied.

The numbers are kept as integers of 16 bits, since NumPy has no such type.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from twofold.engine import binary, pool, threads
from twofold.engine.emit import Module, vector
from twofold.engine.machine import Machine

__all__ = ["to_bfloat"]

Array = npt.NDArray[Any]
_GRAIN = 1 << 15  # numbers that a thread takes at a time


@dataclass(frozen=True, slots=True)
class _Rounder:
    """The copy of `count` numbers; the record is source, target, count, and the number of the next grain."""

    name: str = "round_bfloat"

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        f = module.function(self.name, record="ptr")
        lanes = module.machine.vector_bytes // 4
        source, target = f.load("ptr", f.record, 8), f.load("ptr", f.record + 8, 8)
        count = f.load("i64", f.record + 16)
        take = f"atomicrmw add ptr {(f.record + 24).text}, i64 {_GRAIN} monotonic"
        with f.forever(f.let("i64", take)) as (first, again):
            f.return_unless(f.compare("slt", first, count))
            stop = f.least(count, first + _GRAIN)
            whole = stop - (stop - first) % lanes
            with f.loop(whole, start=first, step=lanes) as i:
                x = f.load(vector(lanes, "float"), source + i.index * 4)
                f.store(f.convert(x, "bfloat"), target + i.index * 2)
            with f.loop(stop, start=whole) as i:
                x = f.load(vector(1, "float"), source + i.index * 4)
                f.store(f.convert(x, "bfloat"), target + i.index * 2)
            again(f.let("i64", take))


def to_bfloat(x: Array, machine: Machine, count: int) -> Array:
    """Return a float32 array in bfloat16, as integers of 16 bits, in the same order of memory if it is dense.

    count  how many threads to use
    """
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    dense = np.ascontiguousarray(x.transpose(order))
    y = pool.empty(dense.shape, np.uint16)
    record = np.array([dense.ctypes.data, y.ctypes.data, dense.size, 0], np.int64)
    threads.parallel(_code(machine), record.ctypes.data, count if dense.size > 2 * _GRAIN else 1)
    return y.transpose(np.argsort(order))


@functools.cache
def _code(machine: Machine) -> int:
    def text() -> str:
        module = Module(machine)
        _Rounder().emit(module)
        return str(module)

    kernel = _Rounder()
    return binary.load(kernel.name, text, machine).address(kernel.name)
