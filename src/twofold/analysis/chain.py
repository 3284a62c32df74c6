"""A chain of layers, each fed by the one before, and what a cell sees and reaches through it.

Exact sets are walked tap by tap along each axis, through convolutions and transposed ones alike; over several axes a
set is the product of its axes. The formula's numbers, r, jump and start, are intervals and know no edges and no gaps;
`Field.differs` says where the two part ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from twofold.analysis.copies import copies
from twofold.errors import GeometryError
from twofold.geometry import Axis, Problem
from twofold.reference import copied

__all__ = ["CELLS", "LAYERS", "Chain", "Field", "Span", "reaches", "sees", "spans"]

CELLS = 200_000  # of one exact set, and of taps gone through for it
LAYERS = 64


@dataclass(frozen=True, slots=True)
class Chain:
    """Layers in a row: the output of each is the input of the next.

    >>> chain = Chain.parse("conv i32x32 k3 p1; k3 s2 p1; conv_transpose k4 s2 p1")
    >>> [layer.out_size for layer in chain.layers]
    [(32, 32), (16, 16), (32, 32)]
    """

    layers: tuple[Problem, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= LAYERS:
            raise GeometryError(f"a chain has 1 to {LAYERS} layers, not {len(self.layers)}")
        for index, (before, after) in enumerate(zip(self.layers, self.layers[1:], strict=False), start=1):
            if (before.out_size, before.out_channels) != (after.in_size, after.in_channels):
                raise GeometryError(
                    f"layer {index} takes {after.in_channels} channels of {after.in_size}, but layer {index - 1} gives "
                    f"{before.out_channels} of {before.out_size}",
                    repair="leave out i and ci of the later layers",
                )

    @classmethod
    def parse(cls, text: str) -> Chain:
        """Read layers that are parted by semicolons; i and ci of the later ones are filled in."""
        layers: list[Problem] = []
        for part in text.split(";"):
            layers.append(Problem.parse(_filled(part, layers[-1]) if layers else part))
            if layers[-1].op == "conv_weight_gradient":
                raise GeometryError("a weight gradient is no layer of a chain", repair="conv or conv_transpose")
        return cls(tuple(layers))

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return self.layers[0].rank

    def __str__(self) -> str:
        return "; ".join(map(str, self.layers))


def _filled(part: str, before: Problem) -> str:
    words = part.split()
    size = "i" + "x".join(map(str, before.out_size))
    keys = [word[:2] for word in words if word[2:3].isdigit()]  # the operation begins with co too
    if any(word[:1] == "i" and word[1:2].isdigit() for word in words):
        return part
    op = words[:1] if words and words[0].startswith("conv") else []
    rest = words[len(op) :]
    channels = [] if "ci" in keys else [f"ci{before.out_channels}"]
    channels += [] if "co" in keys else [f"co{before.out_channels}"]
    return " ".join([*op, *channels, size, *rest])


# -- exact sets --------------------------------------------------------------------------------------------------------


def sees(chain: Chain, index: int, cells: Iterable[int]) -> list[tuple[int, ...]]:
    """Return what some output cells see along one axis: the cells of every level, from the input to the output.

    >>> chain = Chain.parse("conv i20 k3 d2; k3 d2; k3 d2")
    >>> sees(chain, 0, [3])[0]
    (3, 5, 7, 9, 11, 13, 15)
    """
    levels = [tuple(sorted(cells))]
    for layer in reversed(chain.layers):
        levels.append(_walk(layer, index, levels[-1], forwards=False))
    return levels[::-1]


def reaches(chain: Chain, index: int, cells: Iterable[int]) -> list[tuple[int, ...]]:
    """Return what some input cells influence along one axis: the cells of every level, from the input to the output.

    >>> reaches(Chain.parse("conv_transpose i4 k3 s2; conv k3"), 0, [1])
    [(1,), (2, 3, 4), (0, 1, 2, 3, 4)]
    """
    levels = [tuple(sorted(cells))]
    for layer in chain.layers:
        levels.append(_walk(layer, index, levels[-1], forwards=True))
    return levels


def _walk(layer: Problem, index: int, cells: Sequence[int], *, forwards: bool) -> tuple[int, ...]:
    axis, fine, coarse = layer.geometry.axes[index], layer.fine_size[index], layer.coarse_size[index]
    _check(len(cells) * min(axis.kernel_size, max(fine, coarse, 1)))
    found: set[int] = set()
    down = (layer.op == "conv") == forwards  # from fine to coarse
    for cell in cells:
        found.update(_coarse(axis, cell, fine, coarse, layer) if down else _fine(axis, cell, fine, layer))
    _check(len(found))
    return tuple(sorted(found))


def _fine(axis: Axis, coarse: int, size: int, layer: Problem) -> Iterable[int]:
    if layer.padding_mode == "zeros":
        return (fine for _, fine in axis.taps(coarse, size))
    places = (axis.fine(coarse, tap) for tap in range(axis.kernel_size))
    return (int(copied(place, size, layer.padding_mode)) for place in places)


def _coarse(axis: Axis, fine: int, size: int, coarse_size: int, layer: Problem) -> Iterable[int]:
    places = [fine] if layer.padding_mode == "zeros" else copies(axis, size, layer.padding_mode, fine)
    return (axis.coarse_of(p, tap) for p in places for tap in axis.taps_reaching(p, coarse_size))


def _check(number: int) -> None:
    if number > CELLS:
        raise GeometryError(f"a set of {number} cells is too large to be walked; {CELLS} are the most",
                            repair="a smaller input or kernel")  # fmt: skip


# -- the formula -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """The formula's numbers after some layers, along one axis.

    r      input cells from the first to the last that an output cell sees, at most
    jump   input cells from one output cell to the next; below 1 behind transposed layers
    start  the first input cell that output cell 0 sees; negative in the padding
    """

    r: int
    jump: Fraction
    start: int


def spans(chain: Chain, index: int) -> list[Span]:
    """Return r, jump and start along one axis after each layer.

    >>> [(s.r, int(s.jump), s.start) for s in spans(Chain.parse("conv i32 k3 p1; k3 s2 p1; k3 s2 p1"), 0)]
    [(3, 1, -1), (5, 2, -2), (9, 4, -4)]
    """
    found = []
    jump = Fraction(1)
    for depth, layer in enumerate(chain.layers, start=1):
        stride = layer.geometry.axes[index].stride
        jump = jump * stride if layer.op == "conv" else jump / stride
        found.append(Span(_widest(chain.layers[:depth], index), jump, _first(chain.layers[:depth], index)))
    return found


def _widest(layers: Sequence[Problem], index: int) -> int:
    size = 1
    for layer in reversed(layers):
        axis = layer.geometry.axes[index]
        size = len(axis.fine_span(range(size))) if layer.op == "conv" else axis.most_reaching(size)
    return size


def _first(layers: Sequence[Problem], index: int) -> int:
    cells = range(1)
    for layer in reversed(layers):
        axis = layer.geometry.axes[index]
        cells = axis.fine_span(cells) if layer.op == "conv" else axis.coarse_span(cells)
        if not cells:  # output cell 0 is a hole
            return 0
    return cells[0]


@dataclass(frozen=True, slots=True)
class Field:
    """What one output cell sees of the input along one axis, by the formula and exactly.

    r       of the formula        cells   the exact set, sorted
    """

    r: int
    cells: tuple[int, ...]

    @property
    def has_gaps(self) -> bool:
        """Whether cells are left out between the first and the last."""
        return bool(self.cells) and self.cells[-1] - self.cells[0] + 1 > len(self.cells)

    @property
    def differs(self) -> bool:
        """Whether the exact set is not an interval of r cells: edges, gaps or holes."""
        return len(self.cells) != self.r
