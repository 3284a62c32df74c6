"""What is derived from the two operations: the matrix, the phases, overlap, gradients, and kernels on a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from twofold.analysis.chain import Chain
from twofold.analysis.matrix import Matrix, matrix
from twofold.analysis.overlap import chain_counts, coverage, verdict
from twofold.analysis.phases import Part, parts, stretched_multiplications
from twofold.analysis.taps import LIMIT, count
from twofold.errors import GeometryError
from twofold.explain import words
from twofold.explain.description import CELLS, Description, Table, axis_text, planes, table
from twofold.explain.limits import CELLS as LARGE
from twofold.explain.numbers import add, elided, number
from twofold.explain.relatives import adjoint, constant, grad_weight, resized, weight_steps
from twofold.explain.steps import Cells, Lazy, Step, Term
from twofold.explain.texts import say
from twofold.filters import kernel
from twofold.geometry import Axis, Problem, axis_name

if TYPE_CHECKING:
    from twofold.explain.arithmetic import Array
    from twofold.explain.numbers import Number
    from twofold.explain.trace import Trace

__all__ = [
    "BANK", "filtered", "gradient_steps", "gradient_view", "image_view", "matrix_steps", "matrix_view", "overlap_view",
    "phase_name", "phase_steps", "phases_view", "verdict_text",
]  # fmt: skip

SHOWN_PHASES = 16
BANK = ("sobel-x", "sobel-y", "box", "gaussian", "sharpen", "laplacian")


# -- the matrix --------------------------------------------------------------------------------------------------------


def matrix_steps(trace: Trace, tab: str | None) -> Sequence[Step]:
    """Return a step per row: the dot product of the row with the input."""
    shown = adjoint(trace) if tab == "transpose" else trace
    rows = min(math.prod(shown.problem.result_shape[1:]), len(shown.gathered))  # of the first sample, if there is one
    return Lazy(rows, lambda index: shown.gathered[index])


def matrix_view(trace: Trace, tab: str | None, step: int | None, steps: Sequence[Step]) -> Description:
    """Describe the matrix of an operation, or the transposed one."""
    problem, turned = trace.problem, tab == "transpose"
    name = "C" if (problem.op == "conv") != turned else "C^T"
    other = "C^T" if name == "C" else "C"
    shape = math.prod(problem.result_shape[1:]), math.prod(trace.in_shape[1:])
    rows, columns = shape[::-1] if turned else shape
    why = [say("matrix.shape", name=name, rows=rows, columns=columns), say("matrix.rows")]
    small = count(problem) <= LIMIT
    # Without a padding mode an output and an input meet through one tap at most, so places need not be told apart.
    folds = small and problem.padding_mode != "zeros"
    places = _places(problem) if folds else count(replace(problem, batch=1))
    why.append(say("matrix.count", count=places, places=rows * columns, weights=math.prod(problem.weight_shape)))
    if problem.batch > 1:
        why.append(say("matrix.sample", batch=problem.batch))
    if turned:
        why.append(say("matrix.transpose"))
        why.append(say("matrix.applied", name=name, numbers=_numbers(adjoint(trace).y)))
    elif not trace.withheld:
        back = adjoint(trace, _without_bias(trace))
        why.append(say("matrix.round-trip", name=name, other=other, numbers=_numbers(back.y)))
    tables = []
    if max(rows, columns) <= CELLS and rows * columns:
        sides = trace.in_shape, trace.problem.result_shape
        labels = [_labels(letter, side) for letter, side in zip("xy", sides[::-1] if turned else sides, strict=True)]
        found = matrix(problem).transposed if turned else matrix(problem)
        tables = [_matrix_table(trace, found), Table("columns", "columns", (tuple(labels[0]),)),
                  Table("rows", "rows", (tuple(labels[1]),))]  # fmt: skip
    elif rows * columns:
        why.append(say("why.large", name=name, rows=rows, columns=columns, most=CELLS))
    formula = aria = ""
    if step is not None:
        chosen = steps[step]
        formula, aria = chosen.text, chosen.aria
    title = say("title.matrix.transpose" if turned else "title.matrix")
    return Description("matrix", tab, title, tuple(why), len(steps), step, formula, aria, tuple(tables))


@lru_cache(maxsize=4)
def _places(problem: Problem) -> int:  # the same at every step
    return matrix(problem).places


def _matrix_table(trace: Trace, found: Matrix) -> Table:
    flags = np.full(found.shape, "o")
    flags[found.rows, found.columns] = "."
    weight = trace.weight.ravel()  # a padding mode can add up cells beyond 64 bits
    return table("matrix", "matrix", found.dense(weight.astype(object) if weight.dtype.kind == "i" else weight), flags)


def _labels(letter: str, shape: Sequence[int]) -> list[str]:
    # y00, y01: the indices run together where each has one digit.
    one = (1, *shape[1:])
    short = max(one) <= 10
    cells = (words.commas(cell, one) for cell in np.ndindex(*one))
    return [letter + (text.replace(",", "") if short else f"({text})") for text in cells]


def _without_bias(trace: Trace) -> Array:
    return trace.y if trace.bias is None else trace.products_of(0, math.prod(trace.problem.coarse_shape))


def _numbers(array: Array) -> str:
    return ", ".join(elided(array.ravel().tolist(), number))


# -- phases ------------------------------------------------------------------------------------------------------------


def phase_steps(trace: Trace, tab: str | None = None) -> Sequence[Step]:
    """Return a step per phase."""
    found = list(parts(trace.problem))
    return Lazy(len(found), lambda index: _phase_step(trace, found, index))


def phases_view(trace: Trace, tab: str | None, step: int | None, steps: Sequence[Step]) -> Description:
    """Describe the phases of the fine side, their kernels and what each gives."""
    problem = trace.problem
    transposed = problem.op == "conv_transpose"
    found = list(parts(problem))
    single = len(found) == 1
    why = [say("phases.single" if single else "phases.transposed" if transposed else "phases.conv")]
    if len(found) > SHOWN_PHASES:
        why.append(say("phases.many", phases=len(found), most=SHOWN_PHASES))
    tables: list[Table] = []
    array = None
    if not transposed:
        array = trace.x.reshape(trace.in_shape)
    elif not trace.withheld:
        array = trace.y.reshape(problem.result_shape)
    for index, part in enumerate(found[:SHOWN_PHASES]):
        name = phase_name(trace, part)
        if all(part.taps):
            tables += planes(
                f"kernel-{index}", say("phases.kernel", phase=name), _sub_kernels(trace, part), weight=True
            )[0]
        if array is not None:
            caption = say("phases.output" if transposed else "phases.input", phase=name)
            strides = [axis.stride for axis in problem.geometry.axes]
            chosen = (slice(r, None, s) for r, s in zip(part.residue, strides, strict=True))
            tables += planes(f"phase-{index}", caption, array[:, :, *chosen])[0]
    if transposed:
        why += [*_sums_text(trace, found), _cost_text(trace)]
    formula = aria = ""
    if step is not None:
        formula, aria = _phase_formula(trace, found[step]), steps[step].aria
    return Description("phases", None, say("title.phases"), tuple(why), len(steps), step, formula, aria, tuple(tables))


def _phase_step(trace: Trace, found: Sequence[Part], index: int) -> Step:
    # The cells of one phase, in its first channel.
    part, problem = found[index], trace.problem
    steps = [axis.stride for axis in problem.geometry.axes]
    spots = np.ndindex(*part.size) if math.prod(part.size) <= LARGE // 100 else iter(())
    cells = tuple((0, 0, *(q * s + r for q, s, r in zip(spot, steps, part.residue, strict=True))) for spot in spots)
    taps = tuple((0, 0, *(phase[i] for phase, i in zip(part.taps, at, strict=True)))
                 for at in np.ndindex(*map(len, part.taps)))  # fmt: skip
    name = "output" if problem.op == "conv_transpose" else "input"
    text = _phase_formula(trace, part)
    aria = say("phases.aria", phase=index + 1, phases=len(found), text=text)
    focus, weights = Cells(name, cells), Cells("weight", taps)
    return Step(index, "phase", focus, (weights,), focus, (), _first_sum(trace, part), None, (), aria, text)


def _phase_formula(trace: Trace, part: Part) -> str:
    name = phase_name(trace, part)
    if not all(part.taps):
        return say("phases.hole", phase=name)
    taps = " x ".join("{" + ",".join(elided(taps)) + "}" for taps in part.taps)
    return say("phases.formula", phase=name, taps=taps, sum=number(_first_sum(trace, part)))


def phase_name(trace: Trace, part: Part) -> str:
    """Name a phase: (even, odd), or by remainders where the stride is above 2."""
    names = []
    for residue, axis in zip(part.residue, trace.problem.geometry.axes, strict=True):
        words_of_two = (say("phases.even"), say("phases.odd"))
        names.append(
            say("phases.all") if axis.stride == 1 else words_of_two[residue] if axis.stride == 2
            else say("phases.residue", residue=residue, stride=axis.stride)
        )  # fmt: skip
    return "(" + ", ".join(names) + ")"


def _sub_kernels(trace: Trace, part: Part) -> Array:
    # The taps of a phase, of every kernel: in the order of the taps, so a flipped weight is read backwards.
    weight = trace.weight.reshape(trace.problem.weight_shape)
    if trace.problem.flip:
        weight = np.flip(weight, tuple(range(2, weight.ndim)))
    return weight[:, :, *(slice(taps.start, taps.stop, taps.step) for taps in part.taps)]


def _first_sum(trace: Trace, part: Part) -> Number:
    # Over the input channels of the first group, for the first output channel.
    layer = trace.problem.geometry
    if not all(part.taps):
        return add([])
    width = layer.coarse_channels // layer.groups
    return add(_sub_kernels(trace, part)[:width, 0].ravel().tolist())


def _sums_text(trace: Trace, found: Sequence[Part]) -> list[str]:
    if len(found) == 1:
        return []
    sums = [number(_first_sum(trace, part)) for part in found]
    if len(set(sums)) == 1:
        return [say("phases.sums.equal", sum=sums[0])]
    return [say("phases.sums.differ", sums=", ".join(elided(sums)))]


def _cost_text(trace: Trace) -> str:
    problem = trace.problem
    stretched, real = stretched_multiplications(problem)
    output, taps = math.prod(problem.fine_size), math.prod(problem.geometry.kernel_size)
    channels = problem.batch * math.prod(problem.weight_shape[:2])
    key = "phases.cost" if channels == 1 else "phases.cost.channels"
    return say(key, output=output, taps=taps, channels=channels, stretched=stretched, real=real)


# -- overlap -----------------------------------------------------------------------------------------------------------


def overlap_view(trace: Trace, chain: Chain) -> Description:
    """Describe how many products land in each cell, of the geometry and of the user's own weights."""
    problem = trace.problem
    transposed = problem.op == "conv_transpose"
    text = verdict_text(problem.geometry.axes)
    why = [say("overlap.transposed" if transposed else "overlap.conv"), text]
    tables: list[Table] = []
    if problem.rank > 1:
        for i, (axis, coarse, fine) in enumerate(
            zip(problem.geometry.axes, problem.coarse_size, problem.fine_size, strict=True)
        ):
            if fine <= CELLS:
                caption = say("overlap.strip", axis=axis_text(i, problem.rank))
                tables.append(table(f"strip-{axis_name(i, problem.rank)}", caption, axis.overlap(coarse, fine)))
    whole = max(problem.fine_size) <= CELLS
    if whole:
        array = coverage(problem)[None, None]
        tables += planes("overlap", say("overlap.counts"), array, np.where(array == 0, "o", "."))[0]
    if transposed and whole and not trace.withheld:
        tables += planes("constant", say("overlap.constant"), _plain(constant(trace)))[0]
        other = resized(trace)
        if other is not None and not other.withheld:
            caption = say("overlap.resize", sizes="x".join(map(str, other.problem.in_size)))
            tables += planes("resize", caption, _plain(other))[0]
        found = list(parts(problem)) if math.prod(a.stride for a in problem.geometry.axes) <= 64 else []
        why += _sums_text(trace, found) if found else []
    if len(chain.layers) > 1:
        texts, more = _stack(chain)
        why, tables = [*why, *texts], [*tables, *more]
    aria = text
    title = say("title.overlap")
    return Description("overlap", None, title, tuple(why), formula=text, aria=aria, tables=tuple(tables))


