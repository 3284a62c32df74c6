"""Arrays of every kind: seen as NumPy on the way in, returned as the kind they came in.

Four questions about an array and no more: of which kind is it, what does it look like as a NumPy array, how does a
result go back, and may the result be written there. NumPy arrays and nested lists, torch tensors (recognised without
importing torch) and anything that speaks DLPack are known.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from twofold.errors import GeometryError, UnsupportedError
from twofold.geometry.axis import shown

__all__ = ["Kind", "kind_of", "shape_of"]

Array = npt.NDArray[Any]
DType = np.dtype[Any]


class Kind(Protocol):
    """How arrays of one kind are read and written."""

    def host(self, name: str, value: Any) -> Array:
        """Return the values as a NumPy array, without a copy where that is possible."""

    def check_agreement(self, **named: Any) -> None:
        """Refuse arrays that do not go together: torch promotes no dtypes here, NumPy does."""

    def dtype(self, name: str, value: Any) -> DType | None:
        """Return the NumPy dtype that `value` names, None for None."""

    def back(self, result: Array, like: Any, out_dtype: Any) -> Any:
        """Return a NumPy result as the kind of `like`, on its device and in its memory format."""

    def write(self, result: Array, out: Any, inputs: dict[str, Any], out_dtype: Any) -> Any:
        """Write a result into `out`, or refuse: wrong shape or dtype, or memory shared with an input."""


def kind_of(**named: Any) -> Kind:
    """Return the one kind that all these arrays are of.

    raises  UnsupportedError if they are of different kinds, or of none

    >>> type(kind_of(x=np.ones(3), weight=[1, 2])).__name__
    'NumpyKind'
    """
    # Only the bias may be left out.
    kinds = {name: _kind_of(name, value) for name, value in named.items() if value is not None or name != "bias"}
    (first_name, first), *rest = kinds.items()
    for name, kind in rest:
        if type(kind) is not type(first):
            raise UnsupportedError(
                f"{first_name} is a {_type_name(named[first_name])} but {name} is a {_type_name(named[name])}",
                repair="arrays of one kind",
            )
    return first


def shape_of(value: Any) -> str:
    """Return the shape of an argument for a message; never fails."""
    shape = getattr(value, "shape", None)
    try:
        return str(tuple(int(size) for size in shape)) if shape is not None else type(value).__name__
    except Exception:  # a foreign object's idea of a shape
        return type(value).__name__


def _kind_of(name: str, value: Any) -> Kind:
    if isinstance(value, np.ma.MaskedArray):
        raise UnsupportedError(f"{name} is a masked array, whose mask would be lost", repair=f"{name}.filled(0)")
    if isinstance(value, (np.ndarray, np.generic, list, tuple, int, float, complex)):
        return NumpyKind()
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return TorchKind(torch)
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        return DlpackKind()
    raise UnsupportedError(
        f"{name} must be a NumPy array, a torch tensor or speak DLPack, not {_type_name(value)}",
        repair=f"np.asarray({name})",
    )


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.split('.')[0]}.{kind.__name__}"


def _all_integers(values: Any) -> bool:
    if isinstance(values, (list, tuple)):
        return all(_all_integers(value) for value in values)
    return isinstance(values, int)


class NumpyKind:
    """NumPy arrays of any strides, byte order and writability; nested lists of numbers."""

    def host(self, name: str, value: Any) -> Array:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise GeometryError(f"{name} is not a rectangular array: {error}", repair="rows of equal length") from None
        except Exception as error:  # whatever an element of a list raises when it is asked for its value
            raise UnsupportedError(f"{name} does not become an array: {str(error)[:200]}") from None
        if isinstance(value, (list, tuple)) and array.dtype.kind == "f" and array.size and _all_integers(value):
            raise UnsupportedError(
                f"{name} holds integers that no one 64-bit dtype holds, and NumPy would round them", repair="floats"
            )
        if array.dtype.kind in "OSUVMm" and array.dtype.name != "bfloat16":
            dtype = str(array.dtype) if len(str(array.dtype)) <= 40 else "a structured dtype"
            raise UnsupportedError(
                f"{name} has dtype {dtype}, which holds no numbers to multiply", repair="a numeric array"
            )
        return array

    def check_agreement(self, **named: Any) -> None:
        pass

    def dtype(self, name: str, value: Any) -> DType | None:
        if value is None:
            return None
        try:
            named: DType = np.dtype(value)
            return named
        except Exception:  # TypeError, ValueError, or what a foreign object raises when NumPy prints it
            raise UnsupportedError(
                f"{name} must be a NumPy dtype, not {shown(value)}", repair=f"{name}=np.float64"
            ) from None

    def back(self, result: Array, like: Any, out_dtype: Any) -> Any:
        return result

    def write(self, result: Array, out: Any, inputs: dict[str, Any], out_dtype: Any) -> Any:
        if not isinstance(out, np.ndarray):
            raise UnsupportedError(f"out must be a NumPy array, not {_type_name(out)}", repair="np.empty_like(y)")
        _check_out(out.shape, result.shape, str(out.dtype.newbyteorder("=")), str(result.dtype))
        if not out.flags.writeable:
            raise UnsupportedError("out is read-only", repair="a writable array")
        _check_overlap(out, inputs)
        out[...] = result
        return out


class TorchKind:
    """Torch tensors on any device, bfloat16 included; the computation is NumPy's, on host memory."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def host(self, name: str, value: Any) -> Array:
        torch = self.torch
        self._refuse_special(name, value)
        tensor = value.detach().cpu().resolve_conj().resolve_neg()
        if tensor.dtype == torch.bfloat16:  # NumPy has none; float32 holds every value exactly
            stored = tensor[tuple(slice(0, 1) if step == 0 else slice(None) for step in tensor.stride())]
            tensor = stored.float().expand(tensor.shape)  # a broadcast tensor is not written out
        try:
            array: Array = tensor.numpy()
        except (TypeError, RuntimeError) as error:
            rule = f"{name} is a torch tensor that NumPy cannot hold: {str(error)[:200]}"
            raise UnsupportedError(rule, repair=f"{name}.float()") from None
        return array

    def _refuse_special(self, name: str, tensor: Any) -> None:
        torch = self.torch
        wrapped = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        if wrapped or (torch.is_grad_enabled() and tensor.requires_grad):
            what = "is inside a torch.func transform" if wrapped else "requires grad"
            raise UnsupportedError(
                f"{name} {what}, and gradients of torch tensors are not recorded yet",
                repair=f"{name}.detach(), torch.no_grad(), or twofold.vjp on NumPy arrays",
            )
        forward_ad = torch.autograd.forward_ad
        if forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None:
            raise UnsupportedError(
                f"{name} carries a forward-mode tangent, which would be lost", repair=f"{name}.detach()"
            )
        is_fake = isinstance(tensor, torch._subclasses.FakeTensor)
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested or tensor.is_meta or is_fake:
            what = f"layout {tensor.layout}, device {tensor.device}, dtype {tensor.dtype}"
            repair = f"{name}.to_dense()" if tensor.layout != torch.strided else "a tensor that holds values"
            raise UnsupportedError(f"{name} is not a dense torch tensor with values ({what})", repair=repair)

    def check_agreement(self, **named: Any) -> None:
        dtypes = {name: tensor.dtype for name, tensor in named.items() if tensor is not None}
        first_name, first = next(iter(dtypes.items()))
        for name, dtype in dtypes.items():
            if dtype != first:
                raise UnsupportedError(
                    f"torch tensors must agree in dtype, but {first_name} is {first} and {name} is {dtype}",
                    repair=f"{name}.to({first})",
                )
        devices = {str(tensor.device) for tensor in named.values() if tensor is not None}
        if len(devices) > 1:
            raise UnsupportedError(f"torch tensors must be on one device, not on {' and '.join(sorted(devices))}")

    def dtype(self, name: str, value: Any) -> DType | None:
        if value is None:
            return None
        if not isinstance(value, self.torch.dtype):
            raise UnsupportedError(f"{name} must be a torch dtype, not {shown(value)}", repair=f"{name}=torch.float64")
        text = str(value).removeprefix("torch.")
        try:
            return np.dtype("float32" if text == "bfloat16" else text)
        except TypeError:
            raise UnsupportedError(f"{name} {value} is not supported", repair=f"{name}=torch.float32") from None

    def back(self, result: Array, like: Any, out_dtype: Any) -> Any:
        torch = self.torch
        tensor = torch.from_numpy(result)
        narrow = torch.bfloat16  # summed and handed over as float32, rounded here, once
        if out_dtype == narrow or (out_dtype is None and like.dtype == narrow):
            tensor = tensor.to(narrow)
        tensor = tensor.to(like.device)
        for rank, memory_format in ((4, torch.channels_last), (5, torch.channels_last_3d)):
            is_last = like.ndim == rank and like.is_contiguous(memory_format=memory_format)
            if is_last and not like.is_contiguous() and tensor.ndim == rank:
                tensor = tensor.contiguous(memory_format=memory_format)
        return tensor

    def write(self, result: Array, out: Any, inputs: dict[str, Any], out_dtype: Any) -> Any:
        tensor = self.back(result, next(iter(inputs.values())), out_dtype)
        _check_out(tuple(out.shape), tuple(tensor.shape), str(out.dtype), str(tensor.dtype))
        self._refuse_special("out", out)
        if out.device.type == "cpu":
            _check_overlap(self._bytes(out), {n: self._bytes(t) for n, t in inputs.items() if t is not None})
        out.detach().copy_(tensor)
        return out

    def _bytes(self, tensor: Any) -> Array:
        # The same memory as NumPy sees it; bfloat16 has a twin of equal width.
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
        array: Array = (tensor.view(self.torch.int16) if tensor.dtype == self.torch.bfloat16 else tensor).numpy()
        return array


