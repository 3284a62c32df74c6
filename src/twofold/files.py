"""Arrays and pictures, read and written safely.

A file is taken for hostile until it is read: what it *is* is decided by its first bytes and never by its name, what it
*declares* is compared with what it *holds* before memory is asked for, and whatever a decoder throws becomes one
`FileError` of one sentence. Python objects (pickles) are never loaded. A file is written beside its target and then
moved over it, so the old file stays whole until the new one is.

Known formats: PNG, JPEG, TIFF and WebP pictures (through Pillow, loaded on first use); NPY and NPZ arrays.
Sources: numpy.lib.format (NPY), PKWARE APPNOTE (ZIP), RFC 2083 (PNG), ITU T.81 annex B (JPEG), RFC 9649 (WebP).
"""

from __future__ import annotations

import io
import math
import os
import secrets
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from twofold import pictures
from twofold.errors import FileError
from twofold.pictures import MAX_BYTES, MAX_PIXELS, MAX_RATIO, MAX_SMALL, check_ratio, quiet, refuse, to_picture

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

__all__ = [
    "ARRAY_SUFFIXES",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_RATIO",
    "MAX_SMALL",
    "PICTURE_SUFFIXES",
    "read_array",
    "read_picture",
    "to_picture",
    "write_array",
    "write_bytes",
    "write_text",
]

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}
# exact: WebP otherwise changes the colour of pixels that nobody sees.
_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True, "exact": True}}
PICTURE_SUFFIXES = tuple(_FORMATS)
ARRAY_SUFFIXES = (".npy", ".npz")

MAX_MEMBERS = 10_000  # arrays in one .npz
_MAX_DIRECTORY = 4 << 20  # bytes; 10,000 entries of 46 bytes, a name and a zip64 field fit three times
_CHUNK = 1 << 20  # bytes read or inflated at once

_MAGIC = {
    b"\x93NUMPY": "NPY",
    b"PK\x03\x04": "NPZ",
    b"PK\x05\x06": "NPZ",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}


def read_array(path: str | os.PathLike[str], *, key: str | None = None) -> Array:
    """Read an NPY or NPZ array exactly as stored, or a picture as an array.

    key     which array of an .npz; may be left out where it holds only one
    returns pictures: (height, width) for grey, (height, width, channels) for colour; uint8, but bool for 1-bit files,
            uint16 for 16-bit grey, int32 or uint32 for 32-bit grey and float32 for float TIFFs. A palette becomes RGB,
            or RGBA where it has see-through colours; CMYK becomes RGB; the EXIF orientation is applied. Of a file with
            several frames or pages, only the first is read
    raises  FileError for anything that is not a whole, honest file of a known format

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_array(f"{folder}/x.npy", np.array([[1, 2], [3, 4]]))
    ...     read_array(f"{folder}/x.npy")
    array([[1, 2],
           [3, 4]])
    """
    path = Path(path)
    with _door(path, "read"), _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        kind = _kind(file.read(16))
        file.seek(0)
        if kind == "NPZ":
            return _read_npz(file, key)
        if key is not None:
            refuse(f"holds a single array, none named {key!r}", "without key")
        return _read_npy(file, size) if kind == "NPY" else pictures.read(file, size, kind)


def read_picture(path: str | os.PathLike[str]) -> Array:
    """Read a picture, or an array file that is shaped like one: (height, width), or (height, width, 1 to 4 channels).

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_array(f"{folder}/x.png", np.zeros((2, 3, 3), np.uint8))
    ...     read_picture(f"{folder}/x.png").shape
    (2, 3, 3)
    """
    array = read_array(path)
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] <= 4)):
        rule = f"has shape {array.shape}, a picture has (height, width) or (height, width, 1 to 4 channels)"
        with _door(Path(path), "read"):
            refuse(rule, "an array of such a shape, or read_array")
    return array


