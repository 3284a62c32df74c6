"""What a peer is given and what it gives back: a `Case` goes in, a `Prepared` comes out, or a reason why not.

Weights and layouts are converted while preparing, which is not timed. `Prepared.call` is what is timed: it makes fresh
outputs and returns only when they are computed. `Prepared.arrays` turns its result into NumPy, channels first, again
untimed; for a training step the result is (y, grad_x, grad_weight).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from twofold.accuracies import DEFAULT
from twofold.geometry import Problem

__all__ = ["Cannot", "Case", "Missing", "Prepared", "flipped", "guest", "load"]

Array = npt.NDArray[Any]


class Cannot(Exception):  # noqa: N818  # an answer, not an error
    """The peer does not do this problem; the text says why."""


class Missing(Cannot):
    """The peer is not installed; the text says how to install it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One problem as its arrays, and how it is to be run.

    x        (batch, in_channels, *in_size)
    weight   problem.weight_shape, as torch has it
    grad_y   (batch, out_channels, *out_size) for a training step, else None
    variant  which of its forms the peer is to take: its name in the table
    folder   where the peer may write files
    accuracy of our own columns: see `twofold.accuracies`
    """

    problem: Problem
    x: Array
    weight: Array
    grad_y: Array | None
    variant: str
    threads: int
    folder: Path
    accuracy: str = DEFAULT

    @property
    def transposed(self) -> bool:
        """Whether the operation is the transposed one."""
        return self.problem.op == "conv_transpose"

    @property
    def groups(self) -> int:
        """Groups of channels that do not mix."""
        return self.problem.geometry.groups

    @property
    def stride(self) -> tuple[int, ...]:
        """Per axis."""
        return tuple(axis.stride for axis in self.problem.geometry.axes)

    @property
    def dilation(self) -> tuple[int, ...]:
        """Per axis."""
        return tuple(axis.dilation for axis in self.problem.geometry.axes)

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """(before, after) per axis, of the forward convolution."""
        return tuple((axis.pad_before, axis.pad_after) for axis in self.problem.geometry.axes)

    @property
    def full_pads(self) -> tuple[tuple[int, int], ...]:
        """What a transposed convolution puts around its spread input to be a dense one; negative where it crops.

        From coarse * stride + tap * dilation - pad_before: the first output cell reads extent - 1 - pad_before cells
        before the first input cell.
        """
        axes = zip(self.problem.geometry.axes, self.problem.output_padding, strict=True)
        return tuple((a.extent - 1 - a.pad_before, a.extent - 1 - a.pad_after + extra) for a, extra in axes)

    def symmetric_pads(self) -> tuple[int, ...]:
        """Padding per axis for peers that take one number for both sides."""
        if any(before != after for before, after in self.pads):
            raise Cannot("takes no padding that differs before and after")
        return tuple(before for before, _ in self.pads)

    def forward_only(self) -> None:
        """Refuse a training step."""
        if self.grad_y is not None:
            raise Cannot("runs forward only")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is timed, and how its result becomes NumPy arrays."""

    call: Callable[[], Any]
    arrays: Callable[[Any], tuple[Array, ...]]


def guest(module: str, pip: str) -> Any:
    """Import a peer's module by name, so that no peer is needed until it is asked for.

    >>> guest("no_such_peer", "no-such-peer")
    Traceback (most recent call last):
    twofold.bench.case.Missing: not installed: pip install no-such-peer
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.split(".")[0] == error.name.split(".")[0]:
            raise Missing(f"not installed: pip install {pip}") from None
        raise Missing(f"not complete, it lacks {error.name}: pip install {pip}") from None


def load(folder: Path, problem: Problem, variant: str, threads: int, training: bool, accuracy: str = DEFAULT) -> Case:
    """Read the arrays that the harness has written for this problem."""
    grad_y = np.load(folder / "grad_y.npy") if training else None
    x, weight = np.load(folder / "x.npy"), np.load(folder / "weight.npy")
    return Case(problem, x, weight, grad_y, variant, threads, folder, accuracy)


def flipped(case: Case) -> Array:
    """Return the weight with which a transposed convolution is a dense one over its spread input.

    returns  (out_channels, in_channels / groups, *kernel_size): taps reversed, channels exchanged within each group
    """
    rank, groups = case.problem.rank, case.groups
    w = np.flip(case.weight, tuple(range(2, 2 + rank)))
    w = w.reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2)  # (groups, out / groups, in / groups, *kernel_size)
    return np.ascontiguousarray(w.reshape(-1, *w.shape[2:]))
