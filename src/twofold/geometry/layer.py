"""The geometry of a layer: its axes, its channels on both sides, and how users spell them.

The weight has one shape for both directions, (coarse_channels, fine_channels / groups, *kernel_size): a convolution
reads it from fine to coarse, its transpose from coarse to fine, and nothing is flipped or permuted between them.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import gcd

from twofold.errors import GeometryError
from twofold.geometry.axis import Axis, as_count

__all__ = ["PADDING_WORDS", "Geometry", "axis_name", "conv_axes", "naming", "one_of", "per_axis", "transposed_axes"]

PADDING_WORDS = ("valid", "same", "same_lower", "causal")


@dataclass(frozen=True, slots=True)
class Geometry:
    """Axes, channels and groups of a layer; knows padding with zeros only.

    fine_channels    channels of the dense side: the input of a convolution, the output of a transposed one
    coarse_channels  channels of the strided side
    groups           divides both; channels meet within their group only

    >>> axis = Axis(3, stride=2, pad_before=1, pad_after=1)
    >>> layer = Geometry((axis, axis), fine_channels=6, coarse_channels=8, groups=2)
    >>> layer.weight_shape, layer.coarse_sizes((28, 27)), layer.fine_sizes((14, 14), output_padding=(1, 0))
    ((8, 3, 3, 3), (14, 14), (28, 27))
    """

    axes: tuple[Axis, ...]
    fine_channels: int = 1
    coarse_channels: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        if not (isinstance(self.axes, tuple) and self.axes and all(isinstance(axis, Axis) for axis in self.axes)):
            raise GeometryError("the axes of a layer are a tuple of at least 1 Axis", repair="Geometry((Axis(3),))")
        as_count("groups", self.groups, 1)
        for side in ("fine_channels", "coarse_channels"):
            channels = as_count(side, getattr(self, side), 0)
            if channels % self.groups:
                common = gcd(self.fine_channels, self.coarse_channels)
                legal = (g for g in range(min(common, self.groups, 4096), 0, -1) if common % g == 0)
                raise GeometryError(
                    f"groups {self.groups} must divide the channels, but {channels} = "
                    f"{channels // self.groups} * {self.groups} + {channels % self.groups}",
                    repair=f"groups={next(legal, 1)}",
                )

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.axes)

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Taps per axis."""
        return tuple(axis.kernel_size for axis in self.axes)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(coarse_channels, fine_channels / groups, *kernel_size)."""
        return (self.coarse_channels, self.fine_channels // self.groups, *self.kernel_size)

    def coarse_sizes(self, fine_sizes: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial size of a convolution's output."""
        sizes = []
        for i, axis in enumerate(self.axes):
            with naming(i, self.rank):
                sizes.append(axis.coarse_size(fine_sizes[i]))
        return tuple(sizes)

    def fine_sizes(self, coarse_sizes: Sequence[int], output_padding: Sequence[int] | None = None) -> tuple[int, ...]:
        """Return the spatial size of a transposed convolution's output."""
        extra = output_padding or (0,) * self.rank
        sizes = []
        for i, axis in enumerate(self.axes):
            with naming(i, self.rank):
                sizes.append(axis.fine_size(coarse_sizes[i], extra[i]))
        return tuple(sizes)

    def check_targets(self, coarse_sizes: Sequence[int], fine_sizes: Sequence[int]) -> None:
        """Refuse target sizes that no legal output_padding reaches."""
        for i, axis in enumerate(self.axes):
            with naming(i, self.rank):
                axis.check_target(coarse_sizes[i], fine_sizes[i])

    def without_padding(self) -> Geometry:
        """Return the same layer with no padding: what remains once another padding mode has padded the array."""
        return replace(self, axes=tuple(replace(axis, pad_before=0, pad_after=0) for axis in self.axes))

    def __str__(self) -> str:
        lines = [f"{self.fine_channels} fine channels, {self.coarse_channels} coarse channels, groups {self.groups}"]
        lines += [f"{axis_name(i, self.rank)}: {axis}" for i, axis in enumerate(self.axes)]
        return "\n".join(lines)


def axis_name(index: int, rank: int) -> str:
    """Return what people call the axis: width, height, depth, and numbers beyond.

    >>> [axis_name(i, 3) for i in range(3)], axis_name(0, 4)
    (['depth', 'height', 'width'], '0 of 4')
    """
    return ("width", "height", "depth")[rank - 1 - index] if rank <= 3 else f"{index} of {rank}"


@contextmanager
def naming(index: int, rank: int) -> Iterator[None]:
    """Name the axis in an error that passes: an `Axis` does not know what it is called."""
    try:
        yield
    except GeometryError as error:
        error.axis = error.axis or axis_name(index, rank)
        raise


def per_axis(name: str, value: object, rank: int, least: int | None) -> tuple[int, ...]:
    """Return one integer per axis from an integer or a sequence of `rank` integers.

    >>> per_axis("stride", 2, rank=3, least=1), per_axis("stride", (1, 2), rank=2, least=1)
    ((2, 2, 2), (1, 2))
    """
    counts = []
    for i, entry in enumerate(_entries(name, value, rank)):
        with naming(i, rank):
            counts.append(as_count(name, entry, least))
    return tuple(counts)


def conv_axes(
    fine_sizes: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: object,
) -> tuple[Axis, ...]:
    """Resolve the padding of a convolution over `fine_sizes`: a word, an integer, integers or pairs per axis.

    'same' makes coarse = ceil(fine / stride), the odd cell after; 'same_lower' puts it before; 'causal' pads
    dilation * (kernel_size - 1) before, so that no output cell depends on a later input cell.
    """
    bare = _bare_axes(kernel_size, stride, dilation)
    word = _padding_word(padding)
    if word is None:
        return _padded(bare, padding)
    return tuple(_word_axis(axis, word, fine) for axis, fine in zip(bare, fine_sizes, strict=True))


