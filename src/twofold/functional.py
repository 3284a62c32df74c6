"""Both operations and the weight gradient as functions of arrays: check, describe, run, return as what came in.

`conv`, `conv_transpose` and `conv_weight_gradient` take any number of spatial axes. `conv1d` … `conv_transpose3d` have
the signatures of `torch.nn.functional` (whose transposed functions put `groups` before `dilation`), take what torch
lacks by keyword, and also the textbook form: x and weight with spatial axes only.

NumPy arrays and nested lists give NumPy arrays, torch tensors give torch tensors on their device, everything else comes
and goes through DLPack. `vjp` gives NumPy users the gradients.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from twofold import warm
from twofold.call import Door, describe, describe_weight_gradient, gradients, named_call, run
from twofold.errors import UnsupportedError

__all__ = [
    "conv",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "conv_weight_gradient",
    "vjp",
]


class Options(TypedDict, total=False):
    """What every function takes by keyword; `conv` says what each means."""

    flip: bool
    padding_mode: str
    layout: str
    out: Any
    out_dtype: Any
    accuracy: str | None


def conv(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    **options: Unpack[Options],
) -> Any:
    """Slide `weight` over `x` and sum: the convolution layer (cross-correlation, as in every deep-learning library).

    x             (batch, in_channels, *in_size) or (in_channels, *in_size)
    weight        (out_channels, in_channels / groups, *kernel_size); its rank says how many spatial axes there are
    bias          (out_channels,)
    stride, dilation   cells, one integer or one per axis
    padding       cells: an integer, one per axis, one (before, after) pair per axis, 'valid', 'same' (out = ceil(in /
                  stride), odd cell after), 'same_lower' (odd cell before) or 'causal' (all before)
    flip          turn the kernel by 180 degrees: mathematical convolution
    padding_mode  'zeros', 'reflect', 'replicate' or 'circular'
    layout        'channels_first' or 'channels_last', of x and of the result; the weight keeps its layout
    out           an array to write the result into; must not overlap the inputs
    out_dtype     dtype of the result: floats keep theirs, integers and booleans give int64 unless this says otherwise
    accuracy      'strict', 'standard', 'fast' or 'bf16': see `twofold.accuracies`; by default that of the `with
                  twofold.accuracy(…)` around the call, else 'standard'
    returns       (batch, out_channels, *out_size), or without batch as x; summed in float32 or wider, integers exactly;
                  out_size = (in_size + pads - dilation * (kernel_size - 1) - 1) // stride + 1
    raises        GeometryError, UnsupportedError; OverflowError if an exact integer result does not fit
    source        arXiv:1603.07285, relationship 6

    >>> import numpy as np
    >>> conv(np.ones((1, 1, 5)), np.ones((1, 1, 3)), stride=2)
    array([[[3., 3.]]])
    """
    sizes = _sizes(stride, padding, dilation, groups)
    return _apply(Door("conv", "conv"), x, weight, bias, sizes, options)


def conv_transpose(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    output_size: Any = None,
    dilation: Any = 1,
    groups: int = 1,
    **options: Unpack[Options],
) -> Any:
    """Paint `weight` once per cell of `x` and add: the transposed convolution layer, the adjoint of `conv`.

    x               (batch, in_channels, *in_size) or (in_channels, *in_size)
    weight          (in_channels, out_channels / groups, *kernel_size); the array of the `conv` it is the adjoint of
    bias            (out_channels,)
    padding         cells cropped from the full canvas; 'same' and 'causal' make out_size = in_size * stride unless
                    `output_size` is given ('causal' crops the end, and so is not the adjoint of the causal `conv`)
    output_padding  cells added at the end, since several sizes share one smaller size; below max(stride, dilation)
    output_size     the wanted spatial size instead: one integer or one per axis
    returns         (batch, out_channels, *out_size), or without batch as x;
                    out_size = (in_size - 1) * stride - pads + dilation * (kernel_size - 1) + output_padding + 1
    source          arXiv:1603.07285, relationship 14

    With another `padding_mode` the result is the exact adjoint of padding followed by convolution. All other options,
    and the errors, are those of `conv`.

    >>> import numpy as np
    >>> z = np.arange(4.0).reshape(1, 1, 2, 2)
    >>> conv_transpose(z, z)
    array([[[[ 0.,  0.,  1.],
             [ 0.,  4.,  6.],
             [ 4., 12.,  9.]]]])
    """
    sizes = _sizes(stride, padding, dilation, groups, output_padding, output_size)
    return _apply(Door("conv_transpose", "conv_transpose"), x, weight, bias, sizes, options)


def conv_weight_gradient(
    x: Any,
    grad_y: Any,
    kernel_size: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    **options: Unpack[Options],
) -> Any:
    """Return the gradient of a sum of `conv(x, weight) * grad_y` with respect to the weight.

    x            (batch, in_channels, *in_size) or without batch; always the dense, fine side
    grad_y       (batch, out_channels, *out_size), the strided side
    kernel_size  cells per axis, an integer (then x is batched) or one per axis
    returns      (out_channels, in_channels / groups, *kernel_size)

    The gradient of a transposed layer swaps the arguments: `conv_weight_gradient(grad_y, x, …)`. Complex x is
    conjugated, as gradients are, so that for a complex transposed layer the result of the swap is to be conjugated.

    >>> import numpy as np
    >>> x, grad_y = np.arange(1.0, 10).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2))
    >>> conv_weight_gradient(x, grad_y, kernel_size=2)[0, 0]
    array([[12., 16.],
           [24., 28.]])
    """
    sizes = _sizes(stride, padding, dilation, groups)
    inputs = {"x": x, "grad_y": grad_y}
    with named_call("conv_weight_gradient", inputs, {"kernel_size": kernel_size} | sizes | dict(options)):
        out, out_dtype, described = _split("conv_weight_gradient", options)
        return run(describe_weight_gradient(x, grad_y, kernel_size, sizes | described), inputs, out, out_dtype)


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    **options: Unpack[Options],
) -> Any:
    """`conv` with one spatial axis and the signature of `torch.nn.functional.conv1d`.

    >>> conv1d([1, 2, 3, 4], [1, 10])
    array([21, 32, 43])
    """
    sizes = _sizes(stride, padding, dilation, groups)
    return _apply(Door("conv1d", "conv", 1), input, weight, bias, sizes, options)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    **options: Unpack[Options],
) -> Any:
    """`conv` with two spatial axes and the signature of `torch.nn.functional.conv2d`; 2-D x and weight are taken too.

    >>> conv2d([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 2], [3, 4]])
    array([[37, 47],
           [67, 77]])
    """
    sizes = _sizes(stride, padding, dilation, groups)
    return _apply(Door("conv2d", "conv", 2), input, weight, bias, sizes, options)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    **options: Unpack[Options],
) -> Any:
    """`conv` with three spatial axes and the signature of `torch.nn.functional.conv3d`; 3-D x and weight too.

    >>> import numpy as np
    >>> conv3d(np.arange(1, 28).reshape(3, 3, 3), np.ones((2, 2, 2), int)).ravel()
    array([ 60,  68,  84,  92, 132, 140, 156, 164])
    """
    sizes = _sizes(stride, padding, dilation, groups)
    return _apply(Door("conv3d", "conv", 3), input, weight, bias, sizes, options)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    output_size: Any = None,
    **options: Unpack[Options],
) -> Any:
    """`conv_transpose` with one spatial axis and the signature of `torch.nn.functional.conv_transpose1d`.

    >>> conv_transpose1d([1, 2, 3], [1, 10, 100], stride=2)
    array([  1,  10, 102,  20, 203,  30, 300])
    """
    sizes = _sizes(stride, padding, dilation, groups, output_padding, output_size)
    return _apply(Door("conv_transpose1d", "conv_transpose", 1), input, weight, bias, sizes, options)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    output_size: Any = None,
    **options: Unpack[Options],
) -> Any:
    """`conv_transpose` with two spatial axes and the signature of torch's; 2-D x and weight are taken too.

    >>> conv_transpose2d([[0, 1], [2, 3]], [[0, 1], [2, 3]])
    array([[ 0,  0,  1],
           [ 0,  4,  6],
           [ 4, 12,  9]])
    """
    sizes = _sizes(stride, padding, dilation, groups, output_padding, output_size)
    return _apply(Door("conv_transpose2d", "conv_transpose", 2), input, weight, bias, sizes, options)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    output_size: Any = None,
    **options: Unpack[Options],
) -> Any:
    """`conv_transpose` with three spatial axes and the signature of torch's; 3-D x and weight are taken too.

    >>> import numpy as np
    >>> conv_transpose3d(np.ones((1, 1, 1)), np.ones((1, 2, 2)), stride=2)
    array([[[1., 1.],
            [1., 1.]]])
    """
    sizes = _sizes(stride, padding, dilation, groups, output_padding, output_size)
    return _apply(Door("conv_transpose3d", "conv_transpose", 3), input, weight, bias, sizes, options)


def vjp(
    operation: Callable[..., Any],
    x: Any,
    weight: Any,
    bias: Any = None,
    *args: Any,
    copy: bool = True,
    **options: Any,
) -> tuple[Any, Callable[[Any], tuple[Any, Any, Any]]]:
    """Run one of the functions above and also return what carries a gradient back through it.

    operation  conv, conv_transpose or one of conv1d … conv_transpose3d; the other arguments are its own, and its
               accuracy is that of the gradients too
    copy       whether x and weight are copied, so that they may change before the gradients are asked for; False saves
               that time, and gives the gradients of whatever the arrays hold then
    returns    y, and a function from grad_y (shape and dtype of y) to (grad_x, grad_weight, grad_bias), each of the
               shape of what it belongs to and of y's dtype; grad_bias is None without bias. Gradients conjugate

    >>> import numpy as np
    >>> y, back = vjp(conv2d, np.arange(1.0, 10).reshape(3, 3), np.array([[1.0, 2], [3, 4]]))
    >>> grad_x, grad_weight, _ = back(np.ones_like(y))
    >>> grad_x
    array([[ 1.,  3.,  2.],
           [ 4., 10.,  6.],
           [ 3.,  7.,  4.]])
    >>> grad_weight
    array([[12., 16.],
           [24., 28.]])
    """
    door = next((door for function, door in _doors().items() if function is operation), None)
    if door is None:
        names = ", ".join(door.name for door in _doors().values())
        raise UnsupportedError(
            f"vjp takes one of {names} as operation, not {type(operation).__name__}",
            repair="twofold.vjp(twofold.conv, x, weight)",
        )
    if options.get("out") is not None:
        raise UnsupportedError("vjp returns new arrays and takes no out=", repair="no out")
    y = operation(x, weight, bias, *args, **options)
    given = dict(_signature(operation).bind(x, weight, bias, *args, **options).arguments)
    sizes = given | given.pop("options", {})
    inputs_and_result = ("input", "x", "weight", "bias", "out", "out_dtype")
    described = {name: value for name, value in sizes.items() if name not in inputs_and_result}
    call = describe(door, x, weight, bias, described)
    if copy:
        call = replace(call, x=call.x.copy("K"), other=call.other.copy("K"))  # in the order of memory that they have

    def pull_back(grad_y: Any) -> tuple[Any, Any, Any]:
        with named_call(f"vjp({door.name}, …)", {"grad_y": grad_y}, {}):
            return gradients(call, grad_y, y)

    return y, pull_back


_signature = functools.cache(inspect.signature)


@functools.cache
def _doors() -> dict[Callable[..., Any], Door]:
    named: list[tuple[Callable[..., Any], int | None]] = [(conv, None), (conv1d, 1), (conv2d, 2), (conv3d, 3)]
    named += [(conv_transpose, None), (conv_transpose1d, 1), (conv_transpose2d, 2), (conv_transpose3d, 3)]
    return {f: Door(f.__name__, "conv_transpose" if "transpose" in f.__name__ else "conv", rank) for f, rank in named}


def _sizes(*values: Any) -> dict[str, Any]:
    return dict(zip(("stride", "padding", "dilation", "groups", "output_padding", "output_size"), values, strict=False))


def _apply(door: Door, x: Any, weight: Any, bias: Any, sizes: dict[str, Any], options: Options) -> Any:
    y = warm.find(door.name, x, weight, bias, sizes, options)
    if y is not None:
        return y
    inputs = {"x": x, "weight": weight, "bias": bias}
    with named_call(door.name, inputs, sizes | dict(options)):
        out, out_dtype, described = _split(door.name, options)
        call = describe(door, x, weight, bias, sizes | described)
        y = run(call, inputs, out, out_dtype)
    warm.remember(door.name, x, weight, bias, sizes, options, call)
    return y


def _split(name: str, options: Options) -> tuple[Any, Any, dict[str, Any]]:
    """Part where the result goes and in what dtype from what describes the problem; refuse what is no option."""
    for option in options:
        if option not in Options.__annotations__:
            known = ("stride", "padding", "dilation", "groups", *Options.__annotations__)
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise TypeError(f"{name}() got an unexpected keyword argument '{option}'{hint}")
    described = {key: value for key, value in options.items() if key not in ("out", "out_dtype")}
    return options.get("out"), options.get("out_dtype"), described
