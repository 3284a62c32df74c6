"""A scene as pixels, and as a PNG. The same scene gives the same bytes, always.

Nothing is drawn large and shrunk. A stroke covers a pixel by the distance from the pixel's middle to the stroke, which
is antialiasing enough and lets a letter be computed once and stamped wherever it occurs.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from twofold.errors import GeometryError
from twofold.explain.glyphs import ADVANCE, ASCENT, DESCENT, Stroke, pen, strokes
from twofold.explain.scene import PAPER, Item, Line, Pixmap, Rect, Scene, Text, glyph_places, line_strokes, texture

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "MAX_PIXELS", "Area", "Pixels", "blank", "paint", "pixels", "png_chunk", "png_data", "png_file", "reach", "rgb",
    "to_image", "to_png",
]  # fmt: skip

Pixels = NDArray[np.uint8]  # (height, width, 3)
Mask = NDArray[np.float32]  # (height, width), 0 to 1: how much of each pixel is covered
Box = tuple[float, float, float, float]  # left, top, right, bottom
Area = tuple[int, int, int, int]  # the same in whole pixels; right and bottom lie outside

MAX_PIXELS = 40_000_000  # 120 MB; a larger picture is a mistake
_MAX_SIDE = 65_535  # a GIF counts its sides in 16 bits
_PHASES = 4  # letters stand on quarters of a pixel, so that their stamps can be used again
_STAMP = 96 * 96  # pixels; larger masks are not kept
_PIECE = 48.0  # pixels; a long stroke is computed in pieces, each over its own small box
_TILE = 1024  # pixels; large boxes are painted in tiles, which bounds the memory that blending needs


def to_image(scene: Scene, scale: float = 2) -> Image:
    """The scene as a Pillow image in RGB, with `scale` pixels for each of the scene's.

    >>> to_image(Scene(32, 20, "t", "d", [Rect(0, 0, 10, 10, fill="#56b4e9")])).getpixel((5, 5))
    (86, 180, 233)
    >>> to_image(Scene(1e6, 1e6, "t", "d"))
    Traceback (most recent call last):
    twofold.errors.GeometryError: a picture of 2000000 x 2000000 pixels is too large: the limit is 40000000 pixels
      try scale=0.006, or fewer cells
    """
    from PIL import Image

    return Image.fromarray(pixels(scene, scale))


def to_png(scene: Scene, scale: float = 2) -> bytes:
    r"""The scene as a PNG file.

    >>> to_png(Scene(4, 4, "t", "d"))[:4]
    b'\x89PNG'
    """
    picture = pixels(scene, scale)
    return png_file(picture.shape, [png_chunk(b"IDAT", png_data(picture))], kind="plain")


# -- painting ---------------------------------------------------------------------------------------------------------


def pixels(scene: Scene, scale: float) -> Pixels:
    """Return the scene as (height, width, 3) in uint8; what is too large for memory is refused."""
    canvas = blank(scene, scale)
    paint(canvas, scene.items, scale, (0, 0, canvas.shape[1], canvas.shape[0]))
    return canvas


def blank(scene: Scene, scale: float) -> Pixels:
    """Return the paper of a scene with nothing on it."""
    if not (math.isfinite(scale) and scale > 0):
        raise GeometryError(f"scale must be a finite number above 0, not {scale}", repair="scale=2")
    width, height = math.ceil(scene.width * scale), math.ceil(scene.height * scale)
    if width * height > MAX_PIXELS or max(width, height) > _MAX_SIDE:
        rule = f"a picture of {width} x {height} pixels is too large: the limit is {MAX_PIXELS} pixels"
        rule += "" if width * height > MAX_PIXELS else f" and {_MAX_SIDE} on a side"
        most = min(math.sqrt(MAX_PIXELS / scene.width / scene.height), _MAX_SIDE / max(scene.width, scene.height))
        raise GeometryError(rule, repair=f"scale={math.floor(most * 1000) / 1000}, or fewer cells")
    return np.full((height, width, 3), rgb(PAPER), dtype=np.uint8)


def paint(canvas: Pixels, items: Iterable[Item], scale: float, area: Area, *, snap: bool = False) -> None:
    """Paint items, as far as they lie in `area`; each pixel gets what it would get if all were painted.

    snap   letters stand on whole pixels instead of quarters
    """
    for item in items:
        if isinstance(item, Rect):
            _paint_rect(canvas, item, scale, area)
        elif isinstance(item, Line):
            _paint_strokes(canvas, _scaled(line_strokes(item), scale), item.width * scale, item.stroke, area)
        elif isinstance(item, Pixmap):
            _paint_pixmap(canvas, item, scale, area)
        else:
            _paint_text(canvas, item, scale, area, 1 if snap else _PHASES)


def reach(item: Item, scale: float) -> Area:
    """Return an area outside which `paint` changes nothing for this item.

    >>> reach(Rect(10, 10, 20, 5, stroke="#000000", stroke_width=2), 1)
    (8, 8, 32, 17)
    """
    if isinstance(item, Rect):
        grow = item.stroke_width / 2 if item.stroke else 0.0
        box = (item.x - grow, item.y - grow, item.x + item.w + grow, item.y + item.h + grow)
    elif isinstance(item, Line):
        xs, ys = zip(*(point for stroke in line_strokes(item) for point in stroke), strict=True)
        grow = item.width / 2
        box = (min(xs) - grow, min(ys) - grow, max(xs) + grow, max(ys) + grow)
    elif isinstance(item, Pixmap):
        box = (item.x, item.y, item.x + item.w, item.y + item.h)
    else:
        left = [x for _, x in glyph_places(item)] or [item.x]
        box = (left[0], item.y - ASCENT * item.size, left[-1] + ADVANCE * item.size, item.y + DESCENT * item.size)
    # A pixel of air for antialiasing, and for letters that stand on quarters of a pixel.
    return (
        math.floor(box[0] * scale) - 1,
        math.floor(box[1] * scale) - 1,
        math.ceil(box[2] * scale) + 1,
        math.ceil(box[3] * scale) + 1,
    )


def _paint_pixmap(canvas: Pixels, item: Pixmap, scale: float, area: Area) -> None:
    # Each pixel gets the colour of the square that its centre lies in.
    left, top = max(math.ceil(item.x * scale - 0.5), area[0]), max(math.ceil(item.y * scale - 0.5), area[1])
    right = min(math.ceil((item.x + item.w) * scale - 0.5), area[2])
    bottom = min(math.ceil((item.y + item.h) * scale - 0.5), area[3])
    if left >= right or top >= bottom:
        return
    colours = np.frombuffer(item.data, dtype=np.uint8).reshape(item.rows, item.columns, 3)
    across = ((np.arange(left, right) + 0.5) / scale - item.x) / item.w * item.columns
    down = ((np.arange(top, bottom) + 0.5) / scale - item.y) / item.h * item.rows
    rows = np.clip(down.astype(np.int64), 0, item.rows - 1)
    columns = np.clip(across.astype(np.int64), 0, item.columns - 1)
    canvas[top:bottom, left:right] = colours[rows[:, None], columns]


def _paint_rect(canvas: Pixels, rect: Rect, scale: float, area: Area) -> None:
    box = (rect.x * scale, rect.y * scale, (rect.x + rect.w) * scale, (rect.y + rect.h) * scale)
    radius = min(rect.radius, rect.w / 2, rect.h / 2) * scale
    if rect.fill:
        _paint_box(canvas, box, radius, None, rect.fill, area)
    colour, width, marks = texture(rect)
    for mark in marks:
        _paint_strokes(canvas, _scaled((mark,), scale), width * scale, colour, area)
    if rect.stroke:
        _paint_box(canvas, box, radius, rect.stroke_width * scale / 2, rect.stroke, area)


def _paint_text(canvas: Pixels, text: Text, scale: float, area: Area, phases: int) -> None:
    size, width = text.size * scale, pen(text.size, text.weight) * scale
    top = round(text.y * scale * phases) / phases
    for char, x in glyph_places(text):
        left = round(x * scale * phases) / phases
        column, row = math.floor(left), math.floor(top)
        stamp = _letter(char, size, width, left - column, top - row)
        if isinstance(stamp, tuple):
            _blend(canvas, column + stamp[0], row + stamp[1], stamp[2], text.fill, area)
        else:
            _paint_strokes(canvas, _placed(char, size, left, top), width, text.fill, area)


def _placed(char: str, size: float, left: float, top: float) -> tuple[Stroke, ...]:
    return tuple(tuple((left + u * size, top + v * size) for u, v in path) for path in strokes(char))


@lru_cache(maxsize=4096)
def _letter(char: str, size: float, width: float, left: float, top: float) -> tuple[int, int, Mask] | None:
    # A letter that stands at this fraction of a pixel, with the place of its corner; None if it is too large to keep.
    paths = _placed(char, size, left, top)
    x0, y0, x1, y1 = _bounds(paths, width)
    if (x1 - x0) * (y1 - y0) > _STAMP:
        return None
    return x0, y0, _stamp(_moved(paths, x0, y0), round(width, 3), x1 - x0, y1 - y0)


def _bounds(paths: tuple[Stroke, ...], width: float) -> Area:
    half = width / 2 + 0.5
    xs, ys = zip(*(point for path in paths for point in path), strict=True)
    return math.floor(min(xs) - half), math.floor(min(ys) - half), math.ceil(max(xs) + half), math.ceil(max(ys) + half)


def _moved(paths: tuple[Stroke, ...], x0: int, y0: int) -> tuple[Stroke, ...]:
    # Rounded to 1/64 pixel, two places of the same shape give the same key.
    return tuple(tuple((round((x - x0) * 64) / 64, round((y - y0) * 64) / 64) for x, y in path) for path in paths)


def _paint_strokes(canvas: Pixels, paths: tuple[Stroke, ...], width: float, colour: str, area: Area) -> None:
    x0, y0, x1, y1 = _bounds(paths, width)
    if x0 >= area[2] or x1 <= area[0] or y0 >= area[3] or y1 <= area[1]:
        return
    small = (x1 - x0) * (y1 - y0) <= _STAMP
    if not small:
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, canvas.shape[1]), min(y1, canvas.shape[0])
    cover = _stamp if small else _cover
    if x1 > x0 and y1 > y0:
        _blend(canvas, x0, y0, cover(_moved(paths, x0, y0), round(width, 3), x1 - x0, y1 - y0), colour, area)


def _cover(paths: tuple[Stroke, ...], width: float, columns: int, rows: int) -> Mask:
    # The union of all strokes: where they overlap, the pixel is covered as the nearer one covers it.
    mask = np.zeros((rows, columns), dtype=np.float32)
    half, reach = width / 2, width / 2 + 0.5
    for (ax, ay), (bx, by) in _pieces(paths):
        x0, x1 = max(math.floor(min(ax, bx) - reach), 0), min(math.ceil(max(ax, bx) + reach), columns)
        y0, y1 = max(math.floor(min(ay, by) - reach), 0), min(math.ceil(max(ay, by) + reach), rows)
        if x0 >= x1 or y0 >= y1:
            continue
        dx, dy = bx - ax, by - ay
        x = np.arange(x0, x1, dtype=np.float32) + np.float32(0.5 - ax)
        y = (np.arange(y0, y1, dtype=np.float32) + np.float32(0.5 - ay))[:, None]
        along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        distance = np.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2)
        # How much of a pixel-long interval at this distance lies inside the pen: right for hairlines too.
        covered = np.minimum(half, distance + 0.5) - np.maximum(-half, distance - 0.5)
        part = mask[y0:y1, x0:x1]
        np.maximum(part, covered, out=part)
    return mask


_stamp = lru_cache(maxsize=4096)(_cover)


def _pieces(paths: tuple[Stroke, ...]) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    for path in paths:
        for (ax, ay), (bx, by) in pairwise(path):
            count = max(1, math.ceil(math.hypot(bx - ax, by - ay) / _PIECE))
            cuts = [(ax + k / count * (bx - ax), ay + k / count * (by - ay)) for k in range(count + 1)]
            yield from pairwise(cuts)


def _paint_box(canvas: Pixels, box: Box, radius: float, ring: float | None, colour: str, area: Area) -> None:
    # `ring` is half the width of an outline; None fills the box.
    grow = ring or 0.0
    x0, y0 = max(math.floor(box[0] - grow), area[0]), max(math.floor(box[1] - grow), area[1])
    x1, y1 = min(math.ceil(box[2] + grow), area[2]), min(math.ceil(box[3] + grow), area[3])
    for top in range(y0, y1, _TILE):
        for left in range(x0, x1, _TILE):
            x = np.arange(left, min(left + _TILE, x1), dtype=np.float32) + np.float32(0.5)
            y = (np.arange(top, min(top + _TILE, y1), dtype=np.float32) + np.float32(0.5))[:, None]
            mask = _inside(x, y, box, grow, radius)
            if ring is not None:
                mask = mask - _inside(x, y, box, -ring, radius)
            _blend(canvas, left, top, mask, colour, area)


def _inside(x: Mask, y: Mask, box: Box, grow: float, radius: float) -> Mask:
    left, top, right, bottom = box[0] - grow, box[1] - grow, box[2] + grow, box[3] + grow
    if not radius:  # square corners: the part of the pixel's width times the part of its height
        across = np.clip(np.minimum(x + 0.5, right) - np.maximum(x - 0.5, left), 0, 1)
        down = np.clip(np.minimum(y + 0.5, bottom) - np.maximum(y - 0.5, top), 0, 1)
        return np.asarray(across * down, dtype=np.float32)
    radius = max(radius + grow, 0.0)
    u = np.abs(x - (left + right) / 2) - ((right - left) / 2 - radius)
    v = np.abs(y - (top + bottom) / 2) - ((bottom - top) / 2 - radius)
    distance = np.sqrt(np.maximum(u, 0) ** 2 + np.maximum(v, 0) ** 2) + np.minimum(np.maximum(u, v), 0) - radius
    return np.asarray(np.clip(0.5 - distance, 0, 1), dtype=np.float32)


def _blend(canvas: Pixels, left: int, top: int, mask: Mask, colour: str, area: Area) -> None:
    # In the colour values as they are, without gamma: as browsers blend an SVG.
    x0, y0 = max(left, area[0]), max(top, area[1])
    x1, y1 = min(left + mask.shape[1], area[2]), min(top + mask.shape[0], area[3])
    if x0 < x1 and y0 < y1:
        part = canvas[y0:y1, x0:x1]
        share = mask[y0 - top : y1 - top, x0 - left : x1 - left, None]
        part[...] = (part + (_ink(colour) - part) * share + 0.5).astype(np.uint8)


@lru_cache(maxsize=1024)
def _ink(colour: str) -> NDArray[np.float32]:
    return np.array(rgb(colour), dtype=np.float32)


def _scaled(paths: tuple[Stroke, ...], scale: float) -> tuple[Stroke, ...]:
    return tuple(tuple((x * scale, y * scale) for x, y in path) for path in paths)


@lru_cache(maxsize=1024)
def rgb(colour: str) -> tuple[int, int, int]:
    """Return the three numbers of "#rrggbb"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


# -- the file ---------------------------------------------------------------------------------------------------------


def png_file(shape: tuple[int, ...], chunks: list[bytes], *, kind: Literal["plain", "palette", "alpha"]) -> bytes:
    """Return a PNG of these chunks, with the header and the end that they need."""
    code = {"plain": 2, "palette": 3, "alpha": 6}[kind]  # 8 bits: of RGB, of an index, of RGBA
    header = struct.pack(">IIBBBBB", shape[1], shape[0], 8, code, 0, 0, 0)
    return b"".join([b"\x89PNG\r\n\x1a\n", png_chunk(b"IHDR", header), *chunks, png_chunk(b"IEND", b"")])


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG: length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_data(pixels: Pixels) -> bytes:
    """Return pixels as PNG stores them: filtered rows, compressed."""
    # Row filter 0 throughout: on flat colours it compresses better than the filters made for photographs.
    rows = pixels.reshape(pixels.shape[0], -1)
    return zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes(), 9)