def verdict_text(axes: Sequence[Axis]) -> str:
    """Say whether the inner cells of a transposed convolution are made of equally many products.

    >>> print(verdict_text([Axis(3, stride=2)] * 2))
    uneven: 3 is not a multiple of 2; interior ratio 4 : 1 in 2-D. Try k=2 or 4
    >>> print(verdict_text([Axis(3, stride=2, dilation=2)]))
    HOLES: dilation 2 and stride 2 share factor 2
    """
    found = verdict(axes)
    if found.kind == "even":
        return say("overlap.even", found.most, most=found.most)
    bad = next(axis for axis in axes if (axis.has_holes if found.kind == "holes" else not axis.is_even))
    shared = math.gcd(bad.stride, bad.dilation)
    sizes = say("overlap.or").join(map(str, bad.even_kernel_sizes))
    key = {"uneven": "overlap.uneven", "holes": "overlap.holes.small"}[found.kind]
    key = "overlap.holes.shared" if shared > 1 else key
    return say(key, kernel=bad.kernel_size, stride=bad.stride, dilation=bad.dilation, shared=shared, sizes=sizes,
               fewest=found.fewest, most=found.most, rank=len(axes))  # fmt: skip


def _plain(trace: Trace) -> Array:
    return trace.y.reshape(trace.problem.result_shape)[:1]


