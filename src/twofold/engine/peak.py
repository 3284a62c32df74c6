"""The most that a core can multiply and add: a loop of it on registers, and nothing else."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from twofold.engine import binary, threads
from twofold.engine.emit import BYTES, Module, vector
from twofold.engine.machine import host

__all__ = ["gflops"]

_TURNS = 1 << 17


@dataclass(frozen=True, slots=True)
class _Loop:
    scalar: str
    sums: int  # independent ones, so that none waits for another

    @property
    def name(self) -> str:
        return f"peak_{self.sums}_{self.scalar}"

    def emit(self, module: Module) -> None:
        f = module.function(self.name, data="ptr")
        lanes = module.machine.vector_bytes // BYTES[self.scalar]
        factor = f.splat(f.load(self.scalar, f.data + 8), lanes)
        start = [f.zero(vector(lanes, self.scalar))] * self.sums
        with f.loop(f.load("i64", f.data), carry=start, some=True) as turn:
            turn.next([f.fma(total, factor, factor) for total in turn.values])
        place = f.stack(self.sums * module.machine.vector_bytes)
        for i, total in enumerate(turn.results):
            f.store(total, place + i * module.machine.vector_bytes)


def gflops(dtype: str, count: int = 1, seconds: float = 0.1) -> float:
    """Return the multiply-adds per second of so many threads together, in 10^9, counted as two operations each.

    dtype  float32 or float64
    """
    machine = host()
    scalar = {"float32": "float", "float64": "double"}[dtype]
    loop = _Loop(scalar, 24 if machine.registers >= 32 else 12)

    def text() -> str:
        module = Module(machine)
        loop.emit(module)
        return str(module)

    entry = binary.load(loop.name, text, machine).address(loop.name)
    data = np.zeros(2, np.int64)
    data[0] = _TURNS
    work = 2 * _TURNS * loop.sums * machine.vector_bytes // BYTES[scalar] * count
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until or not best:
        start = time.perf_counter()
        threads.parallel(entry, data.ctypes.data, count)
        best = max(best, work / (time.perf_counter() - start) / 1e9)
    return best
