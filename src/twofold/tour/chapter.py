"""What a chapter of the tour is: work done once, then told in the terminal, on the page and in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from twofold.tour.shown import Array, Shown

__all__ = ["Chapter", "Write"]

Write = Callable[[Path], object]  # writes one file at the path it is given


class Chapter(Protocol):
    """One part of the tour; everything in it is computed when it is made."""

    @property
    def title(self) -> str:
        """The heading of its section."""

    def told(self) -> Sequence[str]:
        """The lines for the terminal."""

    def section(self) -> str:
        """The HTML of its section, without the heading."""

    def shown(self) -> Sequence[Shown]:
        """Its pictures."""

    def files(self) -> Mapping[str, Write]:
        """Other files, such as drawings and animations, by their path inside the folder."""

    def arrays(self) -> Mapping[str, Array]:
        """Its arrays, by the stem of their .npy file."""

    def figures(self) -> dict[str, Any]:
        """Its numbers, for results.json."""
