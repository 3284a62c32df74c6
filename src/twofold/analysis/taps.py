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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.analysis.copies import copies
from twofold.errors import GeometryError
from twofold.geometry import Axis, Problem, axis_name
from twofold.geometry.axis import shown
from twofold.reference import copied

__all__ = [
    "LIMIT", "Taps", "check_indices", "count", "fan_out", "meetings", "reached", "rows", "taps",
    "walk", "window",
]  # fmt: skip

LIMIT = 5_000_000  # rows of one table, 120 MB; `walk` goes over any number of them

_WINDOWS = 5_000_000  # coarse cells that `taps` goes through, 0.3 µs each

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

    raises  GeometryError naming the count if it exceeds `LIMIT`, or if there are too many windows with nothing in them

    >>> table = taps(Problem.parse("conv i3 k2"))
    >>> table.out.tolist(), table.inp.tolist(), table.weight.tolist()
    ([0, 0, 1, 1], [0, 1, 1, 2], [0, 1, 0, 1])
    >>> table.swapped() == taps(Problem.parse("conv_transpose i2 k2"))
    True
    """
    _check_count(problem, count(problem))
    windows = math.prod(problem.coarse_shape)
    if windows > _WINDOWS or problem.multiplications > _WINDOWS * 10:
        raise GeometryError(
            f"the table would come from {windows} windows of {math.prod(problem.weight_shape[1:])} cells, nearly all "
            f"of them padding, and at most {_WINDOWS} windows or {_WINDOWS * 10} cells are gone through: {problem}",
            repair="a smaller padding; or window, fan_out, rows or walk, which make a part of it",
        )
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
    meetings_per_axis = [_cells_below(axis, fine, coarse) - _cells_below(axis, 0, coarse)
                         for axis, fine, coarse in _axes(problem)]  # fmt: skip
    channels: int = math.prod(problem.weight_shape[:2])
    return problem.batch * channels * math.prod(meetings_per_axis)


def reached(problem: Problem) -> int:
    """Bound the rows of one cell of the fine side, without making them.

    >>> reached(Problem.parse("conv_transpose i5 k1000000")), reached(Problem.parse("conv_transpose i9x9 ci2 k3x3"))
    (5, 18)
    """
    bound = problem.geometry.coarse_channels // problem.geometry.groups
    for axis, fine, coarse in _axes(problem):
        padded = axis.padded(fine)
        copies = 1 if problem.padding_mode == "zeros" else max(padded.stop - padded.start - fine, 0) + 1
        bound *= min(axis.kernel_size, coarse) * copies
    return bound


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
    check_indices(problem)
    start, stop = max(start, 0), min(stop, math.prod(problem.coarse_shape))
    if stop <= start:
        return _joined([])
    _check_count(problem, (stop - start) * math.prod(problem.weight_shape[1:]))
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
    check_indices(problem)
    index = int(np.ravel_multi_index(cell, problem.coarse_shape))
    return rows(problem, index, index + 1)


def _fine_rows(problem: Problem, cell: tuple[int, ...]) -> Taps:
    check_indices(problem)
    layer = problem.geometry
    batch, channel, *position = cell
    per_group = layer.fine_channels // layer.groups
    width = layer.coarse_channels // layer.groups  # coarse channels that meet this fine channel
    channels = channel // per_group * width + np.arange(width)
    lists = [_pairs_at(problem, i, position[i]) for i in range(problem.rank)]
    _check_count(problem, width * math.prod(len(pairs) for pairs in lists))
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
    cells: Iterable[int] = [fine]
    if problem.padding_mode != "zeros":
        cells = copies(axis, size, problem.padding_mode, fine)
    found = [_pairs_of(axis, cell, axis.taps_reaching(cell, coarse_size)) for cell in cells]
    return np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)


def _pairs_of(axis: Axis, fine: int, taps: range) -> _Indices:
    # The coarse cells of evenly spaced taps are evenly spaced too.
    if not taps:
        return np.zeros((0, 2), dtype=np.int64)
    _check_rows(len(taps))
    first, last = axis.coarse_of(fine, taps[0]), axis.coarse_of(fine, taps[-1])
    step = (last - first) // max(len(taps) - 1, 1)
    return np.stack([first + step * np.arange(len(taps)), np.arange(taps.start, taps.stop, taps.step)], axis=1)


def _along_tap(problem: Problem, index: int, tap: int) -> _Indices:
    # (coarse, fine) of everything that meets through one tap along one axis.
    axis, size, coarse_size = _axes(problem)[index]
    _check_rows(coarse_size)
    if problem.padding_mode == "zeros":
        coarse, fine = axis.span(tap, coarse_size, size)
        columns = np.arange(coarse.start, coarse.stop), np.arange(fine.start, fine.stop, fine.step)
    else:
        cells = np.arange(coarse_size)
        columns = cells, copied(_fine(axis, cells, tap), size, problem.padding_mode)
    return np.stack(columns, axis=1)


def _window_cells(problem: Problem, cell: Sequence[_Indices]) -> tuple[_Indices, NDArray[np.bool_]]:
    # For each coarse cell and tap the flat fine cell within its plane, and whether there is one.
    flat = np.zeros((len(cell[0]), 1), dtype=np.int64)
    inside = np.ones((len(cell[0]), 1), dtype=np.bool_)
    for (axis, size, _), coarse in zip(_axes(problem), cell, strict=True):
        fine = _fine(axis, coarse[:, None], np.arange(axis.kernel_size))
        here = (fine >= 0) & (fine < size)
        if problem.padding_mode != "zeros" and not here.all():
            fine = copied(fine, size, problem.padding_mode)
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


def _cells_below(axis: Axis, limit: int, coarse_size: int) -> int:
    # How often a coarse cell meets, through whichever tap, a place before `limit`: a sum over the taps, in closed form.
    room = limit - axis.fine(0, 0)  # through tap t it is ceil((room - t * dilation) / stride) cells, 0 to coarse_size
    if not coarse_size:
        return 0
    full = _clipped(_ceil_div(room - (coarse_size - 1) * axis.stride, axis.dilation), axis.kernel_size)
    some = _clipped(_ceil_div(room, axis.dilation), axis.kernel_size)
    least = room - (some - 1) * axis.dilation
    part = _floor_sum(some - full, axis.dilation, least + axis.stride - 1, axis.stride) if some > full else 0
    return coarse_size * full + part


def _floor_sum(count: int, step: int, start: int, divisor: int) -> int:
    # The sum of (start + i * step) // divisor over i < count, as lattice points below a line (Euclid's way).
    total = 0
    while True:
        total += (count - 1) * count // 2 * (step // divisor) + count * (start // divisor)
        step, start = step % divisor, start % divisor
        height = (step * count + start) // divisor
        if not height:
            return total
        # Points under the line, counted along the other axis.
        count, step, start, divisor = height, divisor, (step * count + start) % divisor, step


def _clipped(number: int, most: int) -> int:
    return min(max(number, 0), most)


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


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


def _check_rows(number: int) -> None:
    if number > LIMIT:
        raise GeometryError(f"one cell meets {number} others, and at most {LIMIT} are listed", repair="a smaller size")


def check_indices(problem: Problem) -> None:
    """Refuse a problem whose cells 64-bit integers cannot count, or that has more axes than NumPy."""
    for shape in (problem.coarse_shape, problem.fine_shape, problem.weight_shape):
        if math.prod(shape) >= 2**63:
            raise GeometryError(f"an array of shape {shown(shape)} has no 64-bit indices", repair="smaller sizes")
        if len(shape) > 64:
            raise GeometryError(f"{problem.rank} axes are too many for NumPy, which has 64", repair="at most 62")
    for i, (axis, fine, coarse) in enumerate(_axes(problem)):
        reads, padded = axis.fine_span(range(coarse)), axis.padded(fine)
        ends = (reads.start, reads.stop, padded.start, padded.stop, axis.stride, axis.dilation)
        if max(map(abs, ends)) >= 2**62:
            rule = f"{shown(axis)} reach beyond what 64-bit indices count"
            raise GeometryError(rule, axis=axis_name(i, problem.rank), repair="smaller sizes")
