"""The running sums of a transposed convolution: what its steps have painted so far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from twofold.analysis.taps import walk
from twofold.explain.arithmetic import Array, accumulate, by_taps

if TYPE_CHECKING:
    from twofold.explain.trace import Trace

__all__ = ["Painter"]


class Painter:
    """The running sums of a transposed convolution; the last one is kept, so that going forward is cheap."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._restart()

    def running(self, index: int) -> Array:
        """Return the sum after a step, in the form of x."""
        self._go(index + 1)
        return self._trace.shown(self._total.copy())

    def so_far(self, index: int) -> tuple[Array, Array]:
        """Return both, flat and not copied: read them before the next step."""
        self._go(index + 1)
        return self._total, self._seen

    def covered(self, index: int) -> Array:
        """Return which cells are painted after a step."""
        self._go(index + 1)
        return self._seen.reshape(self._trace.problem.result_shape[self._trace.drop :]).copy()

    def _restart(self) -> None:
        self._stop = 0
        self._total = self._trace.products_of(0, 0)
        self._seen = np.zeros(self._total.shape, dtype=np.bool_)

    def _skip(self, x: Array, weight: Array) -> bool:
        # Straight to the last sum: the whole operation, and on ones it says what is painted at all.
        total = by_taps(self._trace.problem, x, weight)
        if total is None:
            return False
        seen = by_taps(self._trace.problem, np.ones(x.shape, np.int32), np.ones(weight.shape, np.int32))
        self._total, self._seen, self._stop = total, np.asarray(seen != 0), math.prod(self._trace.problem.coarse_shape)
        return True

    def _go(self, stop: int) -> None:
        if stop < self._stop:
            self._restart()
        self._trace.check_sum(stop - self._stop)
        x, weight, _ = self._trace.operands
        if self._stop == 0 and stop == math.prod(self._trace.problem.coarse_shape) and self._skip(x, weight):
            return
        for table in walk(self._trace.problem, self._stop, stop):
            accumulate(self._total, [table], x, weight)
            self._seen[table.out] = True
        self._stop = stop
