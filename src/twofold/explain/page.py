"""The page: one HTML file that shows a trace offline, with its script, its texts and whatever state it is given.

The file is built from web/ and committed (`make page`). The state is the object that also stands in the page's address:

    {"problem": "conv i3x3 k2x2", "x": [[1, 2, 3], …], "weight": …, "bias": …, "view": "filter", "tab": …, "step": 0}

All keys but `problem` may be missing. Numbers that JSON has no words for are strings: "nan", "inf", "-inf", integers
beyond 2^53, and complex numbers as "(1-2j)".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from twofold.explain.numbers import json_number

__all__ = ["html", "plain", "widget_source"]

_STATE = '<script type="application/json" id="state">null</script>'
_EXACT = 2**53


def html(state: Mapping[str, Any] | None = None) -> str:
    """Return the page as one string, opened at a state; without one it shows its first example.

    >>> page = html({"problem": "conv i3 k2", "x": [1, 2, float("nan")]})
    >>> '{"problem":"conv i3 k2","x":[1,2,"nan"]}' in page
    True
    """
    page = _bundle("page.html")
    if state is None:
        return page
    text = json.dumps(plain(dict(state)), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # Inside a script element only "<" could end it or open a comment; everything else is JSON already.
    return page.replace(_STATE, _STATE.replace("null", text.replace("<", "\\u003c"), 1), 1)


def plain(value: Any) -> Any:
    """Return arrays and numbers as the lists, numbers and strings that JSON holds without loss.

    >>> plain({"x": (1, 2**60, -float("inf"), 1 - 2j)})
    {'x': [1, '1152921504606846976', '-inf', '(1-2j)']}
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _EXACT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else json_number(value).strip('"')
    if isinstance(value, complex):
        return json_number(value).strip('"')
    raise TypeError(f"the state of a page holds numbers, texts and lists, not {type(value).__name__}")


def widget_source() -> str:
    """Return the page as a module for anywidget: `render({model, el})`, with the traits `state` and `selection`."""
    return _bundle("widget.js")


@cache
def _bundle(name: str) -> str:
    return files("twofold.explain").joinpath(name).read_text(encoding="utf-8")
