"""What measuring found out: for a layer on this machine, the fastest of a few candidates. Kept on disk, in the cache.

Asked for by `plan(…, tune=True)`; every later plan of the same layer profits. A candidate is a family of kernels and
the size of its patches; under accuracy "strict" all give the same bits.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twofold.engine import cache
from twofold.engine.machine import Machine

__all__ = ["Candidate", "fastest", "learn", "recall"]

_ROUNDS = 7
_MOST = 4096  # answers remembered
_memory: dict[bytes, Candidate | None] = {}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to compute a layer."""

    family: str
    scale: int = 0  # patches 2**scale times as large as estimated to be best


def recall(layer: str, machine: Machine) -> Candidate | None:
    """Return what is known to be fastest, if anything is."""
    key = _key(layer, machine)
    if key not in _memory:
        if len(_memory) >= _MOST:
            _memory.clear()
        _memory[key] = _read(cache.get(key))
    return _memory[key]


def learn(layer: str, machine: Machine, best: Candidate) -> None:
    """Remember what is fastest, also on disk."""
    key = _key(layer, machine)
    _memory[key] = best
    cache.put(key, json.dumps({"family": best.family, "scale": best.scale}).encode())


def fastest(calls: Sequence[Callable[[], object]]) -> int:
    """Return the number of the call with the least median time, of several rounds taken in turns."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for _, (call, taken) in itertools.product(range(_ROUNDS), list(zip(calls, times, strict=True))):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    medians = [statistics.median(taken) for taken in times]
    return medians.index(min(medians))


def _read(payload: bytes) -> Candidate | None:
    try:
        found = json.loads(payload)
        family, scale = found["family"], found["scale"]
    except (ValueError, KeyError, TypeError):
        return None
    return Candidate(family, scale) if isinstance(family, str) and scale in (-1, 0, 1) else None


def _key(layer: str, machine: Machine) -> bytes:
    return hashlib.sha256(f"wisdom 1 {layer} {machine.isa} {machine.cpu} {machine.features}".encode()).digest()
