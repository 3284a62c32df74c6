"""Chapter 2: what a single filter finds in the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twofold.filters import kernel
from twofold.functional import conv2d
from twofold.tour import html
from twofold.tour.chapter import Write
from twofold.tour.picture import Photograph
from twofold.tour.shown import Array, Shown, signed_range

__all__ = ["Filtering"]

_NAMES = ("sobel-x", "sobel-y", "gaussian:7:1.5", "sharpen")
_WORDS = {
    "sobel-x": "Right neighbours minus left ones: orange where the picture grows brighter to the right.",
    "sobel-y": "Lower neighbours minus upper ones: orange where the picture grows brighter downwards.",
    "gaussian:7:1.5": "A weighted mean of 7 × 7 cells, a bell of width sigma 1.5. Its weights sum to 1.",
    "sharpen": "The cell plus what makes it different from its four neighbours. The weights sum to 1.",
}


@dataclass(frozen=True, eq=False)
class Filtering:
    """The grey picture under four named kernels, and the strength of its edges."""

    photo: Photograph
    kernels: Mapping[str, Array]
    results: Mapping[str, Array]  # by kernel, float32
    magnitude: Array
    title: str = "One filter, one question"

    @classmethod
    def run(cls, photo: Photograph) -> Filtering:
        """Filter the picture; its rim is repeated outwards, so that the rim is not taken for an edge."""
        kernels = {name: kernel(name).astype(np.float32) for name in _NAMES}
        results = {
            name: conv2d(photo.grey, weight, padding=len(weight) // 2, padding_mode="replicate")
            for name, weight in kernels.items()
        }
        return cls(photo, kernels, results, np.hypot(results["sobel-x"], results["sobel-y"]))

    def told(self) -> Sequence[str]:
        """The range of every result."""
        lines = ["Each filter slides over the grey picture and answers one question at every cell.", ""]
        for name, result in self.results.items():
            total = float(self.kernels[name].sum())
            low, high = float(result.min()), float(result.max())
            lines.append(
                f"  {name:<15} weights sum to {round(total, 3) + 0.0:g}; values from {low:+.3f} to {high:+.3f}"
            )
        low, high = float(self.magnitude.min()), float(self.magnitude.max())
        return [*lines, f"  {'edge strength':<15} sqrt(x^2 + y^2); values from {low:+.3f} to {high:+.3f}"]

    def section(self) -> str:
        """The six pictures, each with its kernel."""
        shown = {picture.stem: picture for picture in self.shown()}
        items = [html.figure(shown["grey"], "What the filters are given: brightness, one number per cell.")]
        for stem, name in (("sobel-x", "sobel-x"), ("sobel-y", "sobel-y")):
            items.append(html.figure(shown[stem], _WORDS[name], extra=self._kernel(name)))
        items.append(
            html.figure(
                shown["edges"],
                "The length of the two answers together: √(x² + y²). It is large at any edge, whatever its direction.",
            )
        )
        for stem, name in (("blur", "gaussian:7:1.5"), ("sharpen", "sharpen")):
            items.append(html.figure(shown[stem], _WORDS[name], extra=self._kernel(name)))
        return (
            html.paragraph(
                "A filter is a question asked at every place: <em>is there an edge here? how bright is it around "
                "here?</em> In a network the questions are learned; these are classics, chosen by hand."
            )
            + html.figures(items, "three")
            + html.paragraph(
                "Kernels whose weights sum to 0 answer 0 on any even surface: they see change only. Kernels that sum "
                "to 1 leave an even surface as it is. Around the picture its rim is repeated "
                "(<code>padding_mode='replicate'</code>), so that the rim is not mistaken for an edge.",
                "insight",
            )
        )

    def _kernel(self, name: str) -> str:
        weight = self.kernels[name]
        return html.matrix(weight, "kernel", "weight") if len(weight) == 3 else ""

    def shown(self) -> Sequence[Shown]:
        """Grey, both edges, their strength, blurred, sharpened."""
        x, y = self.results["sobel-x"], self.results["sobel-y"]
        limit = signed_range(x, y)
        top = signed_range(self.magnitude)
        of = f"of {self.photo.name}"
        return (
            Shown("grey", self.photo.grey, "The input, in grey", f"The picture {self.photo.name} in shades of grey."),
            Shown("sobel-x", x, "Sobel x", f"Vertical edges {of}, on white.", -limit, limit, True),
            Shown("sobel-y", y, "Sobel y", f"Horizontal edges {of}, on white.", -limit, limit, True),
            Shown("edges", self.magnitude, "Edge strength", f"All edges {of}, bright on black.", 0, top),
            Shown("blur", self.results["gaussian:7:1.5"], "Gaussian blur", f"A soft, blurred copy {of}."),
            Shown("sharpen", self.results["sharpen"], "Sharpen", f"A copy {of} with harder edges."),
        )

    def files(self) -> Mapping[str, Write]:
        """None besides the pictures."""
        return {}

    def arrays(self) -> Mapping[str, Array]:
        """The grey input, the kernels and the results."""
        arrays = {"grey": self.photo.grey, "edge-strength": self.magnitude}
        for name in _NAMES:
            stem = name.split(":")[0]
            arrays |= {f"kernel-{stem}": self.kernels[name], f"filtered-{stem}": self.results[name]}
        return arrays

    def figures(self) -> dict[str, Any]:
        """Sums of the kernels and ranges of the results."""
        return {
            name: {
                "kernel_sum": float(self.kernels[name].sum(dtype=np.float64)),
                "low": float(result.min()),
                "high": float(result.max()),
            }
            for name, result in self.results.items()
        } | {"edge-strength": {"low": float(self.magnitude.min()), "high": float(self.magnitude.max())}}
