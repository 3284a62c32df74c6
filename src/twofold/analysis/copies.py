"""Which padded cells copy a cell, without listing the axis: the inverse of `reference.copied`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from twofold.errors import GeometryError
from twofold.geometry import Axis

__all__ = ["COPIES", "copies"]

COPIES = 100_000  # padded cells that copy one cell along one axis, where they are gone through one by one


def copies(axis: Axis, size: int, mode: str, fine: int) -> Iterable[int]:
    """Return the padded cells that copy one fine cell, itself included.

    >>> list(copies(Axis(kernel_size=3, pad_before=2, pad_after=2), 4, "reflect", 1))
    [1, -1, 5]
    """
    padded = axis.padded(size)
    if mode == "replicate":
        first = padded.start if fine == 0 else fine
        found = [range(first, padded.stop if fine == size - 1 else fine + 1)]
    else:
        period = max(size, 1) if mode == "circular" else max(2 * (size - 1), 1)
        turned = {fine % period} if mode == "circular" else {fine % period, -fine % period}
        found = [range(padded.start + (one - padded.start) % period, padded.stop, period) for one in sorted(turned)]
    cells = [range(r.start, max(min(r.stop, padded.stop), r.start), r.step) for r in found]
    number = sum((r.stop - r.start + r.step - 1) // r.step for r in cells)
    if number > COPIES:
        raise GeometryError(
            f"{number} cells of the padding copy one cell, and at most {COPIES} are gone through",
            repair="a smaller padding, or padding_mode='zeros'",
        )
    return chain(*cells)
