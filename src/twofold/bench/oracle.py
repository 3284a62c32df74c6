"""What is right, and how far a sum in the problem's precision may be from it: torch in float64.

    |y - exact| <= (K + 2) * u * conv(|x|, |weight|),      u = eps / 2, K the number of terms of one sum

The same bound holds for both gradients with their own K; gradients of the operation on absolute values are the sums of
absolute products. A sum of K terms meets it in every order. It is loose where K is large, so `verdict` asks for more.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from twofold.bench.case import Array, Case
from twofold.geometry import Problem

__all__ = ["NAMES", "terms", "write_expected", "write_inputs"]

NAMES = ("y", "grad_x", "grad_weight")  # of a training step; the first alone without one


def write_inputs(problem: Problem, folder: Path, training: bool, seed: int = 0) -> None:
    """Write x, weight and, for a training step, grad_y: normal numbers, the same for every peer."""
    random = np.random.default_rng(seed)
    transposed = problem.op == "conv_transpose"
    x_shape, y_shape = problem.coarse_shape, problem.fine_shape
    if not transposed:
        x_shape, y_shape = y_shape, x_shape
    shapes = {"x": x_shape, "weight": problem.weight_shape} | ({"grad_y": y_shape} if training else {})
    for name, shape in shapes.items():
        np.save(folder / f"{name}.npy", random.standard_normal(shape).astype(problem.dtype))


def write_expected(case: Case) -> None:
    """Write each expected array and the bound on its error, both float64."""
    exact = _results(case, absolute=False)
    magnitudes = _results(case, absolute=True)
    unit = float(np.finfo(case.problem.dtype).eps) / 2
    for name, value, magnitude in zip(NAMES, exact, magnitudes, strict=False):
        np.save(case.folder / f"expected_{name}.npy", value)
        np.save(case.folder / f"bound_{name}.npy", (terms(case.problem, name) + 2) * unit * magnitude)


def terms(problem: Problem, name: str) -> int:
    """Return the most products that one cell of this result is the sum of.

    >>> [terms(Problem.parse("conv_transpose ci4 co2 i5 k3 s2"), name) for name in NAMES]
    [12, 6, 5]
    """
    if name == "grad_weight":
        return problem.batch * math.prod(problem.coarse_size)
    layer = problem.geometry
    sums_coarse = (problem.op == "conv_transpose") == (name == "y")
    return (
        (layer.coarse_channels if sums_coarse else layer.fine_channels) // layer.groups * math.prod(layer.kernel_size)
    )


def _results(case: Case, *, absolute: bool) -> tuple[Array, ...]:
    import torch

    torch.set_num_threads(case.threads)
    arrays = [case.x, case.weight, *([] if case.grad_y is None else [case.grad_y])]
    x, weight, *grads = (torch.from_numpy(abs(a) if absolute else a).double() for a in arrays)
    if not grads:
        with torch.inference_mode():
            return (_apply(torch, case, x, weight).numpy(),)
    inputs = (x.requires_grad_(), weight.requires_grad_())
    y = _apply(torch, case, *inputs)
    return tuple(part.detach().numpy() for part in (y, *torch.autograd.grad(y, inputs, grads[0])))


def _apply(torch: Any, case: Case, x: Any, weight: Any) -> Any:
    # Padding apart from the operation: torch's own takes one number for both sides.
    functional, rank = torch.nn.functional, case.problem.rank
    kind = f"conv{'_transpose' if case.transposed else ''}{rank}d"
    options = {"stride": case.stride, "dilation": case.dilation, "groups": case.groups}
    if not case.transposed:
        return getattr(functional, kind)(functional.pad(x, _torch_pads(case.pads)), weight, **options)
    canvas = getattr(functional, kind)(x, weight, **options)
    extra = case.problem.output_padding
    crops = [(-before, more - after) for (before, after), more in zip(case.pads, extra, strict=True)]
    return functional.pad(canvas, _torch_pads(crops))


def _torch_pads(pads: Any) -> list[int]:
    return [cells for pair in reversed(pads) for cells in pair]  # the last axis first
