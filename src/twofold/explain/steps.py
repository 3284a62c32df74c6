"""One step of a trace as data, and the sequence that makes steps only when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar, overload

from twofold.errors import GeometryError
from twofold.explain.arithmetic import Array
from twofold.explain.numbers import Number, Term, channel_text, dot_text, scatter_text

__all__ = ["Canvas", "Cells", "Lazy", "Step", "Term", "check_step"]

Item = TypeVar("Item")


class Lazy(Sequence[Item], Generic[Item]):
    """A sequence whose items are made when they are asked for; its length is known without any of them.

    >>> squares = Lazy(10**12, lambda i: i * i)
    >>> len(squares), squares[-1] == (10**12 - 1) ** 2, squares[:3]
    (1000000000000, True, (0, 1, 4))
    """

    def __init__(self, length: int, make: Callable[[int], Item]) -> None:
        self._range = range(length)
        self._make = make

    def __len__(self) -> int:
        return len(self._range)

    def __iter__(self) -> Iterator[Item]:
        return (self._make(index) for index in self._range)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        if isinstance(index, slice):
            return tuple(self._make(i) for i in self._range[index])
        try:
            return self._make(self._range[index])
        except IndexError:
            raise IndexError(f"there is no item {index}: the length is {len(self)}") from None

    def __repr__(self) -> str:
        return f"<{len(self)} items, made when asked for>"


def check_step(number: int, step: int, what: str = "view") -> int:
    """Return which of so many steps is meant, counted from 0; a negative one counts from the end.

    >>> check_step(4, -1)
    3
    >>> check_step(0, 2)
    Traceback (most recent call last):
    twofold.errors.GeometryError: there is no step 2: this view has none
      try without a step
    """
    if not hasattr(step, "__index__"):
        raise GeometryError(f"a step is a whole number, not {step!r}", repair="0")
    if not number:
        raise GeometryError(f"there is no step {step}: this {what} has none", repair="without a step")
    if not -number <= step < number:
        raise GeometryError(f"there is no step {step}: this {what} has {number}", repair=f"0 to {number - 1}")
    return range(number)[step]


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of one array ("input", "weight" or "output"), each as (batch, channel, *position)."""

    array: str
    cells: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Canvas:
    """One axis of the canvas on which a transposed convolution paints, before the crop.

    size    cells that can be painted       before  cells cropped at the start
    after   cells cropped at the end; a negative number of them is added instead, and nobody paints there
    """

    size: int
    before: int
    after: int


@dataclass(frozen=True, repr=False)
class Step:
    """One step of a trace, and the words for it.

    kind      "dot": one output cell is summed;  "scatter": one input cell is painted;  "phase": all cells of a phase;
              "field": one cell and what it sees or reaches
    focus     the cell that the step is about    reads, writes   the cells it uses and changes
    terms     its products, in order; those of a convolution's window include the padding, as zeros
    result    the value of the output cell; for a scatter the value of the input cell
    channels  for a dot with several input channels: what each contributes
    text      `1*1 + 2*2 + 3*4 + 4*5 = 1 + 4 + 12 + 20 = 37`, and a line for the channels if there are several
    aria      the same for a listener
    """

    index: int
    kind: Literal["dot", "scatter", "phase", "field"]
    focus: Cells
    reads: tuple[Cells, ...]
    writes: Cells
    terms: tuple[Term, ...]
    result: Number
    bias: Number | None
    channels: tuple[tuple[int, Number], ...]
    aria: str
    label: str = ""  # the text of a step that is no sum
    _painted: Callable[[], Array] | None = field(default=None, repr=False, compare=False)
    _running: Callable[[], Array] | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"<Step {self.index}, {self.kind}: {self.text}>"

    @property
    def text(self) -> str:
        """The formula of the step, shortened if it has more than 12 terms."""
        return self.formula()

    def formula(self, full: bool = False) -> str:
        """Write the formula of the step; `full` prints every term."""
        if self.label:
            return self.label
        if self.kind == "scatter":
            return scatter_text(self.terms, full=full)
        line = dot_text(self.terms, self.bias, full=full)
        if len(self.channels) < 2:
            return line
        return line + "\n" + channel_text(self.channels, self.result, self.bias, full=full)

    @property
    def painted(self) -> Array | None:
        """For a scatter the intermediate array: this input cell's products at their places in the output."""
        return self._painted() if self._painted else None

    @property
    def running(self) -> Array | None:
        """For a scatter the sum of the intermediate arrays up to this one, without the bias."""
        return self._running() if self._running else None