def _stack(chain: Chain) -> tuple[list[str], list[Table]]:
    # What remains of the overlap after each further layer: ways from any input cell to an output cell.
    why, tables = [], []
    for depth in range(2, len(chain.layers) + 1):
        layers = chain.layers[:depth]
        lines = chain_counts(layers)
        inner = [line[len(line) // 4 : len(line) - len(line) // 4] for line in lines]
        fewest, most = math.prod(map(min, inner)), math.prod(map(max, inner))
        key = "overlap.inner.same" if fewest == most else "overlap.inner"
        why.append(say(key, layers=depth, fewest=fewest, most=most))
        if max(map(len, lines)) <= CELLS:
            array = np.ones((), dtype=object)
            for line in lines:
                array = np.multiply.outer(array, np.array(line, dtype=object))
            array = np.asarray(array)[None, None]
            flags = np.where(array == 0, "o", ".")
            tables += planes(f"stack-{depth}", say("overlap.stack.caption", layers=depth), array, flags)[0]
    return why, tables


# -- gradients ---------------------------------------------------------------------------------------------------------


def _ones(trace: Trace) -> Array:
    kind = trace.x.dtype if trace.x.dtype != object else np.dtype(np.int64)
    return np.ones(trace.problem.result_shape, dtype=kind)


def gradient_steps(trace: Trace, tab: str | None) -> Sequence[Step]:
    """Return a step per cell of the gradient, for dL/dy of ones."""
    if tab == "weight":
        return weight_steps(trace, _ones(trace))
    steps = adjoint(trace, _ones(trace)).gathered
    return Lazy(len(steps), lambda index: _input_step(trace, steps[index]))


def _input_step(trace: Trace, step: Step) -> Step:
    # The step of the other operation, in the words of a gradient.
    def spell(t: Term) -> str:
        tap = words.commas(t.tap or (), trace.problem.weight_shape)
        source = say("cell.padding")
        if t.inp and not t.padding:
            source = say("gradient.grad", cell=words.commas(t.inp, trace.problem.result_shape), value=number(t.input))
        return say("cell.term", tap=tap, weight=number(t.weight), source=source)

    parts = say("cell.joint").join(elided(step.terms, spell)) or say("cell.nothing")
    cell = words.spoken("input", step.focus.cells[0], trace.in_shape)
    return replace(step, aria=say("gradient.aria", cell=cell, result=number(step.result), parts=parts))


def gradient_view(trace: Trace, tab: str | None, step: int | None, steps: Sequence[Step]) -> Description:
    """Describe dL/dx or dL/dw for dL/dy of ones."""
    ones = _ones(trace)
    why = [say(f"gradient.{tab}"), say("gradient.ones")]
    if trace.withheld:
        tables: list[Table] = []
        why.append(say("why.withheld", reason=trace.withheld))
    elif tab == "input":
        other = adjoint(trace, ones)
        tables, more = planes("grad-input", say("gradient.caption.input"), other.y.reshape(other.problem.result_shape))
        why += more
    else:
        try:
            tables, more = planes("grad-weight", say("gradient.caption.weight"), grad_weight(trace, ones), weight=True)
        except GeometryError as refusal:  # a weight cell that meets very many inputs
            tables, more = [], [say("why.withheld", reason=refusal.rule)]
        why += more
        if trace.bias is not None:
            cells = trace.problem.batch * math.prod(trace.problem.out_size)
            why.append(say("gradient.bias", numbers=", ".join(elided([str(cells)] * trace.problem.out_channels))))
    formula = aria = ""
    if step is not None:
        formula, aria = steps[step].text, steps[step].aria
    title = say(f"title.gradient.{tab}")
    return Description("gradient", tab, title, tuple(why), len(steps), step, formula, aria, tuple(tables))


# -- kernels on a picture ----------------------------------------------------------------------------------------------


def filtered(trace: Trace, name: str) -> Array:
    """Return the first channel of a picture through a kernel of the bank, of the same size; or the trace's own output.

    >>> from twofold import explain
    >>> filtered(explain.problem("conv i4x4 k2x2"), "box").shape
    (4, 4)
    """
    problem = trace.problem
    if name == "own":
        return np.asarray(trace.y.reshape(problem.result_shape)[0, 0], dtype=np.float64)
    picture = trace.x.reshape(trace.in_shape)[:1, :1].astype(np.float64)
    weight = kernel(name).astype(np.float64)
    layer = Problem.of("conv", picture.shape[2:], weight.shape, padding="same", dtype="float64")
    return np.asarray(type(trace).of(layer, picture, weight[None, None]).y[0, 0])


def image_view(trace: Trace) -> Description:
    """Describe the filter bank; the maps themselves are drawn by whoever has the picture."""
    tables = [table(f"bank-{name}", say("image.bank", name=name), kernel(name)) for name in BANK]
    shape = trace.problem.weight_shape
    if trace.problem.rank == 2 and max(shape[2:]) <= CELLS and not trace.withheld and 0 not in (*shape, trace.y.size):
        own = trace.weight.reshape(shape)[0, 0]
        tables.append(table("bank-own", say("image.bank", name=say("image.own")), own))
    return Description("image", None, say("title.image"), (say("image.why"),), tables=tuple(tables))
