"""Transforms against the reference, torch and SciPy, over all options; and what they promise."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from engine_layers import TABLE, arrays, drawn

import twofold as tf
from twofold import reference
from twofold.engine import fourier
from twofold.engine.plan import plan
from twofold.errors import UnsupportedError
from twofold.geometry import Problem

# Of the largest output: a tenth of what accuracy fast allows, and the same in float64.
MOST = {"float32": 3e-6, "float64": 6e-15}


def check(problem, seed=1, **options):
    x, weight, bias = arrays(problem, seed, integers=False)
    p = plan(problem, algorithm="fft", **options)
    assert p.algorithm == "fft"
    y = p.run(x, weight, bias)
    want = reference.run(problem, *(array.astype(np.float64) for array in (x, weight, bias)))
    assert y.dtype == problem.dtype and abs(y - want).max() <= MOST[problem.dtype] * abs(want).max(), problem
    assert np.array_equal(p.run(x, p.pack(weight), bias), y)
    gradient = problem.weight_gradient()
    is_conv = problem.op == "conv"
    shape = gradient.coarse_shape if is_conv else gradient.fine_shape
    grad = np.random.default_rng(seed).standard_normal(shape).astype(problem.dtype)
    sides = (x, grad) if is_conv else (grad, x)
    found = plan(gradient, algorithm="fft", **options).run(*sides)
    want = reference.run(gradient, *(side.astype(np.float64) for side in sides))
    assert abs(found - want).max() <= MOST[problem.dtype] * max(abs(want).max(), 1), gradient


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", TABLE)
def test_every_option(text, dtype):
    check(replace(Problem.parse(text), dtype=dtype))


def test_drawn_problems():
    for seed in range(120):
        check(drawn(seed), seed, threads=1 + seed % 3)


@pytest.mark.soak
def test_many_drawn_problems():
    for seed in range(1000, 3000):
        check(drawn(seed), seed)


@pytest.mark.parametrize("text", ["conv n2 ci6 co8 i40x50 k9 p4", "conv_transpose g4 ci4 co8 i300 k64 s4 p9 f64"])
def test_without_scipy(text, monkeypatch):
    problem = Problem.parse(text)
    x, weight, _ = arrays(problem, 2, integers=False)
    want = fourier.Fourier(problem)
    first = np.zeros(problem.result_shape, problem.dtype)
    want.run(x, want.pack(weight), first)
    monkeypatch.setattr(fourier, "_library", lambda: "numpy")
    monkeypatch.setitem(sys.modules, "scipy.fft", None)
    own = fourier.Fourier(problem)
    y = np.zeros(problem.result_shape, problem.dtype)
    own.run(x, own.pack(weight), y)
    assert "by numpy" in "".join(own.sentences) and "by scipy" not in "".join(own.sentences)
    assert own.wide == want.wide and abs(y - first).max() <= MOST[problem.dtype] * abs(y).max()


def test_long_signals_equal_scipy_and_are_cut_into_blocks_and_bands(monkeypatch):
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(3)
    x, weight = rng.standard_normal((1, 1, 200_000)), rng.standard_normal((1, 1, 4096))
    want = signal.oaconvolve(x[0, 0], weight[0, 0, ::-1], "valid")
    problem = Problem.parse("conv i200000 k4096 f64")
    for band in (1 << 30, 1 << 21, 1):
        monkeypatch.setattr(fourier, "_BAND", band)
        engine = fourier.Fourier(problem)
        y = np.zeros(problem.result_shape)
        engine.run(x, engine.pack(weight), y)
        assert abs(y[0, 0] - want).max() < 1e-14 * abs(want).max() and engine.cuts[0].count > 1
    assert engine.band == 1 and engine.band_bytes < 4 << 20
    flipped = tf.conv1d(x[0, 0], weight[0, 0], flip=True, accuracy="fast")
    assert np.allclose(flipped, signal.fftconvolve(x[0, 0], weight[0, 0], "valid"), rtol=0, atol=1e-11)


@pytest.mark.parametrize("text", ["conv_transpose n2 ci3 co4 i90x20 k20 s3 p4", "conv ci3 co4 i200x20 k20x9 s3 d2x1"])
def test_bands_of_planes_and_phases(text, monkeypatch):
    problem = Problem.parse(text)
    x, weight, _ = arrays(problem, 10, integers=False)
    monkeypatch.setattr(fourier, "_BAND", 1)
    engine = fourier.Fourier(problem)
    cuts = [next(iter(fourier._cuts(side))) for side in engine.sides]
    engine.cuts, engine.band = tuple(cuts), 2
    y = np.full(problem.result_shape, np.nan, np.float32)
    engine.run(x, engine.pack(weight), y)
    want = reference.run(problem, x.astype("f8"), weight.astype("f8"))
    assert cuts[0].count > 4 and abs(y - want).max() <= 3e-6 * abs(want).max()


def test_pictures_equal_scipy_and_torch():
    signal, torch = pytest.importorskip("scipy.signal"), pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    x, weight = rng.standard_normal((2, 8, 140, 130)).astype("f4"), rng.standard_normal((8, 1, 64, 48)).astype("f4")
    with tf.accuracy("fast"):
        y = tf.conv2d(x, weight, groups=8)
        assert tf.plan("conv n2 g8 ci8 co8 i140x130 k64x48").algorithm == "fft"
        up = tf.conv_transpose2d(y, weight, groups=8)
    strict = tf.conv2d(x, weight, groups=8, accuracy="strict")
    assert not np.array_equal(y, strict)  # it was the transforms
    one = signal.correlate2d(x[1, 3].astype("f8"), weight[3, 0].astype("f8"), "valid")
    assert abs(y[1, 3] - one).max() < 3e-6 * abs(one).max()
    w = torch.from_numpy(weight).double()
    want = torch.nn.functional.conv2d(torch.from_numpy(x).double(), w, groups=8).numpy()
    assert abs(y - want).max() < 3e-6 * abs(want).max()
    want = torch.nn.functional.conv_transpose2d(torch.from_numpy(y).double(), w, groups=8).numpy()
    assert abs(up - want).max() < 3e-6 * abs(want).max()
    tensor = tf.conv2d(torch.from_numpy(x), torch.from_numpy(weight), groups=8, accuracy="fast")
    assert np.array_equal(tensor.numpy(), y)


@pytest.mark.parametrize("text", [
    "conv n3 ci20 co24 i60x50 k9 p4", "conv n3 g16 ci16 co16 i60x50 k31 p15", "conv_transpose n3 ci40 co2 i61 k256 s64",
])  # fmt: skip
def test_neither_batch_nor_threads_change_a_bit(text):
    problem = Problem.parse(text)
    x, weight, bias = arrays(problem, 5, integers=False)
    want = plan(problem, algorithm="fft", threads=1).run(x, weight, bias)
    for threads in (2, 5):
        assert np.array_equal(plan(problem, algorithm="fft", threads=threads).run(x, weight, bias), want)
    one = plan(replace(problem, batch=1), algorithm="fft")
    for image in range(3):
        assert np.array_equal(one.run(x[image : image + 1], weight, bias)[0], want[image])


def test_the_threads_of_blas_do_not_either():
    texts = ("conv_transpose ci513 co1 i61 k4096 s1024", "conv ci200 co90 i30x20 k7 p3", "conv ci300 co400 i4x4 k9 p4")
    script = (
        "import sys, hashlib, numpy as np\nfrom twofold.engine.plan import plan\nfrom twofold.geometry import Problem\n"
        "for text in sys.argv[1:]:\n"
        "    p, rng = Problem.parse(text), np.random.default_rng(0)\n"
        "    x = rng.standard_normal(p.coarse_shape if 'transpose' in text else p.fine_shape).astype('f4')\n"
        "    y = plan(p, algorithm='fft').run(x, rng.standard_normal(p.weight_shape).astype('f4'))\n"
        "    print(hashlib.sha256(np.ascontiguousarray(y).tobytes()).hexdigest())\n"
    )
    told = set()
    for threads in ("1", "2", "3"):
        env = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-c", script, *texts]
        told.add(subprocess.run(command, env=env, capture_output=True, check=True, timeout=120).stdout)
    assert len(told) == 1 and len(set(told.pop().split())) == len(texts)


def test_a_number_that_is_not_finite_reaches_its_windows_only():
    problem = Problem.parse("conv n3 ci4 co4 i40x50 k9 p4")
    x, weight, bias = arrays(problem, 6, integers=False)
    clean = plan(problem, algorithm="fft").run(x, weight, bias)
    for value in (np.nan, np.inf, 3e38):
        bad = x.copy()
        bad[1, 2, 20, 20] = value
        for other in (weight, plan(problem, algorithm="fft").pack(weight)):
            y = plan(problem, algorithm="fft").run(bad, other, bias)
            want = plan(problem, accuracy="strict").run(bad, weight, bias)
            assert np.array_equal(y[1], want[1], equal_nan=True) and np.array_equal(y[::2], clean[::2])
    p = plan(problem, algorithm="fft", activation="relu", residual=True)
    again = plan(problem, accuracy="strict", activation="relu", residual=True)
    bad[1, 2, 20, 20] = np.nan
    assert np.array_equal(p.run(bad, weight, bias, clean)[1], again.run(bad, weight, bias, clean)[1], equal_nan=True)


@pytest.mark.parametrize("name", ["none", "relu", "leaky_relu", "silu", "gelu", "sigmoid", "tanh"])
@pytest.mark.parametrize("text", ["conv n2 ci4 co6 i30x20 k7 p3", "conv_transpose n2 ci4 co6 i20x9 k8 s2 nhwc f64"])
def test_bias_residual_and_activation(text, name):
    problem = Problem.parse(text)
    x, weight, bias = arrays(problem, 7, integers=False)
    other = np.random.default_rng(8).standard_normal(problem.result_shape).astype(problem.dtype) * 3
    other.flat[:3] = [100, -100, 0]
    largest = abs(plan(problem).run(x, weight, bias)).max()
    for residual in (None, other):
        options = {"activation": name, "slope": 0.2, "residual": residual is not None}
        y = plan(problem, algorithm="fft", **options).run(x, weight, bias, residual)
        want = plan(problem, accuracy="strict", **options).run(x, weight, bias, residual)
        assert abs(y - want).max() <= 2 * MOST[problem.dtype] * max(largest, abs(want).max())


def test_packed_weights_are_for_their_own():
    problem = Problem.parse("conv ci4 co6 i90x70 k15 p7")
    x, weight, _ = arrays(problem)
    p = plan(problem, algorithm="fft")
    packed = p.pack(weight)
    assert packed.nbytes > weight.nbytes and p.workspace > packed.nbytes - weight.nbytes
    weight2 = weight.copy()
    weight[...] = np.nan  # it holds a copy
    assert np.array_equal(p.run(x, packed), p.run(x, weight2))
    for other in (plan(problem, accuracy="strict"), plan("conv ci4 co6 i90x70 k15 p6 flip", algorithm="fft")):
        with pytest.raises(UnsupportedError, match="packed for another layer"):
            other.run(x, packed)
        with pytest.raises(UnsupportedError, match="packed for another layer"):
            p.run(x, other.pack(weight2))
    near, far = (plan(f"conv ci4 co4 i33 k3 {more}", algorithm="fft") for more in ("p1", "d2 p2"))
    assert near._fourier.cuts[0].size == far._fourier.cuts[0].size
    with pytest.raises(UnsupportedError, match="packed for another layer"):
        far.run(np.ones((1, 4, 33), "f4"), near.pack(np.ones((4, 4, 3), "f4")))
    with pytest.raises(UnsupportedError, match="lost a part"):
        p.run(x, replace(packed, buffer=packed.buffer[:3]))


def test_any_strides_and_layouts_of_the_inputs():
    problem = Problem.parse("conv n2 ci6 co8 i30x40 k7 p3")
    x, weight, bias = arrays(problem, 9, integers=False)
    p = plan(problem, algorithm="fft")
    want = p.run(x, weight, bias)
    for view in (np.asfortranarray(x), np.flip(np.flip(x, 2).copy(), 2), np.repeat(x, 2, 3)[..., ::2]):
        assert np.array_equal(p.run(view, weight, bias), want)
    last = plan(replace(problem, layout="channels_last"), algorithm="fft")
    y = last(np.ascontiguousarray(np.moveaxis(x, 1, -1)), weight, bias)
    assert y.flags.c_contiguous and np.array_equal(np.moveaxis(y, -1, 1), want)
    assert np.array_equal(p.run(x, np.asfortranarray(weight), bias), want)


def test_what_it_is_not_for():
    for text, why in (("conv i99 k30 f16", "float32 and float64"), ("conv i99 k30 c64", "float32 and float64")):
        assert why in fourier.why_not(Problem.parse(text))
        with pytest.raises(UnsupportedError, match="'fft' is no algorithm"):
            plan(text, algorithm="fft")
    assert "planes and phases" in fourier.why_not(Problem.parse("conv i400x400 k150x150 s150"))
    assert "transformed weights take" in fourier.why_not(Problem.parse("conv ci1024 co1024 i300x300 k30x30"))


def test_the_workspace_is_bounded():
    for text in ("conv ci64 co64 i3000x3000 k25 p12", "conv ci64 co64 i400x400x60 k5 p2", "conv i9999999 k4096"):
        engine = fourier.Fourier(Problem.parse(text))
        assert engine.workspace <= fourier._MOST_WORKSPACE + fourier._BAND


def test_the_plan_takes_them_where_they_win():
    wins = ["conv g32 ci32 co32 i128x128 k64x64 p32", "conv i65536 k4096", "conv_transpose ci513 co1 i61 k4096 s1024"]
    loses = [
        "conv ci64 co64 i56x56 k3 p1",
        "conv ci1 co513 i65536 k4096 s1024",
        "conv_transpose g21 ci21 co21 i16 k64 s32",
    ]
    for text in wins + loses:
        assert (plan(text, accuracy="fast").algorithm == "fft") == (text in wins), text
        assert plan(text).algorithm != "fft"


def test_what_it_reads_lies_within_the_arrays():
    # NumPy checks every index but those of a view that was made by strides: blocks at the ends hold zeros.
    problem = Problem.parse("conv ci2 co2 i37 k9 p4")
    for cut in list(fourier._cuts(fourier.lower(problem)[-1])):
        engine = fourier.Fourier(problem)
        engine.cuts, engine.band = (cut,), cut.count
        x, weight, _ = arrays(problem)
        y = np.full(problem.result_shape, np.nan, np.float32)
        engine.run(x, engine.pack(weight), y)
        assert np.allclose(y, reference.run(problem, x, weight), atol=1e-4), cut
