"""Toom-Cook and Winograd convolution of one axis: m outputs of a kernel of r taps by m + r - 1 multiplications.

    F(m, r):   y = A ((G w) * (B x))           y: m outputs, w: r taps, x: m + r - 1 cells, *: one by one

Evaluate two polynomials at m + r - 1 points, multiply, interpolate: that is a full convolution (Toom 1963, Cook 1966).
Its transpose is the sum over windows that layers are (Winograd 1980). With V_k the powers below k of every point,

    A = V_m^T        G = V_r        B = (V_{m+r-1})^-T

up to a factor for each row of B and G, chosen such that B has whole numbers. All of it exact, in fractions.

The points decide the error. Infinity, 0, 1 and -1 have transforms that are exact in binary; a fifth brings a factor 3
into some row, whatever it is. Further points are small and come in pairs p and -1/p, or p and -p, as those that were
found best in Barabasz, Anderson, Soodhalter and Gregg, "Error analysis and improving the accuracy of Winograd
convolution for deep neural networks", 2018 (arXiv:1803.10986); tests/engine hold them against their rivals.

Points come in this one order, so those of a smaller tile are the first of a larger one's: with rows of B scaled for it,
tiles of several sizes share one transformed kernel, and a row of cells is covered without waste.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["MOST", "Matrix", "Toom", "toom"]

Matrix = tuple[tuple[Fraction, ...], ...]
_HALF = Fraction(1, 2)
POINTS = (Fraction(0), Fraction(1), Fraction(-1), _HALF, Fraction(-2), -_HALF, Fraction(2))
MOST = len(POINTS) + 1  # points, with infinity


@dataclass(frozen=True)
class Toom:
    """The three matrices of F(m, r), and what they do to errors."""

    m: int
    r: int
    output: Matrix  # A: m x points
    kernel: Matrix  # G: points x r
    input: Matrix  # B: points x points

    @property
    def points(self) -> int:
        """How many multiplications there are."""
        return self.m + self.r - 1

    @property
    def is_exact(self) -> bool:
        """Whether all numbers are whole, but for factors of two: then small integers stay exact."""
        rows = (*self.output, *self.kernel, *self.input)
        return all((x.denominator & (x.denominator - 1)) == 0 for row in rows for x in row)

    @functools.cached_property
    def worst(self) -> float:
        """Sums of magnitudes through the transforms over those of the plain sum, where all inputs are equally large."""
        return max(self._through(row, 1) for row in self.output) / self.r

    @functools.cached_property
    def spread(self) -> float:
        """The same of mean squares: variances of what is summed through the transforms, over those of the plain sum."""
        return max(self._through(row, 2) for row in self.output) / self.r

    def _through(self, row: tuple[Fraction, ...], power: int) -> float:
        return sum(
            float(abs(a) ** power * sum(abs(g) ** power for g in kernel) * sum(abs(b) ** power for b in cells))
            for a, kernel, cells in zip(row, self.kernel, self.input, strict=True)
        )

    @functools.cached_property
    def roundings(self) -> int:
        """Roundings that a term meets in the three transforms, at most."""
        terms = [max(sum(x != 0 for x in row) for row in matrix) for matrix in (self.output, self.kernel, self.input)]
        exact = [all(abs(x) in (0, 1) for row in matrix for x in row) for matrix in (self.output, self.input)]
        return sum(terms) + 3 - sum(exact)


@functools.cache
def toom(m: int, r: int, largest: int = 0) -> Toom:
    """Return F(m, r), for a kernel that is transformed for tiles of `largest` outputs if that is more.

    >>> toom(2, 3).input[2]
    (Fraction(0, 1), Fraction(1, 1), Fraction(1, 1), Fraction(0, 1))
    >>> toom(3, 3, 4).kernel == toom(4, 3).kernel[:5]
    True
    """
    if r == 1 or max(m, largest) == 1:  # nothing is saved, and nothing transformed but the kernel
        return _plain(m, r)
    own = _through(m, r, POINTS[: m + r - 2])
    if largest <= m:
        return own
    kernel = toom(largest, r).kernel[: own.points]
    factors = [next(a / b for a, b in zip(*rows, strict=True) if b) for rows in zip(own.kernel, kernel, strict=True)]
    cells = tuple(tuple(x * factor for x in row) for row, factor in zip(own.input, factors, strict=True))
    return Toom(m, r, own.output, kernel, cells)


def _plain(m: int, r: int) -> Toom:
    one, zero = Fraction(1), Fraction(0)
    unit = tuple(tuple(one if i == j else zero for j in range(m + r - 1)) for i in range(m + r - 1))
    if r == 1:
        return Toom(m, 1, unit, ((one,),) * m, unit)
    return Toom(1, r, ((one,) * r,), unit, unit)


def _through(m: int, r: int, points: tuple[Fraction, ...]) -> Toom:
    count = m + r - 1
    inverse = _inverse(_powers(points, count))
    output = tuple(zip(*_powers(points, m), strict=True))
    kernel, cells = [], []
    for weights, row in zip(_powers(points, r), zip(*inverse, strict=True), strict=True):
        scale = Fraction(math.lcm(*(x.denominator for x in row)), math.gcd(*(x.numerator for x in row)))
        first = next(x for x in row if x)
        scale = -scale if first < 0 else scale
        cells.append(tuple(x * scale for x in row))
        kernel.append(tuple(w / scale for w in weights))
    return Toom(m, r, output, tuple(kernel), tuple(cells))


def _powers(points: tuple[Fraction, ...], below: int) -> Matrix:
    # Of infinity only the highest power counts.
    infinity = tuple(Fraction(int(k == below - 1)) for k in range(below))
    return (infinity, *(tuple(p**k for k in range(below)) for p in points))


def _inverse(matrix: Matrix) -> Matrix:
    size = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(matrix)]
    for i in range(size):
        pivot = next(k for k in range(i, size) if rows[k][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for k in range(size):
            if k != i and rows[k][i]:
                rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i], strict=True)]
    return tuple(tuple(row[size:]) for row in rows)
