"""A matrix as part of a scene: cells with their numbers, indices at the margin, a caption above.

From top to bottom a grid is its caption, the column indices, the rows of cells; the row indices stand to the left.
`grid` returns the items, `grid_size` the space they take, `cell_box` where one cell lies, for arrows and the like.

A cell may be several things at once: what it is (a number of the array, padding, a hole), what it does in this step
(the focus, marked, faded), and how strong it is (a shade).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from twofold.errors import GeometryError
from twofold.explain.glyphs import ADVANCE, CAP_HEIGHT, text_width
from twofold.explain.scene import (
    FADED,
    FOCUS,
    INK,
    MARKED,
    MUTED,
    PAPER,
    ROLES,
    RULE,
    Item,
    Line,
    Rect,
    Role,
    Text,
    ink_on,
)

__all__ = ["CAPTION_SIZE", "INDEX_SIZE", "Cell", "Names", "RoleName", "cell_box", "grid", "grid_size"]

RoleName = Literal["input", "weight", "output", "plain"]
Cell = tuple[int, int]  # row, column
Names = tuple[Sequence[str], Sequence[str]]  # of rows, of columns

CAPTION_SIZE = 14.0
INDEX_SIZE = 10.0
_CAPTION_ROW = 22  # px from the top of a caption to what stands below it
_INDEX_ROW = 14  # px for the column indices
_INDEX_GAP = 6  # px between the row indices and the cells
_EDGE = 1.5  # px left free around the cells for an outline of 3 px; and then lines at whole x and y fall on pixels
_NUMBER = 0.42  # text size of a number in parts of the cell ...
_SMALL = 0.28  # ... and the least to which one long number makes all others shrink with it
_MARGIN = 0.13  # of the cell, left free on either side of a number


def grid(
    values: Sequence[Sequence[str]],
    *,
    x: float,
    y: float,
    cell: int = 44,
    role: RoleName = "plain",
    caption: str = "",
    focus: Collection[Cell] = frozenset(),
    marked: Collection[Cell] = frozenset(),
    padding: Collection[Cell] = frozenset(),
    holes: Collection[Cell] = frozenset(),
    faded: Collection[Cell] = frozenset(),
    shades: Mapping[Cell, str] | None = None,
    labels: bool = True,
    first: Cell = (0, 0),
    names: Names | None = None,
) -> list[Item]:
    """The items of a matrix whose whole block has its top left corner at (x, y).

    values    the texts of the cells, row by row; an empty one leaves its cell blank
    cell      width and height of a cell, in px
    focus     the cells that this step is about: orange, with an outline of 3 px
    marked    the cells that it reads or writes: a lighter orange, with an outline of 2 px
    padding   cells outside the array: hatched        holes   cells that nothing reaches: a dashed x, no number
    faded     cells without a part in this step       shades  a fill of its own for a cell, as in a heat map
    labels    row and column indices (a single row is not numbered), counted from
    first     such as (-1, -1) where one row and one column of padding come before the array
    names     of the rows and of the columns, instead of their indices
    raises    GeometryError if the rows are not equally long, or there is no cell

    >>> items = grid([["1", "2"], ["3", "4"]], x=0, y=0, role="input", caption="input", focus={(0, 0)})
    >>> [item.text for item in items if isinstance(item, Text)]
    ['input', '0', '1', '0', '1', '1', '2', '3', '4']
    """
    rows, columns = _shape(values)
    left, top = _corner(rows, caption, labels, first, names)
    left, top = x + left, y + top
    items: list[Item] = [Text(left, y + 12, caption, CAPTION_SIZE, INK)] if caption else []
    items += _indices(rows, columns, left, top, cell, names or _numbered(rows, columns, first)) if labels else []
    common = _common_size(values, cell)
    # Quiet cells first and outlines last, so that no strong line is cut by the weak edge of its neighbour.
    layers: tuple[list[Item], list[Item], list[Item], list[Item]] = ([], [], [], [])
    for at in ((r, c) for r in range(rows) for c in range(columns)):
        box = Rect(left + at[1] * cell, top + at[0] * cell, cell, cell)
        strong = at in focus or at in marked
        look = _look(ROLES[role], at in padding, at in holes, at in faded)
        shade = (shades or {}).get(at)
        fill = FOCUS.fill if at in focus else shade or (MARKED.fill if strong else look.fill)
        pattern = None if shade or at in focus else look.pattern
        quiet = look.edge == RULE
        layers[not quiet].append(Rect(box.x, box.y, cell, cell, fill, look.edge, 1, pattern))
        layers[2].extend(_outline(box, at in focus) if strong else [])
        ink = ink_on(fill) if strong or shade or not quiet else MUTED
        plate = fill if pattern else None
        layers[3].extend(_cross(box) if at in holes else _number(box, values[at[0]][at[1]], common, ink, plate))
    return items + [item for layer in layers for item in layer]


def grid_size(
    rows: int,
    columns: int,
    *,
    cell: int = 44,
    caption: str = "",
    labels: bool = True,
    first: Cell = (0, 0),
    names: Names | None = None,
) -> tuple[float, float]:
    """Width and height of the whole block, in px; options as in `grid`.

    >>> grid_size(2, 3, cell=40, labels=False), grid_size(2, 3, cell=40, caption="input")
    ((123.0, 83.0), (135.0, 119.0))
    """
    left, top = _corner(rows, caption, labels, first, names)
    width = left + max(columns * cell + _EDGE, text_width(caption, CAPTION_SIZE))
    return float(math.ceil(width)), float(math.ceil(top + rows * cell + _EDGE))


def cell_box(
    row: int,
    column: int,
    *,
    rows: int,
    x: float,
    y: float,
    cell: int = 44,
    caption: str = "",
    labels: bool = True,
    first: Cell = (0, 0),
) -> Rect:
    """The square of one cell of a grid with this many rows; options as given to `grid`.

    >>> box = cell_box(0, 1, rows=2, x=0, y=0, cell=40, labels=False)
    >>> box.x, box.y, box.w
    (41.5, 1.5, 40)
    """
    left, top = _corner(rows, caption, labels, first)
    return Rect(x + left + column * cell, y + top + row * cell, cell, cell)


def _shape(values: Sequence[Sequence[str]]) -> tuple[int, int]:
    lengths = {len(row) for row in values}
    if len(lengths) != 1 or 0 in lengths:
        found = " and ".join(str(length) for length in sorted(lengths)) or "no rows"
        raise GeometryError(f"a grid needs rows of one length, at least 1, not {found}")
    return len(values), lengths.pop()


def _corner(rows: int, caption: str, labels: bool, first: Cell, names: Names | None = None) -> tuple[float, float]:
    # Where the cells begin, from the corner of the block.
    ends = names[0] if names else (str(first[0]), str(first[0] + rows - 1))
    widest = max(map(len, ends)) if labels and rows > 1 else 0
    gutter = math.ceil(text_width("0" * widest, INDEX_SIZE)) + _INDEX_GAP if widest else 0
    return _EDGE + gutter, _EDGE + (_CAPTION_ROW if caption else 0) + (_INDEX_ROW if labels else 0)


def _numbered(rows: int, columns: int, first: Cell) -> Names:
    return [str(first[0] + r) for r in range(rows)], [str(first[1] + c) for c in range(columns)]


def _indices(rows: int, columns: int, left: float, top: float, cell: int, names: Names) -> list[Item]:
    middle = cell / 2
    above = [
        Text(left + c * cell + middle, top - _INDEX_GAP, names[1][c], INDEX_SIZE, MUTED, "middle")
        for c in range(columns)
    ]
    drop = middle + CAP_HEIGHT * INDEX_SIZE / 2
    beside = [
        Text(left - _INDEX_GAP, top + r * cell + drop, names[0][r], INDEX_SIZE, MUTED, "end") for r in range(rows)
    ]
    return [*above, *(beside if rows > 1 else [])]


def _look(role: Role, padding: bool, hole: bool, faded: bool) -> Role:
    if padding:
        return Role(PAPER, RULE, "hatch")
    if hole:
        return Role(PAPER, RULE)
    return Role(FADED, RULE) if faded else role


def _common_size(values: Sequence[Sequence[str]], cell: int) -> float:
    # One size for the whole grid as long as its longest number allows; a longer one shrinks alone.
    longest = max(len(text) for row in values for text in row)
    return max(min(_NUMBER * cell, _fitting(longest, cell)), _SMALL * cell)


def _fitting(length: int, cell: int) -> float:
    return (1 - 2 * _MARGIN) * cell / (max(length, 1) * ADVANCE)


def _number(box: Rect, text: str, common: float, ink: str, plate: str | None) -> list[Item]:
    if not text:
        return []
    size = min(common, _fitting(len(text), int(box.w)))
    middle, centre, tall = box.x + box.w / 2, box.y + box.h / 2, CAP_HEIGHT * size
    number = Text(middle, centre + tall / 2, text, size, ink, "middle")
    if plate is None:
        return [number]
    # A plate in the colour of the cell keeps the texture away from the digits.
    w, h = min(text_width(text, size) + 4, box.w - 4), tall + 8
    return [Rect(middle - w / 2, centre - h / 2, w, h, plate, radius=4), number]


def _cross(box: Rect) -> list[Item]:
    near, far = 0.26 * box.w, 0.74 * box.w
    return [
        Line(box.x + near, box.y + near, box.x + far, box.y + far, MUTED, 1.25, dash=True),
        Line(box.x + far, box.y + near, box.x + near, box.y + far, MUTED, 1.25, dash=True),
    ]


def _outline(box: Rect, focus: bool) -> list[Item]:
    if focus:
        return [Rect(box.x, box.y, box.w, box.h, stroke=FOCUS.edge, stroke_width=3)]
    # From the cell's own edge inwards: neighbours share that edge, and the line falls on whole pixels.
    return [Rect(box.x + 0.5, box.y + 0.5, box.w - 1, box.h - 1, stroke=MARKED.edge, stroke_width=2)]
