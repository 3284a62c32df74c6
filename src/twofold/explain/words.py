"""Names of cells, for those who read and for those who listen.

A cell is (batch, channel, *position), as an index into its array, channels first; axes of one batch or channel are not
spoken of. Counting begins at 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from twofold.explain.numbers import Number, Term, elided, number
from twofold.explain.texts import say

__all__ = ["commas", "dot_aria", "place", "plane_name", "scatter_aria", "spoken"]

_AXES = ("depth", "row", "column")


def commas(cell: Sequence[int], shape: Sequence[int]) -> str:
    """Write a cell shortly: leading axes of batch and channels only from the first that has more than one.

    >>> commas((0, 0, 1, 2), (1, 1, 3, 3)), commas((0, 4, 1, 2), (1, 8, 3, 3))
    ('1,2', '4,1,2')
    """
    first = next((axis for axis in (0, 1) if shape[axis] > 1), 2)
    return ",".join(str(index) for index in cell[first:])


def place(cell: Sequence[int]) -> str:
    """Write the position of a cell within its plane.

    >>> place((0, 4, 1, 2))
    '(1,2)'
    """
    return "(" + ",".join(str(index) for index in cell[2:]) + ")"


def plane_name(name: str, cell: Sequence[int], shape: Sequence[int]) -> str:
    """Name the plane of a cell.

    >>> plane_name("output", (0, 4, 1, 2), (1, 8, 3, 3)), plane_name("input", (0, 0, 1), (1, 1, 3))
    ('output channel 4', 'input')
    """
    channel = f" channel {cell[1]}" if shape[1] > 1 else ""
    batch = f" of batch {cell[0]}" if shape[0] > 1 else ""
    return name + channel + batch


def spoken(name: str, cell: Sequence[int], shape: Sequence[int]) -> str:
    """Name a cell in words.

    >>> spoken("output", (0, 0, 1, 0), (1, 1, 2, 2)), spoken("output", (0, 3, 5), (2, 8, 9))
    ('output row 1 column 0', 'output batch 0 channel 3 column 5')
    """
    leading = [say(f"cell.{what}", index=cell[i]) for i, what in enumerate(("batch", "channel")) if shape[i] > 1]
    position, names = cell[2:], _AXES[3 - len(cell[2:]) :]
    if len(position) > 3:
        return " ".join([name, *leading, ",".join(str(index) for index in position)])
    return " ".join([name, *leading, *(say(f"cell.{axis}", index=i) for axis, i in zip(names, position, strict=True))])


def dot_aria(focus: str, result: Number, terms: Sequence[Term], shapes: _Shapes, bias: Number | None) -> str:
    """Speak a dot product: what the cell is, and the products it is made of."""

    def spell(part: Term | Number) -> str:
        if not isinstance(part, Term):
            return say("cell.bias", value=number(part))
        tap = commas(part.tap, shapes[1]) if part.tap else "?"
        source = say("cell.padding")
        if part.inp and not part.padding:
            source = say("cell.input", cell=commas(part.inp, shapes[0]), value=number(part.input))
        return say("cell.term", tap=tap, weight=number(part.weight), source=source)

    parts = elided([*terms, *([] if bias is None else [bias])], spell)
    spelled = say("cell.joint").join(parts) or say("cell.nothing")
    return say("cell.dot", focus=focus, result=number(result), parts=spelled)


def scatter_aria(focus: str, value: Number, terms: Sequence[Term], shapes: _Shapes) -> str:
    """Speak what one input cell paints, and where."""

    def spell(t: Term) -> str:
        tap = commas(t.tap, shapes[1]) if t.tap else "?"
        target = commas(t.out, shapes[2]) if t.out else "?"
        return say("cell.paint", tap=tap, weight=number(t.weight), product=number(t.product), cell=target)

    spelled = ", ".join(elided(terms, spell)) or say("cell.reaches-nothing")
    return say("cell.dot", focus=focus, result=number(value), parts=spelled)


_Shapes = tuple[Sequence[int], Sequence[int], Sequence[int]]  # of input, weight and output
