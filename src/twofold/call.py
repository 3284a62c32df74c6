"""A call of a public function: its arguments checked, described as a `Problem`, and its result returned as they came.

    describe(door, x, weight, bias, options) -> Call     shapes, channels, padding: everything that can be wrong
    run(call, inputs, out, out_dtype)                    memory, the operation, the way back

Nothing here knows the equation; `Problem.of` does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from twofold import reference
from twofold.accuracies import DEFAULT, chosen
from twofold.arrays import Kind, kind_of, shape_of
from twofold.dtypes import result_dtype, rounded, rounded_to_bfloat, sum_dtype, widened
from twofold.errors import GeometryError, TwofoldError, UnsupportedError
from twofold.geometry import Problem
from twofold.geometry.axis import as_count
from twofold.geometry.layer import naming, one_of, per_axis
from twofold.geometry.problem import DTYPES, LAYOUTS
from twofold.memory import check_memory

__all__ = [
    "TINY",
    "Call",
    "Door",
    "describe",
    "describe_weight_gradient",
    "engine_dtype",
    "gradients",
    "is_plain",
    "named_call",
    "run",
    "stored_as",
]

Array = npt.NDArray[Any]
Form = Literal["textbook", "unbatched", "batched"]
_PLAIN = (int, str, type(None))
_COMMON = {np.dtype(name): name for name in ("float32", "float64")}
_SMALL = 1 << 26  # bytes
TINY = 1 << 16  # multiplications up to which the reference answers sooner than a compiler is loaded


_DEFAULTS: dict[str, Any] = {
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "groups": 1,
    "output_padding": 0,
    "flip": False,
    "padding_mode": "zeros",
    "layout": "channels_first",
    "accuracy": None,
}


@dataclass(frozen=True, slots=True)
class Door:
    """One public function: its name, its operation and, where it fixes it, its number of spatial axes."""

    name: str
    op: str
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call, described and checked: the problem, and the arrays as NumPy, channels first and batched."""

    problem: Problem
    kind: Kind
    form: Form
    like: Any  # the array whose kind, device and memory format the result takes
    x: Array
    other: Array  # the weight, or grad_y for a weight gradient
    bias: Array | None = None
    accuracy: str = DEFAULT


def describe(door: Door, x: Any, weight: Any, bias: Any, options: Mapping[str, Any]) -> Call:
    """Check the arguments of a convolution or transposed convolution; allocates nothing."""
    accuracy, options = _parted(options)
    kind = kind_of(x=x, weight=weight, bias=bias)
    kind.check_agreement(x=x, weight=weight, bias=bias)
    host_x, host_weight = kind.host("x", x), kind.host("weight", weight)
    host_bias = None if bias is None else kind.host("bias", bias)
    layout = one_of("layout", options.get("layout", "channels_first"), LAYOUTS)
    form: Form = "textbook"
    if door.rank is not None and host_weight.ndim == door.rank and host_x.ndim == door.rank:
        host_x, host_weight = host_x[None, None], host_weight[None, None]
        host_bias = host_bias.reshape(1) if host_bias is not None and host_bias.size == 1 else host_bias
    else:
        host_x, form = _canonical("x", host_x, _rank(door, host_x, host_weight), layout)
    groups = as_count("groups", options.get("groups", 1), 1)
    out_channels = _out_channels(door.op, host_x, host_weight, groups)
    if host_bias is not None and host_bias.shape != (out_channels,):
        raise GeometryError(
            f"bias has shape {host_bias.shape}, but there are {out_channels} out_channels",
            repair=f"a bias of shape ({out_channels},)",
        )
    _refuse_crop(options)
    problem = _problem(
        door.op,
        host_x.shape[2:],
        host_weight.shape[2:],
        in_channels=host_x.shape[1],
        out_channels=out_channels,
        batch=host_x.shape[0],
        dtype=_dtype_name(host_x, host_weight),
        **options,
    )
    return Call(problem, kind, form, x, host_x, host_weight, host_bias, accuracy)


