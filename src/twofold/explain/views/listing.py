"""A view as text for a terminal: what it says, its tables, and its steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from twofold.errors import GeometryError
from twofold.explain import limits, words
from twofold.explain.description import Description, Table, axis_text, planes
from twofold.explain.text import DOTS, Block, beside
from twofold.explain.texts import say
from twofold.explain.views import derived, description

if TYPE_CHECKING:
    from twofold.explain.steps import Step
    from twofold.explain.trace import Trace

__all__ = ["focus_name", "stack_name", "view_text"]

_MAP = 12  # cells along an axis of a map that is written in numbers
_WIDE = 100  # characters of a matrix with names of its rows and columns

_SIGNS = {"…": "...", "·": ".", "–": "-"}  # of our sentences, for terminals without them


def view_text(trace: Trace, *, full: bool = False, ascii: bool = False) -> str:
    """Write a view; `full` prints all its steps, `ascii` uses no sign beyond ASCII.

    >>> from twofold import explain
    >>> print(explain.problem("conv_transpose i4 k3 s2").view("overlap").text())
    conv_transpose n1 ci1 co1 i4 k3 s2 f32
    Overlap and checkerboard
    <BLANKLINE>
    uneven: 3 is not a multiple of 2; interior ratio 2 : 1 in 1-D. Try k=2 or 4
    ...
    """
    found = description(trace, trace.seen or None, trace.tab or None)
    name = stack_name(trace, found.view)
    why = [text for text in found.why if text != found.formula]
    parts = [[name, found.title], found.formula.split("\n") if found.formula else [], why, _blocks(trace, found)]
    if found.view in ("transposed", "matrix", "gradient"):
        parts.append(_steps(trace, found, full))
    for library, text in (found.code or {}).items():
        parts.append([f"{library}:", *("  " + line for line in text.split("\n"))])
    text = "\n\n".join("\n".join(part) for part in parts if part)
    if ascii:
        for sign, plain in _SIGNS.items():
            text = text.replace(sign, plain)
    return text


def stack_name(trace: Trace, view: str) -> str:
    """Name what a view shows: a stack of layers where it looks at all of them, else the problem.

    >>> from twofold import explain
    >>> stack_name(explain.problem("conv i3 k2; k2"), "matrix")
    'conv n1 ci1 co1 i3 k2 f32'
    """
    return str(trace.chain if trace.chain and view in ("field", "overlap") else trace.problem)


def focus_name(trace: Trace, found: Description, step: Step) -> tuple[str, str]:
    """Name the plane that a step is about, and the place in it.

    >>> from twofold import explain
    >>> trace = explain.problem("conv co2 i3x3 k2x2").view("gradient", "weight")
    >>> focus_name(trace, description(trace, "gradient", "weight"), trace.steps[6])
    ('dL/dw 1,0', '(1,0)')
    """
    cell = step.focus.cells[0]
    if found.view == "gradient":
        name = say(f"gradient.caption.{found.tab}")
        shape = trace.in_shape if found.tab == "input" else trace.problem.weight_shape
        if found.tab == "weight":
            return name + (f" {cell[0]},{cell[1]}" if shape[0] * shape[1] > 1 else ""), words.place(cell)
        return words.plane_name(name, cell, shape), words.place(cell)
    turned = found.view == "matrix" and found.tab == "transpose"
    shape = trace.in_shape if turned else trace.problem.result_shape
    return words.plane_name("output", cell, shape), words.place(cell)


def _blocks(trace: Trace, found: Description) -> list[str]:
    tables = found.tables
    if found.view == "sizes":
        return beside([_words(entry) for entry in tables])
    if found.view == "field":
        return beside([_words(entry) for entry in _alike(tables, trace.problem.rank)])
    if found.view == "phases":  # what belongs to a phase stays together
        parts = {entry.name.split("-")[1]: [b for b in tables if b.name.split("-")[1] == entry.name.split("-")[1]]
                 for entry in tables}  # fmt: skip
        return beside([_side_by_side([_block(entry) for entry in part]) for part in parts.values()])
    if found.view == "matrix" and tables:
        return beside([_matrix(*tables)])
    return beside([_block(entry) for entry in tables] + (_maps(trace, found) if found.view == "image" else []))


def _alike(tables: Sequence[Table], rank: int) -> list[Table]:
    # The numbers of the axes are written once where they are the same.
    lines = [entry for entry in tables if entry.name.startswith("spans-")]
    if len(lines) < 2 or len({entry.rows for entry in lines}) > 1:
        return list(tables)
    caption = say("field.numbers", axis=" x ".join(axis_text(axis, rank) for axis in range(rank)))
    return [replace(lines[0], caption=caption), *(entry for entry in tables if entry not in lines)]


def _side_by_side(blocks: Sequence[Block]) -> Block:
    first, *rest = beside(blocks)
    return Block(first, tuple(rest))


def _maps(trace: Trace, found: Description) -> list[Block]:
    # What each kernel makes of a small picture.
    problem = trace.problem
    if problem.rank != 2 or not trace.x.size or max(problem.in_size) > _MAP or trace.x.dtype.kind == "c":
        return []
    word = say("image.map")
    named = [(entry, entry.name.removeprefix("bank-")) for entry in found.tables]
    maps = ((f"{entry.caption}: {word}", derived.filtered(trace, name)) for entry, name in named)
    return [_block(entry) for caption, values in maps for entry in planes("map", caption, values[None, None])[0]]


def _matrix(table: Table, columns: Table, rows: Table) -> Block:
    # With the names of its rows and columns where there is room for them.
    plain = _block(table)
    cells = [line.split() for line in plain.lines]
    wide = max(map(len, [*columns.rows[0], *(text for line in cells for text in line)]))
    side = max(map(len, rows.rows[0]))
    if side + 2 + len(cells[0]) * (wide + 1) > _WIDE:
        return plain
    head = " " * side + " " + "".join(f" {name:>{wide}}" for name in columns.rows[0])
    lines = (f"{name:<{side}} " + "".join(f" {text:>{wide}}" for text in line)
             for name, line in zip(rows.rows[0], cells, strict=True))  # fmt: skip
    return Block(table.caption, (head, *lines))


def _block(table: Table) -> Block:
    # Right-aligned numbers; where nothing multiplies or paints there is a dot.
    flags = table.flags or tuple("." * len(row) for row in table.rows)
    rows = [
        ["." if f == "o" else v for v, f in zip(*pair, strict=True)] for pair in zip(table.rows, flags, strict=True)
    ]
    width = max((len(text) for row in rows for text in row), default=0)
    return Block(table.caption, tuple(" ".join(f"{text:>{width}}" for text in row) for row in rows))


def _words(table: Table) -> Block:
    widths = [max(len(row[i]) for row in table.rows) for i in range(len(table.rows[0]))]
    lines = ("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)) for row in table.rows)
    return Block(table.caption, tuple(line.rstrip() for line in lines))


def _steps(trace: Trace, found: Description, full: bool) -> list[str]:
    steps = trace.steps
    shown = len(steps) if full else min(len(steps), DOTS)
    if full:
        cells = math.prod(trace.problem.result_shape)
        limits.check_written("the whole text", shown, trace.terms, cells, repair="text() without full, or a picture")
    known: list[tuple[str, str, Step]] = []
    more: list[str] = []
    for index in range(shown):
        try:
            step = steps[index]
        except GeometryError as refusal:
            more = [say("text.no-step", reason=refusal.rule)]
            break
        known.append((*focus_name(trace, found, step), step))
    lines: list[str] = []
    wide = max((len(place) for _, place, _ in known), default=0)
    several = len({plane for plane, _, _ in known}) > 1
    for i, (plane, place, step) in enumerate(known):
        lines += [plane] if several and (i == 0 or plane != known[i - 1][0]) else []
        first, *sums = step.formula(full).split("\n")
        lines += [f"{place:<{wide}}  {first}", *(" " * wide + f"  {line}" for line in sums)]
    rest = len(steps) - shown
    return lines + more + ([say("text.more", rest, rest=rest)] if rest and not more else [])
