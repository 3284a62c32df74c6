"""The process that a peer runs in: `python -m twofold.bench.worker`, told what to do by lines of JSON.

    {"do": "prepare", "module": …, "problem": …, "variant": …, "threads": …, "folder": …, "training": …}
    {"do": "check"}                    run once, write the results as y.npy …            -> {"seconds": …}
    {"do": "time", "seconds": s}       runs to warm up, then runs until s have passed  -> {"samples": [seconds, …]}
    {"do": "ways", …}                  run every algorithm of ours, write ways_0.npy …  -> [{"layout", …}, …]
    {"do": "time ways", "which": [i, …], "seconds": s}    run these in turns           -> {"samples": [[…], …]}
    {"do": "oracle", …}                write what is right;   {"do": "machine", …}       measure peak and bandwidth

Each answer is a line: {"ok": …}, or {"status": "missing" | "cannot" | "failed", "reason": …}. What a library prints
goes to stderr. TWOFOLD_BENCH_CORES names the cores that this process pins itself to, before anything else is imported.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

__all__ = ["main", "time_call"]

_SHORT = 20e-6  # seconds; shorter calls are timed several at once, so that the clock's own 0.1 us does not count
_WARM = 10e-3  # seconds; caches and clock rate were another's before
_TURNS = 5  # of every algorithm
_MOST = 40  # samples per round: enough for a median, and a result file that can be kept


def main() -> None:
    """Answer requests until stdin ends."""
    _pin()
    out = _own_stdout()
    state: dict[str, Any] = {}
    for line in sys.stdin:
        try:
            answer = {"ok": _answer(json.loads(line), state)}
        except Exception as error:
            answer = _refusal(error)
        out.write(json.dumps(answer) + "\n")
        out.flush()


def time_call(call: Callable[[], Any], seconds: float) -> list[float]:
    """Return seconds per call, one number per sample, at most 40, for as long as `seconds`; at least one."""
    begin = time.perf_counter()
    warm, calls = begin + min(_WARM, seconds), 0
    while calls == 0 or time.perf_counter() < warm:
        call()
        calls += 1
    first = (time.perf_counter() - begin) / calls
    inner = max(1, round(_SHORT / max(first, 1e-7)))
    end, samples = time.perf_counter() + seconds, list[float]()
    while True:
        begin = time.perf_counter()
        for _ in range(inner):
            call()
        now = time.perf_counter()
        samples.append((now - begin) / inner)
        if now + samples[-1] > end or len(samples) == _MOST:
            return samples


def _answer(request: dict[str, Any], state: dict[str, Any]) -> Any:
    if request["do"] == "check":
        return _check(state)
    if request["do"] == "time":
        return {"samples": time_call(state["prepared"].call, request["seconds"])}
    if request["do"] == "time ways":
        return {"samples": _in_turns([state["ways"][i].prepared.call for i in request["which"]], request["seconds"])}
    state.clear()  # the arrays of the problem before
    if request["do"] == "machine":
        from twofold.bench.machine import measure

        return measure(request["threads"])
    from twofold.bench.case import load
    from twofold.geometry import Problem

    problem = Problem.parse(request["problem"])
    folder, accuracy = Path(request["folder"]), request["accuracy"]
    case = load(folder, problem, request["variant"], request["threads"], request["training"], accuracy)
    if request["do"] == "oracle":
        from twofold.bench.oracle import write_expected

        return write_expected(case)
    if request["do"] == "ways":
        return _ways(case, state)
    state.update(case=case, prepared=import_module(request["module"]).prepare(case))
    return None


def _check(state: dict[str, Any]) -> dict[str, float]:
    import numpy as np

    from twofold.bench.oracle import NAMES

    case, prepared = state["case"], state["prepared"]
    prepared.call()  # the first may compile
    begin = time.perf_counter()
    result = prepared.call()
    seconds = time.perf_counter() - begin
    for name, array in zip(NAMES, prepared.arrays(result), strict=False):
        np.save(case.folder / f"{case.variant}_{name}.npy", np.asarray(array))
    return {"seconds": seconds}


def _ways(case: Any, state: dict[str, Any]) -> list[dict[str, Any]]:
    import numpy as np

    from twofold.bench.peers.ours import ways

    state["ways"] = ways(case)
    for i, way in enumerate(state["ways"]):
        np.save(case.folder / f"ways_{i}.npy", np.asarray(way.prepared.arrays(way.prepared.call())[0]))
    return [{"layout": w.layout, "algorithm": w.algorithm, "planned": w.planned} for w in state["ways"]]


def _in_turns(calls: list[Callable[[], Any]], seconds: float) -> list[list[float]]:
    # `seconds` for each, in turns of a fifth, beginning with another one each time.
    samples: list[list[float]] = [[] for _ in calls]
    for turn in range(_TURNS):
        for i in range(len(calls)):
            at = (i + turn) % len(calls)
            samples[at] += time_call(calls[at], seconds / _TURNS)
    return samples


def _refusal(error: Exception) -> dict[str, str]:
    from twofold.bench.case import Cannot, Missing

    if isinstance(error, Cannot):
        return {"status": "missing" if isinstance(error, Missing) else "cannot", "reason": str(error)}
    lines = [line for line in str(error).splitlines() if line.strip()]
    return {"status": "failed", "reason": f"{type(error).__name__}: {' '.join(lines[:2])}"[:300]}


def _pin() -> None:
    cores = {int(word) for word in os.environ.get("TWOFOLD_BENCH_CORES", "").split(",") if word}
    if cores and hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(0, cores)


def _own_stdout() -> TextIO:
    # Answers go to a copy of stdout; the original becomes stderr, for libraries that print.
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


if __name__ == "__main__":
    main()
