"""Machine code of Winograd's transforms: one matrix of `toom`, applied along one axis, unrolled.

Transforms of several axes are passes, one after the other, so that there is one kernel for each matrix and none for
their combinations; all sizes and distances are numbers of a record. Weights alone are transformed along all axes at
once, since their reading is what costs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from twofold.engine.emit import BYTES, Function, Module, Value, vector
from twofold.engine.records import ENTRY, NOW, Record
from twofold.engine.toom import Matrix, toom
from twofold.engine.weights import PACKING, PIECE

__all__ = ["COMBINING", "MISSING", "PASS", "Combine", "Pass", "Shape", "WeightTransform"]

MISSING = 1 << 62  # the offset of a tap that a plane does not have

# Three loops, each with its turns and the bytes between neighbours on both sides; bytes between the cells of a tile on
# both sides; and the fields of NOW at which both begin. The innermost loop is over vectors.
PASS = Record(
    *(f"{field}_{loop}" for loop in ("outer", "middle", "inner") for field in ("count", "from", "to")),
    "from", "to", "source", "target", "unused",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pass:
    """A transform along one axis: of the input, of results, or of the gradient of a layer's result, m cells of it.

    The last of the results adds the bias.

    It marks the images in which it met a number that is not finite: such a number reaches its whole tile. Zero times it
    is no number, and stays none in a sum.
    """

    side: str  # input, output or grad
    m: int
    r: int
    largest: int  # tile of the axis, for which kernels are transformed
    scalar: str
    biased: bool = False

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        of = f"_of_{self.largest}" * (self.largest > self.m)
        return f"winograd_{self.side}_{self.m}_{self.r}{of}_{self.scalar}" + "_biased" * self.biased

    @property
    def matrix(self) -> Matrix:
        """What it multiplies with."""
        if self.side == "grad":
            return toom(self.r, self.m).kernel
        found = toom(self.m, self.r, self.largest)
        return found.input if self.side == "input" else found.output

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        f = module.function(self.name, now="ptr", entry="ptr")
        table = ENTRY.get(f, f.entry, "taps", "ptr")

        def of(field: str) -> Value:
            return PASS.get(f, table, field)

        kind = vector(module.machine.vector_bytes // BYTES[self.scalar], self.scalar)
        source = f.load("ptr", f.now + of("source"), 8) + ENTRY.get(f, f.entry, "src")
        target = f.load("ptr", f.now + of("target"), 8) + ENTRY.get(f, f.entry, "dst")
        bias = NOW.get(f, f.now, "bias", "ptr") + ENTRY.get(f, f.entry, "bias")
        from_, to = of("from"), of("to")
        outer, middle, inner = ([of(f"{x}_{loop}") for x in ("count", "from", "to")] for loop in
                                ("outer", "middle", "inner"))  # fmt: skip
        met = f.zero(kind)
        with f.loop(outer[0], carry=[source, target, met]) as a:
            with f.loop(middle[0], carry=a.values) as b:
                with f.loop(inner[0], carry=[*b.values, bias]) as c:
                    here, there, met, biases = c.values
                    cells = [f.load(kind, place) for place in _places(here, from_, len(self.matrix[0]))]
                    results = product(f, self.matrix, cells)
                    if self.biased:
                        met = f.binary("fadd", met, _nothing(f, results))
                        added = f.load(kind, biases)
                        results = [f.binary("fadd", x, added) for x in results]
                    for x, place in zip(results, _places(there, to, len(results)), strict=True):
                        f.store(x, place)
                    c.next([here + inner[1], there + inner[2], met, biases + module.machine.vector_bytes])
                b.next([b.values[0] + middle[1], b.values[1] + middle[2], c.results[2]])
            a.next([a.values[0] + outer[1], a.values[1] + outer[2], b.results[2]])
        if self.biased:
            with f.when(f.is_any_nan(a.results[2])):
                mark = NOW.get(f, f.now, "marks", "ptr") + ENTRY.get(f, f.entry, "image")
                f.store(f.constant(1, "i8"), mark)


def _nothing(f: Function, numbers: Sequence[Value]) -> Value:
    # Zero, or no number if one of them is not finite.
    zero = f.zero(numbers[0].type)
    total = f.binary("fmul", numbers[0], zero)
    for number in numbers[1:]:
        total = f.fma(number, zero, total)
    return total


def _places(start: Value, apart: Value, count: int) -> list[Value]:
    places = [start]
    while len(places) < count:
        places.append(places[-1] + apart)
    return places


def product(f: Function, matrix: Matrix, cells: Sequence[Value]) -> list[Value]:
    """Write the product of a matrix and vectors; rows that differ in signs only share their two halves."""
    found: dict[int, Value] = {}
    for i, row in enumerate(matrix):
        if i in found:
            continue
        size = [abs(x) for x in row]
        twin = next(
            (k for k in range(i + 1, len(matrix)) if k not in found and [abs(x) for x in matrix[k]] == size), None
        )
        if twin is None or sum(x != 0 for x in row) < 2:
            found[i] = _sum(f, row, cells)
            continue
        same = tuple(x if x == y else Fraction(0) for x, y in zip(row, matrix[twin], strict=True))
        other = tuple(x if x != y else Fraction(0) for x, y in zip(row, matrix[twin], strict=True))
        a, b = _sum(f, same, cells), _sum(f, other, cells)
        found[i], found[twin] = f.binary("fadd", a, b), f.binary("fsub", a, b)
    return [found[i] for i in range(len(matrix))]


def _sum(f: Function, row: Sequence[Fraction], cells: Sequence[Value]) -> Value:
    # Begins with a term that needs no product, if there is one.
    terms = sorted(
        ((x, cell) for x, cell in zip(row, cells, strict=True) if x), key=lambda t: (t[0] != 1, abs(t[0]) != 1)
    )
    if not terms:
        return f.zero(cells[0].type)
    (first, total), *others = terms
    if first != 1:
        total = f.binary("fmul", total, _number(f, first, total.type))
    for x, cell in others:
        if abs(x) == 1:
            total = f.binary("fadd" if x == 1 else "fsub", total, cell)
        else:
            total = f.fma(cell, _number(f, x, cell.type), total)
    return total


def _number(f: Function, number: Fraction, type_: str) -> Value:
    count, _, scalar = type_[1:-1].partition(" x ")
    one = f.constant(float(number), scalar)
    return Value(f, f"<{', '.join([f'{scalar} {one.text}'] * int(count))}>", type_)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a phase has: planes of the input, and F(m, r) along each axis."""

    planes: int
    axes: tuple[tuple[int, int], ...]

    @property
    def name(self) -> str:
        """It, in short."""
        return f"{self.planes}p" + "x".join(f"{m}.{r}" for m, r in self.axes)

    @property
    def words(self) -> str:
        """It, as it is written: F(2x2, 3x3)."""
        axes = [(m, r) for m, r in self.axes if m + r > 2] or [(1, 1)]
        return f"F({'x'.join(str(m) for m, _ in axes)}, {'x'.join(str(r) for _, r in axes)})"

    @property
    def points(self) -> int:
        """Multiplications of a tile, for each pair of channels and plane."""
        return math.prod(m + r - 1 for m, r in self.axes)


