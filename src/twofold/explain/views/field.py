"""What a cell sees and reaches through a chain of layers: by formula, and exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from twofold.analysis.chain import Chain, Field, Span, reaches, sees, spans
from twofold.errors import GeometryError
from twofold.explain.description import Description, Table, axis_text
from twofold.explain.numbers import elided
from twofold.explain.steps import Cells, Lazy, Step
from twofold.explain.texts import say
from twofold.geometry import axis_name

if TYPE_CHECKING:
    from twofold.explain.trace import Trace

__all__ = ["describe", "middle", "set_text", "steps_of"]


def describe(trace: Trace, tab: str, step: int | None, chain: Chain) -> Description:
    """Describe the field of one cell: `step` counts it row by row, None is the middle one."""
    first, last = chain.layers[0], chain.layers[-1]
    size = last.out_size if tab == "receptive" else first.in_size
    cell = _cell(size, step)
    walk = sees if tab == "receptive" else reaches
    levels = [walk(chain, axis, [at]) for axis, at in enumerate(cell)]
    ends = [level[0] if tab == "receptive" else level[-1] for level in levels]
    number = math.prod(map(len, ends))
    key = "field.formula" if tab == "receptive" else "field.reach"
    place = "(" + ",".join(map(str, cell)) + ")"
    sets = ", ".join(say("field.axis", axis=_name(chain, i), set=set_text(end)) for i, end in enumerate(ends))
    formula = say(f"{key}.none", cell=place) if not number else say(key, number, cell=place, sets=sets)
    numbers = [spans(chain, axis) for axis in range(chain.rank)]
    why = [say(f"field.{tab}"), *_formulas(chain, numbers)]
    if tab == "receptive":
        why += _badges(chain, numbers, ends)
    tables = (*_span_tables(chain, numbers), _levels(chain, levels))
    steps = math.prod(size)
    aria = formula
    title = say(f"title.field.{tab}")
    return Description("field", tab, title, tuple(why), steps, step, formula, aria, tables)


def steps_of(trace: Trace, tab: str, chain: Chain) -> Sequence[Step]:
    """Return a step per cell whose field can be asked for."""
    size = chain.layers[-1].out_size if tab == "receptive" else chain.layers[0].in_size
    return Lazy(math.prod(size), lambda index: _step(trace, tab, index, chain, size))


def _step(trace: Trace, tab: str, index: int, chain: Chain, size: tuple[int, ...]) -> Step:
    found = describe(trace, tab, index, chain)
    focus = Cells("output" if tab == "receptive" else "input", ((0, 0, *_cell(size, index)),))
    return Step(index, "field", focus, (), focus, (), 0, None, (), found.aria, found.formula)


def set_text(cells: tuple[int, ...]) -> str:
    """Write a sorted set: neighbours as a range, others one by one.

    >>> set_text((3, 4, 5)), set_text((3, 5, 7)), set_text(())
    ('3 to 5', '3, 5, 7', 'none')
    """
    if not cells:
        return say("field.nothing")
    if len(cells) > 2 and cells[-1] - cells[0] + 1 == len(cells):
        return say("field.set", first=cells[0], last=cells[-1])
    return ", ".join(elided(cells))


def middle(size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the middle cell.

    >>> middle((4, 5))
    (2, 2)
    """
    return tuple(n // 2 for n in size)


def _cell(size: tuple[int, ...], step: int | None) -> tuple[int, ...]:
    if step is None:
        return middle(size)
    if not 0 <= step < math.prod(size):
        raise GeometryError(f"there is no cell {step}: there are {math.prod(size)}", repair="the first, 0")
    return tuple(int(i) for i in np.unravel_index(step, size))


def _formulas(chain: Chain, numbers: list[list[Span]]) -> list[str]:
    # A line per axis; one if all axes say the same.
    found = []
    for axis, lines in enumerate(numbers):
        if axis and lines == numbers[0]:
            continue
        alike = all(other == lines for other in numbers)
        name = " x ".join(_name(chain, i) for i in range(chain.rank)) if alike else _name(chain, axis)
        found.append(say(
            "field.spans", axis=name, r=", ".join(str(s.r) for s in lines), jump=", ".join(str(s.jump) for s in lines),
            start=", ".join(str(s.start) for s in lines),
        ))  # fmt: skip
    return found


def _badges(chain: Chain, numbers: list[list[Span]], ends: list[tuple[int, ...]]) -> list[str]:
    found = []
    for axis, (lines, cells) in enumerate(zip(numbers, ends, strict=True)):
        field, name = Field(lines[-1].r, cells), _name(chain, axis)
        if field.has_gaps:
            span = cells[-1] - cells[0] + 1
            found.append(say("field.gaps", len(cells), axis=name, span=span, set=set_text(cells)))
        elif field.differs:
            found.append(say("field.edge", len(cells), axis=name, r=field.r))
    if found:
        return found
    widths = [str(lines[-1].r) for lines in numbers]
    if len(set(widths)) == 1:
        return [say("field.agrees", r=widths[0])]
    return [say("field.agrees.axes", r=" x ".join(widths))]


def _span_tables(chain: Chain, numbers: list[list[Span]]) -> list[Table]:
    return [
        Table(
            f"spans-{axis_name(axis, chain.rank)}", say("field.numbers", axis=_name(chain, axis)),
            tuple((say("field.layer", index=i, layer=layer), str(s.r), str(s.jump), str(s.start))
                  for i, (layer, s) in enumerate(zip(chain.layers, lines, strict=True))),
        )
        for axis, lines in enumerate(numbers)
    ]  # fmt: skip


def _levels(chain: Chain, levels: list[list[tuple[int, ...]]]) -> Table:
    names = [say("field.input"), *(say("field.layer", index=i, layer=layer) for i, layer in enumerate(chain.layers))]
    rows = tuple((name, *(set_text(axis[i]) for axis in levels)) for i, name in enumerate(names))
    return Table("levels", say("field.levels"), rows)


def _name(chain: Chain, axis: int) -> str:
    return axis_text(axis, chain.rank)
