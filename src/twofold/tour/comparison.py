"""Chapter 6: the two layers point by point, with the figures of this run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twofold.analysis.taps import count
from twofold.functional import conv2d, conv_transpose2d
from twofold.geometry import Problem
from twofold.tour import html
from twofold.tour.chapter import Write
from twofold.tour.picture import Photograph
from twofold.tour.shown import Array, Shown
from twofold.tour.words import columns, grouped, spread

__all__ = ["Comparison"]

_CHANNELS = 8  # feature maps of the layer that is measured
_REPEATS = 3
_HEAD = ("", "convolution layer", "transposed convolution layer")


@dataclass(frozen=True, eq=False)
class Comparison:
    """One layer of 8 feature maps, 3 x 3, stride 2, run forwards and transposed on the picture's own size."""

    problems: tuple[Problem, Problem]
    seconds: tuple[float, float]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]  # of the picture, of the feature maps
    title: str = "Point by point"

    @classmethod
    def run(cls, photo: Photograph) -> Comparison:
        """Run both, three times each; the best time counts."""
        weight = np.random.default_rng(0).normal(size=(_CHANNELS, len(photo.pixels), 3, 3)).astype(np.float32)
        maps, conv_seconds = _timed(lambda: conv2d(photo.pixels, weight, stride=2, padding=1))
        back, back_seconds = _timed(lambda: conv_transpose2d(maps, weight, stride=2, padding=1, output_size=photo.size))
        channels: dict[str, Any] = {"in_channels": len(photo.pixels), "out_channels": _CHANNELS}
        problem = Problem.of("conv", photo.size, (3, 3), stride=2, padding=1, **channels)
        shapes = tuple(map(int, back.shape)), tuple(map(int, maps.shape))
        return cls((problem, problem.adjoint()), (conv_seconds, back_seconds), shapes)

    @property
    def multiplications(self) -> tuple[int, int]:
        """Multiplications that really happen, padding left out; the same number both ways."""
        return count(self.problems[0]), count(self.problems[1])

    @property
    def zero_insertion(self) -> int:
        """Multiplications of the transposed layer if zeros are put between its inputs and a convolution follows."""
        return math.prod(self.problems[0].fine_size) * math.prod(self.problems[0].weight_shape)

    @property
    def memory(self) -> int:
        """Bytes of input, weight and output in float32: the same both ways."""
        return 4 * (math.prod(self.shapes[0]) + math.prod(self.shapes[1]) + math.prod(self.problems[0].weight_shape))

    def rows(self) -> list[tuple[str, str, str]]:
        """The comparison, one point per row."""
        return [*self._meaning(), *self._measured(), *self._judged()]

    def _meaning(self) -> list[tuple[str, str, str]]:
        conv, back = self.problems
        weight = spread(conv.weight_shape)
        return [
            ("one step", "gathers: one output cell = sum of weight · input under the kernel",
             "paints: one input cell adds value · kernel to the output"),
            ("what goes in", f"the large side, here the picture: {spread(self.shapes[0])}",
             f"the small side, here feature maps: {spread(self.shapes[1])}"),
            ("what comes out", f"the small side: {spread(self.shapes[1])}",
             f"the large side: {spread(self.shapes[0])}"),
            ("size formula", "floor((n + 2p - d(k-1) - 1) / s) + 1", "(n-1)s - 2p + d(k-1) + output_padding + 1"),
            ("height here", _sum(conv, 0), _sum(back, 0)),
            ("width here", _sum(conv, 1), _sum(back, 1)),
            ("weight shape", f"(out, in, kernel) = {weight}", f"(in, out, kernel) = {weight}: the same array"),
            ("as a matrix", "C: a row per output cell, a column per input cell",
             "Cᵀ: the same numbers, rows and columns exchanged"),
            ("its gradient by the input", "the transposed convolution", "the convolution"),
        ]  # fmt: skip

    def _measured(self) -> list[tuple[str, str, str]]:
        forwards, backwards = self.multiplications
        inserted = f"; {grouped(self.zero_insertion)} if zeros were put between the inputs"
        megabytes = f"{self.memory / 1e6:.2f} MB for input, weight and output"
        times = [f"{1000 * seconds:.1f} ms, the best of {_REPEATS} runs on this machine" for seconds in self.seconds]
        return [
            ("multiplications here", grouped(forwards), grouped(backwards) + inserted),
            ("time here", times[0], times[1]),
            ("memory here", megabytes, megabytes),
        ]

    def _judged(self) -> list[tuple[str, str, str]]:
        return [
            ("used for", "finding features, shrinking: classifiers, encoders, detectors",
             "enlarging: decoders of segmentation, generators, super-resolution; gradients"),
            ("strengths", "few weights for any picture size; the same answer wherever a thing is, up to "
             "stride and rim",
             "learns how to enlarge; returns to an exact size; one layer both enlarges and filters"),
            ("weaknesses", "with stride it drops detail for good; sees a small window only; rims see padding",
             "tends to a checkerboard where the stride does not divide the kernel size; output size is ambiguous; "
             "cannot bring detail back"),
        ]  # fmt: skip

    def told(self) -> Sequence[str]:
        """The table, wrapped."""
        conv, back = self.problems
        return [f"[{conv}]  and  [{back}]", "", *columns(_HEAD, self.rows(), (25, 44, 44))]

    def section(self) -> str:
        """The table."""
        conv, back = self.problems
        same = "the same number" if len(set(self.multiplications)) == 1 else "different numbers"
        return (
            html.paragraph(
                f"One layer, 3 × 3 with stride 2 and {_CHANNELS} feature maps, measured forwards and transposed on "
                f"this picture: <code>{html.text(str(conv))}</code> and <code>{html.text(str(back))}</code>."
            )
            + html.stacking_table(("point", *_HEAD[1:]), self.rows(), "The two layers, with figures of this very run")
            + html.paragraph(
                f"Both layers make {same} of multiplications, because they are the same ones. Times vary from run to "
                "run; multiplications and memory do not.",
                "insight",
            )
        )

    def shown(self) -> Sequence[Shown]:
        """No pictures."""
        return ()

    def files(self) -> Mapping[str, Write]:
        """None."""
        return {}

    def arrays(self) -> Mapping[str, Array]:
        """None: random weights mean nothing."""
        return {}

    def figures(self) -> dict[str, Any]:
        """The measured and counted figures of both."""
        names = ("convolution", "transposed")
        numbers: dict[str, Any] = {
            name: {
                "problem": str(problem),
                "multiplications": multiplications,
                "milliseconds": 1000 * seconds,
                "memory_bytes": self.memory,
                "weight_shape": list(problem.weight_shape),
            }
            for name, problem, multiplications, seconds in zip(
                names, self.problems, self.multiplications, self.seconds, strict=True
            )
        }
        return numbers | {"zero_insertion_multiplications": self.zero_insertion}


def _timed(call: Callable[[], Array]) -> tuple[Array, float]:
    best = math.inf
    for _ in range(_REPEATS):
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
    return result, best


def _sum(problem: Problem, axis: int) -> str:
    return problem.sums.splitlines()[axis].split(": ", 1)[1]
