"""Calls seen before: the same shapes, strides, dtypes and options again go straight to the compiled kernels.

A call that the engine answered is remembered under all that its checks and its plan looked at. When it comes again,
what is left to do is to allocate the result, pack the weight and run: a few microseconds, where describing a call takes
a hundred. Whatever is out of the ordinary (lists, other libraries, `out=`, gradients, unusual options) takes the long
way, which also makes every error message.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from twofold.accuracies import chosen
from twofold.call import TINY, Call, engine_dtype, is_plain, stored_as
from twofold.engine import pool, threads
from twofold.engine.address import address

__all__ = ["find", "forget", "remember"]

_MOST = 512
_LARGEST = 4 << 20  # bytes of the tables of a layer that is remembered here
_seen: dict[Hashable, _Warm] = {}


def find(name: str, x: Any, weight: Any, bias: Any, sizes: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Return the result of a call like one before, or None."""
    key = _key(name, x, weight, bias, sizes, options)
    warm = _seen.get(key) if key is not None else None
    return None if warm is None else warm(x, weight, bias)


def remember(
    name: str, x: Any, weight: Any, bias: Any, sizes: Mapping[str, Any], options: Mapping[str, Any], call: Call
) -> None:
    """Keep a call that has just been answered, if it was one for compiled kernels and of the ordinary kind."""
    key = _key(name, x, weight, bias, sizes, options)
    if key is None or call.problem.multiplications <= TINY or call.problem.padding_mode != "zeros":
        return
    arrays = [array for array in (call.x, call.other, call.bias) if array is not None]
    brought = [array for array in (x, weight, bias) if array is not None]
    if not all(_is_same(host, own) for host, own in zip(arrays, brought, strict=True)):
        return  # a copy was computed with, of another type maybe
    dtype = engine_dtype(*arrays)
    if dtype is None or dtype.name not in ("float32", "float64") or any(array.dtype != dtype for array in arrays):
        return
    from twofold.engine.plan import bound_for

    bound = bound_for(stored_as(call), call.accuracy, call.x, call.other)
    if bound is None or bound[0].table_bytes > _LARGEST:
        return
    while len(_seen) >= _MOST:
        _seen.pop(next(iter(_seen)), None)
    _seen[key] = _Warm(call, *bound)


def forget() -> None:
    """Forget every call."""
    _seen.clear()


def _key(
    name: str, x: Any, weight: Any, bias: Any, sizes: Mapping[str, Any], options: Mapping[str, Any]
) -> Hashable | None:
    if type(x) is np.ndarray:
        if type(weight) is not np.ndarray or not (bias is None or type(bias) is np.ndarray):
            return None
        arrays: tuple[Any, ...] = (x.shape, x.strides, x.dtype, weight.shape, weight.strides, weight.dtype)
        arrays += (None if bias is None else (bias.shape, bias.strides, bias.dtype),)
    else:
        torch = sys.modules.get("torch")
        if torch is None or type(x) is not torch.Tensor or not _ordinary(torch, x, weight, bias):
            return None
        arrays = (x.shape, x.stride(), x.dtype, weight.shape, weight.stride(), weight.dtype)
        arrays += (None if bias is None else (bias.shape, bias.stride(), bias.dtype), "torch")
    plain = [tuple(value) if type(value) is list else value for value in sizes.values()]
    for value in plain:
        if not is_plain(value):
            return None
    for option, value in options.items():
        if option not in ("layout", "flip", "accuracy") or type(value) not in (str, bool):
            return None
    accuracy = None if "accuracy" in options else chosen()
    return (name, arrays, *plain, *options.items(), accuracy, threads.count())


def _is_same(host: np.ndarray[Any, Any], own: Any) -> bool:
    # Whether what was computed with is the caller's own memory, in whole elements.
    begin = address(own) if isinstance(own, np.ndarray) else own.data_ptr()
    whole = all(stride % host.itemsize == 0 for stride in host.strides)
    return bool(begin == address(host) and own.dtype.itemsize == host.itemsize and whole)


def _ordinary(torch: Any, *tensors: Any) -> bool:
    # Plain tensors in host memory, of which nobody wants a gradient.
    if torch.autograd.forward_ad._current_level >= 0:
        return False
    recording = torch.is_grad_enabled()
    for tensor in tensors:
        if tensor is None:
            continue
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or not tensor.is_cpu:
            return False
        if tensor.layout is not torch.strided or tensor.is_neg() or (recording and tensor.requires_grad):
            return False
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            return False
    return True


class _Warm:
    """A remembered call."""

    def __init__(self, call: Call, bound: Any, run: Any, problem: Any) -> None:
        self._bound, self._run = bound, run
        n, channels, *cells = problem.result_shape
        is_last = problem.layout == "channels_last"
        if call.form == "textbook":
            shape: tuple[int, ...] = tuple(cells)
        else:
            shape = (n, *cells, channels) if is_last else (n, channels, *cells)
            shape = shape if call.form == "batched" else shape[1:]
        self._shape = shape
        self._dtype = call.x.dtype
        self._itemsize = call.x.itemsize
        self._is_torch = type(call.like) is not np.ndarray
        # a torch tensor whose channels are neighbours in memory, though not in the order of its axes
        self._turned = is_last and call.problem.layout != "channels_last"
        self._bias_as_is = bound.takes_bias_as_is and call.bias is not None and call.bias.flags.c_contiguous

    def __call__(self, x: Any, weight: Any, bias: Any) -> Any:
        if self._is_torch:
            torch = sys.modules["torch"]
            y = torch.from_numpy(pool.empty(self._shape, self._dtype))
            at_x, at_weight, at_y = x.data_ptr(), weight.data_ptr(), y.data_ptr()
            at_bias = 0 if bias is None else bias.data_ptr()
        else:
            y = pool.empty(self._shape, self._dtype)
            at_x = address(x)
            at_weight = address(weight)
            at_y = address(y)
            at_bias = 0 if bias is None else address(bias)
        if (at_x | at_weight | at_bias) % self._itemsize:
            return None
        bound = self._bound
        padded = None
        if at_bias and not self._bias_as_is:
            padded = bound.padded_bias(bias.detach().numpy() if self._is_torch else bias)
            at_bias = address(padded)
        if self._run(at_x, at_weight, at_bias, 0, at_y, False):
            return None  # numbers that are not finite, which have spread: the long way knows what to do
        return y.movedim(-1, 1) if self._turned else y
