"""The sheets of a figure: input, weight, output and canvas, each with what this step does to its cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from twofold.explain.grid import RoleName
from twofold.explain.numbers import Number, number
from twofold.explain.panels import Place, Sheet, State, most_cells
from twofold.reference import fine_source

if TYPE_CHECKING:
    from twofold.explain.arithmetic import Array
    from twofold.explain.steps import Step
    from twofold.explain.trace import Trace

__all__ = [
    "canvas_sheet", "caption", "cell_size", "input_sheet", "output_sheet", "plain_sheet", "sizes", "weight_sheet",
]  # fmt: skip


def input_sheet(trace: Trace, batch: int, channel: int, reads: Sequence[Place]) -> Sheet:
    """The padded input of a convolution, or the input of a transposed one; `reads` are the cells of this step."""
    problem = trace.problem
    plane = trace.x.reshape(trace.in_shape)[batch, channel]
    size, hit = problem.in_size, set(reads)
    pads = [(0, 0)] * problem.rank
    sources = None
    if problem.op == "conv":
        pads = [(axis.pad_before, max(axis.pad_after, 0)) for axis in problem.geometry.axes]
        if problem.padding_mode != "zeros":
            axes = zip(problem.geometry.axes, size, strict=True)
            sources = [fine_source(axis, n, problem.padding_mode) for axis, n in axes]

    def cell(place: Place) -> State:
        if all(0 <= p < n for p, n in zip(place, size, strict=True)):
            return State(_at(plane, place), marked=place in hit)
        text = "0"
        if sources is not None:
            text = _at(plane, tuple(int(s[p + b]) for s, p, (b, _) in zip(sources, place, pads, strict=True)))
        return State(text, marked=place in hit, padding=True)

    first = tuple(-before for before, _ in pads)
    stop = tuple(n + after for n, (_, after) in zip(size, pads, strict=True))
    return Sheet(caption("input", size, channel, problem.in_channels), "input", first, stop, cell, tuple(reads))


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


def output_sheet(trace: Trace, focus: Place, channel: int, known: Array) -> Sheet:
    """One channel of the output, as far as it is known; the focus is outlined if it lies here."""
    problem = trace.problem
    plane, seen = (a.reshape(problem.result_shape)[focus[0], channel] for a in (trace.y, known))
    here = focus[2:]

    def cell(place: Place) -> State:
        done = bool(seen[place])
        return State(_at(plane, place) if done else "", focus=channel == focus[1] and place == here, faded=not done)

    size = problem.out_size
    title = caption("output", size, channel, problem.out_channels)
    return Sheet(title, "output", (0,) * len(size), size, cell, (here,))


def canvas_sheet(
    trace: Trace, canvas: Trace, first: Place, plane: Place, step: Step, name: str, last: bool = False
) -> Sheet:
    """What one step paints, or the sum so far; in the coordinates of the output, so the crop begins below 0."""
    size, full = trace.problem.out_size, canvas.problem.out_size
    stop = tuple(max(n, f + start) for n, f, start in zip(size, full, first, strict=True))
    hit = {t.out[2:] for t in step.terms if t.out and t.out[:2] == plane}
    array = step.running if name == "sum" else step.painted
    shape = canvas.problem.result_shape
    values = np.zeros(0) if array is None else array.reshape(shape)[plane]
    seen = canvas.covered(step.index).reshape(shape)[plane] if name == "sum" else None

    def cell(place: Place) -> State:
        spot = tuple(p - start for p, start in zip(place, first, strict=True))
        kept = all(0 <= p < n for p, n in zip(place, size, strict=True))
        if not all(p < n for p, n in zip(spot, full, strict=True)):
            return State("0", padding=True)  # beyond the canvas: added by output_padding, painted by nobody
        there = spot in hit if seen is None else bool(seen[spot])
        hole = seen is not None and last and kept and not there
        faded = not kept or (seen is not None and not there)
        return State(_at(values, spot) if there else "", marked=spot in hit and kept, faded=faded, hole=hole)

    around = tuple(tuple(p + start for p, start in zip(spot, first, strict=True)) for spot in sorted(hit))
    frame = ((0,) * len(size), size) if (first, stop) != ((0,) * len(size), size) else None
    caption = f"{name} {sizes(size)}" if trace.problem.out_channels == 1 else f"{name} channel {plane[1]}"
    return Sheet(caption, "output" if name == "sum" else "plain", first, stop, cell, around, frame)


def plain_sheet(title: str, role: RoleName, values: Array, focus: Place | None = None) -> Sheet:
    """An array as it is, with at most one cell in focus."""
    around = () if focus is None else (focus,)
    first = (0,) * values.ndim
    return Sheet(title, role, first, values.shape, lambda p: State(_at(values, p), focus=p == focus), around)


def cell_size(trace: Trace) -> int:
    """Width of a cell in px: room for the longest number, within reason where many cells stand side by side."""
    complex_ = trace.x.dtype.kind == "c"
    longest = max(_longest(array) for array in (trace.x, trace.weight, trace.y))
    widest = max(min(n, most_cells(trace.problem.rank)[-1]) for n in (*trace.problem.in_size, *trace.problem.out_size))
    least, most = (44, 76) if widest <= 5 else (38, 60) if widest <= 8 else (32, 50)
    most = 112 if complex_ else most
    return min(max(least, math.ceil(longest * 7.2)), most)


def _longest(array: Array) -> int:
    # Characters of the longest number; of a large array of other than integers, what %.4g needs at most.
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


def caption(name: str, size: Sequence[int], channel: int, channels: int) -> str:
    """Name a plane: by its channel if there are several, else by its size."""
    return f"{name} channel {channel}" if channels > 1 else f"{name} {sizes(size)}"
