"""`twofold doctor`: what this machine and this installation are to us."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from typing import Annotated, Any

import typer

from twofold.cli.console import print_json, print_table, size_text

__all__ = ["doctor"]

_NEEDED = ("numpy", "llvmlite", "typer", "rich", "pillow")
_PEERS = ("torch", "scipy", "jax", "tensorflow", "onnxruntime", "opencv-python")
_OURS = ("docs", "bench", "test", "check")  # extras for those who work on twofold itself


def doctor(
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object for programs.")] = False,
) -> None:
    """Say what this machine and this installation offer.

    Processor, cores, memory, versions, and what is installed beside twofold.
    Paste it into a bug report.

    Examples:
      twofold doctor
      twofold doctor --json
    """
    facts = _facts()
    if as_json:
        print_json(facts)
    else:
        print_table(_rows(facts))


def _facts() -> dict[str, Any]:
    from twofold import __version__
    from twofold.cli import machine
    from twofold.cli.cache import cache_facts
    from twofold.memory import memory_limit

    return {
        "twofold": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _installed(name) for name in _NEEDED},
        "cpu": machine.cpu_model(),
        "isa": machine.instruction_sets(),
        "cores": machine.cores(),
        "caches": machine.caches(),
        "memory_limit": memory_limit(),
        "openmp": machine.openmp(),
        "code_cache": cache_facts(),
        "extras": _extras(),
        "peers": {name: _installed(name) for name in _PEERS},
    }


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    isa = facts["isa"]
    has = [name for name, present in isa.items() if present]
    lacks = [name for name, present in isa.items() if present is False]
    unsure = [name for name, present in isa.items() if present is None]
    said = (" ".join(has), f"not {', '.join(lacks)}" if lacks else "", f"unknown {', '.join(unsure)}" if unsure else "")
    return [
        ("twofold", facts["twofold"]),
        ("Python", facts["python"]),
        ("system", facts["system"]),
        ("packages", _named(facts["packages"])),
        ("CPU", facts["cpu"] or "unknown"),
        ("instructions", "; ".join(part for part in said if part)),
        ("cores", _cores_text(facts["cores"])),
        ("caches", ", ".join(f"{name} {size_text(size)}" for name, size in facts["caches"].items()) or "unknown"),
        ("memory", f"{size_text(facts['memory_limit'])} at most"),
        ("OpenMP", ", ".join(facts["openmp"]) or "none found"),
        ("code cache", _cache_text(facts["code_cache"])),
        ("extras", "\n".join(_extra_text(name, parts) for name, parts in facts["extras"].items()) or "unknown"),
        ("peers", _named(facts["peers"])),
    ]


def _cores_text(cores: dict[str, Any]) -> str:
    quota = f", granted the time of {cores['quota']:g}" if cores["quota"] else ""
    return f"{cores['usable'] or 'unknown'} usable of {cores['present'] or 'unknown'}{quota}"


def _cache_text(cache: dict[str, Any]) -> str:
    if not cache["files"]:
        return f"not used: {cache['reason']}" if not cache["usable"] else "empty: filled when a layer first runs"
    remark = f"; {cache['reason']}" if cache["reason"] else ""
    return f"{cache['files']} of {size_text(cache['bytes'])} in {cache['path']}{remark}"


def _extras() -> dict[str, dict[str, str | None]]:
    # From what the installed package says of itself; a source tree that is not installed says nothing.
    try:
        requirements = metadata.requires("twofold") or []
    except metadata.PackageNotFoundError:
        return {}
    extras: dict[str, dict[str, str | None]] = {}
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", requirement)
        if name and extra and extra[1] not in _OURS:
            extras.setdefault(extra[1], {})[name[0]] = _installed(name[0])
    return extras


def _extra_text(name: str, parts: dict[str, str | None]) -> str:
    missing = [part for part, found in parts.items() if found is None]
    if not missing:
        return f"{name}: {_named(parts)}"
    return f"{name}: lacks {', '.join(missing)}; pip install 'twofold[{name}]'"


def _named(packages: dict[str, str | None]) -> str:
    there = [f"{name} {found}" for name, found in packages.items() if found]
    absent = [name for name, found in packages.items() if not found]
    return "; ".join(part for part in (", ".join(there), f"not {', '.join(absent)}" if absent else "") if part)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