def describe_weight_gradient(x: Any, grad_y: Any, kernel_size: Any, options: Mapping[str, Any]) -> Call:
    """Check the arguments of a weight gradient; the rank is that of `kernel_size`, or of x where that is an integer."""
    accuracy, options = _parted(options)
    kind = kind_of(x=x, grad_y=grad_y)
    kind.check_agreement(x=x, grad_y=grad_y)
    fine, coarse = kind.host("x", x), kind.host("grad_y", grad_y)
    is_listed = isinstance(kernel_size, (Sequence, np.ndarray)) and not isinstance(kernel_size, (str, bytes))
    rank = len(kernel_size) if is_listed and getattr(kernel_size, "ndim", 1) > 0 else max(fine.ndim - 2, 1)
    if not rank:
        raise GeometryError("kernel_size has no entries, but there is at least 1 spatial axis", repair="kernel_size=3")
    layout = options.get("layout", "channels_first")
    fine, form = _canonical("x", fine, rank, layout)
    coarse, grad_form = _canonical("grad_y", coarse, rank, layout)
    if form != grad_form or fine.shape[0] != coarse.shape[0]:
        raise GeometryError(f"x {shape_of(x)} and grad_y {shape_of(grad_y)} differ in batch")
    _refuse_crop(options)
    problem = Problem.of(
        "conv_weight_gradient",
        fine.shape[2:],
        per_axis("kernel_size", kernel_size, rank, 1),
        in_channels=fine.shape[1],
        out_channels=coarse.shape[1],
        batch=fine.shape[0],
        output_size=coarse.shape[2:],
        dtype=_dtype_name(fine, coarse),
        **options,
    )
    return Call(problem, kind, form, x, fine.conj(), coarse, accuracy=accuracy)  # gradients conjugate


def run(call: Call, inputs: dict[str, Any], out: Any = None, out_dtype: Any = None) -> Any:
    """Run a described call; `inputs` are the user's own arrays, which `out` must not overlap."""
    wanted = call.kind.dtype("out_dtype", out_dtype)
    problem = stored_as(call)
    into = None if out is None else _suitable(call, out, inputs, wanted)
    y = _computed(problem, call.accuracy, call.x, call.other, call.bias, wanted, into)
    if into is not None and np.may_share_memory(y, into):
        return out
    if call.problem.op != "conv_weight_gradient":
        y = _restored(y, call.form, call.problem.layout)
    if out is None:
        return call.kind.back(y, call.like, out_dtype)
    if type(kind_of(out=out)) is not type(call.kind):
        raise UnsupportedError("out is of another kind than x", repair="an out of the kind of x")
    return call.kind.write(y, out, inputs, out_dtype)


def _suitable(call: Call, out: Any, inputs: dict[str, Any], wanted: Any) -> Array | None:
    # Whether kernels may write their result where the caller wants it; if not, it is copied there, or refused.
    problem = call.problem
    if type(out) is not np.ndarray or call.form != "batched" or problem.op == "conv_weight_gradient":
        return None
    arrays = [array for array in (call.x, call.other, call.bias) if array is not None]
    n, channels, *cells = problem.result_shape
    shape = (n, *cells, channels) if problem.layout == "channels_last" else (n, channels, *cells)
    fits = out.shape == shape and out.dtype == engine_dtype(*arrays, wanted=wanted)
    apart = not any(np.may_share_memory(out, array) for array in inputs.values() if isinstance(array, np.ndarray))
    return out if fits and apart and out.flags.carray else None


