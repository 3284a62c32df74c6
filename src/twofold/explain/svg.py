"""A scene as one standalone SVG: no font, no script, no link to elsewhere, and the same bytes every time.

Letters are paths of our own, each kept once in `<defs>` and placed with `<use>`. The title and the description reach a
screen reader through `aria-labelledby`; they are the only texts in the file, and are escaped.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape

import numpy as np

from twofold.explain.glyphs import Stroke, pen, strokes
from twofold.explain.raster import png_chunk, png_data, png_file
from twofold.explain.scene import PAPER, Line, Pixmap, Rect, Scene, Text, glyph_places, line_strokes, texture

__all__ = ["to_svg"]

_GRID = 100  # glyph paths count in hundredths of the text size: short numbers, no visible rounding
# Everything that XML 1.0 does not allow in a document, escaped or not: control characters, halves of surrogate pairs.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_svg(scene: Scene) -> str:
    """The scene as an SVG document.

    >>> print(to_svg(Scene(20, 10, "a < b", "one line", [Line(2, 5, 18, 5)])))
    <svg xmlns="http://www.w3.org/2000/svg" width="20" height="10" viewBox="0 0 20 10" role="img" aria-labelledby=...>
    <title id="...-t">a &lt; b</title>
    <desc id="...-d">one line</desc>
    <rect width="20" height="10" fill="#ffffff"/>
    <g fill="none" stroke-linecap="round" stroke-linejoin="round">
    <path d="M2 5 18 5" stroke="#1a1d21" stroke-width="1"/>
    </g>
    </svg>
    """
    # Several pictures may stand in one page, so names must differ between scenes; a digest keeps them reproducible.
    prefix = "s" + sha256(repr(scene).encode("utf-8", "backslashreplace")).hexdigest()[:6]
    size = f'width="{_number(scene.width)}" height="{_number(scene.height)}"'
    box = f"0 0 {_number(scene.width)} {_number(scene.height)}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="{box}" role="img" '
        f'aria-labelledby="{prefix}-t {prefix}-d">',
        f'<title id="{prefix}-t">{_words(scene.title)}</title>',
        f'<desc id="{prefix}-d">{_words(scene.description)}</desc>',
        *_definitions(scene, prefix),
        f'<rect {size} fill="{PAPER}"/>',
        '<g fill="none" stroke-linecap="round" stroke-linejoin="round">',
    ]
    for item in scene.items:
        if isinstance(item, Rect):
            lines += _rect(item)
        elif isinstance(item, Pixmap):
            lines.append(_pixmap(item))
        elif isinstance(item, Line):
            lines.append(_path(line_strokes(item), item.stroke, item.width))
        else:
            lines += _text(item, prefix)
    return "\n".join([*lines, "</g>", "</svg>"])


def _definitions(scene: Scene, prefix: str) -> list[str]:
    chars = sorted({c for item in scene.items if isinstance(item, Text) for c, _ in glyph_places(item)})
    paths = [f'<path id="{prefix}-{ord(c):x}" d="{_d(strokes(c), _GRID, 1)}"/>' for c in chars]
    return ["<defs>", *paths, "</defs>"] if paths else []


def _rect(rect: Rect) -> list[str]:
    place = f'x="{_number(rect.x)}" y="{_number(rect.y)}" width="{_number(rect.w)}" height="{_number(rect.h)}"'
    place += f' rx="{_number(rect.radius)}"' if rect.radius else ""
    # The group's round joins would blunt a box's corners.
    edge = f'stroke="{rect.stroke}" stroke-width="{_number(rect.stroke_width)}" stroke-linejoin="miter"'
    if rect.pattern is None:
        paint = [f'fill="{rect.fill}"'] if rect.fill else []
        paint += [edge] if rect.stroke else []
        return [f"<rect {place} {' '.join(paint)}/>"] if paint else []
    colour, width, marks = texture(rect)
    parts = [f'<rect {place} fill="{rect.fill}"/>'] if rect.fill else []
    parts += [_path(marks, colour, width)] if marks else []
    return parts + ([f"<rect {place} {edge}/>"] if rect.stroke else [])


def _pixmap(item: Pixmap) -> str:
    # As a small PNG inside the file, enlarged without smoothing.
    colours = np.frombuffer(item.data, dtype=np.uint8).reshape(item.rows, item.columns, 3)
    coded = b64encode(png_file(colours.shape, [png_chunk(b"IDAT", png_data(colours))], kind="plain")).decode()
    place = f'x="{_number(item.x)}" y="{_number(item.y)}" width="{_number(item.w)}" height="{_number(item.h)}"'
    look = 'preserveAspectRatio="none" style="image-rendering:pixelated"'
    return f'<image {place} {look} href="data:image/png;base64,{coded}"/>'


def _text(text: Text, prefix: str) -> list[str]:
    uses = [(f"{prefix}-{ord(c):x}", (x - text.x) / text.size * _GRID) for c, x in glyph_places(text)]
    if not uses:
        return []
    place = f"translate({_number(text.x)} {_number(text.y)}) scale({_number(text.size / _GRID, 5)})"
    width = _number(pen(text.size, text.weight) / text.size * _GRID)
    glyphs = "".join(f'<use href="#{name}" x="{_number(x, 1)}"/>' for name, x in uses)
    return [f'<g transform="{place}" stroke="{text.fill}" stroke-width="{width}">{glyphs}</g>']


def _path(marks: Iterable[Stroke], colour: str, width: float) -> str:
    return f'<path d="{_d(marks)}" stroke="{colour}" stroke-width="{_number(width)}"/>'


def _d(marks: Iterable[Stroke], scale: float = 1, places: int = 2) -> str:
    # After its M a path goes on in straight lines by itself, and a minus parts two numbers as well as a space.
    moves = ((f"{_number(x * scale, places)} {_number(y * scale, places)}" for x, y in mark) for mark in marks)
    return "".join("M" + " ".join(points) for points in moves).replace(" -", "-")


def _number(value: float, places: int = 2) -> str:
    text = f"{value:.{places}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _words(text: str) -> str:
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text), quote=False)
