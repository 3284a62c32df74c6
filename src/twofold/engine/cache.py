"""A folder of small files that only this user may write: machine code, and what `tune` found out.

    get(key) -> bytes, put(key, payload)      nothing where there is no such file, or anything is wrong with it
    info() -> CacheInfo, clear()

It is TWOFOLD_CACHE=DIR, or the platform's cache directory; there is none where TWOFOLD_CACHE=off. A file is named by
its key, a SHA-256, and holds a header (magic, format, that key, length and SHA-256 of the rest) and the payload.
Machine code runs with the rights of the user, so only what the user alone may write is taken; whatever else is wrong
(cut, changed, foreign, full, read-only) costs a compilation, never an error.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FORMAT", "LIMIT", "CacheInfo", "clear", "get", "info", "put"]

LIMIT = 64 << 20  # bytes of the cache; the kernels used longest ago go first. A kernel is about 4 KB
FORMAT = 1
_HEADER = struct.Struct("<8sI32sQ32s")  # magic, format, key, bytes that follow, their SHA-256
_MAGIC = b"twofold\n"
_OURS = re.compile(r"[0-9a-f]{64}(\.code|\.[0-9a-f]{16}\.tmp)")
_STALE = 3600  # seconds after which the unfinished file of a process that died is removed
_LOST = (OSError, ValueError, MemoryError)  # what reading and writing the cache may meet


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """The cache as it is now."""

    path: Path | None  # None where there is none
    files: int
    bytes: int
    limit: int
    usable: bool  # whether code is taken from it, or would be once there is some
    reason: str  # why not, or why nothing new is kept; empty if all is well


def info() -> CacheInfo:
    """Return where the cache is, what it holds, and whether it is used."""
    directory, reason = _directory()
    if directory is None:
        return CacheInfo(None, 0, 0, LIMIT, False, reason)
    reason = _distrust(directory)
    files = [] if reason else _files(directory)
    usable = not reason
    if usable and not os.access(_existing(directory), os.W_OK | os.X_OK):
        reason = f"{str(directory)!r} may not be written: nothing new is kept"
        usable = directory.exists()
    return CacheInfo(directory, len(files), sum(size for _, size, _ in files), LIMIT, usable, reason)


def clear() -> int:
    """Remove what the cache holds and return how many files that were. Files of others are left alone."""
    directory, _ = _directory()
    if directory is None or _distrust(directory):
        return 0
    return sum(_removed(path) for _, _, path in _files(directory))


def get(key: bytes) -> bytes:
    """Return what the cache holds for this key, checked; nothing if anything about it is wrong."""
    directory, _ = _directory()
    if directory is None or _distrust(directory):
        return b""
    path = directory / f"{key.hex()}.code"
    flags = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
    try:
        with open(os.open(path, flags), "rb") as file:  # noqa: PTH123  # Path.open takes no flags
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode) or _others_may_write(state) or state.st_size > LIMIT:
                return b""
            raw = file.read(state.st_size)
    except _LOST:
        return b""
    with suppress(*_LOST):
        os.utime(path)  # used now
    return _opened(raw, key)


def _opened(raw: bytes, key: bytes) -> bytes:
    payload = raw[_HEADER.size :]
    expected = _HEADER.pack(_MAGIC, FORMAT, key, len(payload), hashlib.sha256(payload).digest())
    return payload if raw.startswith(expected) else b""


def put(key: bytes, payload: bytes) -> None:
    """Keep this for this key, in one step; nothing happens where that is not possible."""
    raw = _HEADER.pack(_MAGIC, FORMAT, key, len(payload), hashlib.sha256(payload).digest()) + payload
    directory, _ = _directory()
    if directory is None or len(raw) > LIMIT:
        return
    temporary = directory / f"{key.hex()}.{secrets.token_hex(8)}.tmp"
    try:
        for folder in (*reversed(directory.parents), directory):
            if not folder.exists():
                with suppress(FileExistsError):
                    folder.mkdir(0o700)
        if _distrust(directory):
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with open(os.open(temporary, flags, 0o600), "wb") as file:  # noqa: PTH123
            file.write(raw)
        os.replace(temporary, directory / f"{key.hex()}.code")  # noqa: PTH105  # one step; the old file is whole till then
    except _LOST:
        _removed(temporary)
        return
    _bound(directory)


def _bound(directory: Path) -> None:
    files = sorted(_files(directory))
    total = sum(size for _, size, _ in files)
    for used, size, path in files:
        is_unfinished = path.suffix == ".tmp"
        if (is_unfinished and time.time() - used > _STALE) or (not is_unfinished and total > LIMIT):
            _removed(path)  # or somebody else has removed it
            total -= size


def _files(directory: Path) -> list[tuple[float, int, Path]]:
    """Return when each of our files was last used, its bytes and its path."""
    found = []
    with suppress(*_LOST), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    state = entry.stat(follow_symlinks=False)
                    found.append((state.st_mtime, state.st_size, directory / entry.name))
    return found


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _directory() -> tuple[Path | None, str]:
    """Return the directory of the cache, or None and why there is none."""
    wish = os.environ.get("TWOFOLD_CACHE", "")
    if wish.lower() == "off":
        return None, f"TWOFOLD_CACHE={wish}"
    try:
        if wish:
            return Path(wish).expanduser().absolute(), ""
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA", "") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            given = Path(os.environ.get("XDG_CACHE_HOME", ""))
            base = given if given.is_absolute() else Path.home() / ".cache"
        return (base / "twofold" / "code").absolute(), ""
    except (RuntimeError, OSError) as error:  # no home, no working directory
        return None, f"no cache directory is known: {error}"


def _distrust(directory: Path) -> str:
    """Say why no code is taken from this directory; empty if it is, or would be once it is there."""
    said = repr(str(directory))
    try:
        state = directory.lstat()
        if stat.S_ISLNK(state.st_mode):
            return f"{said} is a symbolic link"
        if not stat.S_ISDIR(state.st_mode):
            return f"{said} is not a directory"
        if _others_may_write(state):
            return f"{said} belongs to another user, or others may write to it"
    except FileNotFoundError:
        pass
    except _LOST as error:
        return f"{said} cannot be read: {getattr(error, 'strerror', None) or error}"
    real = Path(os.path.realpath(directory.parent))  # Path.resolve raises on a loop of links
    for parent in dict.fromkeys((*directory.parents, real, *real.parents)) if os.name != "nt" else ():
        with suppress(*_LOST):
            mode = parent.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                return f"everybody may write to {str(parent)!r}, above it"
    return ""


def _others_may_write(state: os.stat_result) -> bool:
    # On Windows the user's own profile is closed to others by its access list.
    if os.name == "nt":
        return False
    return state.st_uid != os.geteuid() or bool(state.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _existing(directory: Path) -> Path:
    return next((folder for folder in (directory, *directory.parents) if folder.exists()), directory)