def gradients(call: Call, grad_y: Any, y: Any) -> tuple[Any, Any, Any]:
    """Carry grad_y back through a call that gave y: the gradients by x, weight and bias (None without bias)."""
    problem, kind, weight = call.problem, call.kind, call.other
    if type(kind_of(grad_y=grad_y)) is not type(kind):
        raise UnsupportedError("grad_y is of another kind than x", repair="np.ones_like(y)")
    host_y, grad = kind.host("y", y), kind.host("grad_y", grad_y)
    if grad.shape != host_y.shape:
        raise GeometryError(f"grad_y has shape {grad.shape}, but y has {host_y.shape}", repair="np.ones_like(y)")
    if not np.can_cast(grad.dtype, host_y.dtype):
        repair = "floats for x and weight" if host_y.dtype.kind in "iu" else f"grad_y.astype(np.{host_y.dtype})"
        raise UnsupportedError(f"grad_y is {grad.dtype}, but y is {host_y.dtype}", repair=repair)
    grad = grad.astype(host_y.dtype, copy=False)
    grad = grad[None, None] if call.form == "textbook" else _canonical("grad_y", grad, problem.rank, problem.layout)[0]
    adjoint, weight_gradient = _gradient_problems(problem)
    if adjoint is None:  # an image of padding alone: no transposed layer has such an output
        grad_x = np.zeros(problem.fine_shape, host_y.dtype)
    else:
        grad_x = _computed(adjoint, call.accuracy, grad, weight.conj(), None, host_y.dtype)
    grad_x = _restored(grad_x, call.form, problem.layout)
    sides = (call.x.conj(), grad) if problem.op == "conv" else (grad, call.x.conj())
    grad_weight = _computed(weight_gradient, call.accuracy, *sides, None, host_y.dtype)
    grad_weight = grad_weight[0, 0] if call.form == "textbook" else grad_weight
    grad_bias = None if call.bias is None else kind.back(_bias_gradient(grad), call.like, getattr(y, "dtype", None))
    return kind.back(grad_x, call.like, y.dtype), kind.back(grad_weight, call.like, y.dtype), grad_bias


