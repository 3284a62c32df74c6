"""Picture files as arrays, through Pillow, with what they declare held against what they hold.

Pillow fills the missing part of some files with grey, ignores what is too much in others, and cuts 16-bit colour to
8 bits. So before it decodes, the structure is walked here: sizes from the header, the end mark, the amount of data.
`twofold.files` is the door; this module knows no paths, its errors begin after the file's name ("is cut short ...").
Sources: RFC 2083 (PNG), ITU T.81 annex B (JPEG), TIFF 6.0, RFC 9649 (WebP).
"""

from __future__ import annotations

import logging
import math
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import numpy as np

from twofold.errors import FileError, GeometryError, UnsupportedError

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL import Image
    from PIL.TiffImagePlugin import TiffImageFile

    Array = npt.NDArray[Any]

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_RATIO",
    "MAX_SMALL",
    "check_ratio",
    "quiet",
    "read",
    "refuse",
    "to_image",
    "to_picture",
]

MAX_PIXELS = 50_000_000  # Pillow's own limit may be set lower
MAX_BYTES = 200_000_000  # of a picture file, and of what is compressed, once decoded; 50 million pixels of 4 bytes fit
# Photographs are stored in a tenth to a fiftieth, volumes of labels in a three hundredth; deflate ends at 1/1032. Only
# flat pictures pass this ratio, and of up to MAX_SMALL decoded bytes they may: convolved, those take less than 1 GiB.
MAX_RATIO = 400  # decoded to stored bytes
MAX_SMALL = 16_000_000
_MAX_SEGMENTS = 100_000  # PNG chunks or JPEG segments; each costs a step in Python
_MAX_SCANS = 100  # of a JPEG; each walks over the whole picture, and honest encoders make about ten
_CHUNK = 1 << 20  # bytes inflated, or pixels copied, at once

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG colour type
# Adam7: first column, first row, column step, row step of each pass.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# A JPEG marker; FF00 is a data byte, FF01 and FFD0..FFD8 stand alone and FFFF is a filling.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")

_BYTES = {"1": 1, "L": 1, "LA": 2, "La": 2, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2, "P": 3, "PA": 4, "RGB": 3}
_BYTES |= {"CMYK": 3, "YCbCr": 3, "LAB": 3, "RGBX": 3}  # of a pixel of the array, by mode; other modes have 4
_MODES = {"CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA"}


# Pillow logs what it refuses, and without any handler logging prints to stderr; who asks for the log still gets it.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def refuse(rule: str, repair: str | None = None) -> NoReturn:
    """Raise the FileError that says so."""
    raise FileError(rule, repair=repair)


def check_ratio(what: str, decoded: int, stored: int) -> None:
    """Refuse what a few stored bytes are to become very many of: a decompression bomb."""
    if decoded > MAX_SMALL and decoded > MAX_RATIO * stored:
        rule = f"{what} {decoded} bytes from {stored}, more than {MAX_RATIO} times as many, as a bomb does"
        refuse(rule, "a smaller one, or .npy")


