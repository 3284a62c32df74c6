"""From what a user has to a trace: nested lists, arrays and tensors in three forms, or a problem's string.

textbook    x (*size)                      weight (*kernel_size)            one channel, no batch
unbatched   x (channels, *size)            weight (out, in / groups, *kernel_size), or (in, out / groups, …)
batched     x (batch, channels, *size)     weight as above
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from twofold.analysis.chain import Chain
from twofold.analysis.taps import check_indices
from twofold.arrays import kind_of as array_kind
from twofold.call import Door, named_call
from twofold.call import describe as describe_call
from twofold.errors import GeometryError
from twofold.explain.arithmetic import Array, kind_of
from twofold.explain.limits import check_invented
from twofold.explain.trace import Trace
from twofold.geometry import Problem

__all__ = ["describe", "from_problem"]

_SIZES = ("stride", "padding", "dilation", "groups", "output_padding", "output_size")
_DROPPED = {"textbook": 2, "unbatched": 1, "batched": 0}


def describe(
    op: str, rank: int | None, x: Any, weight: Any, bias: Any, sizes: Sequence[object], more: Mapping[str, Any]
) -> Trace:
    """Make a trace of an operation with torch's parameters; a rank of None means that of the weight, less 2.

    sizes   stride, padding, dilation, groups, and for a transposed convolution output_padding and output_size
    more    flip and padding_mode

    >>> describe("conv", 2, [[1, 2], [3]], [[1]], None, (), {})
    Traceback (most recent call last):
    twofold.errors.GeometryError: x is not a rectangular array: ...
    """
    options: dict[str, Any] = {**dict(zip(_SIZES, sizes, strict=False)), **more}
    door = Door(op if rank is None else f"{op}{rank}d", op, rank)
    if unknown := set(more) - {"flip", "padding_mode"}:
        raise TypeError(f"{door.name}() got an unexpected keyword argument {min(unknown)!r}")
    with named_call(door.name, {"x": x, "weight": weight}, options):
        given = {"x": _exact(x), "weight": _exact(weight), "bias": _exact(bias)}
        # Integers beyond 64 bits are objects to NumPy; zeros stand for them until the call is understood.
        plain = {name: np.zeros(v.shape, np.int64) if _is_objects(v) else v for name, v in given.items()}
        call = describe_call(door, plain["x"], plain["weight"], plain["bias"], options)
        found = {"x": call.x, "weight": call.other} | ({} if call.bias is None else {"bias": call.bias})
        found = {n: given[n].reshape(a.shape) if _is_objects(given[n]) else a for n, a in found.items()}
        kind = max(kind_of(name, array) for name, array in found.items())
        problem = call.problem
        if kind and _is_integer(problem):  # a bias of fractions
            problem = replace(problem, dtype=("int64", "float64", "complex128")[kind])
        return _trace(problem, found["x"], found["weight"], found.get("bias"), _DROPPED[call.form])


def from_problem(text: Any, x: Any, weight: Any, bias: Any) -> Trace:
    """Make a trace of a problem's string and of numbers that may be missing."""
    chain = Chain.parse(text) if isinstance(text, str) and ";" in text else None
    problem = text if isinstance(text, Problem) else chain.layers[0] if chain else Problem.parse(text)
    check_indices(problem)
    shape = problem.coarse_shape if problem.op == "conv_transpose" else problem.fine_shape
    drop = 2 if shape[0] == 1 and problem.in_channels == problem.out_channels == 1 else 0
    if x is None:
        x = _counted("x", shape)
    else:
        x = _array("x", x)
        drop = min(max(len(shape) - x.ndim, 0), 2)
        drop = 1 if drop == 2 and problem.in_channels * problem.out_channels != 1 else drop
        x = _fitted("x", x, shape)
    if weight is None:
        weight = _counted("weight", problem.weight_shape)
    elif isinstance(weight, str):
        weight = _digits(weight, problem.weight_shape)
    else:
        weight = _fitted("weight", _array("weight", weight), problem.weight_shape)
    bias = None if bias is None else _bias(bias, problem.out_channels)
    if not _is_integer(problem) and _floats_hold(x, weight, bias):
        x = x.astype(np.result_type(x.dtype, np.float64))
    return replace(_trace(problem, x, weight, bias, drop), chain=chain)


def _is_integer(problem: Problem) -> bool:
    return problem.dtype == "bool" or "int" in problem.dtype


def _floats_hold(*arrays: Array | None) -> bool:
    # Integers beyond 2^53 stay integers, whatever the problem's dtype.
    known = [array for array in arrays if array is not None and array.dtype != object]
    if len(known) < sum(array is not None for array in arrays):
        return False
    return all(a.dtype.kind not in "iu" or not a.size or -(2**53) <= a.min() <= a.max() <= 2**53 for a in known)


def _trace(problem: Problem, x: Array, weight: Array, bias: Array | None, drop: int) -> Trace:
    x = x.reshape(x.shape[drop:])
    weight = weight.reshape(weight.shape[2:]) if drop == 2 else weight
    return Trace.of(problem, x, weight, bias, drop)


def _array(name: str, value: Any) -> Array:
    exact = _exact(value)
    return exact if _is_objects(exact) else array_kind(**{name: exact}).host(name, exact)


def _exact(value: Any) -> Any:
    # Lists of integers beyond 64 bits as objects: NumPy alone would make floats of some of them.
    if not isinstance(value, (list, tuple, int)):
        return value
    try:
        exact = np.asarray(value, dtype=object)
    except ValueError:
        return value
    entries = exact.ravel().tolist()
    if not entries or not all(type(entry) is int for entry in entries):
        return value
    return exact.astype(np.int64) if all(-(2**63) <= entry < 2**63 for entry in entries) else exact


def _is_objects(value: Any) -> bool:
    # Objects that are all integers; the rest is left to whoever refuses it.
    if not isinstance(value, np.ndarray) or value.dtype != object:
        return False
    return all(type(entry) is int for entry in value.ravel().tolist())


def _bias(value: Any, channels: int) -> Array:
    bias = np.atleast_1d(_array("bias", value))
    if bias.shape != (channels,):
        raise GeometryError(
            f"bias has shape {bias.shape}, but there are {channels} output channels", repair=f"{channels} numbers"
        )
    return bias


def _fitted(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    squeezed = (shape, shape[1:], shape[2:])
    ones = all(size == 1 for size in shape[: len(shape) - array.ndim])
    if array.shape not in squeezed or not ones:
        plain = shape[next((axis for axis in (0, 1) if shape[axis] != 1), 2) :]
        raise GeometryError(
            f"{name} has shape {array.shape}, but the problem says {shape}", repair=f"{name} of shape {plain}"
        )
    return array.reshape(shape)


def _counted(name: str, shape: tuple[int, ...]) -> Array:
    check_invented(name, shape)
    return np.arange(1, math.prod(shape) + 1).reshape(shape)


def _digits(word: str, shape: tuple[int, ...]) -> Array:
    taps = math.prod(shape[2:])
    if word != "digits":
        raise GeometryError(f"weight must be an array or 'digits', not {word[:40]!r}", repair="weight='digits'")
    if taps > 18:
        raise GeometryError(f"a kernel of {taps} taps has too many digits to read: at most 18", repair="k3x3")
    check_invented("weight", shape)
    digits = np.array([10**tap for tap in range(taps)]).reshape(shape[2:])
    return np.broadcast_to(digits, shape).copy()
