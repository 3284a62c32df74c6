"""Pixels that follow a row of scenes: only where a scene differs from the one before is anything painted anew.

Scenes are lists of frozen items. What one of them has and the other has not is what changed; the areas that it covers
are cleared, and everything that reaches into them is painted again, from the bottom up and cut off at their edges. So
the pixels are those of `raster.pixels`, to the last bit.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from twofold.errors import GeometryError
from twofold.explain.raster import Area, Pixels, blank, paint, reach, rgb
from twofold.explain.scene import PAPER, Item, Scene

__all__ = ["Screen"]


class Screen:
    """One picture that shows a scene after another, all of one size.

    snap   letters stand on whole pixels, see `raster.paint`

    >>> screen = Screen(Scene(8, 8, "t", "d"), 1)
    >>> fresh, changed = screen.show(Scene(8, 8, "t", "d"))
    >>> int(changed.sum())
    64
    """

    def __init__(self, scene: Scene, scale: float, *, snap: bool = False) -> None:
        self.pixels, self._snap = blank(scene, scale), snap
        self._size, self._scale = (scene.width, scene.height), scale
        self._items: tuple[Item, ...] | None = None
        self._areas: dict[Item, Area] = {}

    def show(self, scene: Scene) -> tuple[Sequence[Item], NDArray[np.bool_]]:
        """Paint a scene; return the items that the one before had not, and which pixels (height, width) changed."""
        height, width, _ = self.pixels.shape
        before, items = self._items, tuple(scene.items)
        self._check_size(scene)
        reaches = {item: self._areas.get(item) or reach(item, self._scale) for item in items}
        fresh: Sequence[Item] = [item for item in items if item not in self._areas]
        dirty: list[Area] = [(0, 0, width, height)]
        if before is not None and _same_order(before, items, self._areas, reaches):
            gone = [area for item, area in self._areas.items() if item not in reaches]
            dirty = _joined([_cut(area, width, height) for area in [*gone, *(reaches[item] for item in fresh)]])
        self._items, self._areas = items, reaches
        return fresh, self._repaint(dirty, first=before is None)

    def _repaint(self, dirty: Sequence[Area], *, first: bool) -> NDArray[np.bool_]:
        items = self._items or ()
        changed = np.full(self.pixels.shape[:2], first, dtype=np.bool_)
        edges = np.array([self._areas[item] for item in items], dtype=np.int64).reshape(-1, 4).T
        for left, top, right, bottom in dirty:
            part = self.pixels[top:bottom, left:right]
            old = part.copy()
            part[...] = rgb(PAPER)
            here = (edges[0] < right) & (edges[2] > left) & (edges[1] < bottom) & (edges[3] > top)
            area = left, top, right, bottom
            paint(self.pixels, compress(items, here.tolist()), self._scale, area, snap=self._snap)
            if not first:
                changed[top:bottom, left:right] = (old != part).any(axis=2)
        return changed

    def _check_size(self, scene: Scene) -> None:
        if (scene.width, scene.height) == self._size:
            return
        both: list[Pixels] = [self.pixels, blank(scene, self._scale)]
        if both[0].shape != both[1].shape:
            sizes = " and ".join(f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in both)
            raise GeometryError(f"frames of one animation have one size, not {sizes} pixels")


def _same_order(before: Sequence[Item], items: Sequence[Item], old: Container[Item], new: Container[Item]) -> bool:
    # Whether what both scenes have lies in both in the same order, so that no two of these changed places.
    return [item for item in before if item in new] == [item for item in items if item in old]


def _cut(area: Area, width: int, height: int) -> Area:
    return max(area[0], 0), max(area[1], 0), min(area[2], width), min(area[3], height)


def _joined(areas: Sequence[Area]) -> list[Area]:
    # Areas that overlap become the one that holds both, until none do: no pixel is painted twice.
    found: list[Area] = []
    for area in areas:
        left, top, right, bottom = area
        if left >= right or top >= bottom:
            continue
        while touching := [a for a in found if a[0] < right and a[2] > left and a[1] < bottom and a[3] > top]:
            found = [a for a in found if a not in touching]
            left, top = min(left, *(a[0] for a in touching)), min(top, *(a[1] for a in touching))
            right, bottom = max(right, *(a[2] for a in touching)), max(bottom, *(a[3] for a in touching))
        found.append((left, top, right, bottom))
    return found