def transposed_axes(
    coarse_sizes: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: object,
    output_padding: object = 0,
    output_size: object = None,
) -> tuple[tuple[Axis, ...], tuple[int, ...]]:
    """Resolve padding and target size of a transposed convolution; returns the axes and the fine sizes.

    Numbers crop the full canvas as in torch. 'same' means fine = coarse * stride unless `output_size` is given;
    'causal' crops the end to the same size, and so is not the adjoint of the causal convolution.
    """
    rank = len(kernel_size)
    bare = _bare_axes(kernel_size, stride, dilation)
    extra = per_axis("output_padding", output_padding, rank, 0)
    targets = None if output_size is None else per_axis("output_size", output_size, rank, 1)
    if targets and any(extra):
        raise GeometryError("output_padding and output_size both choose the output size", repair="only one of them")
    word = _padding_word(padding)
    if word is None or word == "valid":
        axes = bare if word else _padded(bare, padding)
        layer = Geometry(axes)
        if targets is None:
            return axes, layer.fine_sizes(coarse_sizes, extra)
        layer.check_targets(coarse_sizes, targets)
        return axes, targets
    if any(extra):
        raise GeometryError(
            f"padding='{word}' fixes the output at input * stride, so output_padding has no meaning",
            repair="output_size=… instead of output_padding",
        )
    targets = targets or tuple(coarse * step for coarse, step in zip(coarse_sizes, stride, strict=True))
    cropped = []
    for i, axis in enumerate(bare):
        with naming(i, rank):
            cropped.append(_word_axis_transposed(axis, word, coarse_sizes[i], targets[i]))
    return tuple(cropped), targets


def _entries(name: str, value: object, rank: int) -> list[object]:
    if not _is_list(value):
        return [value] * rank
    if len(value) != rank:  # type: ignore[arg-type]
        axes = ", ".join(axis_name(i, rank) for i in range(rank))
        raise GeometryError(
            f"{name} has {len(value)} entries for {rank} spatial {'axis' if rank == 1 else 'axes'} ({axes})",  # type: ignore[arg-type]
            repair=f"one integer, or {rank} of them",
        )
    return list(value)  # type: ignore[call-overload, no-any-return]


def _is_list(value: object) -> bool:
    # An endless iterator has no length, and so is refused as a number; so is an array of no axes.
    is_list = isinstance(value, Collection) and not isinstance(value, (str, bytes, dict, set, frozenset))
    return is_list and getattr(value, "ndim", 1) != 0


def _bare_axes(kernel_size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> tuple[Axis, ...]:
    return tuple(Axis(*numbers) for numbers in zip(kernel_size, stride, dilation, strict=True))


def _padding_word(padding: object) -> str | None:
    if not isinstance(padding, str):
        return None
    return one_of("padding", padding, PADDING_WORDS, ", an integer, or (before, after) pairs")


def one_of(name: str, value: object, words: Sequence[str], also: str = "") -> str:
    """Return `value` if it is one of `words`, or refuse it and name them and the nearest.

    >>> one_of("layout", "channel_last", ("channels_first", "channels_last"))
    Traceback (most recent call last):
    twofold.errors.GeometryError: layout must be 'channels_first' or 'channels_last', not 'channel_last'
      try layout='channels_last'
    """
    if isinstance(value, str) and value in words:
        return value
    shown = value if isinstance(value, str) else type(value).__name__
    near = difflib.get_close_matches(str(shown)[:100], words, n=1)
    legal = ", ".join(f"'{word}'" for word in words[:-1]) + f" or '{words[-1]}'{also}"
    raise GeometryError(f"{name} must be {legal}, not {str(shown)[:100]!r}", repair=f"{name}='{(near or words)[0]}'")


def _padded(bare: Sequence[Axis], padding: object) -> tuple[Axis, ...]:
    rank = len(bare)
    axes = []
    for i, entry in enumerate(_entries("padding", padding, rank)):
        with naming(i, rank):
            before, after = _pair(entry)
            pads = as_count("padding", before, 0), as_count("padding", after, None)
            axes.append(replace(bare[i], pad_before=pads[0], pad_after=pads[1]))
    return tuple(axes)


def _pair(entry: object) -> list[object]:
    if not _is_list(entry):
        return [entry, entry]
    pads: list[object] = list(entry)  # type: ignore[call-overload]
    if len(pads) != 2:
        raise GeometryError(
            f"padding of one axis is an integer or a (before, after) pair, not {len(pads)} numbers",
            repair="padding=((1, 2), …), one pair per axis",
        )
    return pads


def _word_axis(axis: Axis, word: str, fine: int) -> Axis:
    if word == "valid":
        return axis
    if word == "causal":
        return replace(axis, pad_before=axis.extent - 1)
    coarse = -(-fine // axis.stride)
    # What the last coarse cell reads beyond the array, seen from an axis without padding.
    total = max(0, axis.fine_span(range(coarse)).stop - fine)
    before = total // 2 if word == "same" else total - total // 2
    return replace(axis, pad_before=before, pad_after=total - before)


def _word_axis_transposed(axis: Axis, word: str, coarse: int, fine: int) -> Axis:
    if -(-fine // axis.stride) != coarse:
        raise GeometryError(
            f"output size {fine} is out of reach: with input {coarse}, stride {axis.stride} and padding='{word}', "
            f"valid sizes are {(coarse - 1) * axis.stride + 1} to {coarse * axis.stride}",
            repair=f"output_size={coarse * axis.stride}",
        )
    if word != "causal":
        return _word_axis(axis, word, fine)
    return replace(axis, pad_after=max(0, axis.fine_span(range(coarse)).stop - fine))
