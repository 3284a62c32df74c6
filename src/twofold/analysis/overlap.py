"""Overlap: how many products are added up in each output cell of a transposed convolution.

Inside, the counts are even exactly if stride is 1, or gcd(stride, dilation) = 1 and stride divides kernel_size; a
larger gcd, or a kernel smaller than the stride, leaves holes. Over several axes counts multiply. For a convolution the
same numbers say how often each input cell is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twofold.errors import GeometryError
from twofold.geometry import Axis, Problem

__all__ = ["CELLS", "Kind", "Verdict", "chain_counts", "counts", "coverage", "verdict"]

CELLS = 10_000_000  # of one array of counts

Kind = Literal["even", "uneven", "holes"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the counts inside an output are like.

    fewest, most  products of an inner cell, over all axes: their ratio is the strength of the checkerboard
    shared        the factor that stride and dilation of some axis share, 1 if there is none
    """

    kind: Kind
    fewest: int
    most: int
    shared: int


def counts(problem: Problem) -> tuple[tuple[int, ...], ...]:
    """Return the counts along each axis: products per fine cell.

    >>> counts(Problem.parse("conv_transpose i4 k3 s2"))
    ((1, 1, 2, 1, 2, 1, 2, 1, 1),)
    """
    sizes = zip(problem.geometry.axes, problem.coarse_size, problem.fine_size, strict=True)
    return tuple(axis.overlap(coarse, fine) for axis, coarse, fine in sizes)


def coverage(problem: Problem) -> NDArray[np.int64]:
    """Return the counts over all axes: what a transposed convolution of ones with ones gives, in one channel.

    >>> coverage(Problem.parse("conv_transpose i2x2 k2x2"))
    array([[1, 2, 1],
           [2, 4, 2],
           [1, 2, 1]])
    """
    return _outer(counts(problem))


def verdict(axes: Sequence[Axis]) -> Verdict:
    """Judge the inner cells of a transposed convolution.

    >>> verdict([Axis(3, stride=2)] * 2)
    Verdict(kind='uneven', fewest=1, most=4, shared=1)
    >>> verdict([Axis(3, stride=2, dilation=2)]).kind, verdict([Axis(2, stride=3)]).kind, verdict([Axis(4, 2)]).kind
    ('holes', 'holes', 'even')
    """
    fewest = math.prod(axis.products[0] for axis in axes)
    most = math.prod(axis.products[1] for axis in axes)
    kind: Kind = "holes" if fewest == 0 else "even" if fewest == most else "uneven"
    return Verdict(kind, fewest, most, max(gcd(axis.stride, axis.dilation) for axis in axes))


def chain_counts(layers: Sequence[Problem]) -> tuple[tuple[int, ...], ...]:
    """Return the counts along each axis through several layers: ways from an input cell to each output cell.

    A convolution in between adds up what its window holds. So a stack of layers, each with holes or uneven, shows what
    remains of that after the next.

    >>> upsampling = Problem.parse("conv_transpose i4 k3 s2"), Problem.parse("conv_transpose i9 k2 s1")
    >>> chain_counts(upsampling)
    ((1, 2, 3, 3, 3, 3, 3, 3, 2, 1),)
    """
    return tuple(tuple(int(value) for value in _along(layers, axis)) for axis in range(layers[0].rank))


def _along(layers: Sequence[Problem], index: int) -> NDArray[np.object_]:
    ways = np.ones(layers[0].in_size[index], dtype=object)
    for layer in layers:
        axis, size = layer.geometry.axes[index], layer.out_size[index]
        if max(size, len(ways)) * min(axis.kernel_size, max(size, len(ways))) > CELLS:
            raise GeometryError(f"counts over {size} cells are too long a list", repair="a smaller input")
        after = np.zeros(size, dtype=object)
        for tap in range(axis.kernel_size):
            coarse, fine = axis.span(tap, layer.coarse_size[index], layer.fine_size[index])
            here, there = (coarse, fine) if layer.op == "conv_transpose" else (fine, coarse)
            after[there] += ways[here]
        ways = after
    return ways


def _outer(lines: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    if math.prod(map(len, lines)) > CELLS:
        raise GeometryError(f"an array of {math.prod(map(len, lines))} counts is too large", repair="a smaller problem")
    total = np.ones((), dtype=np.int64)
    for line in lines:
        total = np.multiply.outer(total, np.asarray(line, dtype=np.int64))
    return total
