"""Where a result goes: a small one to the terminal as numbers, any to an array file, and some to a picture.

Array files hold the result exactly. A picture holds whole numbers from 0 to 255, so a range of values is mapped to
them, and what was done is said in words:

    clip      the scale of the input stays: 0..255, 0..65535 of a 16-bit picture, 0..1 of a 1-bit one
    auto      the least value becomes black, the greatest white
    LOW:HIGH  LOW becomes black, HIGH white, what lies outside is cut off
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold import files
from twofold.cli.operands import Operand
from twofold.cli.values import Range
from twofold.errors import FileError, GeometryError

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["MAX_PRINTED", "PictureMap", "check_output", "check_picture", "map_picture", "numbers_text"]

MAX_PRINTED = 2000  # numbers of a result that is printed
_SCALES = {"uint8": 255, "uint16": 65535, "bool": 1}
_JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class PictureMap:
    """A result as the picture that is written, and the range of values that became black and white."""

    picture: npt.NDArray[np.uint8]
    kind: str
    low: float
    high: float
    remark: str = ""

    def __str__(self) -> str:
        words = {"clip": "clip, the scale of the input", "auto": "auto, least and greatest value", "given": "as asked"}
        remark = f"; {self.remark}" if self.remark else ""
        if self.low == self.high:
            return f"of a single value, {self.low:g}, which is drawn black{remark}"
        return f"{self.low:g} is black, {self.high:g} white ({words[self.kind]}){remark}"


def check_output(path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse an output that could not be written, before anything is computed; `files` checks again when it writes."""
    name = repr(str(path))
    if path.suffix.lower() not in suffixes:
        raise FileError(f"{name} has the suffix {path.suffix!r}, none of {', '.join(suffixes)}", repair="one of these")
    parent = path.parent
    try:
        if path.is_dir():
            raise FileError(f"{name} is a directory, not a file", repair="the path of a file in it")
        if not parent.is_dir():
            raise FileError(
                f"{name} has no directory to be in: {str(parent)!r} does not exist", repair="making it first"
            )
    except OSError as error:
        raise FileError(f"{name} cannot be written: {error.strerror or error}") from error
    if not os.access(parent, os.W_OK):
        raise FileError(f"{name} may not be written: the directory {str(parent)!r} is read-only", repair="another path")


def check_picture(shape: tuple[int, ...], channels_last: bool) -> None:
    """Refuse a shape that is no picture: (height, width), or that with 1 to 4 channels, and an empty batch axis."""
    _as_picture(np.broadcast_to(np.uint8(0), shape), channels_last)


def map_picture(
    y: Array, x: Operand, wanted: Range | None, keeps: bool, suffix: str, channels_last: bool
) -> PictureMap:
    """Map a result to 0..255. Without a wish: clip for a picture whose kernel keeps brightness, else auto."""
    y = _as_picture(y, channels_last)
    if y.dtype.kind in "fc" and not np.isfinite(y).all():
        raise GeometryError(
            f"{int((~np.isfinite(y)).sum())} of {y.size} values are not finite, which no picture shows",
            repair="an -o FILE.npy",
        )
    chosen = wanted or Range("clip" if keeps and x.source == "picture" and x.array.dtype.name in _SCALES else "auto")
    has_alpha = (
        x.source == "picture" and x.array.ndim == 3 and x.array.shape[2] in (2, 4) and y.shape[2:] in ((2,), (4,))
    )
    remark = ""
    if has_alpha and (chosen.kind != "clip" or suffix.lower() in _JPEG):
        y, remark = y[:, :, :-1], "the alpha channel was left out"
    low, high = chosen.low, chosen.high
    if chosen.kind == "clip":
        low, high = 0.0, float(_SCALES.get(x.array.dtype.name, 255))
    elif chosen.kind == "auto":
        if y.dtype.kind == "c":
            raise GeometryError("a picture shows real numbers, not complex ones", repair="an -o FILE.npy")
        low, high = float(y.min()), float(y.max())
    return PictureMap(files.to_picture(y, *((low, high) if low < high else ())), chosen.kind, low, high, remark)


def numbers_text(y: Array) -> str:
    """Write a result as rows of numbers in columns, with a line before each plane of more than two axes.

    >>> print(numbers_text(np.array([[37, 47], [67, 177]])))
    37  47
    67 177
    """
    if y.ndim <= 2:
        return _rows(np.atleast_2d(y))
    planes = (f"[{', '.join(map(str, index))}]\n{_rows(y[index])}" for index in np.ndindex(y.shape[:-2]))
    return "\n\n".join(planes)


def _rows(plane: Array) -> str:
    words = [[_number(value) for value in row] for row in plane.tolist()]
    width = max((len(word) for row in words for word in row), default=0)
    return "\n".join(" ".join(word.rjust(width) for word in row) for row in words)


def _number(value: complex | float | int) -> str:
    if isinstance(value, complex):
        return f"{_number(value.real)}{value.imag:+.6g}j"
    if isinstance(value, float):
        return f"{value + 0.0:.6g}"  # + 0.0: -0 prints as 0
    return str(int(value))


def _as_picture(y: Array, channels_last: bool) -> Array:
    shape = y.shape
    while y.ndim > 2 and y.shape[0] == 1 and y.ndim > (3 if channels_last else 2):
        y = y[0]
    if y.ndim == 3 and not channels_last:
        y = np.moveaxis(y, 0, -1)
    if y.ndim not in (2, 3) or y.size == 0 or (y.ndim == 3 and y.shape[2] > 4):
        raise FileError(
            f"a result of shape {shape} is no picture, which has (height, width) and at most 4 channels",
            repair="an -o FILE.npy",
        )
    return y[:, :, 0] if y.ndim == 3 and y.shape[2] == 1 else y
