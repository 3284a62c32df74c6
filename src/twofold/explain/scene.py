"""A picture as data: rectangles, lines and texts on paper, with the colours of the house.

A `Scene` knows nothing of convolution and nothing of files; `svg` and `raster` draw the same one alike, because all
that needs a decision is decided here: where a texture's lines run, where a dash ends, where a letter stands. What is
left for them are filled boxes and strokes with round ends.

Units are pixels, x to the right and y down. Colours are `#rrggbb`. Later items cover earlier ones.

Colour never speaks alone: the weight has dots, padding a hatch and a printed 0, a hole a dashed x, the focus an
outline.
Role colours: M. Okabe and K. Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real  # NumPy's numbers are of this kind, not of int and float
from typing import Literal

from twofold.errors import GeometryError
from twofold.explain.glyphs import ADVANCE, Stroke, Weight, strokes, text_width

__all__ = [
    "FADED", "FOCUS", "INK", "INPUT", "MARKED", "MUTED", "OUTPUT", "PAPER", "PLAIN", "ROLES", "RULE", "WEIGHT",
    "Item", "Line", "Pixmap", "Rect", "Role", "Scene", "Text", "contrast", "glyph_places", "ink_on", "line_strokes",
    "texture",
]  # fmt: skip

Pattern = Literal["hatch", "dots"]
Anchor = Literal["start", "middle", "end"]

INK = "#1a1d21"
PAPER = "#ffffff"
MUTED = "#5c6470"  # indices and what is out of the way: still 4.5 : 1 on PAPER and on FADED
RULE = "#c3c9d1"  # thin lines that part things
FADED = "#f7f8f9"  # fill of a cell that plays no part in this step
OUTLINE = "#000000"


@dataclass(frozen=True, slots=True)
class Role:
    """How cells of one role look: a tint light enough for ink, the role's own colour at the edge, a texture."""

    fill: str
    edge: str
    pattern: Pattern | None = None


INPUT = Role("#d9edf9", "#56b4e9")
WEIGHT = Role("#eeeff1", "#8c939c", "dots")
OUTPUT = Role("#d3efe5", "#009e73")
PLAIN = Role("#ffffff", "#aab1ba")
FOCUS = Role("#f6c667", OUTLINE)  # drawn with an outline of 3 px
MARKED = Role("#fdebc8", "#e69f00")  # the focus orange in a lighter tint: the cells that the focus is made of
ROLES = {"input": INPUT, "weight": WEIGHT, "output": OUTPUT, "plain": PLAIN}

_HATCH_STEP = 8.0  # px between the lines of a hatch, measured along x
_DOT_STEP = 8.0
_DASH, _GAP = 5.0, 3.5
_ARROW = 4.0  # length of an arrow's head in widths of its line, plus 3 px
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Rect:
    """A box: filled, outlined (the line lies centred on the edge), or both; perhaps with a texture over the fill."""

    x: float
    y: float
    w: float
    h: float
    fill: str | None = None
    stroke: str | None = None
    stroke_width: float = 1.0
    pattern: Pattern | None = None
    radius: float = 0.0

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line with round ends; dashed, or with an arrow head at its end."""

    x0: float
    y0: float
    x1: float
    y1: float
    stroke: str = INK
    width: float = 1.0
    dash: bool = False
    arrow: bool = False

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text in our own letters; y is the baseline, and `size` 14 has capitals 10 px high."""

    x: float
    y: float
    text: str
    size: float = 14.0
    fill: str = INK
    anchor: Anchor = "start"
    weight: Weight = "regular"

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True)
class Pixmap:
    """An array as coloured squares without gaps or numbers: `data` holds red, green and blue of each, row by row."""

    x: float
    y: float
    w: float
    h: float
    columns: int
    data: bytes

    def __post_init__(self) -> None:
        _check(self)
        if self.columns < 1 or not self.data or len(self.data) % (3 * self.columns):
            rule = f"Pixmap: {len(self.data)} bytes are no rows of {self.columns} cells of 3 bytes"
            raise GeometryError(rule, repair=f"{3 * max(self.columns, 1)} bytes per row")

    @property
    def rows(self) -> int:
        """Cells from top to bottom."""
        return len(self.data) // (3 * self.columns)


