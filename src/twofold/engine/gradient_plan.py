"""The plan of a weight gradient: which array plays which part, the tiles, bands and jobs, as tables of numbers.

    form       many                          single                  lanes are
    normal     planes of x                   pixels of grad          coarse channels
    swapped    planes of grad                pixels of x             fine channels
    window     planes of grad                planes of x             neighbouring taps
    each       pixels of x                   pixels of grad          coarse channels of any groups

Every form is tried on paper, with every tile that fits the registers, and the one of the fewest cycles is taken.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twofold.engine.emit import BYTES
from twofold.engine.gradient_code import BAND, ENTRY, JOB, POINTERS, ROW, RUN, Tile
from twofold.engine.machine import Machine
from twofold.geometry import Axis, Problem

__all__ = ["Plan", "Side", "plan"]

Table = npt.NDArray[np.int64]
_NO_AXIS = Axis(1)
_CALL = 150.0  # cycles of a call of a tile, with its sums loaded and stored
_COPY = {"rows": 0.15, "turn": 0.45, "pixels": 0.3, "squares": 0.45, "gather": 2.0}  # cycles a cell
_APART = 2048  # bytes from pixel to pixel up to which their lines stay side by side in the first cache
_FULL = -1  # in place of a tap: the whole range of depths or rows


@dataclass(frozen=True, slots=True)
class Span:
    """One axis, with the coarse cells that no tap takes to a fine one left out.

    Where the kernel is a single tap, the fine cells that nothing reads are left out as well: its stride becomes 1.
    """

    first: int  # coarse cell
    count: int
    origin: int  # the fine cell that is called 0 from here on
    apart: int  # fine cells from there on that are counted as one
    size: int  # of the fine side
    start: int  # the fine cell that the first coarse cell meets through tap 0
    step: int
    dilation: int
    kernel: int
    ranges: tuple[tuple[int, int], ...]  # of coarse cells, for each tap

    @property
    def extent(self) -> int:
        """Fine cells that one coarse cell meets, with those in between."""
        return self.dilation * (self.kernel - 1) + 1

    def room(self, count: int) -> int:
        """Return the fine cells that so many coarse cells meet, with those in between."""
        return (count - 1) * self.step + self.extent


@dataclass(frozen=True, slots=True)
class Side:
    """What `run` must know of an array: where it begins, how its strides are to be read, how it is copied."""

    is_fine: bool
    origin: tuple[int, int, int]
    apart: tuple[int, int, int]
    block: int  # lanes of a pixel, 1 for planes
    is_mapped: bool  # lanes are not neighbouring channels
    strides: tuple[int, ...] | None = None  # of the array, if it is read where it is


@dataclass(slots=True)
class Plan:
    """The tables, and the fields of the launch record that they fix. Addresses in tables are still offsets."""

    tiles: list[Tile]  # what entries name by number
    program: Table
    jobs: Table
    bands: Table
    ranges: Table
    lines: Table  # of RUN or ROW
    places: Table  # offsets of sums, which RUN points into
    maps: Table
    identity: Table
    many: Side
    single: Side
    unpack: str
    may_read: bool  # whether `single` may be read where it is, if its lanes are neighbours there
    fixed: dict[str, int]
    scratch_bytes: int
    loops: str


def plan(problem: Problem, machine: Machine, threads: int, in_place: bool = True) -> Plan | None:
    """Return the plan, or None where no cells meet and all of the gradient is zero.

    in_place    whether `many` may be read where it is; such a plan serves arrays that are contiguous in the layout
    """
    axes = [_NO_AXIS] * (3 - problem.rank) + list(problem.geometry.axes)
    single = (1,) * (3 - problem.rank)
    sizes = zip(axes, single + problem.coarse_size, single + problem.fine_size, strict=True)
    spans = [_span(*size) for size in sizes]
    found = [span for span in spans if span is not None]
    if len(found) < 3 or 0 in problem.weight_shape or not problem.batch:
        return None
    return _Planner(problem, machine, threads, (found[0], found[1], found[2]), in_place).result()


def _span(axis: Axis, coarse_size: int, fine_size: int) -> Span | None:
    met = [axis.span(tap, coarse_size, fine_size)[0] for tap in range(axis.kernel_size)]
    if all(cells.start == cells.stop for cells in met):
        return None
    first = min(cells.start for cells in met if cells.start < cells.stop)
    count = max(cells.stop for cells in met) - first
    ranges = tuple((c.start - first, c.stop - first) if c.start < c.stop else (0, 0) for c in met)
    at = axis.fine(first, 0)
    if axis.kernel_size == 1:
        return Span(first, count, at, axis.stride, count, 0, 1, 1, 1, ranges)
    return Span(first, count, 0, 1, fine_size, at, axis.stride, axis.dilation, axis.kernel_size, ranges)


@dataclass(frozen=True, slots=True)
class _Form:
    name: str
    tile: Tile
    cycles: float
    in_place: bool = False  # `many` is no patch, but the array

    @property
    def swaps(self) -> bool:
        return self.name in ("swapped", "window")


@dataclass(slots=True)
class _Tiles:
    """Tiles of one micro-kernel: a row each of what they multiply and where it goes."""

    tile: Tile
    channel: Table  # (tiles, pointers), of `many`
    taps: Table  # (3, tiles, pointers)
    single: Table  # (4, tiles): channel and tap
    range_: Table  # (2, tiles): the tap that says which depths and rows
    place: Table  # (tiles, rows): where in the gradient of a group, in cells, or -1
    lanes: Table  # (tiles): at most
    order: Table


class _Planner:
    def __init__(
        self, problem: Problem, machine: Machine, threads: int, spans: tuple[Span, Span, Span], in_place: bool
    ) -> None:
        self.problem, self.machine, self.threads, self.spans = problem, machine, threads, spans
        self.in_place = in_place
        layer = problem.geometry
        self.scalar = {"float32": "float", "float64": "double"}[problem.dtype]
        self.size = BYTES[self.scalar]
        self.lanes = machine.vector_bytes // self.size
        self.groups = layer.groups
        self.fine, self.coarse = layer.fine_channels // layer.groups, layer.coarse_channels // layer.groups
        self.kernel = tuple(span.kernel for span in spans)
        self.taps = math.prod(self.kernel)
        self.cells = problem.batch * math.prod(span.count for span in spans)
        self.form = min(self._forms(), key=lambda form: form.cycles)
        self.block = self.form.tile.vectors * self.lanes
        self._bands()

    # -- forms --------------------------------------------------------------------------------------------------------

    def _forms(self) -> Iterator[_Form]:
        # Cycles for a coarse cell, of all channels.
        last = self.problem.layout == "channels_last"
        fine_cells = self.problem.batch * math.prod(span.room(span.count) for span in self.spans) / self.cells
        fine, coarse, groups, kernel = self.fine, self.coarse, self.groups, self.kernel
        rows, width = kernel[0] * kernel[1], kernel[2]
        dense = self.spans[2].dilation == 1
        call = _CALL / min(self.cells, 1024)
        across, along = (_COPY[way] for way in (("turn", "pixels") if last else ("rows", "squares")))
        into = {
            "fine": (across * fine * groups * fine_cells, along * fine * groups * fine_cells),
            "coarse": (across * coarse * groups, along * coarse * groups),
        }
        for vectors in (1, 2, 4):
            wide = vectors * self.lanes
            for pointers, elements in itertools.product(range(1, POINTERS + 1), range(1, 15)):
                tile = Tile("outer", pointers, elements, vectors, self.scalar)
                if tile.fits(self.machine) and (elements == 1 or (dense and elements <= width)):
                    copies = into["fine"][0] + into["coarse"][1]
                    each = self._chunks(tile, width) + call * _ceil(width, elements)
                    if elements == 1:
                        each = width * (tile.cycles() + call)
                    tiles = _ceil(fine, pointers) * rows * _ceil(coarse, wide) * groups
                    yield _Form("normal", tile, tiles * each + copies)
                if tile.fits(self.machine) and self.in_place:
                    yield from self._in_place_forms(tile, call, into)
                if tile.fits(self.machine) and elements == 1:
                    copies = into["fine"][1] + into["coarse"][0]
                    tiles = _ceil(coarse, pointers) * self.taps * _ceil(fine, wide) * groups
                    # Its single side has a halo and strides: measured 15 % slower where there are several taps.
                    each = (tile.cycles() + call) * (1 if self.taps == 1 else 1.15)
                    yield _Form("swapped", tile, tiles * each + copies)
                    if dense and width > 1:
                        copies = into["fine"][0] + into["coarse"][0]
                        tiles = _ceil(coarse, pointers) * fine * rows * _ceil(width, wide) * groups
                        yield _Form("window", tile, tiles * (tile.cycles() + vectors / 2 + call) + copies)
                tile = Tile("each", pointers, elements, vectors, self.scalar)
                if groups > 1 and tile.fits(self.machine) and (elements == 1 or (dense and elements <= width)):
                    # Pixels of few lanes come from beyond the second cache with gaps in between.
                    each = 0.25 + 1.2 / vectors if last else along
                    lanes = fine * coarse * groups * fine_cells
                    copies = each * coarse * groups + lanes * (each if fine == coarse == 1 else _COPY["gather"])
                    each = _ceil(fine * rows, pointers) * (self._chunks(tile, width) + call * _ceil(width, elements))
                    if elements == 1:
                        each = _ceil(fine * self.taps, pointers) * (tile.cycles() + call)
                    yield _Form("each", tile, _ceil(coarse * groups, wide) * each + copies)

    def _in_place_forms(self, tile: Tile, call: float, into: dict[str, tuple[float, float]]) -> Iterator[_Form]:
        # grad has no border; x has none where every tap of every cell is inside.
        wide = tile.vectors * self.lanes
        width = self.kernel[2]
        last = self.problem.layout == "channels_last"
        if last and self.taps > 1:  # measured up to 1.6 times as slow as copies in planes
            return
        if tile.elements == 1 and not (last and self.coarse * self.groups * self.size > _APART):
            each = (tile.cycles() + call) * (1 if self.taps == 1 else 1.15)
            tiles = _ceil(self.coarse, tile.pointers) * self.taps * _ceil(self.fine, wide) * self.groups
            yield _Form("swapped", tile, tiles * each + into["fine"][1], True)
        if last and self.fine * self.groups * self.size > _APART:
            return
        inside = all(range_ == (0, span.count) for span in self.spans for range_ in span.ranges)
        if inside and (tile.elements == 1 or (self.spans[2].dilation == 1 and width % tile.elements == 0)):
            tiles = (
                _ceil(self.fine, tile.pointers) * self.taps // tile.elements * _ceil(self.coarse, wide) * self.groups
            )
            yield _Form("normal", tile, tiles * (tile.cycles() + call) + into["coarse"][1], True)

    def _chunks(self, tile: Tile, width: int) -> float:
        whole, rest = divmod(width, tile.elements)
        short = Tile(tile.kind, tile.pointers, rest, tile.vectors, tile.scalar).cycles() if rest else 0
        return whole * tile.cycles() + short

    # -- bands --------------------------------------------------------------------------------------------------------

    def _bands(self) -> None:
        # Neighbours in the order of summation: parts of a row, else rows of an image, else depths, else images.
        form, l2 = self.form, self.machine.l2
        counts = [self.problem.batch, *(span.count for span in self.spans)]
        gradient = self.fine * self.coarse * self.taps * self.size
        most = max(l2 // 2, min(2 * l2, gradient))
        channels = self.coarse if form.swaps else self.fine

        def bytes_(band: list[int]) -> tuple[int, int]:
            coarse = math.prod(band)
            fine = band[0] * math.prod(s.room(n) for s, n in zip(self.spans, band[1:], strict=True))
            many, single = (coarse, fine) if form.swaps else (fine, coarse)
            single *= self.fine if form.name == "window" else self.block
            many *= 0 if form.in_place else channels * (self.block if form.name == "each" else 1)
            return many * self.size, single * self.size

        band = list(counts)
        for axis in range(4):
            parts = 1
            while band[axis] > 1:
                many, single = bytes_(band)
                fits = many <= most and single <= l2 // 8
                cells = math.prod(band)
                if fits or (cells <= 128 and many + single <= 4 * l2) or cells <= 16:
                    break
                parts = max(parts + 1, parts * 9 // 8)
                band[axis] = _ceil(counts[axis], parts)
        self.band = band
        self.counts = counts
        self.many_bytes, self.single_bytes = bytes_(band)

    def _band_tables(self) -> tuple[Table, Table]:
        ranges: list[tuple[int, int]] = []
        starts: list[dict[int, int]] = [{}, {}, {}]
        for axis in (0, 1):
            span = self.spans[axis]
            for at in range(0, span.count, self.band[axis + 1]):
                stop = min(at + self.band[axis + 1], span.count)
                starts[axis][at] = len(ranges) * 16
                cut = [(max(a, at) - at, max(min(b, stop), max(a, at)) - at) for a, b in span.ranges]
                ranges += [(0, 1)] * 2 if self._folded() else [*cut, (0, stop - at)]  # one tap: all cells are one row
        bands = []
        places = [range(0, count, part) for count, part in zip(self.counts, self.band, strict=True)]
        for at4 in itertools.product(*places):
            row: list[int] = []
            for at, count, part in zip(at4, self.counts, self.band, strict=True):
                row += [at, min(part, count - at)]
            bands.append((*row, starts[0][at4[1]], starts[1][at4[2]]))
        return np.array(bands, np.int64).reshape(-1, len(BAND.fields)), np.array(ranges, np.int64)

    def _folded(self) -> int:
        # 1 if the cells of an image are one row of pixels, 2 if those of all images are.
        if self.taps > 1:
            return 0
        if not self.form.in_place:
            return 2
        size = (1,) * (3 - self.problem.rank) + (
            self.problem.coarse_size if self.form.swaps else self.problem.fine_size
        )
        whole = all(
            span.count == n and (span.apart == 1 or self.form.swaps) for span, n in zip(self.spans, size, strict=True)
        )
        return 1 if whole else 0

    # -- sides --------------------------------------------------------------------------------------------------------

    def _side(self, name: str, is_fine: bool, block: int, channels: int) -> tuple[Side, dict[str, int], int]:
        """Return a side, its fields of the launch record, and the bytes of its patch."""
        pixel = block * self.size
        spans = self.spans
        rooms = [s.room(n) if is_fine else n for s, n in zip(spans, self.band[1:], strict=True)]
        pitch = [rooms[1] * rooms[2] * pixel, rooms[2] * pixel, pixel]
        image = rooms[0] * pitch[0]
        # What copies write beyond the last cell.
        plane = _round(
            self.band[0] * image + max(64, self.machine.vector_bytes) + (self.lanes * pixel if block > 1 else 0), 64
        )
        fields = {"to_c": plane, "to_n": image}
        for i, (axis, span) in enumerate(zip("dhw", spans, strict=True)):
            fields[f"to_{axis}"] = pitch[i]
            fields[f"first_{axis}"] = span.start if is_fine else 0
            fields[f"size_{axis}"] = span.size if is_fine else span.count
            fields[f"step_{axis}"] = span.step if is_fine else 1
            fields[f"extent_{axis}"] = span.extent if is_fine else 1
        strides = None
        if name == "many" and self.form.in_place:
            strides = self._strides(is_fine)
            fields |= {f"to_{field}": stride for field, stride in zip("ncdhw", strides, strict=True)}
            plane = 0
        origin = [span.origin if is_fine else span.first for span in spans]
        apart = [span.apart if is_fine else 1 for span in spans]
        mapped = is_fine and self.form.name == "each" and not self.fine == self.coarse == 1
        side = Side(is_fine, (origin[0], origin[1], origin[2]), (apart[0], apart[1], apart[2]), block, mapped, strides)
        return (
            side,
            {f"{name}_{field}": value for field, value in fields.items()},
            plane * channels + self.block * self.size,
        )

    def _strides(self, is_fine: bool) -> tuple[int, ...]:
        # Of a contiguous array, channels first, between the cells that are counted.
        problem = self.problem
        shape = problem.fine_shape if is_fine else problem.coarse_shape
        sizes = [*(1,) * (3 - problem.rank), *shape[2:]]
        if problem.layout == "channels_last":
            order = [*sizes, shape[1], 1]
            depth, row, pixel, channel = (self.size * math.prod(order[i + 1 :]) for i in range(4))
            steps = [channel, depth, row, pixel]
        else:
            order = [shape[1], *sizes, 1]
            steps = [self.size * math.prod(order[i + 1 :]) for i in range(4)]
        cells = [step * (span.apart if is_fine else 1) for step, span in zip(steps[1:], self.spans, strict=True)]
        return self.size * math.prod(order), steps[0], *cells

    # -- tiles --------------------------------------------------------------------------------------------------------

    def _tap(self, d: Table, h: Table, w: Table) -> Table:
        # The number of a tap in the gradient.
        kernel = self.kernel
        if self.problem.flip:
            d, h, w = kernel[0] - 1 - d, kernel[1] - 1 - h, kernel[2] - 1 - w
        return (d * kernel[1] + h) * kernel[2] + w

    def _all_tiles(self) -> list[_Tiles]:
        return list(
            {"normal": self._normal, "swapped": self._swapped, "window": self._window, "each": self._each}[
                self.form.name
            ]()
        )

    def _elements(self) -> Iterator[tuple[int, int]]:
        # Runs of taps of a kernel row: the first, and how many there are.
        width, most = self.kernel[2], self.form.tile.elements
        for first in range(0, width, most):
            yield first, min(most, width - first)

    def _normal(self) -> Iterator[_Tiles]:
        tile, width = self.form.tile, self.kernel[2]
        p = np.arange(tile.pointers)
        blocks = _ceil(self.fine, tile.pointers)
        if tile.elements == 1:  # any pairs of a channel and a tap of the row
            g, d, h, j = _grid(blocks, *self.kernel)
            pair = (g * width + j)[:, None] * tile.pointers + p
            keep = pair[:, 0] < self.fine * width
            g, d, h, pair = g[keep], d[keep], h[keep], pair[keep]
            yield self._columns(tile, (g, d, h), pair // width, pair % width)
            return
        for first, elements in self._elements():
            g, d, h = _grid(blocks, *self.kernel[:2])
            c = g[:, None] * tile.pointers + p
            yield self._columns(_with(tile, elements), (g, d, h), c, np.full_like(c, first))

    def _columns(self, tile: Tile, at: tuple[Table, Table, Table], c: Table, w: Table) -> _Tiles:
        _, d, h = at
        count = len(d)
        taps = np.stack([np.broadcast_to(d[:, None], c.shape), np.broadcast_to(h[:, None], c.shape), w])
        e = np.arange(tile.elements)
        tap = self._tap(d[:, None, None], h[:, None, None], w[:, :, None] + e)
        place = np.where((c < self.fine)[:, :, None], c[:, :, None] * self.taps + tap, -1).reshape(count, -1)
        order = (at[0] * self.kernel[0] + d) * self.kernel[1] + h
        lanes = np.full(count, self.block)
        return _Tiles(
            tile,
            np.minimum(c, self.fine - 1),
            taps,
            np.zeros((4, count), np.int64),
            np.stack([d, h]),
            place,
            lanes,
            order,
        )

    def _swapped(self) -> Iterator[_Tiles]:
        tile = self.form.tile
        g, d, h, w = _grid(_ceil(self.coarse, tile.pointers), *self.kernel)
        k = g[:, None] * tile.pointers + np.arange(tile.pointers)
        place = np.where(k < self.coarse, k * (self.fine * self.taps) + self._tap(d, h, w)[:, None], -1)
        single = np.stack([np.zeros_like(d), d, h, w])
        yield _Tiles(tile, np.minimum(k, self.coarse - 1), np.zeros((3, *k.shape), np.int64), single, np.stack([d, h]),
                     place, np.full(len(d), self.block), g)  # fmt: skip

    def _window(self) -> Iterator[_Tiles]:
        tile, width = self.form.tile, self.kernel[2]
        g, c, d, h, j = _grid(_ceil(self.coarse, tile.pointers), self.fine, *self.kernel[:2], _ceil(width, self.block))
        k = g[:, None] * tile.pointers + np.arange(tile.pointers)
        w = j * self.block
        tap = (c * self.taps + self._tap(d, h, w))[:, None]
        place = np.where(k < self.coarse, k * (self.fine * self.taps) + tap, -1)
        yield _Tiles(tile, np.minimum(k, self.coarse - 1), np.zeros((3, *k.shape), np.int64), np.stack([c, d, h, w]),
                     np.stack([d, h]), place, np.minimum(width - w, self.block), g)  # fmt: skip

    def _each(self) -> Iterator[_Tiles]:
        tile, (depth, height, width) = self.form.tile, self.kernel
        alone = tile.elements == 1
        for first, elements in [(0, 1)] if alone else self._elements():
            number = self.fine * (self.taps if alone else depth * height)  # of pairs of a channel and a tap or row
            item = np.arange(_ceil(number, tile.pointers))[:, None] * tile.pointers + np.arange(tile.pointers)
            is_one = item < number
            c, d, h, w = np.unravel_index(
                np.minimum(item, number - 1), (self.fine, depth, height, width if alone else 1)
            )
            w = w + first
            tap = self._tap(d[:, :, None], h[:, :, None], w[:, :, None] + np.arange(elements))
            place = np.where(is_one[:, :, None], c[:, :, None] * self.taps + tap, -1).reshape(len(item), -1)
            one_d, one_h = (np.where((a == a[:, :1]).all(axis=1), a[:, 0], _FULL) for a in (d, h))
            yield _Tiles(_with(tile, elements), c, np.stack([d, h, w]), np.zeros((4, len(item)), np.int64),
                         np.stack([one_d, one_h]), place, np.full(len(item), self.block), item[:, 0])  # fmt: skip

    # -- all of it ----------------------------------------------------------------------------------------------------

    def result(self) -> Plan:
        """Write every table."""
        form, groups = self.form, self.groups
        is_each = form.name == "each"
        many, m, many_bytes = self._side("many", not form.swaps, self.block if is_each else 1,
                                         self.coarse if form.swaps else self.fine)  # fmt: skip
        window = form.name == "window"
        single, s, single_bytes = self._side(
            "single", form.swaps, 1 if window else self.block, self.fine if window else 1
        )
        bands, ranges = self._band_tables()
        kinds = self._all_tiles()
        tiles = list(dict.fromkeys(kind.tile for kind in kinds))
        table, places, lanes = self._entries(kinds, tiles, m, s)
        channels = {"normal": self.coarse, "swapped": self.fine, "window": self.fine, "each": self.coarse * groups}[
            form.name
        ]
        step = self.fine if window else self.block
        parts_single, parts_many = self._parts(_ceil(channels, step), len(table))
        cell = self.size * self.taps
        jobs, programs, lines, offsets, sums_most = [], [], [], [], 0
        maps = self._maps()
        cuts = np.linspace(0, len(table), parts_many + 1).astype(int).tolist()
        singles = [(at * step, min(to * step, channels)) for at, to in _cuts(_ceil(channels, step), parts_single)]
        at_entry = at_line = at_offset = 0
        for a, b in itertools.pairwise(cuts):
            part, low, high, sums = self._part(table[a:b], m["many_to_c"])
            found, where = self._lines(places[a:b], lanes[a:b], sums, at_offset)
            sums_most = max(sums_most, sums[-1])
            programs.append(part)
            lines.append(found)
            offsets.append(where)
            for group, (first, stop) in itertools.product(range(1 if is_each else groups), singles):
                if form.swaps:
                    source, target, out = group * self.coarse, group * self.fine, group * self.coarse * self.fine
                    out = (out + first) * cell
                else:
                    source, target = group * self.fine, group * self.coarse
                    out = (group * self.coarse + first) * self.fine * cell
                count, map_ = high - low, 0
                if is_each:
                    source, low, count, map_ = (0 if many.is_mapped else first), 0, stop - first, 0
                    map_ = first * self.fine * 8 if many.is_mapped else 0
                jobs.append((source + low, count, target + first, target + stop, at_entry, at_entry + len(part),
                             at_line, len(found), out, map_))  # fmt: skip
            at_entry += len(part)
            at_line += len(found)
            at_offset += len(where)
        blocks = max(_ceil(b - a, step) for a, b in singles)
        lane = self.fine * cell if not form.swaps else cell
        if window:
            lane = -self.size if self.problem.flip else self.size
        block_bytes = sums_most if len(bands) > 1 else 0
        sums_at = _round(many_bytes, 64) + _round(single_bytes, 64)
        fixed = m | s | {
            "count": len(jobs), "band_count": len(bands), "single_at": _round(many_bytes, 64), "sums_at": sums_at,
            "block": step, "block_bytes": block_bytes, "repeat": self.fine if is_each else 1,
            "folded": self._folded(), "in_place": int(form.in_place), "least_lanes": self.block if window else 0,
            "out_channel": cell if form.swaps else self.fine * cell, "lane": lane,
        }  # fmt: skip
        # Read often, it is better packed: dense, and aligned, which arrays seldom are.
        may_read = channels % self.block == 0 and not window and (self.taps == 1 or not form.swaps) and len(table) <= 12
        rows = len(RUN.fields) if not form.swaps else len(ROW.fields)
        return Plan(
            tiles, np.concatenate(programs), np.array(jobs, np.int64).reshape(-1, len(JOB.fields)), bands, ranges,
            np.concatenate(lines).reshape(-1, rows), np.concatenate([*offsets, np.zeros(1, np.int64)]), maps,
            np.arange(max(step, self.block), dtype=np.int64), many, single, "rows" if form.swaps else "turn",
            may_read, fixed,
            _round(sums_at + (blocks * block_bytes or sums_most), 64) + 64, self._loops(tiles, len(jobs), len(bands)),
        )  # fmt: skip

    def _entries(
        self, kinds: list[_Tiles], tiles: list[Tile], m: dict[str, int], s: dict[str, int]
    ) -> tuple[Table, Table, Table]:
        """Return the entries, still with channels of `many` from 0, what each of their sums is, and lanes at most."""
        width = max(kind.tile.pointers * kind.tile.elements for kind in kinds)
        dilations = np.array([span.dilation for span in self.spans])
        pitch_m, pitch_s = (
            np.array([side[f"{name}_to_{a}"] for a in "dhw"]) * dilations for name, side in (("many", m), ("single", s))
        )
        tables, places, orders = [], [], []
        for kind in kinds:
            count, at = len(kind.channel), ENTRY.index
            table = np.zeros((count, len(ENTRY.fields)), np.int64)
            table[:, at["op"]] = tiles.index(kind.tile)
            many = kind.channel * m["many_to_c"] + np.tensordot(pitch_m, kind.taps, 1)
            table[:, at["many_0"] : at["many_0"] + many.shape[1]] = many
            table[:, at["single"]] = kind.single[0] * s["single_to_c"] + pitch_s @ kind.single[1:]
            for i, field in enumerate(("range_d", "range_h")):
                table[:, at[field]] = np.where(kind.range_[i] == _FULL, self.kernel[i], kind.range_[i]) * 16
            table[:, at["sums"]] = kind.tile.pointers * kind.tile.elements * self.block * self.size  # how many, so far
            place = np.full((count, width), -1, np.int64)
            place[:, : kind.place.shape[1]] = kind.place
            tables.append(table)
            places.append(place)
            orders.append(kind.order)
        order = np.argsort(np.concatenate(orders), kind="stable")
        lanes = np.concatenate([kind.lanes for kind in kinds])
        self._channels = np.concatenate([kind.channel[:, [0, -1]] for kind in kinds])[order]
        return np.concatenate(tables)[order], np.concatenate(places)[order], lanes[order]

    def _part(self, entries: Table, plane: int) -> tuple[Table, int, int, Table]:
        # The entries of a job, with the planes that it packs counted from the first that it needs.
        entries = entries.copy()
        sums = np.concatenate([[0], np.cumsum(entries[:, ENTRY.index["sums"]])])
        entries[:, ENTRY.index["sums"]] = sums[:-1]
        many = entries[:, ENTRY.index["many_0"] :]
        if self.form.name == "each" or self.form.in_place:
            return entries, 0, self.fine, sums
        used = np.array([t.pointers for t in [self.form.tile]])[0]
        low, high = int(many[:, 0].min()) // plane, int(many[:, :used].max()) // plane + 1
        many[:, :used] -= low * plane
        return entries, low, high, sums

    def _lines(self, places: Table, lanes: Table, sums: Table, at: int) -> tuple[Table, Table]:
        tile, row = np.nonzero(places >= 0)
        place = places[tile, row]
        where = sums[tile] + row * (self.block * self.size)
        if self.form.swaps:
            return np.stack([where, place * self.size, lanes[tile]], axis=1), np.zeros(0, np.int64)
        order = np.argsort(place)
        place, where = place[order], where[order]
        edges = np.flatnonzero(np.diff(place) != 1) + 1
        starts = np.concatenate([[0], edges])
        counts = np.diff(np.concatenate([starts, [len(place)]]))
        return np.stack([(at + starts) * 8, counts, place[starts] * self.size], axis=1), where

    def _maps(self) -> Table:
        # [block of coarse channels][fine channel of its group][lane]: the fine channel that each lane multiplies.
        if self.form.name != "each":
            return np.arange(self.block, dtype=np.int64)
        lane = np.arange(_round(self.coarse * self.groups, self.block)).reshape(-1, 1, self.block)
        group = np.minimum(lane // self.coarse, self.groups - 1)
        return np.ascontiguousarray(group * self.fine + np.arange(self.fine)[:, None])

    def _parts(self, blocks: int, tiles: int) -> tuple[int, int]:
        """Return into how many parts the blocks of lanes and the tiles are cut, so that all threads have work."""
        if self.form.name == "each":
            return blocks, min(tiles, _ceil(self.threads, blocks))
        best = (math.inf, 0, 1, 1)
        for single, many in itertools.product(range(1, 2 * self.threads + 1), repeat=2):
            if single > blocks or many > tiles:
                continue
            work = _ceil(self.groups * single * many, self.threads) * _ceil(blocks, single) * _ceil(tiles, many)
            best = min(best, (work, single * many, single, many))
        return best[2:]

    def _loops(self, tiles: list[Tile], jobs: int, bands: int) -> str:
        many, single = ("grad", "x") if self.form.swaps else ("x", "grad")
        image, depth, row, width = self.band
        names = ", ".join(tile.name for tile in tiles)
        return "\n".join([
            f"for job in range({jobs}):                              parallel, over channels",
            f"  for band in range({bands}):                          {image} images x {depth} x {row} x {width} cells",
            f"    copy {many}",
            f"    for block of {self.block} lanes:                     {self.form.name}: lanes of {single}",
            f"      copy {single}",
            "      for tile:                                {names}".replace("{names}", names),
            "        for image, depth, row, pixel:          sums += many * single",
            "      unpack, after the last band",
        ])  # fmt: skip


def _with(tile: Tile, elements: int) -> Tile:
    return Tile(tile.kind, tile.pointers, elements, tile.vectors, tile.scalar)


def _grid(*counts: int) -> tuple[Table, ...]:
    return tuple(a.ravel() for a in np.indices(counts, dtype=np.int64))


def _cuts(count: int, parts: int) -> list[tuple[int, int]]:
    at = [count * i // parts for i in range(parts + 1)]
    return list(itertools.pairwise(at))


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _round(n: int, step: int) -> int:
    return _ceil(n, step) * step
