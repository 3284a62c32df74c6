"""The arithmetic of a trace: wide, exact where it can be, and strictly left to right.

Integers are exact (int64, or Python integers where int64 could overflow), floats are float64, complex numbers are
complex128. Products come first, then they are added one after the other in the order of the rows, beginning with 0:
no pairwise sum, no matrix product, no fused multiply-add, since those differ in the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.analysis.taps import Taps
from twofold.errors import UnsupportedError
from twofold.geometry import Problem
from twofold.reference import copied

__all__ = ["Array", "accumulate", "by_taps", "exact", "kind_of", "products", "widen"]

Array = NDArray[Any]

_MANY = 16  # cells for each tap: with fewer, arrays are too short to be worth their calls
_ROOM = 4  # a padded input may have so many times the cells of input and output
_KINDS = {"b": 0, "i": 0, "u": 0, "f": 1, "c": 2}
_WIDE = (np.dtype(np.int64), np.dtype(np.float64), np.dtype(np.complex128))


def kind_of(name: str, array: Array) -> int:
    """Return 0 for integers (Python's own included), 1 for floats, 2 for complex numbers.

    >>> kind_of("x", np.array([2**70])), kind_of("x", np.array([1.5, 2]))
    (0, 1)
    """
    if array.dtype == object:
        kinds = {type(value) for value in array.ravel().tolist()}
        if kinds <= {int, bool}:
            return 0
        if kinds <= {int, bool, float, complex}:
            return 2 if complex in kinds else 1
    if array.dtype.name == "bfloat16":
        return 1
    if array.dtype.kind in _KINDS and array.dtype.itemsize <= 16 and array.dtype != np.longdouble:
        return _KINDS[array.dtype.kind]
    raise UnsupportedError(
        f"{name} has dtype {array.dtype}, which an explanation cannot show", repair=f"{name}.astype(np.float64)"
    )


def widen(name: str, array: Array, kind: int) -> Array:
    """Copy an array into the numbers of a trace: int64 or Python integers, float64, complex128; read-only.

    >>> widen("x", np.array([1, 2], np.uint8), 1)
    array([1., 2.])
    """
    if kind == 0 and array.dtype.kind in "uO":
        exact = array.astype(object)
        fits = all(-(2**63) <= value < 2**63 for value in exact.ravel().tolist())
        wide = exact.astype(np.int64) if fits else np.vectorize(int, otypes=[object])(exact)
    else:
        try:
            wide = array.astype(_WIDE[kind])
        except OverflowError:
            raise UnsupportedError(f"{name} holds an integer beyond every float64", repair="integers only") from None
        if kind and kind_of(name, array) == 0 and not _same(array, wide):
            raise UnsupportedError(
                f"{name} holds an integer that float64 cannot hold exactly, and the other numbers are floats",
                repair="integers only, or smaller ones",
            )
    wide.flags.writeable = False
    return wide


def _same(array: Array, wide: Array) -> bool:
    if array.dtype.itemsize < 8 and array.dtype != object:
        return True
    if array.dtype != object and (not array.size or -(2**53) <= array.min() <= array.max() <= 2**53):
        return True
    back = wide.real.ravel().tolist()
    return all(int(value) == int(after) for value, after in zip(array.ravel().tolist(), back, strict=True))


def products(weight: Array, x: Array) -> Array:
    """Multiply element by element; complex numbers by the schoolbook formula, as `numbers.multiply` does."""
    if weight.dtype.kind != "c":
        return np.multiply(weight, x)
    real = weight.real * x.real - weight.imag * x.imag
    return _complex(real, weight.real * x.imag + weight.imag * x.real)


def _complex(real: Array, imaginary: Array) -> Array:
    joined = np.empty(real.shape, dtype=np.complex128)
    joined.real, joined.imag = real, imaginary  # no arithmetic: 1j * inf would make a nan
    return joined


def accumulate(total: Array, tables: Iterable[Taps], x: Array, weight: Array) -> None:
    """Add all products to the flat array `total`, in place and in the order of the rows."""
    with np.errstate(all="ignore"):
        for table in tables:
            # add.at, unlike any sum of NumPy's, adds one after the other.
            np.add.at(total, table.out, products(weight[table.weight], x[table.inp]))


def by_taps(problem: Problem, x: Array, weight: Array) -> Array | None:
    """Sum all products tap by tap over whole arrays, which is faster where there are many cells; None where it is not.

    The order of every sum stays that of the rows. For one output cell of a convolution that is the order of the taps;
    the coarse cells that paint one fine cell of a transposed convolution come in the opposite one.
    """
    layer, groups = problem.geometry, problem.geometry.groups
    cells, taps = math.prod(problem.coarse_shape), math.prod(problem.weight_shape[1:])
    if cells < _MANY * taps:
        return None
    if problem.padding_mode != "zeros":
        padded = _padded(problem, x)
        return None if padded is None else by_taps(*padded, weight)
    per_coarse, per_fine = layer.coarse_channels // groups, layer.fine_channels // groups
    shapes = (per_fine, problem.fine_size), (per_coarse, problem.coarse_size)
    read, write = shapes if problem.op == "conv" else shapes[::-1]
    source = x.reshape(problem.batch, groups, read[0], *read[1])
    total = np.zeros((problem.batch, groups, write[0], *write[1]), dtype=x.dtype)
    kernel = weight.reshape(groups, per_coarse, per_fine, *layer.kernel_size)
    kernel = np.flip(kernel, tuple(range(3, kernel.ndim))) if problem.flip else kernel
    order = list(product(*map(range, layer.kernel_size)))
    for channel, tap in product(range(read[0]), order if problem.op == "conv" else order[::-1]):
        spans = [axis.span(t, *sizes) for axis, t, *sizes in zip(
            layer.axes, tap, problem.coarse_size, problem.fine_size, strict=True
        )]  # fmt: skip
        coarse, fine = (tuple(sides) for sides in zip(*spans, strict=True))
        here, there = (fine, coarse) if problem.op == "conv" else (coarse, fine)
        column = kernel[(slice(None),) * 3 + tap].take(channel, axis=2 if problem.op == "conv" else 1)
        values = source[:, :, channel, None, *here]
        part = total[:, :, :, *there]
        with np.errstate(all="ignore"):
            np.add(part, products(column.reshape(*column.shape, *(1,) * problem.rank), values), out=part)
    return total.ravel()


def _padded(problem: Problem, x: Array) -> tuple[Problem, Array] | None:
    # The convolution of an input that has its padding, if that is of a size with the output.
    axes = list(zip(problem.geometry.axes, problem.fine_size, strict=True))
    ranges = [axis.padded(size) for axis, size in axes]
    size = tuple(cells.stop - cells.start for cells in ranges)
    if problem.op != "conv" or math.prod(size) > _ROOM * (math.prod(problem.coarse_size) + x.size):
        return None
    x = x.reshape(problem.fine_shape)
    for i, (cells, (_, n)) in enumerate(zip(ranges, axes, strict=True), start=2):
        x = x.take(copied(np.arange(cells.start, cells.stop), n, problem.padding_mode), axis=i)
    whole = problem.geometry.without_padding()
    return replace(problem, geometry=whole, fine_size=size, padding_mode="zeros"), x


def exact(problem: Problem, x: Array, weight: Array, bias: Array | None) -> tuple[Array, Array, Array | None]:
    """Turn int64 into Python integers if any sum could pass 2^63."""
    if x.dtype.kind not in "iO":
        return x, weight, bias
    terms = math.prod(problem.weight_shape) * (1 if problem.padding_mode == "zeros" else math.prod(problem.coarse_size))
    bound = terms * _magnitude(x) * _magnitude(weight) + (0 if bias is None else _magnitude(bias))
    if bound < 2**63:
        return x, weight, bias
    return x.astype(object), weight.astype(object), None if bias is None else bias.astype(object)


def _magnitude(array: Array) -> int:
    return max(abs(int(array.max())), abs(int(array.min()))) if array.size else 0
