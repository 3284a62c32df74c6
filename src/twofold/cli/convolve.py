"""`twofold conv` and `twofold conv-transpose`: a picture or an array through one layer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twofold.cli import options as o
from twofold.cli.console import print_json, say, seconds_text, working

if TYPE_CHECKING:
    from twofold.cli.layer import Layer, Request
    from twofold.cli.operands import Operand
    from twofold.cli.results import PictureMap
    from twofold.cli.values import Range

__all__ = ["conv", "conv_transpose"]


def conv(
    kernel: o.Kernel,
    input: o.Input = None,
    input_text: o.InputText = None,
    stride: o.Stride = None,
    padding: o.Padding = None,
    dilation: o.Dilation = None,
    padding_mode: o.PaddingMode = None,
    groups: o.Groups = None,
    bias: o.Bias = None,
    flip: o.Flip = False,
    channels: o.Channels = False,
    layout: o.Layout = None,
    accuracy: o.Accuracy = None,
    axes: o.Axes = None,
    output_size: Annotated[str | None, typer.Option(hidden=True)] = None,
    output_padding: Annotated[str | None, typer.Option(hidden=True)] = None,
    output: o.Output = None,
    scale: o.Scale = None,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Convolve: slide a kernel over a picture or an array, and sum the products.

    Each output is the sum of one window times the kernel, as in the layers of
    neural networks: not flipped.

    Examples:
      twofold conv photo.png --kernel sobel-x -o edges.png
      twofold conv photo.png --kernel gaussian:7 --padding same -o soft.png
      twofold conv --input '1 2 3; 4 5 6; 7 8 9' --kernel '1 2; 3 4'
      twofold conv x.npy --kernel layer.npz:weight --stride 2 -o y.npy
    """
    from twofold.cli.layer import Request

    request = Request(
        "conv", stride, padding, dilation, groups, padding_mode, output_padding, output_size, layout, flip,
        channels, axes, accuracy,
    )  # fmt: skip
    _run(request, input, input_text, kernel, bias, output, scale, quiet, as_json)


