"""An operation as a matrix: which weight stands in which row and column.

A convolution is y = C x over the cells of one sample, all channels; the transposed convolution with the same weight is
the transposed matrix. Entries are triplets (row, column, weight cell): rows are outputs, columns inputs. Where a
padding mode makes a window meet a cell twice, two triplets share their place and add up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twofold.analysis.taps import taps
from twofold.geometry import Problem

__all__ = ["Matrix", "matrix"]

_Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Sparse triplets: entry t stands at (rows[t], columns[t]) and is the flat weight cell weights[t].

    The order of the triplets is that of `taps`: of the sums.
    """

    shape: tuple[int, int]
    rows: _Indices
    columns: _Indices
    weights: _Indices

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def transposed(self) -> Matrix:
        """Return the transposed matrix, the entries in the same order."""
        return Matrix(self.shape[::-1], self.columns, self.rows, self.weights)

    @property
    def places(self) -> int:
        """Count the places that hold a weight."""
        return len(np.unique(self.rows * self.shape[1] + self.columns))

    def dense(self, weight: NDArray[np.generic]) -> NDArray[np.generic]:
        """Write the matrix out, for a weight of the problem's shape.

        >>> small = matrix(Problem.parse("conv i3 k2"))
        >>> small.dense(np.array([1, 10]))
        array([[ 1, 10,  0],
               [ 0,  1, 10]])
        """
        flat = np.asarray(weight).ravel()
        filled = np.zeros(self.shape, dtype=flat.dtype)
        with np.errstate(all="ignore"):
            np.add.at(filled, (self.rows, self.columns), flat[self.weights])
        return filled


def matrix(problem: Problem) -> Matrix:
    """Return the matrix of an operation over one sample of its batch.

    raises  GeometryError beyond the rows that `taps` makes

    >>> found = matrix(Problem.parse("conv i3x3 k2x2"))
    >>> found.shape, len(found), found.transposed.shape
    ((4, 9), 16, (9, 4))
    """
    one = replace(problem, batch=1)
    in_shape = one.coarse_shape if one.op == "conv_transpose" else one.fine_shape
    table = taps(one)
    return Matrix((math.prod(one.result_shape), math.prod(in_shape)), table.out, table.inp, table.weight)
