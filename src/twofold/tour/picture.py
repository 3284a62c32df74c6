"""The picture of the tour: the bundled photograph or the reader's own, as float32 numbers between 0 and 1.

Nothing is changed in silence: every change is one sentence in `Photograph.notes`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.errors import FileError
from twofold.files import read_picture
from twofold.functional import conv2d

__all__ = ["CROP", "LARGEST", "Array", "Photograph", "load"]

Array = NDArray[Any]

LARGEST = 1_000_000  # pixels that the tour works on; larger pictures are averaged down
_LONGEST = 8192  # pixels on a side; browsers show no picture of more than 65535
CROP = 64  # cells of the enlarged crop along an axis
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue look
_BUNDLED = "chelsea.png"
_CREDIT = "Chelsea the cat, photograph by Stéfan van der Walt, CC0, from the example images of scikit-image"
_EYE = (113, 174)  # row and column of the pupil, for the enlarged crop


@dataclass(frozen=True, eq=False)
class Photograph:
    """The picture that the tour works on.

    pixels  (channels, height, width), float32 in 0 … 1, with 3 channels or 1
    grey    (height, width), float32
    centre  row and column that the enlarged crop shows
    """

    name: str
    credit: str
    pixels: Array
    grey: Array
    centre: tuple[int, int]
    notes: tuple[str, ...]

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the enlarged crop: CROP cells along each axis, or all there are."""
        rows, columns = (_window(c, n) for c, n in zip(self.centre, self.size, strict=True))
        return rows, columns

    @property
    def kind(self) -> str:
        """What the channels are."""
        return "red, green and blue" if len(self.pixels) == 3 else "shades of grey"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return int(self.grey.shape[0]), int(self.grey.shape[1])


def load(path: str | Path | None) -> Photograph:
    """Read the picture, or the bundled photograph if there is none.

    raises  FileError in one sentence if the file is no picture
    """
    if path is None:
        with resources.as_file(resources.files("twofold") / "assets" / _BUNDLED) as bundled:
            raw = read_picture(bundled)
        name, credit, centre = _BUNDLED, _CREDIT, _EYE
    else:
        raw = read_picture(path)
        name, credit, centre = Path(path).name, "your own picture", None
        if raw.dtype.kind == "c":
            raise FileError(f"{str(path)!r} holds complex numbers, which have no brightness", repair="real numbers")
    notes: list[str] = []
    pixels = _unit(_without_alpha(_small(raw, notes), notes), notes)
    pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)  # (channels, height, width)
    grey = _grey(pixels)
    return Photograph(name, credit, pixels, grey, centre or _liveliest(grey), tuple(notes))


def _window(centre: int, size: int) -> slice:
    length = min(CROP, size)
    start = min(max(centre - length // 2, 0), size - length)
    return slice(start, start + length)


def _grey(pixels: Array) -> Array:
    if len(pixels) == 1:
        return np.asarray(pixels[0])
    # A 1 x 1 convolution from three channels to one: the smallest layer there is.
    grey: Array = conv2d(pixels, np.array(_LUMA, np.float32).reshape(1, 3, 1, 1))[0]
    return grey


def _liveliest(grey: Array) -> tuple[int, int]:
    # The middle of the crop with most contrast, among crops side by side.
    corners = [(r, c) for r in range(0, grey.shape[0], CROP) for c in range(0, grey.shape[1], CROP)]
    r, c = max(corners, key=lambda at: float(grey[at[0] : at[0] + CROP, at[1] : at[1] + CROP].std()))
    return r + CROP // 2, c + CROP // 2


def _small(raw: Array, notes: list[str]) -> Array:
    # (height, width, channels); averaged over boxes if there are too many pixels, one cell of each box at a time.
    array = raw if raw.ndim == 3 else raw[:, :, None]
    height, width = array.shape[:2]
    down, across = _box(height, width)
    if down == across == 1:
        return array
    array = array[: height // down * down, : width // across * across]
    total = np.zeros((height // down, width // across, array.shape[2]))
    for i, j in np.ndindex(down, across):
        total += array[i::down, j::across] / (down * across)  # divided first: no sum overflows
    notes.append(
        f"The picture has {height} × {width} pixels; the tour works on {total.shape[0]} × {total.shape[1]}, "
        f"each the mean of {down} × {across} (itself a convolution, with stride {max(down, across)})."
    )
    return np.rint(total).astype(raw.dtype) if raw.dtype.kind in "iu" else total


def _box(height: int, width: int) -> tuple[int, int]:
    factor = max(math.ceil(math.sqrt(height * width / LARGEST)), -(-max(height, width) // _LONGEST))
    down, across = min(factor, height), min(factor, width)
    while (height // down) * (width // across) > LARGEST:  # a very long and narrow picture
        down, across = (down + 1, across) if height // down > width // across else (down, across + 1)
    return down, across


def _without_alpha(array: Array, notes: list[str]) -> Array:
    if array.shape[2] in (2, 4):
        notes.append("The picture says how see-through each pixel is (an alpha channel); the tour leaves that out.")
        return array[:, :, :-1]
    return array


def _unit(array: Array, notes: list[str]) -> Array:
    kind, top = array.dtype.kind, {"uint8": 255, "uint16": 65535, "bool": 1}.get(array.dtype.name)
    values = array.astype(np.float64)
    if kind == "f" and not np.isfinite(values).all():
        notes.append(f"{int((~np.isfinite(values)).sum())} values are not finite numbers; the tour sets them to 0.")
        values = np.where(np.isfinite(values), values, 0.0)
    low, high = float(values.min()), float(values.max())
    if top is not None:
        return values / top
    if kind == "f" and low >= 0 and high <= 1:
        return values
    notes.append(f"The values run from {low:.4g} to {high:.4g}; the tour maps that range to 0 … 1.")
    half = high / 2 - low / 2  # halved, so that the largest floats do not overflow
    return (values / 2 - low / 2) / half if half > 0 else np.zeros_like(values)
