"""Named kernels, and kernels written on one line.

All are oriented for cross-correlation, the way `conv2d` slides them: laid on the picture as printed, row 0 at the top,
not flipped. Kernels that average sum to 1, so a constant picture stays as it is; kernels that find edges sum to 0.

    identity          1 in the middle of 3 x 3
    box:5             the mean of 5 x 5 cells; by default 3 x 3
    gaussian:7:1.5    size 7, sigma 1.5 cells; by default size 3, and the sigma that OpenCV's getGaussianKernel takes
    sharpen           four times the centre less its four neighbours, added to the picture
    sobel-x sobel-y   positive where brightness rises to the right, or downwards
    laplacian         the sum of the second differences: negative on a bright dot
    emboss            raised where brightness rises to the lower right; sums to 1
    bilinear-up:3     enlarges 3 times, for `conv_transpose2d`; by default 2 times

A *bilinear-up* kernel of factor f has 2f - f % 2 taps per axis and belongs to stride f and padding f // 2, which give
f times the size. Tap t weighs 1 - |t - centre| / f, a tent, so each output cell is the linear mean of the input cells
around it, and away from the border a constant stays constant. For factor 2 it is the outer product of [1, 3, 3, 1] / 4
with itself, at stride 2 and padding 1: of the four taps, an output cell meets 3 and 1 or 1 and 3, never another pair.
"""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold.errors import GeometryError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["MAX_SIZE", "NAMES", "kernel", "parse_kernel"]

MAX_SIZE = 1001  # taps per axis of a named kernel
_MAX_TEXT = 1_000_000  # characters of a kernel written on one line

_FIXED = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "sobel-x": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "sobel-y": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
}
_USAGE = {"box": "box:SIZE", "gaussian": "gaussian:SIZE:SIGMA", "bilinear-up": "bilinear-up:FACTOR"}

NAMES = ("identity", "box", "gaussian", "sharpen", "sobel-x", "sobel-y", "laplacian", "emboss", "bilinear-up")

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf(inity)?)", re.IGNORECASE)


def kernel(name: str) -> npt.NDArray[np.float64]:
    """Return the kernel of that name, `box:5`, `gaussian:7`, `gaussian:7:1.5` and `bilinear-up:3` included.

    returns (height, width), float64, a new array; oriented for cross-correlation (see the module)
    raises  GeometryError if there is no such name, or its size, sigma or factor cannot be

    >>> kernel("sobel-x")
    array([[-1.,  0.,  1.],
           [-2.,  0.,  2.],
           [-1.,  0.,  1.]])
    >>> kernel("bilinear-up") * 16
    array([[1., 3., 3., 1.],
           [3., 9., 9., 3.],
           [3., 9., 9., 3.],
           [1., 3., 3., 1.]])
    >>> kernel("sobelx")
    Traceback (most recent call last):
    twofold.errors.GeometryError: unknown kernel 'sobelx', known are identity, box, gaussian, ...
      try sobel-x
    """
    first, *options = name.strip().lower().split(":")
    if first not in NAMES:
        raise GeometryError(
            f"unknown kernel {_short(name)}, known are {', '.join(NAMES)}",
            repair=next(iter(difflib.get_close_matches(first[:40], NAMES, n=1, cutoff=0.5)), "one of these"),
        )
    if len(options) > _USAGE.get(first, "").count(":"):
        usage = _USAGE.get(first, first)
        raise GeometryError(f"too many parts in {_short(name)}: {len(options)} after the name", repair=usage)
    if first in _FIXED:
        return np.array(_FIXED[first], np.float64)
    size = _size(name, first, options)
    if first == "box":
        return np.full((size, size), 1 / size**2)
    if first == "gaussian":
        tap = _gaussian(size, _sigma(name, options, size))
    else:  # bilinear-up
        taps = 2 * size - size % 2
        tap = 1 - np.abs(np.arange(taps) - (taps - 1) / 2) / size
    return np.multiply.outer(tap, tap)


