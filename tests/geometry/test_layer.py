"""Layers: channels, and every spelling of padding; 'same' and 'causal' as laws about which cells meet."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import torch

from twofold.errors import GeometryError
from twofold.geometry import Axis, Geometry, axis_name
from twofold.geometry.layer import conv_axes, per_axis, transposed_axes

SMALL = list(itertools.product((1, 2, 3, 5), (1, 2, 3), (1, 2, 3), (1, 2, 5, 8)))  # kernel, stride, dilation, size


def pads(axes) -> list[tuple[int, int]]:
    return [(axis.pad_before, axis.pad_after) for axis in axes]


def reads(axis: Axis, coarse: int) -> list[int]:
    """The fine cells that a coarse cell meets, padding included."""
    return [coarse * axis.stride + tap * axis.dilation - axis.pad_before for tap in range(axis.kernel_size)]


def test_weight_shape_is_one_for_both_directions():
    layer = Geometry((Axis(3), Axis(2)), fine_channels=6, coarse_channels=8, groups=2)
    assert layer.weight_shape == (8, 3, 3, 2)
    assert layer.rank == 2 and layer.kernel_size == (3, 2)
    assert torch.nn.Conv2d(6, 8, (3, 2), groups=2).weight.shape == layer.weight_shape
    assert torch.nn.ConvTranspose2d(8, 6, (3, 2), groups=2).weight.shape == layer.weight_shape


@pytest.mark.parametrize("word", ["same", "same_lower"])
def test_same_makes_the_coarse_size_the_fine_size_over_stride_rounded_up_with_the_least_padding(word):
    for k, s, d, n in SMALL:
        (axis,) = conv_axes((n,), (k,), (s,), (d,), word)
        coarse = -(-n // s)
        assert axis.coarse_size(n) == coarse
        before, after = axis.pad_before, axis.pad_after
        assert (after - before if word == "same" else before - after) in (0, 1)
        total = max(0, (coarse - 1) * s + d * (k - 1) + 1 - n)
        assert before + after == total


def test_same_at_stride_one_equals_torch():
    for k, d, n in itertools.product((1, 2, 3, 4), (1, 2, 3), (4, 9)):
        x, w = torch.arange(n, dtype=torch.float64).reshape(1, 1, n), torch.ones(1, 1, k, dtype=torch.float64)
        (axis,) = conv_axes((n,), (k,), (1,), (d,), "same")
        padded = torch.nn.functional.pad(x, (axis.pad_before, axis.pad_after))
        ours = torch.nn.functional.conv1d(padded, w, dilation=d)
        if d * (k - 1) % 2 == 0:  # torch warns about a copy otherwise
            assert torch.equal(ours, torch.nn.functional.conv1d(x, w, padding="same", dilation=d))


def test_valid_pads_nothing():
    assert pads(conv_axes((9,), (3,), (2,), (2,), "valid")) == [(0, 0)]
    axes, size = transposed_axes((4,), (3,), (2,), (1,), "valid")
    assert pads(axes) == [(0, 0)] and size == (9,)


def test_causal_convolution_reads_no_later_cell_and_always_the_present_one():
    for k, s, d, n in SMALL:
        (axis,) = conv_axes((n,), (k,), (s,), (d,), "causal")
        assert axis.coarse_size(n) == -(-n // s)
        for coarse in range(-(-n // s)):
            assert max(reads(axis, coarse)) == coarse * s


def test_causal_transpose_starts_at_its_own_cell_and_crops_the_end():
    for k, s, d, m in SMALL:
        ((axis,), (fine,)) = transposed_axes((m,), (k,), (s,), (d,), "causal")
        assert fine == m * s
        assert axis.pad_before == 0
        assert axis.pad_after == max(0, (m - 1) * s + d * (k - 1) + 1 - fine)
        for coarse in range(m):
            assert min(reads(axis, coarse)) == coarse * s  # an input cell paints nothing before its own place


@pytest.mark.parametrize("word", ["same", "same_lower"])
def test_same_transpose_is_the_adjoint_of_the_same_convolution_of_its_output(word):
    for k, s, d, m in SMALL:
        axes, (fine,) = transposed_axes((m,), (k,), (s,), (d,), word)
        assert fine == m * s
        assert axes == conv_axes((fine,), (k,), (s,), (d,), word)
        for target in range((m - 1) * s + 1, m * s + 1):
            axes, size = transposed_axes((m,), (k,), (s,), (d,), word, output_size=target)
            assert size == (target,) and axes == conv_axes((target,), (k,), (s,), (d,), word)


def test_numbers_pairs_lists_and_arrays_spell_the_same_padding():
    spellings = [1, (1, 1), [1, 1], ((1, 1), (1, 1)), np.array([1, 1]), np.array([[1, 1], [1, 1]]), np.int32(1)]
    spellings += [torch.tensor(1), torch.tensor([1, 1])]
    for padding in spellings:
        assert pads(conv_axes((5, 5), (3, 3), (1, 1), (1, 1), padding)) == [(1, 1), (1, 1)]
    assert pads(conv_axes((5, 5), (3, 3), (1, 1), (1, 1), (1, (0, 2)))) == [(1, 1), (0, 2)]
    assert pads(conv_axes((5,), (3,), (1,), (1,), ((0, 2),))) == [(0, 2)]


def test_targets_and_output_padding_choose_among_the_same_sizes():
    for k, s, d, m in SMALL:
        for extra in range(max(s, d)):
            axes, (fine,) = transposed_axes((m,), (k,), (s,), (d,), 0, extra)
            assert fine == (m - 1) * s + d * (k - 1) + 1 + extra
            assert transposed_axes((m,), (k,), (s,), (d,), 0, 0, fine) == (axes, (fine,))


def test_axis_names_are_those_people_use():
    assert [axis_name(i, 2) for i in range(2)] == ["height", "width"]
    assert axis_name(0, 1) == "width"
    assert [axis_name(i, 4) for i in range(4)] == ["0 of 4", "1 of 4", "2 of 4", "3 of 4"]


def test_without_padding_keeps_all_else():
    layer = Geometry((Axis(3, 2, 2, 1, 4),), 4, 6, 2)
    assert layer.without_padding() == Geometry((Axis(3, 2, 2),), 4, 6, 2)


def test_a_layer_prints_its_channels_and_axes():
    text = str(Geometry((Axis(3), Axis(2, 2)), 4, 6, 2))
    assert text.splitlines() == [
        "4 fine channels, 6 coarse channels, groups 2",
        "height: kernel_size 3, stride 1, dilation 1, padding 0",
        "width: kernel_size 2, stride 2, dilation 1, padding 0",
    ]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: Geometry(()), "the axes of a layer are a tuple of at least 1 Axis"),
        (
            lambda: Geometry((Axis(3),), 6, 8, 4),
            "groups 4 must divide the channels, but 6 = 1 * 4 + 2\n  try groups=2",
        ),
        (lambda: Geometry((Axis(3),), 6, 8, 0), "groups must be at least 1, not 0\n  try groups=1"),
        (lambda: Geometry((Axis(3),), 6, -8), "coarse_channels must be at least 0, not -8\n  try coarse_channels=0"),
        (
            lambda: Geometry((Axis(1), Axis(3))).coarse_sizes((1, 2)),
            "kernel does not fit: (kernel_size 3 - 1) * dilation 1 + 1 = 3 cells, but input 2 + padding 0 + 0 = 2\n"
            "  axis width\n  try padding=1, or kernel_size at most 2",
        ),
        (
            lambda: Geometry((Axis(1), Axis(1))).fine_sizes((1, 1), (1, 0)),
            "output_padding 1 must be smaller than stride 1 or dilation 1\n  axis height\n  try output_padding=0",
        ),
        (
            lambda: per_axis("stride", (1, 2), 3, 1),
            "stride has 2 entries for 3 spatial axes (depth, height, width)\n  try one integer, or 3 of them",
        ),
        (lambda: per_axis("stride", (1, 0), 2, 1), "stride must be at least 1, not 0\n  axis width\n  try stride=1"),
        (lambda: per_axis("stride", {1, 2}, 2, 1), "stride must be an integer, not {1, 2} (set)\n  axis height"),
        (lambda: per_axis("stride", b"12", 2, 1), "stride must be an integer, not b'12' (bytes)\n  axis height"),
        (lambda: per_axis("stride", iter([1]), 1, 1), "stride must be an integer, not <list_iterator"),
        (
            lambda: conv_axes((5,), (3,), (1,), (1,), "some"),
            "padding must be 'valid', 'same', 'same_lower' or 'causal', an integer, or (before, after) pairs, "
            "not 'some'\n  try padding='same'",
        ),
        (
            lambda: conv_axes((5,), (3,), (1,), (1,), ((1, 2, 3),)),
            "padding of one axis is an integer or a (before, after) pair, not 3 numbers\n"
            "  axis width\n  try padding=((1, 2), …), one pair per axis",
        ),
        (lambda: conv_axes((5,), (3,), (1,), (1,), -1), "padding must be at least 0, not -1\n  axis width"),
        (lambda: conv_axes((5,), (3,), (1,), (1,), ((-1, 0),)), "padding must be at least 0, not -1\n  axis width"),
        (lambda: conv_axes((5,), (3,), (1,), (1,), 0.5), "padding must be an integer, not 0.5 (float)\n  axis width"),
        (
            lambda: transposed_axes((4,), (3,), (2,), (1,), 0, 1, 9),
            "output_padding and output_size both choose the output size\n  try only one of them",
        ),
        (
            lambda: transposed_axes((4,), (3,), (2,), (1,), "same", 1),
            "padding='same' fixes the output at input * stride, so output_padding has no meaning\n"
            "  try output_size=… instead of output_padding",
        ),
        (
            lambda: transposed_axes((4, 4), (3, 3), (2, 2), (1, 1), "causal", 0, (8, 9)),
            "output size 9 is out of reach: with input 4, stride 2 and padding='causal', valid sizes are 7 to 8\n"
            "  axis width\n  try output_size=8",
        ),
    ],
)
def test_each_refusal_says_the_rule_the_numbers_the_axis_and_the_way_out(action, message):
    with pytest.raises(GeometryError) as caught:
        action()
    assert str(caught.value).startswith(message)


def test_the_groups_that_a_message_proposes_divide_the_channels():
    for channels, groups in itertools.product(range(1, 30), range(1, 12)):
        if channels % groups:
            with pytest.raises(GeometryError) as caught:
                Geometry((Axis(3),), channels, 0, groups)
            assert channels % int(caught.value.repair.removeprefix("groups=")) == 0


def test_errors_survive_pickling_whole():
    with pytest.raises(GeometryError) as caught:
        per_axis("stride", (1, 0), 2, 1)
    caught.value.call = "conv(x (1, 1, 5))"
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is GeometryError and str(again) == str(caught.value) and again.sentence == caught.value.sentence
