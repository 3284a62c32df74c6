"""Inputs, kernels and biases: from files, from the names of filters, and from text on the command line.

A file is a picture or an array by its content, not by its name. Of an `.npz` with several arrays, `FILE.npz:NAME`
names one, wherever a file is taken.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twofold import files, filters
from twofold.errors import FileError, GeometryError

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = ["SIDE", "Operand", "grey", "read_bias", "read_input", "read_kernel", "read_numbers"]

SIDE = 256  # cells of a picture that is explained, along one axis; a larger one is sampled
_MAX_TEXT = 1_000_000  # bytes of a kernel written as text
_MEMBER = re.compile(r"(.+\.npz):(.+)", re.IGNORECASE | re.DOTALL)
_INLINE = re.compile(r"\s*([+-]?(\.?[0-9]|nan\b|inf)|$)|.*[;|\s,]", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Operand:
    """An array and where it came from.

    source  "picture", "array" (a file), "text" (numbers, typed or in a .txt file) or "filter" (a name)
    name    what to call it in a line of output
    """

    array: Array
    source: str
    name: str

    @property
    def is_row(self) -> bool:
        """Whether it was written as one row of numbers, which is one axis if nothing speaks against it."""
        return self.source == "text" and self.array.ndim == 2 and len(self.array) == 1


def read_input(path: str | None, text: str | None) -> Operand:
    """Read the input: a file, or numbers written on the command line; exactly one of the two."""
    if (path is None) == (text is None):
        found = "there is none" if path is None else "both are there"
        raise GeometryError(f"give INPUT, a file, or --input with numbers: {found}", repair="twofold conv --help")
    if text is not None:
        return Operand(_parsed("--input", text), "text", "numbers")
    return _read_file(str(path))


def read_kernel(text: str) -> Operand:
    """Read a kernel: the name of a filter, a file, or numbers such as "1 2; 3 4"."""
    text = text.strip()
    path = Path(text)
    if _MEMBER.fullmatch(text) or path.suffix.lower() in files.ARRAY_SUFFIXES:
        return _read_file(text)
    if path.suffix.lower() == ".txt":
        return Operand(_parsed(repr(text), _read_text(path)), "text", text)
    if path.suffix.lower() in files.PICTURE_SUFFIXES:
        raise FileError(f"a kernel is no picture, as {text[:100]!r} is", repair="a .npy, .npz or .txt file")
    if text and path.is_file():
        raise FileError(f"{text[:100]!r} is none of .npy, .npz, .txt, by its suffix", repair="one of these suffixes")
    if _INLINE.match(text):
        return Operand(_parsed("--kernel", text), "text", "numbers")
    return Operand(filters.kernel(text), "filter", text)


def read_bias(text: str) -> Array:
    """Read a bias: numbers such as 0.5 or "1, 2, 3", or a .npy or .npz file."""
    return read_numbers("--bias", text).reshape(-1)


def read_numbers(where: str, text: str) -> Array:
    """Read numbers that an option gives, as text or as the name of a .npy or .npz file; or a picture, in grey."""
    if _MEMBER.fullmatch(text) or Path(text).suffix.lower() in files.ARRAY_SUFFIXES:
        return _read_file(text).array
    if Path(text).suffix.lower() in files.PICTURE_SUFFIXES:
        return grey(_read_file(text))[0]
    return _parsed(where, text)


def grey(picture: Operand) -> tuple[Array, str]:
    """Return a picture as grey numbers, sampled to at most `SIDE` cells a side, and what was done to it."""
    array, remark = picture.array, ""
    if array.ndim == 3:  # grey and alpha, or red, green, blue, perhaps alpha
        array = array[..., :3].mean(axis=-1).round() if array.shape[-1] > 2 else array[..., 0]
    step = max(math.ceil(max(array.shape) / SIDE), 1)
    if step > 1:
        array = array[::step, ::step]
        remark = f", the picture in grey and sampled to {array.shape[1]}x{array.shape[0]}"
    return array, remark


def _read_file(name: str) -> Operand:
    match = _MEMBER.fullmatch(name)
    path, key = (match[1], match[2]) if match and not Path(name).exists() else (name, None)
    array = files.read_array(path, key=key)
    with Path(path).open("rb") as file:
        is_picture = file.read(2) not in (b"\x93N", b"PK")
    return Operand(array, "picture" if is_picture else "array", name)


def _read_text(path: Path) -> str:
    # Lines are rows; what follows a # is a remark, as np.savetxt writes it.
    name = repr(str(path))
    try:
        if not path.exists():
            raise FileError(f"{name} does not exist", repair="another path")
        if not path.is_file() or path.stat().st_size > _MAX_TEXT:
            raise FileError(f"{name} is no text file of at most {_MAX_TEXT} bytes", repair="a .npy file")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileError(f"{name} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{name} is not text in UTF-8", repair="a .npy file") from error
    rows = (line.split("#")[0].strip().rstrip(";") for line in text.splitlines())
    return ";".join(row for row in rows if row)


def _parsed(where: str, text: str) -> Array:
    try:
        return filters.parse_kernel(text)
    except GeometryError as error:
        rule = error.rule.replace("an empty kernel", "empty").replace("a kernel of", "a text of")
        raise GeometryError(f"{where}: {rule}", axis=error.axis, repair=error.repair) from None
