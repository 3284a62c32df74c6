"""One compiled function on several threads at once.

    parallel(entry, data, threads)      entry(data) on each of them; it returns when all have returned

The entry is a C function `void entry(void *data)`. Its calls share the work by an atomic counter inside `data`, so any
number of calls from one up is right: `threads` is how many are wanted, and a nested call may get one.

    OpenMP            GOMP_parallel of a runtime that is in the process already, torch's first, else of libgomp
    Python threads    some that wait for work, where there is no such function, and in a child made by fork

One pool for everybody: with a second OpenMP runtime beside torch's, the threads of one would spin on the cores that
the other computes on. A child made by fork has its parent's OpenMP pool in memory but none of its threads, and libgomp
would wait for them forever. Nothing is started at import, and no OMP or GOMP variable is ever set for the user.
Source: gcc/libgomp/parallel.c (GOMP_parallel, also exported by LLVM's and Intel's runtimes; unsigned int twice).
"""

from __future__ import annotations

import ctypes
import functools
import operator
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twofold.engine import machine
from twofold.errors import UnsupportedError

__all__ = ["count", "describe", "limit", "parallel"]

_MOST = 1024  # threads that may be asked for: libgomp ends the process when the system refuses one
_LIBRARY = re.compile(r"(libgomp|libomp|libiomp5)[^/]*\.so[^/]*")
_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_PARALLEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
_COUNT = ctypes.PYFUNCTYPE(ctypes.c_int)  # reads one number: not worth giving up Python's lock

# os.environ.get takes 0.65 us for a variable that is not there, its own dictionary of bytes 0.02 us.
_environ: dict[Any, Any] | None = getattr(os.environ, "_data", None)
_OURS, _OPENMP = (os.environ.encodekey(name) for name in ("TWOFOLD_NUM_THREADS", "OMP_NUM_THREADS"))

_limit: ContextVar[int] = ContextVar("twofold_threads", default=_MOST)
_functions: dict[int, Callable[[int], None]] = {}  # by address; code is never unloaded


def parallel(entry: int, data: int, threads: int) -> None:
    """Call `entry(data)` on up to this many threads at once, this one among them, and return when all have returned.

    entry, data   addresses; `data` must live until this returns
    threads       at least one call is made, whatever this says

    May be called by many threads at once, and by an entry that is itself being run.
    """
    try:
        function = _functions[entry]
    except KeyError:
        function = _functions[entry] = _ENTRY(entry)
    if threads <= 1:
        function(data)
        return
    call = _runtime().parallel
    if call is None or _is_forked:
        _team.run(function, data, threads)
    else:
        call(entry, data, threads, 0)


def count() -> int:
    """Return how many threads to use.

    TWOFOLD_NUM_THREADS if it is set; else what torch.get_num_threads() says, if torch is imported; else what the OpenMP
    runtime says, which has read OMP_NUM_THREADS and is what threadpoolctl limits; else OMP_NUM_THREADS. Except for
    TWOFOLD_NUM_THREADS, never above the cores that this process may use; never above a `limit`.

    raises  UnsupportedError if TWOFOLD_NUM_THREADS is no number from 1 to 1024
    """
    return _counted()[0]


@contextmanager
def limit(threads: int) -> Iterator[None]:
    """Use at most this many threads inside the `with`, in this thread or task; threads begun inside do not inherit it.

    raises  UnsupportedError if it is less than 1

    >>> with limit(1):
    ...     count()
    1
    """
    threads = operator.index(threads)
    if threads < 1:
        raise UnsupportedError(f"limit({threads}) leaves no thread to compute on", repair="limit(1)")
    token = _limit.set(min(threads, _limit.get()))
    try:
        yield
    finally:
        _limit.reset(token)


def describe() -> str:
    """Return in one sentence which runtime, how many threads, and who said so.

    >>> with limit(1):
    ...     describe()
    '1 thread (...): plain calls.'
    """
    threads, why = _counted()
    if threads == 1:
        return f"1 thread ({why}): plain calls."
    found = _runtime()
    if _is_forked:
        by = "Python's own, because this process was forked, and an OpenMP pool does not survive that"
    elif found.parallel is None:
        by = "Python's own, because no OpenMP runtime is at hand"
    else:
        by = f"GOMP_parallel of {found.name}, {found.origin}"
    return f"{threads} threads ({why}): {by}."