def write_array(path: str | os.PathLike[str], array: npt.ArrayLike, *, overwrite: bool = True) -> None:
    """Write an array in the format its suffix names; the old file stays whole until the new one is.

    .npy .npz         any array of numbers, exactly (in .npz under the name arr_0)
    .png .tif .tiff   uint8 with 1 to 4 channels, uint16 or bool without channels, exactly; .tif takes float32 as well
    .webp             uint8, exactly, but a grey picture comes back with its channels repeated: WebP knows only colour
    .jpg .jpeg        uint8, grey or RGB, at quality 95: close, not equal
    raises            FileError for any other dtype or shape: nothing is scaled or rounded without being asked

    >>> write_array("x.png", np.full((2, 3), 0.5))
    Traceback (most recent call last):
    twofold.errors.FileError: 'x.png' cannot hold float64 of shape (2, 3) as PNG without changing it
      try twofold.files.to_picture(array, low, high), or .npy
    """
    path, array = Path(path), np.asarray(array)
    with _door(path, "written"):
        suffix = path.suffix.lower()
        if suffix not in PICTURE_SUFFIXES + ARRAY_SUFFIXES:
            known = ", ".join(PICTURE_SUFFIXES + ARRAY_SUFFIXES)
            refuse(f"has the suffix {path.suffix!r}, none of {known}", "one of these")
        if suffix in ARRAY_SUFFIXES:
            _check_numbers(array.dtype)
            save = np.save if suffix == ".npy" else np.savez
            with _replacing(path, overwrite) as file:
                save(file, array, allow_pickle=False)
            return
        kind = _FORMATS[suffix]
        image = pictures.to_image(array, kind)
        with _replacing(path, overwrite) as file, quiet():
            image.save(file, format=kind, **_OPTIONS.get(kind, {}))


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = True) -> None:
    """Write text as UTF-8, line ends as they are; the old file stays whole until the new one is.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_text(f"{folder}/a.svg", "<svg/>")
    ...     Path(f"{folder}/a.svg").read_bytes()
    b'<svg/>'
    """
    with _door(Path(path), "written"), _replacing(Path(path), overwrite) as file:
        file.write(text.encode())


def write_bytes(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = True) -> None:
    """Write bytes; the old file stays whole until the new one is.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_bytes(f"{folder}/a.bin", bytes(3))
    ...     Path(f"{folder}/a.bin").read_bytes()
    b'\\x00\\x00\\x00'
    """
    with _door(Path(path), "written"), _replacing(Path(path), overwrite) as file:
        file.write(data)


@contextmanager
def _door(path: Path, done: str) -> Iterator[None]:
    # The one place that names the file, and the one that turns into a FileError whatever decoders throw at hostile
    # bytes: OSError, SyntaxError, struct.error, zlib.error, EOFError, IndexError, MemoryError, SystemError, ...
    name = repr(str(path))
    try:
        yield
    except FileError as error:
        raise FileError(f"{name} {error.rule}", repair=error.repair) from None
    except FileNotFoundError as error:
        raise FileError(f"{name} does not exist", repair="another path") from error
    except MemoryError as error:
        raise FileError(f"{name} needs more memory than there is") from error
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(reason.split())[:200] or type(error).__name__
        raise FileError(f"{name} cannot be {done}: {reason}") from error


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    # Asked before opening, because opening a pipe waits for a writer and opening a device may do anything; and again
    # after, because the path may have been exchanged in between. O_NONBLOCK: even then nothing waits.
    _check_regular(path.stat().st_mode)

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    with open(path, "rb", opener=opener) as file:
        status = os.fstat(file.fileno())
        _check_regular(status.st_mode)
        if status.st_size == 0:
            refuse("is empty (0 bytes)")
        yield file


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        refuse("is a directory, not a file", "the path of a file in it")
    if not stat.S_ISREG(mode):
        refuse("is a pipe, socket or device, not a file", "a copy of its content in a file")


def _kind(head: bytes) -> str:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    return refuse(f"is none of PNG, JPEG, TIFF, WebP, NPY, NPZ: it begins with {head[:8]!r}", "one of these formats")