@dataclass(frozen=True, slots=True)
class WeightTransform:
    """The transform of weights: `void f(packing)`, which may be called on any number of threads at once.

    A piece is a block of outputs of one phase: [point][block of input channels][plane][channel][V * lanes]. Its `count`
    is the number of its shape; its taps are [plane][tap of each axis], their offsets in the weight.
    """

    source: str
    scalar: str
    shapes: tuple[Shape, ...]

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        return f"winograd_weights_{'_'.join(s.name for s in self.shapes)}_{self.source}_{self.scalar}"

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        f = module.function(self.name, packing="ptr")
        counter = f.packing + PACKING.offset("next")
        pieces = PACKING.get(f, f.packing, "pieces", "ptr")
        with f.forever(f.let("i64", f"atomicrmw add ptr {counter.text}, i64 1 monotonic")) as (number, again):
            f.return_unless(f.compare("slt", number, PACKING.get(f, f.packing, "count")))
            piece = pieces + number * PIECE.bytes
            shape = PIECE.get(f, piece, "count")
            for i, one in enumerate(self.shapes):
                with f.when(f.compare("eq", shape, i)):
                    self._piece(f, one, piece)
            again(f.let("i64", f"atomicrmw add ptr {counter.text}, i64 1 monotonic"))

    def _piece(self, f: Function, shape: Shape, piece: Value) -> None:
        size = BYTES[self.scalar]
        lanes = f.module.machine.vector_bytes // size
        outs, ins, channels, block = (PACKING.get(f, f.packing, x) for x in ("outs", "ins", "channels", "block"))
        source = PACKING.get(f, f.packing, "source", "ptr") + PIECE.get(f, piece, "source")
        target = PACKING.get(f, f.packing, "target", "ptr") + PIECE.get(f, piece, "target")
        row, wanted = PIECE.get(f, piece, "row"), PIECE.get(f, piece, "lanes")
        taps = PIECE.get(f, piece, "taps", "ptr")
        held = f.least(channels, block)
        between = f.binary("mul", f.lanes(lanes), f.splat(outs, lanes))
        step = held * row * shape.planes  # of a block of channels
        point = (channels + block - 1) // block * step
        kind = vector(lanes, self.source)
        count = math.prod(r for _, r in shape.axes)
        with f.loop(channels) as channel:
            place = target + channel.index // block * step + channel.index % block * row
            here = source + channel.index * ins
            with f.loop(wanted, step=lanes) as lane:
                mask = f.mask(wanted - lane.index, lanes)
                from_, to = here + lane.index * outs, place + lane.index * size
                for plane in range(shape.planes):
                    cells = []
                    for tap in range(count):
                        offset = f.load("i64", taps + (plane * count + tap) * 8)
                        there = f.compare("ne", offset, MISSING)
                        valid = f.let(
                            mask.type, f"select i1 {there.text}, {mask.type} {mask.text}, {mask.type} zeroinitializer"
                        )
                        x = f.gather(kind, from_ + f.select(there, offset, 0), between, valid)
                        cells.append(f.convert(x, self.scalar))
                    at = to + held * row * plane
                    for i, x in enumerate(_all_axes(f, [toom(m, r).kernel for m, r in shape.axes], cells)):
                        f.store(x, at + point * i)


