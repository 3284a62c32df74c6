"""What figures are laid out with: boxes in rows and columns, sheets of cells, wrapped formulas.

A `Box` knows its size and draws itself anywhere. A `Sheet` is an array with what is special about its cells; it becomes
one grid, or a row of depth slices. Of a large array only the part round the focus is drawn, and a note says which part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from twofold.explain.glyphs import text_width
from twofold.explain.grid import RoleName, cell_box, grid, grid_size
from twofold.explain.scene import INK, MUTED, Item, Line, Rect, Text
from twofold.explain.texts import say

__all__ = [
    "Box",
    "Sheet",
    "State",
    "beside",
    "formula_box",
    "most_cells",
    "sheet_box",
    "shifted",
    "stacked",
    "text_box",
    "windows_of",
    "wrapped",
]

# Cells that are drawn along each axis: of a single row, of rows and columns, and with more axes of slices too.
_ROW, _MATRIX, _SLICES = (20,), (12, 12), (4, 7, 7)
_PAGE = 1700  # px; the most for a row of boxes that may stand below one another: four slices of 7 cells and a kernel
_NOTE = 11.0  # text size of the note under a sheet
_LINE = 21.0  # px from formula line to formula line
_SIZE = 14.0  # text size of formulas

Place = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """Something with a size that can draw itself with its top left corner at (x, y)."""

    width: float
    height: float
    draw: Callable[[float, float], list[Item]]


@dataclass(frozen=True, slots=True)
class State:
    """One cell of a sheet: its text and what is special about it."""

    text: str
    focus: bool = False
    marked: bool = False
    padding: bool = False
    hole: bool = False
    faded: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """An array of any rank in a picture.

    first, stop  corners in its own coordinates, which may begin below 0
    around       the cells that must be seen if not all can be
    cell         what to draw at a place; asked only for what is seen
    frame        corners of a dashed frame, such as what is left after a crop      labels  row and column indices
    """

    caption: str
    role: RoleName
    first: Place
    stop: Place
    cell: Callable[[Place], State]
    around: Sequence[Place] = ()
    frame: tuple[Place, Place] | None = None
    labels: bool = True


# -- boxes -------------------------------------------------------------------------------------------------------------


def beside(boxes: Sequence[Box], gap: float = 40) -> Box:
    """Set boxes side by side, their tops aligned."""

    def draw(x: float, y: float) -> list[Item]:
        items: list[Item] = []
        for box in boxes:
            items += box.draw(x, y)
            x += box.width + gap
        return items

    width = sum(box.width for box in boxes) + gap * max(len(boxes) - 1, 0)
    return Box(width, max((box.height for box in boxes), default=0), draw)


def wrapped(boxes: Sequence[Box], gap: float = 40) -> Box:
    """Set boxes side by side, and below one another where the row would be wider than a page."""
    rows: list[list[Box]] = [[]]
    width = 0.0
    for box in boxes:
        if rows[-1] and width + box.width > _PAGE:
            rows.append([])
            width = 0.0
        rows[-1].append(box)
        width += box.width + gap
    return stacked([beside(row, gap) for row in rows], 16)


def stacked(boxes: Sequence[Box], gap: float = 20) -> Box:
    """Set boxes below one another, their left sides aligned."""

    def draw(x: float, y: float) -> list[Item]:
        items: list[Item] = []
        for box in boxes:
            items += box.draw(x, y)
            y += box.height + gap
        return items

    height = sum(box.height for box in boxes) + gap * max(len(boxes) - 1, 0)
    return Box(max((box.width for box in boxes), default=0), height, draw)


def text_box(text: str, size: float = 14, *, bold: bool = False, fill: str = INK, width: float = 0) -> Box:
    """Set one line of text; it stands in the middle of `width` if that is given."""

    def draw(x: float, y: float) -> list[Item]:
        weight = "bold" if bold else "regular"
        if width:
            return [Text(x + width / 2, y + size, text, size, fill, "middle", weight)]  # type: ignore[arg-type]
        return [Text(x, y + size, text, size, fill, "start", weight)]  # type: ignore[arg-type]

    return Box(width or text_width(text, size), size * 1.3, draw)


def shifted(box: Box, distance: float) -> Box:
    """Move a box to the right."""
    return Box(box.width + distance, box.height, lambda x, y: box.draw(x + distance, y))


def formula_box(label: str, lines: Sequence[str], width: float) -> Box:
    """Set formulas after a label, or below it where they are long; broken before an equals sign, then before a term."""
    indent, down = text_width(label + "  ", _SIZE) if label else 0.0, 0.0
    if label and any(text_width(line, _SIZE) > width - indent for line in lines):
        indent, down = 0.0, _LINE
    room = max(int((width - indent) / text_width("0", _SIZE)), 24)
    broken = [part for line in lines for part in _broken(line, room)]

    def draw(x: float, y: float) -> list[Item]:
        items: list[Item] = [Text(x, y + _SIZE, label, _SIZE, INK, "start", "bold")] if label else []
        return items + [Text(x + indent, y + down + _SIZE + i * _LINE, line, _SIZE) for i, line in enumerate(broken)]

    widest = max((text_width(line, _SIZE) for line in broken), default=0)
    return Box(indent + widest, _LINE * max(len(broken), 1) + down, draw)


def _broken(formula: str, room: int) -> list[str]:
    if len(formula) <= room:
        return [formula]
    if formula.startswith("channel "):  # the channels' sums: break between channels only
        return _filled([part.replace(" ", "\0") for part in formula.replace(", ", ",\n").split("\n")], room)
    sides = formula.split(" = ")
    lines: list[str] = []
    for i, side in enumerate(sides):
        text = ("= " if i else "") + side
        if lines and " " not in side and i == len(sides) - 1 and len(lines[-1]) + len(text) < room:
            lines[-1] += " " + text
            continue
        lines += _filled(text.replace("... ", "...\0").replace(" more ", "\0more\0").split(" "), room)
    return lines


def _filled(tokens: Sequence[str], room: int) -> list[str]:
    # Tokens into lines; an operator stays with what follows it.
    lines, line = [], ""
    for token in (t.replace("\0", " ") for t in _with_operators(tokens)):
        if line and len(line) + 1 + len(token) > room:
            lines.append(line)
            line = "  "
        line = f"{line}{'' if line in ('', '  ') else ' '}{token}"
    return [*lines, line]


def _with_operators(tokens: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for token in tokens:
        if joined and joined[-1] in ("+", "="):
            joined[-1] += " " + token
        else:
            joined.append(token)
    return joined


# -- sheets ------------------------------------------------------------------------------------------------------------


def sheet_box(sheet: Sheet, cell: int) -> Box:
    """Draw a sheet as one grid, or as a row of slices if it has more than two axes."""
    windows = windows_of(sheet)
    if not all(windows):
        return stacked([text_box(sheet.caption), text_box(say("figure.empty"), _NOTE, fill=MUTED)], 4)
    *deep, across = windows
    down = deep.pop() if deep else range(1)
    boxes = []
    for place in product(*deep):
        caption = f"depth {','.join(map(str, place))}" if place else sheet.caption
        boxes.append(_slice_box(sheet, place, down, across, cell, caption))
    note = _note(sheet, windows)
    parts = [text_box(sheet.caption)] if deep else []
    parts += [wrapped(boxes, 18), *([text_box(note, _NOTE, fill=MUTED)] if note else [])]
    return stacked(parts, 4)


def windows_of(sheet: Sheet) -> list[range]:
    """Return the part of each axis that is drawn."""
    found = []
    for axis, (first, stop) in enumerate(zip(sheet.first, sheet.stop, strict=True)):
        around = [place[axis] for place in sheet.around]
        found.append(_window(first, stop, around, most_cells(len(sheet.first))[axis]))
    return found


def most_cells(rank: int) -> tuple[int, ...]:
    """Cells that are drawn along each axis of an array of this rank.

    >>> most_cells(1), most_cells(2), most_cells(4), most_cells(6)
    ((20,), (12, 12), (4, 4, 7, 7), (1, 1, 4, 4, 7, 7))
    """
    if rank <= 2:
        return (_ROW, _MATRIX)[rank - 1]
    return (1,) * (rank - 4) + _SLICES[:1] * min(rank - 2, 2) + _SLICES[1:]


def _slice_box(sheet: Sheet, place: Place, down: range, across: range, cell: int, title: str) -> Box:
    flat = len(sheet.first) == 1
    states = {
        (r, c): sheet.cell((column,) if flat else (*place, row, column))
        for r, row in enumerate(down)
        for c, column in enumerate(across)
    }
    texts = [[states[r, c].text for c in range(len(across))] for r in range(len(down))]
    corner = (down.start, across.start)
    # The row indices may be of one digit here and of three in the next frame; the cells must not move.
    last = 0 if flat else max(sheet.stop[-2] - len(down), sheet.first[-2], key=lambda i: len(str(i)))
    width, reserved = (
        grid_size(len(down), len(across), cell=cell, labels=sheet.labels, first=(first, 0))[0]
        for first in (down.start, last)
    )
    shift = max(reserved - width, 0)
    width, height = grid_size(len(down), len(across), cell=cell, caption=title, labels=sheet.labels, first=corner)

    def draw(x: float, y: float) -> list[Item]:
        items = grid(
            texts,
            x=x + shift,
            y=y,
            cell=cell,
            role=sheet.role,
            caption=title,
            focus={at for at, state in states.items() if state.focus},
            marked={at for at, state in states.items() if state.marked},
            padding={at for at, state in states.items() if state.padding},
            holes={at for at, state in states.items() if state.hole},
            faded={at for at, state in states.items() if state.faded},
            labels=sheet.labels,
            first=corner,
        )
        return items + _frame(sheet, down, across, cell, title, x + shift, y)

    return Box(width + shift, height, draw)


def _frame(sheet: Sheet, down: range, across: range, cell: int, title: str, x: float, y: float) -> list[Item]:
    # A dashed frame, as far as it lies in the part that is drawn.
    if sheet.frame is None:
        return []
    first, stop = sheet.frame
    rows = (down.start, down.stop) if len(first) == 1 else (first[-2], stop[-2])
    top, bottom = max(rows[0], down.start), min(rows[1], down.stop)
    left, right = max(first[-1], across.start), min(stop[-1], across.stop)
    if top >= bottom or left >= right:
        return []

    def box(row: int, column: int) -> Rect:
        at = row - down.start, column - across.start
        corner = (down.start, across.start)
        return cell_box(*at, rows=len(down), x=x, y=y, cell=cell, caption=title, labels=sheet.labels, first=corner)

    start, end = box(top, left), box(bottom - 1, right - 1)
    x0, y0, x1, y1 = start.x, start.y, end.x + end.w, end.y + end.h
    sides = [
        (top == rows[0], (x0, y0, x1, y0)), (bottom == rows[1], (x0, y1, x1, y1)),
        (left == first[-1], (x0, y0, x0, y1)), (right == stop[-1], (x1, y0, x1, y1)),
    ]  # fmt: skip
    return [Line(*ends, stroke=INK, width=2, dash=True) for seen, ends in sides if seen]


def _window(first: int, stop: int, around: Sequence[int], most: int) -> range:
    if stop - first <= most:
        return range(first, stop)
    # Page by page, not centred on the focus: from step to step the picture stays where it is as long as it can.
    low, high = (min(around), max(around)) if around else (first, first)
    page = max(most - (high - low), 1)
    start = min(first + (low - first) // page * page, stop - most)
    return range(max(start, first), max(start, first) + most)


def _note(sheet: Sheet, windows: Sequence[range]) -> str:
    names = ("slices", "rows", "columns")[-len(windows) :] if len(windows) <= 3 else ("axis",) * len(windows)
    parts = [
        say("figure.part", name=say(f"figure.{name}"), first=window.start, last=window.stop - 1)
        for name, window, first, stop in zip(names, windows, sheet.first, sheet.stop, strict=True)
        if len(window) < stop - first
    ]
    return say("figure.only", parts=", ".join(parts)) if parts else ""
