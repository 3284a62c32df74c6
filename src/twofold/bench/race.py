"""One run: every peer on every problem, checked first, then timed in turns on the same cores.

Each peer lives in a process of its own. On each problem all of them compute the result once and it is held against the
oracle; those that are right are then timed in rounds, one after the other within each round and beginning with another
one each time, so that a busy minute of the machine hits all alike. Only one of them runs at any time.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from twofold import __version__
from twofold.accuracies import DEFAULT, chosen
from twofold.bench.oracle import NAMES, write_inputs
from twofold.bench.peers import OURS, Peer
from twofold.bench.process import Refused, Worker, cores
from twofold.bench.result import Measured, Row, Run, Way
from twofold.bench.suite import Entry
from twofold.bench.verdict import allowed, judge
from twofold.errors import GeometryError, UnsupportedError
from twofold.memory import check_memory

__all__ = ["ROUNDS", "Settings", "race"]

ROUNDS = 5
_OWN = 600.0  # seconds; for what the harness itself computes
_MOST_WAYS = 24  # algorithms of a problem, in both layouts, about
_SETTLE = 0.25  # seconds; idle threads of another peer's pool may spin for this long after its call

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run is made.

    seconds     of timing per peer and problem;  timeout  of any one step, compiling included
    accuracy    of our own columns;  algorithms  whether to measure each of ours as well
    """

    threads: int = 1
    seconds: float = 1.0
    training: bool = False
    timeout: float = 180.0
    accuracy: str = DEFAULT
    algorithms: bool = False

    def __post_init__(self) -> None:
        usable = len(cores(1 << 20))
        if not 1 <= self.threads <= (usable or self.threads):
            raise GeometryError(f"threads must be from 1 to the {usable} usable cores, not {self.threads}")
        if not 0 < self.seconds <= 3600:
            raise GeometryError(f"seconds must be above 0 and at most 3600, not {self.seconds:g}")
        chosen(self.accuracy)
        if self.algorithms and self.training:
            raise GeometryError(
                "algorithms are measured forward, and a training step has several", repair="no --training"
            )


@dataclass
class _Runner:
    # One peer through the whole run; `absent` once it is known that it is not installed.
    peer: Peer
    worker: Worker
    absent: Measured | None = None
    spent: float = 0.0
    samples: list[float] = field(default_factory=list)


def race(
    entries: Sequence[Entry],
    peers: Sequence[Peer],
    settings: Settings,
    *,
    cpu: str = "",
    progress: Progress | None = None,
) -> Run:
    """Measure all peers on all problems.

    cpu       what the processor calls itself, for the record;  progress  is told a text, the steps done and all steps
    raises    UnsupportedError without torch, the oracle; GeometryError if a problem does not fit in memory
    """
    if importlib.util.find_spec("torch") is None:
        raise UnsupportedError("bench checks every result against torch, which is missing", repair=_INSTALL)
    for entry in entries:
        check_memory("measuring " + str(entry.problem)[:200], 40 * _numbers(entry))
    tell = progress or (lambda text, done, total: None)
    steps = len(entries) + 1
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="twofold-bench-")))
        judge_worker = stack.enter_context(Worker(settings.threads))
        tell("peak and bandwidth of this machine", 0, steps)
        load = _load()
        machine = _machine(judge_worker, settings, cpu)
        runners = [_Runner(peer, stack.enter_context(Worker(settings.threads))) for peer in peers]
        ours = stack.enter_context(Worker(settings.threads)) if settings.algorithms else None
        rows = []
        for i, entry in enumerate(entries, start=1):
            track = _Track(entry, settings, folder, lambda text, i=i: tell(text, i, steps))  # type: ignore[misc]
            peers_on_it = track.run(runners, judge_worker)
            rows.append(Row(entry.name, entry.problem, peers_on_it, track.ways(ours) if ours else ()))
    return Run(
        __version__,
        datetime.now(UTC).isoformat(timespec="seconds"),
        settings.training,
        {**machine, "load": load and [load, _load()]},
        {
            "seconds": settings.seconds,
            "rounds": ROUNDS,
            "timeout": settings.timeout,
            "accuracy": settings.accuracy,
        },
        {peer.name: {"family": peer.family, "version": peer.version} for peer in peers},
        tuple(rows),
    )


_INSTALL = "pip install 'twofold[bench]'"