def _all_axes(f: Function, matrices: Sequence[Matrix], cells: list[Value]) -> list[Value]:
    # Each axis by its matrix, the last axis innermost.
    sizes = [len(matrix[0]) for matrix in matrices]
    for axis, matrix in enumerate(matrices):
        before = sizes[axis]
        grid = dict(zip(itertools.product(*map(range, sizes)), cells, strict=True))
        sizes[axis] = len(matrix)
        lines = {}
        for where in itertools.product(*(range(1 if i == axis else n) for i, n in enumerate(sizes))):
            line = [grid[(*where[:axis], k, *where[axis + 1 :])] for k in range(before)]
            for k, x in enumerate(product(f, matrix, line)):
                lines[(*where[:axis], k, *where[axis + 1 :])] = x
        cells = [lines[where] for where in itertools.product(*map(range, sizes))]
    return cells


# What a call of `Combine` is told. Threads take parts of `_PART` vectors off the counter.
COMBINING = Record("source", "target", "next", "vectors", "from", "to")
_PART = 64


@dataclass(frozen=True, slots=True)
class Combine:
    """The transform of summed points to taps, along all axes at once: `void f(combining)`, on any number of threads.

    Points are `from` bytes apart, taps `to`; the vectors of each follow one another.
    """

    axes: tuple[tuple[int, int], ...]  # taps, and the cells of a tile
    scalar: str

    @property
    def name(self) -> str:
        """Its name in the cache and in the assembly."""
        return f"winograd_combine_{'x'.join(f'{r}.{m}' for r, m in self.axes)}_{self.scalar}"

    def emit(self, module: Module) -> None:
        """Write it into a module."""
        f = module.function(self.name, combining="ptr")
        width = module.machine.vector_bytes
        kind = vector(width // BYTES[self.scalar], self.scalar)
        source, target = (COMBINING.get(f, f.combining, field, "ptr") for field in ("source", "target"))
        vectors, from_, to = (COMBINING.get(f, f.combining, field) for field in ("vectors", "from", "to"))
        counter = f.combining + COMBINING.offset("next")
        matrices = [toom(r, m).output for r, m in self.axes]
        count = math.prod(len(matrix[0]) for matrix in matrices)
        with f.forever(f.let("i64", f"atomicrmw add ptr {counter.text}, i64 1 monotonic")) as (part, again):
            first = part * _PART
            f.return_unless(f.compare("slt", first, vectors))
            with f.loop(f.least(first + _PART, vectors), start=first) as i:
                here, there = source + i.index * width, target + i.index * width
                cells = [f.load(kind, place) for place in _places(here, from_, count)]
                results = _all_axes(f, matrices, cells)
                for x, place in zip(results, _places(there, to, len(results)), strict=True):
                    f.store(x, place)
            again(f.let("i64", f"atomicrmw add ptr {counter.text}, i64 1 monotonic"))
