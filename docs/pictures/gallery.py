"""Draw the gallery: python docs/pictures/gallery.py [--quick] [-o FOLDER], or `make gallery`.

Each figure is one problem in one view: the standard figures of the field, for direction, and after them those that
nobody has. A figure that steps is an animation and a still; `--quick` draws the stills alone. `index.html` shows all.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from html import escape
from pathlib import Path

from twofold import explain
from twofold.explain import Trace

__all__ = ["FIGURES", "Figure", "draw"]


@dataclass(frozen=True)
class Figure:
    """One figure: its file, what it shows, the problem, and how it is seen."""

    name: str
    title: str
    problem: str
    view: str | None = None
    tab: str | None = None
    moves: bool = True

    def trace(self) -> Trace:
        """Return the trace in its view; the numbers count 1, 2, 3, …"""
        return explain.problem(self.problem).view(self.view, self.tab)


STANDARD = (
    Figure("no-padding", "No padding, stride 1", "conv i4x4 k3x3"),
    Figure("arbitrary-padding", "Padding 2 on every side", "conv i5x5 k4x4 p2"),
    Figure("half-padding", "Half padding: the size stays", "conv i5x5 k3x3 p1"),
    Figure("full-padding", "Full padding: the size grows", "conv i5x5 k3x3 p2"),
    Figure("no-padding-strides", "No padding, stride 2", "conv i5x5 k3x3 s2"),
    Figure("padding-strides", "Padding 1, stride 2", "conv i5x5 k3x3 s2 p1"),
    Figure("padding-strides-odd", "Padding 1, stride 2, a size that leaves one cell over", "conv i6x6 k3x3 s2 p1"),
    Figure("dilation", "Dilation 2", "conv i7x7 k3x3 d2"),
    Figure("groups", "Two groups: channels meet within their group", "conv ci4 co2 g2 i3x3 k2x2"),
    Figure("one-axis", "One axis: a row", "conv i7 k3 p1"),
    Figure("three-axes", "Three axes: depth slices", "conv i3x3x3 k2x2x2"),
    Figure("asymmetric", "SAME at stride 2: one cell more at the end", "conv i6x6 k3x3 s2 same"),
    Figure("reflect", "Reflected padding", "conv i4x4 k3x3 p1 reflect"),
)
TRANSPOSED = (
    Figure("no-padding-transposed", "The transpose of no padding", "conv_transpose i2x2 k3x3"),
    Figure("arbitrary-padding-transposed", "The transpose of padding 2", "conv_transpose i6x6 k4x4 p2"),
    Figure("half-padding-transposed", "The transpose of half padding", "conv_transpose i5x5 k3x3 p1"),
    Figure("full-padding-transposed", "The transpose of full padding", "conv_transpose i7x7 k3x3 p2"),
    Figure("no-padding-strides-transposed", "The transpose of stride 2", "conv_transpose i2x2 k3x3 s2"),
    Figure("padding-strides-transposed", "The transpose of padding 1, stride 2", "conv_transpose i3x3 k3x3 s2 p1"),
    Figure("padding-strides-odd-transposed", "The same with output_padding 1", "conv_transpose i3x3 k3x3 s2 p1 op1"),
    Figure("dilation-transposed", "The transpose of dilation 2", "conv_transpose i3x3 k3x3 d2"),
    Figure("groups-transposed", "Two groups, transposed", "conv_transpose ci4 co2 g2 i2x2 k2x2"),
)
OURS = (
    Figure("gather", "Transposed, per output cell", "conv_transpose i2x2 k3x3 s2", tab="gather"),
    Figure("zero-insert", "Transposed, by inserting zeros", "conv_transpose i2x2 k3x3 s2", tab="zero-insert"),
    Figure(
        "zero-insert-wrong",
        "Why the weight must be turned",
        "conv_transpose i2x2 k3x3 s2",
        tab="zero-insert",
        moves=False,
    ),
    Figure("output-padding-alone", "output_padding without padding adds zeros", "conv_transpose i2x2 k3x3 s2 op1"),
    Figure("matrix", "A convolution as a matrix", "conv i3x3 k2x2", "matrix"),
    Figure("matrix-transposed", "The transposed matrix", "conv i3x3 k2x2", "matrix", "transpose"),
    Figure("phases", "Four phases of stride 2", "conv_transpose i3x3 k3x3 s2", "phases"),
    Figure("phases-even", "Phases with even overlap", "conv_transpose i3x3 k4x4 s2 p1", "phases"),
    Figure("overlap-uneven", "A checkerboard: k3, stride 2", "conv_transpose i4x4 k3x3 s2", "overlap", moves=False),
    Figure("overlap-even", "No checkerboard: k4, stride 2", "conv_transpose i4x4 k4x4 s2 p1", "overlap", moves=False),
    Figure("overlap-holes", "Holes: dilation 2, stride 2", "conv_transpose i4x4 k3x3 s2 d2", "overlap", moves=False),
    Figure(
        "overlap-stack",
        "Overlap through two layers",
        "conv_transpose i4 k3 s2; conv_transpose k3 s2",
        "overlap",
        moves=False,
    ),
    Figure(
        "receptive-field",
        "Receptive field of three layers",
        "conv i16x16 k3 p1; k3 s2 p1; k3 s2 p1",
        "field",
        moves=False,
    ),
    Figure("gridding", "Gridding: dilation 2 three times", "conv i20 k3 d2; k3 d2; k3 d2", "field"),
    Figure(
        "projective-field",
        "What one input cell reaches",
        "conv_transpose i5x5 k3 s2; conv k3",
        "field",
        "projective",
        moves=False,
    ),
    Figure("sizes", "Layers between 4 and 8 cells", "conv_transpose i4 k3 s2 p1 op1", "sizes", moves=False),
    Figure("gradient-input", "The gradient by the input", "conv i3x3 k2x2", "gradient", "input"),
    Figure("gradient-weight", "The gradient by the weight", "conv i3x3 k2x2", "gradient", "weight"),
)
FIGURES = (*STANDARD, *TRANSPOSED, *OURS)


def draw(folder: Path, *, quick: bool = False) -> list[str]:
    """Write every figure into `folder`, and an index; return the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    for figure in FIGURES:
        trace = figure.trace()
        trace.save(folder / f"{figure.name}.svg")
        written.append(f"{figure.name}.svg")
        if figure.moves and not quick:
            trace.save(folder / f"{figure.name}.gif")
            written.append(f"{figure.name}.gif")
    (folder / "index.html").write_text(_index(quick), encoding="utf-8")
    return [*written, "index.html"]


def _index(quick: bool) -> str:
    parts = []
    for title, figures in (("Convolution", STANDARD), ("Transposed", TRANSPOSED), ("What nobody draws", OURS)):
        parts.append(f"<h2>{title}</h2>")
        for figure in figures:
            name = f"{figure.name}.{'gif' if figure.moves and not quick else 'svg'}"
            parts.append(
                f'<figure><img src="{name}" alt="{escape(figure.title)}" loading="lazy">'
                f"<figcaption>{escape(figure.title)}: <code>{escape(figure.problem)}</code></figcaption></figure>"
            )
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Twofold: gallery</title>'
    style = "<style>body{font:16px sans-serif;margin:2em}figure{margin:2em 0}img{max-width:100%}</style>"
    return head + style + "<h1>Gallery</h1>" + "\n".join(parts) + "</html>\n"


def main() -> None:
    """Draw what the command line asks for."""
    parser = argparse.ArgumentParser(description="Draw the gallery.")
    parser.add_argument("--quick", action="store_true", help="stills only")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parents[1] / "_build" / "gallery")
    given = parser.parse_args()
    written = draw(given.output, quick=given.quick)
    print(f"{len(written)} files; open {given.output / 'index.html'}")


if __name__ == "__main__":
    main()
