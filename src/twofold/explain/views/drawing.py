"""The views as pictures: what `description` says, as grids, with the step's cells marked.

The two operations have figures of their own (`figure`); here are all others.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from twofold.analysis.chain import Chain, reaches, sees
from twofold.analysis.phases import parts
from twofold.analysis.taps import LIMIT, count
from twofold.errors import GeometryError
from twofold.explain.description import CELLS, Description, Table, axis_text
from twofold.explain.figure import FRAMES, dot_box
from twofold.explain.glyphs import text_width
from twofold.explain.grid import INDEX_SIZE, Cell, Names, RoleName, grid, grid_size
from twofold.explain.legend import NAMES, with_legend
from twofold.explain.numbers import number
from twofold.explain.panels import Box, beside, formula_box, stacked, text_box
from twofold.explain.relatives import adjoint, stretched
from twofold.explain.scene import FOCUS, INK, MUTED, RULE, Item, Pixmap, Rect, Scene
from twofold.explain.texts import say
from twofold.explain.views import derived, description, player
from twofold.explain.views.field import middle, set_text
from twofold.explain.views.listing import focus_name

if TYPE_CHECKING:
    from twofold.explain.arithmetic import Array
    from twofold.explain.trace import Trace

__all__ = ["COUNTS", "PHASES", "frames", "view_scene"]

_MARGIN, _NARROW, _WIDE = 20, 560, 1200
_NOTE, _SIZE = 12.0, 14.0
_RED = "#f8c9c0"
_BLUE, _ORANGE = np.array([0, 90, 160]), np.array([214, 110, 0])  # the ends of the scale of signed maps
_PIXELS = 256  # px of a map, and its cells at most
_TABLES = 24  # grids of one picture

# Light to dark, as viridis has it from its yellow end: a count is also printed.
COUNTS = ("#fcfbe8", "#e8e496", "#aadb6e", "#63c97c", "#2fa087", "#2a788e", "#3b528b", "#46327e", "#440154")
# A tint per phase, and per weight of a matrix: Okabe and Ito's colours made light enough for ink.
PHASES = ("#d9edf9", "#fdebc8", "#d3efe5", "#f6d9e8", "#fbf6c0", "#dcdcf2", "#fadcc9", "#e4e4e4")


def view_scene(
    trace: Trace, view: str, tab: str | None = None, step: int | None = None, chain: Chain | None = None
) -> Scene:
    """Draw a view, perhaps at one of its steps.

    >>> from twofold import explain
    >>> view_scene(explain.problem("conv_transpose i4 k3 s2"), "overlap").description
    'uneven: 3 is not a multiple of 2; interior ratio 2 : 1 in 1-D. Try k=2 or 4'
    """
    chain = chain or trace.chain or Chain((trace.problem,))
    found = description(trace, view, tab, step, chain)
    draw = {
        "matrix": _matrix, "phases": _phases, "overlap": _overlap, "sizes": _sizes, "gradient": _gradient,
        "image": _images, "transposed": _zeros, "filter": _zeros,
    }  # fmt: skip
    boxes = _field(trace, found, chain) if view == "field" else draw[view](trace, found)
    return _framed(trace, found, boxes, chain)


def frames(
    trace: Trace, view: str, tab: str | None = None, steps: Sequence[int] | None = None, chain: Chain | None = None
) -> list[Scene]:
    """Draw the steps of a view in pictures of one size; one picture if nothing steps."""
    number = description(trace, view, tab, None, chain).steps
    chosen = range(min(number, FRAMES)) if steps is None else steps
    scenes = [view_scene(trace, view, tab, step, chain) for step in chosen] or [
        view_scene(trace, view, tab, None, chain)
    ]
    names = {"phases": ("weight", "output"), "matrix": ("input", "output", "focus", "marked"),
             "field": ("input", "output", "focus", "marked")}  # fmt: skip
    return with_legend(scenes, names.get(view, NAMES))


# -- the frame ---------------------------------------------------------------------------------------------------------


def _framed(trace: Trace, found: Description, boxes: Sequence[Box], chain: Chain) -> Scene:
    stack = len(chain.layers) > 1 and found.view in ("field", "overlap")
    name = "; ".join(map(str, chain.layers)) if stack else str(trace.problem)
    body = stacked([box for box in boxes if box.width], 18)
    width = min(max(body.width, _NARROW), _WIDE)
    step = "" if found.step is None or found.view == "field" else f", step {found.step + 1} of {found.steps}"
    head = [*_lines(name, width, 15, bold=True), text_box(found.title + step, 14, fill=MUTED)]
    parts_ = [stacked(head, 4), body]
    if found.formula:
        parts_.append(formula_box(_label(trace, found), found.formula.split("\n"), width))
    notes = [line for text in found.why if text != found.formula for line in _lines(text, width, _NOTE)]
    whole = stacked([*parts_, stacked(notes, 3)], 18)
    size = math.ceil(max(whole.width, _NARROW) + 2 * _MARGIN), math.ceil(whole.height + 2 * _MARGIN)
    spoken = found.aria or found.formula or (found.why[0] if found.why else found.title)
    return Scene(*size, f"{found.title}: {name}", spoken, whole.draw(_MARGIN, _MARGIN))


def _label(trace: Trace, found: Description) -> str:
    if found.step is None or found.view in ("field", "phases"):
        return ""
    plane, place = focus_name(trace, found, player(trace, found.view, found.tab)[found.step])
    return f"{plane} {place}:"


def _lines(text: str, width: float, size: float, *, bold: bool = False) -> list[Box]:
    room = max(int(width / text_width("0", size)), 30)
    lines = textwrap.wrap(text, room, subsequent_indent="  ") or [""]
    return [text_box(line, size, bold=bold, fill="#1a1d21" if bold else MUTED) for line in lines]


def _flow(boxes: Sequence[Box], gap: float = 32) -> Box:
    # Side by side, and below one another where the row would be wider than the picture.
    rows: list[list[Box]] = [[]]
    for box in boxes:
        if rows[-1] and sum(b.width + gap for b in rows[-1]) + box.width > _WIDE:
            rows.append([])
        rows[-1].append(box)
    return stacked([beside(row, gap) for row in rows if row], 16)


# -- one table ---------------------------------------------------------------------------------------------------------


def _board(
    table: Table,
    role: RoleName = "plain",
    *,
    focus: Collection[Cell] = (),
    marked: Collection[Cell] = (),
    faded: bool = False,
    shades: Mapping[Cell, str] | None = None,
    caption: str | None = None,
    cell: int | None = None,
    text: Callable[[str, str], str] | None = None,
    holes: bool = False,
    names: Names | None = None,
) -> Box:
    # A table as a grid. `text` rewrites a cell's text by its flag; `holes` draws what nothing reaches as such.
    # `names` stand instead of indices where they are no wider than a cell.
    flags = table.flags or tuple("." * len(row) for row in table.rows)
    at = [(r, c) for r, row in enumerate(flags) for c in range(len(row))]
    write = text or (lambda value, flag: "" if flag == "o" and holes else value)
    values = [[write(v, f) for v, f in zip(*pair, strict=True)] for pair in zip(table.rows, flags, strict=True)]
    size = cell or _cell_size(values)
    name = table.caption if caption is None else caption
    if names and max(text_width(text, INDEX_SIZE) for text in names[1]) > size - 2:
        names = None
    labels = len(values) > 1 or len(values[0]) > 1 or names is not None
    kinds = {letter: {(r, c) for r, c in at if flags[r][c] in letter} for letter in ("pzn", "xo")}
    seen = kinds["xo"] if not holes else {(r, c) for r, c in at if flags[r][c] == "x"}
    gone = kinds["xo"] - seen

    def draw(x: float, y: float) -> list[Item]:
        return grid(
            values, x=x, y=y, cell=size, role=role, caption=name, focus=focus, marked=marked, padding=kinds["pzn"],
            holes=gone, faded=set(at) if faded else seen, shades=shades, labels=labels, names=names,
        )  # fmt: skip

    return Box(*grid_size(len(values), len(values[0]), cell=size, caption=name, labels=labels, names=names), draw)


def _cell_size(values: Sequence[Sequence[str]]) -> int:
    longest = max((len(text) for row in values for text in row), default=1)
    columns = len(values[0])
    least, most = (40, 76) if columns <= 7 else (32, 52) if columns <= 14 else (22, 44)
    return min(max(least, math.ceil(longest * 7.2)), most, max(_WIDE // max(columns, 1), 18))


def _shaded(table: Table) -> dict[Cell, str]:
    # The greater the count, the darker; zero stays white.
    numbers = {(r, c): _value(text) for r, row in enumerate(table.rows) for c, text in enumerate(row)}
    high = max((abs(n) for n in numbers.values() if math.isfinite(n)), default=0) or 1
    last = len(COUNTS) - 1
    return {at: COUNTS[min(round(abs(n) / high * last), last)] for at, n in numbers.items() if n and math.isfinite(n)}


def _value(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # a complex number
        return math.nan


def _images(trace: Trace, found: Description) -> list[Box]:
    # The picture, and what each kernel makes of it; each kernel below its map. The kernels of the bank share a scale
    # with 0 in the middle, and the user's own has one of its own: whatever its numbers are, all maps can be seen.
    if trace.problem.rank != 2 or 0 in trace.in_shape or trace.x.dtype.kind == "c":
        return [_flow([_board(entry) for entry in found.tables[:_TABLES]])]
    picture = trace.x.reshape(trace.in_shape)[0, 0].astype(np.float64)
    maps = [derived.filtered(trace, entry.name.removeprefix("bank-")) for entry in found.tables]
    mosts = [float(np.abs(m[np.isfinite(m)]).max(initial=0)) for m in maps]
    own = [entry.name == "bank-own" for entry in found.tables]
    high = max((most for most, mine in zip(mosts, own, strict=True) if not mine), default=0.0) or 1.0
    highs = [(most if mine else high) or 1.0 for most, mine in zip(mosts, own, strict=True)]
    boxes = [stacked([text_box(say("image.input")), _map_box(_greys(picture))], 4)]
    for entry, values, most in zip(found.tables, maps, highs, strict=True):
        boxes.append(
            stacked([text_box(entry.caption), _map_box(_diverging(values / most)), _board(entry, caption="")], 4)
        )
    notes = [say("image.scale", low=number(-high), high=number(high))]
    notes += [say("image.scale.own", low=number(-most), high=number(most)) for most in highs[len(own) - sum(own) :]]
    return [_flow(boxes), stacked([text_box(note, _NOTE, fill=MUTED) for note in notes], 3)]


def _map_box(colours: Array) -> Box:
    every = -(-max(colours.shape[:2]) // _PIXELS)  # of a large picture some cells stand for their neighbours
    colours = colours[::every, ::every]
    rows, columns, _ = colours.shape
    side = min(_PIXELS / max(rows, columns), 16)
    data = np.ascontiguousarray(colours).tobytes()

    def draw(x: float, y: float) -> list[Item]:
        frame = Rect(x, y, columns * side, rows * side, stroke=RULE)
        return [Pixmap(x, y, columns * side, rows * side, columns, data), frame]

    return Box(columns * side, rows * side, draw)


def _greys(values: Array) -> Array:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    grey = np.nan_to_num((values - low) / (high - low or 1.0), nan=0.0, posinf=1.0, neginf=0.0)
    return np.repeat((np.clip(grey, 0, 1) * 255 + 0.5).astype(np.uint8)[:, :, None], 3, axis=2)


def _diverging(values: Array) -> Array:
    # -1 is blue, 0 white, 1 orange; nan is grey.
    share = np.clip(np.nan_to_num(np.abs(values), nan=0.0, posinf=1.0), 0, 1)[:, :, None]
    ends = np.where((values < 0)[:, :, None], _BLUE, _ORANGE)
    mixed = 255 + (ends - 255) * share
    return np.where(np.isnan(values)[:, :, None], 128, mixed + 0.5).astype(np.uint8)


def _listed(table: Table) -> Box:
    # A table of words: columns one under another.
    widths = [max(len(row[i]) for row in table.rows) for i in range(len(table.rows[0]))]
    lines = ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)) for row in table.rows]
    head = text_box(table.caption, _SIZE, bold=True)
    return stacked([head, *(text_box(line.rstrip(), 13) for line in lines)], 4)


# -- inserted zeros ----------------------------------------------------------------------------------------------------


def _zeros(trace: Trace, found: Description) -> list[Box]:
    if found.tab != "zero-insert":
        raise GeometryError("paint, gather and filter are drawn by figure.step_scene", repair="trace.scene(step)")
    turned = stretched(trace)
    if found.step is not None:
        return [dot_box(turned, turned.steps[found.step])]
    roles: dict[str, RoleName] = {"stretched": "input", "turned": "weight", "zero-insert": "output"}
    boxes = []
    for name in (*roles, "unturned"):
        tables = [entry for entry in found.tables if entry.name == name or entry.name.startswith(f"{name}-")]
        boxes.append(_flow([_wrong(entry, found) if name == "unturned" else _board(entry, roles[name])
                            for entry in tables[:4]]))  # fmt: skip
    return [_flow(boxes)]


def _wrong(table: Table, found: Description) -> Box:
    # What sliding the weight without the turn gives: red where it is not what it should be.
    right = found[table.name.replace("unturned", "zero-insert")].rows
    shades = {(r, c): _RED for r, row in enumerate(table.rows) for c, text in enumerate(row) if text != right[r][c]}
    verdict = say("zero.unequal")
    return _board(table, shades=shades, caption=f"{table.caption}: {verdict}" if shades else None)


# -- the matrix --------------------------------------------------------------------------------------------------------


def _matrix(trace: Trace, found: Description) -> list[Box]:
    names = {entry.name: entry for entry in found.tables}
    if "matrix" not in names:
        return [_dots(trace, found)] if 0 < count(trace.problem) <= LIMIT else []
    table = names["matrix"]
    rows, columns = len(table.rows), len(table.rows[0])
    cell = 40 if max(rows, columns) <= 12 else 30 if max(rows, columns) <= 25 else 24
    values = sorted({text for row, flags in zip(table.rows, table.flags or (), strict=False)
                     for text, flag in zip(row, flags, strict=True) if flag == "."})  # fmt: skip
    colour = {text: PHASES[i % len(PHASES)] for i, text in enumerate(values)}
    flags = table.flags or tuple("." * columns for _ in range(rows))
    shades = {(r, c): colour[table.rows[r][c]] for r in range(rows) for c in range(columns)
              if flags[r][c] == "." and table.rows[r][c] in colour}  # fmt: skip
    marked = set() if found.step is None else {(found.step, c) for c in range(columns) if flags[found.step][c] == "."}
    for at in marked:
        shades.pop(at, None)
    sides = names["rows"].rows[0], names["columns"].rows[0]
    board = _board(table, marked=marked, shades=shades, cell=cell, caption=found.why[0].split(":")[0], names=sides,
                   text=lambda value, flag: "·" if flag == "o" else value)  # fmt: skip
    shown = adjoint(trace) if found.tab == "transpose" else trace
    if shown.withheld or columns > 25 or not shown.x.size:
        return [board]
    x = Table("x", "x", tuple((text,) for text in _numbers(shown.x, columns)))
    y = Table("y", "y", tuple((text,) for text in _numbers(shown.y, rows)))
    focus = set() if found.step is None else {(found.step, 0)}
    used = {(c, 0) for _, c in marked}
    left = _board(x, "input", marked=used, cell=cell, names=(sides[1], ("",)))
    right = _board(y, "output", focus=focus, cell=cell, names=(sides[0], ("",)))
    return [beside([board, left, right])]


def _numbers(array: Array, most: int) -> list[str]:
    return [number(value) for value in array.ravel().tolist()[:most]]


def _dots(trace: Trace, found: Description) -> Box:
    # A matrix too large for numbers: its first rows and columns, a dot where a weight stands.
    from twofold.analysis.matrix import matrix

    whole = matrix(trace.problem)
    whole = whole.transposed if found.tab == "transpose" else whole
    side = (min(whole.shape[0], 3 * CELLS), min(whole.shape[1], 3 * CELLS))
    here = (whole.rows < side[0]) & (whole.columns < side[1])
    cells = set(zip(whole.rows[here].tolist(), whole.columns[here].tolist(), strict=True))
    row = -1 if found.step is None else found.step
    size = 8

    def draw(x: float, y: float) -> list[Item]:
        frame = Rect(x, y, side[1] * size, side[0] * size, "#ffffff", MUTED)
        return [frame, *(Rect(x + c * size, y + r * size, size, size, FOCUS.fill if r == row else INK)
                         for r, c in sorted(cells))]  # fmt: skip

    note = say("matrix.part", rows=side[0], columns=side[1])
    return stacked([Box(side[1] * size, side[0] * size, draw), text_box(note, _NOTE, fill=MUTED)], 4)


# -- phases ------------------------------------------------------------------------------------------------------------


def _phases(trace: Trace, found: Description) -> list[Box]:
    problem = trace.problem
    known = list(parts(problem))
    names = {entry.name: entry for entry in found.tables}
    strides = [axis.stride for axis in problem.geometry.axes]
    boxes = []
    side: RoleName = "output" if problem.op == "conv_transpose" else "input"
    for index in range(min(len(known), derived.SHOWN_PHASES)):
        colour = PHASES[index % len(PHASES)]
        quiet = found.step not in (None, index)
        shown = [entry for name, entry in names.items() if name in _first_of(index)]
        kernels = [entry for entry in shown if entry.name.startswith("kernel")]
        name = derived.phase_name(trace, known[index])
        column = [] if kernels else [text_box(say("phases.hole", phase=name), _NOTE, fill=MUTED)]
        for entry in shown:
            shades = {} if quiet else {(r, c): colour for r, row in enumerate(entry.rows) for c in range(len(row))}
            role: RoleName = "weight" if entry in kernels else side
            column.append(_board(entry, role, faded=quiet, shades=shades))
        boxes.append(column)
    height = max((column[0].height for column in boxes), default=0)  # the outputs stand in one line
    columns = [stacked([replace(column[0], height=height), *column[1:]], 10) for column in boxes]
    whole = _interleaved(trace, found, known, strides)
    several = any(name.count("-") > 1 and not name.endswith("-0") for name in names)
    notes = [text_box(say("phases.first"), _NOTE, fill=MUTED)] if several else []
    return [_flow(columns), *notes, *([whole] if whole else [])]


def _first_of(index: int) -> set[str]:
    return {f"kernel-{index}", f"phase-{index}", f"kernel-{index}-0", f"phase-{index}-0"}


def _interleaved(trace: Trace, found: Description, known: Sequence[object], strides: Sequence[int]) -> Box | None:
    # The whole fine side with its phases in their colours.
    problem = trace.problem
    if problem.rank > 2 or max(problem.fine_size) > CELLS or len(known) == 1:
        return None
    transposed = problem.op == "conv_transpose"
    if transposed and trace.withheld:
        return None
    array = trace.y.reshape(problem.result_shape) if transposed else trace.x.reshape(trace.in_shape)
    plane = array[0, 0].reshape(1, -1) if problem.rank == 1 else array[0, 0]
    steps = ([1] if problem.rank == 1 else []) + list(strides)
    shades = {}
    for r, c in np.ndindex(*plane.shape):
        index = (r % steps[0]) * steps[1] + c % steps[1]
        if found.step in (None, index):
            shades[r, c] = PHASES[index % len(PHASES)]
    from twofold.explain.description import table

    name = say("phases.whole" if transposed else "phases.whole.input")
    return _board(
        table("whole", name, plane), "output" if transposed else "input", faded=found.step is not None, shades=shades
    )


# -- overlap and sizes -------------------------------------------------------------------------------------------------


def _overlap(trace: Trace, found: Description) -> list[Box]:
    boxes = [_board(entry, shades=_shaded(entry), holes=True) for entry in found.tables[:_TABLES]]
    return [_flow(boxes)]


def _sizes(trace: Trace, found: Description) -> list[Box]:
    code = [
        stacked([text_box(name, _SIZE, bold=True), *(text_box(part, 12) for line in text.split("\n")
                for part in textwrap.wrap(line, 150, subsequent_indent="    "))], 3)
        for name, text in (found.code or {}).items()
    ]  # fmt: skip
    return [_flow([_listed(entry) for entry in found.tables]), *code]


# -- fields ------------------------------------------------------------------------------------------------------------


def _field(trace: Trace, found: Description, chain: Chain) -> list[Box]:
    receptive = found.tab == "receptive"
    size = chain.layers[-1].out_size if receptive else chain.layers[0].in_size
    cell = middle(size) if found.step is None else tuple(int(i) for i in np.unravel_index(found.step, size))
    walk = sees if receptive else reaches
    levels = [walk(chain, axis, [at]) for axis, at in enumerate(cell)]
    sizes = [chain.layers[0].in_size, *(layer.out_size for layer in chain.layers)]
    across = [min(shape[-1], CELLS) for shape in sizes]
    cell_ = min(max(int((_WIDE - 100) / (max(across) if chain.rank == 1 else sum(across))), 12), 28)
    boxes = []
    for index, shape in enumerate(sizes):
        sets = [axis[index] for axis in levels]
        deep = [f"{axis_text(axis, chain.rank)} {set_text(cells)}" for axis, cells in enumerate(sets[:-2])]
        name = ", ".join([found["levels"].rows[index][0], *deep])
        boxes.append(_level(name, shape, sets, "input" if index == 0 else "output", cell_))
    return boxes if chain.rank == 1 else [_flow(boxes)]


def _level(name: str, shape: Sequence[int], sets: Sequence[tuple[int, ...]], role: RoleName, cell: int) -> Box:
    # The last two axes, cut to what is near the set; one axis is a row.
    (rows, across), (down, along) = ((1, *shape), ((0,), *sets)) if len(shape) == 1 else (shape[-2:], sets[-2:])
    first, stop = zip(_near(rows, down), _near(across, along), strict=True)
    height, width = stop[0] - first[0], stop[1] - first[1]
    labels = cell >= 16
    values = [[""] * width for _ in range(height)]
    marked = {(r - first[0], c - first[1]) for r in down for c in along}
    one = len(marked) == 1

    def draw(x: float, y: float) -> list[Item]:
        return grid(values, x=x, y=y, cell=cell, role=role, caption=name, first=first, labels=labels,
                    focus=marked if one else (), marked=() if one else marked)  # fmt: skip

    return Box(*grid_size(height, width, cell=cell, caption=name, labels=labels, first=first), draw)


def _near(size: int, cells: tuple[int, ...]) -> tuple[int, int]:
    if size <= CELLS:
        return 0, max(size, 1)
    centre = (cells[0] + cells[-1]) // 2 if cells else 0
    start = min(max(centre - CELLS // 2, 0), size - CELLS)
    return start, start + CELLS


# -- gradients ---------------------------------------------------------------------------------------------------------


def _gradient(trace: Trace, found: Description) -> list[Box]:
    if found.tab == "input" and found.step is not None:
        other = adjoint(trace, np.ones(trace.problem.result_shape, dtype=np.int64))
        return [dot_box(other, other.gathered[found.step], (say("gradient.dy"), say("gradient.caption.input")))]
    tables = list(found.tables[:_TABLES])
    if found.step is None or not tables:
        return [_flow([_board(entry, "output") for entry in tables])]
    step = derived.gradient_steps(trace, found.tab)[found.step]
    return [_flow([*_read(trace, step.reads), *_focused(tables, step.focus.cells[0], trace)])]


def _read(trace: Trace, reads: Sequence[object]) -> list[Box]:
    from twofold.explain.description import planes

    boxes = []
    sides = (("input", "input", trace.x.reshape(trace.in_shape)),
             (say("gradient.dy"), "output", np.ones(trace.problem.result_shape, dtype=np.int64)))  # fmt: skip
    for (name, role, array), cells in zip(sides, reads, strict=True):
        shown, _ = planes(name, name, array)
        lead = array.shape[: max(2, array.ndim - 2)]
        for index, place in enumerate(np.ndindex(*lead)):
            if index < len(shown):
                here = [c for c in cells.cells if c[: len(place)] == place]  # type: ignore[attr-defined]
                marked = {(c[-2], c[-1]) if array.ndim > 3 else (0, c[-1]) for c in here}
                boxes.append(_board(shown[index], role, marked=marked))  # type: ignore[arg-type]
    return boxes[:_TABLES]


def _focused(tables: Sequence[Table], cell: tuple[int, ...], trace: Trace) -> list[Box]:
    shape = trace.problem.weight_shape
    lead = shape[: max(2, len(shape) - 2)]
    boxes = []
    for table, place in zip(tables, np.ndindex(*lead), strict=False):
        here = cell[: len(place)] == place
        at = (cell[-2], cell[-1]) if len(shape) > 3 else (0, cell[-1])
        boxes.append(_board(table, "weight", focus={at} if here else ()))
    return boxes
