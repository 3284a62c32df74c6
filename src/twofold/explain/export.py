"""A trace as JSON: the same bytes from Python and from the page, and from every run.

    problem, x, weight, bias, y   the string, and nested lists of all axes: (batch, channels, *size); bias may be null
    count                         steps of the trace
    steps, aria                   the texts of the first `STEPS` steps
    gathered                      those of the first `STEPS` output cells of a transposed convolution, else null
    taps                          {"out", "inp", "weight"} if there are at most `TAPS` multiplications, else null

No spaces, this order of keys, numbers as `numbers.json_number` writes them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from twofold.analysis.taps import count
from twofold.explain.arithmetic import Array
from twofold.explain.limits import NUMBERS, check_written
from twofold.explain.numbers import json_number

if TYPE_CHECKING:
    from twofold.explain.trace import Trace

__all__ = ["STEPS", "TAPS", "to_json"]

STEPS = 1024
TAPS = 4096


def to_json(trace: Trace) -> str:
    """Write a trace as JSON.

    >>> from twofold import explain
    >>> print(to_json(explain.conv1d([1, 2, 3], [1, 10])))
    {"problem":"conv n1 ci1 co1 i3 k2 int64","x":[[[1,2,3]]],"weight":[[[1,10]]],"bias":null,"y":[[[21,32]]],...
    """
    problem = trace.problem
    numbers = trace.x.size + trace.weight.size + math.prod(problem.result_shape)
    steps = min(len(trace.steps), STEPS)
    check_written("the JSON", steps, trace.terms, numbers, 2 * NUMBERS, "text(), or a picture")
    first = trace.steps[:STEPS]
    transposed = problem.op == "conv_transpose"
    fields = {
        "problem": _text(str(problem)),
        "x": _nested(trace.x.reshape(trace.in_shape)),
        "weight": _nested(trace.weight.reshape(problem.weight_shape)),
        "bias": "null" if trace.bias is None else _nested(trace.bias),
        "y": _nested(trace.y.reshape(problem.result_shape)),
        "count": str(len(trace.steps)),
        "steps": _list(_text(step.text) for step in first),
        "aria": _list(_text(step.aria) for step in first),
        "gathered": _list(_text(step.text) for step in trace.gathered[:STEPS]) if transposed else "null",
        "taps": _taps(trace) if count(problem) <= TAPS else "null",
    }
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


def _taps(trace: Trace) -> str:
    columns = ((name, getattr(trace.taps, name).tolist()) for name in ("out", "inp", "weight"))
    return "{" + ",".join(f'"{name}":{_list(map(str, column))}' for name, column in columns) + "}"


def _nested(array: Array) -> str:
    if array.ndim == 1:
        return _list(json_number(value) for value in array.tolist())
    return _list(_nested(part) for part in array)


def _list(parts: Iterable[str]) -> str:
    return "[" + ",".join(parts) + "]"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)
