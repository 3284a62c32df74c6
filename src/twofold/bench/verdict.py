"""Whether what a peer computed is right. A wrong result is shown as wrong, and not timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twofold.bench.case import Array
from twofold.bench.oracle import NAMES

__all__ = ["PRECISION", "Verdict", "allowed", "judge"]

# Of the largest output. Float32 sums stay below 1e-5 and Winograd's with tiles of 4 below 2e-5, but bfloat16 is at 4e-3
# and tf32 at 5e-4, which the bound on the error of a sum of thousands of terms would let pass.
PRECISION = 1e-4
# By accuracy: times the bound of a direct sum; of the largest output; and times that bound up to which the latter is
# not asked, since direct sums are always allowed, and those of 100,000 terms (weight gradients) may pass 2e-5.
_OURS = {
    "strict": (1.0, PRECISION, 0.0),
    "standard": (4.0, PRECISION, 0.0),
    "fast": (float("inf"), 2e-5, 1.0),
    "bf16": (float("inf"), 2e-2, 0.0),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far the worst element is off.

    error   |y - exact| / max |exact|, the largest over all elements and results
    share   |y - exact| / bound of that element, the largest
    reason  why it is wrong; empty if it is right
    """

    error: float
    share: float
    reason: str = ""


def allowed(accuracy: str) -> tuple[float, float, float]:
    """Return what our own columns may be off by, as `judge` takes it.

    >>> allowed("strict"), allowed("fast")
    ((1.0, 0.0001, 0.0), (inf, 2e-05, 1.0))
    """
    return _OURS[accuracy]


def judge(
    results: Sequence[Array], folder: Path, slack: float = 1.0, precision: float = PRECISION, direct: float = 0.0
) -> Verdict:
    """Hold results against what the oracle wrote.

    slack      times its bound is allowed
    precision  of the largest output is allowed, too
    direct     times its bound that are allowed whatever the precision is
    """
    error = share = 0.0
    for name, y in zip(NAMES, results, strict=False):
        expected = np.load(folder / f"expected_{name}.npy", mmap_mode="r")
        bound = np.load(folder / f"bound_{name}.npy", mmap_mode="r")
        if y.shape != expected.shape:
            return Verdict(np.inf, np.inf, f"{name} has shape {y.shape}, not {expected.shape}")
        off = np.abs(y - expected)
        if not np.isfinite(off).all():
            return Verdict(np.inf, np.inf, f"{name} has values that are not finite")
        error = max(error, _ratio(float(off.max()), float(np.abs(expected).max())))
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(off > 0, off / bound, 0.0)
        share = max(share, float(shares.max()))
    double = bool(results) and results[0].dtype == np.float64
    precision = precision * 2.0**-29 if double else precision  # 2**-53 / 2**-24
    if share > slack:
        return Verdict(error, share, f"error {share:.2g} times what rounding explains")
    if error > precision and share > direct:
        return Verdict(error, share, f"error {error:.1g} of the largest output: less than the problem's precision")
    return Verdict(error, share)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else (np.inf if part else 0.0)
