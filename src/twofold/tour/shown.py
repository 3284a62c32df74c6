"""An array as a picture, together with the map that made it: no picture of the tour is scaled in silence.

A linear map takes `low` to black and `high` to white; a signed one takes -high to blue, 0 to white and +high to orange.
What lies outside is clipped, and the share of clipped values is printed beside the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.explain.numbers import number
from twofold.files import to_picture

__all__ = ["BLUE", "ORANGE", "Array", "Shown", "signed_range"]

Array = NDArray[Any]

# Okabe and Ito's blue and vermilion, which every reader can tell apart; white is 0.
BLUE, ORANGE = (0, 91, 160), (213, 94, 0)
_SMALL = 160  # px; a picture whose longer side is less is enlarged by whole factors


@dataclass(frozen=True, eq=False)
class Shown:
    """One picture of the page.

    stem    name of the PNG file, without its suffix
    values  (height, width) or (channels, height, width)
    title   what stands under it          alt  what someone hears who cannot see it
    """

    stem: str
    values: Array
    title: str
    alt: str
    low: float = 0.0
    high: float = 1.0
    signed: bool = False
    zoom: int = 1  # each value becomes zoom x zoom pixels

    @property
    def file(self) -> str:
        """The path of the picture inside the folder of the tour."""
        return f"pictures/{self.stem}.png"

    @property
    def enlargement(self) -> int:
        """How often each value is repeated along both axes, tiny pictures included."""
        longest = max(self.values.shape[-2:])
        return self.zoom if longest * self.zoom >= _SMALL else -(-_SMALL // longest)

    @property
    def clipped(self) -> float:
        """The share of values outside the map, from 0 to 1."""
        slack = 1e-6 * (self.high - self.low)  # float32 sums may pass 1 by a rounding
        outside = (self.values < self.low - slack) | (self.values > self.high + slack)
        return float(outside.mean())

    @property
    def map(self) -> str:
        """The map in words.

            >>> import numpy as np
        >>> Shown("a", np.array([[0.0, 2.0]]), "", "").map
            'black 0, white 1; 50 % of the values lie outside and are clipped'
        """
        text = f"black {number(self.low)}, white {number(self.high)}"
        if self.signed:
            text = f"blue {number(self.low)}, white 0, orange +{number(self.high)}"
        if len(self.values.shape) == 3 and len(self.values) == 3:
            text = f"each colour from {number(self.low)} (none) to {number(self.high)} (full)"
        share = f"{100 * self.clipped:.2g} %"
        return text + (f"; {share} of the values lie outside and are clipped" if self.clipped else "")

    def picture(self) -> Array:
        """The pixels as uint8, (height, width) or (height, width, 3)."""
        if self.signed:
            pixels = _diverging(np.clip(np.nan_to_num(self.values) / self.high, -1, 1))
        else:
            pixels = to_picture(self.values, self.low, self.high)
            pixels = pixels if pixels.ndim == 2 else pixels.transpose(1, 2, 0)
        return pixels.repeat(self.enlargement, axis=0).repeat(self.enlargement, axis=1)

    def figures(self) -> dict[str, Any]:
        """The map as numbers, for results.json."""
        return {
            "map": "signed" if self.signed else "linear",
            "low": self.low,
            "high": self.high,
            "clipped": self.clipped,
            "enlarged": self.enlargement,
        }


def signed_range(*arrays: Array, share: float = 99.0) -> float:
    """Return a round limit that `share` percent of the magnitudes stay below, for a signed map.

    >>> import numpy as np
    >>> signed_range(np.array([-3.14159, 1.0]), share=100)
    3.2
    """
    limit = max(float(np.percentile(np.abs(array), share)) for array in arrays)
    if not limit > 0:
        limit = max(float(np.abs(array).max()) for array in arrays)
    if not limit > 0:
        return 1.0
    step = 10.0 ** np.floor(np.log10(limit)) / 10
    return float(round(float(np.ceil(limit / step - 1e-9) * step), 12))


def _diverging(share: Array) -> Array:
    # From -1 to 1: blue, white, orange, linear in between.
    blue, white, orange = (np.array(colour, dtype=np.float64) for colour in (BLUE, (255, 255, 255), ORANGE))
    end = np.where(share[..., None] < 0, blue, orange)
    return np.asarray(np.rint(white + (end - white) * np.abs(share)[..., None]), dtype=np.uint8)
