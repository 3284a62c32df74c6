"""Several scenes as one moving picture: GIF and animated PNG. The same scenes give the same bytes, always.

The two files are put together here, frame by frame, for two reasons: frames may come from a generator and never stand
in memory together; and no frame may vanish, while Pillow's own writers merge neighbours that look alike. Every scene is
one frame, which repaints only the box in which it differs from the frame before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twofold.errors import GeometryError
from twofold.explain.raster import Pixels, png_chunk, png_data, png_file, rgb
from twofold.explain.scene import PAPER, Item, Line, Pixmap, Rect, Scene, texture
from twofold.explain.screen import Screen

__all__ = ["to_apng", "to_gif"]

_HOLD = 2.5  # the last frame stays this many times longer: the result should be read before the loop restarts
_SHORTEST, _LONGEST = 0.02, 655.35  # seconds of a frame: what browsers honour, what 16 bits of 1/100 s hold


def to_apng(frames: Iterable[Scene], seconds: float = 0.8, scale: float = 2, *, small: bool = False) -> bytes:
    r"""The scenes as an animated PNG that repeats for ever, each shown for `seconds`, the last one longer.

    small   with the palette of a GIF, in a third of the bytes; without it every pixel is exact

    >>> to_apng(Scene(8, 8, f"step {k}", "nothing moves") for k in range(3)).count(b"fcTL")
    3
    """
    parts: list[bytes] = []
    size, count, sequence, palette = (0, 0, 0), 0, 0, _Palette(small=small)
    for frame in _frames(frames, seconds, scale, small):
        size = size if count else frame.pixels.shape
        height, width, _ = frame.pixels.shape
        # The last two numbers: leave this frame standing, and lay the next one over it.
        control = (sequence, width, height, frame.left, frame.top, round(frame.seconds * 100), 100, 0, 1)
        parts.append(png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", *control)))
        # What did not change is transparent, and black throughout, which takes next to no space.
        veil = frame.changed[:, :, None]
        data = png_data(
            palette.encode(frame)[:, :, None] if small
            else np.concatenate([frame.pixels * veil, veil * np.uint8(255)], axis=2)
        )  # fmt: skip
        # The first frame is at the same time the picture that a reader without animation shows.
        parts.append(png_chunk(b"fdAT", struct.pack(">I", sequence + 1) + data) if count else png_chunk(b"IDAT", data))
        sequence += 2 if count else 1
        count += 1
    head = [png_chunk(b"acTL", struct.pack(">II", count, 0))]
    if small:
        table = [png_chunk(b"PLTE", palette.table()), png_chunk(b"tRNS", b"\xff" * _CLEAR + b"\0")]
        return png_file(size, [*head, *table, *parts], kind="palette")
    return png_file(size, [*head, *parts], kind="alpha")


def to_gif(frames: Iterable[Scene], seconds: float = 0.8, scale: float = 1, *, small: bool = False) -> bytes:
    r"""The scenes as a GIF that repeats for ever, each shown for `seconds`, the last one longer.

    All frames share one palette of at most 255 colours: the scenes' own exactly, then the mixes that antialiasing made.

    small   with fewer mixes, and letters on whole pixels, so that equal letters are equal pixels: a seventh less bytes

    >>> data = to_gif(Scene(8, 8, f"step {k}", "nothing moves") for k in range(3))
    >>> data[:6], data.count(b"\x21\xf9\x04")
    (b'GIF89a', 3)
    """
    from PIL import GifImagePlugin, Image

    palette, width, height = _Palette(small=small), 0, 0
    parts: list[bytes] = []
    for frame in _frames(frames, seconds, scale, small):
        indices = palette.encode(frame)
        first = not parts
        image = Image.frombytes("P", (indices.shape[1], indices.shape[0]), indices.tobytes())
        if first:
            width, height = image.size
        options = {"duration": round(frame.seconds * 100) * 10, "disposal": 1}
        options |= {} if first else {"transparency": _CLEAR}
        parts += GifImagePlugin.getdata(image, (frame.left, frame.top), **options)
    # 0xf7: one colour table of 256 for all frames. The block after it makes the frames repeat for ever.
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0) + palette.table()
    return b"".join([head, b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00", *parts, b"\x3b"])


@dataclass(frozen=True)
class _Frame:
    items: Sequence[Item]  # those that the frame before did not have
    pixels: Pixels  # the box that this frame repaints; the first frame repaints all
    left: int
    top: int
    changed: NDArray[np.bool_]  # (height, width) of that box: what it repaints of it, all that differs from before
    seconds: float


def _frames(scenes: Iterable[Scene], seconds: float, scale: float, small: bool) -> Iterator[_Frame]:
    # Every frame is drawn into the same pixels, so each must be used before the next is asked for.
    if not _SHORTEST <= seconds <= _LONGEST / _HOLD:
        rule = f"a frame is shown for {_SHORTEST} to {_LONGEST / _HOLD:.0f} seconds, not {seconds}"
        raise GeometryError(rule, repair="seconds=0.8")
    waiting = iter(scenes)
    scene = next(waiting, None)
    if scene is None:
        raise GeometryError("an animation needs at least one frame, not 0")
    screen = Screen(scene, scale, snap=small)
    while scene is not None:
        following = next(waiting, None)
        fresh, changed = screen.show(scene)
        top, bottom = _span(changed, 1)
        left, right = _span(changed, 0)
        hold = seconds if following is not None else seconds * _HOLD
        box = np.s_[top:bottom, left:right]
        again = _closed(changed[box]) if small else changed[box]
        yield _Frame(fresh, screen.pixels[box], left, top, again, hold)
        scene = following


def _closed(changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    # Short gaps within a row are repainted too: whole letters recur and compress, what differs of two letters does not.
    columns = np.arange(changed.shape[1])
    before = np.maximum.accumulate(np.where(changed, columns, -_GAP), axis=1)
    after = np.minimum.accumulate(np.where(changed, columns, columns.size + _GAP)[:, ::-1], axis=1)[:, ::-1]
    return changed | (after - before <= _GAP)


def _span(changed: NDArray[np.bool_], across: int) -> tuple[int, int]:
    # A frame in which nothing changed still repaints one pixel: there is no frame of no pixels.
    hit = np.flatnonzero(changed.any(axis=across))
    return (int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, 1)


_CLEAR = 255  # the palette entry that means: as in the frame before
_MIXES = 192  # entries that mixes may take; the rest stays free for flat colours of later frames
# The squared distance in RGB below which two mixes count as one: some 20 of 255 in each channel, or some 29.
_NEAR, _NEAR_SMALL = 1200, 2500
_GAP = 8  # px


class _Palette:
    """Colours in the order in which they were met. An entry never changes, so frames can be encoded as they come."""

    def __init__(self, *, small: bool) -> None:
        self._colours: list[tuple[int, int, int]] = []
        self._near = _NEAR_SMALL if small else _NEAR

    def encode(self, frame: _Frame) -> Pixels:
        """The frame as palette indices, (height, width); what did not change is clear."""
        for colour in _flat_colours(frame.items):
            if colour not in self._colours and len(self._colours) < _CLEAR:
                self._colours.append(colour)
        channels = frame.pixels[frame.changed].astype(np.int32)
        packed = (channels[:, 0] << 16) | (channels[:, 1] << 8) | channels[:, 2]
        met, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
        indices = np.full(frame.changed.shape, _CLEAR, dtype=np.uint8)
        if met.size:
            colours = np.stack([met >> 16, (met >> 8) & 255, met & 255], axis=1)
            indices[frame.changed] = self._nearest(colours, counts)[inverse]
        return indices

    def _nearest(self, colours: NDArray[np.int32], counts: NDArray[np.intp]) -> Pixels:
        best = np.full(len(colours), np.iinfo(np.int32).max, dtype=np.int32)
        index = np.zeros(len(colours), dtype=np.uint8)
        order = np.argsort(-counts, kind="stable")
        done = 0
        while done < len(self._colours):
            distance = ((colours - np.array(self._colours[done], dtype=np.int32)) ** 2).sum(axis=1, dtype=np.int32)
            nearer = distance < best
            best[nearer], index[nearer] = distance[nearer], done
            done += 1
            if done == len(self._colours) < _MIXES:  # known ones are done: take up the most frequent one far from all
                far = order[best[order] > self._near]
                self._colours += [tuple(colours[far[0]].tolist())] if far.size else []
        return index

    def table(self) -> bytes:
        """The colour table of the file, 256 entries."""
        return bytes(channel for colour in self._colours for channel in colour).ljust(768, b"\0")


def _flat_colours(items: Sequence[Item]) -> list[tuple[int, int, int]]:
    names = {PAPER: None}
    for item in items:
        if isinstance(item, Pixmap):  # has as many colours as the palette leaves
            continue
        drawn = [item.stroke] if isinstance(item, Line) else [item.fill]
        drawn += [item.stroke, texture(item)[0] if item.pattern else None] if isinstance(item, Rect) else []
        names |= {colour: None for colour in drawn if colour}
    return [rgb(name) for name in names]
