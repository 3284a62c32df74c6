"""`twofold explain`: every multiplication of a problem, as text, as a picture or as an animation."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from twofold.cli.console import print_text, say, seconds_text, speaks_unicode
from twofold.cli.options import completing, problem_words

if TYPE_CHECKING:
    import numpy.typing as npt

    from twofold.explain import Trace

    Array = npt.NDArray[Any]

__all__ = ["completed", "explain"]

_NUMBERS, _SHOWN = "The numbers", "What to show, and where"

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="PROBLEM", show_default=False, autocompletion=problem_words,
        help="The operation and its sizes, as in 'conv i5x5 k3x3 s2 p1': conv or conv_transpose; i input, k kernel, "
        "s stride, p padding, d dilation, op output_padding, ci and co channels, g groups, n batch.",
    ),
]  # fmt: skip
InputText = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="NUMBERS", rich_help_panel=_NUMBERS,
        help="The input: '1 2 3; 4 5 6; 7 8 9', channels or slices parted by |, or a .npy, .npz or "
        "picture file (in grey). Default: 1, 2, 3, ... row by row.",
    ),
]  # fmt: skip
Kernel = Annotated[
    str | None,
    typer.Option(
        "--kernel", "-k", metavar="KERNEL", rich_help_panel=_NUMBERS,
        help="Numbers, a file or a filter's name as for twofold conv; or the word digits: 1, 10, 100, ..., so that "
        "each output spells the inputs it is made of. Default: 1, 2, 3, ...",
    ),
]  # fmt: skip
Bias = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", rich_help_panel=_NUMBERS, help="One number per output channel. Default: none."),
]  # fmt: skip
StepNumber = Annotated[
    int | None,
    typer.Option(
        metavar="N", rich_help_panel=_SHOWN, help="One step only, counted from 0; without it all, or the overview."
    ),
]  # fmt: skip
View = Annotated[
    str | None,
    typer.Option(
        metavar="VIEW", rich_help_panel=_SHOWN, autocompletion=completing(
            "filter", "transposed", "matrix", "phases", "overlap", "sizes", "field", "image", "gradient"
        ),
        help="What to show: matrix, phases, overlap, sizes, field, image, gradient. Default: filter for conv, "
        "transposed for conv_transpose. field and overlap take a stack: 'conv i32 k3 p1; k3 s2 p1; k3 s2 p1'.",
    ),
]  # fmt: skip
Tab = Annotated[
    str | None,
    typer.Option(
        metavar="TAB", rich_help_panel=_SHOWN, autocompletion=completing(
            "paint", "gather", "zero-insert", "transpose", "receptive", "projective", "input", "weight"
        ),
        help="Of conv_transpose: paint what each input adds (default), gather each output's products, or zero-insert. "
        "Of matrix: transpose; of field: receptive, projective; of gradient: input, weight.",
    ),
]  # fmt: skip
Full = Annotated[
    bool,
    typer.Option("--full", metavar="", rich_help_panel=_SHOWN, help="Print all steps and terms, however many."),
]  # fmt: skip
Seconds = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0.02, max=60, rich_help_panel=_SHOWN, help="How long an animation shows each step."
    ),
]  # fmt: skip
Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="FILE", rich_help_panel=_SHOWN,
        help="Write a file in the format of its suffix: .gif .apng (a frame per step), .svg .png (one picture), "
        ".html (the interactive page), .txt, .json. Without: print text.",
    ),
]  # fmt: skip
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", metavar="", rich_help_panel=_SHOWN, help="Do not report the file.")
]  # fmt: skip
Json = Annotated[
    bool, typer.Option("--json", metavar="", rich_help_panel=_SHOWN, help="Print the trace as JSON, for programs.")
]  # fmt: skip


def explain(
    problem: Words,
    input_text: InputText = None,
    kernel: Kernel = None,
    bias: Bias = None,
    step: StepNumber = None,
    view: View = None,
    tab: Tab = None,
    full: Full = False,
    seconds: Seconds = 0.8,
    output: Output = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Show every step of a convolution or a transposed convolution, with its numbers.

    Numbers that are not given count 1, 2, 3, ... row by row; sizes that are
    not given are those of the numbers.

    Examples:
      twofold explain 'conv i3x3 k2x2'
      twofold explain conv --input '1 2 3; 4 5 6; 7 8 9' --kernel '1 2; 3 4'
      twofold explain 'conv_transpose i2x2 k3x3 s2' -o steps.gif
      twofold explain 'conv i5x5 k3x3 p1' --kernel digits --step 7 -o step.svg
      twofold explain 'conv_transpose i4x4 k3x3 s2' --view overlap
      twofold explain 'conv i32 k3 p1; k3 s2 p1; k3 s2 p1' --view field
      twofold explain conv --input photo.png -k sobel-x --view image -o maps.png
    """
    start = time.perf_counter()
    if output is not None:
        from twofold.cli.results import check_output
        from twofold.explain.save import SUFFIXES

        check_output(Path(output), SUFFIXES)
        _check_step(step, Path(output).suffix.lower())
    trace = _trace(" ".join(problem), input_text, kernel, bias)
    trace = trace if view is None and tab is None else _seen(trace, view, tab)
    if output is not None:
        held = trace.save(output, step=step, seconds=seconds)
        if not quiet and not as_json:
            say(f"wrote {output}, {held}, in {seconds_text(start)}")
    if as_json:
        say(json.dumps(trace.describe(step)) if trace.derived else trace.to_json())
    elif output is None:
        print_text(_text(trace, step, full))


