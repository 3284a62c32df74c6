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
    trace = _trace(" ".join(what), input_text, kernel, bias)
    trace = trace if view is None else trace.view(view)
    return trace.state(), ""


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
    from twofold.errors import GeometryError

    x = operands.read_input(name, None)
    array, remark = _planes(x)
    weight = _kernel(kernel, array)
    weight = weight[0] if array.ndim == 1 and weight.ndim == 2 and len(weight) == 1 else weight
    if weight.ndim == array.ndim:  # one channel
        array, weight = array[None], weight[None, None]
    elif weight.ndim == array.ndim - 1:  # one kernel, that goes over every channel alike
        weight = weight[None, None].repeat(array.shape[0], axis=0)
    elif weight.ndim != array.ndim + 1:
        rule = f"a kernel of shape {weight.shape} does not fit an input of shape {x.array.shape}"
        raise GeometryError(rule, repair="a kernel of as many axes, or (out, in, *kernel_size)")
    groups = max(array.shape[0] // max(weight.shape[1], 1), 1)
    problem = f"conv ci{array.shape[0]} co{weight.shape[0]} g{groups} "
    problem += f"i{'x'.join(map(str, array.shape[1:]))} k{'x'.join(map(str, weight.shape[2:]))}"
    biases = None if bias is None else operands.read_bias(bias)
    trace = explain.problem(problem, array, weight, biases)
    state = trace.view(view or ("image" if x.source == "picture" else "filter")).state() | {"image": "input"}
    return state, remark


def _kernel(text: str | None, array: Any) -> Any:
    # Without a wish: an edge filter where there is room for it, else 1, 2, 3, …
    import numpy as np

    from twofold.cli import operands

    if text is None and array.ndim > 1 and min(array.shape[-2:]) > 2:
        text = "sobel-x"
    if text is not None and text.strip().lower() != "digits":
        return operands.read_kernel(text).array
    taps = tuple(min(size, 3) for size in array.shape[-min(array.ndim, 2) :])
    count = math.prod(taps)
    return (np.arange(1, count + 1) if text is None else 10 ** np.arange(count)).reshape(taps)


def _planes(x: Operand) -> tuple[Any, str]:
    # A picture in grey and sampled, since a page holds every number as text; an array without leading axes of 1.
    from twofold.cli.operands import grey
    from twofold.errors import GeometryError
    from twofold.explain.limits import check_held

    if x.source == "picture":
        return grey(x)
    array = x.array
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if not 1 <= array.ndim <= 4 or not array.size:
        raise GeometryError(f"{x.name} of shape {x.array.shape} is no input of a page", repair="one sample of it")
    check_held(x.name, array.size)
    return array, ""
