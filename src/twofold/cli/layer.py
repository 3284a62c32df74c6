"""An operation as `conv` and `conv-transpose` are asked for it: operands read, described, run by one call.

textbook     a kernel with spatial axes only, and an input with the same axes
per channel  such a kernel over an input with more axes: each plane by itself, so each channel of a picture
layer        a kernel with torch's axes of channels, (out, in / groups, …) or transposed (in, out / groups, …)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold.call import Call, Door, describe, run
from twofold.cli import values
from twofold.cli.operands import Operand
from twofold.dtypes import result_dtype
from twofold.errors import GeometryError

if TYPE_CHECKING:
    import numpy.typing as npt

    from twofold.geometry import Problem

    Array = npt.NDArray[Any]

__all__ = ["Layer", "Request", "keeps_brightness"]


@dataclass(frozen=True, slots=True)
class Request:
    """What the user typed, as text; None where nothing was typed."""

    op: str
    stride: str | None = None
    padding: str | None = None
    dilation: str | None = None
    groups: str | None = None
    padding_mode: str | None = None
    output_padding: str | None = None
    output_size: str | None = None
    layout: str | None = None
    flip: bool = False
    channels: bool = False
    axes: str | None = None
    accuracy: str | None = None

    @property
    def rank(self) -> int | None:
        """Axes in space that the user named."""
        if self.axes is None:
            return None
        if self.axes.strip() not in ("1", "2", "3"):
            raise GeometryError(f"--axes takes 1, 2 or 3, not {self.axes[:40]!r}", repair="--axes 2")
        return int(self.axes)

    def options(self, rank: int) -> dict[str, Any]:
        """Return the options as the functions take them, those that were typed only."""
        options: dict[str, Any] = {}
        for name in ("stride", "dilation", "output_padding", "output_size"):
            if (text := getattr(self, name)) is not None:
                options[name] = values.counts(f"--{name.replace('_', '-')}", text)
        if self.groups is not None:
            options["groups"] = values.number("--groups", self.groups)
        if self.padding is not None:
            options["padding"] = values.padding(self.padding, rank)
        if self.padding_mode is not None:
            options["padding_mode"] = self.padding_mode.lower()
        if self.accuracy is not None:
            options["accuracy"] = self.accuracy.lower()
        return options | ({"flip": True} if self.flip else {})


@dataclass(frozen=True)
class Layer:
    """A described operation: `run` computes it. `planes` says that the kernel went over each plane by itself."""

    call: Call
    x: Array
    weight: Array
    bias: Array | None
    planes: tuple[int, ...] | None = None
    channels_last: bool = False

    @classmethod
    def of(cls, request: Request, x: Operand, kernel: Operand, bias: Array | None) -> Layer:
        """Choose the form by the axes of input and kernel, and describe it; nothing is computed yet."""
        array, weight = x.array, kernel.array
        if kernel.is_row and (x.is_row or array.ndim == 1) and request.rank in (None, 1):
            array, weight = array.reshape(-1), weight.reshape(-1)
        rank = request.rank or _rank(weight, kernel)
        _check_axes(rank, array, weight)
        last = _channels_last(request, x)
        options = request.options(rank)
        if weight.ndim == rank and array.ndim in (rank + 1, rank + 2) and not request.channels:
            return cls._per_plane(request.op, array, weight, bias, options, last)
        if request.channels and weight.ndim != rank + 2:
            axes = "(in, out / groups, …)" if request.op == "conv_transpose" else "(out, in / groups, …)"
            raise GeometryError(
                f"--channels takes a kernel with axes of channels, {axes.replace('…', 'height, width')}, "
                f"not one of shape {weight.shape}",
                repair="a .npy kernel of such a shape, or no --channels",
            )
        if x.source == "picture" and array.ndim == 2 and weight.ndim == rank + 2:
            array, last = array[:, :, None], True
        options |= {"layout": "channels_last"} if last and weight.ndim == rank + 2 else {}
        return cls._described(request.op, rank, array, weight, bias, options, channels_last=last)

    @classmethod
    def _per_plane(
        cls, op: str, array: Array, weight: Array, bias: Array | None, options: dict[str, Any], last: bool
    ) -> Layer:
        # Every plane becomes an item of a batch with one channel.
        planes = np.moveaxis(array, -1, -1 - weight.ndim) if last else array
        leading = planes.shape[: -weight.ndim]
        if bias is not None and bias.size != 1:
            raise GeometryError(
                f"a kernel without axes of channels takes one bias, not {bias.size}", repair="--bias with one number"
            )
        batch = planes.reshape(-1, 1, *planes.shape[-weight.ndim :])
        return cls._described(
            op, weight.ndim, batch, weight[None, None], bias, options, planes=leading, channels_last=last
        )

    @classmethod
    def _described(
        cls, op: str, rank: int, x: Array, weight: Array, bias: Array | None, options: dict[str, Any], **form: Any
    ) -> Layer:
        named = rank <= 3
        door = Door(f"{op}{rank}d" if named else op, op, rank if named else None)
        return cls(describe(door, x, weight, bias, options), x, weight, bias, **form)

    def run(self) -> Array:
        """Compute the result in the form in which the input came; planes one by one, so that only one is widened."""
        if self.planes is None:
            return np.asarray(run(self.call, {}))
        problem = self.problem
        y = np.empty(problem.result_shape, self.dtype)
        for i, plane in enumerate(self.call.x):
            y[i] = run(replace(self.call, problem=replace(problem, batch=1), form="batched", x=plane[None]), {})[0]
        y = y.reshape(*self.planes, *y.shape[2:])
        return np.moveaxis(y, -1 - problem.rank, -1) if self.channels_last else y

    @property
    def problem(self) -> Problem:
        """What is computed; the planes of an input that the kernel goes over one by one are its batch."""
        return self.call.problem

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the result."""
        arrays = (self.call.x, self.call.other, self.call.bias)
        return result_dtype(*(array.dtype for array in arrays if array is not None))

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of what `run` returns, known before it runs."""
        problem = self.problem
        if self.planes is not None:
            size = problem.out_size
            return (*self.planes[:-1], *size, self.planes[-1]) if self.channels_last else (*self.planes, *size)
        if self.x.ndim == problem.rank:
            return problem.out_size
        channels = (problem.out_channels,)
        shape = (*problem.out_size, *channels) if self.channels_last else (*channels, *problem.out_size)
        return (problem.batch, *shape) if self.x.ndim == problem.rank + 2 else shape

    @property
    def plane_count(self) -> int:
        """Planes that the kernel went over one by one; 1 where it met the whole input at once."""
        return 1 if self.planes is None else math.prod(self.planes)


def keeps_brightness(layer: Layer) -> bool:
    """Whether a constant input stays that constant inside the picture: each phase of the kernel sums to 1.

    A convolution has one phase. A transposed one of stride s has s per axis, with the taps that `Axis.phases` names.
    """
    problem, weight = layer.problem, layer.weight
    if layer.bias is not None and np.any(layer.bias != 0):
        return False
    if weight.ndim == problem.rank:
        weight = weight[None, None]
    if problem.op == "conv":
        sums = weight.sum(axis=tuple(range(1, weight.ndim)), dtype=np.result_type(weight.dtype, np.float64))
        return bool(np.allclose(sums, 1, atol=1e-6))
    if math.prod(axis.stride for axis in problem.geometry.axes) > weight.size:
        return False  # more phases than taps: some are empty
    groups = problem.geometry.groups
    sums = weight.reshape(groups, -1, *weight.shape[1:]).sum(axis=1, dtype=np.result_type(weight.dtype, np.float64))
    sums = sums.reshape(-1, *weight.shape[2:])
    for i, axis in enumerate(problem.geometry.axes):
        parts = [np.take(sums, list(phase.taps), axis=1 + i).sum(axis=1 + i, keepdims=True) for phase in axis.phases()]
        sums = np.concatenate(parts, axis=1 + i)
    return bool(np.allclose(sums, 1, atol=1e-6))


def _rank(weight: Array, kernel: Operand) -> int:
    if weight.ndim <= 2 or kernel.source != "array":  # only a file can hold axes of channels
        return max(weight.ndim, 1)
    return weight.ndim - 2


def _check_axes(rank: int, array: Array, weight: Array) -> None:
    if weight.ndim not in (rank, rank + 2):
        raise GeometryError(
            f"a kernel over {rank} axes in space has {rank} axes, or {rank + 2} with those of channels, not the shape "
            f"{weight.shape}",
            repair=f"--axes {weight.ndim}" if 1 <= weight.ndim <= 3 else "a .npy kernel of such a shape",
        )
    if array.ndim not in range(rank, rank + 3):
        raise GeometryError(
            f"an input for {rank} axes in space has {rank} axes, or {rank + 1} or {rank + 2} with channels and batch, "
            f"not the shape {array.shape}",
            repair="an input of such a shape",
        )


def _channels_last(request: Request, x: Operand) -> bool:
    if x.source != "picture":
        layout = (request.layout or "channels_first").lower().replace("-", "_")
        if layout not in ("channels_first", "channels_last"):
            raise GeometryError(
                f"--layout takes channels_first or channels_last, not {layout[:40]!r}",
                repair="--layout channels_last",
            )
        return layout == "channels_last"
    if request.layout is not None:
        raise GeometryError("a picture is (height, width, channels) always", repair="no --layout")
    return x.array.ndim == 3
