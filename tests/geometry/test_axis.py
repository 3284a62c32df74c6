"""Laws of one axis, over all small axes, against triples found by trying every one; then huge numbers and refusals."""

from __future__ import annotations

import itertools
from math import gcd

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import GeometryError
from twofold.geometry import Axis
from twofold.geometry.axis import as_count

NUMBERS = list(itertools.product((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3), (0, 1, 3), (-1, 0, 2)))
AXES = [Axis(*numbers) for numbers in NUMBERS]
HUGE = 2**200


def triples(axis: Axis, coarse_size: int, fine_size: int) -> set[tuple[int, int, int]]:
    """Every (coarse, tap, fine) that satisfies the equation, written once more here."""
    found = set()
    for coarse in range(coarse_size):
        for tap in range(axis.kernel_size):
            fine = coarse * axis.stride + tap * axis.dilation - axis.pad_before
            if 0 <= fine < fine_size:
                found.add((coarse, tap, fine))
    return found


def coarse_count(axis: Axis, n: int) -> int:
    """Count the places of the kernel inside the padded array; 0 where it does not fit."""
    padded = n + axis.pad_before + axis.pad_after
    return sum(
        start + (axis.kernel_size - 1) * axis.dilation < padded for start in range(0, max(padded, 0), axis.stride)
    )


def test_fine_is_the_equation():
    for axis in AXES:
        for coarse, tap in itertools.product(range(-2, 4), range(axis.kernel_size)):
            assert axis.fine(coarse, tap) == coarse * axis.stride + tap * axis.dilation - axis.pad_before


def test_taps_are_the_triples_of_a_coarse_cell():
    for axis, n, m in itertools.product(AXES, (0, 1, 6), (4,)):
        expected = triples(axis, m, n)
        assert {(c, tap, fine) for c in range(m) for tap, fine in axis.taps(c, n)} == expected


def test_taps_reaching_and_coarse_of_are_the_triples_of_a_fine_cell():
    for axis, n, m in itertools.product(AXES, (9,), (0, 1, 3)):
        found = {(axis.coarse_of(f, tap), tap, f) for f in range(n) for tap in axis.taps_reaching(f, m)}
        assert found == triples(axis, m, n)


def test_span_is_the_triples_of_a_tap_and_its_slices_have_equal_length():
    for axis, n, m in itertools.product(AXES, (0, 1, 7), (0, 1, 4)):
        found = set()
        for tap in range(axis.kernel_size):
            coarse, fine = (
                range(*cells.indices(size)) for cells, size in zip(axis.span(tap, m, n), (m, n), strict=True)
            )
            assert len(coarse) == len(fine)
            found |= {(c, tap, f) for c, f in zip(coarse, fine, strict=True)}
        assert found == triples(axis, m, n)


def test_overlap_counts_the_triples_of_each_fine_cell():
    for axis, n, m in itertools.product(AXES, (0, 8), (1, 3)):
        counts = [0] * n
        for _, _, fine in triples(axis, m, n):
            counts[fine] += 1
        assert axis.overlap(m, n) == tuple(counts)