def _trace(problem: str, input_text: str | None, kernel: str | None, bias: str | None) -> Trace:
    from twofold import explain as door
    from twofold.cli import operands
    from twofold.errors import UnsupportedError
    from twofold.geometry import Problem

    weight: Any = kernel
    if kernel is not None and kernel.strip().lower() != "digits":
        weight = operands.read_kernel(kernel).array
    elif kernel is not None:
        weight = "digits"
    x = None if input_text is None else operands.read_numbers("--input", input_text)
    problem = completed(problem, x, weight if isinstance(weight, np.ndarray) else None)
    if Problem.parse(problem.split(";")[0]).op == "conv_weight_gradient":
        raise UnsupportedError("a weight gradient has no steps of its own", repair="conv, whose weight it is of")
    return door.problem(problem, x, weight, None if bias is None else operands.read_bias(bias))


def completed(problem: str, x: Array | None, weight: Array | None) -> str:
    """Fill in the sizes that a problem leaves out and that plain arrays, of one channel, say.

    >>> completed("conv s2", np.ones((5, 5)), np.ones((3, 3))), completed("conv k2", np.ones((1, 4)), None)
    ('conv i5x5 k3x3 s2', 'conv i4 k2')
    """
    first, *rest = problem.split(";")
    words = first.split()
    known = {word[0]: word.count("x") + 1 for word in words if word[:1] in "ikspd" and word[1:2].isdigit()}
    given = [
        (letter, array) for letter, array in (("i", x), ("k", weight)) if letter not in known and array is not None
    ]
    shapes = [array.shape for array in (x, weight) if array is not None]
    if (
        not given
        or any(word[:2] in ("ci", "co") and word[2:].isdigit() for word in words)
        or (x is None and "i" not in known)
    ):
        return problem
    # A row of numbers is one axis, unless something says that there are more.
    flat = all(len(shape) == 1 or (len(shape) == 2 and shape[0] == 1) for shape in shapes)
    rank = 1 if flat and max(known.values(), default=1) == 1 else max(map(len, shapes))
    sizes = [letter + "x".join(map(str, array.shape[-rank:])) for letter, array in given if array.size]
    at = 1 if words[:1] and words[0].startswith("conv") else 0
    return ";".join([" ".join([*words[:at], *sizes, *words[at:]]), *rest])


def _check_step(step: int | None, suffix: str) -> None:
    from twofold.errors import GeometryError

    if step is not None and suffix not in (".svg", ".png", ".html"):
        rule = f"--step chooses the step of a still picture, and a {suffix} file holds all"
        raise GeometryError(rule, repair="-o FILE.svg, -o FILE.png, or no --step")


def _seen(trace: Trace, view: str | None, tab: str | None) -> Trace:
    from twofold.errors import GeometryError
    from twofold.explain.views import TABS, VIEWS

    if view is not None and view not in VIEWS:
        raise GeometryError(f"--view takes {', '.join(VIEWS)}, not {view[:40]!r}", repair="--view matrix")
    if view is None and trace.problem.op == "conv":
        raise GeometryError("--tab chooses how the steps of conv_transpose are read; those of conv have one way only",
                            repair="no --tab")  # fmt: skip
    tabs = TABS.get(view or "transposed", ())
    if tab is not None and tabs and tab not in tabs:
        names = ", ".join(tabs[:-1]) + f" or {tabs[-1]}"
        raise GeometryError(f"--tab takes {names}, not {tab[:40]!r}", repair=f"--tab {tabs[1]}")
    return trace.view(view, tab)


def _text(trace: Trace, step: int | None, full: bool) -> str:
    if step is None:
        text = trace.text(full=full, ascii=not speaks_unicode())
        return text.replace("full=True prints all", "--full prints all")
    from twofold.explain.steps import check_step

    shown = trace.steps[check_step(len(trace.steps), step)]
    return f"{shown.formula(full)}\n{shown.aria}"
