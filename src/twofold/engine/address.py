"""Where the memory of an array begins, in a quarter of a microsecond.

`__array_interface__` and `ctypes` take six times as long, and a call asks four times: a quarter of a small layer. An
array of CPython holds the address behind what every object begins with (`PyArrayObject_fields` of NumPy's C interface);
that this is so is looked at once, and where it is not, NumPy is asked.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["address"]

_BEHIND = object.__basicsize__
_read = ctypes.c_size_t.from_address


def _direct(array: npt.NDArray[Any]) -> int:
    return _read(id(array) + _BEHIND).value


def _asked(array: npt.NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def _is_there() -> bool:
    whole = np.zeros((3, 4))
    probes = (whole, whole[1:, ::2], whole.T, np.zeros(0), np.float32(1) * np.ones(()))
    return sys.implementation.name == "cpython" and all(_direct(a) == _asked(a) for a in map(np.asarray, probes))


address = _direct if _is_there() else _asked