def test_phases_are_the_triples_of_each_residue_with_taps_and_shifts():
    for axis in AXES:
        n, m = 12, 40  # coarse cells on both sides of every fine cell looked at
        offset = 20 * axis.stride
        found = set()
        phases = list(axis.phases())
        assert [phase.residue for phase in phases] == list(range(axis.stride))
        for phase in phases:
            assert len(phase.taps) == len(phase.shifts)
            for q in range(-20, n):
                fine = q * axis.stride + phase.residue
                found |= {(q + shift, tap, fine) for tap, shift in zip(phase.taps, phase.shifts, strict=True)}
        around = {
            (c, tap, c * axis.stride + tap * axis.dilation - axis.pad_before)
            for c in range(-20, m)
            for tap in range(axis.kernel_size)
        }
        window = range(-offset // 2, n)
        assert {t for t in found if t[2] in window and -20 <= t[0] < m} == {t for t in around if t[2] in window}


def test_the_size_of_a_phase_counts_its_cells():
    for stride, n in itertools.product(range(1, 6), range(12)):
        for phase in Axis(3, stride).phases():
            assert phase.size(n, stride) == sum(fine % stride == phase.residue for fine in range(n))


def test_fine_span_is_the_smallest_interval_that_holds_what_an_interval_of_coarse_cells_reads():
    for axis, first, count in itertools.product(AXES, (-2, 0, 3), (0, 1, 3)):
        coarse = range(first, first + count)
        reads = [axis.fine(c, tap) for c in coarse for tap in range(axis.kernel_size)]
        assert axis.fine_span(coarse) == (range(min(reads), max(reads) + 1) if reads else range(0))


def test_coarse_span_is_the_smallest_interval_that_reaches_into_an_interval_of_fine_cells():
    for axis, first, count in itertools.product(AXES, (-2, 0, 3), (0, 1, 2, 5)):
        fine = range(first, first + count)
        # A coarse cell reaches an interval where the interval from its first to its last tap meets it.
        reach = [
            c
            for c in range(-40, 40)
            if count and axis.fine(c, 0) <= fine[-1] and axis.fine(c, axis.kernel_size - 1) >= fine[0]
        ]
        span = axis.coarse_span(fine)
        assert list(span) == reach
        assert not reach or span == range(reach[0], reach[-1] + 1)


def test_coarse_size_counts_the_places_of_the_kernel_and_refuses_where_there_is_none():
    for axis, n in itertools.product(AXES, range(10)):
        count = coarse_count(axis, n)
        if count:
            assert axis.coarse_size(n) == count
        else:
            with pytest.raises(GeometryError, match="kernel does not fit"):
                axis.coarse_size(n)


def test_fine_sizes_are_exactly_the_sizes_that_a_convolution_maps_to_a_coarse_size():
    for axis, m in itertools.product(AXES, (1, 2, 4)):
        assert list(axis.fine_sizes(m)) == [n for n in range(40) if coarse_count(axis, n) == m]


def test_output_padding_of_a_convolutions_input_leads_back_to_it_and_is_legal():
    for axis, n in itertools.product(AXES, range(1, 12)):
        m = coarse_count(axis, n)
        if m:
            extra = axis.output_padding(n)
            assert 0 <= extra < axis.stride
            assert (
                extra
                == (n + axis.pad_before + axis.pad_after - axis.dilation * (axis.kernel_size - 1) - 1) % axis.stride
            )
            assert axis.fine_size(m, extra) == n


def test_a_fine_size_made_with_output_padding_below_stride_has_its_coarse_size_back():
    for axis, m in itertools.product(AXES, (1, 3)):
        for extra in range(axis.stride):
            try:
                n = axis.fine_size(m, extra)
            except GeometryError as error:
                assert "padding swallows the output" in error.rule
            else:
                assert coarse_count(axis, n) == m


def interior_counts(kernel_size: int, stride: int, dilation: int) -> list[int]:
    """Products per fine cell, far from both ends."""
    counts = [0] * 200
    for coarse, tap in itertools.product(range(-100, 200), range(kernel_size)):
        fine = coarse * stride + tap * dilation
        if 0 <= fine < 200:
            counts[fine] += 1
    return counts[60:140]


def test_coverage_is_even_iff_stride_and_dilation_are_coprime_and_stride_divides_the_kernel_size():
    for k, s, d in itertools.product(range(1, 8), range(1, 7), range(1, 6)):
        is_even = len(set(interior_counts(k, s, d))) == 1
        assert Axis(k, s, d).is_even == is_even == (gcd(s, d) == 1 and k % s == 0)


def test_there_are_holes_iff_a_common_divisor_is_left_or_the_kernel_is_smaller_than_the_stride():
    for k, s, d in itertools.product(range(1, 8), range(1, 7), range(1, 6)):
        has_holes = min(interior_counts(k, s, d)) == 0
        assert Axis(k, s, d).has_holes == has_holes == (gcd(s, d) > 1 or k < s)


def test_sizes_equal_those_of_torch_on_meta_tensors():
    for k, s, d, p, n in itertools.product((1, 2, 3, 5), (1, 2, 3), (1, 2, 4), (0, 1, 2), (1, 4, 9)):
        axis = Axis(k, s, d, p, p)
        x, w = torch.empty(1, 1, n, device="meta"), torch.empty(1, 1, k, device="meta")
        if n + 2 * p >= d * (k - 1) + 1:
            assert axis.coarse_size(n) == torch.nn.functional.conv1d(x, w, None, s, p, d).shape[2]
        else:
            with pytest.raises(GeometryError):
                axis.coarse_size(n)
        for extra in range(max(s, d)):
            if (n - 1) * s - 2 * p + d * (k - 1) + extra + 1 >= 1:
                y = torch.nn.functional.conv_transpose1d(x, w, None, s, p, extra, 1, d)
                assert axis.fine_size(n, extra) == y.shape[2]


huge = st.integers(1, 2**210)


@given(huge, huge, huge, huge, huge, huge)
def test_sizes_of_any_magnitude_are_exact(k, s, d, before, after, n):
    axis = Axis(k, s, d, before, after)
    room = n + before + after - d * (k - 1) - 1
    if room >= 0:
        m = axis.coarse_size(n)
        assert (m - 1) * s <= room < m * s
        assert axis.fine_size(m, axis.output_padding(n)) == n
    else:
        with pytest.raises(GeometryError):
            axis.coarse_size(n)


def test_two_to_the_two_hundred_cells_are_no_trouble():
    axis = Axis(3, 2, 1, 1, 1)
    assert axis.coarse_size(HUGE) == 2**199
    assert axis.fine_size(2**199, 1) == HUGE
    assert list(axis.taps(HUGE, 2 * HUGE + 1)) == [(0, 2 * HUGE - 1), (1, 2 * HUGE)]
    assert axis.fine_span(range(HUGE, HUGE + 1)) == range(2 * HUGE - 1, 2 * HUGE + 2)
    assert axis.coarse_span(range(2 * HUGE, 2 * HUGE + 1)) == range(HUGE, HUGE + 1)
    assert list(axis.taps_reaching(2 * HUGE + 1, HUGE + 9)) == [0, 2]


def test_words_write_the_sums_out():
    axis = Axis(3, stride=2, dilation=4, pad_before=1, pad_after=2)
    assert axis.coarse_sum(9) == "floor((9 + (1 + 2) - 4*(3-1) - 1)/2) + 1 = 2"
    assert axis.fine_sum(2, 10) == "(2-1)*2 - (1 + 2) + 4*(3-1) + 2 + 1 = 10"
    assert str(axis) == "kernel_size 3, stride 2, dilation 4, padding (1, 2)"
    assert Axis(2).coarse_sum(2) == "floor((2 + 0 - 1*(2-1) - 1)/1) + 1 = 1"


def refusal(action, *args, **kwargs) -> str:
    with pytest.raises(GeometryError) as caught:
        action(*args, **kwargs)
    assert isinstance(caught.value, ValueError)
    return str(caught.value)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: Axis(0), "kernel_size must be at least 1, not 0\n  try kernel_size=1"),
        (lambda: Axis(3, 0), "stride must be at least 1, not 0\n  try stride=1"),
        (lambda: Axis(3, 1, -2), "dilation must be at least 1, not -2\n  try dilation=1"),
        (lambda: Axis(3, 1, 1, -1), "pad_before must be at least 0, not -1\n  try pad_before=0"),
        (lambda: Axis(3.0), "kernel_size must be an integer, not 3.0 (float)\n  try kernel_size=3"),
        (lambda: Axis(2.5), "kernel_size must be an integer, not 2.5 (float)\n  try kernel_size=1"),
        (lambda: Axis(3, True), "stride must be an integer, not True (bool)\n  try stride=1"),
        (lambda: Axis(3, np.True_), "stride must be an integer, not np.True_ (bool)\n  try stride=1"),
        (lambda: Axis("3"), "kernel_size must be an integer, not '3' (str)\n  try kernel_size=1"),
        (lambda: Axis(None), "kernel_size must be an integer, not None (NoneType)\n  try kernel_size=1"),
        (lambda: Axis(float("nan")), "kernel_size must be an integer, not nan (float)\n  try kernel_size=1"),
        (lambda: Axis(10**1000), "kernel_size has more than 1000 digits, which is no size"),
        (
            lambda: Axis(3, dilation=4).coarse_size(5),
            "kernel does not fit: (kernel_size 3 - 1) * dilation 4 + 1 = 9 cells, but input 5 + padding 0 + 0 = 5\n"
            "  try padding=2, or dilation at most 2",
        ),
        (
            lambda: Axis(5, pad_before=1).coarse_size(2),
            "kernel does not fit: (kernel_size 5 - 1) * dilation 1 + 1 = 5 cells, but input 2 + padding 1 + 0 = 3\n"
            "  try padding=2, or kernel_size at most 3",
        ),
        (
            lambda: Axis(3, 2).fine_size(4, 2),
            "output_padding 2 must be smaller than stride 2 or dilation 1\n  try output_padding=1",
        ),
        (lambda: Axis(3).fine_size(4, -1), "output_padding must be at least 0, not -1\n  try output_padding=0"),
        (
            lambda: Axis(1, 1, 1, 2, 2).fine_size(3),
            "padding swallows the output: (3-1)*1 - 2*2 + 1*(1-1) + 0 + 1 = -1, but a size must be at least 1",
        ),
        (
            lambda: Axis(3, 2, 1, 1, 1).check_target(4, 10),
            "output size 10 is out of reach: with input 4, kernel_size 3, stride 2, dilation 1, padding 1, "
            "valid sizes are 7 to 8\n  try output_size=8",
        ),
        (
            lambda: Axis(3).check_target(4, 5),
            "output size 5 is out of reach: with input 4, kernel_size 3, stride 1, dilation 1, padding 0, "
            "valid sizes are 6\n  try output_size=6",
        ),
        (
            lambda: Axis(1, 1, 1, 9, 9).check_target(1, 1),
            "output size 1 is out of reach: with input 1, kernel_size 1, stride 1, dilation 1, padding 9, "
            "padding swallows every size\n  try a smaller padding",
        ),
        (lambda: Axis(3).coarse_size(-1), "input size must be at least 0, not -1"),
        (lambda: Axis(3).fine_size(0), "input size must be at least 1, not 0"),
        (lambda: Axis(2, 2).coarse_of(1, 0), "fine cell 1 and tap 0 never meet at stride 2"),
    ],
)
def test_each_refusal_says_the_rule_the_numbers_and_the_way_out(action, message):
    assert refusal(action).startswith(message)


