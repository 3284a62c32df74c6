"""A layer in the words of other libraries, to be copied.

A padding that a library cannot spell is a line of its own: zeros added before, or cells cropped after.
"""

from __future__ import annotations

from collections.abc import Sequence

from twofold.explain.relatives import edges
from twofold.geometry import Problem

__all__ = ["code_of"]


def code_of(problem: Problem) -> dict[str, str]:
    """Return the code of a problem for PyTorch, Keras, JAX and ONNX.

    >>> from twofold.geometry import Problem
    >>> code = code_of(Problem.parse("conv ci3 co8 i28x28 k3x3 s2 p1"))
    >>> print(code["PyTorch"])
    layer = torch.nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1, bias=False)
    y = layer(x)
    """
    return {"PyTorch": _pytorch(problem), "Keras": _keras(problem), "JAX": _jax(problem), "ONNX": _onnx(problem)}


def _pytorch(problem: Problem) -> str:
    layer, rank = problem.geometry, problem.rank
    if rank > 3:
        return "# torch has layers of 1 to 3 axes"
    transposed = problem.op == "conv_transpose"
    name = f"torch.nn.Conv{'Transpose' if transposed else ''}{rank}d"
    pads = [(axis.pad_before, axis.pad_after) for axis in layer.axes]
    alike = all(a == b for a, b in pads)
    options = _options(problem, "kernel_size", "stride", "dilation", "groups")
    before, after = [], []
    if alike and any(a for a, _ in pads):
        options.insert(2 if "stride" in " ".join(options) else 1, f"padding={_tuple([a for a, _ in pads])}")
    modes = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
    mode = modes[problem.padding_mode]
    if transposed and problem.padding_mode != "zeros":
        return f"# torch.nn.ConvTranspose{rank}d has padding_mode='zeros' only"
    if transposed and alike and any(problem.output_padding):
        options.append(f"output_padding={_tuple(problem.output_padding)}")
    if not transposed and (not alike or problem.padding_mode != "zeros"):
        flat = ", ".join(f"{a}, {b}" for a, b in reversed(pads))
        options = [entry for entry in options if not entry.startswith("padding=")]
        before = [f'x = torch.nn.functional.pad(x, ({flat}), mode="{mode}")']
    if transposed and not alike:
        beyond = _beyond(problem, _canvas(problem))
        after = _crop(problem, [a + b for a, b in zip(_canvas(problem), beyond, strict=True)], 2)
        options += [f"output_padding={_tuple(beyond)}"] if any(beyond) else []
    call = f"layer = {name}({problem.in_channels}, {problem.out_channels}, {', '.join(options)}, bias=False)"
    turned = ["with torch.no_grad():", f"    layer.weight.copy_(weight.flip({_dims(rank)}))"] if problem.flip else []
    return "\n".join([call, *turned, *before, "y = layer(x)", *after])


def _beyond(problem: Problem, made: Sequence[int]) -> list[int]:
    # Cells that the output has after the last one that the layer makes.
    ends = zip(problem.geometry.axes, problem.fine_size, made, strict=True)
    return [max(axis.pad_before + fine - size, 0) for axis, fine, size in ends]


def _keras(problem: Problem) -> str:
    layer, rank = problem.geometry, problem.rank
    if rank > 3:
        return "# Keras has layers of 1 to 3 axes"
    transposed = problem.op == "conv_transpose"
    if transposed and layer.groups > 1:
        return "# Keras has no groups in transposed layers: one layer per group, and Concatenate"
    if transposed and problem.padding_mode != "zeros":
        return f"# Keras has no transposed layer of padding_mode {problem.padding_mode!r}"
    if problem.padding_mode != "zeros":
        return f"# pad with numpy.pad or keras.ops.pad first: Keras has no padding_mode {problem.padding_mode!r}"
    name = f"keras.layers.Conv{rank}D{'Transpose' if transposed else ''}"
    options = [f"{problem.out_channels}", f"kernel_size={_tuple(layer.kernel_size)}"]
    options += _named("strides", [axis.stride for axis in layer.axes], 1)
    options += _named("dilation_rate", [axis.dilation for axis in layer.axes], 1)
    options += [f"groups={layer.groups}"] if layer.groups > 1 else []
    lines = ["# channels last; the kernel is (*kernel_size, in, out), for a transposed layer (*kernel_size, out, in)"]
    lines += ["# turn the weight by 180 degrees first: Keras does not flip"] if problem.flip else []
    if any(axis.stride > 1 for axis in layer.axes) and any(axis.dilation > 1 for axis in layer.axes):
        lines.append("# Keras refuses strides and dilation_rate together on most backends")
    if transposed:
        # With padding="valid" Keras crops nothing and makes at least stride cells per input cell.
        lines.append(f'y = {name}({", ".join(options)}, padding="valid", use_bias=False)(x)')
        gaps = [max(axis.stride - axis.extent, 0) for axis in layer.axes]
        made = [size + gap for size, gap in zip(_canvas(problem), gaps, strict=True)]
        beyond = _beyond(problem, made)
        if any(beyond):
            lines.append(f"y = keras.layers.ZeroPadding{rank}D({_pairs([(0, more) for more in beyond])})(y)")
        return "\n".join(lines + _crop(problem, [a + b for a, b in zip(made, beyond, strict=True)], 1))
    pads = [(axis.pad_before, axis.pad_after) for axis in layer.axes]
    if any(a or b for a, b in pads):
        lines.append(f"x = keras.layers.ZeroPadding{rank}D({_pairs(pads)})(x)")
    return "\n".join([*lines, f'y = {name}({", ".join(options)}, padding="valid", use_bias=False)(x)'])


