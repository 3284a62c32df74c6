"""Chapter 1: the two textbook examples, number by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from twofold import explain
from twofold.explain import Trace
from twofold.tour import html
from twofold.tour.chapter import Write
from twofold.tour.shown import Array, Shown
from twofold.tour.words import beside, grouped

__all__ = ["Textbook"]

_SECONDS = 1.8  # per step: long enough to read the sum
_GIFS = {"conv": "pictures/convolution.gif", "transposed": "pictures/transposed-convolution.gif"}
_STILLS = {"conv": "pictures/convolution.svg", "transposed": "pictures/transposed-convolution.svg"}


@dataclass(frozen=True, eq=False)
class Textbook:
    """A 3 x 3 input under a 2 x 2 kernel, and a 2 x 2 input that paints a 2 x 2 kernel.

    >>> Textbook.run().conv.y.tolist(), Textbook.run().transposed.y.tolist()
    ([[37, 47], [67, 77]], [[0, 0, 1], [0, 4, 6], [4, 12, 9]])
    """

    conv: Trace
    transposed: Trace
    title: str = "Two small examples"

    @classmethod
    def run(cls) -> Textbook:
        """Trace both."""
        square = np.arange(4).reshape(2, 2)
        conv = explain.conv2d(np.arange(1, 10).reshape(3, 3), [[1, 2], [3, 4]])
        return cls(conv, explain.conv_transpose2d(square, square))

    @property
    def same_pairs(self) -> bool:
        """Whether the two make the same multiplications, input and output cells exchanged."""
        return self.conv.taps.swapped() == self.transposed.taps

    def told(self) -> Sequence[str]:
        """Every step of both examples."""
        c, t = self.conv, self.transposed
        lines = ["Convolution: lay the kernel on the input, multiply cell by cell (weight*input), add.", ""]
        lines += ["  " + line for line in beside(("input", "kernel", "output"), (c.x, c.weight, c.y))] + [""]
        lines += [f"  output {_cell(i, c.y)}   {step.text}" for i, step in enumerate(c.steps)]
        lines += ["", "Transposed convolution: every input cell paints the whole kernel, times its own value;"]
        lines += ["where the paintings overlap, they add. The output begins as zeros; for N = 2 and F = 2 cells it is"]
        lines += [f"{_full_size(t)}.", ""]
        lines += ["  " + line for line in beside(("input", "kernel", "output"), (t.x, t.weight, t.y))] + [""]
        for i, step in enumerate(t.steps):
            lines.append(f"  input {_cell(i, t.x)} = {step.result} paints {step.text}")
        titles = [f"{value}*kernel" for value in t.x.ravel().tolist()]
        lines += ["", *("  " + line for line in beside([*titles, "their sum"], [*t.intermediates, t.y]))]
        return [*lines, "", f"Both make {grouped(len(c.taps))} multiplications, over the same pairs of cells."]

    def section(self) -> str:
        """Both examples side by side."""
        return (
            html.paragraph(
                "A convolution layer and a transposed convolution layer multiply the same cells with the same "
                "weights. They differ in the direction in which they are read."
            )
            + f'<div class="pair"><article>{self._conv()}</article><article>{self._transposed()}</article></div>'
            + html.paragraph(
                f"Both make {len(self.conv.taps)} multiplications, and they are the <em>same</em> "
                f"{len(self.conv.taps)} pairs of cells with input and output exchanged. This is what "
                "“transposed” means: write the convolution as a matrix, turn its rows into columns, "
                "and you have the other layer.",
                "insight",
            )
        )

    def _conv(self) -> str:
        c = self.conv
        steps = "".join(
            f"<li><span>{_cell(i, c.y)}</span> <code>{html.text(s.text)}</code></li>" for i, s in enumerate(c.steps)
        )
        row = (
            html.matrix(c.x, "input", "input")
            + '<span class="sign" role="img" aria-label="convolved with">⊛</span>'
            + html.matrix(c.weight, "kernel", "weight")
            + '<span class="sign">=</span>'
            + html.matrix(c.y, "output", "output")
        )
        return (
            "<h3>Convolution <small>gathers</small></h3>"
            + html.paragraph("Lay the kernel on the input. Multiply cell by cell, add, and write <em>one</em> number.")
            + f'<div class="equation">{row}</div>'
            + f'<ol class="steps">{steps}</ol>'
            + self._animation("conv", c, "The kernel slides over the input; each stop gives one output cell.")
        )

    def _transposed(self) -> str:
        t = self.transposed
        parts = []
        for i, (value, painted) in enumerate(zip(t.x.ravel().tolist(), t.intermediates, strict=True)):
            head = f"<span>{value}</span> · kernel"
            parts.append(('<span class="sign">+</span>' if i else "") + html.matrix(painted, "", "plain", head))
        total = '<span class="sign">=</span>' + html.matrix(t.y, "output", "output")
        size = _full_size(t)
        row = html.matrix(t.x, "input", "input") + html.matrix(t.weight, "kernel", "weight")
        return (
            "<h3>Transposed convolution <small>paints</small></h3>"
            + html.paragraph(
                "Every input cell paints the <em>whole</em> kernel, times its own value, and moves on by one cell. "
                "Overlapping paint adds up. The output begins as zeros; for N = 2 and F = 2 it is "
                f'<span class="nowrap">{html.text(size)}</span>.'
            )
            + f'<div class="equation">{row}</div>'
            + f'<div class="equation sum">{"".join(parts)}{total}</div>'
            + self._animation("transposed", t, "Each input cell adds its painting to the running sum.")
        )

    def _animation(self, which: str, trace: Trace, caption: str) -> str:
        scene = trace.scene(0)
        alt = "Animation. " + " ".join(step.aria + "." for step in trace.steps)
        return html.drawing(_GIFS[which], alt, caption, (scene.width, scene.height), still=_STILLS[which])

    def shown(self) -> Sequence[Shown]:
        """No photographs here."""
        return ()

    def files(self) -> Mapping[str, Write]:
        """An animation of each example, and a still picture of it."""
        traces = {"conv": self.conv, "transposed": self.transposed}
        saved: dict[str, Write] = {}
        for name, trace in traces.items():
            saved[_GIFS[name]] = partial(trace.save, seconds=_SECONDS)
            saved[_STILLS[name]] = trace.save
        return saved

    def arrays(self) -> Mapping[str, Array]:
        """What each input cell paints."""
        return {"textbook-intermediates": np.stack(list(self.transposed.intermediates))}

    def figures(self) -> dict[str, Any]:
        """Inputs, results, formulas."""
        return {
            name: {
                "problem": str(trace.problem),
                "input": trace.x.tolist(),
                "kernel": trace.weight.tolist(),
                "output": trace.y.tolist(),
                "steps": [step.text for step in trace.steps],
                "multiplications": len(trace.taps),
            }
            for name, trace in (("convolution", self.conv), ("transposed", self.transposed))
        } | {"same_pairs": self.same_pairs}


def _cell(index: int, array: Array) -> str:
    row, column = divmod(index, array.shape[1])
    return f"({row},{column})"


def _full_size(trace: Trace) -> str:
    n, f = trace.x.shape[0], trace.weight.shape[0]
    return f"(N+F-1) × (N+F-1) = {n + f - 1} × {n + f - 1}"