Item = Rect | Line | Text | Pixmap


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture on paper. `title` and `description` are for those who cannot see it; any text is allowed there.

    >>> Scene(0, 10, "t", "d", ())
    Traceback (most recent call last):
    twofold.errors.GeometryError: Scene: width must be a finite number above 0, not 0
    """

    width: float
    height: float
    title: str
    description: str
    items: Sequence[Item] = ()

    def __post_init__(self) -> None:
        _check(self)
        object.__setattr__(self, "items", tuple(self.items))


def contrast(ink: str, ground: str) -> float:
    """The contrast of two colours, from 1 to 21; WCAG 2.2 asks 4.5 of text.

    >>> round(contrast("#000000", "#ffffff"), 1), round(contrast(INK, FOCUS.fill), 1)
    (21.0, 10.6)
    """
    darker, lighter = sorted((_luminance(ink), _luminance(ground)))
    return (lighter + 0.05) / (darker + 0.05)


@lru_cache(maxsize=256)
def ink_on(fill: str) -> str:
    """INK or PAPER, whichever is easier to read on this fill.

    >>> ink_on("#ffffff") == INK, ink_on("#333333") == PAPER
    (True, True)
    """
    return max((INK, PAPER), key=lambda ink: contrast(ink, fill))


def texture(rect: Rect) -> tuple[str, float, tuple[Stroke, ...]]:
    """Colour, pen and strokes of a rectangle's pattern.

    Both patterns lie on one lattice over the whole picture, so they run on from cell to cell without a seam.

    >>> texture(Rect(0, 0, 10, 10, pattern="dots"))[2]
    (((4.0, 4.0), (4.0, 4.0)),)
    """
    if rect.pattern == "hatch":
        return "#cfd4da", 1.0, _hatch(rect)
    return "#c2c7ce", 1.7, _dots(rect) if rect.pattern == "dots" else ()


def line_strokes(line: Line) -> tuple[Stroke, ...]:
    """The strokes of a line: its dashes, and its arrow head.

    >>> line_strokes(Line(0, 0, 20, 0, dash=True))
    (((0.0, 0.0), (5.0, 0.0)), ((7.5, 0.0), (12.5, 0.0)), ((15.0, 0.0), (20.0, 0.0)))
    """
    dx, dy = line.x1 - line.x0, line.y1 - line.y0
    length = math.hypot(dx, dy)
    parts: list[Stroke] = [((line.x0, line.y0), (line.x1, line.y1))]
    if line.dash and length > 3 * _DASH:
        # The gaps give a little, so that there is a dash at either end and one in the middle, where two may cross.
        count = 2 * max(1, round((length - _DASH) / (_DASH + _GAP) / 2))
        starts = [k * (length - _DASH) / count / length for k in range(count + 1)]
        spans = [(start, start + _DASH / length) for start in starts]
        parts = [tuple((line.x0 + t * dx, line.y0 + t * dy) for t in span) for span in spans]
    if line.arrow and length > 0:
        head = (3 + _ARROW * line.width) / length
        back_x, back_y = line.x1 - 0.8 * head * dx, line.y1 - 0.8 * head * dy
        wing_x, wing_y = -0.5 * head * dy, 0.5 * head * dx
        wings = ((back_x + wing_x, back_y + wing_y), (line.x1, line.y1), (back_x - wing_x, back_y - wing_y))
        parts.append(wings)
    return tuple(parts)


def glyph_places(text: Text) -> tuple[tuple[str, float], ...]:
    """The characters of a text that leave ink, each with the x where its advance begins.

    >>> glyph_places(Text(100, 0, "1 2", size=10, anchor="end"))
    (('1', 82.0), ('2', 94.0))
    """
    share = {"start": 0.0, "middle": 0.5, "end": 1.0}[text.anchor]
    left = text.x - share * text_width(text.text, text.size)
    return tuple((c, left + k * ADVANCE * text.size) for k, c in enumerate(text.text) if strokes(c))


def _hatch(rect: Rect) -> tuple[Stroke, ...]:
    # The line x + y = sum, cut to the box; one pixel of air keeps its round ends inside.
    left, top, right, bottom = rect.x + 1, rect.y + 1, rect.x + rect.w - 1, rect.y + rect.h - 1
    lines = []
    for k in range(math.ceil((left + top) / _HATCH_STEP), math.floor((right + bottom) / _HATCH_STEP) + 1):
        total = k * _HATCH_STEP
        a, b = max(left, total - bottom), min(right, total - top)
        if a < b:
            lines.append(((a, total - a), (b, total - b)))
    return tuple(lines)


def _dots(rect: Rect) -> tuple[Stroke, ...]:
    # Every second row is shifted by half a step. A dot is a stroke of no length: its round ends make it.
    inset, half = 2.5, _DOT_STEP / 2
    dots = []
    for row in range(math.ceil((rect.y + inset) / half), math.floor((rect.y + rect.h - inset) / half) + 1):
        shift = half * (row % 2)
        first = math.ceil((rect.x + inset - shift) / _DOT_STEP)
        last = math.floor((rect.x + rect.w - inset - shift) / _DOT_STEP)
        dots += [(shift + k * _DOT_STEP, row * half) for k in range(first, last + 1)]
    return tuple((dot, dot) for dot in dots)


def _luminance(colour: str) -> float:
    # Relative luminance, WCAG 2.2.
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# Fields with a rule; what is not named here is free. Coordinates may be negative: what lies outside is cut off.
_POSITIVE = ("width", "height", "size")
_NOT_NEGATIVE = ("w", "h", "stroke_width", "radius")
_FAR = 1_000_000  # px; a line to further away would keep the renderer busy with what nobody can see
_WORDS = ("fill", "stroke", "pattern", "anchor", "weight")
_CHOICES = {"pattern": (None, "hatch", "dots"), "anchor": ("start", "middle", "end"), "weight": ("regular", "bold")}


def _check(thing: Rect | Line | Text | Pixmap | Scene) -> None:
    # Once at birth, so that the two renderers need not doubt a number, and no colour can carry markup into an SVG.
    # There are thousands of items in a picture and hundreds of pictures in an animation: what is common is quick.
    for name in thing.__slots__:
        value = getattr(thing, name)
        kind = type(value)
        if kind is float or kind is int:
            if 0 <= value <= _FAR and (value or name not in _POSITIVE):
                continue
            rule = _number_rule(name, value, isinstance(thing, Scene))
        elif name in _WORDS:
            rule = _word_rule(name, value)
        else:
            rule = _number_rule(name, value, isinstance(thing, Scene)) if isinstance(value, Real) else ""
        if rule:
            raise GeometryError(f"{type(thing).__name__}: {name} must be {rule}, not {getattr(thing, name)!r}")


def _number_rule(name: str, number: Real | float, scene: bool) -> str:
    value = float(number)
    if not math.isfinite(value) or (name in _POSITIVE and value <= 0):
        return "a finite number above 0" if name in _POSITIVE else "a finite number"
    if name in _NOT_NEGATIVE and value < 0:
        return "at least 0"
    return f"within {_FAR} px" if not scene and abs(value) > _FAR else ""


@lru_cache(maxsize=1024)
def _word_rule(name: str, value: str | None) -> str:
    if name in _CHOICES:
        return "" if value in _CHOICES[name] else "one of " + ", ".join(map(repr, _CHOICES[name]))
    return "" if value is None or _COLOUR.fullmatch(value) else "a colour such as #56b4e9"