# warnings.catch_warnings swaps a list of the whole process: two threads inside it at once would leave it wrong.
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a decoder's warnings from the caller."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read(file: BinaryIO, size: int, kind: str) -> Array:
    """Decode the first frame of a file of `size` bytes; `kind` is PNG, JPEG, TIFF or WEBP, read off its first bytes."""
    from PIL import Image, ImageOps

    if size > MAX_BYTES:
        refuse(f"is a picture file of {size} bytes, more than {MAX_BYTES}", "a smaller picture, or .npy")
    if kind in _CHECKS:
        _CHECKS[kind](file, size)
    try:
        # `formats`: Pillow must reach no other decoder; its EPS reader, for one, starts a program.
        with quiet(), Image.open(file, formats=(kind,)) as image:
            _check_pixels(*image.size)
            check_ratio("would decode to", image.width * image.height * _BYTES.get(image.mode, 4), size)
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image._decompression_bomb_check(image.size)  # a stricter limit that was set in Pillow holds too
            if kind == "TIFF":
                _check_tiff(image, size)  # type: ignore[arg-type]  # by its kind
            image.load()
            with suppress(Exception):  # a broken EXIF block does not make the pixels wrong
                ImageOps.exif_transpose(image, in_place=True)
            return _to_array(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        rule = f"has more pixels than Pillow is set to read: {str(error).rstrip('.')}"
        raise FileError(rule, repair="a smaller picture, or .npy") from error


def to_image(array: Array, kind: str) -> Image.Image:
    """The Pillow image that `kind` stores without loss of its own making; refused where there is none."""
    from PIL import Image

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    colour = array.ndim == 3 and array.shape[2] in ((3,) if kind == "JPEG" else (2, 3, 4))
    if not array.size or not (array.ndim == 2 or colour):
        shapes = "(height, width), (height, width, 3)" + ("" if kind == "JPEG" else " or 2 or 4 channels")
        refuse(f"cannot hold the shape {array.shape}: {kind} takes {shapes}", "another shape, or .npy")
    height, width = array.shape[:2]
    name = array.dtype.name
    if name == "uint8" or (name == "bool" and not colour):
        return Image.fromarray(np.ascontiguousarray(array))
    if name == "uint16" and not colour and kind in ("PNG", "TIFF"):
        # Not fromarray: it makes 32-bit images of uint16 since Pillow 13.
        return Image.frombytes("I;16", (width, height), array.astype("<u2").tobytes())
    if name == "float32" and not colour and kind == "TIFF":
        return Image.fromarray(np.ascontiguousarray(array, dtype=np.float32))
    return refuse(
        f"cannot hold {array.dtype} of shape {array.shape} as {kind} without changing it",
        "twofold.files.to_picture(array, low, high), or .npy",
    )


def to_picture(array: npt.ArrayLike, low: float | None = None, high: float | None = None) -> npt.NDArray[np.uint8]:
    """Map [low, high] linearly to 0..255, rounded to the nearest (halves to even); what lies outside is clipped.

    low, high  by default the least and greatest finite value; an array of equal values becomes 0
    returns    uint8 of the same shape; NaN becomes 0, infinities 0 and 255
    raises     UnsupportedError unless the array holds real numbers; GeometryError unless low < high

    >>> to_picture([-1.0, 0.0, 1.0, np.nan])
    array([  0, 128, 255,   0], dtype=uint8)
    >>> to_picture([0.0, 0.5, 2.0], low=0, high=1)
    array([  0, 128, 255], dtype=uint8)
    """
    values = np.asarray(array)
    if values.dtype.kind not in "biuf":
        raise UnsupportedError(f"a picture needs real numbers, not {values.dtype}", repair="abs(array) or array.real")
    if not all(bound is None or math.isfinite(bound) for bound in (low, high)) or (
        low is not None and high is not None and not low < high
    ):
        raise GeometryError(
            f"low must be less than high, and both finite, not {low} and {high}", repair="low=0, high=1"
        )
    values = values.astype(np.float64) / 2  # halved, so that high - low cannot overflow
    finite = values[np.isfinite(values)] if low is None or high is None else np.empty(0)
    bottom = low / 2 if low is not None else finite.min() if finite.size else 0.0
    top = high / 2 if high is not None else finite.max() if finite.size else 0.5
    span = top - bottom if bottom < top else 1.0
    with np.errstate(all="ignore"):
        levels = np.clip(np.rint((values - bottom) / span * 255), 0, 255)
    picture: npt.NDArray[np.uint8] = np.nan_to_num(levels, nan=0).astype(np.uint8)
    return picture


def _to_array(image: Image.Image) -> Array:
    mode = _MODES.get(image.mode, image.mode)
    if mode in ("P", "PA"):
        mode = "RGBA" if image.has_transparency_data else "RGB"
    unsigned = image.mode == "I" and image.format == "TIFF" and 1 in _tag(image, 339, 1)
    if mode != image.mode:
        image = image.convert(mode)
    # Copied in strips: Pillow copies what it hands over twice, and 358 MB thrice would pass a GiB.
    width, height = image.size
    rows = max(1, _CHUNK // width)
    array: Array | None = None
    for top in range(0, height, rows):
        strip = np.asarray(image.crop((0, top, width, min(top + rows, height))))
        if array is None:
            array = np.empty((height, *strip.shape[1:]), strip.dtype.newbyteorder("="))
        # Pillow's True is the byte 255, with which NumPy counts and compares wrongly.
        array[top : top + rows] = strip.view(np.uint8) != 0 if mode == "1" else strip
    if array is None:
        refuse("holds no pixels")
    return array.view(np.uint32) if unsigned else array  # Pillow has no unsigned 32-bit mode: same bits


def _check_pixels(width: int, height: int) -> None:
    if width < 1 or height < 1:
        refuse(f"declares a picture of {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        refuse(
            f"declares {width} x {height} = {width * height} pixels, more than {MAX_PIXELS}",
            "a smaller picture, or .npy",
        )


def _check_png(file: BinaryIO, size: int) -> None:
    # Inflates all data once, piece by piece, since Pillow stops where its picture is full and never sees the rest.
    file.seek(8)
    head = file.read(25)
    if len(head) < 25 or head[4:8] != b"IHDR":
        refuse("is cut short or damaged: a PNG begins with its header")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head[8:21])
    _check_pixels(width, height)
    if depth == 16 and colour != 0:
        refuse("holds 16-bit colour, which Pillow would cut to 8 bits", "8-bit colour, or .npy")
    need, have, inflater = 0, 0, zlib.decompressobj()
    for x, y, step_x, step_y in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-max(0, width - x) // step_x), -(-max(0, height - y) // step_y)
        # A row is a filter byte, then whole bytes of pixels; a pass without columns has no rows either.
        need += rows * (1 + -(-columns * depth * _CHANNELS.get(colour, 0) // 8)) if columns else 0
    for _ in range(_MAX_SEGMENTS):
        head = file.read(8)
        length, name = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
        if not name or file.tell() + length + 4 > size:
            refuse("is cut short: the PNG has no end mark")
        if name == b"IEND":
            have += len(inflater.flush())
            if have != need or not inflater.eof:
                refuse(f"declares {width} x {height} pixels, which is {need} bytes, but holds {have}")
            return
        after = file.tell() + length + 4
        while name == b"IDAT" and length and not inflater.eof and have <= need:
            piece = file.read(min(length, _CHUNK))
            length -= len(piece)
            while piece and have <= need:
                have += len(inflater.decompress(piece, _CHUNK))
                piece = inflater.unconsumed_tail
        if have > need:  # before flush(), which inflates whatever is left, without a bound
            refuse(f"declares {width} x {height} pixels, which is {need} bytes, but holds {have} or more")
        file.seek(after)
    refuse(f"holds more than {_MAX_SEGMENTS} chunks")


def _check_jpeg(file: BinaryIO, size: int) -> None:
    # libjpeg fills up with grey where data end early, and a scan of a few bytes costs it a walk over all pixels.
    file.seek(0)
    data, at, scans = file.read(size), 2, 0
    for _ in range(_MAX_SEGMENTS):
        marker = _MARKER.search(data, at)
        if marker is None:
            refuse("is cut short: the JPEG has no end mark")
        code = data[marker.end() - 1]
        if code == 0xD9:
            return
        scans += code == 0xDA
        if scans > _MAX_SCANS:
            refuse(f"holds more than {_MAX_SCANS} scans", "saving it again")
        if code in _FRAMES and len(data) >= marker.end() + 7:
            _check_pixels(*struct.unpack(">HH", data[marker.end() + 3 : marker.end() + 7])[::-1])
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    refuse(f"holds more than {_MAX_SEGMENTS} segments")


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers followed by the size of the picture


def _check_webp(file: BinaryIO, size: int) -> None:
    # libwebp asks for two canvases as soon as it opens the file.
    file.seek(0)
    head = file.read(30)
    declared = int.from_bytes(head[4:8], "little") + 8
    if declared > size or len(head) < 30:
        refuse(f"is cut short: {declared} bytes declared, {size} found")
    bits = int.from_bytes(head[21:25], "little")
    match head[12:16]:
        case b"VP8 ":
            width, height = (n & 0x3FFF for n in struct.unpack("<HH", head[26:30]))
        case b"VP8L":
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case _:
            width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
    _check_pixels(width, height)


def _tag(image: Image.Image, number: int, default: int) -> tuple[Any, ...]:
    value = image.tag_v2.get(number, default)  # type: ignore[attr-defined]  # a TiffImageFile, by its format
    return value if isinstance(value, tuple) else (value,)


def _check_tiff(image: TiffImageFile, size: int) -> None:
    depth = max(_tag(image, 258, 1))
    if depth > 8 and image.mode not in ("I", "F", "I;16", "I;16B", "I;16L", "I;16N"):
        refuse(f"holds {depth}-bit colour, which Pillow would cut to 8 bits", "8-bit colour, or .npy")
    for offsets, counts in ((273, 279), (324, 325)):  # strips, tiles
        if offsets in image.tag_v2 and counts in image.tag_v2:
            starts, lengths = _tag(image, offsets, 0), _tag(image, counts, 0)
            end = max((a + b for a, b in zip(starts, lengths, strict=False)), default=0)
            if end > size:
                refuse(f"is cut short: its data end at byte {end}, the file at {size}")
            width, height = image.size
            need = height * (-(-width * sum(_tag(image, 258, 1)) // 8))
            if _tag(image, 259, 1) == (1,) and image.mode != "YCbCr" and sum(lengths) < need:
                refuse(f"declares {width} x {height} pixels, which is {need} bytes, but holds {sum(lengths)}")


_CHECKS = {"PNG": _check_png, "JPEG": _check_jpeg, "WEBP": _check_webp}
