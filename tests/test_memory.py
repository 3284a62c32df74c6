"""A request is refused exactly where the machine ends."""

import numpy as np
import pytest

import twofold
from twofold import memory
from twofold.errors import GeometryError


def test_a_request_up_to_the_limit_passes_and_one_byte_more_does_not(monkeypatch):
    monkeypatch.setattr(memory, "memory_limit", lambda: 1000)
    memory.check_memory("the result", 1000)
    with pytest.raises(GeometryError, match=r"the result needs 1,001 bytes, but this machine gives 1,000"):
        memory.check_memory("the result", 1001)


def test_a_call_is_refused_by_the_bytes_of_result_and_workspace(monkeypatch):
    x, weight = np.ones((1, 1, 102)), np.ones((1, 1, 3))
    needed = 8 * 100 + 8 * 200  # the result; the cells that one tap reads, and its products
    monkeypatch.setattr(memory, "memory_limit", lambda: needed)
    assert twofold.conv(x, weight).shape == (1, 1, 100)
    monkeypatch.setattr(memory, "memory_limit", lambda: needed - 1)
    with pytest.raises(GeometryError, match=r"the whole computation needs 2,400 bytes"):
        twofold.conv(x, weight)