def conv_transpose(
    kernel: o.Kernel,
    input: o.Input = None,
    input_text: o.InputText = None,
    stride: o.Stride = None,
    padding: o.Padding = None,
    dilation: o.Dilation = None,
    padding_mode: o.PaddingMode = None,
    output_padding: o.OutputPadding = None,
    output_size: o.OutputSize = None,
    groups: o.Groups = None,
    bias: o.Bias = None,
    flip: o.Flip = False,
    channels: o.Channels = False,
    layout: o.Layout = None,
    accuracy: o.Accuracy = None,
    axes: o.Axes = None,
    output: o.Output = None,
    scale: o.Scale = None,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Convolve transposed: paint the kernel once per input cell, that many times as strong, and add.

    It takes sizes back to what they were before a convolution, not values.
    With a stride of 2 the output is about twice as large as the input.

    Examples:
      twofold conv-transpose a.png -k bilinear-up --stride 2 --padding 1 -o b.png
      twofold conv-transpose --input '0 1; 2 3' --kernel '0 1; 2 3'
      twofold conv-transpose x.npy -k w.npy --stride 2 --output-size 28 -o y.npy
    """
    from twofold.cli.layer import Request

    request = Request(
        "conv_transpose", stride, padding, dilation, groups, padding_mode, output_padding, output_size, layout, flip,
        channels, axes, accuracy,
    )  # fmt: skip
    _run(request, input, input_text, kernel, bias, output, scale, quiet, as_json)


def _run(
    request: Request, input: str | None, input_text: str | None, kernel: str, bias: str | None, output: str | None,
    scale: str | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    from twofold.cli import operands
    from twofold.cli.layer import Layer

    start = time.perf_counter()
    wanted = _checked_output(output, scale)
    x, weight = operands.read_input(input, input_text), operands.read_kernel(kernel)
    layer = Layer.of(request, x, weight, None if bias is None else operands.read_bias(bias))
    _check_result(layer, x, output)
    with working(f"{request.op} {layer.out_shape}", layer.problem.multiplications, quiet=quiet or as_json):
        y = layer.run()
        mapped = None if output is None else _write(layer, y, x, Path(output), wanted)
    if as_json:
        print_json(_summary(layer, x, y, output, mapped, start))
        return
    if output is None:
        from twofold.cli.results import numbers_text

        say(numbers_text(y))
    if not quiet:
        _report(layer, output, mapped, start)


def _checked_output(output: str | None, scale: str | None) -> Range | None:
    # All that can be refused before a file is read.
    from twofold.cli.results import check_output
    from twofold.cli.values import value_range
    from twofold.errors import GeometryError
    from twofold.files import ARRAY_SUFFIXES, PICTURE_SUFFIXES

    wanted = None if scale is None else value_range(scale)
    if output is not None:
        check_output(Path(output), ARRAY_SUFFIXES + PICTURE_SUFFIXES)
    if wanted is not None and (output is None or Path(output).suffix.lower() in ARRAY_SUFFIXES):
        raise GeometryError("--range is for pictures; numbers are kept as they are", repair="-o FILE.png")
    return wanted


def _check_result(layer: Layer, x: Operand, output: str | None) -> None:
    # All that can be refused before anything is computed.
    import math

    from twofold.cli.results import MAX_PRINTED, check_picture
    from twofold.errors import GeometryError
    from twofold.files import PICTURE_SUFFIXES
    from twofold.memory import check_memory

    count = math.prod(layer.out_shape)
    if output is None and x.source == "picture":
        raise GeometryError("a picture is not printed as numbers", repair="-o FILE.png, or -o FILE.npy")
    if output is None and count > MAX_PRINTED:
        raise GeometryError(
            f"the result has {count:,} numbers, and at most {MAX_PRINTED:,} are printed", repair="-o FILE.npy"
        )
    if output is not None and Path(output).suffix.lower() in PICTURE_SUFFIXES:
        check_picture(layer.out_shape, layer.channels_last)
    check_memory(f"a result of shape {layer.out_shape}", count * layer.dtype.itemsize)


def _write(layer: Layer, y: Any, x: Operand, path: Path, wanted: Range | None) -> PictureMap | None:
    from twofold.cli.layer import keeps_brightness
    from twofold.cli.results import map_picture
    from twofold.files import ARRAY_SUFFIXES, write_array

    if path.suffix.lower() in ARRAY_SUFFIXES:
        write_array(path, y)
        return None
    mapped = map_picture(y, x, wanted, keeps_brightness(layer), path.suffix, layer.channels_last)
    write_array(path, mapped.picture)
    return mapped


def _report(layer: Layer, output: str | None, mapped: PictureMap | None, start: float) -> None:
    on_stderr = output is None  # stdout then carries the numbers
    say(sizes_line(layer.problem), error=on_stderr)
    if layer.plane_count > 1:
        planes = "channels" if layer.channels_last else "planes"
        say(f"the kernel went over each of {layer.plane_count} {planes} by itself", error=on_stderr)
    if mapped is not None:
        say(f"range {mapped}", error=on_stderr)
    done = f"wrote {output} in" if output is not None else "took"
    say(f"{done} {seconds_text(start)}", error=on_stderr)


def sizes_line(problem: Any) -> str:
    """Write the output size and its arithmetic on one line, once where all axes agree."""
    sums = [line.split(": ", 1)[1].rsplit(" = ", 1)[0] for line in problem.sums.split("\n")]
    text = sums[0] if len(set(sums)) == 1 else f"({', '.join(sums)})"
    return f"output ({', '.join(map(str, problem.out_size))}) = {text}"


def _summary(
    layer: Layer, x: Operand, y: Any, output: str | None, mapped: PictureMap | None, start: float
) -> dict[str, Any]:
    problem = layer.problem
    sums = dict(line.split(": ", 1) for line in problem.sums.split("\n"))
    fields: dict[str, Any] = {
        "problem": str(problem),
        "input_shape": x.array.shape,
        "kernel_shape": layer.weight.shape if layer.planes is None else layer.problem.geometry.kernel_size,
        "output_shape": layer.out_shape,
        "output_size": problem.out_size,
        "sums": sums,
        "dtype": layer.dtype.name,
        "output": output,
        "seconds": round(time.perf_counter() - start, 6),
    }
    if mapped is not None:
        fields["range"] = {"kind": mapped.kind, "black": mapped.low, "white": mapped.high, "remark": mapped.remark}
    return fields if output is not None else fields | {"values": y.tolist()}
