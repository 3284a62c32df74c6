"""Ratios and means of a run: what the table says of each row, and of all rows of one operation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from twofold.bench.machine import limit_seconds
from twofold.bench.peers import OURS
from twofold.bench.result import Measured, Row, Run

__all__ = ["Choice", "Figures", "Means", "best", "choices", "figures", "geometric_mean", "means"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a row comes to; None where there is nothing to compare.

    ours       our better column, which is held against the best peer: packed once if there is such a column
    against_torch, against_best   seconds of the other / seconds of ours: above 1 we are faster
    of_peak    useful operations per second over the measured peak;  of_limit  least possible time / ours, the least
               time being the larger of computing at the peak and moving input, weight and output once (`limit` says)
    """

    ours: str | None
    torch: str | None
    peer: str | None
    against_torch: float | None
    against_best: float | None
    of_peak: float | None
    of_limit: float | None
    limit: str


@dataclass(frozen=True, slots=True)
class Means:
    """Geometric means over the rows of one operation, and how many rows each is the mean of."""

    op: str
    against_torch: float | None
    torch_rows: int
    against_best: float | None
    best_rows: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What the plan took on a row in one layout, and the fastest of what there was; ratio is planned / best."""

    layout: str
    planned: str
    best: str
    ratio: float
    seconds: dict[str, float]  # of each algorithm, the fastest first


def choices(row: Row) -> list[Choice]:
    """Return the choice in each layout in which the planned algorithm was timed."""
    found = []
    for layout in ("channels_first", "channels_last"):
        timed = [way for way in row.ways if way.layout == layout and way.measured.samples]
        seconds = {way.algorithm: way.measured.seconds for way in timed}
        seconds = dict(sorted(seconds.items(), key=lambda item: item[1]))
        planned = next((way.algorithm for way in timed if way.planned), None)
        if planned is not None:
            first = next(iter(seconds))
            found.append(Choice(layout, planned, first, seconds[planned] / seconds[first], seconds))
    return found


def best(run: Run, row: Row, families: Iterable[str]) -> str | None:
    """Return the fastest peer of these families on this row: the one with the least median."""
    wanted = set(families)
    timed = [
        name for name, measured in row.peers.items() if measured.status == "ok" and run.peers[name]["family"] in wanted
    ]
    return min(timed, key=lambda name: row.peers[name].seconds, default=None)


def figures(run: Run, row: Row) -> Figures:
    """Return the ratios of a row. Each column of ours is held against torch as it is called: weights packed anew."""
    families = [str(facts["family"]) for facts in run.peers.values()]
    each_call = best(run, row, ["twofold"])
    ours = best(run, row, ["twofold-packed"]) or each_call
    torch = best(run, row, ["torch"])
    peer = best(run, row, (family for family in families if family not in OURS))
    of_peak = of_limit = None
    work = row.work * (3 if run.training else 1)  # forward and two gradients, each of as many multiplications
    traffic = row.traffic * (2 if run.training else 1)  # and a gradient beside each array
    least, limit = limit_seconds(work, traffic, row.problem.dtype, run.machine)  # type: ignore[arg-type]
    if ours is not None:
        seconds = row.peers[ours].seconds
        of_peak = work / seconds / 1e9 / run.machine["fma_gflops"][row.problem.dtype]
        of_limit = least / seconds
    return Figures(ours, torch, peer, _ratio(row, torch, each_call), _ratio(row, peer, ours), of_peak, of_limit, limit)


def means(run: Run) -> list[Means]:
    """Return the geometric means of each operation that has rows."""
    summary = []
    for op in ("conv", "conv_transpose"):
        rows = [figures(run, row) for row in run.rows if row.problem.op == op]
        torch = [row.against_torch for row in rows if row.against_torch is not None]
        peers = [row.against_best for row in rows if row.against_best is not None]
        if rows:
            summary.append(Means(op, geometric_mean(torch), len(torch), geometric_mean(peers), len(peers)))
    return summary


def geometric_mean(ratios: Iterable[float]) -> float | None:
    """Return the geometric mean, or None of nothing.

    >>> geometric_mean([1, 4]), geometric_mean([])
    (2.0, None)
    """
    logarithms = [math.log(ratio) for ratio in ratios]
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else None


def _ratio(row: Row, other: str | None, ours: str | None) -> float | None:
    if other is None or ours is None:
        return None
    measured: tuple[Measured, Measured] = row.peers[other], row.peers[ours]
    return measured[0].seconds / measured[1].seconds
