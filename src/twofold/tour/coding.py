"""Chapter 3: strided convolutions as an encoder, transposed ones as a decoder back to the exact size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twofold.functional import conv2d, conv_transpose2d
from twofold.geometry import Problem
from twofold.tour import html
from twofold.tour.chapter import Write
from twofold.tour.picture import Photograph
from twofold.tour.shown import Array, Shown, signed_range
from twofold.tour.words import grouped, spread

__all__ = ["STRIDE", "Coding", "decoder_weight", "encoder_weight"]

STRIDE = 2
_BELL = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16  # a mean that weighs the centre most; sums to 1


def encoder_weight(channels: int) -> Array:
    """The encoder's weight, one kernel per channel: (channels, 1, 3, 3)."""
    return np.repeat(_BELL[None, None], channels, axis=0)


def decoder_weight(channels: int) -> Array:
    """The encoder's weight times 4, since at stride 2 a cell is painted by a quarter as many inputs."""
    return STRIDE**2 * encoder_weight(channels)


@dataclass(frozen=True, eq=False)
class Coding:
    """The picture, halved twice and brought back; `problems` are the four layers in order."""

    photo: Photograph
    half: Array
    quarter: Array
    back_half: Array
    back: Array
    problems: tuple[Problem, ...]
    title: str = "Down and back up"

    @classmethod
    def run(cls, photo: Photograph) -> Coding:
        """Encode and decode; each transposed layer is told the size it must return to."""
        channels = len(photo.pixels)
        down: dict[str, Any] = {"stride": STRIDE, "padding": 1, "groups": channels}
        encode, decode = encoder_weight(channels), decoder_weight(channels)
        half = conv2d(photo.pixels, encode, **down)
        quarter = conv2d(half, encode, **down)
        sizes = half.shape[1:], photo.size
        back_half = conv_transpose2d(quarter, decode, output_size=sizes[0], **down)
        back = conv_transpose2d(back_half, decode, output_size=sizes[1], **down)
        layers = [Problem.of("conv", fine, (3, 3), **_both(channels), **down) for fine in (photo.size, half.shape[1:])]
        problems = (*layers, layers[1].adjoint(), layers[0].adjoint())
        return cls(photo, half, quarter, back_half, back, problems)

    @property
    def error(self) -> Array:
        """What came back minus what went in, mean over the channels, (height, width)."""
        return np.asarray((self.back - self.photo.pixels).mean(axis=0))

    @property
    def rms(self) -> float:
        """The root of the mean squared error, over all channels."""
        return float(np.sqrt(np.mean((self.back - self.photo.pixels).astype(np.float64) ** 2)))

    @property
    def psnr(self) -> float | None:
        """Peak signal-to-noise ratio in dB, for a peak of 1; None if nothing was lost."""
        return -20 * math.log10(self.rms) if self.rms else None

    @property
    def share(self) -> float:
        """How many numbers the quarter has, as a share of the picture's."""
        return self.quarter.size / self.photo.pixels.size

    def told(self) -> Sequence[str]:
        """Every layer with its size arithmetic."""
        names = ("to a half", "to a quarter", "back to a half", "back to the whole")
        lines = ["Stride 2 halves the picture; the transposed layer with the same geometry brings the size back.", ""]
        for name, problem in zip(names, self.problems, strict=True):
            lines.append(f"  {name}: {spread(problem.in_size)} → {spread(problem.out_size)}   [{problem}]")
            lines += [f"    {line}" for line in problem.sums.splitlines()]
        lines += ["", *self._ambiguous(), ""]
        lines.append(f"  The size is exact: {spread(self.photo.size)}. {self._loss()}")
        return lines

    def _ambiguous(self) -> list[str]:
        # Why output_padding exists, with the sizes of this picture.
        lines = []
        for name, position in (("height", 0), ("width", 1)):
            problem = self.problems[2]
            coarse, fine = problem.coarse_size[position], problem.fine_size[position]
            sizes = problem.geometry.axes[position].fine_sizes(coarse)
            extra = problem.output_padding[position]
            both = " and ".join(str(size) for size in sizes if size > 0)
            plural = "both" if len([size for size in sizes if size > 0]) > 1 else "only"
            lines.append(
                f"  {name}: {plural} {both} shrink to {coarse}; we came from {fine}, so output_padding is {extra}."
            )
        return lines

    def _loss(self) -> str:
        if self.psnr is None:
            return "On this picture nothing else was lost either."
        error = f"{self.rms:.4f} on a scale of 0 to 1 ({self.psnr:.1f} dB PSNR)"
        return f"The detail is not: the root mean square error, dark rim included, is {error}."

    def section(self) -> str:
        """Down, back up, and what is missing."""
        shown = {picture.stem: picture for picture in self.shown()}
        return self._down(shown) + self._up(shown)

    def _down(self, shown: Mapping[str, Shown]) -> str:
        sizes = f"{spread(self.photo.size)} → {spread(self.problems[0].out_size)} → {spread(self.problems[1].out_size)}"
        row = [
            html.figure(shown["picture"], f"{spread(self.photo.size)} cells, in {self.photo.kind}."),
            html.figure(shown["half"], f"{spread(self.problems[0].out_size)}.", share=0.5),
            html.figure(shown["quarter"], f"{spread(self.problems[1].out_size)}.", share=0.25),
        ]
        return (
            "<h3>The encoder: strided convolution</h3>"
            + html.paragraph(
                "With <code>stride=2</code> the kernel stops at every second cell only, and the output has half the "
                "height and half the width. Do it twice and a quarter is left: "
                f"<strong>{html.text(sizes)}</strong>. A network that recognises or compresses "
                "pictures begins like this."
            )
            + html.figures(row, "three")
            + '<div class="pair"><article>'
            + html.paragraph("The kernel is a small bell whose weights sum to 1, the same for each colour channel:")
            + html.matrix(_BELL * 16, "16 times the kernel", "weight")
            + "</article><article>"
            + html.paragraph("The sizes, by floor((input + padding − (kernel − 1) − 1) / stride) + 1:")
            + self._sums(self.problems[:2])
            + "</article></div>"
            + html.paragraph(
                "The thin dark rim is the padding: outside the picture the layer reads zeros, and zeros are black. "
                "Most networks do this."
            )
        )

    def _up(self, shown: Mapping[str, Shown]) -> str:
        row = [
            html.figure(shown["quarter"], f"{spread(self.problems[2].in_size)}.", share=0.25),
            html.figure(shown["back-half"], f"{spread(self.problems[2].out_size)}.", share=0.5),
            html.figure(shown["back"], f"{spread(self.problems[3].out_size)}: the exact size again."),
        ]
        facts = "".join(f"<li>{html.text(line.strip())}</li>" for line in self._ambiguous())
        return (
            "<h3>The decoder: transposed convolution</h3>"
            + html.paragraph(
                "Every cell of the small picture paints a 3 × 3 patch, two cells apart, and overlapping paint adds "
                "up. The weights are the encoder’s own, times 4, because at stride 2 each output cell is painted by "
                "only a quarter as many inputs."
            )
            + html.figures(row, "three")
            + '<div class="pair"><article>'
            + html.paragraph("The sizes, by (input − 1) · stride − padding + (kernel − 1) + output_padding + 1:")
            + self._sums(self.problems[2:])
            + "</article><article>"
            + html.paragraph(
                "Why <code>output_padding</code>? Because stride 2 forgets whether a size was odd or even. On the "
                "way from the quarter to the half:"
            )
            + f"<ul>{facts}</ul>"
            + html.paragraph("In code, name the size: <code>output_size=half.shape[1:]</code>.")
            + "</article></div>"
            + self._lost(shown)
        )

    def _lost(self, shown: Mapping[str, Shown]) -> str:
        return (
            html.paragraph(
                f"The size is exact again. {html.text(self._loss())} The quarter holds "
                f"{100 * self.share:.3g} % as many numbers as the picture "
                f"({grouped(self.quarter.size)} of {grouped(self.photo.pixels.size)}), and no layer can "
                "bring back what those do not say. A trained decoder guesses it; this one only spreads it.",
                "insight",
            )
            + html.figures(
                [
                    html.figure(shown["detail"], "As it went in, enlarged."),
                    html.figure(shown["detail-back"], "As it came back, enlarged."),
                    html.figure(
                        shown["lost"], "What came back minus what went in: edges, fine texture, and the dark rim."
                    ),
                ],
                "three",
            )
            + html.paragraph(
                "The rim is dark for two reasons: the encoder read zeros beyond it, and where a size is even, fewer "
                "inputs paint the last row or column."
            )
        )

    def _sums(self, problems: Sequence[Problem]) -> str:
        return html.sums([(f"{spread(p.in_size)} → {spread(p.out_size)}", p.sums) for p in problems])

    def shown(self) -> Sequence[Shown]:
        """The picture on its way down and back, and what was lost."""
        name = self.photo.name
        error = self.error
        limit = signed_range(error)
        return (
            Shown("picture", self.photo.pixels, "The picture", f"The picture {name}, as it went in."),
            Shown("half", self.half, "A half", f"{name} at half its height and width."),
            Shown("quarter", self.quarter, "A quarter", f"{name} at a quarter of its height and width."),
            Shown("back-half", self.back_half, "Back to a half", f"{name}, blurred, at half its size."),
            Shown("back", self.back, "Back to the whole", f"{name} at its full size, but blurred."),
            self._detail("detail", self.photo.pixels, f"Part of {name}, sharp."),
            self._detail("detail-back", self.back, f"The same part of {name}, blurred."),
            Shown("lost", error, "What was lost", f"Fine lines where {name} lost its detail.", -limit, limit, True),
        )

    def _detail(self, stem: str, pixels: Array, alt: str) -> Shown:
        rows, columns = self.photo.window
        crop = pixels[:, rows, columns]
        return Shown(stem, crop, f"{spread(crop.shape[1:])} cells", alt, zoom=max(1, 384 // max(crop.shape[1:])))

    def files(self) -> Mapping[str, Write]:
        """None besides the pictures."""
        return {}

    def arrays(self) -> Mapping[str, Array]:
        """Input, both weights, and every stage."""
        channels = len(self.photo.pixels)
        return {
            "picture": self.photo.pixels,
            "encoder-weight": encoder_weight(channels),
            "decoder-weight": decoder_weight(channels),
            "encoded-half": self.half,
            "encoded-quarter": self.quarter,
            "decoded-half": self.back_half,
            "decoded": self.back,
        }

    def figures(self) -> dict[str, Any]:
        """The four layers, and the loss."""
        layers = [
            {
                "problem": str(problem),
                "in_size": list(problem.in_size),
                "out_size": list(problem.out_size),
                "output_padding": list(problem.output_padding) if problem.op == "conv_transpose" else None,
                "sums": problem.sums.splitlines(),
                "multiplications": problem.multiplications,
            }
            for problem in self.problems
        ]
        return {"layers": layers, "rms_error": self.rms, "psnr_db": self.psnr, "share_of_numbers": self.share}


def _both(channels: int) -> dict[str, Any]:
    return {"in_channels": channels, "out_channels": channels}
