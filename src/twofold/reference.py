"""The definition: both operations and the weight gradient as a loop over taps, vectorised over positions, in NumPy.

For each tap, `Axis.meetings` names the coarse and the fine cells that meet; then one line is the operation:

    convolution             coarse += weight[tap]   @ fine
    transposed convolution  fine   += weight[tap].T @ coarse
    weight gradient         weight[tap] = coarse @ fine.T

Where a kernel has more taps than there are cells, the loop goes over the cells instead, and whole stretches of taps
meet at once. Any rank, every dtype, every padding mode. It is the slow twin that each fast kernel is tested against,
and serves the problems that are too small or too rare to compile for. All arrays here are channels first; nothing is
conjugated. How sums are made and rounded is said in `dtypes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from twofold.dtypes import rounded, widened
from twofold.errors import GeometryError
from twofold.geometry import Axis, Geometry, Problem
from twofold.geometry.axis import Meeting
from twofold.geometry.problem import PADDING_MODES

__all__ = [
    "conv",
    "conv_transpose",
    "conv_weight_gradient",
    "copied",
    "fine_source",
    "run",
    "workspace",
]

Array = npt.NDArray[Any]
DType = np.dtype[Any]

Index = tuple[Any, ...]  # an index into an array: (..., slices or integers)


def run(
    problem: Problem, x: Array, other: Array, bias: Array | None = None, *, out_dtype: DType | None = None
) -> Array:
    """Run the operation that `problem` names. `other` is the weight, or grad_y for a weight gradient.

    returns  a new array of `problem.result_shape`, dtype by `result_dtype`
    raises   GeometryError if a shape is not the problem's; OverflowError if an integer result does not fit its dtype

    >>> problem = Problem.parse("conv i3x3 k2x2 int64")
    >>> run(problem, np.arange(1, 10).reshape(1, 1, 3, 3), np.arange(1, 5).reshape(1, 1, 2, 2))[0, 0]
    array([[37, 47],
           [67, 77]])
    """
    if problem.op == "conv_weight_gradient":
        return conv_weight_gradient(problem, x, other, out_dtype=out_dtype)
    operation = conv if problem.op == "conv" else conv_transpose
    return operation(problem, x, other, bias, out_dtype=out_dtype)


def conv(
    problem: Problem, x: Array, weight: Array, bias: Array | None = None, *, out_dtype: DType | None = None
) -> Array:
    """Sum over the fine side: the convolution layer (cross-correlation unless `problem.flip`).

    x        (batch, fine_channels, *fine_size)
    weight   (coarse_channels, fine_channels / groups, *kernel_size)
    bias     (coarse_channels,)
    returns  (batch, coarse_channels, *coarse_size)
    """
    _check_shapes(("x", x, problem.fine_shape), ("weight", weight, problem.weight_shape))
    terms = math.prod(problem.weight_shape[1:])
    x, weight, bias, result = widened(terms, x, weight, bias, out_dtype)
    layer, fine_size = problem.geometry, problem.fine_size
    if problem.padding_mode != "zeros":
        x = pad(x, problem)
        layer, fine_size = layer.without_padding(), x.shape[2:]
    kernel, fine = _kernel(weight, problem), _grouped(x, layer.groups)
    coarse = np.zeros(problem.coarse_shape, x.dtype)
    y = _grouped(coarse, layer.groups)  # a view
    for taps, coarse_cells, fine_cells in _meetings(layer, problem.coarse_size, fine_size):
        with np.errstate(all="ignore"):  # Inf and NaN are values like others here
            if _is_one(taps):
                y[coarse_cells] += _mix(kernel[taps], fine[fine_cells])
            else:
                y[coarse_cells] += _einsum("ngk", coarse_cells, ("gkc", kernel, taps), ("ngc", fine, fine_cells))
    return rounded(coarse, bias, result)


def conv_transpose(
    problem: Problem, x: Array, weight: Array, bias: Array | None = None, *, out_dtype: DType | None = None
) -> Array:
    """Sum over the coarse side: the transposed convolution layer, the adjoint of `conv` with the same weight.

    x        (batch, coarse_channels, *coarse_size)
    weight   (coarse_channels, fine_channels / groups, *kernel_size)
    bias     (fine_channels,)
    returns  (batch, fine_channels, *fine_size)
    """
    _check_shapes(("x", x, problem.coarse_shape), ("weight", weight, problem.weight_shape))
    layer, fine_size = problem.geometry, problem.fine_size
    terms = layer.coarse_channels // layer.groups * math.prod(layer.kernel_size)
    if problem.padding_mode != "zeros":
        folds = [int(np.bincount(source).max(initial=1)) for source in _sources(problem)]
        terms *= math.prod(folds)  # a fold adds this many cells into one
        fine_size = tuple(len(source) for source in _sources(problem))
        layer = layer.without_padding()
    x, weight, bias, result = widened(terms, x, weight, bias, out_dtype)
    kernel, coarse = _kernel(weight, problem), _grouped(x, layer.groups)
    fine = np.zeros((problem.batch, layer.fine_channels, *fine_size), x.dtype)
    y = _grouped(fine, layer.groups)  # a view
    for taps, coarse_cells, fine_cells in _meetings(layer, problem.coarse_size, fine_size):
        with np.errstate(all="ignore"):
            if _is_one(taps):
                y[fine_cells] += _mix(np.swapaxes(kernel[taps], 1, 2), coarse[coarse_cells])
            else:
                y[fine_cells] += _einsum("ngc", fine_cells, ("gkc", kernel, taps), ("ngk", coarse, coarse_cells))
    if problem.padding_mode != "zeros":
        fine = fold(fine, problem)
    return rounded(fine, bias, result)


def conv_weight_gradient(problem: Problem, x: Array, grad_y: Array, *, out_dtype: DType | None = None) -> Array:
    """Sum over pairs of cells: the gradient of both operations with respect to the weight.

    x        (batch, fine_channels, *fine_size), always the fine side
    grad_y   (batch, coarse_channels, *coarse_size), always the coarse side
    returns  (coarse_channels, fine_channels / groups, *kernel_size)
    """
    _check_shapes(("x", x, problem.fine_shape), ("grad_y", grad_y, problem.coarse_shape))
    terms = problem.batch * math.prod(problem.coarse_size)
    x, grad_y, _, result = widened(terms, x, grad_y, None, out_dtype)
    layer, fine_size = problem.geometry, problem.fine_size
    if problem.padding_mode != "zeros":
        x = pad(x, problem)
        layer, fine_size = layer.without_padding(), x.shape[2:]
    fine, coarse = _grouped(x, layer.groups), _grouped(grad_y, layer.groups)
    grad = np.zeros(layer.weight_shape, x.dtype)
    kernel = _kernel(grad, problem)  # a view
    for taps, coarse_cells, fine_cells in _meetings(layer, problem.coarse_size, fine_size):
        with np.errstate(all="ignore"):
            if _is_one(taps):
                left, right = _flat(coarse[coarse_cells]), _flat(fine[fine_cells])
                kernel[taps] += np.matmul(left, np.swapaxes(right, 2, 3)).sum(axis=0)
            else:
                kernel[taps] += _einsum("gkc", taps, ("ngk", coarse, coarse_cells), ("ngc", fine, fine_cells))
    return rounded(grad, None, result)


# -- padding modes: an index map along each axis, and its adjoint -----------------------------------------------------


def fine_source(axis: Axis, size: int, mode: str) -> npt.NDArray[np.int64]:
    """Return, for the padded cells -pad_before … size + pad_after - 1, the cell of 0 … size - 1 each is copied from.

    Reflecting and repeating go on as often as the padding asks. A negative pad_after leaves cells out.

    >>> fine_source(Axis(3, pad_before=2, pad_after=2), 4, "reflect")
    array([2, 1, 0, 1, 2, 3, 2, 1])
    """
    padded = axis.padded(size)
    if mode not in PADDING_MODES[1:]:
        raise GeometryError(f"padding_mode '{mode}' copies no cells", repair="padding_mode='reflect'")
    cells: npt.NDArray[np.int64] = copied(np.arange(padded.start, padded.stop, dtype=np.int64), size, mode)
    return cells


def copied(cells: Any, size: int, mode: str) -> Any:
    """Return the cell of 0 … size - 1 that each padded cell copies; one cell, or an array of them.

    >>> [copied(cell, 4, "reflect") for cell in range(-2, 6)], copied(-10**12, 4, "circular")
    ([2, 1, 0, 1, 2, 3, 2, 1], 0)
    """
    if mode == "replicate":
        return np.clip(cells, 0, size - 1)
    if mode == "circular":
        return cells % max(size, 1)
    return size - 1 - abs(size - 1 - cells % max(2 * (size - 1), 1))


def _sources(problem: Problem) -> list[npt.NDArray[np.int64]]:
    axes = zip(problem.geometry.axes, problem.fine_size, strict=True)
    return [fine_source(axis, size, problem.padding_mode) for axis, size in axes]


def padded_size(problem: Problem) -> tuple[int, ...]:
    """Return the fine sizes with padding."""
    axes = zip(problem.geometry.axes, problem.fine_size, strict=True)
    return tuple(len(axis.padded(size)) for axis, size in axes)


def pad(x: Array, problem: Problem) -> Array:
    """Return x with the padding of the problem's mode around it."""
    for i, source in enumerate(_sources(problem), start=2):
        x = x.take(source, axis=i)
    return x


