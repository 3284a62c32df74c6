"""The options that `conv` and `conv-transpose` share, each with the help a stranger needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

__all__ = [
    "LAYER", "Axes", "Bias", "Channels", "Dilation", "Flip", "Groups", "Input", "InputText", "Json", "Kernel", "Layout",
    "Output", "OutputPadding", "OutputSize", "Padding", "PaddingMode", "Quiet", "Scale", "Stride",
]  # fmt: skip

# Headings in the help.
LAYER = "The layer (2 is for every axis; 2,1 or 2x1 is one number per axis)"
_FORM = "How to read the arrays"
_OUT = "Output"


def completing(*words: str) -> Callable[[str], list[str]]:
    """Return what completes these words in a shell.

    >>> completing("reflect", "replicate", "zeros")("re")
    ['reflect', 'replicate']
    """

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def problem_words(incomplete: str) -> list[str]:
    """Complete the words of a problem: operations, paddings, modes and dtypes; its sizes are numbers."""
    from twofold.geometry.layer import PADDING_WORDS
    from twofold.geometry.problem import DTYPES, OPERATIONS, PADDING_MODES

    return completing(*OPERATIONS, *PADDING_WORDS, *PADDING_MODES[1:], "flip", *DTYPES)(incomplete)


def complete_kernel(incomplete: str) -> list[str]:
    """Complete the names of filters."""
    from twofold.filters import NAMES

    return completing(*NAMES)(incomplete)


Input = Annotated[
    str | None,
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="A picture (.png .jpg .tif .webp) or an array (.npy .npz; of several in an .npz: FILE.npz:NAME).",
    ),
]
InputText = Annotated[
    str | None,
    typer.Option("--input", metavar="NUMBERS", help="The input as numbers instead: rows apart by ';', '1 2; 3 4'."),
]
Kernel = Annotated[
    str,
    typer.Option(
        "--kernel", "-k", metavar="KERNEL", show_default=False, autocompletion=complete_kernel,
        help="A filter by name (identity, box:5, gaussian:7:1.5, sharpen, sobel-x, sobel-y, laplacian, emboss, "
        "bilinear-up:2), a file (.npy .npz .txt), or numbers: '1 2; 3 4'.",
    ),
]  # fmt: skip
Bias = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", help="Added to every output: one number, one per output channel, or a .npy file.",
                 rich_help_panel=LAYER),
]  # fmt: skip
Stride = Annotated[
    str | None,
    typer.Option(metavar="N", help="Cells from one window to the next. Default 1.", rich_help_panel=LAYER),
]
Padding = Annotated[
    str | None,
    typer.Option(
        metavar="N|A:B|WORD", rich_help_panel=LAYER,
        autocompletion=completing("same", "same_lower", "valid", "causal"),
        help="Cells around the larger side: 1; 1,2; before and after as 1:2,0:1; or same, same_lower, valid, causal. "
        "Default 0.",
    ),
]  # fmt: skip
PaddingMode = Annotated[
    str | None,
    typer.Option(metavar="WORD", help="zeros, reflect, replicate or circular. Default zeros.", rich_help_panel=LAYER,
                 autocompletion=completing("zeros", "reflect", "replicate", "circular")),
]  # fmt: skip
Dilation = Annotated[
    str | None,
    typer.Option(metavar="N", help="Cells from one kernel tap to the next. Default 1.", rich_help_panel=LAYER),
]
OutputPadding = Annotated[
    str | None,
    typer.Option(metavar="N", rich_help_panel=LAYER,
                 help="Cells more at the end of the output, below stride or dilation. Default 0."),
]  # fmt: skip
OutputSize = Annotated[
    str | None,
    typer.Option(
        metavar="N", rich_help_panel=LAYER,
        help="The wanted size of the output instead, as 28 or 28x30: what --output-padding would have to give.",
    ),
]  # fmt: skip
Groups = Annotated[
    str | None,
    typer.Option(metavar="N", rich_help_panel=LAYER,
                 help="Groups of channels that do not mix; for kernels with channels. Default 1."),
]  # fmt: skip
Flip = Annotated[
    bool,
    typer.Option("--flip", metavar="", rich_help_panel=LAYER,
                 help="Turn the kernel by 180 degrees: the convolution of mathematics, not of neural networks."),
]  # fmt: skip
Layout = Annotated[
    str | None,
    typer.Option(metavar="WORD", rich_help_panel=_FORM,
                 autocompletion=completing("channels_first", "channels_last"),
                 help="Of an array: channels_first or channels_last. Default channels_first; a picture has its own."),
]  # fmt: skip
Accuracy = Annotated[
    str | None,
    typer.Option(metavar="WORD", rich_help_panel=_FORM,
                 autocompletion=completing("strict", "standard", "fast", "bf16"),
                 help="How exact: strict (direct sums only), standard, fast (error up to 2e-5 of the largest output) "
                 "or bf16 (float32 inputs rounded to bfloat16). Default standard."),
]  # fmt: skip
Channels = Annotated[
    bool,
    typer.Option(
        "--channels", metavar="", rich_help_panel=_FORM,
        help="The kernel must mix channels, and so have their axes as in torch. Without: a kernel of height and width "
        "goes over each channel by itself.",
    ),
]  # fmt: skip
Axes = Annotated[
    str | None,
    typer.Option(
        metavar="1|2|3", rich_help_panel=_FORM, autocompletion=completing("1", "2", "3"),
        help="Axes in space. Default: all axes of a kernel with 1 or 2, all but the first two of one with more.",
    ),
]  # fmt: skip
Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="FILE", rich_help_panel=_OUT,
        help="Where to write, in the format of the suffix: .npy .npz (exact), .png .jpg .tif .webp (8-bit). An "
        "existing file is replaced. Without: print the numbers.",
    ),
]  # fmt: skip
Scale = Annotated[
    str | None,
    typer.Option(
        "--range", metavar="auto|clip|LOW:HIGH", rich_help_panel=_OUT, autocompletion=completing("auto", "clip"),
        help="For pictures, which values become black and white. clip: 0 and 255, as in the input; auto: the least and "
        "the greatest. Default: clip for a picture and a kernel that keeps brightness (blur, sharpen), else auto.",
    ),
]  # fmt: skip
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", metavar="", help="Print nothing but the result.", rich_help_panel=_OUT),
]
Json = Annotated[
    bool,
    typer.Option("--json", metavar="", help="Print one JSON object for programs instead.", rich_help_panel=_OUT),
]
