"""Numbers as text: one rule for the terminal, the pictures and the page, which must agree to the last byte.

    1*1 + 2*2 + 3*4 + 4*5 = 1 + 4 + 12 + 20 = 37            a product is weight*input, in the order of the taps
    1*1 + 2*(-1) = 1 + (-2) = -1                            brackets round every negative factor and term
    2*3 = 6        no products = 0        no products + 5 = 5
    1*1 + 2*1 + 3*1 + 4*1 + ... 17 more ... + 22*1 + 23*1 = 1 + 2 + 3 + 4 + ... 17 more ... + 22 + 23 = 276
    1*3, 2*3, 3*3, 4*3 = 3, 6, 9, 12                        what one input cell paints

A number is plain if it is an integer below 1e15, `nan`, `inf` or `-inf` if it is one of those, else what C prints for
`%.4g`; -0 is 0. A complex number is `(a+bj)`, its brackets included, each part by the same rule: `(0-1.5j)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TypeVar

from twofold.explain.texts import say

__all__ = [
    "ELIDE", "Number", "Term", "add", "as_term", "channel_text", "dot_text", "elided", "json_number", "multiply",
    "number", "scatter_text", "term",
]  # fmt: skip

Number = int | float | complex
Item = TypeVar("Item")

ELIDE = 12  # terms that are printed in full; of more, the first 4 and the last 2
_HEAD, _TAIL = 4, 2
_PLAIN = 10**15


@dataclass(frozen=True, slots=True)
class Term:
    """One product of a step. A padding term has input 0 and product 0, whatever the weight.

    inp, tap, out  the cells that meet, as (batch, channel, *position) and as an index of the weight; None if not known
    """

    weight: Number
    input: Number
    product: Number
    padding: bool = False
    inp: tuple[int, ...] | None = None
    tap: tuple[int, ...] | None = None
    out: tuple[int, ...] | None = None


def as_term(pair: Term | tuple[Number, Number]) -> Term:
    """Return a term from (weight, input)."""
    return pair if isinstance(pair, Term) else Term(*pair, multiply(*pair))


# -- one number --------------------------------------------------------------------------------------------------------


def number(value: Number) -> str:
    """Write a number; see the top of this page.

    >>> number(37.0), number(-0.0), number(2.5), number(1e15), number(123456.5), number(0.1 + 0.2), number(1 - 2j)
    ('37', '0', '2.5', '1e+15', '1.235e+05', '0.3', '(1-2j)')
    """
    if isinstance(value, complex):
        imaginary = number(value.imag)
        return f"({number(value.real)}{'' if imaginary.startswith('-') else '+'}{imaginary}j)"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if abs(value) < _PLAIN and value == int(value):
        return str(int(value))
    try:
        return f"{float(value):.4g}"
    except OverflowError:  # an integer beyond every float
        rounded = Decimal(value).normalize(Context(prec=4, rounding=ROUND_HALF_EVEN))
        mantissa, exponent = f"{rounded:e}".split("e")
        return f"{mantissa}e{exponent}"


def term(value: Number) -> str:
    """Write a number inside a sum or product: negative ones in brackets.

    >>> term(-1), term(1), term(-1 + 2j)
    ('(-1)', '1', '(-1+2j)')
    """
    text = number(value)
    return f"({text})" if text.startswith("-") else text


def multiply(weight: Number, value: Number) -> Number:
    """Multiply as a trace does: exact integers, float64, and complex numbers as (ac - bd) + (ad + bc)j."""
    if isinstance(weight, complex) or isinstance(value, complex):
        a, b = complex(weight), complex(value)
        return complex(a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real)
    return weight * value


def add(values: Iterable[Number]) -> Number:
    """Add strictly left to right, beginning with 0 (Python's own `sum` compensates rounding)."""
    total: Number = 0
    for value in values:
        total = total + value
    return total


# -- sums --------------------------------------------------------------------------------------------------------------


def elided(items: Sequence[Item], write: Callable[[Item], str] = str, *, full: bool = False) -> list[str]:
    """Write up to `ELIDE` items, of more the first four and the last two.

    >>> elided(range(13))
    ['0', '1', '2', '3', '... 7 more ...', '11', '12']
    """
    if full or len(items) <= ELIDE:
        return [write(item) for item in items]
    more = say("sum.more", more=len(items) - _HEAD - _TAIL)
    return [*map(write, items[:_HEAD]), more, *map(write, items[-_TAIL:])]


def dot_text(terms: Sequence[Term | tuple[Number, Number]], bias: Number | None = None, *, full: bool = False) -> str:
    """Write a dot product: the terms, the products and the sum; the bias is the last term.

    >>> dot_text([(1, 1), (2, 2), (3, 4), (4, 5)])
    '1*1 + 2*2 + 3*4 + 4*5 = 1 + 4 + 12 + 20 = 37'
    >>> dot_text([(2, 3)]), dot_text([(2, -1)], bias=5), dot_text([]), dot_text([], bias=5)
    ('2*3 = 6', '2*(-1) + 5 = (-2) + 5 = 3', 'no products = 0', 'no products + 5 = 5')
    """
    known = [as_term(pair) for pair in terms]
    tail = [] if bias is None else [bias]
    values = [t.product for t in known] + tail
    total = number(add(values))
    if not known:
        return " + ".join([say("cell.nothing"), *map(term, tail)]) + f" = {total}"
    sides = [" + ".join(elided([*known, *tail], _factors, full=full))]
    sides += [" + ".join(elided(values, term, full=full))] if len(values) > 1 else []
    return " = ".join([*sides, total])


def _factors(part: Term | Number) -> str:
    return f"{term(part.weight)}*{term(part.input)}" if isinstance(part, Term) else term(part)


def scatter_text(terms: Sequence[Term | tuple[Number, Number]], *, full: bool = False) -> str:
    """Write the products that one input cell paints.

    >>> scatter_text([(1, 3), (2, 3), (3, 3), (4, 3)])
    '1*3, 2*3, 3*3, 4*3 = 3, 6, 9, 12'
    """
    known = [as_term(pair) for pair in terms]
    if not known:
        return say("cell.nothing")
    left = elided(known, _factors, full=full)
    right = elided(known, lambda t: number(t.product), full=full)
    return f"{', '.join(left)} = {', '.join(right)}"


def channel_text(
    sums: Sequence[tuple[int, Number]], total: Number, bias: Number | None = None, *, full: bool = False
) -> str:
    """Write what each input channel contributes.

    >>> channel_text([(0, 19), (1, 37)], 56)
    'channel 0: 19, channel 1: 37, sum 56'
    """
    parts = elided(sums, lambda pair: say("sum.channel", channel=pair[0], value=number(pair[1])), full=full)
    parts += [] if bias is None else [say("cell.bias", value=number(bias))]
    return ", ".join([*parts, say("sum.total", value=number(total))])


# -- JSON --------------------------------------------------------------------------------------------------------------


def json_number(value: Number) -> str:
    """Write a number for JSON as JavaScript would, so that Python and the page write the same bytes.

    Floats have JavaScript's shortest form; nan, inf and -inf, integers beyond 2^53 and complex numbers are strings.

    >>> [json_number(v) for v in (1.0, -0.0, 0.1, 1e-7, 1e21, 2**53, 2**53 + 1, float("inf"))]
    ['1', '0', '0.1', '1e-7', '1e+21', '9007199254740992', '"9007199254740993"', '"inf"']
    """
    if isinstance(value, complex):
        real, imaginary = (json_number(part).strip('"') for part in (value.real, value.imag))
        return f'"({real}{"" if imaginary.startswith("-") else "+"}{imaginary}j)"'
    if isinstance(value, int):
        return str(int(value)) if abs(value) <= 2**53 else f'"{value}"'
    if not math.isfinite(value):
        return f'"{number(value)}"'
    text = repr(value)
    # In this form the two languages agree, but for the end of a whole number.
    return _javascript(value) if "e" in text or value == 0 else text.removesuffix(".0")


def _javascript(value: float) -> str:
    # ECMAScript, Number::toString: Python finds the same shortest digits, but places point and exponent otherwise.
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if value == 0 or not isinstance(exponent, int):
        return "0"
    text, minus = "".join(map(str, digits)), "-" if sign else ""
    point = len(text) + exponent  # where the decimal point stands, counted from the first digit
    if len(text) <= point <= 21:
        return minus + text + "0" * (point - len(text))
    if 0 < point <= 21:
        return f"{minus}{text[:point]}.{text[point:]}"
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    mantissa = text[0] + (f".{text[1:]}" if len(text) > 1 else "")
    return f"{minus}{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"
