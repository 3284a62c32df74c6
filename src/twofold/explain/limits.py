"""What an explanation makes at most, so that nothing hangs; beyond, it says so in a sentence.

The figures are chosen so that each takes about two seconds on one slow core: 16 ns for a multiplication of `y`, 5 µs
for a product that is kept as a `Term`, 8 µs for one that is written, 1 µs for a number in a large array.
"""

from __future__ import annotations

import math

from twofold.analysis.taps import LIMIT
from twofold.errors import GeometryError
from twofold.geometry import Problem
from twofold.geometry.axis import shown

__all__ = [
    "CELLS", "GIVEN", "HELD", "MULTIPLICATIONS", "NUMBERS", "TERMS", "WRITTEN", "check_given", "check_held",
    "check_invented", "check_sum", "check_terms", "check_written", "counted",
]  # fmt: skip

CELLS = 10_000_000  # of an array whose numbers are made up, and of an output
GIVEN = 1 << 28  # cells of an array that the user has: it is copied once
HELD = 1 << 18  # numbers of an array in a page
MULTIPLICATIONS = 100_000_000  # before y; a fraction of that where the numbers are Python's own integers
TERMS = 100_000  # products of one step
WRITTEN = 300_000  # products of a whole text or of the frames of an animation; a step counts as `_STEP` more
NUMBERS = 1_000_000  # numbers of arrays in a whole text; twice as many in JSON
_STEP = 10
_OBJECTS = 8  # Python's integers are so many times slower


def check_given(name: str, cells: int) -> None:
    """Refuse an array that is too large to be copied."""
    if cells > GIVEN:
        raise GeometryError(f"{name} has {cells} cells, and at most {GIVEN} are explained", repair=f"a part of {name}")


def check_held(name: str, cells: int) -> None:
    """Refuse to write an array into a page, number by number, if it is large.

    >>> check_held("x", 10**6)
    Traceback (most recent call last):
    twofold.errors.GeometryError: x holds 1000000 numbers, and a page holds at most 262144
      try a part of it
    """
    if cells > HELD:
        raise GeometryError(f"{name} holds {cells} numbers, and a page holds at most {HELD}", repair="a part of it")


def check_invented(name: str, shape: tuple[int, ...]) -> None:
    """Refuse to make up numbers for a large array.

    >>> check_invented("x", (1, 1, 10**12))
    Traceback (most recent call last):
    twofold.errors.GeometryError: x of shape (1, 1, 1000000000000) has 1000000000000 cells, and at most ...
    """
    cells = math.prod(shape)
    if cells > CELLS:
        raise GeometryError(
            f"{name} of shape {shown(shape)} has {counted(cells)} cells, and at most {CELLS} numbers are made up",
            repair=f"a smaller problem, or an array as {name}",
        )


def check_sum(problem: Problem, coarse_cells: int, *, objects: bool = False) -> None:
    """Refuse an array of the output's shape, and the sum of the products of some coarse cells, if either is large."""
    cells, terms = math.prod(problem.result_shape), math.prod(problem.weight_shape[1:])
    if cells > CELLS:
        raise GeometryError(
            f"the output has {counted(cells)} cells, and at most {CELLS} are computed",
            repair="the steps one by one, or a smaller problem",
        )
    most = MULTIPLICATIONS // _OBJECTS if objects else MULTIPLICATIONS
    if coarse_cells * terms > most or terms > LIMIT:
        most = LIMIT if coarse_cells * terms <= most else most
        raise GeometryError(
            f"the output takes {counted(coarse_cells * terms)} multiplications, and at most {most} are made",
            repair="the steps one by one, or a smaller problem",
        )


def check_terms(index: int, terms: int) -> None:
    """Refuse a step of too many products."""
    if terms > TERMS:
        raise GeometryError(
            f"step {index} has {counted(terms)} products, and at most {TERMS} are shown one by one",
            repair="a smaller kernel, or fewer channels",
        )


def check_written(what: str, steps: int, terms: int, numbers: int, most: int = NUMBERS, repair: str = "") -> None:
    """Refuse to write too many steps, each of some terms, or too many numbers of arrays."""
    if steps * (terms + _STEP) > WRITTEN and steps:
        raise GeometryError(
            f"{what} would hold {counted(steps)} steps of {counted(terms)} products, and at most {WRITTEN} products "
            f"are written (a step counts as {_STEP} more)",
            repair=repair or "a smaller problem",
        )
    if numbers > most:
        raise GeometryError(
            f"{what} would hold {counted(numbers)} numbers, and at most {most} are written",
            repair=repair or "a smaller problem",
        )


def counted(number: int) -> str:
    """Write a count that may have more digits than Python prints.

    >>> counted(10**6), counted(10**5000)
    ('1000000', 'more than 10**18')
    """
    return str(number) if number <= 10**18 else "more than 10**18"
