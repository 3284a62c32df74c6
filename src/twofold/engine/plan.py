"""describe -> plan -> run: a problem, the way it is computed on this machine and why, and calls of it.

    p = plan("conv n1 ci64 co64 i56x56 k3x3 p1x1")
    print(p.why)                       which kernels, which blocking, how much memory
    packed = p.pack(weight)            once
    y = p(x, packed, bias)             as often as wanted

A plan runs compiled code wherever this machine can; `functional` leaves tiny problems to the reference (`call.TINY`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from twofold import reference
from twofold.accuracies import DEFAULT, chosen
from twofold.arrays import kind_of
from twofold.dtypes import rounded_to_bfloat
from twofold.engine import families, fourier, pool, threads, wisdom
from twofold.engine.activation import ACTIVATIONS
from twofold.engine.address import address
from twofold.engine.bound import Bound, Call, aligned
from twofold.engine.emit import BYTES
from twofold.engine.fourier import Fourier
from twofold.engine.lower import foldable, folded, lower
from twofold.engine.machine import Machine, host
from twofold.engine.outer import INNER, Outer, gradient
from twofold.engine.pace import pace
from twofold.engine.rounding import to_bfloat
from twofold.engine.schedule import Layer
from twofold.errors import GeometryError, UnsupportedError
from twofold.geometry import Problem
from twofold.geometry.axis import as_count, shown
from twofold.geometry.layer import one_of
from twofold.memory import check_memory

__all__ = [
    "PackedWeight",
    "Plan",
    "Setting",
    "algorithms",
    "bound_for",
    "bound_of",
    "kept",
    "layer_of",
    "plan",
    "why_not",
]

Array = npt.NDArray[Any]
SCALARS = {"float32": ("float", "float"), "float64": ("double", "double"), "float16": ("half", "float"),
           "bfloat16": ("bfloat", "float")}  # fmt: skip  # dtype -> type in memory, type of the sums
_MOST_TAPS, _MOST_SUMS = 1 << 20, 1 << 14  # of a kernel, and of a weight gradient; more go to the reference
_MOST_PHASES = 1 << 11  # of a transposed convolution
_MOST_PLANS, _MOST_BYTES = 256, 256 << 20  # that are remembered, and bytes of their tables
_MOST_THREADS = 1024
_PACKED_ELSEWHERE = "the weight was packed for another layer or machine"
_ONE_THREAD = 1 << 19  # multiplications up to which a second thread costs more than it brings


@dataclass(frozen=True, slots=True)
class Setting:
    """A problem with all that its machine code depends on beside it."""

    problem: Problem  # without padding mode: inputs come padded
    weight_strides: tuple[int, ...]  # in cells
    folds: bool  # whether the cells of the input lie as if there were one axis
    last: bool  # whether channels are neighbours in the result
    threads: int
    activation: str = "none"
    residual: bool = False
    packs: bool = False  # whether calls bring weights that are not packed, and jobs pack them
    family: str = ""  # whose packing of weights the calls of a plan share; the best one if empty
    accuracy: str = DEFAULT  # of which families the best one is taken
    fresh: bool = False  # whether every call brings another weight


@dataclass(frozen=True, slots=True)
class PackedWeight:
    """A weight in the order in which the kernels of a plan read it. Made by `Plan.pack`, for its equals too."""

    key: Hashable
    buffer: Any  # an array, or a list of packed weights
    plain: Array | None = None  # the weight itself, where images may have to be computed in another way

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        parts = self.buffer if isinstance(self.buffer, list) else [self.buffer]
        return sum(int(part.nbytes) for part in (*parts, self.plain) if part is not None)


def plan(
    problem: Problem | str,
    *,
    activation: str = "none",
    slope: float = 0.01,
    residual: bool = False,
    threads: int | None = None,
    tune: bool = False,
    accuracy: str | None = None,
    algorithm: str | None = None,
) -> Plan:
    """Choose how to compute a problem on this machine.

    problem     a `Problem` or its string
    activation  of the sums, as they are stored: none, relu, leaky_relu, silu, gelu (the tanh form), sigmoid, tanh
    slope       of leaky_relu, for negative sums
    residual    whether calls bring an array of the result's shape to be added before the activation
    threads     how many; by default what the process is told (`OMP_NUM_THREADS`, torch, threadpoolctl)
    tune        measure two or three candidates instead of trusting the estimate, and remember which one won
    accuracy    strict, standard, fast or bf16: see `twofold.accuracies`; by default that of the `with
                twofold.accuracy(…)` around, else standard
    algorithm   one of `algorithms(problem, accuracy)` instead of the one that is estimated to be fastest; where no
                accuracy is given, any that computes the problem
    raises      GeometryError, UnsupportedError

    >>> p = plan("conv n1 ci8 co16 i32x32 k3x3 p1x1")
    >>> p.is_compiled, p.flops
    (True, 2359296)
    """
    problem = Problem.parse(problem) if isinstance(problem, str) else problem
    if not isinstance(problem, Problem):
        raise UnsupportedError(f"{shown(problem)} is neither a Problem nor its string", repair="plan('conv i9 k3')")
    one_of("activation", activation, ACTIVATIONS)
    try:
        slope = float(slope)
    except (TypeError, ValueError):
        raise UnsupportedError(f"slope must be a number, not {shown(slope)}", repair="slope=0.01") from None
    if threads is not None and as_count("threads", threads, 1) > _MOST_THREADS:
        raise GeometryError(f"threads {shown(threads)} is more than {_MOST_THREADS}", repair="threads=None")
    _check_arrays(problem)
    if problem.op == "conv_weight_gradient" and (activation != "none" or residual):
        raise UnsupportedError("a weight gradient takes no activation and no residual", repair="activation='none'")
    word = chosen(accuracy)
    if algorithm is not None:
        word = _permitting(problem, algorithm, None if accuracy is None else word)
    return Plan(problem, activation, slope, bool(residual), threads, bool(tune), word, algorithm)


def algorithms(problem: Problem | str, accuracy: str | None = None) -> tuple[str, ...]:
    """Return the names of all algorithms that compute a problem on this machine within an accuracy.

    accuracy  as of `plan`

    >>> algorithms("conv ci16 co16 i9 k300 p200", "strict"), algorithms("conv ci16 co16 i9 k300 p200", "fast")
    (('direct',...), ('direct', ..., 'fft'))
    """
    word = chosen(accuracy)
    problem = plain(Problem.parse(problem) if isinstance(problem, str) else problem)
    if why_not(problem):
        return ("reference",)
    has_fourier = word == "fast" and not fourier.why_not(problem) and fourier_of(problem, 1, False).is_allowed
    tail = (fourier.NAME,) if has_fourier else ()
    if problem.op == "conv_weight_gradient":
        return ("weight gradient", *_tiled(problem, word), *tail)
    if problem.rank > INNER:  # of what remains when the outer axes are folded away
        return (Plan(problem, "none", 0.01, False, None, False, "strict").algorithm, *tail)
    with suppress(UnsupportedError):
        layer = layer_of(problem, word)
        return (*(family.name for family in families.available(layer, host(), word)), *tail)
    return ("reference", *tail)


def _tiled(problem: Problem, word: str) -> tuple[str, ...]:
    # The name of a weight gradient in Winograd's tiles, where there is one.
    from twofold.engine import winograd_gradient

    is_there = word == "fast" and winograd_gradient.tiling(_summed(problem), host()) is not None
    return (winograd_gradient.NAME,) if is_there else ()


def _permitting(problem: Problem, algorithm: object, word: str | None) -> str:
    # The accuracy that a named algorithm is asked for with: the one given, or the strictest that has it.
    words = ("strict", "standard", "fast") if word is None else (word,)
    for each in words:
        if algorithm in algorithms(problem, each):
            return each
    known = ", ".join(algorithms(problem, words[-1]))
    kind = "" if word is None else f" within accuracy '{word}'"
    raise UnsupportedError(
        f"{shown(algorithm)} is no algorithm for this problem{kind}: there are {known}",
        repair=f"algorithm='{algorithms(problem, words[-1])[0]}'",
    )


def _check_arrays(problem: Problem) -> None:
    # Before any table is written: a plan for arrays that cannot be would only fill memory.
    for name, shape in (("x", problem.fine_shape), ("the coarse side", problem.coarse_shape)):
        check_memory(f"{name} of shape {shape}", math.prod(shape) * _item(problem.dtype))


def why_not(problem: Problem) -> str:
    """Return why there are no kernels for this problem, or nothing."""
    if problem.dtype not in SCALARS:
        return f"dtype {problem.dtype} has no compiled kernels"
    if 0 in (*problem.fine_shape, *problem.coarse_shape):
        return "there is nothing to compute"
    most = _MOST_SUMS if problem.op == "conv_weight_gradient" else _MOST_TAPS
    if math.prod(problem.geometry.kernel_size) > most:
        return f"more than {most:,} taps"
    if problem.op == "conv_transpose" and math.prod(axis.stride for axis in problem.geometry.axes) > _MOST_PHASES:
        return f"more than {_MOST_PHASES:,} phases"
    return ""


# -- settings to machine code -----------------------------------------------------------------------------------------

_kept: dict[Hashable, Any] = {}


def kept(key: Hashable, make: Callable[[], Any]) -> Any:
    """Return what was made for this key, or make it; the oldest of many are dropped (machine code never is)."""
    found = _kept.get(key)
    if found is None:
        found = make()
        size = getattr(found, "table_bytes", 0)
        while _kept and (len(_kept) >= _MOST_PLANS or size + _held() > _MOST_BYTES):
            _kept.pop(next(iter(_kept)), None)
        _kept[key] = found
    return found


def _held() -> int:
    return sum(getattr(found, "table_bytes", 0) for found in list(_kept.values()))


def bound_of(setting: Setting) -> Bound:
    """Return the layer bound to machine code.

    raises  UnsupportedError where code cannot be compiled or may not be executed
    """
    machine = host()

    def make() -> Bound:
        if setting.family:
            return Bound(_layer(setting), machine, setting.threads, setting.family)
        known = wisdom.recall(_remembered(setting), machine)
        if known is not None:
            with suppress(KeyError, ValueError):  # of a family that is no more, or does not fit
                return Bound(replace(_layer(setting), scale=known.scale), machine, setting.threads, known.family)
        layer = _layer(setting)
        return Bound(
            layer, machine, setting.threads, families.choose(layer, machine, setting.accuracy, setting.fresh).name
        )

    found: Bound = kept((setting, machine), make)
    return found


def tuned(setting: Setting, measure: Callable[[Bound], Callable[[], object]]) -> Bound:
    """Measure the candidates for a setting, remember the fastest and return it. `measure` makes a call to be timed."""
    machine = host()
    layer = _layer(setting)
    best = families.choose(layer, machine, setting.accuracy)
    others = [f for f in families.available(layer, machine, setting.accuracy) if f is not best]
    others.sort(key=lambda family: family.cost(layer, machine))
    candidates = [wisdom.Candidate(best.name), *(wisdom.Candidate(f.name) for f in others[:1])]
    candidates += [wisdom.Candidate(best.name, scale) for scale in (-1, 1)][: 3 - len(candidates)]
    bounds = [Bound(replace(layer, scale=c.scale), machine, setting.threads, c.family) for c in candidates]
    fastest = wisdom.fastest([measure(bound) for bound in bounds])
    wisdom.learn(_remembered(setting), machine, candidates[fastest])
    _kept[setting, machine] = bounds[fastest]
    return bounds[fastest]


def _summed(problem: Problem) -> Problem:
    # A weight gradient of 16-bit numbers is one of float32 ones, rounded once.
    is_short = problem.op == "conv_weight_gradient" and _item(problem.dtype) < 4
    return replace(problem, dtype="float32") if is_short else problem


def layer_of(problem: Problem, accuracy: str) -> Layer:
    """Return a problem as the families see it, its arrays dense in its layout."""
    setting = Setting(problem, _dense(problem), _can_fold(problem), problem.layout == "channels_last", 1)
    return _layer(replace(setting, accuracy=accuracy))


def _remembered(setting: Setting) -> str:
    # What a layer is called on disk: what was found out with packed weights is for others, too.
    return str(replace(setting, fresh=False))


def _layer(setting: Setting) -> Layer:
    problem = setting.problem
    layer = problem.geometry
    target, scalar = SCALARS[problem.dtype]
    source = "bfloat" if _rounds(problem, setting.accuracy) else target
    sides = (folded(problem) if setting.folds else None) or lower(problem)
    strides, groups = setting.weight_strides, layer.groups
    inputs, outputs = problem.in_channels // groups, problem.out_channels // groups
    first = outputs if problem.op == "conv" else inputs  # what the first axis of the weight counts, in a group
    outs, ins = strides[:2] if problem.op == "conv" else (strides[1], strides[0])
    missing = 3 - problem.rank
    last = setting.last or math.prod(problem.out_size) == 1  # then both layouts are one
    return Layer(
        sides, problem.batch, groups, inputs, outputs, scalar, source, target, last, (outs, ins),
        first * strides[0], (1,) * missing + layer.kernel_size, (0,) * missing + strides[2:], problem.flip,
        problem.op, setting.activation, setting.residual, setting.packs, problem.layout == "channels_last",
    )  # fmt: skip


def fourier_of(problem: Problem, count: int, fresh: bool) -> Fourier:
    """Return what computes a problem by transforms, made once."""
    found: Fourier = kept(("fft", problem, count, fresh), lambda: Fourier(problem, count, fresh))
    return found


def known(problem: Problem, accuracy: str) -> Plan:
    """Return the plan of a problem whose weight is new on each call, without activation, made once."""

    def make() -> Plan:
        _check_arrays(problem)
        return Plan(problem, "none", 0.01, False, None, False, accuracy, fresh=True)

    found: Plan = kept((problem, accuracy, host()), make)
    return found


def bound_for(problem: Problem, accuracy: str, x: Array, weight: Array) -> tuple[Bound, Call, Problem] | None:
    """Return what runs a problem on arrays of these strides, or None where the reference or a plan alone does."""
    found = known(problem, accuracy)
    if not found.is_bound or problem.rank > INNER or found.moves(x):
        return None
    bound, call = found.call_for(x.strides, weight.strides)
    return bound, call, problem


def _rounds(problem: Problem, accuracy: str) -> bool:
    return accuracy == "bf16" and problem.dtype == "float32"


def _dense(problem: Problem) -> tuple[int, ...]:
    return tuple(math.prod(problem.weight_shape[i + 1 :]) for i in range(problem.rank + 2))


def _can_fold(problem: Problem) -> bool:
    return problem.rank > 1 and foldable(problem)


def folds(problem: Problem, strides: tuple[int, ...]) -> bool:
    """Whether all cells can be taken as one axis: a kernel of one tap, over cells that are evenly spaced in memory."""
    if problem.rank == 1 or not foldable(problem):
        return False
    cells = strides[2:]
    return all(cells[i] == cells[i + 1] * problem.in_size[i + 1] for i in range(problem.rank - 1))


def five(strides: tuple[int, ...], is_folded: bool) -> tuple[int, int, int, int, int]:
    """Return the strides of (n, c, *cells) as those of (n, c, depth, height, width)."""
    cells = strides[-1:] if is_folded else strides[2:]
    return (strides[0], strides[1], *(0,) * (3 - len(cells)), *cells)  # type: ignore[return-value]


def use_threads(problem: Problem, limit: int | None = None) -> int:
    """Return how many threads a problem is worth."""
    if problem.multiplications <= _ONE_THREAD:
        return 1
    count = threads.count()
    return count if limit is None else min(limit, count) if limit < count else limit


def plain(problem: Problem) -> Problem:
    """Return the problem whose input is already padded, in whatever mode."""
    if problem.padding_mode == "zeros":
        return problem
    sizes = reference.padded_size(problem)
    geometry = problem.geometry.without_padding()
    return replace(problem, geometry=geometry, fine_size=sizes, padding_mode="zeros")


# -- plans ------------------------------------------------------------------------------------------------------------


class Plan:
    """How one problem is computed on this machine. Readable before it is called.

    problem     what is computed
    algorithm   the family of kernels, `fft`, or `reference`
    accuracy    what was asked for
    error, relative    predicted, of the worst element: over the bound of a direct sum, and over the largest output
    why         the choice and its reason, in sentences
    loops       the loop nest
    ir, assembly    of the kernels
    flops       floating-point operations, 2 per multiplication
    bytes       least traffic: each array once
    workspace   bytes beside the arrays: packed weights, and each thread's patch and row buffer
    """

    def __init__(
        self, problem: Problem, activation: str, slope: float, residual: bool, limit: int | None, tune: bool,
        accuracy: str = DEFAULT, algorithm: str | None = None, fresh: bool = False,
    ) -> None:  # fmt: skip
        self.problem, self.accuracy = problem, accuracy
        self._asked, self._fresh = algorithm, fresh
        self.activation, self.slope, self.residual = activation, slope, residual
        self._limit, self._tune = limit, tune
        self._plain = plain(problem)
        self._reason = why_not(problem)
        self._outer: Outer | None = None
        self._fourier: Fourier | None = None
        self._tuned: set[Setting] = set()
        self._ready: dict[Any, tuple[Bound, Call]] = {}
        self._seen: dict[Any, tuple[Bound, Call]] = {}  # by all that is looked at in an ordinary call
        self._result = _result(problem) if problem.dtype in SCALARS and problem.dtype != "bfloat16" else None
        if problem.padding_mode != "zeros" and problem.op == "conv_transpose" and (activation != "none" or residual):
            raise UnsupportedError(
                f"no activation or residual with padding_mode '{problem.padding_mode}' of a transposed convolution, "
                "whose padding is folded back after the sums",
                repair="a second pass, or padding_mode='zeros'",
            )
        if problem.rank > INNER and (activation != "none" or residual):
            raise UnsupportedError("no activation or residual with more than 3 spatial axes", repair="a second pass")
        if not self._reason:
            try:
                self._fourier = self._transforms()
                if problem.rank > INNER and problem.op != "conv_weight_gradient" and self._fourier is None:
                    self._outer = Outer(self._plain, self._same)
                self._engine()
            except UnsupportedError as error:
                self._reason = str(error).splitlines()[0]
        if self._reason and (activation != "none" or residual):
            raise UnsupportedError(f"no activation or residual without compiled kernels: {self._reason}")

    def _same(self, problem: Problem) -> Plan:
        return Plan(problem, "none", 0.0, False, self._limit, self._tune, self.accuracy)

    # -- what it says -------------------------------------------------------------------------------------------------

    @property
    def algorithm(self) -> str:
        """The family of kernels, `fft`, or `reference`."""
        if self._reason:
            return "reference"
        if self._fourier is not None:
            return fourier.NAME
        if self._plain.op == "conv_weight_gradient":
            return str(self._engine().name)
        return str(self._engine().family.name)

    @property
    def is_compiled(self) -> bool:
        """Whether compiled kernels run it, not the reference."""
        return not self._reason

    @property
    def why(self) -> str:
        """The choice and its reason."""
        if self._reason:
            return f"the reference, a loop over taps in NumPy, because {self._reason}"
        return "\n".join(self._sentences())

    @property
    def loops(self) -> str:
        """The loop nest, outermost first."""
        return "for each tap: NumPy" if self._reason else str(self._engine().loops)

    @property
    def ir(self) -> str:
        """LLVM IR of the kernels."""
        return "" if self._reason else "\n".join(code.ir for code in self._engine().all_codes)

    @property
    def assembly(self) -> str:
        """The kernels in the assembly of this machine."""
        return "" if self._reason else "\n".join(code.assembly() for code in self._engine().all_codes)

    @property
    def error(self) -> float:
        """The predicted error of the worst element, over the bound of a direct sum; infinite where there is no such."""
        if self._fourier is not None:
            return self._fourier.error
        family, problem = self._family, self._plain
        if self._tiled_error is not None:
            return math.inf
        rounding = 0.0
        if _rounds(problem, self.accuracy):  # of both factors, to 8 bits
            terms = max(problem.multiplications / max(math.prod(problem.result_shape), 1), 1)
            rounding = 2.0**-8 / ((terms + 2) * 2.0**-24)
        return rounding + (1.0 if family is None else float(family.error(self._engine().layer)))

    @property
    def relative(self) -> float:
        """The predicted error of the worst element, over the largest output."""
        if self._fourier is not None:
            return self._fourier.relative
        family, problem = self._family, self._plain
        if family is not None:
            rounding = 2.0**-7 / math.sqrt(3) if _rounds(problem, self.accuracy) else 0.0
            return float(family.relative(self._engine().layer)) + rounding
        if self._tiled_error is not None:
            return self._tiled_error
        terms = problem.multiplications / max(math.prod(problem.result_shape), 1)
        unit = 2.0**-53 if problem.dtype == "float64" else 2.0**-24
        return 1.5 * unit * math.sqrt(terms + 2)

    @property
    def _tiled_error(self) -> float | None:
        # Of a weight gradient that is no direct sum.
        is_gradient = self._plain.op == "conv_weight_gradient" and not self._reason
        return self._engine().relative if is_gradient else None

    @property
    def _family(self) -> families.Family | None:
        engine = None if self._reason else self._engine()
        return engine.family if isinstance(engine, Bound) else None

    @property
    def is_bound(self) -> bool:
        """Whether a call is one of compiled code on the caller's own arrays."""
        return not self._reason and self._fourier is None and not _rounds(self._plain, self.accuracy)

    @property
    def flops(self) -> int:
        """Floating-point operations: 2 per multiplication."""
        return 2 * self.problem.multiplications

    @property
    def bytes(self) -> int:
        """Least traffic to and from memory: each array once."""
        problem = self.problem
        cells = sum(math.prod(s) for s in (problem.fine_shape, problem.coarse_shape, problem.weight_shape))
        return cells * _item(problem.dtype)

    @property
    def workspace(self) -> int:
        """Bytes beside the arrays."""
        if self._reason:
            return reference.workspace(self.problem, 8, widens=True)
        if _rounds(self._plain, self.accuracy):
            sizes = (self._plain.fine_shape, self._plain.coarse_shape, self._plain.weight_shape)
            rounded = 4 * sum(map(math.prod, sizes))
        else:
            rounded = 0
        stack = self._outer.stack_bytes if self._outer else 0
        return int(self._engine().workspace) + self._padding_bytes() + stack + rounded

    @property
    def threads(self) -> int:
        """Threads of the next call."""
        return use_threads(self._plain, self._limit)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is planned anew: machine code and tables of addresses are of one process.
        said = (self.problem, self.activation, self.slope, self.residual, self._limit, self._tune)
        return Plan, (*said, self.accuracy, self._asked, self._fresh)

    def __repr__(self) -> str:
        return f"<Plan {self.problem}: {self.algorithm}>"

    def _padding_bytes(self) -> int:
        if self.problem.padding_mode == "zeros":
            return 0
        return math.prod(self._plain.fine_shape) * _item(self.problem.dtype)

    def _sentences(self) -> list[str]:
        machine, engine = host(), self._engine()
        where = "" if self._fourier else f", on {machine.isa} with {machine.vector_bytes}-byte vectors"
        lines = [engine.what + where, *engine.sentences, self._prediction()]
        if self.problem.rank > INNER and not self._fourier:
            outer = self.problem.rank - INNER
            lines.append(f"the first {outer} of {self.problem.rank} axes folded: the cells their taps meet are stacked")
        if self.problem.padding_mode != "zeros":
            lines.append(f"padding_mode {self.problem.padding_mode}: a padded copy of {self._padding_bytes():,} bytes")
        if self._fourier is None:
            origins = {code.origin.split(",")[0].split(" in ")[0] for code in engine.all_codes}
            from_where = " and ".join(sorted(origins))
            lines.append(f"compiled for every size: nothing in the code is of this layer ({from_where})")
        return lines

    def _prediction(self) -> str:
        bound = "(K + 2) u (conv(|x|, |weight|) + |bias|)"
        limit = f"within {self.error:.3g} times {bound}" if self.error < math.inf else "not bounded by its own terms"
        rounds = "inputs rounded to bfloat16; " if _rounds(self._plain, self.accuracy) else ""
        asked = "asked for by name" if self._asked else f"accuracy {self.accuracy}"
        return (
            f"{asked}: {rounds}predicted error of the worst element {limit}, about {self.relative:.1g} of the largest"
        )

    # -- calls --------------------------------------------------------------------------------------------------------

    def pack(self, weight: Any) -> PackedWeight:
        """Return the weight as the kernels read it, for any number of calls.

        weight  of `problem.weight_shape`, NumPy, torch or DLPack
        """
        if self.problem.op == "conv_weight_gradient":
            raise UnsupportedError("a weight gradient has no weight to pack", repair="plan(x, grad_y)")
        array = kind_of(weight=weight).host("weight", weight)
        self._check("weight", array, self.problem.weight_shape)
        if self._reason:
            return PackedWeight(None, array.copy())
        if self._fourier is not None:
            self._check_dtype("weight", array)
            array = _fit(array, _numpy(self.problem.dtype))
            return PackedWeight(self._fourier.weight_key, self._fourier.pack(array), array.copy())
        if self._outer:
            return PackedWeight(self._outer_key, self._outer.pack(_fit(array, _numpy(self.problem.dtype))))
        bound = self._engine()
        self._check_dtype("weight", array)
        array = np.ascontiguousarray(_fit(array, _numpy(self.problem.dtype)))
        array = self._rounded(array)
        buffer = bound.new_weights()
        bound.pack(array.ctypes.data, buffer.ctypes.data)
        return PackedWeight(bound.weight_key, buffer, None if bound.family.direct else array.copy())

    def __call__(self, x: Any, weight: Any, bias: Any = None, *, residual: Any = None, out: Any = None) -> Any:
        """Compute.

        x         (batch, channels, *size), or (batch, *size, channels) where the problem's layout is channels_last
        weight    an array of `problem.weight_shape` or a `PackedWeight`; grad_y, as x, for a weight gradient
        bias      (out_channels,)
        residual  as the result, if the plan was made with residual=True
        out       where to write the result
        returns   as x; of the kind that x is
        """
        if out is None and type(weight) is PackedWeight:
            y = self._straight(x, weight, bias, residual)
            if y is not None:
                return y
        problem = self.problem
        brought = {"x": x, "bias": bias} | ({} if isinstance(weight, PackedWeight) else {"weight": weight})
        kind = kind_of(**brought, **({} if residual is None else {"residual": residual}))
        kind.check_agreement(**brought)
        if isinstance(weight, PackedWeight) and problem.op == "conv_weight_gradient":
            raise UnsupportedError("a weight gradient takes grad_y, not a packed weight", repair="plan(x, grad_y)")
        is_last = problem.layout == "channels_last"
        sides = [problem.coarse_shape, problem.fine_shape]
        in_shape = sides[0] if problem.op == "conv_transpose" else sides[1]
        host_x = self._side("x", kind.host("x", x), in_shape)
        host_bias = None if bias is None else kind.host("bias", bias)
        if host_bias is not None:
            self._check("bias", host_bias, (problem.out_channels,))
        if (residual is not None) != self.residual:
            raise UnsupportedError(
                "this plan was made " + ("with" if self.residual else "without") + " a residual",
                repair=f"plan(…, residual={residual is not None})",
            )
        out_shape = sides[1] if problem.op == "conv_transpose" else sides[0]
        host_residual = None if residual is None else self._side("residual", kind.host("residual", residual), out_shape)
        if problem.op == "conv_weight_gradient":
            other: Any = self._side("grad_y", kind.host("grad_y", weight), sides[0])
        elif isinstance(weight, PackedWeight):
            other = weight
        else:
            other = kind.host("weight", weight)
            self._check("weight", other, problem.weight_shape)
        for name, array in (("x", host_x), ("weight", other), ("bias", host_bias), ("residual", host_residual)):
            self._check_dtype(name, array)
        y = self.run(host_x, other, host_bias, host_residual)
        if type(x) is np.ndarray:
            self._remember(x, host_x, bias, residual)
        if y.dtype.name == "bfloat16" and not isinstance(x, np.ndarray):
            y = y.astype(np.float32)  # as tensors are handed over
        if is_last and problem.op != "conv_weight_gradient":
            y = np.moveaxis(y, 1, -1)
        if out is None:
            return kind.back(y, x, None)
        return kind.write(y, out, {"x": x, "weight": None if isinstance(weight, PackedWeight) else weight}, None)

    def _straight(self, x: Any, weight: PackedWeight, bias: Any, residual: Any) -> Array | None:
        # A call like one before: all that is left to do is to allocate the result and to run.
        if type(x) is not np.ndarray:
            return None
        result = self._result
        ready = self._seen.get((x.shape, x.strides, x.dtype, _look(bias), _look(residual), threads.count()))
        if (
            result is None
            or ready is None
            or weight.key != ready[0].weight_key
            or weight.buffer.nbytes != ready[0].weight_bytes
        ):
            return None
        bound, call = ready
        at_x = address(x)
        at_weight = address(weight.buffer)
        if at_x % x.itemsize or at_weight % 64:
            return None
        y = pool.empty(*result)
        padded = None if bias is None else bound.padded_bias(bias)
        at_bias = 0 if padded is None else address(padded)
        at_residual = 0 if residual is None else address(residual)
        if at_residual % x.itemsize:
            return None
        spread = call(at_x, at_weight, at_bias, at_residual, address(y))
        return None if spread else y

    def _remember(self, x: Array, host_x: Array, bias: Any, residual: Any) -> None:
        key = x.shape, x.strides, x.dtype, _look(bias), _look(residual), threads.count()
        if key not in self._seen and self._is_ordinary(x, host_x, bias, residual):
            if len(self._seen) >= _MOST_PLANS:
                self._seen.clear()
            self._seen[key] = self.call_for(host_x.strides, None)

    def _is_ordinary(self, x: Array, host_x: Array, bias: Any, residual: Any) -> bool:
        # Whether compiled kernels read and write just these arrays, and nothing is done before or after.
        problem = self.problem
        if self._result is None or not self.is_bound or self._outer or problem.op == "conv_weight_gradient":
            return False
        if problem.padding_mode != "zeros" or not all(type(a) in (np.ndarray, type(None)) for a in (bias, residual)):
            return False
        if x.dtype != self._result[1] or any(stride % x.itemsize for stride in x.strides):
            return False
        if residual is not None and (residual.dtype != x.dtype or not residual.flags.c_contiguous):
            return False
        return np.may_share_memory(x, host_x) and not self.moves(host_x)

    def run(
        self,
        x: Array,
        other: Any,
        bias: Array | None = None,
        residual: Array | None = None,
        into: Array | None = None,
    ) -> Array:
        """Compute on NumPy arrays, channels first and batched; the result is a view of the problem's layout.

        into  memory for the result, contiguous in the problem's layout; another is taken if it does not suit
        """
        problem = self.problem
        if self._reason:
            if isinstance(other, PackedWeight) and other.key is not None:
                raise UnsupportedError(_PACKED_ELSEWHERE, repair="plan.pack(weight)")
            weight = other.buffer if isinstance(other, PackedWeight) else other
            if _rounds(problem, self.accuracy):
                x, weight = (rounded_to_bfloat(_fit(array, np.float32)) for array in (x, weight))
            return reference.run(problem, x, weight, bias)
        dtype = _numpy(problem.dtype)
        x = _fit(x, dtype)
        if problem.op == "conv_weight_gradient":
            return self._gradient(x, _fit(other, dtype))
        if problem.padding_mode != "zeros" and problem.op == "conv":
            x = reference.pad(x, problem)
        if problem.padding_mode != "zeros" and problem.op == "conv_transpose":
            y = reference.fold(self._layer(x, other, None, None), problem)
            return y if bias is None else y + bias.reshape(-1, *[1] * problem.rank).astype(dtype)
        return self._layer(x, other, bias, residual, into)

    def _layer(
        self, x: Array, other: Any, bias: Array | None, residual: Array | None, into: Array | None = None
    ) -> Array:
        problem = self._plain
        weight = other if isinstance(other, PackedWeight) else _fit(other, x.dtype)
        if self._fourier is not None:
            return self._transformed(self._fourier, x, weight, bias, residual)
        if self._outer is not None:
            return self._folded(self._outer, x, weight, bias)
        x = self._rounded(self._dense(x))
        weight = weight if isinstance(weight, PackedWeight) else self._rounded(weight)
        key = (x.strides, None if isinstance(weight, PackedWeight) else weight.strides, threads.count())
        ready = self._ready.get(key)
        if ready is None:
            if len(self._ready) >= _MOST_PLANS:
                self._ready.clear()
            ready = self._ready[key] = self.call_for(*key[:2])
        bound, call = ready
        shape, dtype = _result(problem)
        suits = into is not None and into.ctypes.data % (64 if bound.schedule.streams else into.itemsize) == 0
        y = into if into is not None and suits else pool.empty(shape, dtype)
        if isinstance(weight, PackedWeight):
            if weight.key != bound.weight_key:
                bound, call = self._packed_for(weight, x)
            data: Array = weight.buffer
            if data.nbytes != bound.weight_bytes:
                raise UnsupportedError("the packed weight has lost a part of its buffer", repair="plan.pack(weight)")
            if data.ctypes.data % 64:  # a copy of a packed weight may begin anywhere
                data = aligned(data.nbytes)
                data[:] = weight.buffer
        else:
            data = weight
        padded = None if bias is None else bound.padded_bias(bias)
        other_y = None if residual is None else np.ascontiguousarray(_as_result(residual, problem), y.dtype)
        spread = call(
            address(x), address(data), 0 if padded is None else address(padded),
            0 if other_y is None else address(other_y), address(y), data is not weight,
        )  # fmt: skip
        y = np.moveaxis(y, -1, 1) if problem.layout == "channels_last" else y
        if spread:
            self._again(np.flatnonzero(np.frombuffer(spread, np.uint8)), y, x, weight, bias, residual)
        return y

    def _again(self, images: Any, y: Array, x: Array, weight: Any, bias: Array | None, residual: Array | None) -> None:
        """Compute these images directly: in transforms a number that is not finite reaches windows without it."""
        plain_weight = weight.plain if isinstance(weight, PackedWeight) else weight
        single = replace(self._plain, batch=1)
        direct = Plan(single, self.activation, self.slope, self.residual, self._limit, False, "strict")
        for image in images:
            here = slice(image, image + 1)
            y[here] = direct.run(x[here], plain_weight, bias, None if residual is None else residual[here])

    def _rounded(self, array: Array) -> Array:
        return to_bfloat(array, host(), self.threads) if _rounds(self._plain, self.accuracy) else array

    def _transforms(self) -> Fourier | None:
        # Where they are asked for by name, or allowed and estimated to be faster than everything else.
        problem = self._plain
        is_asked = self._asked == fourier.NAME
        if not is_asked and (self._asked is not None or self.accuracy != "fast"):
            return None
        if fourier.why_not(problem) or not (is_asked or fourier.may_win(problem)):
            return None
        found = fourier_of(problem, self.threads, self._fresh)
        if is_asked:
            return found
        return found if found.is_allowed and found.nanoseconds < self._estimated_nanoseconds() else None

    def _estimated_nanoseconds(self) -> float:
        # Of the best of all other algorithms, on one thread; of more axes or a weight gradient, about.
        problem, machine = self._plain, host()
        coin = pace(machine).coin
        if problem.op == "conv_weight_gradient" or problem.rank > INNER:
            lanes = machine.vector_bytes / _item(problem.dtype)
            return problem.multiplications / lanes * coin[0]
        layer = layer_of(problem, self.accuracy)
        best = families.choose(layer, machine, self.accuracy, self._fresh)
        return (best.cost(layer, machine) + (best.packing(layer) if self._fresh else 0.0)) * coin[layer.depthwise]

    def _transformed(self, engine: Fourier, x: Array, weight: Any, bias: Array | None, residual: Array | None) -> Array:
        problem = self._plain
        if isinstance(weight, PackedWeight):
            if weight.key != engine.weight_key:
                raise UnsupportedError(_PACKED_ELSEWHERE, repair="plan.pack(weight)")
            packed = weight.buffer
            if packed.nbytes != engine.weight_bytes:
                raise UnsupportedError("the packed weight has lost a part of its buffer", repair="plan.pack(weight)")
        else:
            packed = engine.pack(weight)
        y = pool.empty(*_result(problem))
        view = np.moveaxis(y, -1, 1) if problem.layout == "channels_last" else y
        engine.run(x, packed, view)
        spread = [image for image in range(problem.batch) if not np.isfinite(view[image]).all()]
        fourier.finished(view, bias, residual, self.activation, self.slope)
        if spread:
            self._again(spread, view, x, weight, bias, residual)
        return view

    @property
    def _outer_key(self) -> Hashable:
        return "outer", self._plain.op, self._plain.geometry, self._plain.flip

    def _folded(self, outer: Outer, x: Array, weight: Any, bias: Array | None) -> Array:
        if isinstance(weight, PackedWeight) and weight.key != self._outer_key:
            raise UnsupportedError(_PACKED_ELSEWHERE, repair="plan.pack(weight)")
        packed = weight.buffer if isinstance(weight, PackedWeight) else outer.pack(weight)
        y = pool.empty(*_result(self._plain))
        view = np.moveaxis(y, -1, 1) if self._plain.layout == "channels_last" else y
        outer.run(x, packed, bias, view)
        return view

    def _gradient(self, x: Array, grad: Array) -> Array:
        problem = self.problem
        if problem.padding_mode != "zeros":
            x = reference.pad(x, problem)
        dtype = x.dtype
        if dtype.itemsize < 4:  # summed in float32, rounded once
            x, grad = x.astype(np.float32), grad.astype(np.float32)
        if _rounds(problem, self.accuracy):
            x, grad = rounded_to_bfloat(x), rounded_to_bfloat(grad)
        if self._fourier is not None:
            return self._fourier.gradient(x, grad)
        out = np.empty(problem.weight_shape, x.dtype)
        if problem.rank > INNER:
            gradient(replace(self._plain, dtype=x.dtype.name), x, grad, out, self._same)
        else:
            self._engine().run(x, grad, out)
        return out.astype(dtype, copy=False)

    # -- machine code -------------------------------------------------------------------------------------------------

    def _engine(self, weight_strides: tuple[int, ...] | None = None, is_folded: bool | None = None) -> Any:
        problem, count = self._plain, self.threads
        if self._fourier is not None:
            return self._fourier
        problem = _summed(problem)
        if self._outer is not None:
            return next(inner for inner in self._outer.plans if inner is not None)._engine()
        if problem.op == "conv_weight_gradient":
            machine = host()
            if problem.rank > INNER:  # every image is a position; that of one will do to tell of
                cut, layer = problem.rank - INNER, problem.geometry
                fine, coarse = problem.fine_size[cut:], problem.coarse_size[cut:]
                layer = replace(layer, axes=layer.axes[cut:])
                problem = replace(problem, geometry=layer, fine_size=fine, coarse_size=coarse)
            key = (problem, machine, count, self._asked, self.accuracy)
            return kept(key, lambda: self._new_gradient(problem, machine, count))
        setting = self._setting(weight_strides, is_folded)
        if self._tune and not setting.family and setting not in self._tuned:
            self._tuned.add(setting)
            return tuned(setting, self._trial)
        return bound_of(setting)

    def _new_gradient(self, problem: Problem, machine: Machine, count: int) -> Any:
        from twofold.engine.gradient import WeightGradient
        from twofold.engine.winograd_gradient import NAME, WinogradGradient, tiling, wins

        if self.accuracy == "fast" and self._asked in (None, NAME):
            tiles = tiling(problem, machine)
            if tiles is not None and (self._asked or wins(tiles, machine)):
                return WinogradGradient(problem, tiles, machine, count)
        return WeightGradient(problem, machine, count)

    def _setting(self, weight_strides: tuple[int, ...] | None = None, is_folded: bool | None = None) -> Setting:
        # Whatever the strides of a call are, it shares its family of kernels, and so packed weights, with the others.
        problem = self._plain
        dense, can_fold = _dense(problem), _can_fold(problem)
        weight_strides = dense if weight_strides is None else weight_strides
        is_folded = can_fold if is_folded is None else is_folded
        last = problem.layout == "channels_last"
        setting = Setting(problem, weight_strides, is_folded, last, self.threads, self.activation, self.residual)
        setting = replace(setting, family=self._asked or "", accuracy=self.accuracy, fresh=self._fresh)
        is_plain = (weight_strides, is_folded) == (dense, can_fold)
        return setting if is_plain else replace(setting, family=self._engine().family.name)

    def _trial(self, bound: Bound) -> Callable[[], object]:
        problem, dtype = self._plain, _numpy(self._plain.dtype)
        n, channels, *cells = problem.coarse_shape if problem.op == "conv_transpose" else problem.fine_shape
        last = problem.layout == "channels_last"
        memory = np.ones((n, *cells, channels) if last else (n, channels, *cells), dtype)
        x = self._rounded(np.moveaxis(memory, -1, 1) if last else memory)
        weights, y = bound.new_weights(), pool.empty(*_result(problem))
        call = bound.call(five(x.strides, folds(problem, x.strides)), self.slope)
        residual = np.zeros_like(y)

        def run() -> object:  # holds the arrays
            call(x.ctypes.data, weights.ctypes.data, 0, residual.ctypes.data, y.ctypes.data)
            return x

        return run

    def call_for(self, strides: tuple[int, ...], weight_strides: tuple[int, ...] | None) -> tuple[Bound, Call]:
        """Return the layer for inputs of these strides, and for weights of these, in bytes; packed ones have none."""
        problem = self._plain
        item = 2 if _rounds(problem, self.accuracy) else _item(problem.dtype)
        is_folded = folds(problem, strides)
        cells = None if weight_strides is None else tuple(s // item for s in weight_strides)
        bound: Bound = self._engine(cells, is_folded)
        if weight_strides is not None and bound.fusable:
            setting = self._setting(cells, is_folded)
            bound = bound_of(replace(setting, packs=True, family=bound.family.name))
        return bound, bound.call(five(strides, is_folded), self.slope)

    def moves(self, x: Array) -> bool:
        """Return whether this input would be copied before it is read."""
        return not np.may_share_memory(self._dense(x), x)

    def _packed_for(self, weight: PackedWeight, x: Array) -> tuple[Bound, Call]:
        # Tuning may have chosen other kernels since the weight was packed: then those that it was packed for.
        refused = UnsupportedError(_PACKED_ELSEWHERE, repair="plan.pack(weight)")
        family = weight.key[1] if isinstance(weight.key, tuple) and len(weight.key) > 1 else None
        is_folded = folds(self._plain, x.strides)
        layer = _layer(replace(self._setting(None, is_folded), family=""))
        if family not in {family.name for family in families.available(layer, host(), self.accuracy)}:
            raise refused  # of no family, or of one that this accuracy does not allow
        bound = bound_of(replace(self._setting(None, is_folded), family=str(family)))
        if bound.weight_key != weight.key:
            raise refused
        return bound, bound.call(five(x.strides, is_folded), self.slope)

    def _dense(self, x: Array) -> Array:
        # Kernels that read the input where it stands know no strides.
        if self._plain.layout != "channels_last" or self._reason:
            return x
        last = x.transpose(0, *range(2, x.ndim), 1)
        if last.flags.c_contiguous:
            return x
        engine = self._engine()  # asked each time, since tuning may change its mind
        if not (isinstance(engine, Bound) and engine.family.dense):
            return x
        return np.moveaxis(np.ascontiguousarray(last), -1, 1)

    def _side(self, name: str, array: Array, shape: tuple[int, ...]) -> Array:
        if self.problem.layout == "channels_last" and array.ndim == len(shape):
            array = np.moveaxis(array, -1, 1)
        self._check(name, array, shape)
        return array

    def _check_dtype(self, name: str, array: Any) -> None:
        # A plan has a dtype; what does not fit into it is refused, never rounded.
        if not isinstance(array, np.ndarray) or self.problem.dtype not in SCALARS:
            return
        wanted = _numpy(self.problem.dtype)
        is_handed_over = self.problem.dtype == "bfloat16" and array.dtype == np.float32
        if array.dtype != wanted and not is_handed_over and not np.can_cast(array.dtype, wanted):
            raise UnsupportedError(
                f"{name} is {array.dtype}, but the plan is for {wanted}",
                repair=f"{name}.astype(np.{wanted}), or a plan for {array.dtype}",
            )

    def _check(self, name: str, array: Array, shape: tuple[int, ...]) -> None:
        if array.shape != shape:
            raise GeometryError(
                f"{name} has shape {array.shape} (channels first), but the plan is for {shape}",
                repair="a plan for these sizes",
            )


def _result(problem: Problem) -> tuple[tuple[int, ...], Any]:
    n, channels, *cells = problem.result_shape
    shape = (n, *cells, channels) if problem.layout == "channels_last" else (n, channels, *cells)
    return shape, _numpy(problem.dtype)


def _look(array: Any) -> Any:
    return (array.shape, array.strides, array.dtype) if type(array) is np.ndarray else type(array)


def _as_result(array: Array, problem: Problem) -> Array:
    return np.moveaxis(array, 1, -1) if problem.layout == "channels_last" else array


def _fit(array: Array, dtype: Any) -> Array:
    # Kernels read any strides, but whole elements, of the machine's own byte order, and strides of whole elements.
    array = array.astype(dtype, copy=False)
    if not array.flags.aligned or any(stride % array.itemsize for stride in array.strides):
        array = array.copy()
    return array


def _item(dtype: str) -> int:
    return BYTES[SCALARS[dtype][0]] if dtype in SCALARS else 8


def _numpy(dtype: str) -> Any:
    if dtype == "bfloat16":
        found = sys.modules.get("ml_dtypes")
        if found is None:
            raise UnsupportedError(
                "NumPy has no bfloat16 of its own", repair="import ml_dtypes, or conv and its sisters"
            )
        return np.dtype(found.bfloat16)
    return np.dtype(dtype)
