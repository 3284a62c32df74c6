"""Sizes: the output as a sum, which inputs give it, the layers between two sizes, conventions and code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofold.analysis.overlap import verdict
from twofold.analysis.sizes import KERNELS, Solution, conventions, inputs_of, solve
from twofold.explain.code import code_of
from twofold.explain.description import Description, Table
from twofold.explain.texts import say
from twofold.geometry import Axis, Problem, axis_name

if TYPE_CHECKING:
    from twofold.explain.trace import Trace

__all__ = ["SOLUTIONS", "describe", "solution_rows"]

SOLUTIONS = 24  # layers that are listed
_INPUTS = 12  # sizes


def describe(trace: Trace) -> Description:
    """Describe the sizes of a problem."""
    problem = trace.problem
    sums = [line.split(": ", 1) for line in problem.sums.split("\n")]
    alike = len({text for _, text in sums}) == 1
    formula = sums[0][1] if alike else "\n".join(say("sizes.axis", axis=name, text=text) for name, text in sums)
    why: list[str] = []
    tables: list[Table] = []
    known = set()
    for i, axis in enumerate(problem.geometry.axes):
        key = (axis, problem.coarse_size[i], problem.fine_size[i])
        if key in known or min(key[1:]) < 1:
            continue
        known.add(key)
        texts, found = _axis(problem, axis, *key[1:], suffix=f"-{axis_name(i, problem.rank)}" if len(known) > 1 else "")
        why += texts
        tables += found
    aria = formula.replace("\n", "; ")
    return Description(
        "sizes", None, say("title.sizes"), tuple(why), formula=formula, aria=aria, tables=tuple(tables),
        code=code_of(problem),
    )  # fmt: skip


def solution_rows(solutions: list[Solution]) -> tuple[tuple[str, ...], ...]:
    """Write solutions as rows: the layer, and whether it is even.

    >>> solution_rows(solve(4, 8)[:1])
    (('k2 s2 p0', 'even'),)
    """
    return tuple((s.name, say(f"sizes.kind.{verdict([s.axis]).kind}")) for s in solutions[:SOLUTIONS])


def _axis(problem: Problem, axis: Axis, coarse: int, fine: int, suffix: str) -> tuple[list[str], list[Table]]:
    layer = Solution(axis, coarse, fine, 0).name
    why: list[str] = []
    if axis.stride <= 64:
        pairs = inputs_of(axis, coarse)[:_INPUTS]
        names = [str(size) for size, _ in pairs]
        inputs = say("sizes.and").join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
        entries = ", ".join(say("sizes.inputs.entry", padding=extra, size=size) for size, extra in pairs)
        why.append(say("sizes.inputs", len(pairs), coarse=coarse, layer=layer, inputs=inputs, paddings=entries))
    if problem.op == "conv":
        extra = axis.output_padding(fine)
        key = "sizes.back" if extra else "sizes.back.exact"
        why.append(say(key, coarse=coarse, smallest=fine - extra, padding=extra, fine=fine))
    tables = []
    found = solve(coarse, fine, dilation=axis.dilation) if max(coarse, fine) < 10**9 else []
    if found:
        caption = say("sizes.solutions", coarse=coarse, fine=fine)
        tables.append(Table(f"solutions{suffix}", caption, solution_rows(found)))
    else:
        why.append(say("sizes.none", coarse=coarse, fine=fine, kernels=KERNELS))
    if axis.extent <= fine:
        rows = conventions(axis, fine)
        shift = abs(rows[0].before - rows[1].before)
        if shift and rows[0].coarse == rows[1].coarse:
            why.append(say(
                "sizes.shift", shift, first=rows[1].name, a=rows[1].before, b=rows[1].after,
                second=rows[0].name, c=rows[0].before, d=rows[0].after, cells=shift,
            ))  # fmt: skip
        lines = tuple((c.name, str(c.before), str(c.after), str(c.coarse)) for c in rows)
        tables.append(Table(f"conventions{suffix}", say("sizes.conventions", fine=fine), lines))
    return why, tables
