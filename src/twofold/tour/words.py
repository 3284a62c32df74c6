"""Numbers and arrays as plain text, for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from twofold.explain.numbers import number

__all__ = ["beside", "columns", "grouped", "lines_of", "plain", "spread"]

Array = NDArray[Any]


def lines_of(array: Array) -> list[str]:
    """Write a matrix, columns aligned.

    >>> import numpy as np
    >>> lines_of(np.array([[37, 47], [7, 77]]))
    ['37 47', ' 7 77']
    """
    texts = [[number(value) for value in row] for row in array.tolist()]
    widths = [max(len(row[i]) for row in texts) for i in range(len(texts[0]))]
    return [" ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in texts]


def beside(titles: Sequence[str], arrays: Sequence[Array], *, gap: int = 5) -> list[str]:
    """Write matrices side by side, each under its title."""
    blocks = [[title, *lines_of(array)] for title, array in zip(titles, arrays, strict=True)]
    height = max(len(block) for block in blocks)
    rows = []
    for i in range(height):
        cells = [(block[i] if i < len(block) else "").ljust(max(map(len, block))) for block in blocks]
        rows.append((" " * gap).join(cells).rstrip())
    return rows


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Write a table whose cells are wrapped to the widths, with a line under the head and none between the rows."""
    lines = []
    for row in (head, *rows):
        cells = [textwrap.wrap(text, width) or [""] for text, width in zip(row, widths, strict=True)]
        for i in range(max(map(len, cells))):
            parts = [(cell[i] if i < len(cell) else "").ljust(width) for cell, width in zip(cells, widths, strict=True)]
            lines.append("  ".join(parts).rstrip())
        if row is head:
            lines.append("  ".join("-" * width for width in widths))
    return lines


def grouped(count: int) -> str:
    """Write a count with its digits in groups of three.

    >>> grouped(7322400)
    '7,322,400'
    """
    return f"{count:,}"


def spread(size: Sequence[int]) -> str:
    """Write a size.

    >>> spread((300, 451))
    '300 × 451'
    """
    return " × ".join(str(n) for n in size)


_PLAIN = str.maketrans({"×": "x", "→": "->", "ᵀ": "^T", "·": "*", "’": "'", "…": "...", "¼": "1/4", "⟨": "<", "⟩": ">"})


def plain(line: str) -> str:
    """Write our own signs in ASCII, since not every terminal shows them.

    >>> plain("Cᵀ: 3 × 3 → 2 × 2")
    'C^T: 3 x 3 -> 2 x 2'
    """
    return line.translate(_PLAIN)
