"""How far a result may be from the exact one: a word, given to any function or held by a `with`.

    strict      direct algorithms only: every product of the definition is made, and summed in one order
    standard    (default) also algorithms whose worst element stays within 4 times the bound of a direct sum,
                (K + 2) u (conv(|x|, |w|) + |bias|), K its terms and u half the machine epsilon
    fast        also algorithms whose error stays below 2e-5 of the largest output in float32, 3.7e-14 in float64
    bf16        as strict, with float32 inputs rounded to bfloat16 before they are multiplied; sums in float32

    with accuracy("fast"):
        y = conv2d(x, weight)

The word of a call wins over that of the `with` around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from twofold.geometry.layer import one_of

__all__ = ["DEFAULT", "WORDS", "accuracy", "allows", "chosen"]

WORDS = ("strict", "standard", "fast", "bf16")
DEFAULT = "standard"
_WORST = 4.0  # times the bound of a direct sum, for standard
_OF_LARGEST = 2e-5  # of the largest output, for fast, in float32

_current: ContextVar[str] = ContextVar("twofold_accuracy", default=DEFAULT)


def accuracy(word: str) -> AbstractContextManager[None]:
    """Compute so inside the `with`, in this thread or task; threads begun inside do not inherit it.

    word    strict, standard, fast or bf16; the page `docs/how-to/accuracy.md` says what each allows, and measures it
    raises  GeometryError if it is none of them

    >>> with accuracy("fast"):
    ...     chosen(), chosen("strict")
    ('fast', 'strict')
    """
    return _held(_checked(word))


def chosen(word: object = None) -> str:
    """Return the accuracy of a call: its own word, or that of the `with` around it.

    >>> chosen("exact")
    Traceback (most recent call last):
    twofold.errors.GeometryError: accuracy must be 'strict', 'standard', 'fast' or 'bf16', not 'exact'
      try accuracy='strict'
    """
    return _current.get() if word is None else _checked(word)


def allows(word: str, error: float, relative: float, unit: float = 2.0**-24) -> bool:
    """Return whether an algorithm that is not direct may be chosen.

    error       predicted of its worst element, over the bound of a direct sum
    relative    the same over the largest output
    unit        half the machine epsilon of the sums

    >>> allows("standard", 3.0, 1e-6), allows("standard", 30.0, 1e-6), allows("fast", 30.0, 1e-6)
    (True, False, True)
    """
    if word in ("strict", "bf16"):
        return False
    return error <= _WORST or (word == "fast" and relative <= _OF_LARGEST * unit / 2.0**-24)


@contextmanager
def _held(word: str) -> Iterator[None]:
    token = _current.set(word)
    try:
        yield
    finally:
        _current.reset(token)


def _checked(word: object) -> str:
    return one_of("accuracy", word, WORDS)