def _jax(problem: Problem) -> str:
    layer, rank = problem.geometry, problem.rank
    transposed = problem.op == "conv_transpose"
    if transposed and problem.padding_mode != "zeros":
        return f"# lax has no transposed convolution of padding_mode {problem.padding_mode!r}"
    if problem.padding_mode != "zeros":
        return f"# pad with jax.numpy.pad first: lax has no padding_mode {problem.padding_mode!r}"
    pads = edges(problem) if transposed else tuple((axis.pad_before, axis.pad_after) for axis in layer.axes)
    strides = tuple(axis.stride for axis in layer.axes)
    options = [f"window_strides={(1,) * rank if transposed else strides}", f"padding={list(pads)}"]
    options += [f"lhs_dilation={strides}"] if transposed else []
    dilations = tuple(axis.dilation for axis in layer.axes)
    options += [f"rhs_dilation={dilations}"] if any(d > 1 for d in dilations) else []
    options += [f"feature_group_count={layer.groups}"] if layer.groups > 1 else []
    lines = []
    if transposed:
        lines.append("# weight (in, out / groups, *kernel_size) as (out, in / groups, *kernel_size)")
        g, per_in, per_out = layer.groups, problem.in_channels // layer.groups, problem.out_channels // layer.groups
        size = ", ".join(map(str, layer.kernel_size))
        lines.append(f"weight = weight.reshape({g}, {per_in}, {per_out}, {size}).swapaxes(1, 2)")
        lines.append(f"weight = weight.reshape({problem.out_channels}, {per_in}, {size})")
    if transposed != problem.flip:
        lines.append(f"weight = jax.numpy.flip(weight, {_dims(rank)})")
    return "\n".join([*lines, f"y = jax.lax.conv_general_dilated(x, weight, {', '.join(options)})"])


def _onnx(problem: Problem) -> str:
    layer = problem.geometry
    transposed = problem.op == "conv_transpose"
    if transposed and problem.padding_mode != "zeros":
        return f"# ONNX has no ConvTranspose of padding_mode {problem.padding_mode!r}"
    if problem.padding_mode != "zeros":
        # ONNX has other names for two of the modes.
        mode = {"replicate": "edge", "circular": "wrap"}.get(problem.padding_mode, problem.padding_mode)
        return f'# a node Pad with mode="{mode}" comes first: Conv pads with zeros only'
    pads = [axis.pad_before for axis in layer.axes] + [axis.pad_after for axis in layer.axes]
    options = [f"kernel_shape={list(layer.kernel_size)}", f"strides={[axis.stride for axis in layer.axes]}"]
    options += [f"pads={pads}", f"dilations={[axis.dilation for axis in layer.axes]}", f"group={layer.groups}"]
    if transposed and any(problem.output_padding):
        options.append(f"output_padding={list(problem.output_padding)}")
    kind = "ConvTranspose" if transposed else "Conv"
    note = ["# turn the weight by 180 degrees first: ONNX does not flip"] if problem.flip else []
    return "\n".join([*note, f'onnx.helper.make_node("{kind}", ["x", "weight"], ["y"], {", ".join(options)})'])


# -- pieces ------------------------------------------------------------------------------------------------------------


def _options(problem: Problem, *names: str) -> list[str]:
    layer = problem.geometry
    found = [f"{names[0]}={_tuple(layer.kernel_size)}"]
    found += _named(names[1], [axis.stride for axis in layer.axes], 1)
    found += _named(names[2], [axis.dilation for axis in layer.axes], 1)
    return found + ([f"{names[3]}={layer.groups}"] if layer.groups > 1 else [])


def _named(name: str, values: Sequence[int], default: int) -> list[str]:
    return [f"{name}={_tuple(values)}"] if any(value != default for value in values) else []


def _tuple(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else "(" + ", ".join(map(str, values)) + ")"


def _pairs(pads: Sequence[tuple[int, int]]) -> str:
    return str(pads[0]) if len(pads) == 1 else "(" + ", ".join(map(str, pads)) + ")"


def _dims(rank: int) -> str:
    return "(" + ", ".join(str(axis) for axis in range(2, 2 + rank)) + ("," if rank == 1 else "") + ")"


def _canvas(problem: Problem) -> list[int]:
    spans = zip(problem.geometry.axes, problem.coarse_size, strict=True)
    return [len(axis.fine_span(range(coarse))) for axis, coarse in spans]


def _crop(problem: Problem, made: Sequence[int], lead: int) -> list[str]:
    # What is kept of what the layer makes along each axis, after `lead` axes that are kept whole.
    kept = [(axis.pad_before, axis.pad_before + n) for axis, n in zip(problem.geometry.axes, problem.fine_size,
                                                                     strict=True)]  # fmt: skip
    if all(start == 0 and stop == size for (start, stop), size in zip(kept, made, strict=True)):
        return []
    return [f"y = y[{', '.join([':'] * lead + [f'{start}:{stop}' for start, stop in kept])}]"]
