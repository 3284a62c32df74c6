"""More than three spatial axes: the outermost are folded away, and what remains has three.

For one position along the outer axes, the cells that its outer taps meet are stacked as channels; for a weight
gradient, the positions of an outer tap are stacked as images. The stack of one position is all that is copied.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from twofold.geometry import Problem

__all__ = ["INNER", "Outer", "gradient"]

Array = npt.NDArray[Any]
INNER = 3  # axes that kernels know
Inner = Callable[[Problem], Any]  # a problem of three axes -> its plan
Cells = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """Outer positions of one phase: the same taps, and from where each reads."""

    taps: tuple[Cells, ...]
    places: tuple[tuple[Cells, tuple[Cells, ...]], ...]  # an output position, and the input cell of each tap


class Outer:
    """A convolution or transposed convolution of more than three axes, as calls of one of three."""

    def __init__(self, problem: Problem, plan: Inner) -> None:
        self.problem, self._count = problem, problem.rank - INNER
        self._parts = list(self._phases())
        self.plans = [plan(self._inner(len(part.taps))) if part.taps else None for part in self._parts]

    @property
    def stack_bytes(self) -> int:
        """Bytes of the largest stack."""
        cells = math.prod(self.problem.in_size[self._count :]) * self.problem.batch * self.problem.in_channels
        return cells * max(len(part.taps) for part in self._parts) * np.dtype(self.problem.dtype).itemsize

    def pack(self, weight: Array) -> list[Any]:
        """Pack the weight of each phase."""
        pairs = zip(self.plans, self._parts, strict=True)
        return [None if plan is None else plan.pack(self._weight(weight, part.taps)) for plan, part in pairs]

    def run(self, x: Array, packed: Sequence[Any], bias: Array | None, y: Array) -> None:
        """Compute into y, (batch, channels, *size) of any strides."""
        for part, plan, weight in zip(self._parts, self.plans, packed, strict=True):
            for place, cells in part.places:
                at: Any = (slice(None), slice(None), *place)
                if plan is None:
                    y[at] = 0 if bias is None else bias.reshape(-1, *[1] * INNER)
                else:
                    y[at] = plan.run(self._stack(x, cells), weight, bias)

    def _phases(self) -> Iterator[_Part]:
        # Every output position along the outer axes, by the taps that its phase has; taps beyond the input read zeros.
        problem = self.problem
        axes = problem.geometry.axes[: self._count]
        sizes = problem.out_size[: self._count]
        if problem.op == "conv":
            taps = tuple(itertools.product(*(range(axis.kernel_size) for axis in axes)))
            outputs = itertools.product(*map(range, sizes))
            yield _Part(taps, tuple((o, tuple(_each(axes, "fine", o, tap) for tap in taps)) for o in outputs))
            return
        for phases in itertools.product(*(tuple(axis.phases()) for axis in axes)):
            taps = tuple(itertools.product(*(phase.taps for phase in phases)))
            lines = zip(phases, axes, sizes, strict=True)
            outputs = itertools.product(*(range(phase.residue, size, axis.stride) for phase, axis, size in lines))
            places = tuple((o, tuple(_each(axes, "coarse_of", o, tap) for tap in taps)) for o in outputs)
            if places:
                yield _Part(taps, places)

    def _inner(self, taps: int) -> Problem:
        problem, layer = self.problem, self.problem.geometry
        is_conv = problem.op == "conv"
        channels = {"fine_channels" if is_conv else "coarse_channels": problem.in_channels * taps}
        return replace(
            problem,
            geometry=replace(layer, axes=layer.axes[self._count :], **channels),
            fine_size=problem.fine_size[self._count :],
            coarse_size=problem.coarse_size[self._count :],
            layout="channels_first",
        )

    def _stack(self, x: Array, cells: Sequence[Cells]) -> Array:
        n, channels, groups = x.shape[0], x.shape[1], self.problem.geometry.groups
        inner = x.shape[2 + self._count :]
        stack = np.zeros((n, groups, len(cells), channels // groups, *inner), x.dtype)
        grouped = x.reshape(n, groups, channels // groups, *x.shape[2:])
        for i, cell in enumerate(cells):
            if all(0 <= c < size for c, size in zip(cell, self.problem.in_size, strict=False)):
                stack[:, :, i] = grouped[_at(3, cell)]
        return stack.reshape(n, -1, *inner)

    def _weight(self, weight: Array, taps: Sequence[Cells]) -> Array:
        problem, groups = self.problem, self.problem.geometry.groups
        sizes = problem.geometry.kernel_size[: self._count]
        if problem.flip:
            taps = [tuple(k - 1 - t for k, t in zip(sizes, tap, strict=True)) for tap in taps]
        chosen: Array = np.stack([weight[_at(2, tap)] for tap in taps])
        inner = chosen.shape[3:]
        if problem.op == "conv":  # (tap, out, in, …) -> (out, tap x in, …)
            return np.moveaxis(chosen, 0, 1).reshape(weight.shape[0], -1, *inner)
        split = chosen.reshape(len(taps), groups, weight.shape[0] // groups, weight.shape[1], *inner)
        return np.moveaxis(split, 0, 1).reshape(-1, weight.shape[1], *inner)


def gradient(problem: Problem, x: Array, grad: Array, out: Array, plan: Inner) -> None:
    """Compute a weight gradient of more than three axes into `out`."""
    count = problem.rank - INNER
    axes = problem.geometry.axes[:count]
    sizes = list(zip(axes, problem.coarse_size, problem.fine_size, strict=False))
    for taps in itertools.product(*(range(axis.kernel_size) for axis in axes)):
        meetings = [axis.span(tap, coarse, fine) for tap, (axis, coarse, fine) in zip(taps, sizes, strict=True)]
        both = slice(None), slice(None)
        grads = _images(grad[(*both, *(coarse for coarse, _ in meetings))], count)
        xs = _images(x[(*both, *(fine for _, fine in meetings))], count)
        at = [k - 1 - tap for k, tap in zip(problem.geometry.kernel_size, taps, strict=False)] if problem.flip else taps
        images = len(grads)
        if not images:
            out[(*both, *at)] = 0
            continue
        inner = replace(
            problem,
            geometry=replace(problem.geometry, axes=problem.geometry.axes[count:]),
            fine_size=problem.fine_size[count:],
            coarse_size=problem.coarse_size[count:],
            batch=images,
            layout="channels_first",
        )
        out[(*both, *at)] = plan(inner).run(xs, grads)


def _images(array: Array, count: int) -> Array:
    # (n, c, *outer, *inner) -> (n x outer, c, *inner)
    outer = tuple(range(2, 2 + count))
    moved = np.moveaxis(array, outer, tuple(range(1, 1 + count)))
    return moved.reshape(-1, *moved.shape[1 + count :])


def _at(before: int, cells: Cells) -> Any:
    # The index of these cells along the outer axes, behind so many others.
    return (*[slice(None)] * before, *cells)


def _each(axes: Sequence[Any], how: str, cells: Cells, taps: Cells) -> Cells:
    return tuple(getattr(axis, how)(cell, tap) for axis, cell, tap in zip(axes, cells, taps, strict=True))
