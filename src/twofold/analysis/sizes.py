"""Solve the size equation for whatever is missing, and the conventions of padding side by side.

The same layer leads from fine to coarse as a convolution and back as a transposed one, so there is one list of
solutions for both directions: layers whose convolution makes `coarse` of `fine`. The transposed layer needs the
output_padding that each solution names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from twofold.errors import GeometryError
from twofold.geometry import Axis
from twofold.geometry.axis import as_count
from twofold.geometry.layer import conv_axes

__all__ = ["KERNELS", "Convention", "Solution", "conventions", "inputs_of", "solve"]

KERNELS = 12  # the largest kernel that is tried
_TRIED = 200_000  # axes that are tried for one question


@dataclass(frozen=True, slots=True)
class Solution:
    """One layer that leads from `fine` to `coarse` and, transposed with this output_padding, back."""

    axis: Axis
    coarse: int
    fine: int
    output_padding: int

    @property
    def name(self) -> str:
        """The parameters in the words of a problem's string.

        >>> solve(4, 8)[0].name, solve(4, 8, kernel_size=3)[0].name
        ('k2 s2 p0', 'k3 s2 p1 op1')
        """
        axis = self.axis
        pads = f"{axis.pad_before}" + (f":{axis.pad_after}" if axis.pad_after != axis.pad_before else "")
        dilation = f" d{axis.dilation}" if axis.dilation > 1 else ""
        extra = f" op{self.output_padding}" if self.output_padding else ""
        return f"k{axis.kernel_size} s{axis.stride} p{pads}{dilation}{extra}"


@dataclass(frozen=True, slots=True)
class Convention:
    """How one convention pads an axis: cells before and after, and the coarse size that this gives."""

    name: str
    before: int
    after: int
    coarse: int


def solve(
    coarse: int | None = None,
    fine: int | None = None,
    *,
    kernel_size: int | None = None,
    stride: int | None = None,
    padding: int | None = None,
    dilation: int | None = 1,
    output_padding: int | None = None,
) -> list[Solution]:
    """Find the layers between two sizes, or one size from the other; what is None is looked for.

    Kernels up to 12 are tried, the whole strides nearest to fine / coarse, symmetric padding below the kernel's
    extent, and dilations up to 4 if `dilation` is None. Sorted: even overlap first and holes last, then small
    kernels, strides and padding.

    raises  GeometryError if neither size is known

    >>> [(s.name, s.axis.is_even) for s in solve(4, 8)][:4]
    [('k2 s2 p0', True), ('k4 s2 p1', True), ('k6 s2 p2', True), ('k8 s2 p3', True)]
    >>> [(s.fine, s.output_padding) for s in solve(4, kernel_size=3, stride=2, padding=1)]
    [(7, 0), (8, 1)]
    """
    if coarse is None and fine is None:
        raise GeometryError("one of the two sizes must be known", repair="solve(4, 8)")
    for name, size in (("coarse", coarse), ("fine", fine)):
        if size is not None:
            as_count(f"{name} size", size, 1)
    kernels = range(1, KERNELS + 1) if kernel_size is None else (as_count("kernel_size", kernel_size, 1),)
    dilations = range(1, 5) if dilation is None else (as_count("dilation", dilation, 1),)
    strides = _strides(coarse, fine) if stride is None else (as_count("stride", stride, 1),)
    found: set[Solution] = set()
    for axis in _axes(kernels, strides, dilations, padding):
        found.update(s for s in _between(axis, coarse, fine) if output_padding in (None, s.output_padding))
    return sorted(found, key=_rank)


def inputs_of(axis: Axis, coarse: int) -> list[tuple[int, int]]:
    """Return every fine size that a convolution maps to `coarse`, with the output_padding that returns it.

    >>> inputs_of(Axis(3, stride=2, pad_before=1, pad_after=1), 4)
    [(7, 0), (8, 1)]
    """
    sizes = axis.fine_sizes(coarse)
    if len(sizes) > 4096:
        raise GeometryError(f"{len(sizes)} sizes are too long a list", repair="a smaller stride")
    return [(fine, axis.output_padding(fine)) for fine in sizes if fine >= 1]


def conventions(axis: Axis, fine: int) -> list[Convention]:
    """Return how the frameworks pad one axis of a convolution: PyTorch's half padding, and SAME in its two forms.

    >>> for entry in conventions(Axis(3, stride=2), 6):
    ...     print(entry.name, entry.before, entry.after, entry.coarse)
    PyTorch padding=1 1 1 3
    Keras SAME 0 1 3
    ONNX SAME_UPPER 0 1 3
    ONNX SAME_LOWER 1 0 3
    """
    half = (axis.extent - 1) // 2
    found = []
    for name, padding in (
        (f"PyTorch padding={half}", half), ("Keras SAME", "same"), ("ONNX SAME_UPPER", "same"),
        ("ONNX SAME_LOWER", "same_lower"),
    ):  # fmt: skip
        padded = conv_axes((fine,), (axis.kernel_size,), (axis.stride,), (axis.dilation,), padding)[0]
        found.append(Convention(name, padded.pad_before, padded.pad_after, padded.coarse_size(fine)))
    return found


def _strides(coarse: int | None, fine: int | None) -> Sequence[int]:
    if coarse is None or fine is None:
        return (1, 2, 3, 4)
    low = max(fine // coarse, 1)
    return (low,) if fine % coarse == 0 or fine < coarse else (low, low + 1)


def _axes(
    kernels: Sequence[int], strides: Sequence[int], dilations: Sequence[int], padding: int | None
) -> Iterator[Axis]:
    tried = 0
    for kernel in kernels:
        for stride in strides:
            for dilation in dilations:
                bare = Axis(kernel, stride, dilation)
                paddings = range(bare.extent) if padding is None else (as_count("padding", padding, 0),)
                for pad in paddings:
                    tried += 1
                    if tried > _TRIED:
                        raise GeometryError("too many layers to try", repair="kernel_size, stride or padding")
                    yield Axis(kernel, stride, dilation, pad, pad)


def _between(axis: Axis, coarse: int | None, fine: int | None) -> Iterator[Solution]:
    if coarse is None:
        if fine is not None and fine + axis.pad_before + axis.pad_after >= axis.extent:
            yield Solution(axis, axis.coarse_size(fine), fine, axis.output_padding(fine))
        return
    sizes = axis.fine_sizes(coarse)
    for size in sizes if fine is None else (fine,):
        if size >= 1 and size in sizes:
            yield Solution(axis, coarse, size, axis.output_padding(size))


def _rank(solution: Solution) -> tuple[int, ...]:
    axis = solution.axis
    size = (axis.kernel_size, axis.stride, axis.dilation, axis.pad_before)
    return (not axis.is_even, axis.has_holes, *size, solution.fine, solution.coarse)
