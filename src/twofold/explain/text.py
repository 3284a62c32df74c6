"""A trace as text for a terminal: the problem, the sum that gives its size, the arrays, and every step.

A convolution prints a line per output cell, its formula. A transposed convolution prints, per input cell, the formula
of its products, the array it paints, and beside it the running sum; dots stand where nothing is painted yet.
No escapes, no colours; lines are not wrapped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from twofold.errors import GeometryError
from twofold.explain import limits, words
from twofold.explain.arithmetic import Array
from twofold.explain.numbers import elided, number
from twofold.explain.texts import say
from twofold.geometry import axis_name

if TYPE_CHECKING:
    from twofold.explain.steps import Step
    from twofold.explain.trace import Trace

__all__ = ["Block", "beside", "blocks", "canvas_text", "few_numbers", "fold_text", "size_text", "trace_text"]

DOTS = 36  # dot products that are printed unless all are asked for
PAINTS = 16  # inputs of a transposed convolution, likewise
PLANES = 8  # planes of one array
_HEAD, _TAIL = 12, 2  # rows and columns of a large plane
_WIDTH = 100  # characters after which blocks go to the next row


@dataclass(frozen=True, slots=True)
class Block:
    """Lines under a caption."""

    caption: str
    lines: tuple[str, ...]

    @property
    def width(self) -> int:
        """Characters of the widest line."""
        return max(len(line) for line in (self.caption, *self.lines))


def trace_text(trace: Trace, *, full: bool = False, ascii: bool = False) -> str:
    """Write a trace; `full` prints all steps and terms, `ascii` uses no sign beyond ASCII.

    >>> from twofold import explain
    >>> print(trace_text(explain.conv2d([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 2], [3, 4]])))
    conv n1 ci1 co1 i3x3 k2x2 int64
    output (2, 2) = floor((3 + 0 - 1*(2-1) - 1)/1) + 1
    <BLANKLINE>
    input    weight
    1 2 3    1 2
    4 5 6    3 4
    7 8 9
    <BLANKLINE>
    (0,0)  1*1 + 2*2 + 3*4 + 4*5 = 1 + 4 + 12 + 20 = 37
    (0,1)  1*2 + 2*3 + 3*5 + 4*6 = 2 + 6 + 15 + 24 = 47
    (1,0)  1*4 + 2*5 + 3*7 + 4*8 = 4 + 10 + 21 + 32 = 67
    (1,1)  1*5 + 2*6 + 3*8 + 4*9 = 5 + 12 + 24 + 36 = 77
    <BLANKLINE>
    output
    37 47
    67 77
    """
    problem = trace.problem
    if full:
        _check_full(trace)
    head = [str(problem), size_text(trace), *canvas_text(trace), *fold_text(trace)]
    operands = blocks(trace.x.reshape(trace.in_shape), "input", full=full)
    operands += blocks(trace.weight.reshape(problem.weight_shape), "weight", weight=True, full=full)
    if trace.bias is not None:
        operands.append(Block("bias", (" ".join(few_numbers(trace.bias, full)),)))
    parts = [head, beside(operands)]
    scatter = problem.op == "conv_transpose" and trace.tab == "paint"
    parts += list((_paints if scatter else _dots)(trace, full, "." if ascii else "·"))
    if trace.bias is not None and scatter:
        parts.append([say("why.bias")])
    if trace.withheld:
        parts.append([say("why.withheld", reason=trace.withheld)])
    else:
        parts.append(beside(blocks(trace.y.reshape(problem.result_shape), "output", full=full)))
    return "\n\n".join("\n".join(part) for part in parts if part)


def few_numbers(array: Array, full: bool = False) -> list[str]:
    """Write the numbers of a flat array, of more than 12 some; `full` writes all.

    >>> few_numbers(np.arange(100))
    ['0', '1', '2', '3', '... 94 more ...', '98', '99']
    """
    return elided(range(array.size), lambda index: number(array[index : index + 1].tolist()[0]), full=full)


def _check_full(trace: Trace) -> None:
    # A transposed convolution prints two arrays of the output's shape per step.
    problem, steps = trace.problem, len(trace.steps)
    paints = 2 * steps if problem.op == "conv_transpose" and trace.tab == "paint" else 0
    cells = math.prod(problem.result_shape)
    numbers = trace.x.size + trace.weight.size + (0 if trace.withheld else cells) + paints * cells
    limits.check_written("the whole text", steps, trace.terms, numbers, repair="text() without full, or a picture")


# -- the head ----------------------------------------------------------------------------------------------------------


def size_text(trace: Trace) -> str:
    """Write the size of the output as a sum, on one line if all axes have the same one.

    >>> from twofold import explain
    >>> print(size_text(explain.problem("conv_transpose i4 k3 s2 p1 op1")))
    output (8) = (4-1)*2 - 2*1 + 1*(3-1) + 1 + 1
    """
    problem = trace.problem
    sums = [line.split(": ", 1)[1].rsplit(" = ", 1)[0] for line in problem.sums.splitlines()]
    sizes = ", ".join(str(n) for n in problem.out_size)
    if len(set(sums)) == 1:
        return say("size.output", sizes=sizes, sum=sums[0])
    size = say("size.output.several", sizes=sizes)
    return "\n".join([size, *("  " + line for line in problem.sums.splitlines())])


def canvas_text(trace: Trace) -> list[str]:
    """Say what a transposed convolution crops, in lines.

    >>> from twofold import explain
    >>> canvas_text(explain.problem("conv_transpose i2x2 k3x3 s2 p1 op1"))
    ['canvas (5, 5), crop 1 at the start and 0 at the end']
    """
    if trace.problem.op == "conv" or trace.problem.padding_mode != "zeros":
        return []
    crops = [_crop_words(axis.before, axis.after) for axis in trace.canvas]
    if not any(crops):
        return []
    if len(set(crops)) == 1:
        return [say("why.canvas", sizes=", ".join(str(axis.size) for axis in trace.canvas), crop=crops[0])]
    rank = trace.problem.rank
    return [
        say("why.canvas.axis", axis=axis_name(i, rank), size=axis.size, crop=crops[i] or say("why.crop.none"))
        for i, axis in enumerate(trace.canvas)
    ]


def fold_text(trace: Trace) -> list[str]:
    """Say what a padding mode does, in a line."""
    mode = trace.problem.padding_mode
    if mode == "zeros" or not any(axis.pad_before or axis.pad_after > 0 for axis in trace.problem.geometry.axes):
        return []
    if trace.problem.op == "conv":
        return [say("why.padding.copies", mode=mode)]
    return [say("why.padding.folds", mode=mode)]


def _crop_words(before: int, after: int) -> str:
    if after >= 0:
        return say("why.crop", before=before, after=after) if before or after else ""
    added = say("why.crop.add", -after, added=-after)
    return say("why.crop.both", before=before, added=added) if before else added


# -- the steps ---------------------------------------------------------------------------------------------------------


def _dots(trace: Trace, full: bool, dot: str) -> Iterator[list[str]]:
    shown, plane, lines = _first(trace, DOTS, full), "", [""]
    shape = trace.problem.result_shape
    # The widest position among the first steps is that of the last of them, or of the end of a row before it.
    ends = np.transpose(np.unravel_index(np.arange(max(0, shown - 64), shown), shape)).tolist() if shown else []
    indent = max((len(words.place(cell)) for cell in ends), default=0)
    for index in range(shown):
        step = _step(trace, index)
        if isinstance(step, str):
            yield [line for line in lines if line]
            lines, shown = [step], index
            break
        cell = step.focus.cells[0]
        name = words.plane_name("output", cell, shape)
        if name != plane:
            yield [line for line in lines if line]
            plane, lines = name, [name if name != "output" else ""]
        first, *more = step.formula(full).split("\n")
        lines += [f"{words.place(cell):<{indent}}  {first}", *(" " * indent + f"  {line}" for line in more)]
    yield [line for line in lines if line] + _more(len(trace.steps) - shown if shown else 0)


def _paints(trace: Trace, full: bool, dot: str) -> Iterator[list[str]]:
    shown = _first(trace, PAINTS, full)
    shape = trace.problem.coarse_shape
    for index in range(shown):
        step = _step(trace, index)
        if isinstance(step, str):
            yield [step]
            return
        cell = step.focus.cells[0]
        head = f"{words.plane_name('input', cell, shape)} {words.place(cell)}  {step.formula(full)}"
        yield [head] if trace.withheld else [head, *beside(_painted(trace, step, full, dot))]
    yield _more(len(trace.steps) - shown)


def _step(trace: Trace, index: int) -> Step | str:
    # The step, or why there is none to be shown.
    try:
        return trace.steps[index]
    except GeometryError as refusal:
        return say("text.no-step", reason=refusal.rule)


def _painted(trace: Trace, step: Step, full: bool, dot: str) -> list[Block]:
    # The intermediate array beside the running sum: of this batch, and of the channels that this input reaches.
    shape, cell = trace.problem.result_shape, step.focus.cells[0]
    layer = trace.problem.geometry
    width = layer.fine_channels // layer.groups
    group = cell[1] // max(1, layer.coarse_channels // layer.groups)
    channels = slice(group * width, group * width + width)
    touched = np.zeros(shape, dtype=np.bool_)
    for out in step.writes.cells:
        touched[out] = True
    covered = trace.covered(step.index)
    pairs = ((step.painted, touched, say("text.paints")), (step.running, covered, say("text.running")))
    near = step.writes.cells[0][2:] if step.writes.cells else None
    found = []
    for array, seen, name in pairs:
        if array is not None:
            part = array.reshape(shape)[cell[0] : cell[0] + 1, channels]
            mask = seen.reshape(shape)[cell[0] : cell[0] + 1, channels]
            first, several = channels.start, shape[1]
            found.append(blocks(part, name, mask, dot, first_channel=first, channels=several, full=full, near=near))
    return [block for pair in zip(*found, strict=True) for block in pair] if shape[1] > 1 else found[0] + found[1]


def _first(trace: Trace, limit: int, full: bool) -> int:
    # Of steps with many products fewer are shown, but one.
    if not full:
        limit = min(limit, max(limits.TERMS // max(trace.terms, 1), 1))
    return len(trace.steps) if full else min(len(trace.steps), limit)


def _more(rest: int) -> list[str]:
    return [say("text.more", rest, rest=rest)] if rest else []


# -- arrays ------------------------------------------------------------------------------------------------------------


def blocks(
    array: Array,
    name: str,
    seen: Array | None = None,
    dot: str = ".",
    *,
    weight: bool = False,
    first_channel: int = 0,
    channels: int = 0,
    full: bool = False,
    near: Sequence[int] | None = None,
) -> list[Block]:
    """Cut an array (batch, channels, *size), or a weight, into one block per plane of two axes.

    Of a large plane the beginning and the end are shown, or the part that begins before `near`.

    >>> blocks(np.arange(4).reshape(1, 1, 2, 2), "input")
    [Block(caption='input', lines=('0 1', '2 3'))]
    """
    lead = array.shape[: max(2, array.ndim - 2)]
    planes = array.reshape(*lead, *((1, array.shape[2]) if array.ndim == 3 else array.shape[-2:]))
    masks = None if seen is None else seen.reshape(planes.shape)
    if array.size == 0:
        return [Block(name, (f"empty: shape {array.shape}",))]
    places = list(islice(np.ndindex(*lead), None if full else PLANES))
    found = []
    for place in places:
        first, second, *depth = place
        second += first_channel
        caption = name
        if weight:
            caption += f" {first},{second}" if lead[0] * lead[1] > 1 else ""
        else:
            caption += f" channel {second}" if max(lead[1], channels) > 1 else ""
            caption += f" of batch {first}" if lead[0] > 1 else ""
        caption += f" depth {','.join(map(str, depth))}" if depth else ""
        mask = None if masks is None else masks[place]
        found.append(Block(caption, tuple(_matrix(planes[place], mask, dot, full, near))))
    rest = int(np.prod(lead)) - len(places)
    return found + ([Block(f"... {rest} more", ())] if rest else [])


def beside(parts: Sequence[Block], gap: int = 4) -> list[str]:
    """Set blocks side by side, and below one another where they would be too wide.

    >>> print("\\n".join(beside([Block("a", ("1 2", "3 4")), Block("long", ("5",))])))
    a      long
    1 2    5
    3 4
    """
    lines: list[str] = []
    row: list[Block] = []
    for block in [*parts, None]:
        width = sum(b.width + gap for b in row)
        if row and (block is None or width + block.width > _WIDTH):
            height = max(len(b.lines) for b in row)
            grid = [(b.caption, *b.lines, *[""] * (height - len(b.lines))) for b in row]
            texts = [
                "".join(f"{column[i]:<{b.width + gap}}" for b, column in zip(row, grid, strict=True)).rstrip()
                for i in range(height + 1)
            ]
            lines += ([""] if lines else []) + texts
            row = []
        row += [] if block is None else [block]
    return lines


def _matrix(plane: Array, seen: Array | None, dot: str, full: bool, near: Sequence[int] | None) -> list[str]:
    corner = (None, None) if near is None else (0, *near)[-2:]
    rows, columns = (_shown(size, full, at) for size, at in zip(plane.shape, corner, strict=True))
    cells = []
    for r in rows:
        if r is None:
            cells.append(["..."])
            continue
        painted = [c is None or seen is None or bool(seen[r, c]) for c in columns]
        values = ["..." if c is None else number(plane[r, c : c + 1].tolist()[0]) for c in columns]
        cells.append([value if here else dot for value, here in zip(values, painted, strict=True)])
    width = max(len(text) for row in cells for text in row if text != "...")
    return [" ".join("..." if text == "..." else f"{text:>{width}}" for text in row) for row in cells]


def _shown(size: int, full: bool, near: int | None) -> list[int | None]:
    # Indices, and None where some are left out.
    if full or size <= _HEAD + _TAIL:
        return list(range(size))
    if near is None:
        return [*range(_HEAD), None, *range(size - _TAIL, size)]
    start = min(max(near - _TAIL, 0), size - _HEAD)
    before, after = [None] if start else [], [None] if start + _HEAD < size else []
    return [*before, *range(start, start + _HEAD), *after]
