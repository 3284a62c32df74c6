"""The text of numbers and sums: what must be equal in Python and in the page."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.explain.numbers import (
    Term,
    add,
    channel_text,
    dot_text,
    elided,
    json_number,
    multiply,
    number,
    scatter_text,
    term,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (-0.0, "0"), (37.0, "37"), (-5, "-5"), (True, "1"), (2.5, "2.5"), (0.1, "0.1"), (1 / 3, "0.3333"),
        (999999999999999, "999999999999999"), (10**15, "1e+15"), (-1e15, "-1e+15"), (123456789012345678, "1.235e+17"),
        (float("nan"), "nan"), (float("inf"), "inf"), (float("-inf"), "-inf"), (1e-7, "1e-07"), (1.5e300, "1.5e+300"),
        (0.0001, "0.0001"), (0.00001, "1e-05"), (99999.5, "1e+05"), (10**400, "1e+400"),
        (-12345 * 10**396, "-1.234e+400"),
        (5e-324, "4.941e-324"), (100000.25, "1.000e+05".replace(".000", "")),
        (1 + 2j, "(1+2j)"), (-1.5 - 0.5j, "(-1.5-0.5j)"), (complex(0, float("nan")), "(0+nanj)"),
        (complex(-0.0, -0.0), "(0+0j)"),
    ],
)  # fmt: skip
def test_a_number(value, text):
    assert number(value) == text


def test_ties_go_to_even():
    # Halves that binary holds exactly; JavaScript rounds these up.
    assert [number(v) for v in (1000.5, 1001.5, 1002.5, 1003.5)] == ["1000", "1002", "1002", "1004"]
    assert [number(v) for v in (0.00048828125, 2.0625 / 2)] == ["0.0004883", "1.031"]
    assert [number(v) for v in (12.345, 1.0005, 100.25, 100.75)] == ["12.35", "1", "100.2", "100.8"]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_other_numbers_are_those_of_c(value):
    expected = str(int(value)) if value == int(value) and abs(value) < 1e15 else "%.4g" % value  # noqa: UP031
    assert number(value) == expected


def test_brackets_are_round_negative_factors_and_terms():
    assert term(-2) == "(-2)" and term(-0.0) == "0" and term(float("-inf")) == "(-inf)" and term(-1j) == "(0-1j)"
    assert dot_text([(1, 1), (2, -1), (-3, -4)]) == "1*1 + 2*(-1) + (-3)*(-4) = 1 + (-2) + 12 = 11"
    assert dot_text([(1, -1), (1, -1)]) == "1*(-1) + 1*(-1) = (-1) + (-1) = -2"
    assert scatter_text([(1, -3), (-2, -3)]) == "1*(-3), (-2)*(-3) = -3, 6"


def test_worked_number_1():
    assert dot_text([(1, 1), (2, 2), (3, 4), (4, 5)]) == "1*1 + 2*2 + 3*4 + 4*5 = 1 + 4 + 12 + 20 = 37"


def test_more_than_twelve_terms_are_elided_in_both_sums():
    twelve, thirteen = [(1, i) for i in range(12)], [(1, i) for i in range(13)]
    assert "..." not in dot_text(twelve)
    assert dot_text(thirteen) == (
        "1*0 + 1*1 + 1*2 + 1*3 + ... 7 more ... + 1*11 + 1*12 = 0 + 1 + 2 + 3 + ... 7 more ... + 11 + 12 = 78"
    )
    assert "... 17 more ..." in dot_text([(1, 1)] * 23)
    assert dot_text(thirteen, full=True).count("*") == 13
    # The bias is a term like the others.
    assert dot_text(twelve, bias=5).endswith("... 7 more ... + 11 + 5 = 71")
    assert (
        scatter_text(thirteen) == "1*0, 1*1, 1*2, 1*3, ... 7 more ..., 1*11, 1*12 = 0, 1, 2, 3, ... 7 more ..., 11, 12"
    )
    assert scatter_text(thirteen, full=True).count("*") == 13
    assert elided(["a"] * 12) == ["a"] * 12


def test_few_terms():
    assert dot_text([(2, 3)]) == "2*3 = 6"
    assert dot_text([(2, 3)], bias=-1) == "2*3 + (-1) = 6 + (-1) = 5"
    assert dot_text([]) == "no products = 0"
    assert dot_text([], bias=-2) == "no products + (-2) = -2"
    assert scatter_text([]) == "no products"


def test_a_padding_term_is_zero_whatever_the_weight():
    assert dot_text([Term(math.inf, 0.0, 0.0, padding=True), Term(2.0, 3.0, 6.0)]) == "inf*0 + 2*3 = 0 + 6 = 6"


def test_channels():
    assert channel_text([(0, 19), (1, 37)], 56) == "channel 0: 19, channel 1: 37, sum 56"
    assert channel_text([(2, 1), (3, 2)], -1, -4) == "channel 2: 1, channel 3: 2, bias -4, sum -1"
    assert "... 8 more ..." in channel_text([(c, 1) for c in range(14)], 14)


def test_sums_go_strictly_from_left_to_right():
    values = [0.1] * 10
    left_to_right = 0.0
    for value in values:
        left_to_right += value
    assert add(values) == left_to_right != math.fsum(values)
    assert add([1e16, 1.0, -1e16]) == 0.0  # Python's own sum compensates


@given(st.lists(st.floats(), min_size=4, max_size=4))
def test_complex_products_are_the_schoolbook_formula(parts):
    a, b, c, d = parts
    got = multiply(complex(a, b), complex(c, d))
    assert struct.pack("<2d", got.real, got.imag) == struct.pack("<2d", a * c - b * d, a * d + b * c) or (
        math.isnan(got.real) or math.isnan(got.imag)
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"), (-0.0, "0"), (0.1, "0.1"), (1e-7, "1e-7"), (1.5e-7, "1.5e-7"), (0.000001, "0.000001"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"), (1.25e21, "1.25e+21"), (123.456, "123.456"), (-1e-10, "-1e-10"), (2**53, "9007199254740992"),
        (2**53 + 1, '"9007199254740993"'), (-(2**70), f'"{-(2**70)}"'), (float("nan"), '"nan"'),
        (float("-inf"), '"-inf"'),
        (1.5 - 2j, '"(1.5-2j)"'), (True, "1"), (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)  # fmt: skip
def test_json_numbers_are_javascripts(value, text):
    assert json_number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_json_numbers_read_back_exactly(value):
    assert float(json.loads(json_number(value))) == value


def test_numpy_scalars_print_alike():
    assert number(np.float64(2.5)) == "2.5" and number(np.int64(-3)) == "-3"
