"""A problem: one operation with all its sizes, and the string that names it everywhere.

    conv_transpose n1 ci256 co128 i16x16 k4x4 s2x2 p1x1 f32

Its string is the page `notation`; `Problem.parse(str(problem)) == problem` always.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from twofold.errors import GeometryError
from twofold.geometry.axis import Axis, as_count, shown
from twofold.geometry.layer import Geometry, axis_name, conv_axes, naming, one_of, per_axis, transposed_axes
from twofold.geometry.notation import (
    DTYPES,
    LAYOUTS,
    OPERATIONS,
    PADDING_MODES,
    Layout,
    Operation,
    PaddingMode,
    read,
    write,
)

__all__ = ["DTYPES", "LAYOUTS", "OPERATIONS", "PADDING_MODES", "Layout", "Operation", "PaddingMode", "Problem"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One operation with all its sizes, checked at birth. Build it with `Problem.of` or `Problem.parse`.

    fine_size, coarse_size   spatial sizes of the two sides, in cells; for a convolution fine is the input
    batch, dtype, layout     of the arrays; dtype is NumPy's name

    >>> problem = Problem.parse("conv_transpose ci4 co2 i14 k3 s2 p1 op1")
    >>> print(problem)
    conv_transpose n1 ci4 co2 i14 k3 s2 p1 op1 f32
    >>> problem.weight_shape, problem.out_size, print(problem.sums)
    width: (14-1)*2 - 2*1 + 1*(3-1) + 1 + 1 = 28
    ((4, 2, 3), (28,), None)
    """

    op: Operation
    geometry: Geometry
    fine_size: tuple[int, ...]
    coarse_size: tuple[int, ...]
    batch: int = 1
    flip: bool = False
    padding_mode: PaddingMode = "zeros"
    dtype: str = "float32"
    layout: Layout = "channels_first"

    def __post_init__(self) -> None:
        one_of("operation", self.op, OPERATIONS)
        one_of("padding_mode", self.padding_mode, PADDING_MODES)
        one_of("layout", self.layout, LAYOUTS)
        one_of("dtype", self.dtype, tuple(DTYPES.values()))
        as_count("batch", self.batch, 0)
        if not len(self.fine_size) == len(self.coarse_size) == self.rank:
            raise GeometryError(f"{self.rank} axes, but sizes {self.fine_size} and {self.coarse_size}")
        if not isinstance(self.flip, bool):
            raise GeometryError(f"flip must be True or False, not {shown(self.flip)}", repair="flip=True")
        if self.op == "conv":
            if self.geometry.coarse_sizes(self.fine_size) != self.coarse_size:
                raise GeometryError(
                    f"a convolution of {self.fine_size} has no output {self.coarse_size}: {self.geometry}"
                )
        elif self.op == "conv_transpose":
            self.geometry.check_targets(self.coarse_size, self.fine_size)
        else:
            self._check_gradient()
        self._check_reflection()

    def _check_gradient(self) -> None:
        # Whatever a transposed layer of these axes may have as input and output is a legal pair here.
        for i, (axis, fine, coarse) in enumerate(
            zip(self.geometry.axes, self.fine_size, self.coarse_size, strict=True)
        ):
            with naming(i, self.rank):
                expected = axis.coarse_size(fine)
                if coarse == expected:
                    continue
                try:
                    axis.check_target(coarse, fine)
                except GeometryError:
                    raise GeometryError(
                        f"grad_y has {coarse} cells, but {axis.coarse_sum(fine)}",
                        repair=f"a grad_y of {expected} cells",
                    ) from None

    def _check_reflection(self) -> None:
        # Reflecting and repeating go on as often as the padding asks, but need something to start from.
        needed = {"zeros": 0, "replicate": 1, "circular": 1, "reflect": 2}[self.padding_mode]
        for i, axis in enumerate(self.geometry.axes):
            if self.fine_size[i] < needed and (axis.pad_before or axis.pad_after > 0):
                raise GeometryError(
                    f"padding_mode '{self.padding_mode}' needs at least {needed} cells to pad from, "
                    f"not {self.fine_size[i]}",
                    axis=axis_name(i, self.rank),
                    repair="padding_mode='replicate'" if self.fine_size[i] else "padding_mode='zeros'",
                )

    @classmethod
    def of(
        cls,
        op: str,
        in_size: Sequence[int],
        kernel_size: Sequence[int],
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        stride: object = 1,
        padding: object = 0,
        dilation: object = 1,
        groups: int = 1,
        output_padding: object = 0,
        output_size: object = None,
        flip: bool = False,
        padding_mode: str = "zeros",
        batch: int = 1,
        dtype: str = "float32",
        layout: str = "channels_first",
    ) -> Problem:
        """Describe an operation in the words of the public functions; every spelling of padding is resolved here.

        `output_size` is the target of a transposed convolution; for a weight gradient, the size of `grad_y`.

        raises  GeometryError with the rule, the numbers, the axis and the repair

        >>> print(Problem.of("conv", (7, 8), (3, 3), stride=2, padding="same"))
        conv n1 ci1 co1 i7x8 k3x3 s2x2 p1x0:1 f32
        """
        rank = len(kernel_size)
        in_size = per_axis("input size", tuple(in_size), rank, 0 if op != "conv_transpose" else 1)
        kernel_size = per_axis("kernel_size", tuple(kernel_size), rank, 1)
        strides, dilations = per_axis("stride", stride, rank, 1), per_axis("dilation", dilation, rank, 1)
        if op == "conv_transpose":
            coarse = in_size
            axes, fine = transposed_axes(coarse, kernel_size, strides, dilations, padding, output_padding, output_size)
            channels = (out_channels, in_channels)
        else:
            fine = in_size
            axes = conv_axes(fine, kernel_size, strides, dilations, padding)
            channels = (in_channels, out_channels)
            if any(per_axis("output_padding", output_padding, rank, 0)):
                raise GeometryError(f"output_padding belongs to conv_transpose, not to {op}", repair="output_padding=0")
            coarse = _coarse_of(op, axes, fine, output_size)
        return cls(
            cast(Operation, op),
            Geometry(axes, *channels, groups=as_count("groups", groups, 1)),
            fine,
            coarse,
            batch,
            flip,
            cast(PaddingMode, padding_mode),
            dtype,
            cast(Layout, layout),
        )

    # -- derived ------------------------------------------------------------------------------------------------------

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return self.geometry.rank

    @property
    def in_size(self) -> tuple[int, ...]:
        """Spatial size of the input."""
        return self.coarse_size if self.op == "conv_transpose" else self.fine_size

    @property
    def out_size(self) -> tuple[int, ...]:
        """Spatial size of the other side: the output, or `grad_y` for a weight gradient."""
        return self.fine_size if self.op == "conv_transpose" else self.coarse_size

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.geometry.coarse_channels if self.op == "conv_transpose" else self.geometry.fine_channels

    @property
    def out_channels(self) -> int:
        """Channels of the other side."""
        return self.geometry.fine_channels if self.op == "conv_transpose" else self.geometry.coarse_channels

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Torch's: (out, in / groups, *kernel) for a convolution, (in, out / groups, *kernel) for a transposed one."""
        return self.geometry.weight_shape

    @property
    def fine_shape(self) -> tuple[int, ...]:
        """(batch, channels, *size) of the fine side."""
        return (self.batch, self.geometry.fine_channels, *self.fine_size)

    @property
    def coarse_shape(self) -> tuple[int, ...]:
        """(batch, channels, *size) of the coarse side."""
        return (self.batch, self.geometry.coarse_channels, *self.coarse_size)

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of what the operation returns, channels first.

        >>> Problem.parse("conv_weight_gradient ci3 co8 i28x28 k5x5").result_shape
        (8, 3, 5, 5)
        """
        shapes = {"conv": self.coarse_shape, "conv_transpose": self.fine_shape}
        return shapes.get(self.op, self.weight_shape)

    @property
    def output_padding(self) -> tuple[int, ...]:
        """Fine cells beyond the smallest output of a transposed convolution."""
        return tuple(
            fine - axis.fine_span(range(coarse)).stop + axis.pad_after
            for axis, coarse, fine in zip(self.geometry.axes, self.coarse_size, self.fine_size, strict=True)
        )

    @property
    def multiplications(self) -> int:
        """Multiplications of the operation when padding counts: one per coarse cell, tap and pair of channels."""
        return self.batch * math.prod(self.coarse_size) * math.prod(self.weight_shape)

    @property
    def sums(self) -> str:
        """The size arithmetic, a line per axis."""
        lines = []
        for i, axis in enumerate(self.geometry.axes):
            fine, coarse = self.fine_size[i], self.coarse_size[i]
            text = axis.fine_sum(coarse, fine) if self.op == "conv_transpose" else axis.coarse_sum(fine)
            lines.append(f"{axis_name(i, self.rank)}: {text}")
        return "\n".join(lines)

    def adjoint(self) -> Problem:
        """Return the other direction over the same cells with the same weight: the gradient by the input.

        >>> print(Problem.parse("conv ci3 co8 i28 k3 s2 p1").adjoint())
        conv_transpose n1 ci8 co3 i14 k3 s2 p1 op1 f32
        """
        if 0 in self.fine_size:
            empty = self.fine_size.index(0)
            raise GeometryError("a transposed convolution cannot give 0 cells", axis=axis_name(empty, self.rank))
        if self.op == "conv":
            return replace(self, op="conv_transpose")
        axes = []
        for axis, fine, coarse, surplus in zip(
            self.geometry.axes, self.fine_size, self.coarse_size, self.output_padding, strict=True
        ):
            # An output_padding of stride or more leaves room for coarse cells that are not there: never read it.
            fits = axis.coarse_size(fine) == coarse
            axes.append(axis if fits else replace(axis, pad_after=axis.pad_after - surplus))
        return replace(self, op="conv", geometry=replace(self.geometry, axes=tuple(axes)))

    def weight_gradient(self) -> Problem:
        """Return the third contraction over the same cells: the gradient of both directions by the weight."""
        return replace(self, op="conv_weight_gradient")

    # -- the string ---------------------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, text: str) -> Problem:
        """Read a problem's string; the page `notation` lists its fields.

        >>> Problem.parse("i5x5 k3 same reflect int8").out_size
        (5, 5)
        >>> Problem.parse("conv i5 k3 z1")
        Traceback (most recent call last):
        twofold.errors.GeometryError: 'z1' is no field of a problem: ...
        """
        return cls.of(**read(text))

    def __str__(self) -> str:
        return write(self)


def _coarse_of(op: str, axes: tuple[Axis, ...], fine: tuple[int, ...], output_size: object) -> tuple[int, ...]:
    sizes = Geometry(axes).coarse_sizes(fine)
    if output_size is None:
        return sizes
    asked = per_axis("output_size", output_size, len(axes), 1)
    if op == "conv" and asked != sizes:
        wrong = next(i for i in range(len(axes)) if asked[i] != sizes[i])
        with naming(wrong, len(axes)):
            raise GeometryError(
                f"output size {asked[wrong]} is not what a convolution gives: {axes[wrong].coarse_sum(fine[wrong])}",
                repair=f"output_size={sizes[wrong]}",
            )
    return asked
