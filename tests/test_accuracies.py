"""One word for how exact a result is: on every door, inside a `with`, and what each word allows."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import numpy as np
import pytest

import twofold as tf
from twofold import reference, warm
from twofold.accuracies import WORDS, allows, chosen
from twofold.cli.run import run
from twofold.dtypes import bfloat_bits, rounded_to_bfloat
from twofold.engine import machine, rounding
from twofold.engine.plan import algorithms, known
from twofold.errors import GeometryError, UnsupportedError
from twofold.geometry import Problem

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1, 16, 20, 20)).astype(np.float32)
WEIGHT = RNG.standard_normal((16, 16, 3, 3)).astype(np.float32)
ONE = np.ones(3, np.float32)
LONG = "conv ci8 co8 g8 i300x300 k64x64"  # for which transforms are faster by far

DOORS = {
    "conv": lambda word: tf.conv(ONE[None, None], ONE[None, None], accuracy=word),
    "conv1d": lambda word: tf.conv1d(ONE, ONE, accuracy=word),
    "conv2d": lambda word: tf.conv2d(ONE[None], ONE[None], accuracy=word),
    "conv3d": lambda word: tf.conv3d(ONE[None, None], ONE[None, None], accuracy=word),
    "conv_transpose": lambda word: tf.conv_transpose(ONE[None, None], ONE[None, None], accuracy=word),
    "conv_transpose1d": lambda word: tf.conv_transpose1d(ONE, ONE, accuracy=word),
    "conv_transpose2d": lambda word: tf.conv_transpose2d(ONE[None], ONE[None], accuracy=word),
    "conv_transpose3d": lambda word: tf.conv_transpose3d(ONE[None, None], ONE[None, None], accuracy=word),
    "conv_weight_gradient": lambda word: tf.conv_weight_gradient(ONE[None, None], ONE[None, None], 1, accuracy=word),
    "vjp": lambda word: tf.vjp(tf.conv1d, ONE, ONE, accuracy=word),
    "plan": lambda word: tf.plan("conv i9 k3", accuracy=word),
    "algorithms": lambda word: algorithms("conv i9 k3", word),
    "accuracy": lambda word: tf.accuracy(word),
}


@pytest.mark.parametrize("door", sorted(DOORS))
def test_every_door_takes_the_words_and_refuses_others(door):
    for word in WORDS:
        DOORS[door](word)
    for wrong in ("exact", "Fast", "", 1, b"fast"):
        with pytest.raises(GeometryError, match=r"accuracy must be 'strict', 'standard', 'fast' or 'bf16', not"):
            DOORS[door](wrong)


def test_an_error_names_the_call():
    with pytest.raises(GeometryError, match=r"in conv2d\(x \(1, 3\), weight \(1, 3\), accuracy='loose'\)"):
        tf.conv2d(ONE[None], ONE[None], accuracy="loose")


def test_the_word_of_a_call_wins_over_the_with_around_it():
    assert chosen() == "standard"
    with tf.accuracy("fast"):
        assert chosen() == "fast" and chosen("strict") == "strict"
        with tf.accuracy("bf16"):
            assert chosen() == "bf16" and tf.plan("conv i99 k3").accuracy == "bf16"
        assert tf.plan("conv i99 k3").accuracy == "fast"
        assert tf.plan("conv i99 k3", accuracy="strict").accuracy == "strict"
    assert chosen() == "standard" == tf.plan("conv i99 k3").accuracy


def test_an_error_inside_leaves_the_word_as_it_was():
    with pytest.raises(ZeroDivisionError), tf.accuracy("fast"):
        raise ZeroDivisionError
    assert chosen() == "standard"


def test_threads_and_tasks_hold_their_own_word():
    seen = {}

    def other():
        seen["thread"] = chosen()

    with tf.accuracy("fast"):
        worker = threading.Thread(target=other)
        worker.start()
        worker.join()
        assert chosen() == "fast"
    assert seen == {"thread": "standard"}

    async def task(word, rest):
        with tf.accuracy(word):
            await asyncio.sleep(rest)
            return chosen()

    async def both():
        return await asyncio.gather(task("fast", 0.02), task("strict", 0.01), task("bf16", 0.0))

    assert asyncio.run(both()) == ["fast", "strict", "bf16"]


def test_what_each_word_allows():
    assert [allows(word, 4.0, 1e-3) for word in WORDS] == [False, True, True, False]
    assert [allows(word, 4.1, 2e-5) for word in WORDS] == [False, False, True, False]
    assert [allows(word, 4.1, 2.1e-5) for word in WORDS] == [False, False, False, False]
    assert not allows("fast", 99.0, 1e-6, 2.0**-53) and allows("fast", 99.0, 1e-14, 2.0**-53)


def test_strict_and_bf16_name_direct_algorithms_only():
    from twofold.engine.families import FAMILIES

    direct = {family.name for family in FAMILIES if family.direct}
    for text in ("conv ci64 co64 i56x56 k3x3 p1x1", "conv_transpose ci64 co32 i14x14 k4 s2 p1", LONG):
        for word in ("strict", "bf16"):
            assert set(algorithms(text, word)) <= direct
            assert tf.plan(text, accuracy=word).algorithm in direct
        for family in FAMILIES:
            if family.name in algorithms(text, "standard"):
                assert tf.plan(text, accuracy="standard", algorithm=family.name).error <= 4
        fast = [tf.plan(text, accuracy="fast", algorithm=name) for name in algorithms(text, "fast")]
        assert all(p.error <= 4 or p.relative <= 2e-5 for p in fast)


def test_why_names_the_algorithm_and_the_predicted_error():
    for word in WORDS:
        p = tf.plan(LONG, accuracy=word)
        assert p.why.startswith(f"{p.algorithm}: ") and f"accuracy {word}: " in p.why
        assert "predicted error of the worst element" in p.why and f"{p.relative:.1g} of the largest" in p.why
    assert tf.plan(LONG, accuracy="fast").algorithm == "fft" != tf.plan(LONG).algorithm
    assert "inputs rounded to bfloat16" in tf.plan(LONG, accuracy="bf16").why
    assert tf.plan(LONG, accuracy="fast").error == np.inf > tf.plan(LONG, accuracy="bf16").error > 9
    assert "asked for by name" in tf.plan(LONG, algorithm="direct").why


def test_an_algorithm_by_name():
    assert tf.plan(LONG, algorithm="fft").algorithm == "fft"  # no accuracy is given: any that computes it
    with pytest.raises(UnsupportedError, match=r"'fft' is no algorithm for this problem within accuracy 'strict': the"):
        tf.plan(LONG, algorithm="fft", accuracy="strict")
    with pytest.raises(UnsupportedError, match=r"'fastest' is no algorithm for this problem: there are direct.*fft"):
        tf.plan(LONG, algorithm="fastest")
    with pytest.raises(UnsupportedError, match=r"there are reference"):
        tf.plan("conv i9 k3 int64", algorithm="fft")
    assert tf.plan("conv i9 k3 int64", algorithm="reference").algorithm == "reference"


def test_a_copy_of_a_plan_keeps_the_word():
    import copy
    import pickle

    for p in (tf.plan(LONG, accuracy="fast"), tf.plan(LONG, algorithm="direct"), tf.plan(LONG, accuracy="bf16")):
        for again in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
            assert (again.accuracy, again.algorithm) == (p.accuracy, p.algorithm)


def test_remembered_calls_are_of_their_accuracy():
    warm.forget()
    x = RNG.standard_normal((1, 1, 200, 200)).astype(np.float32)
    weight = RNG.standard_normal((1, 1, 48, 48)).astype(np.float32)
    want = {word: tf.conv2d(x, weight, accuracy=word) for word in WORDS}
    assert len({y.tobytes() for word, y in want.items() if word != "standard"}) == 3  # or the test shows nothing
    for _ in range(3):
        for word in WORDS:
            assert np.array_equal(tf.conv2d(x, weight, accuracy=word), want[word])
            with tf.accuracy(word):
                assert np.array_equal(tf.conv2d(x, weight), want[word])
    with tf.accuracy("bf16"):
        assert np.array_equal(tf.conv2d(x, weight, accuracy="strict"), want["strict"])


def test_remembered_calls_are_fast_for_strict_too():
    warm.forget()
    for _ in range(2):
        tf.conv2d(X, WEIGHT, accuracy="strict")
    with tf.accuracy("strict"):
        tf.conv2d(X, WEIGHT)
    assert len(warm._seen) == 2  # by word, and by the `with`


def test_gradients_are_of_the_accuracy_of_their_call():
    x, weight = RNG.standard_normal((1, 2, 200, 200)), RNG.standard_normal((2, 1, 64, 64))
    with tf.accuracy("fast"):
        y, back = tf.vjp(tf.conv2d, x, weight, groups=2)
    grad = RNG.standard_normal(y.shape)
    _, strict = tf.vjp(tf.conv2d, x, weight, groups=2, accuracy="strict")
    for got, want in zip(back(grad)[:2], strict(grad)[:2], strict=True):  # outside of the `with`
        assert np.allclose(got, want, rtol=0, atol=3.7e-14 * abs(want).max()) and not np.array_equal(got, want)


# -- bf16 --------------------------------------------------------------------------------------------------------------


def test_rounding_to_bfloat_is_to_nearest_even():
    import ml_dtypes

    bits = RNG.integers(0, 2**32, 200_000, dtype=np.uint32)
    bits[:8] = [0, 0x80000000, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 1, 0x7FC00000, 0x3F808000]
    x = bits.view(np.float32)
    with np.errstate(all="ignore"):
        want = x.astype(ml_dtypes.bfloat16).view(np.uint16)
    right = ~np.isnan(x)
    for threads in (1, 3):
        for got in (bfloat_bits(x), rounding.to_bfloat(x, machine.host(), threads)):
            assert np.array_equal(got[right], want[right])
            assert np.isnan((got.astype(np.uint32) << 16).view(np.float32)[~right]).all()
    assert np.array_equal(rounded_to_bfloat(x)[right], want[right].view(ml_dtypes.bfloat16).astype(np.float32))
    turned = x[:199_998].reshape(2, 3, 33333).transpose(2, 0, 1)
    for view in (turned, turned[::-1], turned[:, :, ::2]):
        assert np.array_equal(rounding.to_bfloat(view, machine.host(), 2), bfloat_bits(view))


BF16 = [
    "conv n2 ci20 co40 i19x23 k3 p1",
    "conv n2 ci20 co40 i19x23 k3 p1 nhwc",
    "conv n3 ci17 co33 i15x9 k3 p1 s2",
    "conv g16 ci16 co16 i13x12 k3 p1 nhwc",
    "conv ci3 co40 i40x37 k5 s2 p2 reflect",
    "conv ci1 co1 i3x3 k2",
    "conv n2 g2 ci6 co8 i5x4x6x7 k2x3x2x3 s1x2x1x1 p1",
    "conv_transpose n2 ci20 co24 i9x8 k4 s2 p1",
    "conv_transpose ci20 co3 i9x8 k4 s2 p1 circular",
]


@pytest.mark.parametrize("text", BF16)
def test_bf16_rounds_the_inputs_and_nothing_else(text):
    problem = Problem.parse(text)
    shape = problem.coarse_shape if problem.op == "conv_transpose" else problem.fine_shape
    x, weight = (RNG.standard_normal(s).astype(np.float32) for s in (shape, problem.weight_shape))
    bias = RNG.standard_normal(problem.out_channels).astype(np.float32)
    p = tf.plan(problem, accuracy="bf16", threads=2)
    y = p.run(x, weight, bias)
    wide = [rounded_to_bfloat(x).astype(np.float64), rounded_to_bfloat(weight).astype(np.float64), bias]
    want = reference.run(problem, *wide)
    assert y.dtype == np.float32 and np.allclose(y, want, rtol=0, atol=3e-6 * abs(want).max())
    exact = reference.run(problem, x.astype(np.float64), weight.astype(np.float64), bias)
    assert abs(y - exact).max() > 1e-4 * abs(exact).max()  # it is rounded
    assert np.array_equal(p.run(x, p.pack(weight), bias), y)
    gradient = problem.weight_gradient()
    grad = RNG.standard_normal(problem.result_shape).astype(np.float32)
    sides = (x, grad) if problem.op == "conv" else (grad, x)
    got = tf.plan(gradient, accuracy="bf16").run(*sides)
    want = reference.run(gradient, *(rounded_to_bfloat(side).astype(np.float64) for side in sides))
    assert np.allclose(got, want, rtol=0, atol=3e-6 * abs(want).max())


def test_bf16_means_the_same_for_tiny_problems_and_nothing_for_other_dtypes():
    x = np.array([1 + 2.0**-12, 1], np.float32)
    assert tf.conv1d(x, x[:1], accuracy="bf16")[0] == 1 < tf.conv1d(x, x[:1])[0]
    wide = x.astype(np.float64)
    assert tf.conv1d(wide, wide[:1], accuracy="bf16")[0] > 1
    assert known(Problem.parse("conv ci20 co40 i19x23 k3 p1 f64"), "bf16").is_bound


def test_bf16_data_and_activation():
    p = tf.plan("conv n2 ci20 co40 i19x23 k3 p1 nhwc", accuracy="bf16", activation="relu", residual=True)
    x = RNG.standard_normal((2, 19, 23, 20)).astype(np.float32)
    weight, residual = (
        RNG.standard_normal((40, 20, 3, 3)).astype("f4"),
        RNG.standard_normal((2, 19, 23, 40)).astype("f4"),
    )
    y = p(x, weight, residual=residual)
    sums = tf.conv2d(x, weight, padding=1, layout="channels_last", accuracy="bf16")
    assert np.allclose(y, np.maximum(sums + residual, 0), atol=1e-5)


@pytest.mark.parametrize("command", ["conv", "conv-transpose"])
def test_the_command_line_takes_the_words(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.array([[1 + 2.0**-12, 1]], np.float32))
    np.save("w.npy", np.ones((1, 1), np.float32))
    for word, first in (("strict", "1.00024"), ("bf16", "1")):
        assert run([command, "x.npy", "--kernel", "w.npy", "--accuracy", word]) == 0
        assert capsys.readouterr().out.split() == [first, "1"]
    assert run([command, "x.npy", "--kernel", "w.npy", "--accuracy", "loose"]) == 2
    error = capsys.readouterr().err
    assert "accuracy must be 'strict', 'standard', 'fast' or 'bf16', not 'loose'; try --accuracy strict" in error


def test_packed_weights_bring_no_algorithm_that_the_word_forbids():
    from twofold.engine.families import FAMILIES

    tried = 0
    for text in ("conv n2 ci32 co32 i30x30 k3 p1", "conv_transpose n2 ci32 co32 i15x15 k4 s2 p1"):
        strict = tf.plan(text, accuracy="strict")
        x = RNG.standard_normal((2, 32, *strict.problem.in_size)).astype("f4")
        weight = RNG.standard_normal(strict.problem.weight_shape).astype("f4")
        for family in FAMILIES:
            if family.direct or family.name not in algorithms(text, "fast"):
                continue
            tried += 1
            with pytest.raises(UnsupportedError, match="packed for another layer"):
                strict(x, tf.plan(text, algorithm=family.name).pack(weight))
        with pytest.raises(UnsupportedError, match="packed for another layer"):
            strict(x, tf.plan(text, accuracy="bf16").pack(weight))
        with pytest.raises(UnsupportedError, match="packed for another layer"):
            strict(x, tf.plan(text, algorithm="fft").pack(weight))
    assert tried or all(family.direct for family in FAMILIES)


def test_more_than_three_axes_have_algorithms_too():
    text = "conv n2 ci6 co8 i5x4x6x7 k2x3x2x3"
    for name in algorithms(text, "fast"):
        assert tf.plan(text, algorithm=name).algorithm == name


def test_functions_choose_for_weights_that_are_new_on_each_call():
    text = "conv n1 ci512 co512 i8x8 k3x3 p1x1"  # transforms of 2.4 million weights, for 64 pixels
    problem = Problem.parse(text)
    assert known(problem, "fast").algorithm == "direct"
    assert (
        known(replace(problem, batch=64), "fast").algorithm != "direct" != tf.plan(problem, accuracy="fast").algorithm
    )


@pytest.mark.parametrize(
    "text", ["conv ci64 co32 i96 k3 p1", "conv ci64 co32 i96 k2", "conv_transpose ci32 co16 i40 k4 s2 p1"]
)
def test_standard_keeps_small_elements_beside_large_ones_within_their_bound(text):
    problem = Problem.parse(text)
    weight = RNG.standard_normal(problem.weight_shape).astype(np.float32)
    x = RNG.standard_normal((1, problem.in_channels, *problem.in_size)).astype(np.float32)
    for step in range(7):  # wherever the edge lies in a tile
        local = x.copy()
        local[..., 30 + step :] *= 1e-6
        exact = reference.run(problem, local.astype("f8"), weight.astype("f8"))
        size = reference.run(problem, abs(local).astype("f8"), abs(weight).astype("f8"))
        terms = problem.in_channels * -(-problem.geometry.kernel_size[0] // problem.geometry.axes[0].stride)
        bound = (terms + 2) * 2.0**-24 * size
        for name in algorithms(problem, "standard"):
            y = tf.plan(problem, algorithm=name).run(local, weight)
            assert (abs(y - exact) <= 4 * bound).all(), name
    assert len(algorithms(problem, "standard")) > 1
