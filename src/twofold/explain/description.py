"""What a view says and shows, as plain data: sentences, a formula, and tables of numbers that are already texts.

Every renderer reads it, and the page must make the same of the same problem, to the last byte. A flag is one letter per
cell of a table:

    .  plain        o  nothing multiplies or paints here      p  padding      z  an inserted zero
    x  cropped      n  beyond the canvas, where nobody paints
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from twofold.explain.arithmetic import Array
from twofold.explain.numbers import number
from twofold.explain.texts import say
from twofold.geometry import axis_name

__all__ = ["CELLS", "PLANES", "Description", "Table", "axis_text", "planes", "table"]

CELLS = 40  # rows, and columns, of a table that is written out
PLANES = 8  # tables of one array


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers in rows, under a caption; `flags` has one letter per cell, or is None where all cells are plain."""

    name: str
    caption: str
    rows: tuple[tuple[str, ...], ...]
    flags: tuple[str, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the table as JSON would have it."""
        flags = None if self.flags is None else list(self.flags)
        return {"name": self.name, "caption": self.caption, "rows": [list(row) for row in self.rows], "flags": flags}


@dataclass(frozen=True, slots=True)
class Description:
    """One view of one problem, perhaps at one step.

    view, tab   names as in the page's address         why      sentences beside the picture, in order
    steps       how many can be played; 0 if none      step     which one this is, or None
    formula     of the step, or of the view            aria     the same for a listener
    """

    view: str
    tab: str | None
    title: str
    why: tuple[str, ...]
    steps: int = 0
    step: int | None = None
    formula: str = ""
    aria: str = ""
    tables: tuple[Table, ...] = ()
    code: Mapping[str, str] | None = field(default=None)

    def as_dict(self) -> dict[str, Any]:
        """Return the description as JSON would have it: strings, integers, lists, and nothing else."""
        found: dict[str, Any] = {
            "view": self.view, "tab": self.tab, "title": self.title, "why": list(self.why), "steps": self.steps,
            "step": self.step, "formula": self.formula, "aria": self.aria,
            "tables": [entry.as_dict() for entry in self.tables],
        }  # fmt: skip
        return found if self.code is None else found | {"code": dict(self.code)}

    def __getitem__(self, name: str) -> Table:
        """Return a table by its name."""
        return next(entry for entry in self.tables if entry.name == name)


def axis_text(index: int, rank: int) -> str:
    """Name an axis in the language of the texts.

    >>> axis_text(0, 2), axis_text(3, 5)
    ('height', 'axis 3 of 5')
    """
    name = axis_name(index, rank)
    return say(f"axis.{name}") if rank <= 3 else say("axis.other", index=name)


def table(name: str, caption: str, array: Any, flags: Array | None = None) -> Table:
    """Write a matrix, or a row of numbers, as a table.

    >>> table("overlap", "counts", [1, 2, 1]).rows
    (('1', '2', '1'),)
    """
    values = np.asarray(array)
    values = values.reshape(1, -1) if values.ndim < 2 else values
    rows = tuple(tuple(number(value) for value in row) for row in values.tolist())
    if flags is None:
        return Table(name, caption, rows)
    letters = tuple("".join(row) for row in flags.reshape(values.shape).tolist())
    return Table(name, caption, rows, None if set("".join(letters)) <= {"."} else letters)


def planes(
    name: str, caption: str, array: Array, flags: Array | None = None, *, weight: bool = False
) -> tuple[list[Table], list[str]]:
    """Cut an array (batch, channels, *size) into tables of its last two axes, and say what is left out.

    weight   the first axes are those of a weight, and not batch and channels

    >>> [entry.name for entry in planes("y", "output", np.zeros((1, 2, 3)))[0]]
    ['y-0', 'y-1']
    """
    lead = array.shape[: max(2, array.ndim - 2)]
    rows, columns = (1, array.shape[2]) if array.ndim == 3 else array.shape[-2:]
    if max(rows, columns) > CELLS:
        return [], [say("why.large", name=caption, rows=rows, columns=columns, most=CELLS)]
    if not array.size:
        return [], []
    found = []
    for index, place in enumerate(islice(np.ndindex(*lead), PLANES)):
        full = f"{name}-{index}" if math.prod(lead) > 1 else name
        marks = None if flags is None else flags[place]
        found.append(table(full, _caption(caption, place, lead, weight), array[place], marks))
    more = math.prod(lead) - len(found)
    return found, [say("why.planes", more, name=caption, more=more)] if more else []


def _caption(caption: str, place: Sequence[int], lead: Sequence[int], weight: bool) -> str:
    batch, channel, *depth = place
    if weight:
        caption += f" {batch},{channel}" if lead[0] * lead[1] > 1 else ""
    else:
        caption += f" channel {channel}" if lead[1] > 1 else ""
        caption += f" of batch {batch}" if lead[0] > 1 else ""
    return caption + (f" depth {','.join(map(str, depth))}" if depth else "")
