"""What this machine is to us: the instructions to compile for, the registers there are, its caches and cores.

    avx512     64-byte vectors, 32 registers, FMA         x86-64-v4: AVX-512 F, BW, CD, DQ, VL
    avx2       32-byte vectors, 16 registers, FMA         x86-64-v3
    x86-64     16-byte vectors, 16 registers, no FMA      the baseline: SSE2 and nothing newer
    neon       16-byte vectors, 32 registers, FMA         every 64-bit ARM
    generic    16-byte vectors, 16 registers assumed      whatever else LLVM runs on

The host is compiled for as LLVM sees it. `TWOFOLD_ISA=avx2` (or avx512, x86-64, neon) asks for another row: the plain
architecture level, without what else the host has, so that a lesser machine can be tried here and is the same anywhere.
Sources: x86-64 psABI, section 3.1.1 (levels); /sys/devices/system/cpu, /proc/self/cgroup and /sys/fs/cgroup (Linux).
"""

from __future__ import annotations

import functools
import math
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from twofold.errors import UnsupportedError

__all__ = ["ISAS", "Machine", "cross", "host"]

ISAS = ("avx512", "avx2", "x86-64", "neon")  # the words of TWOFOLD_ISA


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine to compile for. Sizes are in bytes."""

    isa: str  # a row of the table above
    triple: str  # LLVM's name of architecture, system and object format
    cpu: str  # LLVM's name of the processor, for its scheduling tables
    features: str  # LLVM's spelling: "+avx2,-avx512f"; empty where `cpu` says it all
    vector_bytes: int
    registers: int  # vector registers
    has_fma: bool
    has_bf16: bool  # vdpbf16ps (avx512_bf16)
    is_host: bool  # whether its code may be run in this process
    l1d: int = 32 << 10
    l2: int = 512 << 10
    l3: int = 4 << 20
    cores: int = 1  # that this process may use


_X86 = {  # isa -> (LLVM's name of the level, vector bytes, registers, FMA), the widest first
    "avx512": ("x86-64-v4", 64, 32, True),
    "avx2": ("x86-64-v3", 32, 16, True),
    "x86-64": ("x86-64", 16, 16, False),
}
_V3 = {"avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe", "popcnt"}
_NEEDS = {"avx512": _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}, "avx2": _V3, "x86-64": set()}
_MAX_BYTES = 1 << 16  # of a file under /proc or /sys


def host() -> Machine:
    """Return the machine that this process runs on, or the lesser one that TWOFOLD_ISA asks for.

    Detected once, and again for another TWOFOLD_ISA.
    raises  UnsupportedError if TWOFOLD_ISA is no word of `ISAS` or not run by this machine, or llvmlite does not load
    """
    word = os.environ.get("TWOFOLD_ISA", "").strip().lower()
    if not word:
        return _host()
    if word not in ISAS:
        raise UnsupportedError(f"TWOFOLD_ISA={word!r} is none of {', '.join(ISAS)}", repair="one of these, or none")
    runs = _runs()
    if word not in runs:
        raise UnsupportedError(
            f"TWOFOLD_ISA={word} asks for instructions that this machine ({_host().cpu}) does not run",
            repair=f"TWOFOLD_ISA={' or '.join(runs)}" if runs else "no TWOFOLD_ISA",
        )
    return _host() if word == _host().isa else replace(_plain(word), is_host=True)


def cross(isa: str) -> Machine:
    """Return a plain machine of this instruction set, to emit objects for; its code is not run here.

    For another architecture than the host's it is a Linux one.
    raises  UnsupportedError if `isa` is no word of `ISAS`
    """
    if isa not in ISAS:
        raise UnsupportedError(f"isa {isa!r} is none of {', '.join(ISAS)}", repair="one of these")
    return _plain(isa)


@functools.cache
def _host() -> Machine:
    triple, cpu, features = _seen_by_llvm()
    sizes = _caches()
    found = {"l1d": sizes.get(1), "l2": sizes.get(2), "l3": sizes.get(3), "cores": _cores()}
    known = {name: size for name, size in found.items() if size}
    has = {name for name, present in features.items() if present}
    flags = ",".join(("+" if present else "-") + name for name, present in sorted(features.items()))
    if _is_x86(triple):
        isa = next(isa for isa in _X86 if has >= _NEEDS[isa])
        level, width, registers, has_fma = _X86[isa]
        if isa == "x86-64" or (isa == "avx2" and "avx512f" in has):  # in between two rows: it is the lower one
            cpu, flags = level, ""
        has_bf16 = isa == "avx512" and "avx512bf16" in has
        return Machine(isa, triple, cpu, flags, width, registers, has_fma, has_bf16, True, **known)
    if _is_arm(triple):
        return Machine("neon", triple, cpu, flags, 16, 32, True, False, True, **known)
    return Machine("generic", triple, cpu, flags, 16, 16, False, False, True, **known)


def _plain(isa: str) -> Machine:
    # The architecture level and nothing beyond it; caches and cores are the host's where it could be the host.
    here = _host()
    if isa == "neon":
        triple = here.triple if _is_arm(here.triple) else "aarch64-unknown-linux-gnu"
        plain = Machine("neon", triple, "generic", "+neon", 16, 32, True, False, False)
    else:
        level, width, registers, has_fma = _X86[isa]
        triple = here.triple if _is_x86(here.triple) else "x86_64-unknown-linux-gnu"
        plain = Machine(isa, triple, level, "", width, registers, has_fma, False, False)
    if triple != here.triple:
        return plain
    return replace(plain, l1d=here.l1d, l2=here.l2, l3=here.l3, cores=here.cores)


def _runs() -> tuple[str, ...]:
    isa = _host().isa
    words = tuple(_X86)
    return words[words.index(isa) :] if isa in words else ("neon",) if isa == "neon" else ()


def _is_x86(triple: str) -> bool:
    return triple.partition("-")[0] in ("x86_64", "amd64")


def _is_arm(triple: str) -> bool:
    return triple.partition("-")[0] in ("aarch64", "arm64")


def _seen_by_llvm() -> tuple[str, str, dict[str, bool]]:
    try:
        import llvmlite.binding as llvm
    except (ImportError, OSError) as error:
        raise UnsupportedError(
            f"llvmlite, the compiler of the engine, does not load: {' '.join(str(error).split())[:200]}",
            repair="pip install --force-reinstall llvmlite",
        ) from error
    return llvm.get_process_triple(), llvm.get_host_cpu_name(), dict(llvm.get_host_cpu_features())


def _caches() -> dict[int, int]:
    # Bytes of the data cache of each level, of the first core that this process may use.
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    found = {}
    for folder in Path(f"/sys/devices/system/cpu/cpu{core}/cache").glob("index*"):
        level, kind, size = (_read(folder / name).strip() for name in ("level", "type", "size"))
        count = re.fullmatch(r"([0-9]{1,9})([KMG]?)", size)
        if kind in ("Data", "Unified") and level in ("1", "2", "3") and count:
            found[int(level)] = int(count[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[count[2]]
    return found


def _cores() -> int:
    # A quota of 1.5 cores is two threads that rest at times: rounded up.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([usable, *(math.ceil(quota) for quota in _quotas())]))


def _quotas() -> list[float]:
    # cpu.max is "max 100000" or "150000 100000": microseconds of each period. The older form is in two files.
    root = Path("/sys/fs/cgroup")
    places = {root, root / "cpu"}
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        own = line.rsplit(":", 1)[-1].lstrip("/")
        for mount in (root, root / "cpu"):
            places |= {folder for folder in (mount / own, *(mount / own).parents) if folder.is_relative_to(mount)}
    quotas = []
    for place in places:
        words = _read(place / "cpu.max").split() or [
            _read(place / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
        ]
        if len(words) == 2 and all(re.fullmatch("[0-9]{1,18}", word) for word in words) and int(words[1]):
            quotas.append(int(words[0]) / int(words[1]))
    return [quota for quota in quotas if quota > 0]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""
