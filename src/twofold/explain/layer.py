"""A real layer, with its real weights: a window of its input and some of its channels, small enough to be seen.

The layer is read by its attributes, so torch is not imported here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from twofold.arrays import kind_of as array_kind
from twofold.errors import GeometryError, UnsupportedError
from twofold.explain.arithmetic import Array
from twofold.explain.inputs import describe
from twofold.explain.trace import Trace

__all__ = ["layer"]

_NAME = re.compile(r"Conv(Transpose)?([123])d")
CHANNELS = 4  # input channels that are kept unless they are chosen
_CELLS = 12  # of a window along each axis that is not chosen


def layer(
    module: Any,
    x: Any,
    *,
    channel: int = 0,
    channels: Sequence[int] | None = None,
    window: Sequence[slice | tuple[int, int]] | None = None,
    sample: int = 0,
) -> Trace:
    """Explain a torch layer on a real input, with its real weights.

    module    Conv1d, Conv2d, Conv3d or ConvTranspose1d, …2d, …3d
    x         (batch, channels, *size) or (channels, *size)
    channel   the output channel that is shown
    channels  the input channels that are shown, of those that meet it; the first 4 if None
    window    the part of each axis of the input, as slices or (start, stop); at most 12 cells if None
    sample    which input of the batch

    The trace is that of the part alone: its edges are padded as the layer pads, and input channels that are left out
    are missing from its sums. With all channels and the whole input it equals the layer's output.

    raises  UnsupportedError for another kind of module, GeometryError for a channel or a window that is not there

    >>> import torch
    >>> conv = torch.nn.Conv2d(3, 8, 3, padding=1)
    >>> layer(conv, torch.ones(1, 3, 32, 32), channel=5).problem.in_size
    (12, 12)
    """
    name = type(module).__name__.removeprefix("Lazy")
    match = _NAME.fullmatch(name)
    weight = getattr(module, "weight", None)
    if match is None or weight is None or getattr(weight, "ndim", 0) < 3:
        raise UnsupportedError(f"{name} is no convolution layer", repair="Conv1d to Conv3d, or ConvTranspose1d to 3d")
    transposed, rank = bool(match[1]), int(match[2])
    numbers = _host("weight", weight)
    data = _host("x", x)
    data = data[None] if data.ndim == rank + 1 else data
    groups, ins, outs = int(module.groups), int(module.in_channels), int(module.out_channels)
    if data.ndim != rank + 2 or data.shape[1] != ins:
        raise GeometryError(f"x has shape {data.shape}, but the layer takes (batch, {ins}, *size) of {rank} axes",
                            repair=f"x of shape (1, {ins}, …)")  # fmt: skip
    _check("sample", sample, data.shape[0])
    _check("channel", channel, outs)
    group = channel // (outs // groups)
    meets = list(range(group * (ins // groups), (group + 1) * (ins // groups)))
    kept = meets[:CHANNELS] if channels is None else [int(c) for c in channels]
    if not kept or any(c not in meets for c in kept):
        raise GeometryError(f"output channel {channel} meets the input channels {meets[0]} to {meets[-1]}, "
                            f"not {kept}", repair=f"channels=[{meets[0]}]")  # fmt: skip
    inner, here = [c - meets[0] for c in kept], channel - group * (outs // groups)
    part = numbers[kept, here : here + 1] if transposed else numbers[channel : channel + 1, inner]
    piece = data[sample : sample + 1, kept][(slice(None), slice(None), *_window(window, data.shape[2:]))]
    bias = getattr(module, "bias", None)
    bias = None if bias is None else _host("bias", bias)[channel : channel + 1]
    mode = str(getattr(module, "padding_mode", "zeros"))
    sizes: list[Any] = [module.stride, _padding(module), module.dilation, 1]
    sizes += [module.output_padding, None] if transposed else []
    return describe("conv_transpose" if transposed else "conv", rank, piece, part, bias, sizes, {"padding_mode": mode})


def _host(name: str, value: Any) -> Array:
    value = value.detach() if hasattr(value, "detach") else value
    return np.asarray(array_kind(**{name: value}).host(name, value))


def _padding(module: Any) -> Any:
    padding = module.padding
    return padding if isinstance(padding, str) else tuple(int(p) for p in padding)


def _window(window: Sequence[slice | tuple[int, int]] | None, shape: Sequence[int]) -> tuple[slice, ...]:
    if window is None:
        return tuple(slice(0, min(size, _CELLS)) for size in shape)
    if len(window) != len(shape):
        raise GeometryError(f"the window has {len(window)} axes, but the input has {len(shape)}",
                            repair=f"{len(shape)} slices")  # fmt: skip
    slices = [part if isinstance(part, slice) else slice(*part) for part in window]
    if not math.prod(len(range(*part.indices(size))) for part, size in zip(slices, shape, strict=True)):
        raise GeometryError(f"the window leaves nothing of an input of {tuple(shape)}", repair="window=None")
    return tuple(slices)


def _check(name: str, index: int, size: int) -> None:
    if not 0 <= index < size:
        raise GeometryError(f"there is no {name} {index}: there are {size}", repair=f"0 to {size - 1}")
