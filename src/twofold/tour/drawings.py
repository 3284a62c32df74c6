"""Drawings of overlap: which inputs of a transposed convolution paint a cell, and how many do."""

from __future__ import annotations

import numpy as np

from twofold.explain.grid import grid, grid_size
from twofold.explain.scene import INK, INPUT, MUTED, Item, Rect, Scene, Text, ink_on
from twofold.geometry import Axis

__all__ = ["counts", "counts_scene", "strip_scene"]

INPUTS = 4  # cells of the coarse side that are drawn
_CELL = 36
_LEFT = 84  # px for the names of the rows
_SHADES = {0: "#ffffff", 1: "#fdf3df", 2: "#f3bd5c", 4: "#c2620a"}  # more paint, darker


def counts(kernel_size: int, stride: int = 2) -> tuple[int, ...]:
    """Count the products in every cell that four inputs paint along one axis.

    >>> counts(3), counts(4)
    ((1, 1, 2, 1, 2, 1, 2, 1, 1), (1, 1, 2, 2, 2, 2, 2, 2, 1, 1))
    """
    axis = Axis(kernel_size, stride)
    return axis.overlap(INPUTS, axis.fine_size(INPUTS))


def strip_scene(kernel_size: int, stride: int = 2) -> Scene:
    """Draw what each of four inputs paints along one axis, and under it how often each cell is painted."""
    axis, painted = Axis(kernel_size, stride), counts(kernel_size, stride)
    items: list[Item] = []
    for i in range(INPUTS):
        y = 4 + i * (_CELL - 8)
        items.append(Text(0, y + 19, f"input {i}", 13, INK))
        for tap in range(kernel_size):
            x = _LEFT + axis.fine(i, tap) * _CELL
            items.append(Rect(x + 1, y, _CELL - 2, _CELL - 12, INPUT.fill, INPUT.edge, radius=3))
            items.append(Text(x + _CELL / 2, y + 16, f"w{tap}", 11, INK, "middle"))
    top = 4 + INPUTS * (_CELL - 8) + 10
    items.append(Text(0, top + 23, "painted", 13, INK))
    for cell, count in enumerate(painted):
        x, fill = _LEFT + cell * _CELL, _SHADES[count]
        items.append(Rect(x, top, _CELL, _CELL, fill, "#8c6a2f"))
        items.append(Text(x + _CELL / 2, top + 24, str(count), 16, ink_on(fill), "middle", "bold"))
        items.append(Text(x + _CELL / 2, top + _CELL + 16, str(cell), 10, MUTED, "middle"))
    numbers = " ".join(map(str, painted))
    title = f"Kernel of {kernel_size}, stride {stride}: how often each output cell is painted"
    return Scene(_LEFT + len(painted) * _CELL + 2, top + _CELL + 22, title, f"Times painted: {numbers}.", items)


def counts_scene(kernel_size: int, stride: int = 2) -> Scene:
    """Draw the counts of a square kernel in two dimensions: the table of products of the strip with itself."""
    along = np.array(counts(kernel_size, stride))
    table = np.multiply.outer(along, along)
    values = [[str(count) for count in row] for row in table.tolist()]
    shades = {(r, c): _SHADES[int(count)] for (r, c), count in np.ndenumerate(table)}
    width, height = grid_size(len(along), len(along), cell=30, labels=False)
    rows = "; ".join(" ".join(row) for row in values)
    title = f"Kernel of {kernel_size} x {kernel_size}, stride {stride}: how often each output cell is painted"
    items = grid(values, x=0, y=0, cell=30, shades=shades, labels=False)
    return Scene(width, height, title, f"Times painted, row by row: {rows}.", items)
