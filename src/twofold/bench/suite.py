"""The suite: layers of known networks, each a name and a `Problem`; and any other problem by its string.

`suite.json` holds a row per layer: `op` of torch by `transposed`, channels, kernel, stride, padding, dilation, output
padding, groups, and the spatial size of the input. Layers of one kind of network share the first word of their name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from twofold.errors import GeometryError, UnsupportedError
from twofold.geometry import Problem

__all__ = ["Entry", "check_problem", "problems", "suite"]

DTYPES = ("float32", "float64")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is measured in one row: a problem, and the name people know it by (its own string where it has none)."""

    name: str
    problem: Problem

    @property
    def kind(self) -> str:
        """What the row counts under: conv or conv_transpose."""
        return self.problem.op


def suite(names: Sequence[str] = (), batches: Sequence[int] = (1,)) -> list[Entry]:
    """Return the layers of the suite whose name holds one of `names` (all without any), for each batch.

    raises  GeometryError if a name is in none of them

    >>> for entry in suite(["fsrcnn"], [1, 8]):
    ...     print(entry.name, "|", entry.problem)
    fsrcnn 56-1 k9s4 @56 | conv_transpose n1 ci56 co1 i56x56 k9x9 s4x4 p4x4 op3x3 f32
    fsrcnn 56-1 k9s4 @56 | conv_transpose n8 ci56 co1 i56x56 k9x9 s4x4 p4x4 op3x3 f32
    """
    rows = json.loads(resources.files(__package__).joinpath("suite.json").read_text(encoding="utf-8"))
    layers = {row["name"]: _problem(row) for row in rows}
    for name in names:
        if not any(name.lower() in known.lower() for known in layers):
            first_words = ", ".join(dict.fromkeys(known.split()[0] for known in layers))
            raise GeometryError(f"no layer of the suite is called {name[:100]!r}", repair=f"one of {first_words}")
    chosen = [name for name in layers if not names or any(part.lower() in name.lower() for part in names)]
    return [Entry(name, replace(layers[name], batch=batch)) for batch in batches for name in chosen]


def problems(texts: Sequence[str], batches: Sequence[int] = ()) -> list[Entry]:
    """Return problems given by their strings; `batches` replaces the batch that each names.

    >>> [entry.name for entry in problems(["i8 k3"], [2])]
    ['conv n2 ci1 co1 i8 k3 f32']
    """
    entries = []
    for problem in map(Problem.parse, texts):
        for batch in batches or (problem.batch,):
            changed = replace(problem, batch=batch)
            check_problem(changed)
            entries.append(Entry(str(changed), changed))
    return entries


def check_problem(problem: Problem) -> None:
    """Refuse what cannot be held against the peers: they share no spelling of it, or the layout is their own choice."""
    if problem.rank > 3:
        raise UnsupportedError(f"no peer has more than 3 spatial axes, and the problem has {problem.rank}")
    if problem.op == "conv_weight_gradient":
        raise UnsupportedError("a weight gradient is measured as part of a training step", repair="conv … --training")
    if problem.dtype not in DTYPES:
        raise UnsupportedError(f"bench measures {' and '.join(DTYPES)}, not {problem.dtype}", repair="f32")
    if problem.flip or problem.padding_mode != "zeros":
        word = "flip" if problem.flip else problem.padding_mode
        raise UnsupportedError(f"'{word}' is an option that most peers lack", repair="the problem without it")
    if problem.layout != "channels_first":
        raise UnsupportedError("each peer is measured in its own best layout", repair="the problem without nhwc")
    if 0 in problem.result_shape or 0 in problem.weight_shape or 0 in problem.in_size:
        raise UnsupportedError("an empty problem takes no time to measure", repair="a batch and channels of 1 or more")


def _problem(row: dict[str, Any]) -> Problem:
    return Problem.of(
        "conv_transpose" if row["transposed"] else "conv",
        row["spatial"],
        [row["k"]] * row["nd"],
        in_channels=row["cin"],
        out_channels=row["cout"],
        stride=row["stride"],
        padding=row["pad"],
        dilation=row["dil"],
        groups=row["groups"],
        output_padding=row["outpad"],
    )
