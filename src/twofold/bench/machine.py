"""What the machine gives, measured in the same run: multiply-adds per second, and bytes copied per second.

The peak is that of a loop of multiply-adds on registers and nothing else, on as many threads as the race has.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from twofold.bench.worker import time_call
from twofold.engine import peak

__all__ = ["PEAK_IS", "limit_seconds", "measure"]

PEAK_IS = "a loop of multiply-adds on registers"
_SIZES = (1 << 20, 8 << 20, 256 << 20)  # bytes read and written: about a core's own cache, a shared one, memory
_ROUNDS = 3
_SECONDS = 0.06  # of each measurement in each round; the best counts


def measure(threads: int) -> dict[str, Any]:
    """Measure peak and bandwidth on the cores that this process is pinned to.

    returns  fma_gflops by dtype (2 per multiply-add), peak_is, copy_gbs by working set in bytes (read + written)
    """
    gflops = {"float32": 0.0, "float64": 0.0}
    copies = dict.fromkeys(_SIZES, 0.0)
    for _ in range(_ROUNDS):
        for dtype in gflops:
            gflops[dtype] = max(gflops[dtype], peak.gflops(dtype, threads, _SECONDS))
        for size in _SIZES:
            copies[size] = max(copies[size], _copy_gbs(size, _SECONDS))
    return {
        "fma_gflops": gflops,
        "peak_is": PEAK_IS,
        "copy_gbs": {str(size): rate for size, rate in copies.items()},
        "seconds_clock": time.get_clock_info("perf_counter").resolution,
    }


def limit_seconds(work: int, traffic: int, dtype: str, facts: dict[str, Any]) -> tuple[float, str]:
    """Return the least time that peak and bandwidth allow, and which of them it is.

    work     floating point operations;  traffic  bytes read and written once
    The bandwidth is that of the smallest measured working set that holds the traffic.

    >>> facts = {"fma_gflops": {"float32": 100.0}, "copy_gbs": {"1000000": 50.0, "9000000": 10.0}}
    >>> limit_seconds(10**9, 500_000, "float32", facts), limit_seconds(10**6, 2_000_000, "float32", facts)
    ((0.01, 'peak'), (0.0002, 'bandwidth'))
    """
    sizes = sorted((int(size), rate) for size, rate in facts["copy_gbs"].items())
    rate = next((rate for size, rate in sizes if size >= traffic), sizes[-1][1])
    computing, moving = work / facts["fma_gflops"][dtype] / 1e9, traffic / rate / 1e9
    return (computing, "peak") if computing >= moving else (moving, "bandwidth")


def _copy_gbs(size: int, seconds: float) -> float:
    source = np.ones(size // 8, np.float32)  # half is read, half is written
    target = np.zeros_like(source)
    return size / min(time_call(lambda: np.copyto(target, source), seconds)) / 1e9
