"""What options are spelled like on the command line, as values for the functions.

2          every axis               1:2        one axis, before and after
2,1  2x1   one number per axis      1:2,0:1    one such pair per axis
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from twofold.errors import GeometryError

__all__ = ["Range", "counts", "number", "padding", "value_range"]

_COUNT = re.compile(r"[+-]?[0-9]{1,18}")
_WORD = re.compile(r"[a-z_]+", re.IGNORECASE)


def counts(option: str, text: str) -> int | tuple[int, ...]:
    """Read one whole number, or one per axis.

    >>> counts("--stride", "2"), counts("--stride", "2,1"), counts("--stride", "2x1")
    (2, (2, 1), (2, 1))
    >>> counts("--stride", "abc")
    Traceback (most recent call last):
    twofold.errors.GeometryError: --stride takes a whole number, or one per axis as in 2,1, not 'abc'
    """
    parts = _parts(text)
    if not all(_COUNT.fullmatch(part) for part in parts):
        raise GeometryError(f"{option} takes a whole number, or one per axis as in 2,1, not {_short(text)}")
    numbers = tuple(int(part) for part in parts)
    return numbers[0] if len(numbers) == 1 else numbers


def number(option: str, text: str) -> int:
    """Read one whole number.

    >>> number("--groups", "2")
    2
    """
    if not _COUNT.fullmatch(text.strip()):
        raise GeometryError(f"{option} takes a whole number, not {_short(text)}")
    return int(text)


def padding(text: str, rank: int) -> str | int | tuple[int, ...] | tuple[tuple[int, int], ...]:
    """Read a padding: numbers, pairs, or a word, which the geometry checks. One pair stands for every axis.

    >>> padding("same", 2), padding("1,2", 2), padding("1:2", 2), padding("1:2,0:1", 2)
    ('same', (1, 2), ((1, 2), (1, 2)), ((1, 2), (0, 1)))
    """
    text = text.strip()
    if _WORD.fullmatch(text):
        return text.lower()
    parts = [part.split(":") for part in _parts(text)]
    if not all(len(part) <= 2 and all(_COUNT.fullmatch(entry) for entry in part) for part in parts):
        raise GeometryError(
            f"--padding takes 1, 1,2 or 1:2,0:1, or same, same_lower, valid, causal, not {_short(text)}"
        )
    if all(len(part) == 1 for part in parts):
        return counts("--padding", text)
    pairs = tuple((int(part[0]), int(part[-1])) for part in parts)
    return pairs * rank if len(pairs) == 1 else pairs


@dataclass(frozen=True, slots=True)
class Range:
    """Which values become black and white: `kind` is "auto", "clip" or "given"; given are `low` and `high`."""

    kind: str
    low: float = 0.0
    high: float = 255.0


def value_range(text: str) -> Range:
    """Read what --range is given.

    >>> value_range("-1:1")
    Range(kind='given', low=-1.0, high=1.0)
    """
    if text.strip().lower() in ("auto", "clip"):
        return Range(text.strip().lower())
    low, _, high = text.partition(":")
    try:
        bounds = float(low), float(high)
    except ValueError:
        raise GeometryError(f"--range takes auto, clip or LOW:HIGH as in 0:255, not {_short(text)}") from None
    if not (math.isfinite(bounds[0]) and math.isfinite(bounds[1]) and bounds[0] < bounds[1]):
        raise GeometryError(f"--range takes two finite numbers, the lower first, not {_short(text)}", repair="0:255")
    return Range("given", *bounds)


def _parts(text: str) -> list[str]:
    return re.split(r"\s*[,x]\s*|\s+", text.strip())


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