def test_a_repair_that_a_message_names_does_repair():
    for k, d, n in itertools.product((2, 3, 7), (1, 2, 5), (0, 1, 4)):
        if n >= d * (k - 1) + 1:
            continue
        repair = refusal(Axis(k, 1, d).coarse_size, n).rsplit("try ", 1)[1]
        padding = int(repair.split(",")[0].removeprefix("padding="))
        assert coarse_count(Axis(k, 1, d, padding, padding), n) >= 1
        assert coarse_count(Axis(k, 1, d, padding - 1, padding - 1), n) == 0 if padding else True
        if "dilation at most" in repair:
            fitting = int(repair.rsplit(" ", 1)[1])
            assert coarse_count(Axis(k, 1, fitting), n) >= 1 and coarse_count(Axis(k, 1, fitting + 1), n) == 0
        if "kernel_size at most" in repair:
            fitting = int(repair.rsplit(" ", 1)[1])
            assert coarse_count(Axis(fitting), n) >= 1 and coarse_count(Axis(fitting + 1), n) == 0


def test_the_repair_of_a_swallowed_output_and_of_a_target_out_of_reach_do_repair():
    for p, n in itertools.product(range(2, 5), (1, 2)):
        repair = refusal(Axis(2, 1, 1, p, p).fine_size, n).rsplit("try padding=", 1)[1]
        padding = int(repair.split(",")[0])
        assert (n - 1) + 2 - 2 * padding >= 1 > (n - 1) + 2 - 2 * (padding + 1)
    for target in (1, 99):
        repair = refusal(Axis(3, 2, 1, 1, 1).check_target, 4, target).rsplit("output_size=", 1)[1]
        assert int(repair) in (7, 8)