def fold(padded: Array, problem: Problem) -> Array:
    """Return the adjoint of `pad`: each padded cell is added to the cell it would have been copied from."""
    for i, source in enumerate(_sources(problem), start=2):
        folded = np.zeros((*padded.shape[:i], problem.fine_size[i - 2], *padded.shape[i + 1 :]), padded.dtype)
        with np.errstate(all="ignore"):
            np.add.at(np.moveaxis(folded, i, 0), source, np.moveaxis(padded, i, 0))
        padded = folded
    return padded


# -- the loop over taps -----------------------------------------------------------------------------------------------


def _meetings(
    layer: Geometry, coarse_size: tuple[int, ...], fine_size: tuple[int, ...]
) -> Iterator[tuple[Index, Index, Index]]:
    """Yield batches of meetings as indices of the kernel, of the coarse and of the fine cells."""
    axes = list(zip(layer.axes, coarse_size, fine_size, strict=True))

    def from_axis(i: int) -> Iterator[tuple[Meeting, ...]]:
        if i == len(axes):
            yield ()
            return
        axis, coarse, fine = axes[i]
        for meeting in axis.meetings(coarse, fine):
            if all(not isinstance(cells, slice) or cells.start != cells.stop for cells in meeting):
                yield from ((meeting, *rest) for rest in from_axis(i + 1))

    for meetings in from_axis(0):
        taps, coarse_cells, fine_cells = zip(*meetings, strict=True)
        yield (..., *taps), (..., *coarse_cells), (..., *fine_cells)


