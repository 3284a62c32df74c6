"""The sheets of a figure: input, weight, output and canvas, each with what this step does to its cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from twofold.explain.grid import RoleName
from twofold.explain.numbers import Number, number
from twofold.explain.panels import Place, Sheet, State, most_cells
from twofold.explain.texts import say
from twofold.reference import copied

if TYPE_CHECKING:
    from twofold.explain.arithmetic import Array
    from twofold.explain.steps import Step
    from twofold.explain.trace import Trace

__all__ = [
    "canvas_sheet", "caption", "cell_size", "flat_index", "input_sheet", "longest_number", "output_sheet",
    "plain_sheet", "sizes", "weight_sheet",
]  # fmt: skip


def input_sheet(trace: Trace, batch: int, channel: int, reads: Sequence[Place], name: str = "input") -> Sheet:
    """The padded input of a convolution, or the input of a transposed one; `reads` are the cells of this step."""
    problem = trace.problem
    plane = trace.x.reshape(trace.in_shape)[batch, channel]
    filled = None if trace.inserted is None else trace.inserted[batch, channel]
    size, hit = problem.in_size, set(reads)
    padded = [range(n) for n in size]
    if problem.op == "conv":
        padded = [axis.padded(n) for axis, n in zip(problem.geometry.axes, size, strict=True)]

    def cell(place: Place) -> State:
        if all(0 <= p < n for p, n in zip(place, size, strict=True)):
            return State(_at(plane, place), marked=place in hit, padding=filled is not None and bool(filled[place]))
        text = "0"
        if problem.padding_mode != "zeros":
            text = _at(plane, tuple(copied(p, n, problem.padding_mode) for p, n in zip(place, size, strict=True)))
        return State(text, marked=place in hit, padding=True)

    first = tuple(cells.start for cells in padded)
    stop = tuple(max(n, cells.stop) for n, cells in zip(size, padded, strict=True))
    return Sheet(caption(trace, "input", (batch, channel), name), "input", first, stop, cell, tuple(reads))


def weight_sheet(trace: Trace, place: tuple[int, int], hit: set[Place]) -> Sheet:
    """One kernel of the weight; taps outside `hit` play no part in this step."""
    problem = trace.problem
    plane = trace.weight.reshape(problem.weight_shape)[place]
    size = problem.geometry.kernel_size
    several = problem.weight_shape[0] * problem.weight_shape[1] > 1
    caption = "weight " + (f"{place[0]},{place[1]}" if several else sizes(size))

    def cell(tap: Place) -> State:
        return State(_at(plane, tap), faded=tap not in hit)

    return Sheet(caption, "weight", (0,) * len(size), size, cell, tuple(hit))


def output_sheet(trace: Trace, step: Step, channel: int, name: str = "output") -> Sheet:
    """One channel of the output, as far as it is known after a step; the focus is outlined if it lies here.

    Of an output that is withheld only the cell of this step is known.
    """
    problem, size = trace.problem, trace.problem.out_size
    batch, _, *here = step.focus.cells[0]
    first = flat_index((batch, channel, *(0,) * len(size)), problem.result_shape)
    values = None if trace.withheld else trace.y.reshape(-1)

    def cell(place: Place) -> State:
        index = first + flat_index(place, size)
        if index > step.index or (values is None and index < step.index):
            return State("", faded=True)
        value = step.result if values is None else values[index : index + 1].tolist()[0]
        return State(number(value), focus=index == step.index)

    around = (tuple(here),)
    return Sheet(caption(trace, "output", (batch, channel), name), "output", (0,) * len(size), size, cell, around)


def canvas_sheet(
    trace: Trace, canvas: Trace, first: Place, plane: Place, step: Step, last: bool = False, *, sums: bool = False
) -> Sheet:
    """What one step paints, or the sum so far; in the coordinates of the output, so the crop begins below 0."""
    size, full = trace.problem.out_size, canvas.problem.out_size
    shape = canvas.problem.result_shape
    stop = tuple(max(n, f + start) for n, f, start in zip(size, full, first, strict=True))
    paints: dict[Place, Number] = {}
    for t in step.terms:
        if t.out and t.out[:2] == plane:  # what padding folds back lands on a cell more than once
            paints[t.out[2:]] = paints.get(t.out[2:], 0) + t.product
    total, seen = canvas.so_far(step.index) if sums else (np.zeros(0), np.zeros(0))

    def cell(place: Place) -> State:
        spot = tuple(p - start for p, start in zip(place, first, strict=True))
        kept = all(0 <= p < n for p, n in zip(place, size, strict=True))
        if not all(p < n for p, n in zip(spot, full, strict=True)):
            return State("0", padding=True)  # beyond the canvas: added by output_padding, painted by nobody
        index = flat_index((*plane, *spot), shape) if sums else 0
        there = bool(seen[index]) if sums else spot in paints
        hole = sums and last and kept and not there
        value = (total[index : index + 1].tolist()[0] if sums else paints[spot]) if there else 0
        faded = not kept or (sums and not there)
        return State(number(value) if there else "", marked=spot in paints and kept, faded=faded, hole=hole)

    around = tuple(tuple(p + start for p, start in zip(spot, first, strict=True)) for spot in sorted(paints))
    frame = ((0,) * len(size), size) if (first, stop) != ((0,) * len(size), size) else None
    name = say("text.sum" if sums else "text.paints")
    title = f"{name} {sizes(size)}" if trace.problem.out_channels == 1 else f"{name} channel {plane[1]}"
    title += _batch(trace, plane[0])
    return Sheet(title, "output" if sums else "plain", first, stop, cell, around, frame)


def plain_sheet(title: str, role: RoleName, values: Array, focus: Place | None = None) -> Sheet:
    """An array as it is, with at most one cell in focus."""
    around = () if focus is None else (focus,)
    first = (0,) * values.ndim
    return Sheet(title, role, first, values.shape, lambda p: State(_at(values, p), focus=p == focus), around)


def cell_size(trace: Trace) -> int:
    """Width of a cell in px: room for the longest number, within reason where many cells stand side by side."""
    complex_ = trace.x.dtype.kind == "c"
    widest = max(min(n, most_cells(trace.problem.rank)[-1]) for n in (*trace.problem.in_size, *trace.problem.out_size))
    least, most = (44, 76) if widest <= 5 else (38, 60) if widest <= 8 else (32, 50)
    most = 112 if complex_ else most
    return min(max(least, math.ceil(trace.longest * 7.2)), most)


def longest_number(*arrays: Array) -> int:
    """Characters of the longest number; of a large array of other than integers, what %.4g needs at most."""
    return max(_longest(array) for array in arrays)


def _longest(array: Array) -> int:
    if array.size <= 4096:
        return max((len(number(value)) for value in array.ravel().tolist()), default=1)
    if array.dtype.kind in "if" and np.isfinite(array).all() and (array == np.rint(array)).all():
        return max(len(number(value)) for value in (array.min().item(), array.max().item()))
    return 9


def _at(array: Array, place: Place) -> str:
    value: Number = array[place].item() if hasattr(array[place], "item") else array[place]
    return number(value)


def sizes(size: Sequence[int]) -> str:
    """Write a size: 3x3."""
    return "x".join(str(n) for n in size)


def caption(trace: Trace, array: str, plane: Sequence[int], name: str = "") -> str:
    """Name a plane of the input or the output: by its channel if there are several, else by its size; and its batch."""
    problem, name = trace.problem, name or array
    size, channels = (
        (problem.in_size, problem.in_channels) if array == "input" else (problem.out_size, problem.out_channels)
    )
    return (f"{name} channel {plane[1]}" if channels > 1 else f"{name} {sizes(size)}") + _batch(trace, plane[0])


def flat_index(cell: Sequence[int], shape: Sequence[int]) -> int:
    """Return the index of a cell in the flat array."""
    index = 0
    for at, size in zip(cell, shape, strict=True):
        index = index * size + at
    return index


def _batch(trace: Trace, batch: int) -> str:
    return f", batch {batch}" if trace.problem.batch > 1 else ""