def _parted(options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    # The accuracy of a call, which is no part of its problem, and what is.
    return chosen(options.get("accuracy")), {name: value for name, value in options.items() if name != "accuracy"}


def is_plain(value: object) -> bool:
    """Return whether a value is an integer, a word, None or a tuple of such: equal ones then mean the same.

    True and 1.0 equal 1, but are refused as numbers of cells.
    """
    if type(value) in _PLAIN:
        return True
    return type(value) is tuple and all(type(entry) is int or is_plain(entry) for entry in value)


def _problem(op: str, in_size: tuple[int, ...], kernel_size: tuple[int, ...], **options: Any) -> Problem:
    plain = all(is_plain(value) or (type(value) is bool and key == "flip") for key, value in options.items())
    return (_known_problem if plain else Problem.of)(op, in_size, kernel_size, **options)


_known_problem = functools.lru_cache(maxsize=512)(Problem.of)


@functools.lru_cache(maxsize=256)
def _gradient_problems(problem: Problem) -> tuple[Problem | None, Problem]:
    return None if 0 in problem.fine_size else problem.adjoint(), problem.weight_gradient()


@contextmanager
def named_call(name: str, arrays: dict[str, Any], options: dict[str, Any]) -> Iterator[None]:
    """Tell an error that passes which call it came from."""
    try:
        yield
    except TwofoldError as error:
        parts = [f"{key} {shape_of(value)}" for key, value in arrays.items() if value is not None]
        for key, value in options.items():
            default = _DEFAULTS.get(key)
            if type(value) is not type(default) or value != default:
                parts.append(f"out {shape_of(value)}" if key == "out" else f"{key}={_short(value)}")
        error.call = error.call or f"{name}({', '.join(parts)})"
        raise
    except MemoryError:
        raise GeometryError(f"{name} ran out of memory", repair="smaller arrays, or a tile at a time") from None


def engine_dtype(*arrays: Array, wanted: Any = None) -> np.dtype[Any] | None:
    """Return the dtype in which compiled kernels answer, or None where only the reference does."""
    dtypes = [array.dtype for array in arrays]
    first = dtypes[0]
    if first in _COMMON and wanted in (None, first) and all(dtype is first for dtype in dtypes):
        return first
    result = result_dtype(*dtypes, out_dtype=wanted)
    if result.name in ("float16", "bfloat16"):
        return result if all(dtype == result for dtype in dtypes) else None
    return result if result.name in ("float32", "float64") and result == sum_dtype(result, *dtypes) else None


def _computed(
    problem: Problem, accuracy: str, x: Array, other: Array, bias: Array | None, wanted: Any, into: Array | None = None
) -> Array:
    """Run by compiled kernels where they pay, else by the reference, after a look at the memory that it takes."""
    arrays = [array for array in (x, other, bias) if array is not None]
    dtype = engine_dtype(*arrays, wanted=wanted)
    if dtype is not None and problem.multiplications > TINY:
        name = _COMMON.get(dtype) or dtype.name
        same = problem if problem.dtype == name else replace(problem, dtype=name)
        found = _planned(same, accuracy, arrays, dtype)
        if found is not None:
            y: Array = found.run(x, other, bias, None, into)
            return y
    if accuracy == "bf16" and problem.dtype == "float32":
        x, other = rounded_to_bfloat(x), rounded_to_bfloat(other)
    _check_size(problem, arrays, result_dtype(*(array.dtype for array in arrays), out_dtype=wanted))
    return reference.run(problem, x, other, bias, out_dtype=wanted)


def _planned(problem: Problem, accuracy: str, arrays: Sequence[Array], dtype: np.dtype[Any]) -> Any:
    from twofold.engine.plan import known, why_not  # the compiler is loaded when there is work for it

    if why_not(problem):
        return None
    size = math.prod(problem.result_shape) * dtype.itemsize
    size += sum(array.size * dtype.itemsize for array in arrays if array.dtype != dtype)
    check_memory(f"a result of shape {problem.result_shape}", size)
    found = known(problem, accuracy)
    if not found.is_compiled:
        return None
    is_light = found.is_bound and problem.op != "conv_weight_gradient"  # its workspace is small if its result is
    if size > _SMALL or not is_light:
        check_memory("the whole computation", size + found.workspace)
    return found


def stored_as(call: Call) -> Problem:
    """Return the problem in the layout of its result: as that of a torch tensor whose channels are neighbours."""
    x, problem = call.x, call.problem
    if call.form != "batched" or problem.layout == "channels_last" or isinstance(call.like, np.ndarray):
        return problem
    is_last = x.strides[1] == x.itemsize and x.shape[1] > 1 and np.moveaxis(x, 1, -1).flags.c_contiguous
    return replace(problem, layout="channels_last") if is_last and not x.flags.c_contiguous else problem


def _refuse_crop(options: Mapping[str, Any]) -> None:
    # A problem may leave a right edge unread (negative padding after); here it is far more likely a mistake.
    padding = options.get("padding", 0)
    entries = padding if isinstance(padding, (Sequence, np.ndarray)) and not isinstance(padding, (str, bytes)) else ()
    for i, entry in enumerate(entries):
        if isinstance(entry, (Sequence, np.ndarray)) and np.ndim(entry) == 1 and len(entry) == 2:
            with naming(i, len(entries)):
                as_count("padding", entry[1], 0)


def _rank(door: Door, x: Array, weight: Array) -> int:
    if door.rank is None:
        if weight.ndim < 3:
            raise GeometryError(
                f"weight has {weight.ndim} axes, but (channels, channels / groups, *kernel_size) has at least 3",
                repair="weight[None, None], or conv1d, conv2d, conv3d for arrays with spatial axes only",
            )
        return weight.ndim - 2
    if weight.ndim != door.rank + 2:
        raise GeometryError(
            f"{door.name} takes a weight of {door.rank + 2} axes, or x and weight of {door.rank} axes each, "
            f"not x of {x.ndim} and weight of {weight.ndim}",
            repair="x[None, None] and weight[None, None] add a batch and a channel",
        )
    return door.rank


def _canonical(name: str, array: Array, rank: int, layout: str) -> tuple[Array, Form]:
    """Return a view that is batched and channels first."""
    one_of("layout", layout, LAYOUTS)
    if array.ndim not in (rank + 1, rank + 2):
        axes = "(batch, channels, *size)" if layout == "channels_first" else "(batch, *size, channels)"
        raise GeometryError(
            f"{name} has {array.ndim} axes, but {axes} has {rank + 2}, or {rank + 1} without batch",
            repair=f"{name} of {rank + 2} axes",
        )
    form: Form = "batched" if array.ndim == rank + 2 else "unbatched"
    array = array if form == "batched" else array[None]
    return (np.moveaxis(array, -1, 1) if layout == "channels_last" else array), form


def _restored(y: Array, form: Form, layout: str) -> Array:
    if form == "textbook":
        return np.asarray(y[0, 0])
    if layout == "channels_last":
        y = np.ascontiguousarray(np.moveaxis(y, 1, -1))
    return y if form == "batched" else np.asarray(y[0])


def _out_channels(op: str, x: Array, weight: Array, groups: int) -> int:
    takes = weight.shape[1] * groups if op == "conv" else weight.shape[0]
    if x.shape[1] != takes:
        rule = f"{weight.shape[1]} * groups {groups} = {takes}" if op == "conv" else f"{takes}"
        raise GeometryError(
            f"x has {x.shape[1]} channels, but a weight of shape {weight.shape} takes {rule}",
            repair=_channel_repair(op, x.shape[1], weight.shape[1], groups),
        )
    return int(weight.shape[0] if op == "conv" else weight.shape[1] * groups)


def _channel_repair(op: str, channels: int, per_group: int, groups: int) -> str:
    if op == "conv" and per_group and channels % per_group == 0 and channels:
        return f"groups={channels // per_group}"
    if op == "conv":
        return f"a weight of shape (out_channels, {max(channels // groups, 1)}, …)"
    return f"a weight of shape ({channels}, out_channels / groups, …)"


def _dtype_name(*arrays: Array) -> str:
    # What the problem is called; mixed integers are summed exactly whatever they are called.
    name = result_dtype(*(array.dtype for array in arrays)).name
    own = arrays[0].dtype.name
    return own if name == "int64" and own in DTYPES.values() and arrays[0].dtype == arrays[1].dtype else name


def _check_size(problem: Problem, inputs: Sequence[Array], result: np.dtype[Any]) -> None:
    # Without images or channels there is nothing to hold, but NumPy must still be able to count along the other axes.
    layer = problem.geometry
    channels = {s: max(getattr(layer, s), layer.groups) for s in ("fine_channels", "coarse_channels")}
    problem = replace(problem, batch=max(problem.batch, 1), geometry=replace(layer, **channels))
    wide = sum_dtype(result, *(array.dtype for array in inputs))
    size = math.prod(problem.result_shape) * (wide.itemsize + (result.itemsize if result != wide else 0))
    check_memory(f"a result of shape {problem.result_shape}", size)
    # Integers count as widened: the bound on their sums reads every value, also of a broadcast array without end.
    widens = wide.kind == "i" or any(array.dtype != wide for array in inputs)
    check_memory("the whole computation", size + reference.workspace(problem, wide.itemsize, widens=widens))


def _bias_gradient(grad: Array) -> Array:
    terms = grad.size // max(grad.shape[1], 1)
    wide, _, _, result = widened(terms, grad, np.ones(1, grad.dtype), None, None)
    with np.errstate(all="ignore"):
        sums = wide.sum(axis=(0, *range(2, grad.ndim)))
    return rounded(np.asarray(sums), None, result)


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # a foreign object's __repr__
        return type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."
