"""The phases of a stride: fine cells congruent modulo stride, each a dense operation with a kernel of its own.

A transposed convolution of stride s is one dense convolution per phase, interleaved; a convolution of stride s is the
sum of dense convolutions of the phases of its input. Along each axis the phases are `Axis.phases`; over several axes
they are all combinations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from twofold.analysis.taps import count
from twofold.errors import GeometryError
from twofold.geometry import Phase, Problem

__all__ = ["PHASES", "Part", "parts", "stretched_multiplications"]

PHASES = 4096  # that are listed


@dataclass(frozen=True, slots=True)
class Part:
    """One phase over all axes.

    residue  of its fine cells modulo stride       axes  the phase along each axis
    size     of this part of the fine side
    """

    axes: tuple[Phase, ...]
    size: tuple[int, ...]

    @property
    def residue(self) -> tuple[int, ...]:
        """Which fine cells: those congruent to these numbers modulo stride."""
        return tuple(phase.residue for phase in self.axes)

    @property
    def taps(self) -> tuple[range, ...]:
        """The taps that reach them, along each axis; an empty range is a hole."""
        return tuple(phase.taps for phase in self.axes)

    @property
    def shifts(self) -> tuple[range, ...]:
        """Which coarse cells these taps meet, counted from the phase's own cell."""
        return tuple(phase.shifts for phase in self.axes)


def parts(problem: Problem) -> Iterator[Part]:
    """Yield the phases of the fine side, last axis fastest; a stride of 1 has one.

    >>> for part in parts(Problem.parse("conv_transpose i2 k3 s2")):
    ...     print(part.residue, [list(taps) for taps in part.taps], part.size)
    (0,) [[0, 2]] (3,)
    (1,) [[1]] (2,)
    """
    axes = problem.geometry.axes
    number = math.prod(axis.stride for axis in axes)
    if number > PHASES:
        raise GeometryError(f"there are {number} phases, and at most {PHASES} are listed", repair="a smaller stride")
    for phases in product(*(axis.phases() for axis in axes)):
        sizes = zip(phases, problem.fine_size, axes, strict=True)
        yield Part(phases, tuple(phase.size(size, axis.stride) for phase, size, axis in sizes))


def stretched_multiplications(problem: Problem) -> tuple[int, int]:
    """Count the multiplications of a transposed convolution by zero insertion, and those of its real taps.

    >>> stretched_multiplications(Problem.parse("conv_transpose i4x4 k3x3 s2"))
    (729, 144)
    """
    channels = math.prod(problem.weight_shape[:2])
    stretched = problem.batch * channels * math.prod(problem.fine_size) * math.prod(problem.geometry.kernel_size)
    return stretched, count(problem)