def parse_kernel(text: str) -> npt.NDArray[Any]:
    """Read a kernel written on one line: numbers apart by spaces or commas, rows by `;`, slices of a 3-D one by `|`.

    returns (rows, columns), so (1, n) for text without `;`; (slices, rows, columns) if there is a `|`. int64 if every
            number is a whole one without point or exponent, else float64; nan and inf are numbers
    raises  GeometryError for an empty text or row, rows of different lengths, and anything that is not a number

    >>> parse_kernel("1 2; 3 4")
    array([[1, 2],
           [3, 4]])
    >>> parse_kernel("0.5, 1e-3")
    array([[0.5  , 0.001]])
    >>> parse_kernel("1 2 | 3 4").shape
    (2, 1, 2)
    >>> parse_kernel("1 2; 3")
    Traceback (most recent call last):
    twofold.errors.GeometryError: row 2 has 1 number, but row 1 has 2
      try rows of one length, as in '1 2; 3 4'
    """
    if len(text) > _MAX_TEXT:
        raise GeometryError(f"a kernel of {len(text)} characters, more than {_MAX_TEXT}", repair="a .npy file")
    if not text.strip():
        raise GeometryError("an empty kernel: 0 numbers", repair="'1 2; 3 4'")
    slices = [[re.split(r"\s*,\s*|\s+", row.strip()) for row in part.split(";")] for part in text.split("|")]
    for s, rows in enumerate(slices):
        if len(rows) != len(slices[0]):
            raise GeometryError(
                f"slice {s + 1} has {_count(rows, 'row')}, but slice 1 has {len(slices[0])}",
                repair="slices of one shape, as in '1 2; 3 4 | 5 6; 7 8'",
            )
        for r, row in enumerate(rows):
            _check_row(row, (f"slice {s + 1}, " if len(slices) > 1 else "") + f"row {r + 1}", slices[0][0])
    array = _numbers(slices)
    return array if len(slices) > 1 else array[0]


def _check_row(row: list[str], place: str, first: list[str]) -> None:
    if row == [""]:
        raise GeometryError(f"{place} is empty: 0 numbers", repair="no ';' or '|' at the end")
    for column, number in enumerate(row):
        if not _NUMBER.fullmatch(number):
            raise GeometryError(f"{place}, number {column + 1} is not a number: {_short(number)}", repair="'1 2; 3 4'")
        if math.isinf(float(number)) and "n" not in number.lower():
            raise GeometryError(f"{place}, number {column + 1} is beyond float64: {_short(number)}", repair="inf")
    if len(row) != len(first):
        raise GeometryError(
            f"{place} has {_count(row, 'number')}, but row 1 has {len(first)}",
            repair="rows of one length, as in '1 2; 3 4'",
        )


def _numbers(slices: list[list[list[str]]]) -> npt.NDArray[Any]:
    words = [number for rows in slices for row in rows for number in row]
    shape = (len(slices), len(slices[0]), len(slices[0][0]))
    if not all(_INTEGER.fullmatch(number) for number in words):
        return np.array([float(number) for number in words]).reshape(shape)
    whole = [_whole(number) for number in words]
    return np.array(whole, np.int64).reshape(shape)


def _whole(number: str) -> int:
    # int() reads no more than 4300 digits, zeros in front included; 2^63 has 19.
    digits = number.lstrip("+-0") or "0"
    value = (-1 if number[0] == "-" else 1) * int(digits[:20])
    if len(digits) > 19 or not -(2**63) <= value < 2**63:
        raise GeometryError(f"{_short(number)} does not fit in int64", repair=f"{float(number)!r}")
    return value


def _size(name: str, first: str, options: list[str]) -> int:
    what = "factor" if first == "bilinear-up" else "size"
    largest = MAX_SIZE // 2 if first == "bilinear-up" else MAX_SIZE  # a factor makes about twice as many taps
    word = options[0] if options else ("2" if first == "bilinear-up" else "3")
    if not re.fullmatch("[0-9]{1,9}", word) or not 1 <= int(word) <= largest:
        raise GeometryError(
            f"{what} must be a whole number from 1 to {largest}, not {_short(word)} in {_short(name)}",
            repair=_USAGE[first].replace("SIZE", "5").replace("SIGMA", "1.0").replace("FACTOR", "2"),
        )
    return int(word)


def _sigma(name: str, options: list[str], size: int) -> float:
    if len(options) < 2:
        return 0.3 * ((size - 1) / 2 - 1) + 0.8  # OpenCV's, in cells
    sigma = float(options[1]) if _NUMBER.fullmatch(options[1]) else math.nan
    if not 0 < sigma < math.inf:
        raise GeometryError(
            f"sigma must be a finite number above 0, not {_short(options[1])} in {_short(name)}",
            repair=f"gaussian:{size}:1.0",
        )
    return sigma


def _gaussian(size: int, sigma: float) -> npt.NDArray[np.float64]:
    distance = np.abs(np.arange(size) - (size - 1) / 2)
    # Less the least exponent, so that the nearest tap weighs 1 and a tiny sigma does not leave 0 / 0.
    with np.errstate(over="ignore"):
        tap = np.exp(-(distance**2 - distance.min() ** 2) / sigma / sigma / 2)
    normed: npt.NDArray[np.float64] = tap / tap.sum()
    return normed


def _count(items: list[Any], noun: str) -> str:
    return f"{len(items)} {noun}" + ("s" if len(items) != 1 else "")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
