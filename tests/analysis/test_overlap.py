"""Counts, verdicts, phases and the matrix: laws over many small layers, and the worked numbers."""

from __future__ import annotations

import itertools
from math import gcd

import numpy as np
import pytest
from hypothesis import given

import twofold
from strategies import cases, few
from twofold.analysis.matrix import matrix
from twofold.analysis.overlap import chain_counts, counts, coverage, verdict
from twofold.analysis.phases import parts, stretched_multiplications
from twofold.errors import GeometryError
from twofold.geometry import Axis, Problem


def test_coverage_is_even_inside_exactly_by_the_law():
    """k < 9, s < 6, d < 5, counted cell by cell over the inside of a long output."""
    for k, s, d in itertools.product(range(1, 9), range(1, 6), range(1, 5)):
        painted = [0] * (60 * s + d * k + 1)
        for cell, tap in itertools.product(range(60), range(k)):
            painted[cell * s + tap * d] += 1
        edge = d * (k - 1) + s
        inside = painted[edge : 60 * s - edge]
        even = len(set(inside)) == 1
        found = verdict([Axis(k, s, d)])
        assert even == (s == 1 or (gcd(d, s) == 1 and k % s == 0)) == (found.kind == "even")
        assert (min(inside), max(inside)) == (found.fewest, found.most)
        assert (min(inside) == 0) == (found.kind == "holes")


@pytest.mark.parametrize("text, line, kind", [
    ("k3 s2", "1 1 2 1 2 1 2 1 1", "uneven"),
    ("k2 s2", "1 1 1 1 1 1 1 1", "even"),
    ("k4 s2 p1", "1 2 2 2 2 2 2 1", "even"),
    ("k2 s3", "1 1 0 1 1 0 1 1 0 1 1", "holes"),
    ("k3 s2 d2", "1 0 2 0 3 0 3 0 2 0 1", "holes"),
])  # fmt: skip
def test_the_worked_strips(text, line, kind):
    problem = Problem.parse(f"conv_transpose i4 {text}")
    assert " ".join(map(str, counts(problem)[0])) == line
    assert verdict(problem.geometry.axes).kind == kind


@given(cases(modes=("zeros",)))
def test_coverage_is_what_ones_through_ones_give(case):
    x, weight = np.ones((1, 1, *case.in_size)), np.ones((1, 1, *case.kernel_size))
    options = case.options | {"groups": 1}
    problem = Problem.of("conv_transpose" if case.op != "conv" else "conv", case.in_size, case.kernel_size,
                         **{k: v for k, v in options.items() if k != "padding_mode"})  # fmt: skip
    if case.op == "conv":
        options.pop("output_padding", None)
        options["output_size"] = case.in_size
        x = np.ones((1, 1, *case.out_size))
    assert (coverage(problem) == twofold.conv_transpose(x, weight, **options)[0, 0]).all()


def test_counts_through_a_stack_are_what_ones_give():
    layers = [Problem.parse("conv_transpose i4 k3 s2"), Problem.parse("conv_transpose i9 k4 s2 p1"),
              Problem.parse("conv i18 k3 p1")]  # fmt: skip
    y = np.ones((1, 1, 4))
    y = twofold.conv_transpose(y, np.ones((1, 1, 3)), stride=2)
    y = twofold.conv_transpose(y, np.ones((1, 1, 4)), stride=2, padding=1)
    y = twofold.conv(y, np.ones((1, 1, 3)), padding=1)
    assert list(chain_counts(layers)[0]) == y[0, 0].tolist()


@few(50)
@given(cases(modes=("zeros",), op="conv_transpose"))
def test_interleaved_phases_are_the_output(case):
    """Each phase by its own taps and shifts, one product at a time."""
    x, weight, _ = case.arrays
    problem = Problem.of(case.op, case.in_size, case.kernel_size, in_channels=case.in_channels,
                         out_channels=case.out_channels, batch=case.batch, **case.options)  # fmt: skip
    y = twofold.conv_transpose(x, weight, **case.options)
    kernel = np.flip(weight, tuple(range(2, weight.ndim))) if case.flip else weight
    seen = 0
    for part in parts(problem):
        chosen = tuple(slice(r, None, s) for r, s in zip(part.residue, case.stride, strict=True))
        assert y[:, :, *chosen].shape[2:] == part.size
        seen += y[:, :, *chosen].size
        for spot in np.ndindex(*part.size):
            total = np.zeros((case.batch, case.out_channels))
            for at in np.ndindex(*map(len, part.taps)):
                tap = tuple(taps[i] for taps, i in zip(part.taps, at, strict=True))
                cell = tuple(q + shift[i] for q, shift, i in zip(spot, part.shifts, at, strict=True))
                if all(0 <= c < n for c, n in zip(cell, case.in_size, strict=True)):
                    total += _mixed(x[:, :, *cell], kernel[:, :, *tap], case.groups)
            assert (y[:, :, *chosen][:, :, *spot] == total).all()
    assert seen == y.size


def _mixed(values, weights, groups):
    ins, outs = weights.shape[0] // groups, weights.shape[1]
    parts_ = [values[:, g * ins : (g + 1) * ins] @ weights[g * ins : (g + 1) * ins] for g in range(groups)]
    return np.concatenate(parts_, axis=1).reshape(len(values), groups * outs)


@given(cases(max_rank=2))
def test_the_matrix_times_the_input_is_the_output(case):
    x, weight, _ = case.arrays
    problem = Problem.of(case.op, case.in_size, case.kernel_size, in_channels=case.in_channels,
                         out_channels=case.out_channels, batch=case.batch, **case.options)  # fmt: skip
    found = matrix(problem)
    dense = found.dense(weight)
    y = getattr(twofold, case.op)(x, weight, **case.options)
    assert (dense @ x[0].ravel() == y[0].ravel()).all()
    assert (found.transposed.dense(weight) == dense.T).all()


def test_cost_of_zero_insertion():
    assert stretched_multiplications(Problem.parse("conv_transpose i4x4 k3x3 s2")) == (729, 144)


def test_a_great_number_of_phases_is_refused():
    with pytest.raises(GeometryError, match="10000 phases"):
        list(parts(Problem.parse("conv_transpose i2x2 k1 s100")))