def _kernel(weight: Array, problem: Problem) -> Array:
    """Return the weight as (G, K/G, C/G, *kernel_size), a view; mathematical convolution turns it by 180 degrees."""
    groups, (channels, *rest) = problem.geometry.groups, weight.shape
    kernel = weight.reshape(groups, channels // groups, *rest)
    return np.flip(kernel, tuple(range(3, kernel.ndim))) if problem.flip else kernel


def _is_one(taps: Index) -> bool:
    return not any(isinstance(tap, slice) for tap in taps)


def _einsum(wanted: str, wanted_cells: Index, *operands: tuple[str, Array, Index]) -> Array:
    """Sum products over what `wanted` lacks: letters are n batch, g group, k and c channels; slices are axes."""

    def labels(letters: str, cells: Index) -> list[int]:
        axes = [i for i, cell in enumerate(cells[1:]) if isinstance(cell, slice)]
        return ["ngkc".index(letter) for letter in letters] + [4 + i for i in axes]

    arguments: list[Any] = []
    for letters, array, cells in operands:
        arguments += [array[cells], labels(letters, cells)]
    result: Array = np.einsum(*arguments, labels(wanted, wanted_cells))
    return result


def _mix(matrix: Array, cells: Array) -> Array:
    """(G, K, C) times (N, G, C, *cells) -> (N, G, K, *cells)."""
    flat = _flat(cells)
    # A matrix product with one channel would be a slow way to scale an array (depthwise layers).
    mixed = matrix * flat if matrix.shape[2] == 1 else np.matmul(matrix, flat)
    return mixed.reshape(*mixed.shape[:3], *cells.shape[3:])


def _flat(cells: Array) -> Array:
    return cells.reshape(*cells.shape[:3], math.prod(cells.shape[3:]))


def _grouped(array: Array, groups: int) -> Array:
    """(N, channels, *size) -> (N, groups, channels / groups, *size)."""
    return array.reshape(array.shape[0], groups, array.shape[1] // groups, *array.shape[2:])


def _check_shapes(*expected: tuple[str, Array, tuple[int, ...]]) -> None:
    for name, array, shape in expected:
        if array.shape != shape:
            raise GeometryError(f"{name} has shape {array.shape}, but the problem says {shape}")


def workspace(problem: Problem, itemsize: int, *, widens: bool) -> int:
    """Return the bytes that `run` takes besides its result, at most; `widens` says that the inputs are cast first."""
    layer = problem.geometry
    # One tap: the cells it reads and the products it makes.
    cells = problem.batch * math.prod(problem.coarse_size) * (layer.fine_channels + layer.coarse_channels)
    if widens:
        cells += math.prod(problem.fine_shape) + math.prod(problem.coarse_shape) + math.prod(problem.weight_shape)
    if problem.padding_mode != "zeros":
        spans = [axis.padded(size) for axis, size in zip(layer.axes, problem.fine_size, strict=True)]
        padded = [span.stop - span.start for span in spans]  # len() ends at 2**63
        cells += 2 * problem.batch * layer.fine_channels * math.prod(padded)  # each axis copies what the last one made
    return cells * itemsize
