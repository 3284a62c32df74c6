"""The dtype rules: in what a sum is made, in what it is returned, and how an integer result is kept exact.

Floats keep their dtype and are summed in float32 or wider; complex numbers are summed in their own precision; both are
rounded once, at the end. Integers and booleans are summed in int64, or in Python integers where int64 could overflow,
and returned as int64. Nothing wraps and nothing is narrowed unless `out_dtype` asks for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from twofold.errors import UnsupportedError

__all__ = ["bfloat_bits", "result_dtype", "rounded", "rounded_to_bfloat", "sum_dtype", "widened"]

Array = npt.NDArray[Any]
DType = np.dtype[Any]

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_COMPLEX = ("complex64", "complex128")


def result_dtype(*dtypes: DType, out_dtype: DType | None = None) -> DType:
    """Return the dtype of a result: floats keep theirs, integers and booleans give int64, `out_dtype` overrides.

    raises  UnsupportedError for dtypes outside float16 … float64, bfloat16, complex64/128, integers and bool, and for
            an `out_dtype` that would lose the imaginary part or the fraction

    >>> result_dtype(np.dtype("uint8"), np.dtype("int8")), result_dtype(np.dtype("float16"), np.dtype("float16"))
    (dtype('int64'), dtype('float16'))
    """
    for dtype in (*dtypes, *([out_dtype] if out_dtype is not None else [])):
        if _kind(dtype) is None:
            known = "float16, bfloat16, float32, float64, complex64, complex128, integers and bool"
            raise UnsupportedError(f"dtype {dtype} is not supported: {known} are", repair="x.astype(np.float64)")
    result = _common(dtypes)
    if out_dtype is None:
        return result
    order = ("integer", "float", "complex")
    if out_dtype == np.bool_ or order.index(str(_kind(out_dtype))) < order.index(str(_kind(result))):
        raise UnsupportedError(f"out_dtype {out_dtype} cannot hold a {result} result", repair=f"out_dtype={result}")
    return out_dtype.newbyteorder("=")


def sum_dtype(result: DType, *dtypes: DType) -> DType:
    """Return the dtype in which the sums of these arrays are made (Python integers may replace int64)."""
    if all(_kind(dtype) == "integer" for dtype in dtypes):
        return np.dtype(np.int64)
    if any(_kind(dtype) == "complex" for dtype in (result, *dtypes)):
        return np.result_type(np.complex64, result, *(d for d in dtypes if d.name != "bfloat16"))
    wide = [dtype for dtype in (result, *dtypes) if dtype.name in _FLOATS[2:] or _kind(dtype) == "integer"]
    return np.result_type(np.float32, *wide)


def widened(
    terms: int, a: Array, b: Array, bias: Array | None, out_dtype: DType | None
) -> tuple[Array, Array, Array | None, DType]:
    """Cast to the dtype of the sums; integers go to Python's own where int64 could not hold every possible sum."""
    dtypes = [array.dtype for array in (a, b, bias) if array is not None]
    result = result_dtype(*dtypes, out_dtype=out_dtype)
    wide = sum_dtype(result, *dtypes)
    if wide == np.int64:
        bound = terms * _magnitude(a) * _magnitude(b) + (_magnitude(bias) if bias is not None else 0)
        wide = wide if bound < 2**63 else np.dtype(object)
    cast = [None if array is None else array.astype(wide, copy=False) for array in (a, b, bias)]
    assert cast[0] is not None
    assert cast[1] is not None
    return cast[0], cast[1], cast[2], result


def rounded(sums: Array, bias: Array | None, result: DType) -> Array:
    """Add the bias to the sums, in place, and round once to `result`; an integer that does not fit is refused."""
    if bias is not None:
        with np.errstate(all="ignore"):
            sums += bias.reshape(-1, *[1] * (sums.ndim - 2))
    if result.kind in "iu" and sums.size and sums.dtype != result:
        limits = np.iinfo(result)
        low, high = int(sums.min()), int(sums.max())
        if low < limits.min or high > limits.max:
            raise OverflowError(
                f"the exact result reaches {low if low < limits.min else high}, which {result} does not hold "
                f"({limits.min} to {limits.max})\n  try out_dtype=np.float64, or float64 inputs"
            )
    with np.errstate(all="ignore"):  # a float16 result beyond 65504 is Inf, as everywhere
        return sums.astype(result, copy=False)


def bfloat_bits(array: Array) -> Array:
    """Return a float32 array as bfloat16, to nearest even, in integers of 16 bits; NumPy has no such type.

    >>> bfloat_bits(np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, np.inf], np.float32)) == [0x3F80, 0x3F80, 0x3F82, 0x7F80]
    array([ True,  True,  True,  True])
    """
    bits = array.view(np.uint32)
    even = (bits >> 16) & 1
    even += 0x7FFF
    even += bits
    even >>= 16
    found = even.astype(np.uint16)
    return np.where(np.isnan(array), ((bits >> 16) | 0x40).astype(np.uint16), found)


def rounded_to_bfloat(array: Array) -> Array:
    """Return a float32 array with each number the nearest that bfloat16 has."""
    wide: Array = bfloat_bits(array).astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def _common(dtypes: tuple[DType, ...]) -> DType:
    if all(_kind(dtype) == "integer" for dtype in dtypes):
        return np.dtype(np.int64)  # and not NumPy's float64 for int64 with uint64
    try:
        common = np.result_type(*dtypes) if len(set(dtypes)) > 1 else dtypes[0].newbyteorder("=")
    except TypeError:
        common = np.dtype(object)  # bfloat16 has no common dtype with some others
    if _kind(common) is None:
        names = " and ".join(str(dtype) for dtype in dtypes)
        raise UnsupportedError(f"dtypes {names} have no common dtype", repair="x.astype(np.float32) on both")
    return common


def _kind(dtype: DType) -> str | None:
    if dtype.kind in "iub" and dtype.itemsize <= 8:
        return "integer"
    name = dtype.newbyteorder("=").name
    return "float" if name in _FLOATS else "complex" if name in _COMPLEX else None


def _magnitude(array: Array) -> int:
    return max(int(array.max()), -int(array.min())) if array.size else 0
