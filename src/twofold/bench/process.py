"""A peer's process as the harness sees it: ask it something, and get an answer whatever happens to it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from types import TracebackType
from typing import IO, Any

__all__ = ["Refused", "Worker", "cores", "environment"]


class Refused(Exception):  # noqa: N818  # an answer, not an error
    """No result: `status` is missing, cannot, failed, crashed or timeout; the text says why."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Worker:
    """A process that runs `twofold.bench.worker`; begun when first asked, and begun anew after it died."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: IO[bytes] | None = None

    def ask(self, request: dict[str, Any], timeout: float) -> Any:
        """Send a request and return what comes back; raises `Refused`, also after `timeout` seconds without answer."""
        process = self._process or self._begin()
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            self.end()
            raise Refused("timeout", f"no answer after {timeout:g} s, at '{request['do']}'") from None
        except OSError:
            line = None  # it died before it could be asked
        if line is None:
            raise Refused("crashed", self._epitaph(process))
        answer = json.loads(line)
        if "ok" not in answer:
            raise Refused(answer["status"], answer["reason"])
        return answer["ok"]

    def end(self) -> None:
        """Kill the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(OSError):  # what was not read by the dead
                        stream.close()
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def _begin(self) -> subprocess.Popen[str]:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `end`
        self._lines = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "twofold.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=environment(self._threads),
        )
        threading.Thread(target=_read, args=(self._process.stdout, self._lines), daemon=True).start()
        return self._process

    def _epitaph(self, process: subprocess.Popen[str]) -> str:
        code = process.wait()
        said = ""
        if self._errors is not None:
            self._errors.seek(0)
            lines = self._errors.read()[-4000:].decode(errors="replace").strip().splitlines()
            said = f": {lines[-1][:200]}" if lines else ""
        self.end()
        if code < 0:
            with suppress(ValueError):
                return f"its process ended by {signal.Signals(-code).name}{said}"
        return f"its process ended with code {code}{said}"

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()


def cores(threads: int) -> list[int]:
    """Return the cores that every peer is pinned to: the last ones, as the first get more of the system's own work."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return usable[-threads:]


def environment(threads: int) -> dict[str, str]:
    """Return the environment that makes every library use as many threads, set before it is loaded."""
    names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "BLIS", "VECLIB_MAXIMUM")
    flags = os.environ.get("XLA_FLAGS", "")
    single = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if threads == 1 else ""
    return {
        **os.environ,
        **{f"{name}_NUM_THREADS": str(threads) for name in names},
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": f"{flags} {single}".strip(),
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "TWOFOLD_BENCH_CORES": ",".join(map(str, cores(threads))),
    }


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with suppress(ValueError, OSError):  # closed under us
        for line in stream:
            lines.put(line)
    lines.put(None)