class DlpackKind:
    """Arrays of other libraries (jax, cupy, tensorflow …) through DLPack."""

    def host(self, name: str, value: Any) -> Array:
        try:
            return np.from_dlpack(value)
        except (TypeError, ValueError, RuntimeError, BufferError):
            pass  # on another device, or of a dtype that NumPy does not have
        try:
            return np.from_dlpack(value, device="cpu", copy=True)
        except Exception as error:
            raise UnsupportedError(
                f"{name} ({_type_name(value)}) does not come through DLPack: {str(error)[:200]}"
            ) from None

    check_agreement = NumpyKind.check_agreement
    dtype = NumpyKind.dtype

    def back(self, result: Array, like: Any, out_dtype: Any) -> Any:
        library = sys.modules.get(type(like).__module__.split(".")[0])
        namespace = like.__array_namespace__() if hasattr(like, "__array_namespace__") else library
        from_dlpack = getattr(namespace, "from_dlpack", None)
        if from_dlpack is None:
            raise UnsupportedError(
                f"a result cannot go back to {_type_name(like)}: its library has no from_dlpack",
                repair="np.from_dlpack(x)",
            )
        return from_dlpack(result)

    def write(self, result: Array, out: Any, inputs: dict[str, Any], out_dtype: Any) -> Any:
        raise UnsupportedError("out= takes NumPy arrays and torch tensors only", repair="the returned array")


