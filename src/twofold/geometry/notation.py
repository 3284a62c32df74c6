"""The notation of problems: the string that names one operation with all its sizes.

    conv_transpose n1 ci256 co128 i16x16 k4x4 s2x2 p1x1 f32

The operation comes first (`conv` is the default), then fields in any order; a single number stands for every axis:

    n  batch             i  input size     s  stride             op  output_padding
    ci in_channels       k  kernel_size    p  padding, a:b pair  o   output size
    co out_channels      g  groups         d  dilation
    same same_lower valid causal    padding in a word; resolved to numbers at once
    reflect replicate circular      padding mode       flip  true convolution        nhwc  channels last
    f32 f64 f16 bf16 c64 c128 int8 … uint64 bool       dtype, f32 if none is named

`write` prints the operation, `n ci co i k`, of the rest what is not default, and the dtype last;
what `read` makes of it is the same problem again.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from twofold.errors import GeometryError
from twofold.geometry.layer import PADDING_WORDS

if TYPE_CHECKING:
    from twofold.geometry.problem import Problem

__all__ = ["DTYPES", "LAYOUTS", "OPERATIONS", "PADDING_MODES", "Layout", "Operation", "PaddingMode", "read", "write"]

Operation = Literal["conv", "conv_transpose", "conv_weight_gradient"]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Layout = Literal["channels_first", "channels_last"]

OPERATIONS = ("conv", "conv_transpose", "conv_weight_gradient")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
LAYOUTS = ("channels_first", "channels_last")
DTYPES = {  # the word in a problem's string -> NumPy's (and ml_dtypes') name
    "f32": "float32",
    "f64": "float64",
    "f16": "float16",
    "bf16": "bfloat16",
    "c64": "complex64",
    "c128": "complex128",
    **{f"{kind}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    "bool": "bool",
}

_FIELD = re.compile(r"(op|ci|co|[nikspdgo])((?:-?[0-9]+(?::-?[0-9]+)?)(?:x-?[0-9]+(?::-?[0-9]+)?)*)")
_MAX_TEXT = 100_000  # characters
_MAX_DIGITS = 1000  # of one number; `Axis` takes no more

_Entry = int | tuple[int, int]


def read(text: str) -> dict[str, Any]:
    """Return the arguments of `Problem.of` that a problem's string stands for.

    raises  GeometryError naming the field that cannot be

    >>> read("conv i5x6 k3 s2")["stride"]
    [2, 2]
    """
    op, fields, words = _fields(text)
    for key, meaning in (("i", "input size"), ("k", "kernel_size")):
        if key not in fields:
            raise GeometryError(f"a problem needs {key} ({meaning}), which is missing in {text!r}", repair=f"{key}3x3")
    rank = max(len(entries) for entries in fields.values())
    values = {key: _spread(key, entries, rank) for key, entries in fields.items()}
    single = {key: cast(int, values[key][0]) for key in ("n", "ci", "co", "g") if key in values}
    if "p" in values and "padding" in words:
        raise GeometryError(f"p and '{words['padding']}' both choose the padding", repair="only one of them")
    return {
        "op": op,
        "in_size": values["i"],
        "kernel_size": values["k"],
        "in_channels": single.get("ci", 1),
        "out_channels": single.get("co", 1),
        "batch": single.get("n", 1),
        "groups": single.get("g", 1),
        "stride": values.get("s", 1),
        "dilation": values.get("d", 1),
        "padding": words.get("padding", values.get("p", 0)),
        "output_padding": values.get("op", 0),
        "output_size": values.get("o"),
        "flip": "flip" in words,
        "padding_mode": words.get("mode", "zeros"),
        "layout": "channels_last" if "nhwc" in words else "channels_first",
        "dtype": DTYPES[words.get("dtype", "f32")],
    }


def write(problem: Problem) -> str:
    """Return the string of a problem, defaults left out."""
    layer, axes = problem.geometry, problem.geometry.axes
    pads = [f"{a.pad_before}" if a.pad_before == a.pad_after else f"{a.pad_before}:{a.pad_after}" for a in axes]
    is_transposed, is_gradient = problem.op == "conv_transpose", problem.op == "conv_weight_gradient"
    is_chosen = is_gradient and layer.coarse_sizes(problem.fine_size) != problem.coarse_size
    fields = [problem.op, f"n{problem.batch}", f"ci{problem.in_channels}", f"co{problem.out_channels}"]
    fields += ["i" + _joined(problem.in_size), "k" + _joined(layer.kernel_size)]
    fields += _unless(1, "s", [axis.stride for axis in axes])
    fields += _unless("0", "p", pads)
    fields += _unless(1, "d", [axis.dilation for axis in axes])
    fields += _unless(0, "op", problem.output_padding if is_transposed else [])
    fields += _unless(None, "o", problem.coarse_size if is_chosen else [])
    fields += _unless(1, "g", [layer.groups])
    words = {problem.padding_mode: problem.padding_mode != "zeros", "flip": problem.flip}
    words["nhwc"] = problem.layout == "channels_last"
    fields += [word for word, is_said in words.items() if is_said]
    return " ".join([*fields, next(word for word, name in DTYPES.items() if name == problem.dtype)])


def _unless(default: object, key: str, entries: Sequence[object]) -> list[str]:
    return [key + _joined(entries)] if any(entry != default for entry in entries) else []


def _fields(text: str) -> tuple[str, dict[str, list[_Entry]], dict[str, str]]:
    if not isinstance(text, str):
        raise GeometryError(f"a problem is a string, not {type(text).__name__}", repair="'conv i5x5 k3x3'")
    if len(text) > _MAX_TEXT:
        raise GeometryError(f"a problem has at most {_MAX_TEXT} characters, not {len(text)}")
    tokens = text.split()
    op = tokens.pop(0) if tokens and tokens[0] in OPERATIONS else "conv"
    fields: dict[str, list[_Entry]] = {}
    words: dict[str, str] = {}
    for token in tokens:
        kind = _word_kind(token)
        match = None if kind else _FIELD.fullmatch(token)
        if kind is None and match is None:
            raise _unknown(token)
        key = kind or cast(re.Match[str], match)[1]
        if key in fields or key in words:
            raise GeometryError(f"{key} appears twice in a problem, the second time as {token!r}", repair="one of them")
        if kind:
            words[kind] = token
        else:
            fields[key] = [_entry(key, entry) for entry in cast(re.Match[str], match)[2].split("x")]
    return op, fields, words


def _word_kind(token: str) -> str | None:
    kinds = (("padding", PADDING_WORDS), ("mode", PADDING_MODES), ("flip", ("flip",)), ("nhwc", ("nhwc",)))
    return next((kind for kind, words in (*kinds, ("dtype", tuple(DTYPES))) if token in words), None)


def _unknown(token: str) -> GeometryError:
    shown = token if len(token) <= 40 else token[:37] + "..."
    words = (*OPERATIONS, *PADDING_WORDS, *PADDING_MODES, *DTYPES, "flip", "nhwc")
    near = difflib.get_close_matches(token[:40], words, n=1)
    rule = f"{shown!r} is no field of a problem: n ci co i k s p d op o g with numbers such as i5x5, or a word"
    if token in OPERATIONS:
        return GeometryError(f"the operation {shown!r} must come first in a problem")
    return GeometryError(rule, repair=near[0] if near else "conv n1 ci1 co1 i5x5 k3x3 s2 p1 f32")


def _entry(key: str, text: str) -> _Entry:
    if max(len(number) for number in text.split(":")) > _MAX_DIGITS:
        raise GeometryError(f"{key} has more than {_MAX_DIGITS} digits, which is no size", repair=f"{key}3")
    if ":" in text and key != "p":
        raise GeometryError(f"only padding takes a before:after pair, not {key}{text}", repair="p1:2")
    if ":" not in text:
        return int(text)
    before, after = text.split(":")
    return int(before), int(after)


def _spread(key: str, entries: list[_Entry], rank: int) -> list[_Entry]:
    if key in ("n", "ci", "co", "g"):
        if len(entries) != 1:
            raise GeometryError(f"{key} is one number, not {len(entries)}", repair=f"{key}{entries[0]}")
        return entries
    if len(entries) not in (1, rank):
        raise GeometryError(
            f"{key} has {len(entries)} entries, but the problem has {rank} spatial axes", repair=f"{key}{entries[0]}"
        )
    return entries * rank if len(entries) == 1 else entries


def _joined(entries: Sequence[object]) -> str:
    return "x".join(str(entry) for entry in entries)