class Hostile:
    def __index__(self):
        raise RuntimeError("no index today")

    def __repr__(self):
        raise RuntimeError("no repr either")


def test_an_object_that_fails_to_be_a_number_or_to_print_itself_is_refused_in_a_sentence():
    assert "stride must be an integer, not a value that cannot be printed (Hostile)" in refusal(Axis, 3, Hostile())


def test_integers_of_numpy_and_torch_are_integers():
    axis = Axis(np.int64(3), torch.tensor(2), np.array(1))
    assert (axis.kernel_size, axis.stride, axis.dilation) == (3, 2, 1)
    assert all(type(number) is int for number in (axis.kernel_size, axis.stride, axis.dilation))
    assert as_count("n", np.uint64(2**64 - 1), 0) == 2**64 - 1


@pytest.mark.parametrize(
    "axis", [Axis(k, s, d) for k in range(1, 8) for s in range(1, 6) for d in range(1, 5)], ids=str
)
def test_products_are_the_fewest_and_the_most_of_the_interior(axis):
    coarse = 4 * axis.extent + 8
    counts = axis.overlap(coarse, axis.fine_size(coarse))
    inner = counts[axis.extent + axis.stride : -axis.extent - axis.stride]
    assert axis.products == (min(inner), max(inner))
    for size in axis.even_kernel_sizes:
        assert Axis(size, axis.stride, axis.dilation).is_even


def test_a_list_of_counts_is_refused_where_it_would_not_end():
    with pytest.raises(GeometryError, match="a count for each of 10000000000 cells is too long a list"):
        Axis(kernel_size=3).overlap(5, 10**10)


def test_padded_cells_begin_before_the_first_and_end_after_the_last():
    assert Axis(3, pad_before=2, pad_after=1).padded(4) == range(-2, 5)
    assert Axis(3, pad_after=-2).padded(5) == range(3)
    assert Axis(3, pad_after=-9).padded(5) == range(0)