def _check_numbers(dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        refuse("holds Python objects, and unpickling them can run any code", "an array of a number dtype")
    if dtype.names is not None or dtype.subdtype is not None:
        refuse(f"holds records ({len(dtype.names or ())} fields), not numbers", "saving one field: array['name']")
    if dtype.kind not in "biufc":
        refuse(f"holds {dtype}, not numbers", "an array of a number dtype")


def _read_npy(file: BinaryIO, size: int) -> Array:
    # `size` bytes are what the file or member really has, so the header is held against it before memory is asked for.
    head = file.read(12 + 10_000)  # preamble, and the longest header that NumPy takes
    buffer = io.BytesIO(head)
    with quiet():  # NumPy warns of headers written by Python 2
        version = npy.read_magic(buffer)
        if version not in ((1, 0), (2, 0), (3, 0)):
            refuse(f"is NPY version {version[0]}.{version[1]}, known are 1.0, 2.0 and 3.0")
        # 3.0 is 2.0 with names of fields in UTF-8, and fields are refused.
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read_header(buffer)
    _check_numbers(dtype)
    need = math.prod(shape) * dtype.itemsize
    # 32 axes is what every NumPy takes. `True` is an int to Python, not to us.
    if len(shape) > 32 or any(type(n) is not int or not 0 <= n < 2**63 for n in shape) or need >= 2**63:
        refuse(f"declares the shape {str(shape)[:100]}, which no array has")
    start = buffer.tell()
    have = size - start
    if need != have:
        refuse(f"declares {dtype} of shape {shape}, which is {need} bytes, but holds {have}", "saving it again")
    raw = np.empty(need, np.uint8)
    view = raw.data
    view[: len(head) - start] = head[start:]
    at = len(head) - start
    while at < need:
        count = file.readinto(view[at : at + _CHUNK])  # type: ignore[attr-defined]  # files and zip members have it
        if not count:
            refuse(f"is cut short: {need} bytes declared, {at} found")
        at += count
    if dtype == np.bool_ and need and raw.max() > 1:
        refuse(f"declares bool but holds the byte {raw.max()}")
    return raw.view(dtype).reshape(shape, order="F" if fortran_order else "C")


class _DirectoryCap(io.BufferedReader):
    # zipfile reads the directory in one go, of whatever size the file claims, and makes an object of each entry.
    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = _MAX_DIRECTORY
        if size > _MAX_DIRECTORY:
            refuse(f"declares a zip directory of {size} bytes, more than {_MAX_DIRECTORY}")
        return super().read(size)


def _read_npz(file: BinaryIO, key: str | None) -> Array:
    raw = io.FileIO(file.fileno(), closefd=False)
    with zipfile.ZipFile(_DirectoryCap(raw)) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            refuse(f"holds {len(members)} arrays, more than {MAX_MEMBERS}", "several files")
        for member in members:
            _check_member(member)
        keys = {member.filename.removesuffix(".npy"): member for member in members}
        if len(keys) < len(members):
            refuse("holds two arrays of one name")
        names = ", ".join(repr(name) for name in list(keys)[:10]) + (", ..." if len(keys) > 10 else "")
        if not keys:
            refuse("holds no array")
        if key is None and len(keys) > 1:
            refuse(f"holds {len(keys)} arrays: {names}", f"key={next(iter(keys))!r}")
        chosen = keys.get((key if key is not None else next(iter(keys))).removesuffix(".npy"))
        if chosen is None:
            refuse(f"holds no array {key!r}, but {names}", f"key={next(iter(keys))!r}")
        check_ratio(f"holds {chosen.filename[:100]!r}, which would inflate to", chosen.file_size, chosen.compress_size)
        with archive.open(chosen) as stream:
            return _read_npy(stream, chosen.file_size)  # type: ignore[arg-type]  # IO[bytes] of a zip member


def _check_member(member: zipfile.ZipInfo) -> None:
    name = repr(member.filename)[:100]
    path = PureWindowsPath(member.filename)  # knows both kinds of slash, and drives
    if path.anchor or ".." in path.parts:
        refuse(f"holds the member {name}, which points outside")
    if not member.filename.endswith(".npy"):
        refuse(f"holds the member {name}, which is no .npy array", "an .npz file, as np.savez writes it")
    if member.flag_bits & 0x1:
        refuse(f"holds the member {name} encrypted", "an .npz file without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        refuse(f"holds the member {name} compressed by method {member.compress_type}", "np.savez_compressed")
    if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
        refuse(f"holds the member {name} of {member.compress_size} bytes, declared as {member.file_size}")
    if member.compress_type == zipfile.ZIP_DEFLATED and member.file_size > MAX_BYTES:
        refuse(f"holds the member {name}, compressed from {member.file_size} bytes, more than {MAX_BYTES}", "np.savez")


@contextmanager
def _replacing(path: Path, overwrite: bool) -> Iterator[BinaryIO]:
    # Written beside the target, on the same file system, so that os.replace is one step. A symbolic link stays one.
    target = Path(os.path.realpath(path))
    _check_target(target, overwrite)
    temporary = target.with_name(f".twofold-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException:  # an interrupt too must leave nothing behind
        with suppress(OSError):
            temporary.unlink()
        raise


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.parent.is_dir():
        refuse(f"has no directory to be in: {str(target.parent)!r} does not exist", "making it first")
    if target.is_dir():
        refuse("is a directory, not a file", "the path of a file in it")
    if target.exists():
        _check_regular(target.stat().st_mode)
        if not overwrite:
            refuse("exists already", "another path, or overwrite=True")
        if not os.access(target, os.W_OK):  # replacing would need the directory's permission only
            refuse("may not be overwritten: it is read-only", "another path")
    if not os.access(target.parent, os.W_OK):
        refuse(f"may not be written: the directory {str(target.parent)!r} is read-only", "another path")
