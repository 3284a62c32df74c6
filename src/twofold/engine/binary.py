"""LLVM IR as text -> machine code in this process, by way of a checked cache on disk.

    load(name, ir, machine) -> Code       compiled, or taken from the cache; stays for as long as the process lives
    emit_object, emit_assembly            the same for any machine, this one or another; nothing is loaded
    info() -> CacheInfo, clear()          the cache

The cache is a folder of files, one per kernel: TWOFOLD_CACHE=DIR, or the platform's cache directory; without one where
TWOFOLD_CACHE=off. A file is named by the SHA-256 of all that the code depends on (`_key`), and holds a header (magic,
format, that key, length and SHA-256 of the rest), the names of the functions, and an object as compilers write them.
Machine code runs with the rights of the user, so only what the user alone may write is taken; whatever else is wrong
with the cache (cut, changed, foreign, full, read-only) costs a compilation, never an error.

No passes run over the IR: kernels are emitted as they should be. Code is linked by LLVM's RuntimeDyld under the large
code model: its sections may lie anywhere, and where a system refuses executable memory it says so, while JITLink, of
LLVM 22, ends the process.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import re
import secrets
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold import __version__
from twofold.engine.machine import Machine
from twofold.errors import UnsupportedError

__all__ = ["LIMIT", "CacheInfo", "Code", "clear", "emit_assembly", "emit_object", "info", "load"]

LIMIT = 64 << 20  # bytes of the cache; the kernels used longest ago go first. A kernel is about 4 KB
_CODEGEN = {"opt": 2, "reloc": "pic", "codemodel": "jitdefault"}
_HEADER = struct.Struct("<8sI32sQ32s")  # magic, format, key, bytes that follow, their SHA-256
_MAGIC, _FORMAT = b"twofold\n", 1
_OURS = re.compile(r"[0-9a-f]{64}(\.code|\.[0-9a-f]{16}\.tmp)")
_STALE = 3600  # seconds after which the unfinished file of a process that died is removed
_LOST = (OSError, ValueError, MemoryError)  # what reading and writing the cache may meet

_lock = threading.RLock()  # one thread at a time in LLVM: llvmlite would make them queue anyway
_codes: dict[bytes, Code] = {}
_libraries = itertools.count()  # LLVM wants a new name for each, also after one that failed
if hasattr(os, "register_at_fork"):  # a child must not be born while another thread is in LLVM
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """Functions as machine code in this process. It is never unloaded: threads may be running it."""

    name: str
    machine: Machine
    origin: str  # "compiled in 18 ms" or "cache, 0.4 ms"
    addresses: Mapping[str, int]
    _ir: str | Callable[[], str]

    def address(self, symbol: str) -> int:
        """Return where this function begins; KeyError if it defines no such function."""
        return self.addresses[symbol]

    def function(self, symbol: str, signature: Callable[[int], Any]) -> Any:
        """Return it as a function of Python; `signature` is a `ctypes.CFUNCTYPE(result, *arguments)`."""
        return signature(self.addresses[symbol])

    @property
    def ir(self) -> str:
        """The LLVM IR that it was made from."""
        return self._ir if isinstance(self._ir, str) else self._ir()

    def assembly(self) -> str:
        """Return it in the assembly of its machine, made anew from the IR."""
        return emit_assembly(self.ir, self.machine)


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """The cache as it is now."""

    path: Path | None  # None where there is none
    files: int
    bytes: int
    limit: int
    usable: bool  # whether code is taken from it, or would be once there is some
    reason: str  # why not, or why nothing new is kept; empty if all is well


def load(name: str, ir: str | Callable[[], str], machine: Machine) -> Code:
    """Return the code of this IR: what this process has, else what the cache has, else compiled and kept.

    name    of the kernel
    ir      the text, or a function that writes it, which is called only where there is something to compile; then the
            name, with the machine and the sources of the engine, must say all that the text depends on
    raises  UnsupportedError if this machine does not run the code, or the system refuses executable memory;
            RuntimeError, in LLVM's words, if the IR is wrong
    """
    if not machine.is_host:
        raise UnsupportedError(
            f"code for {machine.isa} ({machine.triple}) is not run on this machine",
            repair="emit_object(ir, machine), or host()",
        )
    key = _key(name, ir, machine)
    code = _codes.get(key)
    if code is not None:
        return code
    with _lock:
        if key not in _codes:
            _codes[key] = _taken(key, name, ir, machine) or _compiled(key, name, ir, machine)
        return _codes[key]


def emit_object(ir: str, machine: Machine) -> bytes:
    """Return the object code of this IR, in the format of the machine's system."""
    with _lock:
        target = _target(machine)
        return bytes(target.emit_object(_parsed(ir, target)))


