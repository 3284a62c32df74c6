"""Long kernels by Fourier transforms: blocks of the input, transformed, multiplied frequency by frequency, and back.

    y[m] = sum over shifts s of  k[s] x[m + s]        s = 0 … reach - 1        =        irfft(conj(rfft(k)) rfft(x))

holds for the first size - reach + 1 cells of a block of `size` cells; the blocks overlap by the rest (overlap-save, the
twin of overlap-add that adds nothing). `lower` writes both operations as dense sums over planes of the input, one for
each phase of the output, so strides, dilations and transposed layers come from one description: planes are more input
channels, phases more outputs. Sizes of blocks are products of 2, 3 and 5, chosen by cost.

The transforms are SciPy's where it is installed, else NumPy's (both pocketfft); we write none. Every image is computed
by itself in pieces that follow from the layer alone, so neither the batch nor the number of threads changes a bit.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from twofold.accuracies import allows
from twofold.engine.lower import Line, Side, lower
from twofold.geometry import Axis, Problem

__all__ = ["NAME", "Fourier", "finished", "gradient_problem", "may_win", "why_not"]

NAME = "fft"
Array = npt.NDArray[Any]
Index = tuple[Any, ...]
_MOST_WORKSPACE = 1 << 30  # bytes of transformed weights, and of all else
_BAND = 32 << 20  # bytes of the transforms of one band of blocks, about
_PIECE = 1 << 20  # bytes that one thread transforms at a time, about
_PRODUCT = 1 << 15  # products of a part of a matrix product, about; OpenBLAS takes threads from four times as many
_FEWEST_TAPS = 25  # below that transforms were never faster
_MOST_PHASES = 1 << 14  # pairs of a plane and a phase, each with a kernel of its own
_DTYPES = {"float32": np.complex64, "float64": np.complex128}
# Nanoseconds on one core of a Xeon with AVX-512, of a real cell times log2 of the cells of a block, and then:
_FFT = {("scipy", "float32"): 0.16, ("scipy", "float64"): 0.28, ("numpy", "float32"): 0.38, ("numpy", "float64"): 0.30}
_TIMES = 1.5  # of a product of two complex numbers that are read once
_FLOP = 0.025  # of a floating-point operation in a product of complex matrices
_MOVE = 1.2  # of a complex number that is moved between channels and frequencies
_CELL = 1.0  # of a cell that is copied into a block, or out of one
_CALL = 15_000.0  # of a call of a transform, with what Python does around it
_LINE = 4_000.0  # of a plane or a phase in such a call


@dataclass(frozen=True, slots=True)
class _Cut:
    """One axis in blocks."""

    size: int  # cells of a block, and of its transform
    kept: int  # outputs of a block that are right
    count: int  # blocks
    reach: int  # shifts that any tap has
    low: int  # the least of them

    @property
    def cells(self) -> int:
        """Cells of a plane that all blocks read."""
        return self.kept * (self.count - 1) + self.size


def why_not(problem: Problem) -> str:
    """Return why transforms do not compute this problem, or nothing."""
    if problem.op == "conv_weight_gradient":
        return why_not(gradient_problem(problem))
    if problem.dtype not in _DTYPES:
        return f"transforms are made in float32 and float64, not in {problem.dtype}"
    pairs = math.prod(len(side.residues) * len(side.lines) for side in lower(problem)[-problem.rank :])
    if pairs > _MOST_PHASES:
        return f"more than {_MOST_PHASES:,} planes and phases"
    if _smallest(problem) > _MOST_WORKSPACE:
        return f"transformed weights take more than {_MOST_WORKSPACE:,} bytes"
    return ""


def may_win(problem: Problem) -> bool:
    """Return whether the kernel is large enough for a closer look."""
    return math.prod(problem.geometry.kernel_size) >= _FEWEST_TAPS


def _smallest(problem: Problem) -> int:
    # Bytes of the transformed weight at least.
    sides = lower(problem)[-problem.rank :]
    cells = math.prod(len(s.residues) * len(s.lines) * (s.high - s.low + 1) for s in sides)
    item = np.dtype(_DTYPES[problem.dtype]).itemsize // 2
    return cells * math.prod(problem.weight_shape[:2]) * item


class Fourier:
    """A convolution or transposed convolution, padded with zeros, of any rank, by transforms."""

    name = NAME

    def __init__(self, problem: Problem, threads: int = 1, fresh: bool = False) -> None:
        self.threads = threads
        self.whole = problem  # a weight gradient is a convolution for each of its groups
        problem = self.problem = gradient_problem(problem) if problem.op == "conv_weight_gradient" else problem
        self.sides = lower(problem)[-problem.rank :]
        self.dtype, self.wide = np.dtype(problem.dtype), np.dtype(_DTYPES[problem.dtype])
        layer = problem.geometry
        self.groups = layer.groups
        self.phases = list(itertools.product(*(side.lines for side in self.sides)))
        self.planes = list(itertools.product(*(range(len(side.residues)) for side in self.sides)))
        self.inputs = problem.in_channels // layer.groups * len(self.planes)
        self.outputs = problem.out_channels // layer.groups * len(self.phases)
        self.cuts = min(self._choices(), key=lambda cuts: self._nanoseconds(cuts, fresh))
        self.nanoseconds = self._nanoseconds(self.cuts, fresh)
        self.band = self._band()

    # -- what it says -------------------------------------------------------------------------------------------------

    @property
    def what(self) -> str:
        """The algorithm, in a sentence."""
        return f"{NAME}: blocks of the input transformed, multiplied frequency by frequency, and transformed back"

    @property
    def sentences(self) -> list[str]:
        """The choices made for this layer."""
        blocks, count = ("x".join(str(getattr(cut, of)) for cut in self.cuts) for of in ("size", "count"))
        return [
            f"real transforms of {blocks} cells by {_library()}, {count} blocks, "
            f"{len(self.planes)} planes of the input and {len(self.phases)} phases of the output",
            f"transformed weights of {self.weight_bytes:,} bytes; {self.band_bytes:,} bytes for a band of {self.band} "
            "rows of blocks" if len(self.cuts) > 1 else
            f"transformed weights of {self.weight_bytes:,} bytes; {self.band_bytes:,} bytes for {self.band} blocks",
            "a number that is not finite spreads over its block: such images are computed again, directly",
        ]  # fmt: skip

    @property
    def loops(self) -> str:
        """The loop nest, outermost first."""
        return "\n".join([
            "for each image:",
            f"  for each band of {self.band} of {self.cuts[0].count} blocks along the first axis:",
            "    for each input channel and plane:       transform its blocks",
            "    for each frequency:                     outputs x inputs times inputs x blocks",
            "    for each output channel and phase:      transform back, keep what is right, finish",
        ])  # fmt: skip

    @property
    def error(self) -> float:
        """The predicted error of the worst element, over the bound of a direct sum.

        An element that is small beside its block, or whose products are, takes over the rounding of the largest: there
        is no such bound, and for data of one scale it is the ratio of `relative` to u times the terms.
        """
        return math.inf

    @property
    def relative(self) -> float:
        """The predicted error of the worst element, over the largest output."""
        unit = np.finfo(self.dtype).eps / 2
        stages = math.log2(math.prod(cut.size for cut in self.cuts))
        return float(unit * (4.0 + 1.0 * stages + 1.5 * math.sqrt(self.inputs)))

    @property
    def is_allowed(self) -> bool:
        """Whether it is within accuracy fast."""
        return allows("fast", self.error, self.relative, float(np.finfo(self.dtype).eps) / 2)

    @property
    def workspace(self) -> int:
        """Bytes beside the arrays."""
        return self.weight_bytes + self.band_bytes

    @property
    def weight_bytes(self) -> int:
        """Bytes of transformed weights."""
        return self.groups * self.outputs * self.inputs * self._bins() * self.wide.itemsize

    @property
    def band_bytes(self) -> int:
        """Bytes of the blocks of a band: cells and frequencies, on both sides, and once more in another order."""
        return self._band_bytes(self.cuts, self.band)

    @property
    def table_bytes(self) -> int:
        """Bytes that it holds itself."""
        return 1 << 12

    @property
    def weight_key(self) -> Hashable:
        """What transformed weights fit."""
        layer = self.problem.geometry
        lines = tuple((side.residues, side.low, side.high, _taps(side)) for side in self.sides)
        sizes = tuple(cut.size for cut in self.cuts)
        return NAME, self.problem.op, layer.weight_shape, self.groups, self.problem.flip, str(self.dtype), lines, sizes

    # -- blocks -------------------------------------------------------------------------------------------------------

    def _choices(self) -> Iterator[tuple[_Cut, ...]]:
        each = [list(_cuts(side)) for side in self.sides]
        most = max(3, int(4096 ** (1 / len(each))))
        each = [cuts if len(cuts) <= most else cuts[:: -(-len(cuts) // most)] + cuts[-1:] for cuts in each]
        found = list(itertools.product(*each))
        fitting = [cuts for cuts in found if self._bytes(cuts) <= _MOST_WORKSPACE]
        yield from fitting or [min(found, key=self._bytes)]

    def _bytes(self, cuts: Sequence[_Cut]) -> int:
        weights = self.groups * self.outputs * self.inputs * _bins(cuts) * self.wide.itemsize
        return weights + self._band_bytes(cuts, 1)

    def _band_bytes(self, cuts: Sequence[_Cut], rows: int) -> int:
        across = math.prod(cut.count for cut in cuts[1:])
        cells = rows * cuts[0].size * math.prod(cut.cells for cut in cuts[1:])
        values = 2 * _bins(cuts) * rows * across * self.wide.itemsize + cells * self.dtype.itemsize
        return self.groups * (self.inputs + self.outputs) * values

    def _band(self) -> int:
        # Rows of blocks along the first axis that are computed together; of the layer alone, for the sake of the bits.
        count = self.cuts[0].count
        rows = max(1, min(count, _BAND // max(self._band_bytes(self.cuts, 1), 1)))
        bands = -(-count // rows)
        return -(-count // bands)

    def _bins(self) -> int:
        return _bins(self.cuts)

    def _nanoseconds(self, cuts: Sequence[_Cut], fresh: bool) -> float:
        # Of one thread; `fresh` says that every call transforms the weight.
        batch, groups, ins, outs = self.problem.batch, self.groups, self.inputs, self.outputs
        blocks, size, bins = math.prod(c.count for c in cuts), math.prod(c.size for c in cuts), _bins(cuts)
        fft = _FFT[_library(), self.problem.dtype] * size * max(math.log2(size), 1.0) + _CELL * size
        double = self.dtype.itemsize / 4
        total = batch * groups * blocks * (ins + outs) * fft
        if self._is_elementwise:
            total += batch * groups * blocks * bins * ins * outs * _TIMES * double
        else:
            total += batch * groups * blocks * bins * (ins + outs) * _MOVE * double
            read = groups * bins * ins * outs * 0.8 * double * batch  # the weights come from memory for every image
            total += 8 * batch * groups * blocks * bins * ins * outs * _FLOP * double + read
        if fresh:
            total += groups * ins * outs * (fft + bins * _MOVE * double)
        pieces = -(-groups * (ins + outs) * size * blocks * self.dtype.itemsize // _PIECE)
        each = _CALL + (len(self.planes) + len(self.phases)) * _LINE
        return total + batch * (pieces * each + 3 * _CALL)

    @property
    def _is_elementwise(self) -> bool:
        return self.inputs == 1 or self.outputs == 1

    # -- weights ------------------------------------------------------------------------------------------------------

    def pack(self, weight: Array) -> Array:
        """Return the transforms of the kernel: (groups, outputs, inputs, bins), or with the bins first for matrices."""
        problem, groups = self.problem, self.groups
        kernel = np.flip(weight, tuple(range(2, weight.ndim))) if problem.flip else weight
        if problem.op == "conv":  # (out, in / groups, …) -> (g, out, in, …)
            kernel = kernel.reshape(groups, -1, *kernel.shape[1:])
        else:  # (in, out / groups, …)
            kernel = kernel.reshape(groups, -1, *kernel.shape[1:]).swapaxes(1, 2)
        outs, ins = kernel.shape[1:3]
        kernel = kernel.reshape(groups * outs, *kernel.shape[2:])
        sizes, axes = [cut.size for cut in self.cuts], tuple(range(2, 2 + len(self.cuts)))
        bins = [*sizes[:-1], sizes[-1] // 2 + 1]
        packed = np.empty((groups, len(self.phases), outs, len(self.planes), ins, *bins), self.wide)
        pieces = _pieces(groups * outs, ins * math.prod(sizes) * self.dtype.itemsize)
        for (p, phase), (q, plane) in itertools.product(enumerate(self.phases), enumerate(self.planes)):
            taps, shifts = _met(phase, plane, self.cuts)
            for piece in pieces:
                dense = np.zeros((len(piece), ins, *(cut.reach for cut in self.cuts)), self.dtype)
                dense[(..., *shifts)] = kernel[piece.start : piece.stop][(..., *taps)]
                with np.errstate(all="ignore"):
                    found = np.conj(_rfft(dense, sizes, axes))
                for i, number in enumerate(piece):
                    packed[number // outs, p, number % outs, q] = found[i]
        flat = packed.reshape(groups, self.outputs, self.inputs, -1)
        return flat if self._is_elementwise else np.ascontiguousarray(np.moveaxis(flat, -1, 0))

    # -- calls --------------------------------------------------------------------------------------------------------

    def gradient(self, x: Array, grad: Array) -> Array:
        """Return the weight gradient of x and grad_y, (batch, channels, *size) both."""
        n, groups = len(x), self.groups
        xs = x.reshape(n, groups, -1, *x.shape[2:]).swapaxes(0, 2)  # (in / groups, groups, n, …)
        grads = np.moveaxis(grad.reshape(n, groups, -1, *grad.shape[2:]), 0, 2)  # (groups, out / groups, n, …)
        weight = grads.reshape(-1, n, *grad.shape[2:])
        out = np.empty(self.whole.weight_shape, self.dtype)
        self.run(xs.reshape(len(xs), -1, *x.shape[2:]), self.pack(weight), out.swapaxes(0, 1))
        return np.ascontiguousarray(np.flip(out, tuple(range(2, out.ndim)))) if self.whole.flip else out

    def run(self, x: Array, packed: Array, y: Array) -> None:
        """Compute the sums of x into y; both (batch, channels, *size) of any strides."""
        if self.threads == 1:
            self._run(x, packed, y, _one_by_one)
            return
        with ThreadPoolExecutor(self.threads) as team:
            self._run(x, packed, y, lambda work, pieces: list(team.map(functools.partial(_quiet, work), pieces)))

    def _run(self, x: Array, packed: Array, y: Array, each: Callable[..., Any]) -> None:
        for image, first in itertools.product(range(len(x)), range(0, self.cuts[0].count, self.band)):
            rows = min(self.band, self.cuts[0].count - first)
            work = self._elementwise if self._is_elementwise else self._matrices
            work(x[image], packed, y[image], (first, rows), each)

    def _elementwise(self, x: Array, packed: Array, y: Array, band: tuple[int, int], each: Callable[..., Any]) -> None:
        # Few enough channels meet that a product goes group by group, while its transforms are in the cache.
        ins, outs = len(x) // self.groups, len(y) // self.groups

        def work(groups: range) -> None:
            xs = self._transformed(x[groups.start * ins : groups.stop * ins], band)  # (g, ins, blocks, bins)
            ws = packed[groups.start : groups.stop]
            sums = xs * ws[:, :, 0, None] if self.inputs == 1 else (xs * ws[:, 0, :, None]).sum(1, keepdims=True)
            self._finish(sums, y[groups.start * outs : groups.stop * outs], band)

        each(work, _pieces(self.groups, self._cells(band) * (self.inputs + self.outputs) * self.dtype.itemsize))

    def _matrices(self, x: Array, packed: Array, y: Array, band: tuple[int, int], each: Callable[..., Any]) -> None:
        ins, outs = len(x) // self.groups, len(y) // self.groups
        blocks = band[1] * math.prod(cut.count for cut in self.cuts[1:])
        xs = np.empty((self._bins(), self.groups, self.inputs, blocks), self.wide)
        ys = np.empty((self._bins(), self.groups, self.outputs, blocks), self.wide)
        places = xs.reshape(-1, self.groups, len(self.planes), ins, blocks)

        def forward(piece: tuple[int, range]) -> None:
            g, channels = piece
            here = x[g * ins + channels.start : g * ins + channels.stop]
            found = self._transformed(here, band, 1).reshape(len(self.planes), len(channels), blocks, -1)
            places[:, g, :, channels.start : channels.stop] = np.moveaxis(found, -1, 0)

        def product(bins: range) -> None:
            for rows, cells in _small(self.outputs, blocks, self.inputs):
                left, right = packed[bins.start : bins.stop, :, rows], xs[bins.start : bins.stop, ..., cells]
                np.matmul(left, right, out=ys[bins.start : bins.stop, :, rows, cells])

        results = ys.reshape(-1, self.groups, len(self.phases), outs, blocks)

        def backward(piece: tuple[int, range]) -> None:
            g, channels = piece
            found = np.moveaxis(results[:, g, :, channels.start : channels.stop], 0, -1)
            sums = np.ascontiguousarray(found).reshape(1, -1, blocks, self._bins())
            self._finish(sums, y[g * outs + channels.start : g * outs + channels.stop], band)

        bytes_ = self._cells(band) * self.dtype.itemsize
        of_bin = self.groups * (self.inputs * self.outputs + (self.inputs + self.outputs) * blocks) * self.wide.itemsize
        each(forward, list(itertools.product(range(self.groups), _pieces(ins, bytes_ * len(self.planes)))))
        each(product, _pieces(self._bins(), of_bin))
        each(backward, list(itertools.product(range(self.groups), _pieces(outs, bytes_ * len(self.phases)))))

    def _cells(self, band: tuple[int, int]) -> int:
        return math.prod(c.size for c in self.cuts) * band[1] * math.prod(c.count for c in self.cuts[1:])

    def _transformed(self, x: Array, band: tuple[int, int], groups: int | None = None) -> Array:
        # (channels, *size) -> (groups, planes x channels of a group, blocks, bins)
        first, rows = band
        lead = self.cuts[0]
        sizes = [lead.kept * (rows - 1) + lead.size, *(cut.cells for cut in self.cuts[1:])]
        starts = [lead.low + first * lead.kept, *(cut.low for cut in self.cuts[1:])]
        groups = groups or len(x) * len(self.planes) // self.inputs
        held = np.zeros((groups, len(self.planes), len(x) // groups, *sizes), self.dtype)
        grouped = x.reshape(groups, -1, *x.shape[1:])
        for number, plane in enumerate(self.planes):
            ends = zip(self.sides, plane, starts, sizes, strict=True)
            spans = [_span(side, residue, start, size) for side, residue, start, size in ends]
            into: Index = (slice(None), number, slice(None), *(span[0] for span in spans))
            out_of: Index = (..., *(span[1] for span in spans))
            held[into] = grouped[out_of]
        rank = len(sizes)
        blocks = [cut.size for cut in self.cuts]
        windows = np.lib.stride_tricks.sliding_window_view(held, blocks, tuple(range(3, 3 + rank)))
        every: Index = (slice(None), slice(None), slice(None), *(slice(None, None, cut.kept) for cut in self.cuts))
        bins = _rfft(windows[every], blocks, tuple(range(3 + rank, 3 + 2 * rank)))
        return bins.reshape(groups, len(self.planes) * (len(x) // groups), -1, self._bins())

    def _finish(self, sums: Array, y: Array, band: tuple[int, int]) -> None:
        # Transforms back (groups, phases x channels of a group, blocks, bins), and puts every phase where it belongs.
        first, rows = band
        sizes = [cut.size for cut in self.cuts]
        bins = [*sizes[:-1], sizes[-1] // 2 + 1]
        counts = [rows, *(cut.count for cut in self.cuts[1:])]
        rank, groups = len(sizes), len(sums)
        full = sums.reshape(groups, len(self.phases), -1, *counts, *bins)
        cells = _irfft(full, sizes, tuple(range(3 + rank, 3 + 2 * rank)))
        keep: Index = (..., *(slice(cut.kept) for cut in self.cuts))
        kept = cells[keep]
        order = [0, 1, 2, *(axis for i in range(rank) for axis in (3 + i, 3 + rank + i))]
        cells_of = [n * cut.kept for n, cut in zip(counts, self.cuts, strict=True)]
        lines = kept.transpose(order).reshape(*kept.shape[:3], *cells_of)
        target = y.reshape(groups, -1, *y.shape[1:])
        skip = [first * self.cuts[0].kept, *[0] * (rank - 1)]
        for number, phase in enumerate(self.phases):
            ends = [min(line.count - at, size) for line, at, size in zip(phase, skip, lines.shape[3:], strict=True)]
            if min(ends) <= 0:
                continue
            steps = zip(phase, self.sides, skip, ends, strict=True)
            places: Index = tuple(
                slice(line.start + at * side.step_out, line.start + (at + count - 1) * side.step_out + 1, side.step_out)
                for line, side, at, count in steps
            )
            done: Index = (slice(None), number, slice(None), *map(slice, ends))
            target[(..., *places)] = lines[done]


def gradient_problem(problem: Problem) -> Problem:
    """Return the convolution that a weight gradient is: its taps are the coarse cells, its outputs the taps.

    The channels of a group are its images, the images its channels; stride and dilation change places.

    >>> str(gradient_problem(Problem.parse("conv_weight_gradient n5 ci3 co8 i28 k7 s2 p3 d4")))
    'conv n3 ci5 co8 i28 k5 s4 p3:2 d2 f32'
    """
    axes = []
    for axis, fine, coarse in zip(problem.geometry.axes, problem.fine_size, problem.coarse_size, strict=True):
        turned = Axis(coarse, stride=axis.dilation, dilation=axis.stride, pad_before=axis.pad_before)
        read = turned.fine_span(range(axis.kernel_size)).stop  # cells from the first that is not padding
        axes.append(replace(turned, pad_after=read - fine))
    layer = problem.geometry
    geometry = replace(layer, axes=tuple(axes), fine_channels=problem.batch * layer.groups)
    turned_problem = replace(problem, op="conv", geometry=geometry, coarse_size=layer.kernel_size, flip=False)
    return replace(turned_problem, batch=layer.fine_channels // layer.groups, layout="channels_first")


def finished(y: Array, bias: Array | None, residual: Array | None, activation: str, slope: float) -> None:
    """Add bias and residual to the sums (batch, channels, *size) and apply the activation, in place."""
    with np.errstate(all="ignore"):
        if bias is not None:
            y += bias.reshape(-1, *[1] * (y.ndim - 2)).astype(y.dtype, copy=False)
        if residual is not None:
            y += residual
        if activation != "none":
            y[...] = _ACTIVATIONS[activation](y, y.dtype.type(slope))


def _sigmoid(y: Array) -> Array:
    small = np.exp(-np.abs(y))
    found: Array = np.where(y < 0, small, np.ones_like(small)) / (1 + small)
    return found


def _gelu(y: Array) -> Array:
    inner = y.dtype.type(math.sqrt(2 / math.pi)) * (y + y.dtype.type(0.044715) * y * y * y)
    found: Array = y * _sigmoid(2 * inner)
    return found


_ACTIVATIONS: dict[str, Callable[[Array, Any], Array]] = {
    "relu": lambda y, slope: np.maximum(y, 0),
    "leaky_relu": lambda y, slope: np.where(y < 0, y * slope, y),
    "silu": lambda y, slope: y * _sigmoid(y),
    "gelu": lambda y, slope: _gelu(y),
    "sigmoid": lambda y, slope: _sigmoid(y),
    "tanh": lambda y, slope: np.tanh(y),
}


# -- helpers ----------------------------------------------------------------------------------------------------------


@functools.cache
def _library() -> str:
    return "scipy" if importlib.util.find_spec("scipy") else "numpy"


def _module() -> Any:
    if _library() == "scipy":
        import scipy.fft

        return scipy.fft
    return np.fft


def _rfft(x: Array, sizes: Sequence[int], axes: tuple[int, ...]) -> Array:
    found: Array = _module().rfftn(x, s=sizes, axes=axes)
    return found


def _irfft(x: Array, sizes: Sequence[int], axes: tuple[int, ...]) -> Array:
    found: Array = _module().irfftn(x, s=sizes, axes=axes)
    return found


@functools.cache
def _sizes() -> tuple[int, ...]:
    # 2^a 3^b 5^c, for which transforms are fastest.
    powers = [[base**n for n in range(64) if base**n < 1 << 32] for base in (2, 3, 5)]
    return tuple(sorted(n for n in map(math.prod, itertools.product(*powers)) if n < 1 << 32))


def _cuts(side: Side) -> Iterator[_Cut]:
    # About four sizes to an octave, from somewhat more than the reach to one block for all.
    reach, cells = side.high - side.low + 1, max(side.cells, 1)
    whole = next(size for size in _sizes() if size >= cells + reach - 1)
    last = 0
    for size in _sizes():
        if size > whole:
            return
        if size == whole or (size >= reach and size > last * 1.15):
            kept = min(size - reach + 1, cells)
            yield _Cut(size, kept, -(-cells // kept), reach, side.low)
            last = size


def _bins(cuts: Sequence[_Cut]) -> int:
    return math.prod(cut.size for cut in cuts[:-1]) * (cuts[-1].size // 2 + 1)


def _one_by_one(work: Callable[[Any], None], pieces: Sequence[Any]) -> None:
    for piece in pieces:
        _quiet(work, piece)


def _quiet(work: Callable[[Any], None], piece: Any) -> None:
    # A thread does not inherit what NumPy is told about errors.
    with np.errstate(all="ignore"):
        work(piece)


def _pieces(count: int, bytes_: int) -> list[range]:
    # Of the layer alone, never of the number of threads.
    step = max(1, min(count, _PIECE // max(bytes_, 1)))
    return [range(at, min(at + step, count)) for at in range(0, count, step)]


def _small(rows: int, columns: int, depth: int) -> list[tuple[slice, slice]]:
    # Parts of a product of matrices that BLAS makes on one thread: on several it may add in another order.
    most = max((_PRODUCT if columns > 1 else _PRODUCT // 4) // depth, 1)  # fewer where it is a matrix and a vector
    high = max(16, most // columns)
    return list(itertools.product(_even(rows, high), _even(columns, max(2, most // min(high, rows)))))


def _even(count: int, size: int) -> list[slice]:
    parts = max(1, count // size)
    at = [count * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(at)]


def _span(side: Side, plane: int, start: int, size: int) -> tuple[slice, slice]:
    # Where the cells of a plane stand in a buffer that begins with cell `start`, and where in the input.
    residue, step = side.residues[plane], side.step_in
    count = len(range(residue, side.in_size, step))
    first, stop = max(0, start), min(count, start + size)
    if stop <= first:
        return slice(0, 0), slice(0, 0)
    return slice(first - start, stop - start), slice(residue + step * first, residue + step * (stop - 1) + 1, step)


def _met(phase: Sequence[Line], plane: Sequence[int], cuts: Sequence[_Cut]) -> tuple[Any, Any]:
    # The taps of a phase that read a plane, and their shifts, as indices of the kernel and of a block.
    taps, shifts = [], []
    for line, number, cut in zip(phase, plane, cuts, strict=True):
        found = [(tap, shift - cut.low) for tap, p, shift in zip(line.taps, line.planes, line.shifts, strict=True)
                 if p == number]  # fmt: skip
        taps.append([tap for tap, _ in found])
        shifts.append([shift for _, shift in found])
    index = [np.ix_(*(np.array(cells, np.intp) for cells in every)) for every in (taps, shifts)]
    return index[0], index[1]


def _taps(side: Side) -> Hashable:
    return tuple((line.taps, line.planes, line.shifts) for line in side.lines)
