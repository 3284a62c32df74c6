"""The memory of this machine: a request beyond it is refused before anything is allocated."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

from twofold.errors import GeometryError

__all__ = ["check_memory", "memory_limit"]


def check_memory(what: str, size: int) -> None:
    """Refuse `size` bytes that this machine or its container does not have, before anything is allocated.

    >>> check_memory("the result", 10**18)
    Traceback (most recent call last):
    twofold.errors.GeometryError: the result needs 1,000,000,000,000,000,000 bytes, but ...
    """
    limit = memory_limit()
    if size > limit:
        needed = f"{size:,}" if size < 10**1000 else "more than 10**1000"  # Python prints no 5000 digits
        raise GeometryError(
            f"{what} needs {needed} bytes, but this machine gives {limit:,} (the smaller of memory and cgroup limit)",
            repair="smaller arrays, or a tile at a time",
        )


@functools.cache
def memory_limit() -> int:
    """Return the bytes this process could have at most: min(physical memory, cgroup limit)."""
    limits = [sys.maxsize]
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits + _cgroup_limits())


def _cgroup_limits() -> list[int]:
    files = [Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            own = Path("/sys/fs/cgroup") / line.rsplit(":", 1)[-1].lstrip("/")
            files += [
                folder / "memory.max" for folder in (own, *own.parents) if folder.is_relative_to("/sys/fs/cgroup")
            ]
    except OSError:
        pass  # no Linux, or no /proc
    limits = []
    for file in files:
        try:
            limits.append(int(file.read_text()))  # "max" is no number
        except (OSError, ValueError):
            continue
    return [limit for limit in limits if limit > 0]
