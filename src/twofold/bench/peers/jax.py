"""JAX on the CPU: `lax.conv_general_dilated`, compiled, channels first and channels last."""

from __future__ import annotations

from typing import Any

import numpy as np

from twofold.bench.case import Array, Case, Prepared, flipped, guest

__all__ = ["prepare"]


def prepare(case: Case) -> Prepared:
    """Prepare `jax`, or `jax-nhwc`."""
    jax = guest("jax", "jax")
    jax.config.update("jax_enable_x64", case.problem.dtype == "float64")
    last = case.variant.endswith("-nhwc")
    space = "DHW"[-case.problem.rank :] if case.problem.rank <= 3 else "ABDEFGHW"[: case.problem.rank]
    spec = (f"N{space}C", f"{space}IO", f"N{space}C") if last else (f"NC{space}", f"OI{space}", f"NC{space}")

    def operation(x: Any, weight: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x,
            weight,
            window_strides=(1,) * case.problem.rank if case.transposed else case.stride,
            padding=case.full_pads if case.transposed else case.pads,
            lhs_dilation=case.stride if case.transposed else None,
            rhs_dilation=case.dilation,
            dimension_numbers=spec,
            feature_group_count=case.groups,
        )

    def step(x: Any, weight: Any, grad_y: Any) -> Any:
        y, pull_back = jax.vjp(operation, x, weight)
        return (y, *pull_back(grad_y))

    weight = flipped(case) if case.transposed else case.weight
    moved = np.moveaxis(weight, (0, 1), (-1, -2)) if last else weight
    arrays = [_laid(case.x, last), moved, *([] if case.grad_y is None else [_laid(case.grad_y, last)])]
    inputs = [jax.device_put(np.ascontiguousarray(array)) for array in arrays]
    run = jax.jit(operation if case.grad_y is None else step)

    def call() -> Any:
        return jax.block_until_ready(run(*inputs))

    return Prepared(call, lambda result: _arrays(result, case, last))


def _laid(array: Array, last: bool) -> Array:
    return np.moveaxis(array, 1, -1) if last else array


def _arrays(result: Any, case: Case, last: bool) -> tuple[Array, ...]:
    parts = [np.asarray(part) for part in (result if case.grad_y is not None else (result,))]
    first = [np.moveaxis(part, -1, 1) if last else part for part in parts[:2]]
    if case.grad_y is None:
        return tuple(first)
    weight = np.moveaxis(parts[2], (-1, -2), (0, 1)) if last else parts[2]
    if case.transposed:  # `flipped` of the gradient, back
        groups, rank = case.groups, case.problem.rank
        w = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
        weight = np.flip(w.reshape(-1, *w.shape[2:]), tuple(range(2, 2 + rank)))
    return (*first, weight)
