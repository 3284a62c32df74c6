"""Twofold itself: packing the weights on each call (the functions), or once (a plan, once there are plans)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import twofold
from twofold.bench.case import Array, Cannot, Case, Prepared

__all__ = ["prepare"]


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
    plan: Any = getattr(twofold, "plan", None)
    if plan is None:
        raise Cannot("not yet: twofold.plan comes with the engine")
    if case.grad_y is not None:
        raise Cannot("a training step has new weights on each call")
    run = plan(replace(case.problem, layout="channels_last" if last else "channels_first"))
    packed = run.pack(case.weight)
    return Prepared(lambda: run(x, packed), lambda y: (_first(y, last),))


def _laid(array: Array, last: bool) -> Array:
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if last else array


def _first(array: Array, last: bool) -> Array:
    return np.moveaxis(array, -1, 1) if last else array
