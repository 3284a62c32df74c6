"""The weight gradient in Winograd's tiles: right for every size of tile, found out by NaN, and chosen where allowed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from engine_layers import fenced

import twofold as tf
from twofold import reference
from twofold.engine import winograd_gradient
from twofold.engine.lower import lower
from twofold.engine.machine import host
from twofold.engine.plan import algorithms, plan
from twofold.engine.winograd import cut_evenly
from twofold.engine.winograd_gradient import NAME, Tiling, WinogradGradient, relative, tiling, wins
from twofold.errors import UnsupportedError
from twofold.geometry import Problem

LAYERS = [
    "ci16 co32 i40 k3 p1",
    "n2 ci17 co33 i15x14 k3 p1",
    "n2 ci17 co33 i25x24 k3 p2 d2",
    "n2 ci17 co33 i25x24 k4 s2 p1",
    "n2 g2 ci34 co66 i15x14 k2x3 p1",
    "ci17 co20 i7x8x9 k3 p1",
    "n2 ci17 co33 i15x14 k3x1 p1x0 flip",
    "n2 ci17 co18 i15x14x5 k1x3x1 f64",
    "ci16 co16 i9x70 k5x3 s1x3 p2",
]


def problem_of(text: str) -> Problem:
    return Problem.parse(f"conv_weight_gradient {text}")


def tilings(problem: Problem) -> list[Tiling]:
    conv = replace(problem, op="conv", layout="channels_first")
    found = [Tiling(conv, cuts) for cuts in itertools.product(*(cut_evenly(side) for side in lower(conv)))]
    return found if len(found) < 8 else found[:: len(found) // 6]


def sides(problem: Problem, integers: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    draw = (lambda shape: rng.integers(-4, 5, shape)) if integers else rng.standard_normal
    return tuple(draw(shape).astype(problem.dtype) for shape in (problem.fine_shape, problem.coarse_shape))


def run(problem: Problem, made: Tiling, x: np.ndarray, grad: np.ndarray, threads: int = 1) -> np.ndarray:
    out = np.full(problem.weight_shape, 7, problem.dtype)
    WinogradGradient(problem, made, host(), threads).run(x, grad, out)
    return out


@pytest.mark.parametrize("text", LAYERS)
def test_every_size_of_tile_is_right(text):
    problem = problem_of(text)
    x, grad = sides(problem)
    want = reference.run(problem, x, grad)
    for made in tilings(problem):
        y = run(problem, made, x, grad)
        assert np.abs(y - want).max() <= 4 * relative(made) * np.abs(want).max()
        assert np.array_equal(run(problem, made, x, grad, 3), y)  # the bits are not of the threads


@pytest.mark.parametrize("text", LAYERS[:4])
def test_errors_are_about_as_large_as_predicted(text):
    problem = problem_of(text)
    x, grad = sides(problem, integers=False)
    want = reference.run(replace(problem, dtype="float64"), x.astype("f8"), grad.astype("f8"))
    for made in tilings(problem):
        measured = np.abs(run(problem, made, x, grad) - want).max() / np.abs(want).max()
        assert measured < 1.5 * relative(made)


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("text", LAYERS[1:6])
def test_nothing_beyond_the_arrays_is_touched(text, end):
    problem = problem_of(text)
    x, grad = sides(problem)
    made = tilings(problem)[-1]
    want = reference.run(problem, x, grad)
    y = run(problem, made, fenced(x, end), fenced(grad, end))
    assert np.abs(y - want).max() <= 4 * relative(made) * np.abs(want).max()


def test_any_strides_and_layouts():
    problem = problem_of("n2 ci17 co33 i15x14 k3 p1")
    x, grad = sides(problem)
    made = tilings(problem)[-1]
    want = run(problem, made, x, grad)
    last = [np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) for a in (x, grad)]
    assert np.array_equal(run(problem, made, *last), want)
    assert np.array_equal(run(problem, made, np.repeat(x, 2, 3)[..., ::2], np.flip(np.flip(grad, 0).copy(), 0)), want)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_not_finite_reaches_what_it_meets_only(number):
    problem = problem_of("n2 ci17 co33 i15x14 k3 p1")
    x, grad = sides(problem, integers=False)
    x[1, 4, 0, 0] = number  # which the last row and column of taps do not meet
    want = reference.run(problem, x, grad)
    y = run(problem, tilings(problem)[-1], x, grad)
    assert np.array_equal(np.isfinite(y), np.isfinite(want)) and not np.isfinite(want).all()


def test_it_is_chosen_for_speed_only_where_allowed():
    problem = problem_of("n8 ci1024 co512 i16x16 k3 p1")
    assert algorithms(problem, "fast")[:2] == ("weight gradient", NAME)
    assert NAME not in algorithms(problem, "standard") + algorithms(problem, "strict")
    with pytest.raises(UnsupportedError, match="no algorithm for this problem within accuracy 'standard'"):
        plan(problem, accuracy="standard", algorithm=NAME)
    chosen = plan(problem, accuracy="fast")
    assert chosen.algorithm == (NAME if wins(tiling(problem, host()), host()) else "weight gradient")
    assert plan(problem, accuracy="standard").algorithm == "weight gradient"


def test_a_plan_says_what_it_does():
    p = plan("conv_weight_gradient n2 ci64 co64 i28x28 k3 p1", algorithm=NAME)
    assert p.algorithm == NAME and "F(3x3, " in p.why and p.relative < 2e-5 and p.error == np.inf
    assert p.workspace > 0 and "transform the sums to taps" in p.loops and "winograd_grad" in p.ir
    x, grad = sides(p.problem, integers=False)
    want = plan(p.problem, accuracy="strict")(x, grad)
    assert 0 < np.abs(p(x, grad) - want).max() < 2e-5 * np.abs(want).max()


def test_the_function_and_vjp_go_through_the_same_door(monkeypatch):
    monkeypatch.setattr(winograd_gradient, "wins", lambda made, machine: True)
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape).astype("f4") for shape in ((2, 32, 24, 24), (48, 32, 3, 3)))
    y, pull = tf.vjp(tf.conv2d, x, weight, padding=1, accuracy="fast")
    grad = rng.standard_normal(y.shape).astype("f4")
    want = reference.run(problem_of("n2 ci32 co48 i24x24 k3 p1 f64"), x.astype("f8"), grad.astype("f8"))
    for found in (pull(grad)[1], tf.conv_weight_gradient(x, grad, 3, padding=1, accuracy="fast")):
        assert 1e-9 < np.abs(found - want).max() / np.abs(want).max() < 2e-5


@pytest.mark.parametrize("text", ["ci8 i40x40 k3", "ci64 i40x40 k1", "ci64 i40x40 k7", "ci64 i9x9x9x9 k3"])
def test_what_has_no_tiles(text):
    assert tiling(problem_of(f"{text} co64"), host()) is None


def test_halves_have_the_algorithms_that_they_are_summed_by():
    single, half = (f"conv_weight_gradient n2 ci64 co64 i28x28 k3 p1 {dtype}" for dtype in ("f32", "f16"))
    assert algorithms(half, "fast")[:2] == algorithms(single, "fast")[:2] == ("weight gradient", NAME)
    x, grad = (a.astype("f2") for a in sides(Problem.parse(single), integers=False))
    found, want = (plan(half, **how)(x, grad) for how in ({"algorithm": NAME}, {"accuracy": "strict"}))
    assert found.dtype == np.float16 and np.abs(found - want).max() <= 2e-3 * np.abs(want).max()


def test_its_memory_is_looked_at_before_it_is_taken(monkeypatch):
    import twofold.memory

    rng = np.random.default_rng(0)
    x, grad = (rng.standard_normal((2, 32, 40, 40)).astype("f4") for _ in range(2))
    monkeypatch.setattr(winograd_gradient, "wins", lambda made, machine: True)
    monkeypatch.setattr(twofold.memory, "memory_limit", lambda: 1 << 20)  # the result takes 36 KiB, the points 2 MiB
    with pytest.raises(tf.GeometryError, match="the whole computation"):
        tf.conv_weight_gradient(x, grad, 3, padding=1, accuracy="fast")