# --- how many ---------------------------------------------------------------------------------------------------------


def _counted() -> tuple[int, str]:
    """Return how many threads, and who said so. Every convolution asks."""
    said = _variable(_OURS)
    if said:
        threads, why = _parsed(said), "TWOFOLD_NUM_THREADS"
    else:
        threads, why = _told()
        cores = _cores()
        if threads > cores:
            threads, why = cores, "cores of this process"
    most = _limit.get()
    return (most, "limit") if most < threads else (threads, why)


def _told() -> tuple[int, str]:
    torch = _torch()
    if torch is not None:
        return max(1, torch.get_num_threads()), "torch.get_num_threads()"
    ask = _runtime().max_threads
    if ask is not None:  # also in a forked child: it reads a number and touches no thread
        return max(1, ask()), "omp_get_max_threads()"
    first = (_variable(_OPENMP) or "").partition(",")[0].strip()  # "4,2" is four, and two inside each
    if first.isdecimal() and int(first):
        return int(first), "OMP_NUM_THREADS"
    return _cores(), "cores of this process"


def _variable(key: Any) -> str | None:
    if _environ is None:  # a Python that keeps its variables elsewhere
        return os.environ.get(os.fsdecode(key))
    value = _environ.get(key)
    return value if value is None else os.fsdecode(value)


def _parsed(word: str) -> int:
    stripped = word.strip()
    if stripped.isdecimal() and len(stripped) < 10 and 1 <= int(stripped) <= _MOST:
        return int(stripped)
    raise UnsupportedError(
        f"TWOFOLD_NUM_THREADS={word!r} is no number from 1 to {_MOST}", repair=f"TWOFOLD_NUM_THREADS={_cores()}"
    )


@functools.cache
def _cores() -> int:
    return machine.host().cores  # host() itself reads TWOFOLD_ISA each time: 0.7 us


def _torch() -> Any:
    # None too while another thread is still importing it: its libraries are loaded before it has this function.
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "get_num_threads") else None


# --- OpenMP -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Runtime:
    name: str = ""  # of the file, without its folder
    origin: str = ""
    parallel: Callable[[int, int, int, int], None] | None = None  # function, data, threads, flags
    max_threads: Callable[[], int] | None = None
    knows_torch: bool = False  # whether torch was there when it was looked for


