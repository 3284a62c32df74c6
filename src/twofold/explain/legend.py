"""The legend of an animation: what the colours and textures of the cells stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from twofold.explain.glyphs import text_width
from twofold.explain.scene import FOCUS, INPUT, MARKED, MUTED, OUTPUT, PAPER, RULE, WEIGHT, Item, Rect, Scene, Text
from twofold.explain.texts import say

__all__ = ["NAMES", "legend", "with_legend"]

_SIDE, _SIZE, _GAP = 14.0, 12.0, 22.0
_LOOKS = {
    "input": (INPUT.fill, INPUT.edge, 1.0, None), "weight": (WEIGHT.fill, WEIGHT.edge, 1.0, "dots"),
    "output": (OUTPUT.fill, OUTPUT.edge, 1.0, None), "focus": (FOCUS.fill, FOCUS.edge, 3.0, None),
    "marked": (MARKED.fill, MARKED.edge, 2.0, None), "padding": (PAPER, RULE, 1.0, "hatch"),
}  # fmt: skip
NAMES = tuple(_LOOKS)


def legend(names: Sequence[str], x: float, y: float, width: float) -> tuple[list[Item], float]:
    """Return the items of a legend from (x, y), and its height; it goes on below where it is too wide.

    >>> items, height = legend(["input", "focus"], 0, 0, 500)
    >>> [item.text for item in items if isinstance(item, Text)], height
    (['input', 'this step'], 22.0)
    """
    items: list[Item] = []
    left, top = x, y
    for name in names:
        text = say(f"legend.{name}")
        wide = _SIDE + 6 + text_width(text, _SIZE)
        if left > x and left + wide > x + width:
            left, top = x, top + 22
        fill, edge, pen, pattern = _LOOKS[name]
        items.append(Rect(left, top + 1.5, _SIDE, _SIDE, fill, edge, pen, pattern))  # type: ignore[arg-type]
        items.append(Text(left + _SIDE + 6, top + 13, text, _SIZE, MUTED))
        left += wide + _GAP
    return items, float(top + 22 - y)


def with_legend(scenes: Sequence[Scene], names: Sequence[str]) -> list[Scene]:
    """Bring scenes to one size and put the same legend below each."""
    width, height = max(scene.width for scene in scenes), max(scene.height for scene in scenes)
    items, more = legend(names, 20, height - 6, width - 40)
    return [
        replace(scene, width=width, height=math.ceil(height + more + 6), items=(*scene.items, *items))
        for scene in scenes
    ]
