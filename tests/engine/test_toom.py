"""Toom-Cook's matrices: identities in fractions, which of them are exact in binary, and points of least error."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest

from twofold.engine import toom
from twofold.engine.toom import MOST

ALL = [(m, r) for m in range(1, MOST + 1) for r in range(1, MOST + 1) if m + r - 1 <= MOST]
RIVALS = [
    Fraction(sign * a, b) for sign in (1, -1) for a, b in ((1, 2), (2, 1), (1, 3), (3, 1), (3, 2), (2, 3), (4, 1))
]


@pytest.mark.parametrize(("m", "r"), ALL)
def test_every_product_is_counted_once(m, r):
    """Output i is the sum over taps t of w[t] x[i + t]: the whole of it, as a tensor of fractions."""
    one = toom.toom(m, r)
    assert one.points == m + r - 1 == len(one.kernel) == len(one.input)
    for i, t, cell in itertools.product(range(m), range(r), range(m + r - 1)):
        total = sum(one.output[i][p] * one.kernel[p][t] * one.input[p][cell] for p in range(one.points))
        assert total == (cell == i + t)


def test_those_of_four_points_are_exact_in_binary_and_no_larger_ones():
    exact = {(m, r) for m, r in ALL if m > 1 and r > 1 and toom.toom(m, r).is_exact}
    assert exact == {(2, 2), (2, 3), (3, 2)}


@pytest.mark.parametrize(("m", "r"), ALL)
def test_a_smaller_tile_has_the_kernel_of_a_larger_one(m, r):
    for largest in range(m + 1, MOST + 2 - r):
        one, large = toom.toom(m, r, largest), toom.toom(largest, r)
        assert (one.kernel == large.kernel[: m + r - 1] and one.output == toom.toom(m, r).output) or r == 1
        for i, t, cell in itertools.product(range(m), range(r), range(m + r - 1)):
            total = sum(one.output[i][p] * one.kernel[p][t] * one.input[p][cell] for p in range(m + r - 1))
            assert total == (cell == i + t)


@pytest.mark.parametrize(("m", "r"), ALL)
def test_inputs_are_multiplied_with_whole_numbers(m, r):
    assert all(x.denominator == 1 for row in toom.toom(m, r).input for x in row)


@pytest.mark.parametrize(("m", "r", "count"), [(3, 3, 1), (4, 2, 1), (4, 3, 2), (2, 5, 2), (5, 2, 2), (3, 4, 2)])
def test_no_other_points_err_less(m, r, count):
    least = min(toom._through(m, r, (*toom.POINTS[:3], *more)).spread for more in itertools.combinations(RIVALS, count))
    assert toom.toom(m, r).spread == pytest.approx(least)


def test_the_four_points_beyond_are_the_best_of_those_that_are_pairs():
    pairs = [(a, -a, b, c) for a, b, c in itertools.product(RIVALS, repeat=3) if len({a, -a, b, c}) == 4]
    least = min(toom._through(6, 3, (*toom.POINTS[:3], *more)).spread for more in pairs)
    assert toom.toom(6, 3).spread == pytest.approx(least)


def test_magnitudes_by_hand():
    # F(2, 3): rows of B sum to 2, those of G to 1, 3/2, 3/2, 1 or half of it where B is doubled; A adds three of them.
    assert toom.toom(2, 3).worst == pytest.approx((1 * 2 + 1.5 * 2 + 1.5 * 2) / 3)
    assert toom.toom(2, 1).worst == toom.toom(1, 5).worst == 1
