"""Twofold itself: packing the weights on each call (the functions), or once (a plan); and each of its algorithms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import twofold
from twofold.bench.case import Array, Cannot, Case, Prepared
from twofold.engine.plan import algorithms

__all__ = ["Way", "prepare", "ways"]


@dataclass(frozen=True, slots=True)
class Way:
    """One algorithm in one layout, and whether it is the one that the plan takes."""

    layout: str
    algorithm: str
    planned: bool
    prepared: Prepared


def prepare(case: Case) -> Prepared:
    """Prepare `twofold` or `twofold-packed`, `-cl` of them channels last."""
    last = case.variant.endswith("-cl")
    x, grad_y = _laid(case.x, last), None if case.grad_y is None else _laid(case.grad_y, last)
    if "packed" in case.variant:
        return _packed(case, x, last)
    function: Any = twofold.conv_transpose if case.transposed else twofold.conv
    options: dict[str, Any] = {
        "stride": case.stride,
        "padding": case.pads,
        "dilation": case.dilation,
        "groups": case.groups,
        "layout": "channels_last" if last else "channels_first",
        "accuracy": case.accuracy,
    }
    if case.transposed:
        options["output_size"] = case.problem.out_size
    weight = case.weight
    if grad_y is None:
        return Prepared(lambda: function(x, weight, **options), lambda y: (_first(y, last),))

    def step() -> tuple[Array, Array, Array]:
        y, pull_back = twofold.vjp(function, x, weight, copy=False, **options)
        grad_x, grad_weight, _ = pull_back(grad_y)
        return y, grad_x, grad_weight

    return Prepared(step, lambda result: (_first(result[0], last), _first(result[1], last), result[2]))


def _packed(case: Case, x: Array, last: bool) -> Prepared:
    if case.grad_y is not None:
        raise Cannot("a training step has new weights on each call")
    problem = replace(case.problem, layout="channels_last" if last else "channels_first")
    return _planned(case, twofold.plan(problem, accuracy=case.accuracy), x, last)


def ways(case: Case) -> list[Way]:
    """Return every algorithm within the accuracy of the case, in both layouts, weights packed once."""
    found = []
    for last in (False, True):
        problem = replace(case.problem, layout="channels_last" if last else "channels_first")
        x = _laid(case.x, last)
        planned = twofold.plan(problem, accuracy=case.accuracy).algorithm
        for name in algorithms(problem, case.accuracy):
            run = twofold.plan(problem, accuracy=case.accuracy, algorithm=name)
            found.append(Way(problem.layout, name, name == planned, _planned(case, run, x, last)))
    return found


def _planned(case: Case, run: Any, x: Array, last: bool) -> Prepared:
    packed = run.pack(case.weight)
    return Prepared(lambda: run(x, packed), lambda y: (_first(y, last),))


def _laid(array: Array, last: bool) -> Array:
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if last else array


def _first(array: Array, last: bool) -> Array:
    return np.moveaxis(array, -1, 1) if last else array
