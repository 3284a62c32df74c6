"""Other traces of the same layer: with zeros inserted, in the other direction, on a constant, and the gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold.analysis.taps import meetings
from twofold.errors import GeometryError, UnsupportedError
from twofold.explain import words
from twofold.explain.arithmetic import Array
from twofold.explain.limits import check_terms
from twofold.explain.numbers import Number, add, elided, multiply, number
from twofold.explain.steps import Cells, Lazy, Step, Term
from twofold.explain.texts import say
from twofold.geometry import Problem

if TYPE_CHECKING:
    from twofold.explain.trace import Trace

__all__ = ["adjoint", "constant", "counted", "edges", "grad_weight", "resized", "same", "stretched", "weight_steps"]


def stretched(trace: Trace, *, turned: bool = True) -> Trace:
    """Return the ordinary convolution that gives the same: zeros inserted, the weight turned by 180 degrees.

    turned  False leaves the weight as it is, which is the mistake that everybody makes once
    raises  UnsupportedError for a convolution, GeometryError for a padding mode other than zeros

    >>> from twofold import explain
    >>> trace = explain.conv_transpose1d([1, 2, 3], [1, 10, 100], stride=2)
    >>> stretched(trace).x.tolist(), stretched(trace).y.tolist()
    ([0, 0, 1, 0, 2, 0, 3, 0, 0], [1, 10, 102, 20, 203, 30, 300])
    """
    problem = trace.problem
    if problem.op != "conv_transpose":
        raise UnsupportedError("zeros are inserted for conv_transpose, not for conv", repair="view='filter'")
    if problem.padding_mode != "zeros":
        raise GeometryError(
            f"zero insertion shows padding with zeros, not padding_mode '{problem.padding_mode}'", repair="tab='paint'"
        )
    layer = problem.geometry
    sizes = tuple(fine + axis.extent - 1 for fine, axis in zip(problem.fine_size, layer.axes, strict=True))
    whole = Problem.of(
        "conv", sizes, layer.kernel_size, in_channels=problem.in_channels, out_channels=problem.out_channels,
        dilation=[axis.dilation for axis in layer.axes], groups=layer.groups, batch=problem.batch, dtype=problem.dtype,
    )  # fmt: skip
    trace.check_sum(math.prod(problem.coarse_shape))
    x = _with_zeros(trace, sizes)
    inserted = _with_zeros(replace(trace, x=np.ones(trace.x.shape, dtype=np.int64)), sizes) == 0
    return replace(trace, problem=whole, x=x.reshape(whole.fine_shape[trace.drop :]), weight=_swapped(trace, turned),
                   tab="paint", seen="", inserted=inserted)  # fmt: skip


def edges(problem: Problem) -> tuple[tuple[int, int], ...]:
    """Return how many zeros stand before and after the stretched input along each axis; negative where it is cut.

    >>> edges(Problem.parse("conv_transpose i4 k3 s2 p1 op1"))
    ((1, 2),)
    """
    found = []
    for axis, fine, coarse in zip(problem.geometry.axes, problem.fine_size, problem.coarse_size, strict=True):
        before = axis.fine(0, axis.kernel_size - 1)  # where the first input cell's last tap lands
        last = axis.fine(coarse - 1, axis.kernel_size - 1)
        found.append((before, fine + axis.extent - 2 - last))
    return tuple(found)


def _with_zeros(trace: Trace, sizes: Sequence[int]) -> Array:
    # Input cells at stride distance in an array of zeros; what a large padding cuts away is not copied.
    problem = trace.problem
    x = np.zeros((problem.batch, problem.in_channels, *sizes), dtype=trace.x.dtype)
    source: Array = trace.x.reshape(problem.coarse_shape)
    # The zeros before put input cell c where its last tap lands.
    spans = [axis.span(axis.kernel_size - 1, coarse, size) for axis, coarse, size in zip(
        problem.geometry.axes, problem.coarse_size, sizes, strict=True
    )]  # fmt: skip
    here, there = zip(*spans, strict=True)
    x[:, :, *there] = source[:, :, *here]
    return x


def _swapped(trace: Trace, turned: bool) -> Array:
    # (in, out / groups, *kernel) as (out, in / groups, *kernel), perhaps turned; a flipped problem turns once more.
    problem, groups = trace.problem, trace.problem.geometry.groups
    kernel = problem.geometry.kernel_size
    per_in, per_out = problem.in_channels // groups, problem.out_channels // groups
    weight = trace.weight.reshape(groups, per_in, per_out, *kernel).swapaxes(1, 2)
    weight = weight.reshape(problem.out_channels, per_in, *kernel)
    if turned != problem.flip:
        weight = np.flip(weight, tuple(range(2, weight.ndim)))
    return weight.reshape(weight.shape[2:]) if trace.drop == 2 else weight


def adjoint(trace: Trace, x: Any = None) -> Trace:
    """Return the other operation with the same weight; x counts 1, 2, 3, … if it is not given.

    >>> from twofold import explain
    >>> adjoint(explain.conv1d([1, 2, 3], [1, 10])).y.tolist()
    [1, 12, 20]
    """
    problem = trace.problem.adjoint()
    shape = trace.problem.result_shape
    x = counted(trace, shape) if x is None else np.asarray(x)
    if x.size != math.prod(shape):
        raise GeometryError(f"dL/dy has {x.size} cells, but the output has {math.prod(shape)}", repair=str(shape))
    return type(trace).of(problem, x.reshape(shape[trace.drop :]), trace.weight, None, trace.drop)


def counted(trace: Trace, shape: Sequence[int]) -> Array:
    """Return the numbers 1, 2, 3, … in a trace's kind of numbers."""
    values = np.arange(1, math.prod(shape) + 1)
    return values.astype(trace.x.dtype if trace.x.dtype != object else np.int64)


