"""Addresses read from arrays are those that NumPy says."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from twofold.engine import address as module
from twofold.engine.address import address


@pytest.mark.parametrize("way", [address, module._direct, module._asked])
def test_it_is_what_numpy_says(way):
    whole = np.arange(120, dtype="f4").reshape(2, 3, 4, 5)
    own = bytearray(64)
    arrays = [whole, whole[1:], whole[:, ::-1], whole.T, whole[0, 0, 0, :0], np.frombuffer(own, "f4"), np.asarray(3.0)]
    for array in arrays:
        assert way(array) == array.ctypes.data


def test_numpy_is_asked_where_arrays_are_made_otherwise():
    script = (
        "import sys; sys.implementation.name = 'other'\n"
        "from twofold.engine import address as module\n"
        "assert module.address is module._asked\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
