"""The weight gradient in Winograd's tiles.

    dW[tap] = A  sum over tiles of (G grad_tile) * (B x_tile)          F(taps, m), m cells of grad in a tile

A tile of m cells of grad meets m + taps - 1 cells of x; both are transformed to as many points, B being that of the
layer's own F(m, taps). Point by point the sum over all tiles and images is then an outer product of channels, the
weight gradient of a layer of one tap (`gradient`), and one transform of the sums gives all taps. Planes of a stride are
layers of their own over the same points of grad.

Every output sees all cells of a tile, so there is no bound by its own terms: this belongs to accuracy "fast". A number
that is not finite makes all taps of its channel so; then the direct algorithm computes it all again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from twofold.accuracies import allows
from twofold.engine import binary
from twofold.engine.bound import Bound, borrowed, code_of
from twofold.engine.emit import BYTES
from twofold.engine.families import Family, reads_tiles
from twofold.engine.gradient import WeightGradient
from twofold.engine.lower import RANK, lower
from twofold.engine.machine import Machine
from twofold.engine.schedule import Lanes, Layer, Schedule, Table
from twofold.engine.tables import UNIT
from twofold.engine.threads import parallel
from twofold.engine.toom import toom
from twofold.engine.winograd import BLOCK, Cut, Row, cut_evenly, walked
from twofold.engine.winograd_code import COMBINING, Combine, Pass, Shape
from twofold.engine.winograd_schedule import Corner, Phase, Tiles
from twofold.errors import GeometryError
from twofold.geometry import Problem

__all__ = ["NAME", "Tiling", "WinogradGradient", "cost", "direct_cost", "relative", "tiling", "wins"]

Array = npt.NDArray[Any]
NAME = "winograd weight gradient"
_LEAST = 16  # channels of a group on each side
# Costs, measured on an EPYC (Zen 5): to begin the sum of a point, and of vectors: to add a product to it, to make a
# point of a tile, and to make taps of a sum.
_CALL, _SUM, _MOVED, _GATHERED = 1e5, 1.35, 25.0, 40.0
_SCALARS = {"float32": "float", "float64": "double"}


@dataclass(frozen=True, slots=True)
class _GradCut(Cut):
    """Tiles of grad: each of their m cells is read once, for the points of so many taps."""

    wide: int = 1

    @property
    def points(self) -> int:
        """Points of a tile."""
        return self.m + self.wide - 1


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a weight gradient is cut into tiles: its layer as a convolution, and the tiles of each axis."""

    layer: Problem
    cuts: tuple[Cut, ...]

    @property
    def tiles(self) -> tuple[int, ...]:
        """Of an image, along each axis."""
        return tuple(cut.tiles() for cut in self.cuts)

    @property
    def points(self) -> int:
        """Of a tile."""
        return math.prod(cut.points for cut in self.cuts)

    @property
    def planes(self) -> int:
        """Of x."""
        return math.prod(len(cut.taps) for cut in self.cuts)


def tiling(problem: Problem, machine: Machine) -> Tiling | None:
    """Return the tiles that are estimated to cost least, or None where there are none."""
    layer = problem.geometry
    if problem.op != "conv_weight_gradient" or problem.rank > RANK or problem.dtype not in _SCALARS:
        return None
    if min(problem.in_channels, problem.out_channels) // layer.groups < _LEAST or problem.padding_mode != "zeros":
        return None
    try:
        conv = replace(problem, op="conv", layout="channels_first")
    except GeometryError:  # cells of grad that no convolution has
        return None
    axes = [cut_evenly(side) for side in lower(conv)]
    made = [Tiling(conv, cuts) for cuts in itertools.product(*axes) if any(cut.m > 1 and cut.r > 1 for cut in cuts)]
    allowed = [tiles for tiles in made if allows("fast", math.inf, relative(tiles), UNIT[_SCALARS[problem.dtype]])]
    return min(allowed, key=lambda tiles: cost(tiles, machine), default=None)


def wins(made: Tiling, machine: Machine) -> bool:
    """Return whether these tiles are estimated to be faster than the direct algorithm."""
    return cost(made, machine) < direct_cost(made.layer, machine)