def constant(trace: Trace) -> Trace:
    """Return the same layer over an input of ones, without the bias."""
    kind = trace.x.dtype if trace.x.dtype != object else np.dtype(np.int64)
    return type(trace).of(trace.problem, np.ones(trace.x.shape, dtype=kind), trace.weight, None, trace.drop)


def resized(trace: Trace) -> Trace | None:
    """Return a resize-convolution of ones: a constant, as large as input * stride, and the same weight at stride 1.

    None where there is nothing to compare: no stride, or no such size.
    """
    problem = trace.problem
    layer = problem.geometry
    if problem.op != "conv_transpose" or all(axis.stride == 1 for axis in layer.axes):
        return None
    sizes = tuple(coarse * axis.stride for coarse, axis in zip(problem.coarse_size, layer.axes, strict=True))
    whole = Problem.of(
        "conv", sizes, layer.kernel_size, in_channels=problem.in_channels, out_channels=problem.out_channels,
        dilation=[axis.dilation for axis in layer.axes], groups=layer.groups, padding="same", batch=problem.batch,
        dtype=problem.dtype,
    )  # fmt: skip
    kind = trace.x.dtype if trace.x.dtype != object else np.dtype(np.int64)
    x = np.ones(whole.fine_shape[trace.drop :], dtype=kind)
    return type(trace).of(whole, x, _swapped(trace, True), None, trace.drop)


def same(a: Array, b: Array) -> bool:
    """Whether two arrays hold the same numbers, nan counting as itself."""
    if a.dtype == object or b.dtype == object:
        return a.shape == b.shape and bool(np.all(a == b))
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


# -- the gradient by the weight ----------------------------------------------------------------------------------------


def grad_weight(trace: Trace, grad: Array) -> Array:
    """Return dL/dw for dL/dy, in the shape of the problem's weight.

    >>> from twofold import explain
    >>> grad_weight(explain.conv1d([1, 2, 3], [1, 10]), np.ones(2, int)).tolist()
    [[[3, 5]]]
    """
    steps = weight_steps(trace, grad)
    trace.check_sum(math.prod(trace.problem.coarse_shape))
    values = [step.result for step in steps]
    found = np.array(values, dtype=object if trace.x.dtype.kind in "iO" else trace.x.dtype)
    return found.reshape(trace.problem.weight_shape)


def weight_steps(trace: Trace, grad: Array) -> Sequence[Step]:
    """Return one step per weight cell: the sum of dL/dy times input over everything that it multiplies."""
    flat = np.asarray(grad).ravel()
    return Lazy(math.prod(trace.problem.weight_shape), lambda index: _weight_step(trace, flat, index))


def _weight_step(trace: Trace, grad: Array, index: int) -> Step:
    problem = trace.problem
    check_terms(index, problem.batch * math.prod(problem.coarse_size))
    cell = tuple(int(i) for i in np.unravel_index(index, problem.weight_shape))
    table = meetings(problem, cell)
    x = trace.operands[0]
    grads = grad[table.out].tolist() if grad.size else []
    values = x[table.inp].tolist() if x.size else []
    outs, inps = _cells(table.out, problem.result_shape), _cells(table.inp, trace.in_shape)
    terms = tuple(
        Term(g, v, multiply(g, v), False, i, cell, o) for g, v, i, o in zip(grads, values, inps, outs, strict=True)
    )
    result: Number = add(t.product for t in terms)
    parts = elided(terms, lambda t: say("gradient.term", grad=number(t.weight), value=number(t.input)))
    spoken = say("gradient.weight.cell", cell=words.commas(cell, problem.weight_shape))
    aria = say("gradient.aria", cell=spoken, result=number(result),
               parts=say("cell.joint").join(parts) or say("cell.nothing"))  # fmt: skip
    focus = Cells("weight", (cell,))
    reads = Cells("input", tuple(dict.fromkeys(inps))), Cells("output", tuple(dict.fromkeys(outs)))
    return Step(index, "dot", focus, reads, focus, terms, result, None, (), aria)


def _cells(flat: Array, shape: Sequence[int]) -> list[tuple[int, ...]]:
    if not flat.size:
        return []
    columns = np.unravel_index(flat, tuple(shape))
    return list(zip(*(column.tolist() for column in columns), strict=True))