def emit_assembly(ir: str, machine: Machine) -> str:
    """Return this IR in the assembly of the machine."""
    with _lock:
        target = _target(machine)
        return str(target.emit_assembly(_parsed(ir, target)))


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


# --- LLVM -------------------------------------------------------------------------------------------------------------


def _compiled(key: bytes, name: str, ir: str | Callable[[], str], machine: Machine) -> Code:
    start = time.perf_counter()
    text = ir if isinstance(ir, str) else ir()
    target = _target(machine)
    module = _parsed(text, target)
    names = [f.name for f in module.functions if not f.is_declaration and f.linkage.name not in ("internal", "private")]
    image = bytes(target.emit_object(module))
    try:
        addresses = _linked(names, image)
    except RuntimeError as error:
        if _may_execute(target):
            raise
        raise UnsupportedError(
            "the system refuses executable memory to this process (a sandbox, a hardened kernel), "
            "so code cannot be compiled for it"
        ) from error
    origin = f"compiled in {1e3 * (time.perf_counter() - start):.0f} ms"
    _keep(key, "\n".join(names).encode() + b"\0" + image)
    return Code(name, machine, origin, addresses, ir)


def _taken(key: bytes, name: str, ir: str | Callable[[], str], machine: Machine) -> Code | None:
    start = time.perf_counter()
    names, _, image = _kept(key).partition(b"\0")
    if not image:
        return None
    try:
        addresses = _linked(names.decode().split("\n"), image)
    except (RuntimeError, ValueError):
        return None
    return Code(name, machine, f"cache, {1e3 * (time.perf_counter() - start):.1f} ms", addresses, ir)


def _target(machine: Machine) -> Any:
    llvm = _llvm(machine.is_host)
    target = llvm.Target.from_triple(machine.triple)
    return target.create_target_machine(cpu=machine.cpu, features=machine.features, **_CODEGEN)


@functools.cache
def _llvm(only_host: bool) -> Any:
    import llvmlite.binding as llvm

    if only_host:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    else:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()  # for `asm` in the IR
    return llvm


def _parsed(ir: str, target: Any) -> Any:
    # The layout comes first: defaults of alignment are taken from it while parsing. A context of our own, because the
    # common one keeps every type it ever saw.
    llvm = _llvm(True)
    head = f'target datalayout = "{target.target_data}"\ntarget triple = "{target.triple}"\n'
    module = llvm.parse_assembly(head + ir, context=llvm.create_context())
    module.verify()
    return module


def _linked(names: list[str], image: bytes) -> dict[str, int]:
    # The process's own symbols are for what LLVM itself calls, memcpy or fmaf; only newer ones find them without this.
    builder = _llvm(True).JITLibraryBuilder().add_object_img(image).add_current_process()
    for name in names:
        builder.export_symbol(name)
    tracker = builder.link(_linker(), f"twofold.{next(_libraries)}")
    addresses = {name: int(tracker[name]) for name in names}
    tracker.detach()  # LLVM keeps the code, and nobody is left who could take it away
    return addresses


@functools.cache
def _linker() -> Any:
    llvm = _llvm(True)
    target = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(**_CODEGEN)
    return llvm.create_lljit_compiler(target, suppress_errors=True)


def _may_execute(target: Any) -> bool:
    try:
        _linked(["f"], bytes(target.emit_object(_parsed("define void @f() {\n  ret void\n}\n", target))))
    except RuntimeError:
        return False
    return True


# --- the cache --------------------------------------------------------------------------------------------------------


def _key(name: str, ir: str | Callable[[], str], machine: Machine) -> bytes:
    parts = (_FORMAT, *_versions(), _sources(), _CODEGEN, machine.triple, machine.cpu, machine.features, name)
    said = [str(part).encode() for part in parts] + ([ir.encode()] if isinstance(ir, str) else [])
    return hashlib.sha256(b"".join(struct.pack("<Q", len(part)) + part for part in said)).digest()


@functools.cache
def _versions() -> tuple[object, ...]:
    import llvmlite
    import llvmlite.binding as llvm

    return __version__, llvmlite.__version__, llvm.llvm_version_info


@functools.cache
def _sources() -> str:
    # Of the engine as it is on disk; where there are no sources, the version of twofold must do.
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        with suppress(OSError):
            digest.update(hashlib.sha256(path.name.encode()).digest() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _kept(key: bytes) -> bytes:
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
    expected = _HEADER.pack(_MAGIC, _FORMAT, key, len(payload), hashlib.sha256(payload).digest())
    return payload if raw.startswith(expected) else b""


def _keep(key: bytes, payload: bytes) -> None:
    raw = _HEADER.pack(_MAGIC, _FORMAT, key, len(payload), hashlib.sha256(payload).digest()) + payload
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