def _check_out(shape: tuple[int, ...], wanted: tuple[int, ...], dtype: str, wanted_dtype: str) -> None:
    if shape != wanted:
        raise GeometryError(f"out has shape {shape}, but the result has {wanted}", repair=f"an array of shape {wanted}")
    if dtype != wanted_dtype:
        raise UnsupportedError(f"out has dtype {dtype}, but the result has {wanted_dtype}", repair=f"out_dtype={dtype}")


def _check_overlap(out: Array, inputs: dict[str, Any]) -> None:
    if _writes_twice(out):
        raise UnsupportedError(
            "out writes several results to one place (a broadcast array, or windows)", repair="a copy"
        )
    for name, value in inputs.items():
        if isinstance(value, np.ndarray) and np.may_share_memory(out, value) and _shares(out, value):
            raise UnsupportedError(f"out overlaps {name} in memory", repair="another array")


def _writes_twice(out: Array) -> bool:
    # From the nearest neighbours outwards, each step must pass what the smaller ones cover. That refuses some
    # interleaved arrays without a cell in common too, which nobody has but by intention.
    covered = out.itemsize
    steps = zip(out.strides, out.shape, strict=True)
    for step, size in sorted((abs(step), size) for step, size in steps if size > 1):
        if step < covered and out.size:
            return True
        covered += step * (size - 1)
    return False


def _shares(a: Array, b: Array) -> bool:
    try:
        return np.shares_memory(a, b, max_work=1_000_000)  # type: ignore[arg-type]  # the exact question can be exponentially hard
    except np.exceptions.TooHardError:
        return True
