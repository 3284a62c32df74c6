"""What this machine is to us, as far as it says so: processor, cores, caches, OpenMP. What it does not say is None.

Sources: /proc/cpuinfo and /sys/devices/system/cpu (Linux), /sys/fs/cgroup (containers); elsewhere `platform` only.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import math
import os
import platform
import re
import sys
from pathlib import Path

__all__ = ["ISA", "caches", "cores", "cpu_model", "instruction_sets", "openmp"]

ISA = ("avx2", "fma", "avx512f", "amx", "neon")
_CPUINFO = Path("/proc/cpuinfo")
_MAX_BYTES = 1 << 20  # of a file under /proc or /sys


def cpu_model() -> str | None:
    """Return what the processor calls itself."""
    named = re.search(r"^model name\s*:\s*(.+)$", _read(_CPUINFO), re.MULTILINE)
    return named[1].strip() if named else platform.processor() or None


def instruction_sets() -> dict[str, bool | None]:
    """Return, for each vector instruction set of `ISA`, whether this machine has it; None where nothing says so."""
    machine = platform.machine().lower()
    if machine in ("arm64", "aarch64"):  # where it is part of the architecture
        return {name: name == "neon" for name in ISA}
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read(_CPUINFO), re.MULTILINE)
    if found is None:
        return dict.fromkeys(ISA) if machine not in ("x86_64", "amd64") else {**dict.fromkeys(ISA), "neon": False}
    flags = set(found[1].split())
    named = {"amx": "amx_tile", "neon": "asimd"}
    return {name: named.get(name, name) in flags for name in ISA}


def cores() -> dict[str, float | int | None]:
    """Return the cores there are, those this process may run on, and the share of time its container grants."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"present": os.cpu_count(), "usable": usable, "quota": _quota()}


def caches() -> dict[str, int]:
    """Return the bytes of each cache of the first core, by name: L1 Data, L2 Unified, …"""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(folder / name).strip() for name in ("level", "type", "size"))
        count = re.fullmatch(r"([0-9]+)([KMG]?)", size)
        if kind != "Instruction" and level and count:
            found[f"L{level} {kind.lower()}"] = int(count[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[count[2]]
    return found


def openmp() -> list[str]:
    """Return the OpenMP runtimes of the system, and of a torch that is installed."""
    found = [name for name in (ctypes.util.find_library(word) for word in ("gomp", "omp", "iomp5")) if name]
    return found + [f"{path.name} (of torch)" for path in _torch_libraries() if re.match(r"lib(g|i)?omp", path.name)]


def _torch_libraries() -> list[Path]:
    torch = sys.modules.get("torch")
    spec = torch.__spec__ if torch else importlib.util.find_spec("torch")  # finds it, and does not load it
    places = spec.submodule_search_locations if spec else None
    return sorted(
        path
        for place in places or ()
        for folder in ("lib", "../torch.libs")
        for path in Path(place, folder).glob("*omp*")
    )


def _quota() -> float | None:
    # "max 100000" or "150000 100000": microseconds of each period; the older form is in two files.
    words = _read(Path("/sys/fs/cgroup/cpu.max")).split()
    if len(words) != 2:
        folder = Path("/sys/fs/cgroup/cpu")
        words = [_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if not all(re.fullmatch("[0-9]+", word) for word in words) or int(words[1]) == 0:
        return None
    quota = int(words[0]) / int(words[1])
    return quota if math.isfinite(quota) and quota > 0 else None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""
