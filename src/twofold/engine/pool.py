"""Large results in memory that was used before: fresh pages cost as much as the convolution that fills them.

    below 32 MiB       np.empty, whose pages the C library keeps from one array to the next
    from 32 MiB up     a mapping of our own, with huge pages; when the last view of it dies, it is kept for the next

There is one pool for all threads: an array often dies in another thread than it was made in, and a pool for each thread
would multiply the bound by their number. It keeps at most 512 MiB or an eighth of the memory, whichever is less; what
was kept longest goes first. TWOFOLD_POOL=256M (or K, G, or plain bytes) sets another bound, and TWOFOLD_POOL=off leaves
everything to np.empty. What arrays use is not counted, only what waits for the next one.

There is no lock, only single operations of a dict, which Python does as one: the garbage collector may run a finalizer
in the middle of any function here, in the same thread, and a forked child would keep a lock that was held.
Source: madvise(2), MADV_HUGEPAGE: for private anonymous memory; Python's mmap is shared unless told otherwise.
"""

from __future__ import annotations

import functools
import math
import mmap
import os
import re
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold.engine.address import address
from twofold.errors import UnsupportedError
from twofold.memory import memory_limit

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["THRESHOLD", "clear", "empty", "kept"]

_ALIGNED = 1 << 16  # bytes from which it pays to look where memory begins
THRESHOLD = 32 << 20  # bytes; the largest block that glibc keeps (DEFAULT_MMAP_THRESHOLD_MAX, mallopt(3))
_SMALL = 64 << 10
_PAGE = 2 << 20  # a huge one, of x86-64 and of most ARM
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30}

_Block = np.ndarray[tuple[int], np.dtype[np.uint8]]  # the whole of a mapping

_kept: dict[int, _Block] = {}  # by address, the one kept longest first


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array with whatever was in its memory; C order, and aligned to 64 bytes from 64 KiB up.

    Its base is not None from there up, so `resize` in place refuses it.
    raises  MemoryError, in NumPy's words, if the system does not give that much;
            UnsupportedError if TWOFOLD_POOL is neither off nor a number of bytes

    >>> empty((2, 3), np.float32).shape
    (2, 3)
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < THRESHOLD or min(shape, default=0) < 0 or kind.hasobject or kind.subdtype:
        return _plain(shape, kind, size)
    grain = _PAGE if size >= _PAGE else _SMALL
    rounded = -(-size // grain) * grain
    if rounded > _bound():  # it could never be kept
        return _plain(shape, kind, size)
    block = _taken(rounded)
    if block is None:
        block = _mapped(rounded)
    if block is None:
        clear()  # what waits may be what is missing
        return _plain(shape, kind, size)
    loan = _Loan(block)
    weakref.finalize(loan, _keep, block).atexit = False
    return np.asarray(loan)[:size].view(kind).reshape(shape)


def _plain(shape: tuple[int, ...], kind: np.dtype[Any], size: int) -> NDArray[Any]:
    # NumPy's memory begins at multiples of 16; stores past the caches want whole vectors.
    if size < _ALIGNED or min(shape, default=0) < 0 or kind.hasobject or kind.subdtype:
        return np.empty(shape, kind)
    raw = np.empty(size + 64, np.uint8)
    return np.ndarray(shape, kind, raw, -address(raw) % 64)


def kept() -> int:
    """Return the bytes that wait for another array."""
    return sum(block.nbytes for block in _kept.copy().values())


def clear() -> None:
    """Give all that waits back to the system."""
    _kept.clear()


class _Loan:
    """What every array on a mapping has at its root: when it dies, the last of them has died.

    NumPy forgets the arrays between a view and the owner of its memory, but not an owner that is no array.
    """

    __slots__ = ("__array_interface__", "__weakref__", "_block")

    def __init__(self, block: _Block) -> None:
        self.__array_interface__ = block.__array_interface__
        self._block = block  # arrays may outlive the finalizers, when Python ends


def _taken(size: int) -> _Block | None:
    """Return the smallest kept mapping that fits and is at most twice as large; it is no longer kept."""
    fits = [(block.nbytes, place) for place, block in _kept.copy().items() if size <= block.nbytes <= 2 * size]
    for _, place in sorted(fits):
        block = _kept.pop(place, None)
        if block is not None:  # else another thread was faster
            return block
    return None


def _keep(block: _Block) -> None:
    # A finalizer: run in any thread, in the middle of anything.
    try:
        bound = _bound()
    except UnsupportedError:  # said by `empty`; here there is nobody to tell
        bound = 0
    _kept[address(block)] = block
    for place in _kept.copy():
        if kept() <= bound:
            break
        _kept.pop(place, None)


def _mapped(size: int) -> _Block | None:
    """Return a new mapping of so many bytes; None if the system gives none, or knows no private ones."""
    if sys.platform == "win32":
        return None
    try:
        mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError, MemoryError):
        return None
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            mapping.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(mapping, np.uint8)


def _bound() -> int:
    return _parsed(os.environ.get("TWOFOLD_POOL", ""))


@functools.lru_cache(maxsize=16)
def _parsed(word: str) -> int:
    said = word.strip().upper()
    if not said:
        return min(512 << 20, memory_limit() // 8)
    if said == "OFF":
        return 0
    number = re.fullmatch(r"([0-9]{1,18})([KMG]?)", said)
    if number is None:
        raise UnsupportedError(
            f"TWOFOLD_POOL={word!r} is neither off nor a number of bytes", repair="TWOFOLD_POOL=256M, or off"
        )
    return int(number[1]) << _UNITS[number[2]]
