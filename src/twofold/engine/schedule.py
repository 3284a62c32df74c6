"""The schedule of a layer: bands of its output, the patch of each, and the program that computes a band.

Everything is a table of numbers that compiled code reads (`records`): what varies from layer to layer is data, so a new
layer compiles nothing new. A band is a box of cells m, the same for every phase; its program goes

    for each block of output channels
      for each row of cells, phase by phase
        for each tile of the row: one micro-kernel
        one store, where results wait in the row buffer (unless tiles write the result themselves)

Rows at the border have lists of fewer taps, so that no multiplication with padding above, below, before or behind is
made; columns have them where splitting the row costs less than it saves.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twofold.engine.emit import BYTES
from twofold.engine.lower import Line, Run, Side
from twofold.engine.machine import Machine
from twofold.engine.micro import Tile, tiles
from twofold.engine.pairs import AMX_BLOCK, AmxTile, amx_tiles, has_amx
from twofold.engine.records import ENTRY, NOW
from twofold.engine.store import Store
from twofold.engine.weights import PIECE, BlockPacker
from twofold.engine.winograd_code import Pass, WeightTransform

__all__ = ["STREAMED", "Lanes", "Layer", "Planner", "Schedule", "Span", "Table", "balanced", "schedule"]

Table = npt.NDArray[np.int64]
Kernel = Tile | AmxTile | Store | BlockPacker | Pass
_WIDEST = 896  # cells of a row of a band
_PLACES = 1 << 17  # elements of an output for which a table of places is written
_MOST_JOBS = 1 << 14  # of an image
_LONGEST = 1 << 13  # entries of the program of a band, for each block of lanes
_MOST_LISTED = 1 << 18  # taps in lists for the sake of borders
_SLACK = 32  # pixels that a tile may reach beyond its row
STREAMED = 16 << 20  # bytes of a result from which tiles store past the caches, to addresses of whole vectors


@dataclass(frozen=True, slots=True)
class Layer:
    """What a schedule is made for: shapes and types, without the arrays."""

    sides: tuple[Side, ...]
    batch: int
    groups: int
    inputs: int  # channels of a group
    outputs: int
    scalar: str  # of the sums
    source: str  # of the input, in memory
    target: str  # of the result
    channels_last: bool  # of the result
    weight_strides: tuple[int, int]  # cells of the weight between outputs and between inputs of a group
    group_stride: int  # cells of the weight between groups
    kernel: tuple[int, ...]  # as sides
    tap_strides: tuple[int, ...]  # cells of the weight between neighbouring taps of each axis
    flip: bool = False
    op: str = "conv"  # whose weight it is
    activation: str = "none"
    residual: bool = False
    packs: bool = False  # whether the program packs the weights, block by block
    input_last: bool = False  # whether the channels of the input are neighbours, and its cells dense
    scale: int = 0  # patches 2**scale times as large as estimated to be best

    @property
    def depthwise(self) -> bool:
        """Whether every channel is a group of its own."""
        return self.inputs == self.outputs == 1 and self.groups > 1


@dataclass(slots=True)
class Schedule:
    """The tables, and the numbers of the launch record that they fix."""

    kernels: list[Kernel]  # what entries name by number, to be replaced by addresses
    program: Table
    jobs: Table
    pieces: Table
    taps: Table  # of every list: offset in the patch, offset in the weights
    sources: Table  # offsets of taps in the weight, for packing
    fixed: dict[str, int]  # fields of LAUNCH
    weight_bytes: int
    bias_lanes: int
    bias_index: Table  # which lane of the packed bias each output channel has
    patch_bytes: int
    rows_bytes: int
    block: int
    loops: str
    vectors: tuple[int, ...]
    stored: str = ""  # type of the patch where it is not that of the sums: bfloat, in pairs
    phases: int = 1  # neighbouring pieces that are of the same outputs
    fetch: str = "gather"  # how weights are fetched for packing
    places: Table | None = None  # and where they go, if not as the pieces say
    block_bytes: int = 0  # of packed weights in scratch memory, where the program packs them
    streams: bool = False  # whether the result must begin at a multiple of a vector
    residues: list[tuple[int, ...]] | None = None  # of the planes of each axis, if not those of the layer's sides
    packer: WeightTransform | None = None  # of the weights, where they are transformed

    @property
    def scratch_bytes(self) -> int:
        """Of one thread."""
        return self.patch_bytes + self.rows_bytes + self.block_bytes


def schedule(layer: Layer, machine: Machine, threads: int = 1) -> Schedule:
    """Cut a layer into jobs and write their programs."""
    return Planner(layer, machine, threads).result()


@dataclass(frozen=True, slots=True)
class Lanes:
    """A block of outputs that are summed side by side."""

    first: int
    count: int
    vectors: int
    at: int  # where in the packed weights of a group its pieces begin, in bytes


class Planner:
    """Writes the tables of a layer. Other kinds of layers are subclasses that place pixels elsewhere."""

    def __init__(self, layer: Layer, machine: Machine, threads: int) -> None:
        self.layer, self.machine, self.threads = layer, machine, threads
        self.size = BYTES[layer.scalar]
        self.lanes = machine.vector_bytes // self.size
        self.target_size = BYTES[layer.target]
        self.is_paired = layer.source == "bfloat" and not layer.depthwise and layer.inputs >= 8 and has_amx(machine)
        self.stored = "bfloat" if self.is_paired else layer.scalar
        self.tiles = amx_tiles() if self.is_paired else tiles(machine, layer.scalar)
        if layer.depthwise:
            self.block = self.lanes if machine.vector_bytes == 64 else 2 * self.lanes
            self.channels = layer.groups
        else:
            self.block = 1 if layer.inputs == 1 else 4 if layer.inputs <= 4 else AMX_BLOCK if self.is_paired else 16
            self.channels = layer.inputs
        self.blocks = -(-self.channels // self.block)
        self.held = 1 if layer.depthwise else min(self.channels, self.block)
        if self.is_paired:
            self.held = AMX_BLOCK // 2  # pairs of channels, each as wide as a sum
        self.kernels: dict[Kernel, int] = {}
        self.inner = [_inner(side) for side in layer.sides]
        self.tap_tables: dict[object, tuple[int, int]] = {}
        self.tap_rows: list[Table] = []
        self.tap_count = 0
        self.covers: dict[object, tuple[float, tuple[tuple[int, int], ...]]] = {}
        self.phases = list(itertools.product(*(side.lines for side in layer.sides)))
        self._geometry()
        self._lane_blocks()

    # -- sizes --------------------------------------------------------------------------------------------------------

    def _geometry(self) -> None:
        layer, sides = self.layer, self.layer.sides
        out = [side.out_size for side in sides]
        outs = layer.outputs * layer.groups
        if layer.channels_last:
            self.y_pixel = outs * self.target_size
            self.y_channel = self.target_size
        else:
            self.y_pixel = self.target_size
            self.y_channel = math.prod(out) * self.target_size
        self.y_pitch = (out[1] * out[2] * self.y_pixel, out[2] * self.y_pixel, self.y_pixel)
        self.y_image = outs * math.prod(out) * self.target_size
        self.direct = (
            layer.channels_last and layer.target == layer.scalar and layer.activation == "none" and not layer.residual
        )
        aligned = self.y_pixel % self.machine.vector_bytes == 0 and self.machine.vector_bytes >= 32
        self.streams = self.direct and aligned and layer.batch * self.y_image >= STREAMED
        self.pixel = self.block * BYTES[self.stored]
        self.band = self._band()
        self.room = [b + s.high - s.low for b, s in zip(self.band, sides, strict=True)]
        self.planes = planes = [len(side.residues) for side in sides]
        self.pitch = [0, 0, self.pixel]
        self.pitch[1] = planes[2] * self.room[2] * self.pixel
        self.pitch[0] = planes[1] * self.room[1] * self.pitch[1]
        self.block_bytes = _round(planes[0] * self.room[0] * self.pitch[0] + self._tail(), 64)
        self.job_blocks = 1 if layer.depthwise else self.blocks
        self.image_bytes = self.job_blocks * self.block_bytes
        self.images = self._images()
        self.patch_size = self.images * self.image_bytes + self._tail()
        lanes_bytes = 2 * self.lanes * self.size
        columns = self.band[2] * sides[2].step_out + _SLACK * sides[2].step_out
        self.row_bytes = columns * lanes_bytes

    def _tail(self) -> int:
        # Tiles read up to so much beyond the last row of a patch (of rubbish, for pixels that are thrown away).
        return (_SLACK * 2) * self.pixel

    def _budget(self) -> int:
        # Where the weights exceed the second cache every band reads them anew from beyond: larger bands then.
        heavy = math.prod(self.layer.kernel) * self.layer.inputs * self.layer.outputs * self.size > self.machine.l2
        budget = min(self.machine.l2, 2 << 20) if heavy else min(self.machine.l2 // 2, 768 << 10)
        return max(96 << 10, int(budget * 2.0**self.layer.scale))

    def _band(self) -> list[int]:
        # As many cells as fit the second cache: whole rows if possible, else parts; then rows, then depths.
        layer, sides = self.layer, self.layer.sides
        blocks = 1 if layer.depthwise else self.blocks
        budget = self._budget()
        if layer.depthwise:
            budget = min(budget, self.machine.l1d * 2)
        widths = [side.cells for side in sides]

        def cost(d: int, h: int, w: int) -> int:
            total = blocks * self.pixel
            for cells, side in zip((d, h, w), sides, strict=True):
                total *= len(side.residues) * (cells + side.high - side.low)
            return total

        row = sides[2].step_out * 2 * self.lanes * self.size  # bytes of the row buffer for each cell
        w = balanced(widths[2], max(14, min(_WIDEST, 2 * budget // row)))
        while w > 56 and cost(1, 1, w) > budget:
            w = max(56, _round(-(-w // 2), 28))
        h = widths[1]
        while h > 1 and cost(1, h, w) > budget:
            h = -(-h // 2) if h > 8 else h - 1
        d = widths[0]
        while d > 1 and cost(d, h, w) > budget:
            d = -(-d // 2) if d > 8 else d - 1
        while len(self.phases) * d * h * -(-w // 14) > _LONGEST and max(d, h, w) > 1:
            d, h, w = (-(-d // 2), h, w) if d > 1 else (d, -(-h // 2), w) if h > 1 else (d, h, -(-w // 2))
        jobs = -(-widths[0] // d) * -(-widths[1] // h) * -(-widths[2] // w) * layer.batch
        jobs *= self.blocks if layer.depthwise else layer.groups
        while jobs < 2 * self.threads > 2 and h >= 8:  # so that no thread waits long for another
            h = -(-h // 2)
            jobs *= 2
        # A job is a line of a table: of very large images the bands grow.
        while -(-widths[0] // d) * -(-widths[1] // h) * -(-widths[2] // w) > _MOST_JOBS:
            d, h, w = (
                (d, h, min(2 * w, widths[2])) if w < widths[2] else (d, 2 * h, w) if h < widths[1] else (2 * d, h, w)
            )
        return [min(cells, width) for cells, width in zip((d, h, w), widths, strict=True)]

    def _images(self) -> int:
        # Small images share a job, so that weights are read once for several.
        whole = all(b == s.cells for b, s in zip(self.band, self.layer.sides, strict=True))
        if not whole or self.layer.depthwise:
            return 1
        most = max(1, self._budget() // max(self.image_bytes, 1))
        share = -(-self.layer.batch // (2 * self.threads if self.threads > 1 else 1))
        return balanced(self.layer.batch, max(1, min(most, share, 16)))

    # -- weights ------------------------------------------------------------------------------------------------------

    def _lane_blocks(self) -> None:
        layer = self.layer
        # Taps in all lists of one column of cells, were rows split at the borders; a single row needs no own list.
        rows = math.prod(sum(len(line.runs) for line in side.lines) for side in layer.sides[:2])
        self.full_taps = self._full_taps()
        self.lists = 0 if rows == 1 else rows * max(self.full_taps)
        self.lane_blocks: list[Lanes] = []
        outs, at, first = (layer.groups if layer.depthwise else layer.outputs), 0, 0
        width = self.block if layer.depthwise else 2 * self.lanes
        while first < outs:
            count = min(width, outs - first)
            vectors = width // self.lanes
            if not layer.depthwise and count <= self.lanes:
                vectors = 1
            self.lane_blocks.append(Lanes(first, count, vectors, at))
            at += sum(self._piece_bytes(taps, vectors) for taps in self.full_taps)
            first += count
        self.group_bytes = at

    def _full_taps(self) -> list[int]:
        return [math.prod(len(line.taps) for line in phase) for phase in self.phases]

    def _block_bytes(self, block: Lanes) -> int:
        return sum(self._piece_bytes(taps, block.vectors) for taps in self.full_taps)

    @property
    def rows_bytes(self) -> int:
        """Of the row buffer, two rows."""
        return _round(2 * self.row_bytes, 64)

    @property
    def fetch(self) -> str:
        """How weights are fetched for packing, by where their taps lie: see `weights`."""
        layer, taps = self.layer, math.prod(self.layer.kernel)
        strides = zip(layer.kernel, layer.tap_strides, range(3), strict=True)
        dense = all(k == 1 or s == math.prod(layer.kernel[i + 1 :]) for k, s, i in strides)
        if not dense or layer.flip or layer.depthwise or self.is_paired or sum(self.full_taps) != taps:
            return "gather"
        outs, ins = layer.weight_strides
        if ins == taps and len(self.phases) == 1 and taps * layer.inputs <= _PLACES:
            return "squares"
        return f"parted{taps}" if outs == taps and taps in (2, 4, 8, 16) else "gather"

    def _places(self) -> Table | None:
        taps = math.prod(self.layer.kernel)
        if self.fetch == "gather":
            return None
        if self.fetch == "squares":  # of the elements of an output, channel by channel: to which row of lanes each goes
            channel, tap = np.divmod(np.arange(self.layer.inputs * taps), taps)
            table: Table = ((channel // self.block * taps + tap) * self.held + channel % self.block).astype(np.int64)
            return table
        table, rows = np.zeros((taps, 2), np.int64), 0  # of each tap: its row, and rows to the next block of channels
        for phase, count in zip(self.phases, self.full_taps, strict=True):
            places = self._tap_sources(phase)
            table[places] = np.stack([rows + np.arange(count) * self.held, np.full(count, count * self.held)], axis=1)
            rows += self.blocks * count * self.held
        return table

    def _piece_bytes(self, taps: int, vectors: int) -> int:
        blocks = 1 if self.layer.depthwise else self.blocks
        return blocks * taps * self.held * vectors * self.lanes * self.size

    def _pieces(self) -> tuple[Table, Table]:
        layer = self.layer
        item = BYTES[layer.source]
        offsets = []
        starts = []
        total = 0
        for phase in self.phases:
            starts.append(total)
            offsets.append(self._tap_sources(phase) * item)
            total += len(offsets[-1])
        sources = np.concatenate(offsets).astype(np.int64)
        rows = []
        for group in range(1 if layer.depthwise else layer.groups):
            for block in self.lane_blocks:
                at = group * self.group_bytes + block.at
                between = layer.group_stride if layer.depthwise else layer.weight_strides[0]
                source = (group * layer.group_stride + block.first * between) * item
                row = block.vectors * self.lanes * self.size
                for start, taps in zip(starts, self.full_taps, strict=True):
                    rows.append((source, at, block.count, row, start * 8, taps))
                    at += self._piece_bytes(taps, block.vectors)
        return np.array(rows, np.int64).reshape(-1, len(PIECE.fields)), sources

    def _tap_sources(self, phase: Sequence[Line]) -> Table:
        # Offsets of the taps of a phase in the kernel, in cells, in the order of summation.
        total = np.zeros(1, np.int64)
        for line, size, stride in zip(phase, self.layer.kernel, self.layer.tap_strides, strict=True):
            taps = np.array(line.taps, np.int64)
            taps = size - 1 - taps if self.layer.flip else taps
            total = (total[:, None] + taps[None] * stride).ravel()
        return total

    # -- lists of taps ------------------------------------------------------------------------------------------------

    def _taps(self, number: int, runs: Sequence[tuple[int, int]], vectors: int) -> tuple[int, int]:
        """Return where the list of these taps of a phase begins, and its length."""
        whole = [(0, len(line.taps)) for line in self.phases[number]]
        part = next((axis for axis in range(3) if runs[axis] != whole[axis]), 2)
        if list(runs[part + 1 :]) == whole[part + 1 :] and all(last == 1 for _, last in whole[:part]):
            # A stretch of the whole list, as all lists of one-dimensional layers are.
            inner = math.prod(last for _, last in whole[part + 1 :])
            start, _ = self._listed(number, tuple(whole), vectors)
            first, last = runs[part]
            return start + first * inner, (last - first) * inner
        return self._listed(number, tuple(runs), vectors)

    def _listed(self, number: int, runs: tuple[tuple[int, int], ...], vectors: int) -> tuple[int, int]:
        key = (number, runs, vectors)
        if key not in self.tap_tables:
            patch, index = np.zeros(1, np.int64), np.zeros(1, np.int64)
            for axis, (line, (first, last)) in enumerate(zip(self.phases[number], runs, strict=True)):
                cell = self._patch_cells(axis, line, first, last)
                patch = (patch[:, None] + cell[None] * self.pitch[axis]).ravel()
                index = (index[:, None] * len(line.taps) + np.arange(first, last)[None]).ravel()
            weights = index * (self.held * vectors * self.lanes * self.size)
            self.tap_tables[key] = (self.tap_count, len(patch))
            self.tap_rows.append(np.stack([patch, weights], axis=1))
            self.tap_count += len(patch)
        return self.tap_tables[key]

    def _patch_cells(self, axis: int, line: Line, first: int, last: int) -> Table:
        # Where in the patch the taps of a cell stand, from where the cell itself stands.
        plane = np.array(line.planes[first:last], np.int64) * self.room[axis]
        return plane + np.array(line.shifts[first:last], np.int64) - self.layer.sides[axis].low

    # -- programs -----------------------------------------------------------------------------------------------------

    def _kernel(self, kernel: Kernel) -> int:
        return self.kernels.setdefault(kernel, len(self.kernels))

    def _tile(self, rows: int, pixels: int, vectors: int, streams: bool) -> int:
        layer = self.layer
        if self.is_paired:
            return self._kernel(AmxTile(rows, pixels, vectors))
        return self._kernel(Tile(rows, pixels, vectors, self.block, layer.scalar, layer.depthwise, streams))

    def _row_tiles(self, runs: Sequence[Run], length: int, vectors: int, indirect: bool) -> tuple[float, list[Span]]:
        """Cover a row of cells by tiles, split into runs of equal taps where that costs less."""
        whole = Run(0, length, min(r.first for r in runs), max(r.last for r in runs))
        best: tuple[float, list[Span]] | None = None
        for parts in ([whole], list(runs)) if len(runs) * self.lists <= _MOST_LISTED else ([whole],):
            cost, spans = 0.0, []
            for part in parts:
                per, cover = self._cover(part.stop - part.start, vectors, indirect and part.stop == length)
                cost += per * max(part.last - part.first, 0.2)
                spans += [Span(part.start + at, q, part.first, part.last) for at, q in cover]
            if best is None or cost < best[0] * 0.97:
                best = cost, spans
        assert best is not None
        return best

    def _shapes(self, vectors: int, rows: int) -> list[tuple[int, float]]:
        known = [(q, share) for r, q, v, share in self.tiles if r == rows and v == min(vectors, 2)]
        if vectors > 2 or (self.layer.depthwise and vectors == 2):
            return [(q, share) for q, share in known if q <= 6]
        return known

    def _cover(self, cells: int, vectors: int, over: bool, rows: int = 1) -> tuple[float, tuple[tuple[int, int], ...]]:
        """Cover so many cells by tiles of the ladder; the last may reach back, or beyond the end if `over`."""
        shapes = self._shapes(vectors, rows)
        key = (cells, vectors, over, rows)
        if key in self.covers:
            return self.covers[key]
        cost = [0.0] * (cells + 1)
        pick = [0] * (cells + 1)
        for n in range(1, cells + 1):
            cost[n] = math.inf
            for q, share in shapes:
                if q > n and not over and q > cells:
                    continue
                c = cost[max(0, n - q)] + q * rows / share + 1.5
                if c < cost[n]:
                    cost[n], pick[n] = c, q
        spans, n = [], cells
        while n > 0 and pick[n]:
            at = cells - n
            if at + pick[n] > cells and not over:
                at = cells - pick[n]
            spans.append((at, pick[n]))
            n -= pick[n]
        self.covers[key] = cost[cells], tuple(spans)
        return self.covers[key]

    def _lines_of(self, axis: int, first: int, stop: int) -> Iterator[tuple[int, Line, list[Run]]]:
        # Phases of an axis with their runs cut to a band, counted from where the band begins.
        for number, line in enumerate(self.layer.sides[axis].lines):
            runs = [
                Run(max(r.start, first) - first, min(r.stop, stop) - first, r.first, r.last)
                for r in line.runs
                if r.start < stop and r.stop > first
            ]
            if runs:
                yield number, line, runs

    def _program(self, at: tuple[int, ...], stop: tuple[int, ...], block: Lanes) -> list[tuple[int, ...]]:
        """Write the entries of a band for one block of lanes; offsets of y are relative to the band."""
        layer = self.layer
        indirect = not (self.direct and block.count == block.vectors * self.lanes)
        depths, heights, widths = (list(self._lines_of(a, at[a], stop[a])) for a in range(3))
        numbers = {phase: i for i, phase in enumerate(itertools.product(*(range(len(s.lines)) for s in layer.sides)))}
        starts = list(itertools.accumulate((self._piece_bytes(t, block.vectors) for t in self.full_taps), initial=0))
        entries: list[tuple[int, ...]] = []
        for image in range(self.images):
            source = image * self.image_bytes
            for (d, d_line, d_runs), (h, h_line, h_runs) in itertools.product(depths, heights):
                for d_run, h_run in itertools.product(d_runs, h_runs):
                    for depth in range(d_run.start, d_run.stop):
                        row = h_run.start
                        while row < h_run.stop:
                            rows = self._rows(h_run.stop - row, widths, block.vectors)
                            entries += self._row(
                                (image, source, depth, row, rows), (d, h), (d_line, h_line),
                                ((d_run.first, d_run.last), (h_run.first, h_run.last)),
                                widths, block, numbers, starts, indirect,
                            )  # fmt: skip
                            row += rows
        return entries

    def _band_program(
        self, place: tuple[int, ...], stop: tuple[int, ...], blocks: Sequence[Lanes]
    ) -> list[tuple[int, ...]]:
        return self._mixed([self._packed(place, stop, block) for block in blocks])

    def _packed(self, place: tuple[int, ...], stop: tuple[int, ...], block: Lanes) -> list[tuple[int, ...]]:
        # The program of a block, which begins with the packing of its weights where that is wanted.
        program = self._program(place, stop, block)
        if not self.layer.packs:
            return program
        packer = self._kernel(BlockPacker(self.layer.source, self.layer.scalar, self.fetch))
        number = self.lane_blocks.index(block)
        fields = {"op": packer, "src": number, "dst": self.rows_bytes - block.at}
        return [tuple(fields.get(field, 0) for field in ENTRY.fields), *program]

    def _mixed(self, programs: list[list[tuple[int, ...]]]) -> list[tuple[int, ...]]:
        """Join the programs of the blocks of lanes.

        Where all weights fit the second cache, the blocks take turns at each piece of the input, which then stays in
        the first; otherwise one block after the other, so that its weights are read from beyond only once.
        """
        if self.group_bytes > self.machine.l2 // 2 or self.layer.depthwise or self.layer.packs:
            return [entry for program in programs for entry in program]
        joined: list[tuple[int, ...]] = []
        pieces = [self._pieces_of(program) for program in programs]
        for _, alike in itertools.groupby(pieces, key=len):
            joined += [entry for turn in zip(*alike, strict=True) for piece in turn for entry in piece]
        return joined

    def _pieces_of(self, program: list[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
        # A tile that writes the result itself; or tiles up to the stores that empty the row buffer.
        stores = {number for kernel, number in self.kernels.items() if isinstance(kernel, Store)}
        if not any(entry[0] in stores for entry in program):
            return [[entry] for entry in program]
        pieces: list[list[tuple[int, ...]]] = []
        last_stores = True
        for entry in program:
            if last_stores and entry[0] not in stores:
                pieces.append([])
            pieces[-1].append(entry)
            last_stores = entry[0] in stores
        return pieces

    def _rows(self, left: int, widths: Sequence[tuple[int, Line, list[Run]]], vectors: int) -> int:
        # Two rows at a time where rows are short.
        lengths = [runs[-1].stop for _, _, runs in widths]
        shapes = self._shapes(vectors, 2)
        if left < 2 or not shapes or min(lengths) < min(q for q, _ in shapes):
            return 1
        two, one = (sum(self._cover(n, vectors, False, rows)[0] for n in lengths) for rows in (2, 1))
        return 2 if two < 2 * one else 1

    def _row(
        self,
        where: tuple[int, int, int, int, int],
        numbers_dh: tuple[int, int],
        lines_dh: tuple[Line, Line],
        runs_dh: tuple[tuple[int, int], tuple[int, int]],
        widths: Sequence[tuple[int, Line, list[Run]]],
        block: Lanes,
        numbers: dict[tuple[int, ...], int],
        starts: Sequence[int],
        indirect: bool,
    ) -> list[tuple[int, ...]]:
        layer, lanes_bytes = self.layer, block.vectors * self.lanes * self.size
        image, source, depth, row, rows = where
        side_d, side_h, side_w = layer.sides
        step = side_w.step_out
        y = image * self.y_image + block.first * self.y_channel
        y += (lines_dh[0].start + side_d.step_out * depth) * self.y_pitch[0]
        y += (lines_dh[1].start + side_h.step_out * row) * self.y_pitch[1]
        base_in = source + depth * self.pitch[0] + row * self.pitch[1]
        entries: list[tuple[int, ...]] = []
        for w, line, runs in widths:
            number = numbers[(*numbers_dh, w)]
            if rows == 1:
                _, spans = self._row_tiles(runs, runs[-1].stop, block.vectors, indirect)
            else:
                first, last = min(r.first for r in runs), max(r.last for r in runs)
                _, cover = self._cover(runs[-1].stop, block.vectors, False, 2)
                spans = [Span(p, q, first, last) for p, q in cover]
            for span in spans:
                taps, count = self._taps(number, (*runs_dh, (span.first, span.last)), block.vectors)
                if indirect:
                    dst = (line.start + step * span.at) * lanes_bytes
                    target, pitch, dst_row = NOW.offset("rows"), step * lanes_bytes, self.row_bytes
                else:
                    dst = y + (line.start + step * span.at) * self.y_pixel
                    target, pitch, dst_row = NOW.offset("y"), step * self.y_pixel, side_h.step_out * self.y_pitch[1]
                tile = self._tile(rows, span.pixels, block.vectors, self.streams and not indirect)
                blocks_taps = self.full_taps[number] * self.held * lanes_bytes
                entries.append((
                    tile, image, taps * 16, count,
                    base_in + span.at * self.pitch[2], self.pitch[1], block.at + starts[number], blocks_taps,
                    block.first * self.size, target, dst, pitch, dst_row, 0, 0, self.pitch[2],
                ))  # fmt: skip
        if indirect:
            way = Store("last" if layer.channels_last else "first", layer.scalar, layer.target, layer.activation,
                        layer.residual)  # fmt: skip
            low = min(line.start for _, line, _ in widths)
            columns = max(line.start + step * (runs[-1].stop - 1) for _, line, runs in widths) + 1 - low
            number = self._kernel(way)
            entries += [
                (number, image, 0, 0, r * self.row_bytes + low * lanes_bytes, 0, 0, 0, 0, 0,
                 y + r * side_h.step_out * self.y_pitch[1] + low * self.y_pixel, lanes_bytes,
                 self.y_channel, columns, block.count, self.y_pixel)
                for r in range(rows)
            ]  # fmt: skip
        return entries

    # -- all of it ----------------------------------------------------------------------------------------------------

    def result(self) -> Schedule:
        """Write every table."""
        layer, sides = self.layer, self.layer.sides
        programs: dict[object, tuple[int, int]] = {}
        entries: list[Table] = []
        jobs: list[tuple[int, ...]] = []
        length = 0
        cuts = [range(0, side.cells, b) for side, b in zip(sides, self.band, strict=True)]
        weights = layer.group_stride * BYTES[layer.source] if layer.packs else self.group_bytes
        chunks = self._chunks(math.prod(len(cut) for cut in cuts))
        for place in itertools.product(*cuts):
            stop = tuple(min(p + b, s.cells) for p, b, s in zip(place, self.band, sides, strict=True))
            key = tuple(self._class(axis, place[axis], stop[axis]) for axis in range(3))
            for chunk, blocks in enumerate(chunks):
                if (key, chunk) not in programs:
                    table = np.array(self._band_program(place, stop, blocks), np.int64)
                    table = table.reshape(-1, len(ENTRY.fields))
                    programs[key, chunk] = (length, length + len(table))
                    length += len(table)
                    entries.append(table)
                start, end = programs[key, chunk]
                first = self._first(place)
                for group in range(1 if layer.depthwise else layer.groups):
                    if layer.depthwise:
                        channel, held = blocks[0].first, blocks[0].count
                        jobs.append((0, channel, *first, self._place(place, 0), 0, 0, start, end, 1, 1, held))
                        continue
                    jobs.append((
                        0, group * layer.inputs, *first, self._place(place, group), group * weights,
                        group * self._padded() * self.size, start, end, 1, self.blocks,
                        self.channels - (self.blocks - 1) * self.block,
                    ))  # fmt: skip
        pieces, sources = self._pieces()
        return self._finished(np.concatenate(entries), np.array(jobs, np.int64), pieces, sources)

    def _place(self, place: tuple[int, ...], group: int) -> int:
        # Where in the result of an image a band of a group begins.
        pairs = zip(place, self.layer.sides, self.y_pitch, strict=True)
        return sum(p * s.step_out * pitch for p, s, pitch in pairs) + group * self.layer.outputs * self.y_channel

    def _first(self, place: tuple[int, ...]) -> list[int]:
        return [cell + side.low for cell, side in zip(place, self.layer.sides, strict=True)]

    def _residues(self) -> list[tuple[int, ...]]:
        return [side.residues for side in self.layer.sides]

    def _zero(self) -> int:
        """Return the number of a row of the lists of taps that is all zero."""
        key = "zero"
        if key not in self.tap_tables:
            self.tap_tables[key] = (self.tap_count, 1)
            self.tap_rows.append(np.zeros((1, 2), np.int64))
            self.tap_count += 1
        return self.tap_tables[key][0]

    def _class(self, axis: int, first: int, stop: int) -> object:
        # Bands of one class have one program: all those that see no border, to begin with.
        low, high = self.inner[axis]
        if low <= first and stop <= high:
            return stop - first
        return tuple((n, tuple(runs)) for n, _, runs in self._lines_of(axis, first, stop))

    def _chunks(self, bands: int) -> list[list[Lanes]]:
        # Output channels are split only where there are too few bands for the threads.
        if self.layer.depthwise:
            return [[block] for block in self.lane_blocks]
        jobs = bands * self.layer.groups * -(-self.layer.batch // self.images)
        parts = min(len(self.lane_blocks), -(-2 * self.threads // jobs)) if self.threads > 1 else 1
        per = -(-len(self.lane_blocks) // parts)
        return [self.lane_blocks[i : i + per] for i in range(0, len(self.lane_blocks), per)]

    def _padded(self) -> int:
        return sum(b.vectors * self.lanes for b in self.lane_blocks)

    def _finished(self, program: Table, jobs: Table, pieces: Table, sources: Table) -> Schedule:
        layer, sides = self.layer, self.layer.sides
        fixed = {
            "per_block": len(jobs), "images": self.images, "batch": layer.batch, "y_image": self.y_image,
            "count": len(jobs) * -(-layer.batch // self.images), "pixel": self.pixel, "line": self.pitch[1],
            "slab": self.pitch[0], "block": self.block_bytes, "image": self.image_bytes,
        }  # fmt: skip
        for i, axis in enumerate("dhw"):
            side = sides[i]
            fixed |= {f"size_{axis}": side.in_size, f"step_{axis}": side.step_in, f"room_{axis}": self.room[i],
                      f"planes_{axis}": self.planes[i]}  # fmt: skip
        groups = 1 if layer.depthwise else layer.groups
        index = np.concatenate([np.arange(b.count) + b.first for b in self.lane_blocks])
        padded = self._padded()
        index = (np.arange(groups)[:, None] * padded + index[None]).ravel()
        return Schedule(
            kernels=list(self.kernels), program=program, jobs=jobs, pieces=pieces,
            taps=np.concatenate([*self.tap_rows, np.zeros((1, 2), np.int64)]), sources=sources, fixed=fixed,
            weight_bytes=groups * self.group_bytes, bias_lanes=groups * padded, bias_index=index,
            patch_bytes=_round(self.patch_size, 64), residues=self._residues(),
            rows_bytes=self.rows_bytes, block=self.block, loops=self._loops(), stored=self.stored,
            vectors=tuple(sorted({b.vectors for b in self.lane_blocks})), streams=self.streams,
            phases=len(self.phases),
            places=self._places(),
            fetch=self.fetch,
            block_bytes=max(self._block_bytes(b) for b in self.lane_blocks) if layer.packs else 0,
        )  # fmt: skip

    def _loops(self) -> str:
        layer, band = self.layer, self.band
        cuts = [-(-side.cells // b) for side, b in zip(layer.sides, band, strict=True)]
        phases = len(self.phases)
        lines = [
            f"for each of {-(-layer.batch // self.images)} x {self.images} image(s)",
            f"for each of {cuts[0]} x {cuts[1]} x {cuts[2]} bands of {band[0]} x {band[1]} x {band[2]} cells"
            + (f", the same for {phases} phases" if phases > 1 else ""),
            f"for each of {layer.groups} group(s)" if not layer.depthwise else f"for each {self.block} channels",
            f"pack the patch: {self.image_bytes:,} bytes an image",
            f"for each of {len(self.lane_blocks)} block(s) of up to {2 * self.lanes} output channels",
            "for each row of cells, phase and tile: the micro-kernel",
            f"    for each of {self.blocks} block(s) of up to {self.block} input channels",
            f"        for each of up to {max(self.full_taps)} taps",
            "            for each channel: multiply and add",
        ]
        if not self.direct:
            lines.append("for each finished row: store it in the layout of the result")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Span:
    """A tile of a row: its first cell, its cells, and the taps that they read."""

    at: int
    pixels: int
    first: int
    last: int


def _inner(side: Side) -> tuple[int, int]:
    """Return the cells at which every phase has the taps that it has at most cells."""
    longest = [max(line.runs, key=lambda run: run.stop - run.start) for line in side.lines if line.runs]
    return max(run.start for run in longest), min(run.stop for run in longest)


def balanced(cells: int, most: int) -> int:
    """Return the size of blocks of at most `most` that cover so many cells with the least overlap."""
    return -(-cells // -(-cells // most))


def _round(n: int, step: int) -> int:
    return -(-n // step) * step
