"""A problem: one operation with all its sizes, and the string that names it everywhere.

    conv_transpose n1 ci256 co128 i16x16 k4x4 s2x2 p1x1 f32

The operation comes first (`conv` is the default), then fields in any order; a single number stands for every axis:

    n  batch             i  input size     s  stride             op  output_padding
    ci in_channels       k  kernel_size    p  padding, a:b pair  o   output size
    co out_channels      g  groups         d  dilation
    same same_lower valid causal    padding in a word; resolved to numbers at once
    reflect replicate circular      padding mode       flip  true convolution        nhwc  channels last
    f32 f64 f16 bf16 c64 c128 int8 … uint64 bool       dtype, f32 if none is named

`str(problem)` prints the operation, `n ci co i k`, of the rest what is not default, and the dtype last;
`Problem.parse(str(problem)) == problem` always.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from twofold.errors import GeometryError
from twofold.geometry.axis import Axis, as_count
from twofold.geometry.layer import (
    PADDING_WORDS,
    Geometry,
    axis_name,
    conv_axes,
    naming,
    one_of,
    per_axis,
    transposed_axes,
)

__all__ = ["DTYPES", "LAYOUTS", "OPERATIONS", "PADDING_MODES", "Layout", "Operation", "PaddingMode", "Problem"]

Operation = Literal["conv", "conv_transpose", "conv_weight_gradient"]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Layout = Literal["channels_first", "channels_last"]

OPERATIONS = ("conv", "conv_transpose", "conv_weight_gradient")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
LAYOUTS = ("channels_first", "channels_last")
DTYPES = {  # the word in a problem's string -> NumPy's (and ml_dtypes') name
    "f32": "float32",
    "f64": "float64",
    "f16": "float16",
    "bf16": "bfloat16",
    "c64": "complex64",
    "c128": "complex128",
    **{f"{kind}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    "bool": "bool",
}


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
            raise GeometryError(f"flip must be True or False, not {self.flip!r}"[:200], repair="flip=True")
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
        """Read a problem's string; see the top of this page for its fields.

        >>> Problem.parse("i5x5 k3 same reflect int8").out_size
        (5, 5)
        >>> Problem.parse("conv i5 k3 z1")
        Traceback (most recent call last):
        twofold.errors.GeometryError: 'z1' is no field of a problem: ...
        """
        op, fields, words = _fields(text)
        for key, meaning in (("i", "input size"), ("k", "kernel_size")):
            if key not in fields:
                raise GeometryError(
                    f"a problem needs {key} ({meaning}), which is missing in {text!r}", repair=f"{key}3x3"
                )
        rank = max(len(entries) for entries in fields.values())
        values = {key: _spread(key, entries, rank) for key, entries in fields.items()}
        single = {key: cast(int, values[key][0]) for key in ("n", "ci", "co", "g") if key in values}
        if "p" in values and "padding" in words:
            raise GeometryError(f"p and '{words['padding']}' both choose the padding", repair="only one of them")
        return cls.of(
            op,
            cast(Sequence[int], values["i"]),
            cast(Sequence[int], values["k"]),
            in_channels=single.get("ci", 1),
            out_channels=single.get("co", 1),
            batch=single.get("n", 1),
            groups=single.get("g", 1),
            stride=values.get("s", 1),
            dilation=values.get("d", 1),
            padding=words.get("padding", values.get("p", 0)),
            output_padding=values.get("op", 0),
            output_size=values.get("o"),
            flip="flip" in words,
            padding_mode=words.get("mode", "zeros"),
            layout="channels_last" if "nhwc" in words else "channels_first",
            dtype=DTYPES[words.get("dtype", "f32")],
        )

    def __str__(self) -> str:
        axes = self.geometry.axes
        fields = [self.op, f"n{self.batch}", f"ci{self.in_channels}", f"co{self.out_channels}"]
        fields += ["i" + _joined(self.in_size), "k" + _joined(self.geometry.kernel_size)]
        fields += ["s" + _joined([axis.stride for axis in axes])] if any(axis.stride != 1 for axis in axes) else []
        pads = [f"{a.pad_before}" if a.pad_before == a.pad_after else f"{a.pad_before}:{a.pad_after}" for a in axes]
        fields += ["p" + _joined(pads)] if any(pad != "0" for pad in pads) else []
        fields += ["d" + _joined([axis.dilation for axis in axes])] if any(axis.dilation != 1 for axis in axes) else []
        if self.op == "conv_transpose" and any(self.output_padding):
            fields.append("op" + _joined(self.output_padding))
        if self.op == "conv_weight_gradient" and self.geometry.coarse_sizes(self.fine_size) != self.coarse_size:
            fields.append("o" + _joined(self.coarse_size))
        fields += [f"g{self.geometry.groups}"] if self.geometry.groups != 1 else []
        fields += [self.padding_mode] if self.padding_mode != "zeros" else []
        fields += ["flip"] if self.flip else []
        fields += ["nhwc"] if self.layout == "channels_last" else []
        fields.append(next(word for word, name in DTYPES.items() if name == self.dtype))
        return " ".join(fields)


_FIELD = re.compile(r"(op|ci|co|[nikspdgo])((?:-?[0-9]+(?::-?[0-9]+)?)(?:x-?[0-9]+(?::-?[0-9]+)?)*)")
_MAX_TEXT = 4000  # characters; also keeps each number far below the digits at which Python refuses to convert it

_Entry = int | tuple[int, int]


def _fields(text: str) -> tuple[str, dict[str, list[_Entry]], dict[str, str]]:
    if not isinstance(text, str):
        raise GeometryError(f"a problem is a string, not {type(text).__name__}", repair="'conv i5x5 k3x3'")
    if len(text) > _MAX_TEXT:
        raise GeometryError(f"a problem has at most {_MAX_TEXT} characters, not {len(text)}")
    tokens = text.split()
    op = tokens.pop(0) if tokens and tokens[0] in OPERATIONS else "conv"
    fields: dict[str, list[_Entry]] = {}
    words: dict[str, str] = {}
    for token in tokens:
        kind = _word_kind(token)
        match = None if kind else _FIELD.fullmatch(token)
        if kind is None and match is None:
            raise _unknown(token)
        key = kind or cast(re.Match[str], match)[1]
        if key in fields or key in words:
            raise GeometryError(f"{key} appears twice in a problem, the second time as {token!r}", repair="one of them")
        if kind:
            words[kind] = token
        else:
            fields[key] = [_entry(key, entry) for entry in cast(re.Match[str], match)[2].split("x")]
    return op, fields, words


def _word_kind(token: str) -> str | None:
    kinds = (("padding", PADDING_WORDS), ("mode", PADDING_MODES), ("flip", ("flip",)), ("nhwc", ("nhwc",)))
    return next((kind for kind, words in (*kinds, ("dtype", tuple(DTYPES))) if token in words), None)


def _unknown(token: str) -> GeometryError:
    shown = token if len(token) <= 40 else token[:37] + "..."
    words = (*OPERATIONS, *PADDING_WORDS, *PADDING_MODES, *DTYPES, "flip", "nhwc")
    near = difflib.get_close_matches(token[:40], words, n=1)
    rule = f"{shown!r} is no field of a problem: n ci co i k s p d op o g with numbers such as i5x5, or a word"
    if token in OPERATIONS:
        return GeometryError(f"the operation {shown!r} must come first in a problem")
    return GeometryError(rule, repair=near[0] if near else "conv n1 ci1 co1 i5x5 k3x3 s2 p1 f32")


def _entry(key: str, text: str) -> _Entry:
    if ":" in text and key != "p":
        raise GeometryError(f"only padding takes a before:after pair, not {key}{text}", repair="p1:2")
    if ":" not in text:
        return int(text)
    before, after = text.split(":")
    return int(before), int(after)


def _spread(key: str, entries: list[_Entry], rank: int) -> list[_Entry]:
    if key in ("n", "ci", "co", "g"):
        if len(entries) != 1:
            raise GeometryError(f"{key} is one number, not {len(entries)}", repair=f"{key}{entries[0]}")
        return entries
    if len(entries) not in (1, rank):
        raise GeometryError(
            f"{key} has {len(entries)} entries, but the problem has {rank} spatial axes", repair=f"{key}{entries[0]}"
        )
    return entries * rank if len(entries) == 1 else entries


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


def _joined(entries: Sequence[object]) -> str:
    return "x".join(str(entry) for entry in entries)