class _Address(ctypes.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = [
        ("path", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


_found: _Runtime | None = None
_looking = threading.RLock()
_is_forked = False


def _runtime() -> _Runtime:
    """Return the OpenMP runtime to use; looked for once, and once more when torch has come."""
    if _found is not None and (_found.knows_torch or _torch() is None):
        return _found
    return _look()


def _look() -> _Runtime:
    global _found
    with _looking:
        torch = _torch()
        if _found is not None and (_found.knows_torch or torch is None):
            return _found  # another thread was faster
        # What all of the process may see (preloaded, or loaded so by torch) is what torch's own calls reach. Else the
        # loader finds from one object of torch the library that it calls, whatever its name: wheels have renamed ones.
        found = _opened(None, "shared with torch" if torch is not None else "loaded already", torch)
        extension = getattr(getattr(torch, "_C", None), "__file__", None)
        if found is None and extension:
            found = _opened(extension, "shared with torch", torch)
        if found is None and _found is not None and _found.parallel is not None:
            found = _found
        for path in _loaded() if found is None else ():
            found = found or _opened(path, "loaded already", torch, mode=os.RTLD_NOLOAD)
        # By name libgomp alone: a second copy of LLVM's or Intel's, which torch might load later, ends the process.
        if found is None and sys.platform.startswith("linux"):
            found = _opened("libgomp.so.1", "of the system", torch)
        found = found or _Runtime()
        _found = _Runtime(found.name, found.origin, found.parallel, found.max_threads, torch is not None)
        return _found


def _opened(path: str | None, origin: str, torch: Any, mode: int = ctypes.DEFAULT_MODE) -> _Runtime | None:
    try:
        library = ctypes.CDLL(path, mode=mode)
        parallel, max_threads = (
            ctypes.cast(library[name], ctypes.c_void_p).value or 0 for name in ("GOMP_parallel", "omp_get_max_threads")
        )
    except (OSError, AttributeError, TypeError):  # no such file, no such function, no such notion on this system
        return None
    name = Path(_file(parallel) or path or "OpenMP").name
    return _Runtime(name, origin, _PARALLEL(parallel), _COUNT(max_threads), torch is not None)


def _file(address: int) -> str:
    """Return which file the function at this address came from; empty if that is not known."""
    seen = _Address()
    try:
        if not ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(seen)):
            return ""
    except (OSError, AttributeError, TypeError):
        return ""
    return os.fsdecode(seen.path or b"")


def _loaded() -> list[str]:
    """Return the paths of the OpenMP runtimes in this process; none where there is no /proc."""
    try:
        lines = Path("/proc/self/maps").read_bytes().splitlines()
    except OSError:
        return []
    paths = (os.fsdecode(line.split(None, 5)[-1]) for line in lines if b"omp" in line)
    return [path for path in dict.fromkeys(paths) if _LIBRARY.fullmatch(path.rpartition("/")[2])]


# --- Python threads ---------------------------------------------------------------------------------------------------


class _Task:
    """One call of `parallel`: helpers may join until its caller has done its own share, and are then waited for.

    A helper that has not begun by then is not needed. So nobody waits for a thread that does not run yet, and however
    calls are nested or meet, there is no deadlock.
    """

    def __init__(self, function: Callable[[int], None], data: int) -> None:
        self._function, self._data = function, data
        self._lock, self._last = threading.Lock(), threading.Lock()
        self._last.acquire()  # released by the last helper, if the caller waits for one
        self._running, self._is_closed = 0, False

    def help(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._running += 1
        try:
            self._function(self._data)
        finally:
            with self._lock:
                self._running -= 1
                if self._is_closed and not self._running:
                    self._last.release()

    def close(self) -> None:
        interrupt: BaseException | None = None
        while not self._is_closed or self._running:
            try:
                with self._lock:
                    self._is_closed = True
                if self._running:
                    self._last.acquire()
            except BaseException as error:  # Control-C must wait too: the helpers use `data`
                interrupt = error
        if interrupt is not None:
            raise interrupt


@dataclass(slots=True, eq=False)
class _Helper:
    task: _Task | None = None
    wake: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, free: list[_Helper]) -> None:
        while True:
            self.wake.acquire()
            task, self.task = self.task, None
            if task is not None:
                task.help()
            del task
            free.append(self)


class _Team:
    """Threads that wait for tasks, as many as one call has ever asked for. Daemons: Python ends without them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer may compute too
        self._free: list[_Helper] = []
        self._size = 0

    def run(self, function: Callable[[int], None], data: int, threads: int) -> None:
        task = _Task(function, data)
        try:
            for helper in self._gathered(threads - 1):
                helper.task = task
                helper.wake.release()
            function(data)
        finally:
            task.close()

    def _gathered(self, wanted: int) -> list[_Helper]:
        helpers: list[_Helper] = []
        if sys.is_finalizing():  # no other thread gets Python's lock any more: Thread.start would wait forever
            return helpers
        with self._lock:
            while len(helpers) < wanted:
                try:
                    helpers.append(self._free.pop())
                except IndexError:
                    if self._size >= wanted or not self._started():
                        break
        return helpers

    def _started(self) -> bool:
        helper = _Helper()
        helper.wake.acquire()
        thread = threading.Thread(target=helper.serve, args=(self._free,), name="twofold", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more, or Python is ending: those there are will do
            return False
        self._size += 1
        self._free.append(helper)
        return True


_team = _Team()


def _after_fork() -> None:
    # The parent's threads are not here, and its locks may be held by one of them.
    global _team, _looking, _is_forked
    _team, _looking, _is_forked = _Team(), threading.RLock(), True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