def _machine(worker: Worker, settings: Settings, cpu: str) -> dict[str, Any]:
    try:
        facts = worker.ask({"do": "machine", "threads": settings.threads}, _OWN)
    except Refused as refused:
        raise UnsupportedError(f"peak and bandwidth could not be measured: {refused}") from refused
    return {
        "cpu": cpu or platform.processor() or platform.machine(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "threads": settings.threads,
        "cores": cores(settings.threads),
        "present": os.cpu_count(),
        **facts,
    }


def _load() -> float | None:
    # Processes that want a core, ours among them: above the number of cores, all numbers are those of a busy machine.
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def _numbers(entry: Entry) -> int:
    row = Row(entry.name, entry.problem, {})
    return row.traffic // (8 if entry.problem.dtype == "float64" else 4)


@dataclass(frozen=True)
class _Track:
    # One problem: what every runner is asked for on it.
    entry: Entry
    settings: Settings
    folder: Path
    tell: Callable[[str], None]

    def run(self, runners: Sequence[_Runner], judge_worker: Worker) -> dict[str, Measured]:
        for file in self.folder.iterdir():
            file.unlink()
        self.tell(f"{self.entry.name}: what is right")
        write_inputs(self.entry.problem, self.folder, self.settings.training)
        try:
            judge_worker.ask(self._request("oracle"), _OWN)
        except Refused as refused:
            reason = f"nothing to check against: the oracle {refused.status}, {refused}"
            return {runner.peer.name: Measured("failed", reason) for runner in runners}
        measured = {runner.peer.name: self._check(runner) for runner in runners}
        right = [runner for runner in runners if measured[runner.peer.name].status == "ok"]
        for runner in right:
            runner.spent, runner.samples = 0.0, []
        for number in range(ROUNDS):
            for runner in right[number % len(right) :] + right[: number % len(right)] if right else []:
                if measured[runner.peer.name].status == "ok" and runner.spent < self.settings.seconds:
                    self.tell(f"{self.entry.name}: {runner.peer.name}, round {number + 1} of {ROUNDS}")
                    measured[runner.peer.name] = self._time(runner, measured[runner.peer.name])
        return measured

    def ways(self, worker: Worker) -> tuple[Way, ...]:
        """Measure each of our own algorithms, in turns in one process; what is wrong is not timed."""
        self.tell(f"{self.entry.name}: every algorithm")
        budget = self.settings.timeout + _MOST_WAYS * self.settings.seconds
        try:
            told = worker.ask(self._request("ways"), budget)
            found = []
            for i, way in enumerate(told):
                result = np.load(self.folder / f"ways_{i}.npy")
                verdict = judge([result], self.folder, *allowed(self.settings.accuracy))
                status = "wrong" if verdict.reason else "ok"
                found.append(Way(**way, measured=Measured(status, verdict.reason, verdict.error, verdict.share)))
            right = [i for i, way in enumerate(found) if way.measured.status == "ok"]
            timing = {"do": "time ways", "which": right, "seconds": self.settings.seconds}
            for i, samples in zip(right, worker.ask(timing, budget)["samples"], strict=True):
                found[i] = replace(found[i], measured=replace(found[i].measured, samples=tuple(samples)))
        except Refused as refused:
            return (Way("channels_first", "all", False, Measured(refused.status, str(refused))),)
        return tuple(found)

    def _check(self, runner: _Runner) -> Measured:
        # Runs the peer once, and holds what it computed against the oracle.
        peer = runner.peer
        if runner.absent is not None:
            return runner.absent
        self.tell(f"{self.entry.name}: is {peer.name} right")
        try:
            runner.worker.ask(self._request("prepare", module=peer.module, variant=peer.name), self.settings.timeout)
            runner.worker.ask({"do": "check"}, self.settings.timeout)
        except Refused as refused:
            measured = Measured(refused.status, str(refused))
            runner.absent = measured if refused.status == "missing" else None
            return measured
        names = NAMES if self.settings.training else NAMES[:1]
        files = [self.folder / f"{peer.name}_{name}.npy" for name in names]
        limits = allowed(self.settings.accuracy) if peer.family in OURS else (peer.slack,)
        verdict = judge([np.load(file) for file in files], self.folder, *limits)
        for file in files:
            file.unlink()
        return Measured("wrong" if verdict.reason else "ok", verdict.reason, verdict.error, verdict.share)

    def _time(self, runner: _Runner, measured: Measured) -> Measured:
        if self.settings.threads > 1:
            time.sleep(_SETTLE)
        begin = time.perf_counter()
        part = self.settings.seconds / ROUNDS
        try:
            answer = runner.worker.ask({"do": "time", "seconds": part}, self.settings.timeout + part)
        except Refused as refused:
            return Measured(refused.status, str(refused), measured.error, measured.share)
        runner.spent += time.perf_counter() - begin
        runner.samples += answer["samples"]
        return replace(measured, samples=tuple(runner.samples))

    def _request(self, do: str, **more: str) -> dict[str, Any]:
        return {
            "do": do,
            "problem": str(self.entry.problem),
            "variant": "oracle",
            "threads": self.settings.threads,
            "folder": str(self.folder),
            "training": self.settings.training,
            "accuracy": self.settings.accuracy,
            **more,
        }
