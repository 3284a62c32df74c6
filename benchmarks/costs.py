"""Hold the costs by which the planner compares its algorithms against a result of `twofold bench --all-algorithms`.

    python benchmarks/costs.py RESULT.json...

For each layer and layout where the algorithm of the least estimated cost is over 5 % slower than the fastest: both,
and for each algorithm milliseconds measured, and those that its cost says, at the coin that fits the direct one best.
The numbers behind the costs are in `src/twofold/engine/pace.py`; run this on the machine that made the results.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from twofold.bench.figures import choices
from twofold.bench.result import Run
from twofold.engine import families
from twofold.engine.machine import host
from twofold.engine.plan import layer_of
from twofold.geometry import Problem

SLOWER = 1.05


def main(paths: Sequence[str]) -> None:
    """Print a line for each choice that is wrong."""
    rows = [row for path in paths for row in measured(Run.read(Path(path).read_text(encoding="utf-8")))]
    wrong = 0
    for problem, times in rows:
        layer, here = layer_of(problem, "fast"), host()
        costs = {name: families.named(name).cost(layer, here) for name in times}
        chosen, best = min(costs, key=lambda name: costs[name]), min(times, key=lambda name: times[name])
        if times[chosen] > SLOWER * times[best]:
            wrong += 1
            coin = statistics.median(times[name] / costs[name] for name in times)
            each = ", ".join(f"{name} {times[name] * 1e3:.3g} ({costs[name] * coin * 1e3:.3g})" for name in times)
            print(f"{problem}: {chosen} for {best}, {times[chosen] / times[best]:.2f}: {each}")
    print(f"{len(rows) - wrong} of {len(rows)} choices are within {SLOWER - 1:.0%} of the best")


def measured(run: Run) -> list[tuple[Problem, dict[str, float]]]:
    """Return the seconds of each algorithm, transforms aside, whose costs are no cycles."""
    found = []
    for row in run.rows:
        for choice in choices(row):
            times = {name: seconds for name, seconds in choice.seconds.items() if name != "fft"}
            found.append((replace(row.problem, layout=choice.layout), times))
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
