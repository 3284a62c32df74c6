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
from twofold.geometry import Axis

__all__ = ["layer"]

_NAME = re.compile(r"Conv(Transpose)?([123])d")
CHANNELS = 4  # input channels that are kept unless they are chosen
_CELLS = 12  # of a window along each axis that is not chosen


def layer(
    module: Any,
    x: Any,
    *,
    channel: int = 0,
    channels: Sequence[int] | int | None = None,
    window: Sequence[slice | tuple[int, int]] | None = None,
    sample: int = 0,
) -> Trace:
    """Explain a torch layer on a real input, with its real weights.

    module    Conv1d, Conv2d, Conv3d or ConvTranspose1d, …2d, …3d, or what is derived from one, as by weight_norm
    x         (batch, channels, *size) or (channels, *size)
    channel   the output channel that is shown
    channels  the input channels that are shown, of those that meet it; the first 4 if None
    window    the part of each axis of the input, as slices or (start, stop); if None some 12 cells, or more where the
              kernel is larger
    sample    which input of the batch

    The trace is that of the part alone: its edges are padded as the layer pads, and input channels that are left out
    are missing from its sums. With all channels and the whole input it equals the layer's output.

    raises  UnsupportedError for another kind of module, GeometryError for a channel or a window that is not there

    >>> import torch
    >>> conv = torch.nn.Conv2d(3, 8, 3, padding=1)
    >>> layer(conv, torch.ones(1, 3, 32, 32), channel=5).problem.in_size
    (12, 12)
    """
    transposed, rank = _kind(module)
    weight = module.weight
    numbers = _host("weight", weight)
    data = _host("x", x)
    data = data[None] if data.ndim == rank + 1 else data
    groups, ins, outs = int(module.groups), int(module.in_channels), int(module.out_channels)
    if data.ndim != rank + 2 or data.shape[1] != ins:
        raise GeometryError(f"x has shape {data.shape}, but the layer takes (batch, {ins}, *size) of {rank} axes",
                            repair=f"x of shape (1, {ins}, …)")  # fmt: skip
    sample, channel = _index("sample", sample, data.shape[0]), _index("channel", channel, outs)
    group = channel // (outs // groups)
    meets = list(range(group * (ins // groups), (group + 1) * (ins // groups)))
    chosen = [channels] if hasattr(channels, "__index__") else channels
    kept = meets[:CHANNELS] if chosen is None else [_index("channel", c, ins) for c in chosen]
    if not kept or any(c not in meets for c in kept):
        raise GeometryError(f"output channel {channel} meets the input channels {meets[0]} to {meets[-1]}, "
                            f"not {kept}", repair=f"channels=[{meets[0]}]")  # fmt: skip
    inner, here = [c - meets[0] for c in kept], channel - group * (outs // groups)
    part = numbers[kept, here : here + 1] if transposed else numbers[channel : channel + 1, inner]
    piece = data[sample : sample + 1, kept][(slice(None), slice(None), *_window(window, data.shape[2:], module))]
    bias = getattr(module, "bias", None)
    bias = None if bias is None else _host("bias", bias)[channel : channel + 1]
    mode = str(getattr(module, "padding_mode", "zeros"))
    sizes: list[Any] = [module.stride, _padding(module), module.dilation, 1]
    sizes += [module.output_padding, None] if transposed else []
    return describe("conv_transpose" if transposed else "conv", rank, piece, part, bias, sizes, {"padding_mode": mode})


def _kind(module: Any) -> tuple[bool, int]:
    # Whether it is a transposed layer, and of how many axes, by the class it is or is derived from.
    own = type(module).__name__
    match = next((found for kind in type(module).__mro__ if (found := _NAME.fullmatch(kind.__name__))), None)
    if match is None:
        raise UnsupportedError(f"{own} is no convolution layer", repair="Conv1d to Conv3d, or ConvTranspose1d to 3d")
    weight = getattr(module, "weight", None)
    if match[0] != own and own.startswith("Lazy"):
        raise UnsupportedError(f"{own} has no weight before its first call", repair="calling it once")
    if not isinstance(getattr(weight, "ndim", None), int):
        raise UnsupportedError(f"{own} of {type(module).__module__} holds no weight that is an array, as a quantised "
                               "layer does not", repair="the layer before it was quantised")  # fmt: skip
    return bool(match[1]), int(match[2])


def _host(name: str, value: Any) -> Array:
    value = value.detach() if hasattr(value, "detach") else value
    return np.asarray(array_kind(**{name: value}).host(name, value))


def _padding(module: Any) -> Any:
    padding = module.padding
    return padding if isinstance(padding, str) else tuple(int(p) for p in padding)


def _window(window: Sequence[slice | tuple[int, int]] | None, shape: Sequence[int], module: Any) -> tuple[slice, ...]:
    if window is None:
        axes = zip(shape, module.kernel_size, module.dilation, module.stride, strict=True)
        reads = [(size, Axis(k, s, d).extent + 2 * s) for size, k, d, s in axes]  # three windows of a convolution
        return tuple(slice(0, min(size, max(_CELLS, three))) for size, three in reads)
    if len(window) != len(shape):
        raise GeometryError(f"the window has {len(window)} axes, but the input has {len(shape)}",
                            repair=f"{len(shape)} slices")  # fmt: skip
    slices = [_part(part) for part in window]
    if not math.prod(len(range(*part.indices(size))) for part, size in zip(slices, shape, strict=True)):
        raise GeometryError(f"the window leaves nothing of an input of {tuple(shape)}", repair="window=None")
    return tuple(slices)


def _part(part: Any) -> slice:
    ends = [part.start, part.stop, part.step] if isinstance(part, slice) else part
    if not isinstance(ends, (list, tuple)) or not 2 <= len(ends) <= 3 or ends[2:] not in ([], (), [None], [1]):
        raise GeometryError(f"a window has a slice or (start, stop) for each axis, not {part!r}", repair="(0, 12)")
    if not all(end is None or hasattr(end, "__index__") for end in ends):
        raise GeometryError(f"a window is made of whole numbers, not {part!r}", repair="(0, 12)")
    return slice(ends[0], ends[1])


def _index(name: str, index: Any, size: int) -> int:
    if not hasattr(index, "__index__") or not 0 <= index < size:
        raise GeometryError(f"there is no {name} {index!r}: there are {size}", repair=f"0 to {size - 1}")
    return int(index)
