"""The multiplications as data: one row for each product of an input cell and a weight cell.

    out[taps.out] += weight[taps.weight] * x[taps.inp]          a whole convolution, or a whole transposed one

The three columns are flat indices into output, input and weight, all channels first (batch, channels, *size). The order
of the rows is fixed, because it is the order of every sum and of every animation: the cells of the coarse side in
row-major order, for each the channels of the fine side, for each the taps row-major. So a convolution is out-major and
a transposed convolution in-major, and each is the other with `out` and `inp` exchanged. A weight gradient has the rows
of its convolution, grouped by weight cell (its operands are `x[inp]` and `grad_y[out]`).

A cell that padding adds is no row: nothing is multiplied there. With a padding mode other than zeros the row names the
cell that the padding copies (for a transposed convolution: the cell into which it is folded back).
With `flip` the taps keep their order and the weight index is turned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.errors import GeometryError
from twofold.geometry import Axis, Problem
from twofold.reference import fine_source

__all__ = ["LIMIT", "Taps", "count", "fan_out", "meetings", "rows", "taps", "walk", "window"]

LIMIT = 5_000_000  # rows of a whole table, 120 MB; `rows`, `window` and `fan_out` have no such limit

_Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """Three columns of one length; row t is one multiplication. `inp` is -1 where a window meets padding."""

    out: _Indices
    inp: _Indices
    weight: _Indices

    def __len__(self) -> int:
        return len(self.out)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Taps) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("out", "inp", "weight")
        )

    __hash__ = None  # type: ignore[assignment]

    def swapped(self) -> Taps:
        """Return the rows of the transposed operation: out and inp exchanged."""
        return Taps(self.inp, self.out, self.weight)


def taps(problem: Problem) -> Taps:
    """Return every multiplication of the operation.

    raises  GeometryError naming the count if it exceeds `LIMIT`

    >>> table = taps(Problem.parse("conv i3 k2"))
    >>> table.out.tolist(), table.inp.tolist(), table.weight.tolist()
    ([0, 0, 1, 1], [0, 1, 1, 2], [0, 1, 0, 1])
    >>> table.swapped() == taps(Problem.parse("conv_transpose i2 k2"))
    True
    """
    _check_count(problem, count(problem))
    table = _joined(list(walk(problem)))
    if problem.op == "conv_weight_gradient":
        order = np.argsort(table.weight, kind="stable")
        return Taps(table.out[order], table.inp[order], table.weight[order])
    return table


def count(problem: Problem) -> int:
    """Count the multiplications without making them; padding cells are none.

    >>> count(Problem.parse("conv i5x5 k3x3 p1")), Problem.parse("conv i5x5 k3x3 p1").multiplications
    (169, 225)
    """
    if problem.padding_mode != "zeros":
        return problem.multiplications
    meetings_per_axis: list[int] = []
    for axis, fine, coarse in _axes(problem):
        spans = (axis.span(tap, coarse, fine)[0] for tap in range(axis.kernel_size))
        meetings_per_axis.append(sum(span.stop - span.start for span in spans))
    channels: int = math.prod(problem.weight_shape[:2])
    return problem.batch * channels * math.prod(meetings_per_axis)


def walk(problem: Problem, start: int = 0, stop: int | None = None, *, chunk: int = 1 << 18) -> Iterator[Taps]:
    """Yield the rows in order, about `chunk` at a time, of the coarse cells `start` … `stop` - 1 (flat indices)."""
    end = math.prod(problem.coarse_shape) if stop is None else stop
    step = max(1, chunk // max(1, math.prod(problem.weight_shape[1:])))
    for first in range(start, end, step):
        yield rows(problem, first, min(first + step, end))


def rows(problem: Problem, start: int, stop: int, *, padding: bool = False) -> Taps:
    """Return the rows of the coarse cells `start` … `stop` - 1 (flat indices), with the padding cells as -1 if asked.

    >>> rows(Problem.parse("conv i3 k2 p1"), 0, 1, padding=True).inp.tolist()
    [-1, 0]
    """
    _check_indices(problem)
    start, stop = max(start, 0), min(stop, math.prod(problem.coarse_shape))
    if stop <= start:
        return _joined([])
    layer = problem.geometry
    batch, channel, *cell = np.unravel_index(np.arange(start, stop), problem.coarse_shape)
    per_group = layer.fine_channels // layer.groups
    group = channel // (layer.coarse_channels // layer.groups)
    plane = batch * layer.fine_channels + group * per_group
    planes = plane[:, None] + np.arange(per_group)  # (cells, channels of the group)
    fine, inside = _window_cells(problem, cell)  # (cells, taps), flat within a plane
    weights = _turned(problem, np.arange(fine.shape[1]))
    kernels = channel[:, None] * per_group + np.arange(per_group)

    shape = (stop - start, per_group, fine.shape[1])
    fine_index = planes[:, :, None] * math.prod(problem.fine_size) + fine[:, None, :]
    weight_index = kernels[:, :, None] * fine.shape[1] + weights
    coarse_index = np.broadcast_to(np.arange(start, stop)[:, None, None], shape)
    real = np.broadcast_to(inside[:, None, :], shape)
    if padding:
        return _directed(problem, coarse_index.ravel(), np.where(real, fine_index, -1).ravel(), weight_index.ravel())
    return _directed(problem, coarse_index[real], fine_index[real], weight_index[real])


def window(problem: Problem, out_cell: Sequence[int]) -> Taps:
    """Return the rows that end in one output cell: (batch, channel, *position), leading zeros may be left out.

    >>> window(Problem.parse("conv i3x3 k2x2"), (1, 0)).inp.tolist()
    [3, 4, 6, 7]
    >>> window(Problem.parse("conv_transpose i2x2 k2x2"), (1, 1)).weight.tolist()
    [3, 2, 1, 0]
    """
    if problem.op == "conv_transpose":
        return _fine_rows(problem, _cell("output", out_cell, problem.fine_shape))
    return _coarse_rows(problem, _cell("output", out_cell, problem.coarse_shape))


def fan_out(problem: Problem, in_cell: Sequence[int]) -> Taps:
    """Return the rows that begin in one input cell: (batch, channel, *position), leading zeros may be left out.

    >>> fan_out(Problem.parse("conv i3x3 k2x2"), (1, 1)).out.tolist()
    [0, 1, 2, 3]
    """
    if problem.op == "conv_transpose":
        return _coarse_rows(problem, _cell("input", in_cell, problem.coarse_shape))
    return _fine_rows(problem, _cell("input", in_cell, problem.fine_shape))


def meetings(problem: Problem, weight_cell: Sequence[int]) -> Taps:
    """Return the rows that use one weight cell (leading zeros may be left out): a sum of the weight gradient.

    >>> meetings(Problem.parse("conv i3x3 k2x2"), (1, 1)).inp.tolist()
    [4, 5, 7, 8]
    """
    layer = problem.geometry
    channel, within, *tap = _cell("weight", weight_cell, problem.weight_shape)
    if problem.flip:
        tap = [size - 1 - t for size, t in zip(layer.kernel_size, tap, strict=True)]
    lists = [_along_tap(problem, i, tap[i]) for i in range(problem.rank)]
    _check_count(problem, problem.batch * math.prod(len(pairs) for pairs in lists))
    coarse = _flat_product([pairs[:, 0] for pairs in lists], problem.coarse_size)
    fine = _flat_product([pairs[:, 1] for pairs in lists], problem.fine_size)
    batch = np.arange(problem.batch)[:, None]
    fine_channel = _group(problem, channel) * problem.weight_shape[1] + within
    coarse = (batch * layer.coarse_channels + channel) * math.prod(problem.coarse_size) + coarse
    fine = (batch * layer.fine_channels + fine_channel) * math.prod(problem.fine_size) + fine
    position = int(np.ravel_multi_index(tuple(tap), layer.kernel_size))
    kernel = (channel * problem.weight_shape[1] + within) * math.prod(layer.kernel_size)
    weight = np.full(coarse.size, kernel + int(_turned(problem, np.array(position))), dtype=np.int64)
    return _directed(problem, coarse.ravel(), fine.ravel(), weight)


# -- one cell of the coarse side, one of the fine side -----------------------------------------------------------------


def _coarse_rows(problem: Problem, cell: tuple[int, ...]) -> Taps:
    _check_indices(problem)
    index = int(np.ravel_multi_index(cell, problem.coarse_shape))
    return rows(problem, index, index + 1)


def _fine_rows(problem: Problem, cell: tuple[int, ...]) -> Taps:
    _check_indices(problem)
    layer = problem.geometry
    batch, channel, *position = cell
    per_group = layer.fine_channels // layer.groups
    width = layer.coarse_channels // layer.groups  # coarse channels that meet this fine channel
    channels = channel // per_group * width + np.arange(width)
    lists = [_pairs_at(problem, i, position[i]) for i in range(problem.rank)]
    spots = _flat_product([pairs[:, 0] for pairs in lists], problem.coarse_size)
    steps = _flat_product([pairs[:, 1] for pairs in lists], layer.kernel_size)
    order = np.lexsort((steps, spots))
    spots, steps = spots[order], _turned(problem, steps[order])
    coarse = (batch * layer.coarse_channels + channels)[:, None] * math.prod(problem.coarse_size) + spots
    weight = (channels * per_group + channel % per_group)[:, None] * math.prod(layer.kernel_size) + steps
    fine = np.full(coarse.size, np.ravel_multi_index(cell, problem.fine_shape), dtype=np.int64)
    return _directed(problem, coarse.ravel(), fine, weight.ravel())


def _pairs_at(problem: Problem, index: int, fine: int) -> _Indices:
    # (coarse, tap) of everything that meets one fine cell along one axis, or a padding cell that copies it.
    axis, size, coarse_size = _axes(problem)[index]
    cells = [fine]
    if problem.padding_mode != "zeros":
        copies = np.flatnonzero(_source(axis, size, problem.padding_mode) == fine)
        cells = [int(copy) - axis.pad_before for copy in copies]
    pairs = [(axis.coarse_of(c, tap), tap) for c in cells for tap in axis.taps_reaching(c, coarse_size)]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _along_tap(problem: Problem, index: int, tap: int) -> _Indices:
    # (coarse, fine) of everything that meets through one tap along one axis.
    axis, size, coarse_size = _axes(problem)[index]
    if problem.padding_mode == "zeros":
        coarse, fine = axis.span(tap, coarse_size, size)
        columns = np.arange(coarse.start, coarse.stop), np.arange(fine.start, fine.stop, fine.step)
    else:
        cells = np.arange(coarse_size)
        columns = cells, _source(axis, size, problem.padding_mode)[_fine(axis, cells, tap) + axis.pad_before]
    return np.stack(columns, axis=1)


def _window_cells(problem: Problem, cell: Sequence[_Indices]) -> tuple[_Indices, NDArray[np.bool_]]:
    # For each coarse cell and tap the flat fine cell within its plane, and whether there is one.
    flat = np.zeros((len(cell[0]), 1), dtype=np.int64)
    inside = np.ones((len(cell[0]), 1), dtype=np.bool_)
    for (axis, size, _), coarse in zip(_axes(problem), cell, strict=True):
        fine = _fine(axis, coarse[:, None], np.arange(axis.kernel_size))
        here = (fine >= 0) & (fine < size)
        if problem.padding_mode != "zeros" and not here.all():
            fine = _source(axis, size, problem.padding_mode)[fine + axis.pad_before]
            here = np.ones_like(here)
        flat = (flat[:, :, None] * size + fine[:, None, :]).reshape(len(flat), -1)
        inside = (inside[:, :, None] & here[:, None, :]).reshape(len(flat), -1)
    return flat, inside


# -- small pieces ------------------------------------------------------------------------------------------------------


def _axes(problem: Problem) -> list[tuple[Axis, int, int]]:
    return list(zip(problem.geometry.axes, problem.fine_size, problem.coarse_size, strict=True))


def _fine(axis: Axis, coarse: Any, tap: Any) -> Any:
    # The one equation takes arrays of cells as well as single ones.
    return axis.fine(coarse, tap)


@lru_cache(maxsize=64)
def _source(axis: Axis, size: int, mode: str) -> _Indices:
    return fine_source(axis, size, mode)


def _turned(problem: Problem, tap: _Indices) -> _Indices:
    return math.prod(problem.geometry.kernel_size) - 1 - tap if problem.flip else tap


def _group(problem: Problem, coarse_channel: int) -> int:
    return coarse_channel // (problem.geometry.coarse_channels // problem.geometry.groups)


def _flat_product(columns: Sequence[_Indices], sizes: Sequence[int]) -> _Indices:
    # Flat indices of the cartesian product of positions along each axis, last axis fastest.
    flat = np.zeros(1, dtype=np.int64)
    for column, size in zip(columns, sizes, strict=True):
        flat = (flat[:, None] * size + column).ravel()
    return flat


def _directed(problem: Problem, coarse: _Indices, fine: _Indices, weight: _Indices) -> Taps:
    return Taps(fine, coarse, weight) if problem.op == "conv_transpose" else Taps(coarse, fine, weight)


def _joined(tables: list[Taps]) -> Taps:
    columns = ([table.out for table in tables], [table.inp for table in tables], [table.weight for table in tables])
    return Taps(*(np.concatenate(column) if column else np.zeros(0, dtype=np.int64) for column in columns))


def _cell(name: str, cell: Sequence[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    full = (0,) * (len(shape) - len(cell)) + tuple(cell)
    if len(full) != len(shape) or not all(0 <= c < size for c, size in zip(full, shape, strict=False)):
        last = ", ".join(str(size - 1) for size in shape)
        empty = "it is empty" if not all(shape) else f"its last cell is ({last})"
        raise GeometryError(f"there is no {name} cell {tuple(cell)}: the {name} has shape {shape}, {empty}")
    return full


def _check_count(problem: Problem, number: int) -> None:
    if number > LIMIT:
        raise GeometryError(
            f"the table would have {number} rows, and at most {LIMIT} are made: {problem}",
            repair="window, fan_out, rows or walk, which make a part of it",
        )


def _check_indices(problem: Problem) -> None:
    for shape in (problem.coarse_shape, problem.fine_shape, problem.weight_shape):
        if math.prod(shape) >= 2**63:
            raise GeometryError(f"an array of shape {shape} has no 64-bit indices")
