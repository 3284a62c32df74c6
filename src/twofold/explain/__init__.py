"""Explain a convolution with its numbers: which are multiplied, what is added, and where it lands.

    trace = explain.conv2d(x, weight, stride=2)     arrays, lists, tensors; the parameters of torch
    trace = explain.problem("conv i5x5 k3x3 p1")    any problem; numbers that are not given count 1, 2, 3, …
    trace = explain.layer(module, x, channel=5)     a torch layer with its real weights
    trace.view("phases")                            the same seen otherwise: matrix, overlap, sizes, field, gradient, …

    print(trace)                    every step as text            trace.save("steps.gif")   .svg .png .html .txt .json …
    trace.steps[0].text             one formula                   trace.y, trace.taps       the result; the table

`trace` holds the steps, `steps` says what one is, `numbers` writes it, `text` and `figure` show it.
`views` says what each view shows, as plain data; all its sentences stand in `english.json`.
`limits` holds what an explanation makes at most; beyond, it says so in a sentence.
"""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from twofold.explain.inputs import describe, from_problem
from twofold.explain.layer import layer
from twofold.explain.steps import Canvas, Cells, Step, Term
from twofold.explain.trace import Trace

__all__ = [
    "Canvas", "Cells", "Step", "Term", "Trace", "conv", "conv1d", "conv2d", "conv3d", "conv_transpose",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "layer", "problem",
]  # fmt: skip


class Options(TypedDict, total=False):
    """What every function takes by keyword beside torch's parameters; an unknown name is a TypeError."""

    flip: bool
    padding_mode: str


def conv(
    x: Any, weight: Any, bias: Any = None, *, stride: object = 1, padding: object = 0, dilation: object = 1,
    groups: int = 1, **more: Unpack[Options],
) -> Trace:  # fmt: skip
    """Explain a convolution of any rank; the weight is (out_channels, in_channels / groups, *kernel_size).

    >>> conv([[[1, 2, 3]]], [[[1, 10]]]).y
    array([[[21, 32]]])
    """
    return describe("conv", None, x, weight, bias, (stride, padding, dilation, groups), more)


def conv_transpose(
    x: Any, weight: Any, bias: Any = None, *, stride: object = 1, padding: object = 0, dilation: object = 1,
    groups: int = 1, output_padding: object = 0, output_size: object = None, **more: Unpack[Options],
) -> Trace:  # fmt: skip
    """Explain a transposed convolution of any rank; the weight is (in_channels, out_channels / groups, *kernel_size).

    >>> conv_transpose([[[1, 2, 3]]], [[[1, 10, 100]]], stride=2).y
    array([[[  1,  10, 102,  20, 203,  30, 300]]])
    """
    sizes = stride, padding, dilation, groups, output_padding, output_size
    return describe("conv_transpose", None, x, weight, bias, sizes, more)


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: object = 1, padding: object = 0, dilation: object = 1,
    groups: int = 1, **more: Unpack[Options],
) -> Trace:  # fmt: skip
    """Explain a convolution along one axis; plain lists are the textbook form.

    >>> print(conv1d([1, 2, 3], [1, 10]).steps[0].text)
    1*1 + 10*2 = 1 + 20 = 21
    """
    return describe("conv", 1, x, weight, bias, (stride, padding, dilation, groups), more)


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: object = 1, padding: object = 0, dilation: object = 1,
    groups: int = 1, **more: Unpack[Options],
) -> Trace:  # fmt: skip
    """Explain a convolution of pictures; 2-D arrays are the textbook form.

    >>> conv2d([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 2], [3, 4]]).y
    array([[37, 47],
           [67, 77]])
    """
    return describe("conv", 2, x, weight, bias, (stride, padding, dilation, groups), more)


def conv3d(
    x: Any, weight: Any, bias: Any = None, stride: object = 1, padding: object = 0, dilation: object = 1,
    groups: int = 1, **more: Unpack[Options],
) -> Trace:  # fmt: skip
    """Explain a convolution of volumes; 3-D arrays are the textbook form."""
    return describe("conv", 3, x, weight, bias, (stride, padding, dilation, groups), more)


def conv_transpose1d(
    x: Any, weight: Any, bias: Any = None, stride: object = 1, padding: object = 0, output_padding: object = 0,
    groups: int = 1, dilation: object = 1, *, output_size: object = None, **more: Unpack[Options],
) -> Trace:  # fmt: skip
    """Explain a transposed convolution along one axis; plain lists are the textbook form.

    >>> conv_transpose1d([1, 2, 3], [1, 10, 100]).y
    array([  1,  12, 123, 230, 300])
    """
    sizes = stride, padding, dilation, groups, output_padding, output_size
    return describe("conv_transpose", 1, x, weight, bias, sizes, more)


def conv_transpose2d(
    x: Any, weight: Any, bias: Any = None, stride: object = 1, padding: object = 0, output_padding: object = 0,
    groups: int = 1, dilation: object = 1, *, output_size: object = None, **more: Unpack[Options],
) -> Trace:  # fmt: skip
    """Explain a transposed convolution of pictures; 2-D arrays are the textbook form.

    >>> conv_transpose2d([[0, 1], [2, 3]], [[0, 1], [2, 3]]).intermediates[3]
    array([[0, 0, 0],
           [0, 0, 3],
           [0, 6, 9]])
    """
    sizes = stride, padding, dilation, groups, output_padding, output_size
    return describe("conv_transpose", 2, x, weight, bias, sizes, more)


def conv_transpose3d(
    x: Any, weight: Any, bias: Any = None, stride: object = 1, padding: object = 0, output_padding: object = 0,
    groups: int = 1, dilation: object = 1, *, output_size: object = None, **more: Unpack[Options],
) -> Trace:  # fmt: skip
    """Explain a transposed convolution of volumes; 3-D arrays are the textbook form."""
    sizes = stride, padding, dilation, groups, output_padding, output_size
    return describe("conv_transpose", 3, x, weight, bias, sizes, more)


def problem(text: Any, x: Any = None, weight: Any = None, bias: Any = None) -> Trace:
    """Explain a problem by its string; numbers that are not given count 1, 2, 3, … row by row.

    x, weight   with or without the axes of batch and channels; channels first, whatever the problem's layout
    weight      "digits" stands for powers of ten, so that every output spells the inputs it is made of
    dtype       a float problem computes in float64 and an integer one exactly; numbers are not rounded to the dtype

    >>> problem("conv i3x3 k2x2", weight="digits").y
    array([[5421., 6532.],
           [8754., 9865.]])
    """
    return from_problem(text, x, weight, bias)
