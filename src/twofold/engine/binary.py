"""LLVM IR as text -> machine code in this process, by way of a checked cache on disk.

    load(name, ir, machine) -> Code       compiled, or taken from the cache; stays for as long as the process lives
    emit_object, emit_assembly            the same for any machine, this one or another; nothing is loaded

In the cache (`cache`) a kernel stands under the SHA-256 of all that its code depends on (`_key`): the names of its
functions, and an object as compilers write them.

No passes run over the IR: kernels are emitted as they should be. Code is linked by LLVM's RuntimeDyld under the large
code model: its sections may lie anywhere, and where a system refuses executable memory it says so, while JITLink, of
LLVM 22, ends the process.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold import __version__
from twofold.engine import cache
from twofold.engine.machine import Machine
from twofold.errors import UnsupportedError

__all__ = ["Code", "emit_assembly", "emit_object", "load"]

_CODEGEN = {"opt": 2, "reloc": "pic", "codemodel": "jitdefault"}

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
    cache.put(key, "\n".join(names).encode() + b"\0" + image)
    return Code(name, machine, origin, addresses, ir)


def _taken(key: bytes, name: str, ir: str | Callable[[], str], machine: Machine) -> Code | None:
    start = time.perf_counter()
    names, _, image = cache.get(key).partition(b"\0")
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


# --- keys -------------------------------------------------------------------------------------------------------------


def _key(name: str, ir: str | Callable[[], str], machine: Machine) -> bytes:
    parts = (cache.FORMAT, *_versions(), _sources(), _CODEGEN, machine.triple, machine.cpu, machine.features, name)
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
