"""A view as text for a terminal: what it says, its tables, and its steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twofold.errors import GeometryError
from twofold.explain import limits
from twofold.explain.description import Description, Table
from twofold.explain.text import DOTS, Block, beside
from twofold.explain.views import description

if TYPE_CHECKING:
    from twofold.explain.trace import Trace

__all__ = ["view_text"]

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
    name = str(trace.chain or trace.problem)
    why = [text for text in found.why if text != found.formula]
    parts = [[name, found.title], found.formula.split("\n") if found.formula else [], why, _blocks(found)]
    if found.view in ("transposed", "matrix", "gradient"):
        parts.append(_steps(trace, full))
    for library, text in (found.code or {}).items():
        parts.append([f"{library}:", *("  " + line for line in text.split("\n"))])
    text = "\n\n".join("\n".join(part) for part in parts if part)
    if ascii:
        for sign, plain in _SIGNS.items():
            text = text.replace(sign, plain)
    return text


def _blocks(found: Description) -> list[str]:
    return beside([_words(t) if found.view in ("sizes", "field") else _block(t) for t in found.tables
                   if t.name not in ("rows", "columns")])  # fmt: skip


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


def _steps(trace: Trace, full: bool) -> list[str]:
    steps = trace.steps
    shown = len(steps) if full else min(len(steps), DOTS)
    if full:
        cells = math.prod(trace.problem.result_shape)
        limits.check_written("the whole text", shown, trace.terms, cells, repair="text() without full, or a picture")
    lines: list[str] = []
    for index in range(shown):
        try:
            step = steps[index]
        except GeometryError as refusal:
            return [*lines, f"no step is shown here: {refusal.rule}"]
        name = "(" + ",".join(map(str, step.focus.cells[0][2:])) + ")"
        first, *more = step.formula(full).split("\n")
        lines += [f"{name}  {first}", *("      " + line for line in more)]
    rest = len(steps) - shown
    return lines + ([f"... {rest} more step{'s' if rest > 1 else ''}; full=True prints all"] if rest else [])