def relative(made: Tiling) -> float:
    """Return about how far the worst element is off, over the largest, for random data; as `winograd.relative`."""
    parts = [toom(cut.r, cut.m) for cut in made.cuts]
    return walked(parts, made.layer.batch * math.prod(made.tiles), _SCALARS[made.layer.dtype])


def cost(made: Tiling, machine: Machine) -> float:
    """Return about how many cycles it takes, in the coin of `tables.cost_of_tiles`."""
    problem = made.layer
    lanes = machine.vector_bytes // BYTES[_SCALARS[problem.dtype]]
    groups = problem.geometry.groups
    inputs, outputs = problem.in_channels // groups, problem.out_channels // groups
    tiles = math.prod(made.tiles) * problem.batch
    ins, outs = -(-inputs // lanes), -(-outputs // lanes)
    moved = _MOVED * made.points * tiles * (ins * made.planes + outs)
    summed = made.points * made.planes * (tiles * inputs * outs * _SUM + _CALL + _GATHERED * inputs * outs)
    return (moved + summed) * groups


def direct_cost(problem: Problem, machine: Machine) -> float:
    """Return the same of the direct algorithm."""
    lanes = machine.vector_bytes // BYTES[_SCALARS[problem.dtype]]
    outputs = problem.out_channels // problem.geometry.groups
    return problem.multiplications / outputs * -(-outputs // lanes) / 1.2


# -- the transforms, as layers whose results are points ----------------------------------------------------------------


class _Points(Tiles):
    """Writes the tables that transform the tiles of an array: [group][plane][point][image][tile][channel]."""

    target = "y"

    def __init__(self, layer: Layer, machine: Machine, threads: int, cuts: Sequence[Cut]) -> None:
        self.starts = [_starts(cut) for cut in cuts]
        self.tiles_of = [cut.tiles() for cut in cuts]
        self.padded = -(-layer.inputs // BLOCK) * BLOCK
        super().__init__(layer, machine, threads, [(cut,) for cut in cuts])

    def _geometry(self) -> None:
        super()._geometry()
        self.y_image = math.prod(self.tiles_of) * self._tile_bytes()

    def _images(self) -> int:
        return 1

    def _points_bytes(self, band: Sequence[int], images: int, pixel: int) -> int:
        return 0  # they are the result

    def _lane_blocks(self) -> None:
        self.full_taps, self.lists, self.group_bytes = self._full_taps(), 0, 0
        self.lane_blocks = [Lanes(0, 1, 1, 0)]

    def _pieces(self) -> tuple[Table, Table]:
        return np.zeros((0, 6), np.int64), np.zeros(1, np.int64)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """None: there are no weights."""
        return ()

    def result(self) -> Schedule:
        """Write every table."""
        found = super().result()
        found.packer = None
        return found

    def _band_program(
        self, place: tuple[int, ...], stop: tuple[int, ...], blocks: Sequence[Lanes]
    ) -> list[tuple[int, ...]]:
        phase = self._phase((0, 0, 0), place, stop)
        return [] if phase is None else self._forward(phase, 0)

    def _transform(self, m: int, cut: Cut) -> Pass:
        if isinstance(cut, _GradCut):
            return Pass("grad", m, cut.wide, m, self.layer.scalar)
        return super()._transform(m, cut)

    def _order(self, corners: Sequence[Corner]) -> Iterator[tuple[int, int, Corner]]:
        # All channels of a tile one after the other, since they are neighbours in the result.
        return ((0, block, corner) for corner in corners for block in range(self.blocks))

    def _target(self, phase: Phase, points: int, plane: int, block: int) -> int:
        return plane * math.prod(phase.points) * self._point_bytes(phase) + block * self.pixel

    def _across(self, phase: Phase, corner: Corner, image: int) -> list[tuple[Row, int]]:
        # Numbers of tiles in the whole image, from that at which a band begins.
        def number(axis: int, cell: int) -> int:
            cut = phase.cuts[axis]
            return self.starts[axis][cell % cut.step] + cell // cut.step // cut.m

        before = (number(0, corner.depth) * self.tiles_of[1] + number(1, corner.row)) * self.tiles_of[2]
        return [(row, before + number(2, row.first)) for row in phase.rows[2]]

    def _place(self, place: tuple[int, ...], group: int) -> int:
        number = 0
        for cell, axis, tiles in zip(place, self.cuts, self.tiles_of, strict=True):
            number = number * tiles + cell // (axis[0].step * axis[0].m)
        points = self.plane_count * math.prod(axis[0].points for axis in self.cuts)
        return (group * points * self.layer.batch * math.prod(self.tiles_of) + number) * self._tile_bytes()

    def _tile_bytes(self) -> int:
        return self.padded * self.size

    def _point_bytes(self, phase: Phase) -> int:
        return self.layer.batch * math.prod(self.tiles_of) * self._tile_bytes()


def _starts(cut: Cut) -> list[int]:
    # The number of the first tile of each line of cells that are a step apart.
    lines = [-(-len(range(first, cut.cells, cut.step)) // cut.m) for first in range(cut.step)]
    return [0, *itertools.accumulate(lines)]


def _family(cuts: Sequence[Cut]) -> Family:
    def scheduled(layer: Layer, machine: Machine, threads: int) -> Schedule:
        return _Points(layer, machine, threads, cuts).result()

    return Family("points", "tiles transformed to points", scheduled, lambda *_: True, lambda *_: 0.0, reads_tiles)


# -- all of it --------------------------------------------------------------------------------------------------------


class WinogradGradient:
    """The weight gradient of one layer in tiles; `run` may be called by many threads at once."""

    name = NAME

    def __init__(self, problem: Problem, made: Tiling, machine: Machine, threads: int = 1) -> None:
        self.relative = relative(made)
        self.problem, self.made, self.machine, self.threads = problem, made, machine, threads
        self.direct = partial(WeightGradient, problem, machine, threads)
        grad_cuts = [_GradCut(cut.cells, cut.m, 1, cut.step, (0,), ((0,),), even=True, wide=cut.r) for cut in made.cuts]
        channels = problem.out_channels
        own = Problem.of(  # the layer whose input grad is, cell by cell
            "conv", problem.coarse_size, (1,) * problem.rank, in_channels=channels, out_channels=channels,
            groups=problem.geometry.groups, batch=problem.batch, dtype=problem.dtype,
        )  # fmt: skip
        self._x = Bound(_layer(made.layer), machine, threads, _family(made.cuts))
        self._grad = Bound(_layer(own), machine, threads, _family(grad_cuts))
        self._combine = Combine(tuple((cut.r, cut.m) for cut in made.cuts), _SCALARS[problem.dtype])
        groups = problem.geometry.groups
        self._padded = [-(-n // groups // BLOCK) * BLOCK for n in (problem.in_channels, problem.out_channels)]
        tiles = math.prod(made.tiles) * problem.batch
        product = Problem.of(
            "conv_weight_gradient", (tiles,), (1,), in_channels=self._padded[0], out_channels=self._padded[1],
            dtype=problem.dtype, layout="channels_last",
        )  # fmt: skip
        self._product = WeightGradient(product, machine, threads)

    def run(self, x: Array, grad: Array, out: Array) -> None:
        """Write the gradient of every element of the weight; as `WeightGradient.run`."""
        made, groups = self.made, self.problem.geometry.groups
        tiles, (ins, outs) = math.prod(made.tiles) * self.problem.batch, self._padded
        with (
            borrowed((groups, made.planes, made.points, tiles, ins), x.dtype) as points_x,
            borrowed((groups, made.points, tiles, outs), x.dtype) as points_grad,
            borrowed((made.points, outs, ins, 1), x.dtype) as sums,
            borrowed((math.prod(cut.r for cut in made.cuts), outs, ins), x.dtype) as combined,
        ):
            self._transform(self._x, x, points_x)
            self._transform(self._grad, grad, points_grad)
            for group, plane in itertools.product(range(groups), range(made.planes)):
                for point in range(made.points):
                    one, other = points_x[group, plane, point], points_grad[group, point]
                    self._product.run(one.T[None], other.T[None], sums[point])
                self._to_taps(sums, combined)
                self._place(combined, group, plane, out)
        if not math.isfinite(float(np.vdot(out, out))):
            self.direct().run(x, grad, out)

    def _transform(self, bound: Bound, array: Array, points: Array) -> None:
        strides = (*array.strides[:2], *(0,) * (RANK - self.problem.rank), *array.strides[2:])
        bound.call(strides)(array.ctypes.data, 0, 0, 0, points.ctypes.data)  # type: ignore[arg-type]

    def _to_taps(self, sums: Array, combined: Array) -> None:
        record = np.zeros(len(COMBINING.fields), np.int64)
        for field, value in {
            "source": sums.ctypes.data, "target": combined.ctypes.data, "from": sums.strides[0],
            "to": combined.strides[0], "vectors": sums.strides[0] // self.machine.vector_bytes,
        }.items():  # fmt: skip
            record[COMBINING.index[field]] = value
        work = code_of(self._combine, self.machine).address(self._combine.name)
        parallel(work, record.ctypes.data, self.threads)

    def _place(self, combined: Array, group: int, plane: int, out: Array) -> None:
        # Taps of a plane to where the weight has them.
        layer, groups = self.problem.geometry, self.problem.geometry.groups
        ins, outs = self.problem.in_channels // groups, self.problem.out_channels // groups
        rank, sizes = self.problem.rank, [len(cut.taps) for cut in self.made.cuts]
        planes = np.unravel_index(plane, sizes)
        lines = [cut.taps[int(p)] for cut, p in zip(self.made.cuts, planes, strict=True)]
        for number, taps in enumerate(itertools.product(*lines)):
            if min(taps) < 0:
                continue
            pairs = zip(taps[RANK - rank :], layer.kernel_size, strict=True)
            cell: list[Any] = [k - 1 - t if self.problem.flip else t for t, k in pairs]
            part = out[group * outs : (group + 1) * outs]
            part[:, :, *cell] = combined[number, :outs, :ins]

    # -- words --------------------------------------------------------------------------------------------------------

    @property
    def words(self) -> str:
        """F(taps, cells), as it is written."""
        axes = [(cut.r, cut.m) for cut in self.made.cuts if cut.points > 1] or [(1, 1)]
        return f"F({'x'.join(str(r) for r, _ in axes)}, {'x'.join(str(m) for _, m in axes)})"

    @property
    def what(self) -> str:
        """The family, in a sentence."""
        return f"{NAME}: tiles of x and of grad transformed to points, whose products are summed over all tiles"

    @property
    def sentences(self) -> list[str]:
        """The choices made for this layer."""
        made = self.made
        tiles = " x ".join(str(n) for n in made.tiles[RANK - self.problem.rank :])
        return [
            f"{self.words}: {made.points} points for each of {tiles} tiles and {made.planes} plane(s)",
            f"{self.threads} thread{'s' * (self.threads > 1)}; {self.workspace:,} bytes of points and sums",
        ]

    @property
    def loops(self) -> str:
        """The loop nest."""
        return "\n".join([
            "for each tile of x and of grad: transform it to points",
            f"for each of {self.problem.geometry.groups} group(s), {self.made.planes} plane(s) "
            f"and {self.made.points} points",
            *("    " + line for line in self._product.loops.splitlines()),
            "transform the sums to taps",
        ])  # fmt: skip

    @property
    def workspace(self) -> int:
        """Bytes beside the arrays."""
        made, item = self.made, np.dtype(self.problem.dtype).itemsize
        tiles = math.prod(made.tiles) * self.problem.batch * self.problem.geometry.groups
        points = tiles * made.points * (self._padded[0] * made.planes + self._padded[1])
        sums = (made.points + math.prod(cut.r for cut in made.cuts)) * math.prod(self._padded)
        return (points + sums) * item + self._product.workspace + self._x.workspace + self._grad.workspace

    @property
    def all_codes(self) -> list[binary.Code]:
        """The machine code of everything that runs."""
        own = code_of(self._combine, self.machine)
        return list(dict.fromkeys([*self._x.all_codes, *self._grad.all_codes, *self._product.all_codes, own]))


def _layer(problem: Problem) -> Layer:
    # What a transform reads, as the input of a layer; of its result only the tiles matter.
    scalar, groups = _SCALARS[problem.dtype], problem.geometry.groups
    kernel = (1,) * (RANK - problem.rank) + problem.geometry.kernel_size
    return Layer(
        lower(problem), problem.batch, groups, problem.in_channels // groups, 1, scalar, scalar, scalar, True,
        (0, 0), 0, kernel, (0, 0, 0),
    )  # fmt: skip
