"""Chapter 4: transposed means adjoint, not inverse; shown with integers, where equal means equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twofold.functional import conv2d, conv_transpose2d
from twofold.tour import html
from twofold.tour.chapter import Write
from twofold.tour.picture import Photograph
from twofold.tour.shown import Array, Shown, signed_range
from twofold.tour.words import beside, grouped

__all__ = ["Adjoint"]

_KERNEL = np.array([[1, 2], [3, 4]])
_BELL = np.outer([1, 2, 1], [1, 2, 1])


@dataclass(frozen=True, eq=False)
class Adjoint:
    """C is a convolution, C^T its transpose. Small: 3 x 3 under [[1, 2], [3, 4]]. Large: the picture, stride 2.

    >>> small = Adjoint.run_small()
    >>> small[2].tolist()
    [[37, 121, 94], [178, 500, 342], [201, 499, 308]]
    """

    photo: Photograph
    small: tuple[Array, Array, Array]  # x, C x, C^T C x
    levels: Array  # the grey picture as integers 0 … 255
    probe: Array  # y: as large as C x
    round_trip: Array  # C^T C of the levels
    left: int  # <C x, y>
    right: int  # <x, C^T y>
    title: str = "The adjoint, not the inverse"

    @classmethod
    def run(cls, photo: Photograph) -> Adjoint:
        """Compute both sides of the law in exact integers."""
        levels = np.rint(photo.grey.astype(np.float64) * 255).astype(np.int64)
        c_x = conv2d(levels, _BELL, stride=2, padding=1)
        probe = np.random.default_rng(0).integers(-9, 10, c_x.shape)
        back: dict[str, Any] = {"stride": 2, "padding": 1, "output_size": levels.shape}
        left = int((c_x * probe).sum())
        right = int((levels * conv_transpose2d(probe, _BELL, **back)).sum())
        return cls(photo, cls.run_small(), levels, probe, conv_transpose2d(c_x, _BELL, **back), left, right)

    @staticmethod
    def run_small() -> tuple[Array, Array, Array]:
        """Return x, C x and C^T C x for the textbook example."""
        x = np.arange(1, 10).reshape(3, 3)
        c_x = conv2d(x, _KERNEL)
        return x, c_x, conv_transpose2d(c_x, _KERNEL)

    @property
    def scale(self) -> float:
        """The one number that brings C^T C x closest to x."""
        trip = self.round_trip.astype(np.float64)
        power = float((trip * trip).sum())
        return float((self.levels * trip).sum()) / power if power else 0.0

    @property
    def verdict(self) -> str:
        """Whether the law holds, in words."""
        return "equal to the last digit" if self.left == self.right else "DIFFERENT, which is a mistake of ours"

    @property
    def rest(self) -> Array:
        """What is still wrong then, as brightness: scale * C^T C x - x, divided by 255."""
        return np.asarray((self.scale * self.round_trip - self.levels) / 255)

    @property
    def rms(self) -> float:
        """The root mean square of the rest."""
        return float(np.sqrt(np.mean(self.rest**2)))

    def told(self) -> Sequence[str]:
        """Both halves: what the transpose is, and what it is not."""
        lines = ["C: the convolution with [[1, 2], [3, 4]].  C^T: the transposed convolution with the same kernel.", ""]
        lines += ["  " + line for line in beside(("x", "C x", "C^T C x"), self.small)]
        return [
            *lines,
            "",
            "C^T C x is not x: the transpose brings the shape back, not the values.",
            "What it does promise is a law: <C x, y> = <x, C^T y> for every x and y. On the picture, in integers:",
            f"  <C x, y> = {grouped(self.left)}",
            f"  <x, C^T y> = {grouped(self.right)}   {self.verdict}",
            f"Even with the best brightness, C^T C x misses the picture by {self.rms:.4f} (root mean square).",
        ]

    def section(self) -> str:
        """The small numbers, the law, the picture."""
        x, c_x, trip = self.small
        arrow = '<span class="sign" role="img" aria-label="becomes">→</span>'
        return (
            html.paragraph(
                "Call the convolution <var>C</var>. The transposed convolution with the same weights is "
                "<var>C</var>ᵀ. Some books call it “deconvolution”, and so suggest that it undoes <var>C</var>. "
                "It does not:"
            )
            + '<div class="equation">'
            + html.matrix(x, "x", "input")
            + arrow
            + html.matrix(c_x, "C x", "output")
            + arrow
            + html.matrix(trip, "Cᵀ C x", "input")
            + "</div>"
            + html.paragraph(
                "The shape is back, the values are not. It could not be otherwise: nine numbers went through four. "
                "What <var>C</var>ᵀ does promise is a law. Write ⟨<var>a</var>, <var>b</var>⟩ for: multiply "
                "<var>a</var> and <var>b</var> cell by cell and add everything up. Then, for every <var>x</var> and "
                "every <var>y</var>,"
            )
            + self._law()
            + self._on_the_picture()
        )

    def _law(self) -> str:
        return html.paragraph(
            "⟨<var>C</var> <var>x</var>, <var>y</var>⟩ = ⟨<var>x</var>, <var>C</var>ᵀ <var>y</var>⟩", "formula"
        ) + html.table(
            ("in exact integers", "value"),
            (
                ("⟨C x, y⟩", grouped(self.left)),
                ("⟨x, Cᵀ y⟩", f"{grouped(self.right)}: {self.verdict}"),
            ),
            "x is the grey picture in levels 0 to 255, C the bell kernel with stride 2, y random whole numbers.",
        )

    def _on_the_picture(self) -> str:
        shown = {picture.stem: picture for picture in self.shown()}
        return html.figures(
            [
                html.figure(
                    shown["round-trip"],
                    f"C and then Cᵀ on the picture, times {self.scale:.3g}, the number that brings it closest to "
                    "the original.",
                ),
                html.figure(
                    shown["round-trip-error"],
                    f"The root of its mean square is {self.rms:.4f}" + (", not 0." if self.rms > 5e-5 else "."),
                ),
            ],
            "two",
        ) + html.paragraph(
            "The law is why the pair is so useful: training a convolution layer needs its transpose to send errors "
            "backwards, and training a transposed layer needs the convolution. Each is the "
            "other’s gradient by its input.",
            "insight",
        )

    def shown(self) -> Sequence[Shown]:
        """The round trip and its error."""
        limit = signed_range(self.rest)
        name = self.photo.name
        return (
            Shown("round-trip", self.scale * self.round_trip / 255, "Cᵀ C x, best brightness", f"A blurred {name}."),
            Shown("round-trip-error", self.rest, "Cᵀ C x minus x", f"What {name} lost.", -limit, limit, True),
        )

    def files(self) -> Mapping[str, Write]:
        """None besides the pictures."""
        return {}

    def arrays(self) -> Mapping[str, Array]:
        """The integers of the law."""
        return {
            "adjoint-x": self.levels.astype(np.uint8),
            "adjoint-y": self.probe.astype(np.int8),
            "adjoint-kernel": _BELL,
            "adjoint-round-trip": self.round_trip.astype(np.int32),  # at most 255 * 16 * 16
        }

    def figures(self) -> dict[str, Any]:
        """Both sides of the law, and the distance from an inverse."""
        x, c_x, trip = (array.tolist() for array in self.small)
        return {
            "small": {"x": x, "C x": c_x, "C^T C x": trip},
            "<C x, y>": self.left,
            "<x, C^T y>": self.right,
            "best_scale": self.scale,
            "rms_error": self.rms,
        }
