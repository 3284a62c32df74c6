"""A trace as pictures: one scene per step, and one that shows the whole.

A dot product shows the input with its padding, the weight, and the output as far as it is known; a channel of the input
and the kernel it meets stand in one row. A painting input cell shows itself, the weight, what it paints on the canvas,
and the running sum; a dashed frame is what is left after the crop. One axis is a row; three are a row of depth slices,
which goes on below where it would be too wide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from twofold.explain import words
from twofold.explain.legend import NAMES, with_legend
from twofold.explain.limits import WRITTEN, check_written
from twofold.explain.numbers import number, term
from twofold.explain.panels import (
    Box,
    Place,
    Sheet,
    beside,
    formula_box,
    most_cells,
    sheet_box,
    shifted,
    stacked,
    text_box,
    windows_of,
    wrapped,
)  # fmt: skip
from twofold.explain.scene import MUTED, Item, Scene, Text
from twofold.explain.sheets import (
    canvas_sheet,
    caption,
    cell_size,
    input_sheet,
    output_sheet,
    plain_sheet,
    sizes,
    weight_sheet,
)  # fmt: skip
from twofold.explain.text import canvas_text, few_numbers, fold_text
from twofold.explain.texts import say
from twofold.geometry import Problem

if TYPE_CHECKING:
    from twofold.explain.steps import Step
    from twofold.explain.trace import Trace

__all__ = ["FRAMES", "dot_box", "frame_count", "frames", "overview", "step_scene"]

FRAMES = 256  # frames of an animation unless its steps are chosen
PARTS = 16  # inputs that the overview of a transposed convolution adds up
_CHANNELS = 4  # channels that are drawn of an array
_MARGIN = 20
_NARROW, _WIDE = 560, 1060  # px: the least width of a picture, for the sake of the formula; the most for a row of parts
_ABOVE = 24  # px from the top of a sheet without indices to its cells


def step_scene(trace: Trace, index: int) -> Scene:
    """Draw one step.

    >>> from twofold import explain
    >>> step_scene(explain.problem("conv i3x3 k2x2"), 2).description
    'output row 1 column 0 is 67: 1*4 + 2*5 + 3*7 + 4*8 = 4 + 10 + 21 + 32 = 67'
    """
    step = trace.steps[index]
    return _scene(trace, step, dot_box(trace, step) if step.kind == "dot" else _paint_box(trace, step))


def frames(trace: Trace, steps: Sequence[int] | None = None) -> list[Scene]:
    """Draw steps in pictures of one size: those asked for, or the first `FRAMES`, fewer if they are large."""
    if steps is not None:
        check_written("the animation", len(steps), trace.terms, 0, repair="fewer steps")
    chosen = range(frame_count(trace)) if steps is None else steps
    scenes = [step_scene(trace, index) for index in chosen] or [overview(trace)]
    padded = any(axis.pad_before or axis.pad_after > 0 for axis in trace.problem.geometry.axes)
    return with_legend(scenes, NAMES if padded else NAMES[:-1])


def frame_count(trace: Trace) -> int:
    """Frames of an animation whose steps are not chosen; one if there is no step."""
    return min(len(trace.steps), FRAMES, max(WRITTEN // max(trace.terms, 1), 1))


def overview(trace: Trace) -> Scene:
    """Draw the whole: all parts of a transposed convolution and their sum if they are few, else the last step."""
    if len(trace.steps) == 0:
        return _framed(trace, say("figure.nothing"), [text_box(say("figure.no-step"))], "")
    problem = trace.problem
    single = problem.batch == problem.in_channels == problem.out_channels == 1
    if problem.op == "conv_transpose" and trace.tab == "paint" and single and problem.rank <= 2:
        spans = zip(trace.uncropped.problem.out_size, _origin(trace), problem.out_size, strict=True)
        sides = [max(full, size - start) for full, start, size in spans]
        fits = all(side <= most for side, most in zip(sides, most_cells(problem.rank), strict=True))
        if fits and len(trace.steps) <= PARTS:
            return _sum_scene(trace)
    return step_scene(trace, len(trace.steps) - 1)


# -- the frame of a picture --------------------------------------------------------------------------------------------


def _scene(trace: Trace, step: Step, body: Box) -> Scene:
    cell = step.focus.cells[0]
    shape = trace.problem.result_shape if step.kind == "dot" else trace.in_shape
    label = f"{words.plane_name(step.focus.array, cell, shape)} {words.place(cell)}:"
    formula = formula_box(label, step.text.split("\n"), max(body.width, _NARROW))
    spoken = words.spoken(step.focus.array, cell, shape) + f" is {number(step.result)}: {step.text}"
    return _framed(trace, f"step {step.index + 1}/{len(trace.steps)}", [body, formula], spoken)


def _framed(trace: Trace, subtitle: str, boxes: Sequence[Box], description: str) -> Scene:
    notes = [*(canvas_text(trace) if trace.tab == "paint" else []), *fold_text(trace)]
    if trace.problem.flip:
        notes.append(say("why.flip"))
    if trace.bias is not None:
        notes.append("bias " + ", ".join(few_numbers(trace.bias)))
    if trace.withheld:
        notes.append(say("why.withheld", reason=trace.withheld))
    if len(trace.steps) > FRAMES:
        subtitle = subtitle.replace("/", " of ")
    head = stacked([text_box(str(trace.problem), 15, bold=True), text_box(subtitle, 14, fill=MUTED)], 4)
    tail = [text_box(note, 12, fill=MUTED) for note in notes]
    whole = stacked([head, *boxes, *([stacked(tail, 4)] if tail else [])], 18)
    items = whole.draw(_MARGIN, _MARGIN)
    width, height = max(whole.width, _NARROW) + 2 * _MARGIN, whole.height + 2 * _MARGIN
    return Scene(math.ceil(width), math.ceil(height), str(trace.problem), description or subtitle, items)


# -- dot products ------------------------------------------------------------------------------------------------------


def dot_box(trace: Trace, step: Step, names: tuple[str, str] = ("input", "output")) -> Box:
    """Draw a dot product: the input channels and their kernels, and the output as far as it is known.

    names   what the input and the output are called
    """
    problem, focus = trace.problem, step.focus.cells[0]
    cell, rows = cell_size(trace), []
    axis = 1 if problem.op == "conv" else 0  # of the weight: its input channels
    first, stop = _input_channels(problem, focus[1])
    for channel in range(first, min(stop, first + _CHANNELS)):
        if axis:
            place = (focus[1], channel - first)
        else:
            place = (channel, focus[1] % problem.weight_shape[1])
        reads = _read_places(trace, step, channel)
        kernel = {tap[2:] for tap in step.reads[1].cells if tap[:2] == place}
        source = input_sheet(trace, focus[0], channel, reads, names[0])
        weight = sheet_box(weight_sheet(trace, place, kernel), cell)
        rows.append([sheet_box(source, cell), _under(problem, source, min(reads, default=()), weight, cell)])
    more = stop - first - len(rows)
    note = [text_box(say("figure.more-inputs", more, more=more), 12, fill=MUTED)] if more > 0 else []
    channels = range(problem.out_channels) if problem.out_channels <= _CHANNELS else (focus[1],)
    outputs = [sheet_box(output_sheet(trace, step, channel, names[1]), cell) for channel in channels]
    if problem.rank == 2:
        return beside([stacked([*(beside(_aligned(rows, i)) for i in range(len(rows))), *note]), stacked(outputs)])
    if problem.rank > 2:
        return stacked([*(wrapped(row) for row in rows), *note, wrapped(outputs)])
    return stacked([*(box for row in rows for box in row), *note, *outputs], 16)


def _under(problem: Problem, sheet: Sheet, place: Place, box: Box, cell: int) -> Box:
    # With one axis and no dilation the weight stands below, or above, the cells that it meets.
    if problem.rank > 1 or problem.geometry.axes[0].dilation > 1 or not place:
        return box
    return shifted(box, max(place[0] - windows_of(sheet)[0].start, 0) * cell)


def _aligned(rows: Sequence[Sequence[Box]], index: int) -> list[Box]:
    # The first column as wide in every row as in the widest.
    width = max(row[0].width for row in rows)
    return [replace(rows[index][0], width=width), *rows[index][1:]]


def _read_places(trace: Trace, step: Step, channel: int) -> list[Place]:
    # Where the window lies on the padded input; for a gathered dot product the input cells themselves.
    problem = trace.problem
    if problem.op == "conv_transpose":
        return [cell[2:] for cell in step.reads[0].cells if cell[1] == channel]
    coarse = step.focus.cells[0][2:]
    places: list[Place] = [()]
    for axis, at in zip(problem.geometry.axes, coarse, strict=True):
        places = [(*place, axis.fine(at, tap)) for place in places for tap in range(axis.kernel_size)]
    return places


# -- painting ----------------------------------------------------------------------------------------------------------


def _paint_box(trace: Trace, step: Step) -> Box:
    problem, focus = trace.problem, step.focus.cells[0]
    cell = cell_size(trace)
    canvas, first = trace.uncropped, _origin(trace)
    width = problem.weight_shape[1]
    group = focus[1] // max(1, problem.in_channels // problem.geometry.groups) * width
    here, last = focus[2:], step.index + 1 == len(trace.steps)

    plane = trace.x.reshape(trace.in_shape)[focus[0], focus[1]]
    source = sheet_box(plain_sheet(caption(trace, "input", focus), "input", plane, here), cell)
    painted = canvas.steps[step.index]
    rows = []
    for within in range(min(width, _CHANNELS)):
        plane_at = (focus[0], group + within)
        kernel = {t.tap[2:] for t in step.terms if t.tap and t.tap[1] == within}
        weight = sheet_box(weight_sheet(trace, (focus[1], within), kernel), cell)
        whats = (False,) if canvas.withheld else (False, True)
        sheets = [canvas_sheet(trace, canvas, first, plane_at, painted, last, sums=sums) for sums in whats]
        start = min(sheets[0].around, default=())
        rows.append([_under(problem, sheets[0], start, weight, cell), *(sheet_box(sheet, cell) for sheet in sheets)])
    more = width - len(rows)
    note = [text_box(say("figure.more-outputs", more, more=more), 12, fill=MUTED)] if more > 0 else []
    if problem.rank == 2:
        return beside([source, stacked([*(beside(_aligned(rows, i)) for i in range(len(rows))), *note])])
    if problem.rank > 2:
        return stacked([*(wrapped([source, *row] if i == 0 else row) for i, row in enumerate(rows)), *note])
    return stacked([source, *(box for row in rows for box in row), *note], 16)


def _sum_scene(trace: Trace) -> Scene:
    problem = trace.problem
    canvas, first = trace.uncropped, _origin(trace)
    across = max(canvas.problem.out_size[-1], problem.out_size[-1] - first[-1]) if problem.rank > 1 else 1
    # As many parts in a row as the input has columns, if the cells need not become too small for that.
    cell = min(cell_size(trace), max(int((_WIDE / problem.in_size[-1] - 40) // across), 28))
    whole = set(np.ndindex(*problem.geometry.kernel_size))
    names = [f"{term(value)}*K" for value in trace.x.ravel().tolist()]
    parts = []
    for name, step in zip(names, canvas.steps, strict=True):
        sheet = canvas_sheet(trace, canvas, first, (0, 0), step)
        parts.append(sheet_box(replace(sheet, caption=name, labels=False), cell))
    source = plain_sheet(f"input {sizes(problem.in_size)}", "input", trace.x.reshape(problem.in_size))
    weight = replace(weight_sheet(trace, (0, 0), whole), caption=f"weight K {sizes(problem.geometry.kernel_size)}")
    total = plain_sheet(f"output {sizes(problem.out_size)}", "output", trace.y.reshape(problem.out_size))
    bias = "" if trace.bias is None else f" + {term(trace.bias.tolist()[0])}"
    total = replace(total, caption=total.caption + (f", {bias.strip()} in every cell" if bias else ""))
    result = sheet_box(replace(total, labels=False), cell)
    if problem.rank == 1:  # below the cells of the canvas that it keeps
        result = shifted(result, -first[0] * cell)
    added = _added(problem, parts, result)
    body = stacked([beside([sheet_box(source, cell), sheet_box(weight, cell)]), added], 24)
    description = " + ".join(names) + f"{bias} = output"
    return _framed(trace, say("figure.sum"), [body], description)


def _added(problem: Problem, parts: Sequence[Box], total: Box) -> Box:
    # All in one row where that is not too wide; else as many in a row as the input has columns, and the sum below.
    signed = [_signed("" if i == 0 else "+", part) for i, part in enumerate(parts)]
    result = _signed("=", total)
    if problem.rank == 2 and sum(box.width for box in (*signed, result)) <= _WIDE:
        return beside([*signed, result], 0)
    columns = 1 if problem.rank == 1 else max(1, min(problem.in_size[-1], int(_WIDE // signed[0].width)))
    rows = [beside(signed[i : i + columns], 0) for i in range(0, len(signed), columns)]
    return stacked([*rows, result], 16)


def _signed(sign: str, box: Box) -> Box:
    room = 36

    def draw(x: float, y: float) -> list[Item]:
        middle = y + _ABOVE + (box.height - _ABOVE) / 2 + 7
        items: list[Item] = [Text(x + room / 2, middle, sign, 20, anchor="middle")] if sign else []
        return items + box.draw(x + room, y)

    return Box(box.width + room, box.height, draw)


def _input_channels(problem: Problem, out_channel: int) -> tuple[int, int]:
    per_out = max(1, problem.out_channels // problem.geometry.groups)
    width = problem.in_channels // problem.geometry.groups
    first = out_channel // per_out * width
    return first, first + width


def _origin(trace: Trace) -> Place:
    # Where the canvas begins, in the coordinates of the output.
    if trace.problem.padding_mode != "zeros":
        return (0,) * trace.problem.rank
    return tuple(-axis.before for axis in trace.canvas)
