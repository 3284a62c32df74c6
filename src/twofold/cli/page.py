"""`twofold page`: the interactive page as one file, opened at a problem, at arrays or at a picture of the user's."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twofold.cli.console import say, seconds_text
from twofold.cli.explain import Bias, InputText, Kernel
from twofold.cli.options import completing, problem_words

if TYPE_CHECKING:
    from twofold.cli.operands import Operand

__all__ = ["page"]

SIDE = 256  # cells of a picture along one axis; a larger one is sampled
_VIEWS = ("filter", "transposed", "matrix", "phases", "overlap", "sizes", "field", "image", "gradient")

What = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PROBLEM|ARRAYS|IMAGE]", show_default=False, autocompletion=problem_words,
        help="A problem as for twofold explain; or a .npy, .npz or picture file as the input, and perhaps a second "
        "array file as the kernel. Without: the page's first example.",
    ),
]  # fmt: skip
View = Annotated[
    str | None,
    typer.Option(metavar="VIEW", autocompletion=completing(*_VIEWS), help=f"What to open: {', '.join(_VIEWS)}."),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the page; it is one .html file.")
]
Open = Annotated[bool, typer.Option("--open", metavar="", help="Open it in the browser.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Do not report the file.")]


def page(
    what: What = None,
    input_text: InputText = None,
    kernel: Kernel = None,
    bias: Bias = None,
    view: View = None,
    output: Output = Path("page.html"),
    open_it: Open = False,
    quiet: Quiet = False,
) -> None:
    """Write the interactive page: both operations with your own numbers, offline, in one file.

    Every state of the page is a link; nothing is loaded from anywhere.

    Examples:
      twofold page --open
      twofold page 'conv_transpose i2x2 k3x3 s2' --input '1 2; 3 4' -o steps.html
      twofold page photo.png --kernel sobel-x --open
    """
    from twofold.cli.results import check_output
    from twofold.errors import GeometryError
    from twofold.explain.page import html
    from twofold.files import write_text

    start = time.perf_counter()
    check_output(output, (".html", ".htm"))
    if view is not None and view not in _VIEWS:
        raise GeometryError(f"--view takes {', '.join(_VIEWS)}, not {view[:40]!r}", repair="--view filter")
    state, remark = _state(what or [], input_text, kernel, bias, view)
    write_text(output, html(state))
    if not quiet:
        say(f"wrote {output}{remark}, in {seconds_text(start)}")
    if open_it:
        import webbrowser

        webbrowser.open(output.resolve().as_uri())


def _state(
    what: list[str], input_text: str | None, kernel: str | None, bias: str | None, view: str | None
) -> tuple[dict[str, Any] | None, str]:
    from twofold.cli.explain import _trace
    from twofold.errors import GeometryError

    if what and _is_file(what[0]):
        if len(what) > 2 or (len(what) == 2 and kernel is not None) or input_text is not None:
            rule = f"{what[0][:60]!r} is the input, so at most a kernel may follow, once"
            raise GeometryError(rule, repair=f"twofold page {what[0][:60]} --kernel sobel-x")
        return _of_file(what[0], what[1] if len(what) == 2 else kernel, bias, view)
    if not what:
        if input_text is None and kernel is None and bias is None:
            return (None if view is None else {"problem": "conv i3x3 k2x2", "view": view}), ""
        what = [_guessed(input_text, kernel)]
    problem = " ".join(what)
    trace = _trace(problem, input_text, kernel, bias)
    return trace.state() | ({} if view is None else {"view": view}), ""


def _is_file(text: str) -> bool:
    from twofold.files import ARRAY_SUFFIXES, PICTURE_SUFFIXES

    name = text.split(":")[0]
    return Path(name).suffix.lower() in (*ARRAY_SUFFIXES, *PICTURE_SUFFIXES)


def _guessed(input_text: str | None, kernel: str | None) -> str:
    # A problem of the numbers that were typed, of two axes; what is not given is 5x5, and a kernel that fits.
    from twofold.cli import operands

    size: tuple[int, ...] = (5, 5)
    taps: tuple[int, ...] = (3, 3)
    if kernel is not None and kernel.strip().lower() != "digits":
        taps = operands.read_kernel(kernel).array.shape[-2:]
    if input_text is not None:
        size = operands.read_numbers("--input", input_text).shape[-2:]
        taps = tuple(map(min, zip(size, taps, strict=True))) if kernel in (None, "digits") else taps
    return f"conv i{'x'.join(map(str, size))} k{'x'.join(map(str, taps))}"


def _of_file(name: str, kernel: str | None, bias: str | None, view: str | None) -> tuple[dict[str, Any], str]:
    from twofold import explain
    from twofold.cli import operands

    x = operands.read_input(name, None)
    array, remark = _planes(x)
    weight = operands.read_kernel(kernel or "sobel-x").array
    # A kernel of as many axes as the input has places goes over every channel alike.
    rank = array.ndim - 1
    if weight.ndim == rank:
        channels = array.shape[0]
        problem = f"conv ci{channels} co{channels} g{channels} "
        weight = weight[None, None].repeat(channels, axis=0)
    else:
        problem = f"conv ci{array.shape[0]} co{weight.shape[0]} g{max(array.shape[0] // max(weight.shape[1], 1), 1)} "
    problem += f"i{'x'.join(map(str, array.shape[1:]))} k{'x'.join(map(str, weight.shape[2:]))}"
    biases = None if bias is None else operands.read_bias(bias)
    trace = explain.problem(problem, array, weight, biases)
    state = trace.state() | {"view": view or ("image" if x.source == "picture" else "filter"), "image": "input"}
    return state, remark


def _planes(x: Operand) -> tuple[Any, str]:
    # (channels, *size); a picture in grey and sampled, since a page holds every number as text.
    from twofold.errors import GeometryError

    array, remark = x.array, ""
    if x.source == "picture":
        if array.ndim == 3:  # grey and alpha, or red, green, blue, perhaps alpha
            array = array[..., :3].mean(axis=-1).round() if array.shape[-1] > 2 else array[..., 0]
        step = max(math.ceil(max(array.shape) / SIDE), 1)
        if step > 1:
            array = array[::step, ::step]
            remark = f", the picture in grey and sampled to {array.shape[1]}x{array.shape[0]}"
        return array[None], remark
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if not 1 <= array.ndim <= 4 or not array.size:
        raise GeometryError(f"{x.name} of shape {x.array.shape} is no input of a page", repair="one sample of it")
    if array.size > 4 * SIDE * SIDE:
        raise GeometryError(
            f"{x.name} holds {array.size} numbers, and a page holds at most {4 * SIDE * SIDE}", repair="a part of it"
        )
    return (array if array.ndim > 2 else array[None]), remark
