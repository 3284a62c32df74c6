"""The size equation solved for what is missing, against sizes that are counted by brute force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import counted_coarse, counted_fine
from twofold.analysis.sizes import conventions, inputs_of, solve
from twofold.errors import GeometryError
from twofold.geometry import Axis


@given(st.integers(1, 12), st.integers(1, 24))
def test_every_solution_leads_there_and_back(coarse, fine):
    found = solve(coarse, fine)
    for one in found:
        axis = one.axis
        numbers = (axis.kernel_size, axis.stride, axis.dilation, (axis.pad_before, axis.pad_after))
        assert counted_coarse(fine, *numbers) == coarse
        assert counted_fine(coarse, *numbers, one.output_padding) == fine
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("coarse, fine", [(4, 8), (7, 14), (5, 9), (3, 3), (6, 17)])
def test_no_solution_is_missing(coarse, fine):
    """All layers of these strides whose padding is below the kernel, tried one by one."""
    strides = {s.axis.stride for s in solve(coarse, fine)}
    every = {
        (k, s, p)
        for k in range(1, 13) for s in strides for p in range(k)
        if fine + 2 * p >= k and counted_coarse(fine, k, s, 1, (p, p)) == coarse
    }  # fmt: skip
    assert {(s.axis.kernel_size, s.axis.stride, s.axis.pad_before) for s in solve(coarse, fine)} == every


def test_from_4_to_8():
    names = [(s.name, s.axis.is_even) for s in solve(4, 8)]
    assert names[:3] == [("k2 s2 p0", True), ("k4 s2 p1", True), ("k6 s2 p2", True)]
    uneven = [name for name, even in names if not even]
    assert uneven[:2] == ["k3 s2 p1 op1", "k5 s2 p2 op1"]
    assert [even for _, even in names] == sorted((even for _, even in names), reverse=True)


def test_what_is_given_is_kept_and_a_size_may_be_missing():
    assert [(s.fine, s.output_padding) for s in solve(4, kernel_size=3, stride=2, padding=1)] == [(7, 0), (8, 1)]
    assert [(s.coarse, s.output_padding) for s in solve(None, 24, kernel_size=3, stride=2, padding=1)] == [(12, 1)]
    assert [s.name for s in solve(4, 8, dilation=3, kernel_size=2, padding=1)] == ["k2 s2 p1 d3"]
    assert {s.axis.dilation for s in solve(4, 8, dilation=None)} == {1, 2, 3, 4}
    assert [s.name for s in solve(4, 8, kernel_size=3, output_padding=0)] == []


@pytest.mark.parametrize("call, words", [
    (lambda: solve(), "one of the two sizes"),
    (lambda: solve(0, 8), "coarse size must be at least 1"),
    (lambda: solve(4, 8, kernel_size=10**9), "too many layers"),
    (lambda: inputs_of(Axis(3, stride=10**6), 4), "too long a list"),
])  # fmt: skip
def test_what_cannot_be_solved_is_refused(call, words):
    with pytest.raises(GeometryError, match=words):
        call()


def test_same_pads_one_cell_later_than_half_padding():
    assert [(c.before, c.after, c.coarse) for c in conventions(Axis(3, stride=2), 6)] == [
        (1, 1, 3), (0, 1, 3), (0, 1, 3), (1, 0, 3),
    ]  # fmt: skip
