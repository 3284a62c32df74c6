"""One spatial axis of a convolution: which cells meet, and through which tap.

    fine = coarse * stride + tap * dilation - pad_before,      0 <= tap < kernel_size

`fine` is a cell on the dense side, `coarse` a cell on the strided side, `tap` a cell of the kernel. A triple that
satisfies the relation is one multiplication. A convolution reads it from fine to coarse, a transposed convolution from
coarse to fine. It is written once, in `Axis.fine`; everything else on this page solves it for something.

All sizes are counts of cells and all numbers are Python integers, so nothing here can overflow. Numbers of more than
1000 digits are refused: their products could not be printed in a message.

Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285,
relationships 6 and 14.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd

from twofold.errors import GeometryError

__all__ = ["Axis", "Meeting", "Phase", "as_count", "shown"]


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis: kernel, stride, dilation and the zeros around the fine side.

    A negative `pad_after` is a right edge that is never read; the public functions do not admit it.

    >>> axis = Axis(kernel_size=3, stride=2, pad_before=1, pad_after=1)
    >>> axis.coarse_size(7), axis.fine_size(4), list(axis.fine_sizes(4))
    (4, 7, [7, 8])
    >>> [axis.fine(coarse=1, tap=tap) for tap in range(3)]
    [1, 2, 3]
    """

    kernel_size: int
    stride: int = 1
    dilation: int = 1  # distance of neighbouring taps; 1 means dense
    pad_before: int = 0
    pad_after: int = 0

    def __post_init__(self) -> None:
        for name, least in (("kernel_size", 1), ("stride", 1), ("dilation", 1), ("pad_before", 0), ("pad_after", None)):
            object.__setattr__(self, name, as_count(name, getattr(self, name), least))

    # -- the equation -------------------------------------------------------------------------------------------------

    def fine(self, coarse: int, tap: int) -> int:
        """Return the fine cell that `coarse` meets through `tap`; it may lie outside the array (padding)."""
        return coarse * self.stride + tap * self.dilation - self.pad_before

    # -- sizes --------------------------------------------------------------------------------------------------------

    @property
    def extent(self) -> int:
        """Cells from the first to the last tap, both included.

        >>> Axis(kernel_size=3, dilation=4).extent
        9
        """
        return self.dilation * (self.kernel_size - 1) + 1

    def coarse_size(self, fine_size: int) -> int:
        """Return the output size of a convolution, floor((n + pads - extent) / stride) + 1.

        >>> Axis(kernel_size=3, dilation=4).coarse_size(5)
        Traceback (most recent call last):
        twofold.errors.GeometryError: kernel does not fit: (kernel_size 3 - 1) * dilation 4 + 1 = 9 cells, ...
        """
        fine_size = as_count("input size", fine_size, 0)
        room = fine_size + self.pad_before + self.pad_after
        if room < self.extent:
            raise GeometryError(
                f"kernel does not fit: (kernel_size {self.kernel_size} - 1) * dilation {self.dilation} + 1 = "
                f"{self.extent} cells, but input {fine_size} + padding {self.pad_before} + {self.pad_after} = {room}",
                repair=self._repair_room(fine_size, room),
            )
        return (room - self.extent) // self.stride + 1

    def fine_size(self, coarse_size: int, output_padding: int = 0) -> int:
        """Return the output size of a transposed convolution, (n - 1) * stride + extent - pads + output_padding.

        raises  GeometryError unless 0 <= output_padding < max(stride, dilation) and the result is at least 1

        >>> Axis(kernel_size=3, stride=2, pad_before=1, pad_after=1).fine_size(14, output_padding=1)
        28
        """
        output_padding = as_count("output_padding", output_padding, 0)
        limit = max(self.stride, self.dilation)
        if output_padding >= limit:
            raise GeometryError(
                f"output_padding {output_padding} must be smaller than stride {self.stride} "
                f"or dilation {self.dilation}",
                repair=f"output_padding={limit - 1}",
            )
        size = self._smallest_fine_size(coarse_size) + output_padding
        if size < 1:
            most = self.pad_before + self.pad_after + size - 1
            raise GeometryError(
                f"padding swallows the output: {self.fine_sum(coarse_size, size)}, but a size must be at least 1",
                repair=f"padding={max(most // 2, 0)}, or a larger input",
            )
        return size

    def fine_sizes(self, coarse_size: int) -> range:
        """Return the fine sizes that a convolution maps to `coarse_size`: `stride` neighbouring sizes."""
        smallest = self._smallest_fine_size(coarse_size)
        return range(max(smallest, 0), max(smallest + self.stride, 0))

    def output_padding(self, fine_size: int) -> int:
        """Return the output_padding that leads back to `fine_size` after a convolution of it; always below stride.

        >>> axis = Axis(kernel_size=3, stride=2, pad_before=1, pad_after=1)
        >>> [axis.fine_size(axis.coarse_size(n), axis.output_padding(n)) for n in (27, 28)]
        [27, 28]
        """
        return fine_size - self._smallest_fine_size(self.coarse_size(fine_size))

    def check_target(self, coarse_size: int, fine_size: int) -> None:
        """Refuse a target size that no legal output_padding reaches."""
        first = self._smallest_fine_size(coarse_size)
        last = first + max(self.stride, self.dilation) - 1
        if not max(first, 1) <= fine_size <= last:
            sizes = f"{max(first, 1)}" if first == last else f"{max(first, 1)} to {last}"
            legal = f"valid sizes are {sizes}" if last >= 1 else "padding swallows every size"
            raise GeometryError(
                f"output size {fine_size} is out of reach: with input {coarse_size}, {self}, {legal}",
                repair=f"output_size={min(max(fine_size, first, 1), last)}" if last >= 1 else "a smaller padding",
            )

    def _smallest_fine_size(self, coarse_size: int) -> int:
        last = as_count("input size", coarse_size, 1) - 1
        return self.fine(last, self.kernel_size - 1) + 1 - self.pad_after

    def _repair_room(self, fine_size: int, room: int) -> str:
        padding = -((fine_size - self.extent) // 2)  # half of what is missing, rounded up
        if self.kernel_size > 1 and room > 1 and self.dilation > 1:
            fitting = (room - 1) // (self.kernel_size - 1)
            if fitting >= 1:
                return f"padding={padding}, or dilation at most {fitting}"
        if room >= 1 and self.dilation == 1:
            return f"padding={padding}, or kernel_size at most {room}"
        return f"padding={padding}"

    # -- which cells meet ---------------------------------------------------------------------------------------------

    def taps(self, coarse: int, fine_size: int) -> Iterator[tuple[int, int]]:
        """Yield (tap, fine cell) for every cell inside 0 … fine_size - 1 that `coarse` meets.

        >>> list(Axis(kernel_size=3, pad_before=1).taps(0, fine_size=5))
        [(1, 0), (2, 1)]
        """
        return ((tap, self.fine(coarse, tap)) for tap in self.taps_from(coarse, fine_size))

    def padded(self, fine_size: int) -> range:
        """Return the cells of the padded fine side: -pad_before … fine_size + pad_after - 1.

        >>> Axis(kernel_size=3, pad_before=1, pad_after=2).padded(5)
        range(-1, 7)
        """
        first = self.fine(0, 0)
        return range(first, max(fine_size + self.pad_after, first))

    def taps_from(self, coarse: int, fine_size: int) -> range:
        """Return the taps through which `coarse` meets some cell of 0 … fine_size - 1."""
        first = max(0, _ceil_div(-self.fine(coarse, 0), self.dilation))
        last = min(self.kernel_size - 1, (fine_size - 1 - self.fine(coarse, 0)) // self.dilation)
        return range(first, max(last + 1, first))

    def taps_reaching(self, fine: int, coarse_size: int) -> range:
        """Return the taps through which some cell of 0 … coarse_size - 1 meets `fine`; `coarse_of` names the cell.

        >>> axis = Axis(kernel_size=3, stride=2)
        >>> [(tap, axis.coarse_of(4, tap)) for tap in axis.taps_reaching(4, coarse_size=4)]
        [(0, 2), (2, 1)]
        """
        candidates = self.phase(fine % self.stride).taps
        distance = -self.fine(0, 0) + fine  # of this cell from the first tap of coarse cell 0
        first = _ceil_div(distance - (coarse_size - 1) * self.stride, self.dilation)
        last = distance // self.dilation
        skipped = max(0, _ceil_div(first - candidates.start, candidates.step))
        kept = max(0, (last - candidates.start) // candidates.step + 1)
        return candidates[skipped:kept] if coarse_size > 0 else candidates[:0]

    def coarse_of(self, fine: int, tap: int) -> int:
        """Return the coarse cell that meets `fine` through `tap`; the two must be of one phase."""
        coarse, rest = divmod(fine - self.fine(0, tap), self.stride)
        if rest:
            raise GeometryError(f"fine cell {fine} and tap {tap} never meet at stride {self.stride}")
        return coarse

    def span(self, tap: int, coarse_size: int, fine_size: int) -> tuple[slice, slice]:
        """Return the coarse and the fine cells that meet through `tap`, as two slices of equal length.

        >>> Axis(kernel_size=3, stride=2, pad_before=1).span(0, coarse_size=4, fine_size=7)
        (slice(1, 4, None), slice(1, 6, 2))
        """
        first = max(0, _ceil_div(-self.fine(0, tap), self.stride))
        stop = min(coarse_size, (fine_size - 1 - self.fine(0, tap)) // self.stride + 1)
        if stop <= first:
            return slice(0, 0), slice(0, 0)
        return slice(first, stop), slice(self.fine(first, tap), self.fine(stop - 1, tap) + 1, self.stride)

    def meetings(self, coarse_size: int, fine_size: int) -> Iterator[Meeting]:
        """Yield every meeting of a tap, a coarse and a fine cell once, in batches: one is fixed, two are slices.

        The tap is fixed, unless the kernel is large and there are fewer cells of a side to go through.

        >>> for taps, coarse, fine in Axis(kernel_size=2, stride=2).meetings(coarse_size=3, fine_size=6):
        ...     print(taps, coarse, fine)
        0 slice(0, 3, None) slice(0, 5, 2)
        1 slice(0, 3, None) slice(1, 6, 2)
        """
        if self.kernel_size <= max(_FEW_TAPS, min(coarse_size, fine_size)):
            for tap in range(self.kernel_size):
                yield (tap, *self.span(tap, coarse_size, fine_size))
        elif coarse_size <= fine_size:
            for coarse in range(coarse_size):
                taps = self.taps_from(coarse, fine_size)
                if taps:
                    yield _line(taps), coarse, _line([self.fine(coarse, tap) for tap in (taps[0], taps[-1])], taps)
        else:
            for fine in range(fine_size):
                taps = self.taps_reaching(fine, coarse_size)
                if taps:
                    yield _line(taps), _line([self.coarse_of(fine, tap) for tap in (taps[0], taps[-1])], taps), fine

    def fine_span(self, coarse: range) -> range:
        """Return the interval of fine cells that a coarse interval reads, padding included (its receptive field).

        >>> Axis(kernel_size=3, stride=2, pad_before=1).fine_span(range(0, 4))
        range(-1, 8)
        """
        if not coarse:
            return range(0)
        return range(self.fine(coarse[0], 0), self.fine(coarse[-1], self.kernel_size - 1) + 1)

    def coarse_span(self, fine: range) -> range:
        """Return the interval of coarse cells that reach into a fine interval, cells beyond the array included.

        >>> Axis(kernel_size=3, stride=2, pad_before=1).coarse_span(range(2, 4))
        range(1, 3)
        """
        if not fine:
            return range(0)
        first = _ceil_div(fine[0] - self.fine(0, self.kernel_size - 1), self.stride)
        return range(first, (fine[-1] - self.fine(0, 0)) // self.stride + 1)

    def most_reaching(self, fine_count: int) -> int:
        """Return how many coarse cells reach into `fine_count` neighbouring fine cells, where they are most.

        >>> Axis(kernel_size=3, stride=2).most_reaching(1), Axis(kernel_size=3, stride=2).most_reaching(4)
        (2, 3)
        """
        # The interval of coarse cells is longest where its last cell reaches the first fine cell by its last tap.
        first = self.fine(0, self.kernel_size - 1)
        return len(self.coarse_span(range(first, first + fine_count)))

    # -- phases and overlap -------------------------------------------------------------------------------------------

    def phase(self, residue: int) -> Phase:
        """Return the fine cells congruent to `residue` modulo stride, as one dense convolution of the coarse side."""
        common = gcd(self.stride, self.dilation)
        step = self.stride // common
        distance = residue - self.fine(0, 0)
        if distance % common:
            return Phase(residue, range(0, 0, step), range(0))  # a hole: no coarse cell reaches these
        first = distance // common * pow(self.dilation // common, -1, step) % step
        taps = range(first, self.kernel_size, step)
        if not taps:
            return Phase(residue, taps, range(0))
        start, stride = self.coarse_of(residue, first), -(self.dilation // common)
        return Phase(residue, taps, range(start, start + len(taps) * stride, stride))

    def phases(self) -> Iterator[Phase]:
        """Yield the `stride` phases; interleaved they are the whole transposed convolution.

        >>> for phase in Axis(kernel_size=3, stride=2).phases():
        ...     print(list(phase.taps), list(phase.shifts))
        [0, 2] [0, -1]
        [1] [0]
        """
        return (self.phase(residue) for residue in range(self.stride))

    def overlap(self, coarse_size: int, fine_size: int) -> tuple[int, ...]:
        """Count, for each fine cell, the products that a transposed convolution adds there.

        raises  GeometryError beyond 10 million cells; `taps_reaching` answers for single cells of any size

        >>> Axis(kernel_size=3, stride=2).overlap(coarse_size=4, fine_size=9)
        (1, 1, 2, 1, 2, 1, 2, 1, 1)
        """
        if fine_size > _MOST_COUNTS:
            raise GeometryError(
                f"a count for each of {fine_size} cells is too long a list; {_MOST_COUNTS} are the most",
                repair="axis.taps_reaching(fine, coarse_size) for single cells",
            )
        return tuple(len(self.taps_reaching(fine, coarse_size)) for fine in range(fine_size))

    @property
    def products(self) -> tuple[int, int]:
        """The fewest and the most products that an interior fine cell receives; they differ between phases.

        >>> Axis(kernel_size=3, stride=2).products, Axis(kernel_size=4, stride=2).products
        ((1, 2), (2, 2))
        """
        common = gcd(self.stride, self.dilation)
        step = self.stride // common  # the taps of one phase are so far apart
        return self.kernel_size // step if common == 1 else 0, _ceil_div(self.kernel_size, step)

    @property
    def is_even(self) -> bool:
        """Whether all interior fine cells receive equally many products (no checkerboard from the geometry)."""
        fewest, most = self.products
        return fewest == most

    @property
    def has_holes(self) -> bool:
        """Whether there are interior fine cells that no coarse cell reaches."""
        return self.products[0] == 0

    @property
    def even_kernel_sizes(self) -> tuple[int, ...]:
        """The nearest kernel sizes that are even at this stride and dilation; none where they share a factor.

        >>> Axis(kernel_size=3, stride=2).even_kernel_sizes, Axis(kernel_size=3, stride=2, dilation=2).even_kernel_sizes
        ((2, 4), ())
        """
        if gcd(self.stride, self.dilation) > 1:
            return ()
        below = self.kernel_size // self.stride * self.stride
        near = (below,) if self.is_even else (below, below + self.stride)
        return tuple(size for size in near if size >= 1)

    # -- words --------------------------------------------------------------------------------------------------------

    def coarse_sum(self, fine_size: int) -> str:
        """Write the size of a convolution's output as a sum.

        >>> Axis(kernel_size=3, stride=2, pad_before=1, pad_after=1).coarse_sum(7)
        'floor((7 + 2*1 - 1*(3-1) - 1)/2) + 1 = 4'
        """
        return (
            f"floor(({fine_size} + {self._pads_text} - {self.dilation}*({self.kernel_size}-1) - 1)/{self.stride}) + 1"
            f" = {self.coarse_size(fine_size)}"
        )

    def fine_sum(self, coarse_size: int, fine_size: int) -> str:
        """Write the size of a transposed convolution's output as a sum; what is left over is output_padding.

        >>> Axis(kernel_size=3, stride=2, pad_before=1, pad_after=1).fine_sum(4, 8)
        '(4-1)*2 - 2*1 + 1*(3-1) + 1 + 1 = 8'
        """
        extra = fine_size - self._smallest_fine_size(coarse_size)
        return (
            f"({coarse_size}-1)*{self.stride} - {self._pads_text} + {self.dilation}*({self.kernel_size}-1)"
            f" + {extra} + 1 = {fine_size}"
        )

    def __str__(self) -> str:
        padding = (
            f"{self.pad_before}" if self.pad_before == self.pad_after else f"({self.pad_before}, {self.pad_after})"
        )
        return f"kernel_size {self.kernel_size}, stride {self.stride}, dilation {self.dilation}, padding {padding}"

    @property
    def _pads_text(self) -> str:
        if self.pad_before == self.pad_after:
            return f"2*{self.pad_before}" if self.pad_before else "0"
        return f"({self.pad_before} + {self.pad_after})"


@dataclass(frozen=True, slots=True)
class Phase:
    """The fine cells q * stride + residue. Cell q sums weight[taps[j]] * coarse[q + shifts[j]] over all j."""

    residue: int
    taps: range
    shifts: range

    def size(self, fine_size: int, stride: int) -> int:
        """Count the cells of this phase among 0 … fine_size - 1."""
        return max(0, _ceil_div(fine_size - self.residue, stride))


def as_count(name: str, value: object, least: int | None) -> int:
    """Return `value` as a Python integer, or refuse it: booleans, floats and strings are not counts.

    >>> as_count("stride", 2.0, 1)
    Traceback (most recent call last):
    twofold.errors.GeometryError: stride must be an integer, not 2.0 (float)
      try stride=2
    """
    try:
        is_bool = type(value).__name__ in ("bool", "bool_")  # Python's and NumPy's
        count = None if is_bool else operator.index(value)  # type: ignore[arg-type]
    except Exception:  # whatever a foreign object's __index__ raises
        count = None
    if count is None:
        whole = int(value) if isinstance(value, float) and value.is_integer() else least if least is not None else 0
        repair = f"{name}={max(whole, least if least is not None else whole)}" if " " not in name else None
        raise GeometryError(f"{name} must be an integer, not {shown(value)} ({type(value).__name__})", repair=repair)
    if abs(count) >= _LIMIT:
        raise GeometryError(f"{name} has more than 1000 digits, which is no size", repair="a smaller number")
    if least is not None and count < least:
        repair = f"{name}={least}" if " " not in name else f"a larger {name}"
        raise GeometryError(f"{name} must be at least {least}, not {shown(count)}", repair=repair)
    return count


def shown(value: object) -> str:
    """Return the repr of anything for a message: never long, never failing.

    >>> shown(list(range(100)))
    '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11...'
    """
    try:
        text = repr(value)
    except Exception:  # a hostile __repr__, or an integer of more digits than Python prints
        return "a value that cannot be printed"
    return text if len(text) <= 40 else text[:37] + "..."


Meeting = tuple[int | slice, int | slice, int | slice]  # taps, coarse cells, fine cells

_FEW_TAPS = 64  # a loop over so many taps costs nothing that matters
_MOST_COUNTS = 10_000_000
_LIMIT = 10**1000


def _line(cells: Sequence[int], like: range | None = None) -> slice:
    """Return the evenly spaced cells from the first to the last, as many as `like` has, as a slice."""
    count = len(cells if like is None else like)
    first, last = cells[0], cells[-1]
    step = (last - first) // (count - 1) if count > 1 else 1
    beyond = last + (1 if step > 0 else -1)
    return slice(first, beyond if beyond >= 0 else None, step)


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
