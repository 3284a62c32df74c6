"""Chapter 5: the checkerboard of a 3 x 3 kernel at stride 2, and the 4 x 4 kernel that has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twofold.explain.numbers import number
from twofold.explain.scene import Scene
from twofold.explain.svg import to_svg
from twofold.files import write_text
from twofold.functional import conv_transpose2d
from twofold.geometry import Axis
from twofold.tour import html
from twofold.tour.chapter import Write
from twofold.tour.coding import STRIDE, decoder_weight
from twofold.tour.drawings import counts, counts_scene, strip_scene
from twofold.tour.picture import Photograph
from twofold.tour.shown import Array, Shown
from twofold.tour.words import beside, spread

__all__ = ["Checkerboard"]

_SIZES = (3, 4)
_FLAT = 8  # a constant picture of 8 x 8 ones


@dataclass(frozen=True, eq=False)
class Checkerboard:
    """The half picture, and a constant, decoded by kernels whose weights are all 1/4; by kernel size.

    `tent` is the constant decoded by the 3 x 3 kernel of chapter 3, whose unequal weights even out the counts.
    """

    photo: Photograph
    pictures: Mapping[int, Array]  # (channels, height, width)
    constants: Mapping[int, Array]  # (16, 16)
    tent: Array
    drawn: Mapping[str, Scene] = field(default_factory=dict)
    title: str = "The checkerboard"

    @classmethod
    def run(cls, photo: Photograph, half: Array) -> Checkerboard:
        """Decode with both kernels to the picture's own size."""
        pictures = {k: decode(half, equal_weight(k, len(half)), photo.size) for k in _SIZES}
        flat = np.ones((1, _FLAT, _FLAT), np.float32)
        target = (STRIDE * _FLAT, STRIDE * _FLAT)
        constants = {k: decode(flat, equal_weight(k, 1), target)[0] for k in _SIZES}
        tent = decode(flat, decoder_weight(1), target)[0]
        drawn = {f"pictures/overlap-{k}.svg": strip_scene(k) for k in _SIZES}
        drawn |= {f"pictures/counts-{k}.svg": counts_scene(k) for k in _SIZES}
        return cls(photo, pictures, constants, tent, drawn)

    def levels(self, array: Array) -> list[float]:
        """The different values away from the rim, in order."""
        return sorted({float(value) for value in array[2:-2, 2:-2].ravel().tolist()})

    def phase_means(self, kernel_size: int) -> list[list[float | None]]:
        """Mean brightness of the decoded picture on even and odd rows (outside) and columns (inside)."""
        grey = self.pictures[kernel_size].mean(axis=0, dtype=np.float64)
        parts = [[grey[i::2, j::2] for j in (0, 1)] for i in (0, 1)]
        return [[float(part.mean()) if part.size else None for part in row] for row in parts]

    def told(self) -> Sequence[str]:
        """Counts, responses to a constant, and the law."""
        lines = ["How often is each output cell painted, along one axis, by four inputs at stride 2?", ""]
        lines += [f"  kernel of {k}:  {' '.join(map(str, counts(k)))}" for k in _SIZES]
        lines += ["", "In two dimensions the counts multiply: 1, 2 and 4 for 3 x 3, but 4 everywhere inside for 4 x 4."]
        lines += ["A constant picture of ones, decoded with all weights 1/4 (upper left corner):", ""]
        titles = [f"kernel {k} x {k}" for k in _SIZES]
        lines += ["  " + line for line in beside(titles, [self.constants[k][:6, :6] for k in _SIZES])]
        values = {k: " ".join(map(number, self.levels(self.constants[k]))) for k in _SIZES}
        lines += ["", f"Away from the rim: 3 x 3 gives {values[3]}, which is 1 : 4; 4 x 4 gives {values[4]} only."]
        return [*lines, "Even inside if and only if gcd(stride, dilation) = 1 and the stride divides the kernel size."]

    def section(self) -> str:
        """Cause, proof on a constant, effect on the picture, remedy."""
        shown = {picture.stem: picture for picture in self.shown()}
        return self._cause() + self._constants(shown) + self._pictures(shown)

    def _cause(self) -> str:
        drawings = []
        for k in _SIZES:
            for stem, what in (("overlap", "along one axis"), ("counts", "in two dimensions")):
                scene = self.drawn[f"pictures/{stem}-{k}.svg"]
                caption = f"<strong>Kernel of {k}</strong>, stride 2, {what}."
                alt = f"{scene.title}. {scene.description}"
                drawings.append(html.drawing(f"pictures/{stem}-{k}.svg", alt, caption, (scene.width, scene.height)))
        return html.paragraph(
            "Pictures from decoders often show a fine, regular pattern like a chessboard. The photograph has no "
            "part in it: the pattern is in the geometry. Count how often each output cell is painted. With a "
            "kernel of 3 and stride 2, every second cell is painted twice and its neighbours once. With a kernel "
            "of 4, every cell away from the rim is painted twice."
        ) + html.figures(drawings, "two drawings")

    def _constants(self, shown: Mapping[str, Shown]) -> str:
        items = []
        for k, stem in ((3, "constant-3"), (4, "constant-4")):
            levels = ", ".join(map(number, self.levels(self.constants[k])))
            items.append(html.figure(shown[stem], f"Values away from the rim: {levels}."))
        tent = ", ".join(map(number, self.levels(self.tent)))
        items.append(
            html.figure(
                shown["constant-tent"],
                "The decoder of section 3: it weighs its corners ¼, its sides ½ and its centre 1, and so evens out "
                f"the counts. Values away from the rim: {tent}.",
            )
        )
        return (
            "<h3>A picture of nothing but ones</h3>"
            + html.paragraph(
                "Decode a constant picture, every weight ¼. What went in has no pattern, so every pattern that comes "
                "out is the layer’s own. Under 3 × 3 the output runs from ¼ to 1: <strong>one to four</strong>."
            )
            + html.figures(items, "three")
            + '<div class="equation">'
            + html.matrix(self.constants[3][:6, :6], "3 × 3, upper left corner", "fractions")
            + html.matrix(self.constants[4][:6, :6], "4 × 4, upper left corner", "fractions")
            + "</div>"
        )

    def _pictures(self, shown: Mapping[str, Shown]) -> str:
        rows = []
        for k in _SIZES:
            even, odd = self.phase_means(k)[0][0], self.phase_means(k)[1][1]
            mean = ""
            if even is not None and odd is not None:
                mean = f"Mean brightness: {even:.3f} where row and column are even, {odd:.3f} where both are odd."
            rows += [html.figure(shown[f"decoded-{k}"], mean)]
        words = {
            3: "Enlarged. Every second row and column is dark: the pattern of the constant, on the picture.",
            4: "Enlarged. Blocks of 2 × 2 are alike, because equal weights treat them alike; none is brighter for it.",
        }
        crops = [html.figure(shown[f"crop-{k}"], words[k]) for k in _SIZES]
        return (
            "<h3>On the picture</h3>"
            + html.paragraph("The same two layers bring the half picture back to full size, again with all weights ¼.")
            + html.figures([*rows, *crops], "two")
            + html.paragraph(
                "<strong>The law:</strong> the paint is even away from the rim if and only if gcd(stride, dilation) "
                "= 1 and the stride divides the kernel size. So take 4 × 4 (or 2 × 2) with stride 2, or enlarge "
                "first and use an ordinary convolution. Training can even out a 3 × 3 kernel too, as the third "
                "constant shows, but nothing makes it; and a 4 × 4 kernel with uneven weights can still bring a "
                "pattern of its own.",
                "insight",
            )
        )

    def shown(self) -> Sequence[Shown]:
        """Constants, decoded pictures, enlarged crops."""
        rows, columns = self.photo.window
        name, equal = self.photo.name, "all weights ¼"
        pictures = [
            Shown("constant-3", self.constants[3], f"3 × 3, {equal}", "A regular chequered pattern.", zoom=16),
            Shown("constant-4", self.constants[4], f"4 × 4, {equal}", "An even white area with a dark rim.", zoom=16),
            Shown(
                "constant-tent", self.tent, "3 × 3, weights ¼ to 1", "An even white area, darker at two sides.", zoom=16
            ),
        ]
        alts = {3: f"{name}, dark, under a fine regular pattern.", 4: f"{name}, blurred, without any pattern."}
        for k in _SIZES:
            crop = self.pictures[k][:, rows, columns]
            zoom = max(1, 512 // max(crop.shape[1:]))
            pictures.append(Shown(f"decoded-{k}", self.pictures[k], f"Decoded by {k} × {k}", alts[k]))
            title = f"{spread(crop.shape[1:])} cells, {k} × {k}"
            pictures.append(Shown(f"crop-{k}", crop, title, f"Enlarged: {alts[k]}", zoom=zoom))
        return pictures

    def files(self) -> Mapping[str, Write]:
        """The drawings of overlap."""
        return {file: _svg(scene) for file, scene in self.drawn.items()}

    def arrays(self) -> Mapping[str, Array]:
        """Weights, decoded pictures and constants."""
        arrays: dict[str, Array] = {"constant-tent": self.tent}
        for k in _SIZES:
            arrays[f"equal-weight-{k}"] = equal_weight(k, len(self.photo.pixels))
            arrays[f"decoded-equal-{k}"] = self.pictures[k]
            arrays[f"constant-{k}"] = self.constants[k]
        return arrays

    def figures(self) -> dict[str, Any]:
        """Counts, levels and means by kernel."""
        numbers: dict[str, Any] = {}
        for k in _SIZES:
            along, levels = counts(k), self.levels(self.constants[k])
            numbers[f"{k}x{k}"] = {
                "overlap": list(along),
                "overlap_2d": sorted({a * b for a in along[k - 1 : 1 - k] for b in along[k - 1 : 1 - k]}),
                "even": Axis(k, STRIDE).is_even,
                "constant": levels,
                "ratio": levels[-1] / levels[0],
                "phase_means": self.phase_means(k),
            }
        return numbers | {"3x3_tent": {"constant": self.levels(self.tent)}}


def equal_weight(kernel_size: int, channels: int) -> Array:
    """A weight of nothing but 1/4, one kernel per channel."""
    return np.full((channels, 1, kernel_size, kernel_size), 0.25, np.float32)


def decode(x: Array, weight: Array, size: tuple[int, int]) -> Array:
    """Bring x to the size; 3 x 3 crops 1 cell all round, 4 x 4 what 'same' crops (1 before, 2 after an odd size)."""
    padding: Any = 1 if weight.shape[-1] == 3 else "same"
    options: dict[str, Any] = {"stride": STRIDE, "padding": padding, "output_size": size, "groups": len(x)}
    return np.asarray(conv_transpose2d(x, weight, **options))


def _svg(scene: Scene) -> Write:
    return lambda path: write_text(path, to_svg(scene))
