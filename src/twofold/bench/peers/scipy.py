"""SciPy: `scipy.signal.correlate` of each image with each filter, direct or by FFT as SciPy itself estimates.

Strides are taken from the dense result, a dilated kernel has zeros between its taps, and a transposed convolution
spreads its input first: SciPy has no form of these that sums over channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from twofold.bench.case import Array, Case, Prepared, flipped, guest

__all__ = ["prepare"]


def prepare(case: Case) -> Prepared:
    """Prepare `scipy`."""
    signal = guest("scipy.signal", "scipy")
    case.forward_only()
    pads = case.full_pads if case.transposed else case.pads
    kernels = _spread(flipped(case) if case.transposed else case.weight, case.dilation)
    steps = (1,) * case.problem.rank if case.transposed else case.stride

    def call() -> Array:
        dense = _spread(case.x, case.stride) if case.transposed else case.x
        return _correlate(signal, _padded(dense, pads), kernels, steps, case.groups)

    return Prepared(call, lambda y: (y,))


def _correlate(signal: Any, x: Array, kernels: Array, steps: tuple[int, ...], groups: int) -> Array:
    every: Any = (0, *(slice(None, None, step) for step in steps))  # the channels of a group meet in one position only
    per_group = len(kernels) // groups
    images = x.reshape(len(x), groups, -1, *x.shape[2:])
    planes = [
        [signal.correlate(image[k // per_group], kernel, mode="valid")[every] for k, kernel in enumerate(kernels)]
        for image in images
    ]
    return np.array(planes)


def _spread(array: Array, steps: tuple[int, ...]) -> Array:
    # Zeros between the cells, so that neighbours are `steps` apart.
    if all(step == 1 for step in steps):
        return array
    sizes = [(size - 1) * step + 1 for size, step in zip(array.shape[2:], steps, strict=True)]
    wide = np.zeros((*array.shape[:2], *sizes), array.dtype)
    cells: Any = (..., *(slice(None, None, step) for step in steps))
    wide[cells] = array
    return wide


def _padded(x: Array, pads: tuple[tuple[int, int], ...]) -> Array:
    wide = np.pad(x, [(0, 0), (0, 0), *((max(before, 0), max(after, 0)) for before, after in pads)])
    sizes = zip(pads, wide.shape[2:], strict=True)
    cut: Any = (..., *(slice(max(-before, 0), size - max(-after, 0)) for (before, after), size in sizes))
    cropped: Array = wide[cut]
    return cropped
