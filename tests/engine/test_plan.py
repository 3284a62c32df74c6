"""The engine as a whole: right numbers in every family, the promises about bits, and what it must never touch."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from engine_layers import TABLE, arrays, drawn, fenced

import twofold as tf
from twofold import call, reference, warm
from twofold.engine import binary, bound, families, machine
from twofold.engine import plan as plans
from twofold.engine.plan import plan
from twofold.errors import GeometryError, UnsupportedError
from twofold.geometry import Problem

POSIX = pytest.mark.skipif(os.name == "nt", reason="protected pages and fork of POSIX")


@pytest.mark.parametrize("text", TABLE)
@pytest.mark.parametrize("threads", [1, 3])
def test_integers_are_exact(text, threads):
    problem = Problem.parse(text)
    x, weight, bias = arrays(problem)
    y = plan(problem, threads=threads).run(x, weight, bias)
    assert np.array_equal(y, reference.run(problem, x, weight, bias))
    assert plan(problem).algorithm != "reference"


def _check_drawn(seeds):
    for seed in seeds:
        problem = drawn(seed)
        x, weight, bias = arrays(problem, seed)
        want = reference.run(problem, x, weight, bias)
        y = plan(problem, threads=1 + seed % 3, accuracy="strict").run(x, weight, bias)
        assert np.array_equal(y, want), f"seed {seed}: {problem}"
        y = plan(problem, threads=1 + seed % 3, accuracy="fast").run(x, weight, bias)
        assert np.allclose(y, want, 0, 2e-5 * np.abs(want).max(initial=1)), f"seed {seed}: {problem}"


def test_drawn_integers_are_exact():
    _check_drawn(range(150))


@pytest.mark.soak
def test_many_drawn_integers_are_exact():
    _check_drawn(range(1000, 5000))


@pytest.mark.parametrize("text", [t for t in TABLE if "reflect" not in t and "circular" not in t])
def test_floats_stay_within_the_bound(text):
    problem = Problem.parse(text)
    x, weight, bias = arrays(problem, 3, integers=False)
    y = plan(problem).run(x, weight, bias)
    wide = [a.astype(np.longdouble if problem.dtype == "float64" else np.float64) for a in (x, weight, bias)]
    exact_problem = Problem.parse(text.replace("f64", "") + " f64")
    exact = reference.run(exact_problem, *[a.astype(np.float64) for a in wide])
    size = reference.run(exact_problem, *[abs(a).astype(np.float64) for a in wide])
    terms = (
        int(np.prod(problem.weight_shape[1:]))
        if problem.op == "conv"
        else int(np.prod(problem.weight_shape)) // (problem.out_channels // problem.geometry.groups)
    )
    unit = np.finfo(problem.dtype).eps / 2
    slack = 2 if problem.dtype == "float64" else 1  # the oracle rounds as well
    assert (abs(y - exact) <= slack * (terms + 2) * unit * size).all()


STRIDED = [
    "conv n2 ci20 co24 i9x11 k3 p1",
    "conv n2 ci3 co24 i9x11 k3 s2 p1",
    "conv n2 ci1 co24 i9x11 k3 p1 nhwc",
    "conv n2 ci18 co40 i9x11 k1",
    "conv n2 ci18 co40 i9x11 k1 nhwc",
    "conv n2 g20 ci20 co20 i9x11 k3 p1 nhwc",
    "conv n2 g20 ci20 co20 i9x11 k3 p1",
    "conv n2 ci6 co3 i9x11 k3 p1",
    "conv_transpose n2 ci20 co24 i5x6 k4 s2 p1",
    "conv_transpose n2 ci20 co3 i5x6 k4 s2 p1",
    "conv_transpose n2 ci20 co36 i5x6 k2 s2 nhwc",
]


@pytest.mark.parametrize("text", STRIDED)
def test_any_strides_of_the_inputs(text):
    problem = Problem.parse(text)
    x, weight, bias = arrays(problem)
    want = reference.run(problem, x, weight, bias)
    p = plan(problem)
    flipped = [np.flip(np.flip(x, axis).copy(), axis) for axis in range(4)]
    wide = np.repeat(np.repeat(x, 2, 3), 3, 1)[:, ::3, :, ::2]
    for view in (*flipped, wide, np.asfortranarray(x), x.transpose(3, 1, 2, 0).copy().transpose(3, 1, 2, 0)):
        assert np.array_equal(p.run(view, weight, bias), want)
    for view in (np.asfortranarray(weight), np.flip(np.flip(weight, 2).copy(), 2), np.repeat(weight, 2, 1)[:, ::2]):
        assert np.array_equal(p.run(x, view, bias), want)
    constant = np.broadcast_to(x[:, :, :1, :1], x.shape)
    assert np.array_equal(p.run(constant, weight, bias), reference.run(problem, constant, weight, bias))
    packed = bytearray(x.nbytes + 1)  # not on a multiple of 4
    crooked = np.frombuffer(packed, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    crooked[...] = x
    assert np.array_equal(p.run(crooked, weight, bias), want)
    assert np.array_equal(p.run(x.astype(x.dtype.newbyteorder()), weight, bias), want)


def test_strides_of_axes_of_one_cell_mean_nothing():
    problem = Problem.parse("conv n2 ci20 co40 i70x1 k1 nhwc")
    x, weight, bias = arrays(problem)
    odd = np.lib.stride_tricks.as_strided(x, x.shape, (*x.strides[:3], 4 * x.strides[2] + 4))
    assert np.array_equal(plan(problem).run(odd, weight, bias), reference.run(problem, x, weight, bias))


WINDOWS = [
    "conv ci20 co40 i40x37 k3 p1",
    "conv ci20 co40 i40x37 k3 p1 nhwc",
    "conv ci3 co40 i40x37 k5 s2 p2",
    "conv ci4 co3 i30x37 k3 p1",
    "conv g20 ci20 co20 i30x37 k3 p1 nhwc",
    "conv g20 ci20 co20 i30x37 k3 p1",
    "conv ci40 co40 i19x23 k1 nhwc",
    "conv ci2 co20 i700 k65 s16",
]


@pytest.mark.parametrize("text", WINDOWS)
def test_every_window_alone_gives_the_same_bits(text):
    # of image size, position, tile and thread nothing is left in a result
    problem = Problem.parse(text)
    x, weight, _ = arrays(problem, 5, integers=False)
    whole = plan(problem, threads=2, accuracy="strict").run(x, weight)
    axes = problem.geometry.axes
    pads = [(0, 0), (0, 0), *[(a.pad_before, a.pad_after + a.stride) for a in axes]]
    padded = np.pad(x, pads)
    size = [a.extent for a in axes]
    layout = "nhwc" if problem.layout == "channels_last" else ""
    fields = [f for f in str(problem).split() if f[0] in "kdg" or (f[:2] in ("ci", "co") and f != "conv")]
    strides = "s" + "x".join(str(a.stride) for a in axes)
    text = " ".join(["conv", *fields, strides, "i" + "x".join(map(str, size)), layout])
    alone = plan(text, accuracy="strict")
    for cell in np.ndindex(*problem.out_size):
        at = tuple(slice(c * a.stride, c * a.stride + n) for c, a, n in zip(cell, axes, size, strict=True))
        y = alone.run(padded[(..., *at)], weight)
        assert np.array_equal(y.ravel(), whole[(0, slice(None), *cell)]), cell


@pytest.mark.parametrize(
    "text",
    [
        "conv_transpose ci20 co40 i24x22 k4 s2 p1",
        "conv_transpose ci20 co3 i24x22 k5 s3 p1 nhwc",
        "conv_transpose ci20 co1 i24x22 k9 s4",
        "conv_transpose g20 ci20 co20 i24x22 k4 s2",
    ],
)
def test_crops_of_the_input_give_the_same_bits(text):
    # away from the cut, the transposed operation on a part of the input equals the part of the whole
    problem = Problem.parse(text)
    x, weight, _ = arrays(problem, 5, integers=False)
    whole = plan(problem, accuracy="strict").run(x, weight)
    s = problem.geometry.axes[0].stride
    for first, size in ((3, 12), (7, 9), (10, 14)):
        part = Problem.parse(str(problem).replace("i24x22", f"i{size}x22"))
        y = plan(part, accuracy="strict").run(np.ascontiguousarray(x[:, :, first : first + size]), weight)
        reach = -(-problem.geometry.axes[0].extent // s)  # coarse cells that may be missing at a cut
        low, high = reach * s, (size - reach) * s
        assert np.array_equal(y[:, :, low:high], whole[:, :, first * s + low : first * s + high])


def test_batch_neighbours_and_threads_leave_the_bits_alone():
    for text in TABLE:
        problem = Problem.parse(text)
        if problem.batch == 1:
            continue
        x, weight, bias = arrays(problem, 5, integers=False)
        whole = plan(problem, threads=1).run(x, weight, bias)
        for threads in (2, 5):
            assert np.array_equal(plan(problem, threads=threads).run(x, weight, bias), whole)
        single = plan(Problem.parse(str(problem).replace(f"n{problem.batch} ", "n1 ")))
        for image in range(problem.batch):
            assert np.array_equal(single.run(x[image : image + 1], weight, bias)[0], whole[image])


@pytest.mark.parametrize("threads", [1, 3])
def test_jobs_pack_the_weights_that_they_use(threads, monkeypatch):
    monkeypatch.setattr(bound, "_FUSED", 0)  # as for large weights
    monkeypatch.setattr(plans, "_kept", {})
    packed = 0
    for problem in [*map(Problem.parse, TABLE), *map(drawn, range(60))]:
        x, weight, bias = arrays(problem)
        want = reference.run(problem, x, weight, bias)
        p = plan(problem, threads=threads)
        for view in (weight, np.asfortranarray(weight), np.flip(np.flip(weight, 1).copy(), 1)):
            assert np.array_equal(p.run(x, view, bias), want), problem
        assert np.array_equal(p.run(x, p.pack(weight), bias), want), problem
        packed += any("block_" in code.name for kept in plans._kept.values() for code in kept.codes)
    assert packed > 20


@POSIX
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("accuracy", ["strict", "standard", "fast"])
def test_nothing_beyond_the_arrays_is_touched(end, fused, accuracy, monkeypatch):
    monkeypatch.setattr(bound, "_FUSED", 0 if fused else 1 << 60)
    monkeypatch.setattr(plans, "_kept", {})
    for text in TABLE:
        problem = Problem.parse(text)
        if problem.padding_mode != "zeros" or problem.rank > 3:  # those are padded or stacked copies
            continue
        x, weight, bias = arrays(problem)
        want = reference.run(problem, x, weight, bias)
        is_last = problem.layout == "channels_last"
        x = np.moveaxis(fenced(np.moveaxis(x, 1, -1), end), -1, 1) if is_last else fenced(x, end)
        weight, bias = fenced(weight, end), fenced(bias, end)
        found = plans.bound_for(problem, accuracy, x, weight)
        if accuracy != "strict" and (found is None or found[0].family.direct):  # the same as strict
            continue
        layer, run, _ = found
        if not layer.takes_bias_as_is:
            bias = fenced(layer.padded_bias(bias), end)
        y = fenced(np.full(np.moveaxis(want, 1, -1).shape if is_last else want.shape, np.nan, want.dtype), end)
        run(x.ctypes.data, weight.ctypes.data, bias.ctypes.data, 0, y.ctypes.data, False)
        got = np.moveaxis(y, -1, 1) if is_last else y
        assert np.array_equal(got, want) if accuracy == "strict" else np.allclose(got, want, 0, 2e-5 * abs(want).max())


@pytest.mark.parametrize(
    "text", [*WINDOWS, "conv_transpose ci20 co40 i9x8 k4 s2 p1", "conv_transpose ci3 co3 i9x8 k3 s2"]
)
def test_nan_and_inf_reach_their_windows_and_no_other(text):
    problem = Problem.parse(text)
    x, weight, bias = arrays(problem, 7, integers=False)
    for value in (np.nan, np.inf):
        bad = x.copy()
        cell = tuple(n // 2 for n in x.shape)
        bad[cell] = value
        y, want = plan(problem, accuracy="strict").run(bad, weight, bias), reference.run(problem, bad, weight, bias)
        assert np.array_equal(np.isfinite(y), np.isfinite(want)) and not np.isfinite(want).all()


@pytest.mark.parametrize("isa", ["avx2", "x86-64"])
def test_lesser_machines(isa):
    if machine.host().isa not in ("avx512", "avx2"):
        pytest.skip("the host is no x86-64 machine beyond the baseline")
    if isa == machine.host().isa:
        pytest.skip("that is the host itself, which the other tests cover")
    script = (
        "import numpy as np\nfrom engine_layers import TABLE, arrays, drawn\nfrom twofold import reference\n"
        "from twofold.engine.plan import plan\nfrom twofold.geometry import Problem\n"
        "for problem in [*map(Problem.parse, TABLE), *map(drawn, range(40))]:\n"
        "    a = arrays(problem)\n    p = plan(problem)\n"
        f"    assert p.algorithm != 'reference' and ' {isa} ' in p.why, p.why\n"
        "    assert np.array_equal(p.run(*a), reference.run(problem, *a)), problem\n"
    )
    env = os.environ | {"TWOFOLD_ISA": isa, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_neon_objects_are_emitted():
    neon = machine.cross("neon")
    seen = set()
    for text in TABLE[::3]:
        problem = Problem.parse(text)
        if problem.padding_mode != "zeros" or problem.rank > 3:
            continue
        layer = plans._layer(plans.Setting(problem, _strides(problem), False, problem.layout == "channels_last", 1))
        family = families.choose(layer, neon)
        for kernel in family.schedule(layer, neon, 1).kernels:
            if kernel.name not in seen:
                seen.add(kernel.name)
                assert binary.emit_object(_text(kernel, neon), neon)[:4] == b"\x7fELF"
    assert len(seen) > 8


def _strides(problem):
    shape = problem.weight_shape
    return tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))


def _text(kernel, target):
    from twofold.engine.emit import Module

    module = Module(target)
    kernel.emit(module)
    return str(module)


EPILOGUES = [
    "conv n2 ci20 co40 i9x13 k3 p1",
    "conv n2 ci20 co40 i9x13 k3 p1 nhwc",
    "conv n2 ci8 co32 i9x13 k1 nhwc",
    "conv n2 g24 ci24 co24 i9x13 k3 p1 nhwc",
    "conv n2 g24 ci24 co24 i9x13 k3 p1",
    "conv n2 ci6 co3 i9x33 k3 p1",
    "conv n3 ci20 co40 i1x1 k1",
    "conv_transpose n2 ci20 co40 i9x13 k4 s2 p1",
    "conv_transpose n2 ci20 co3 i9x13 k4 s2 p1 nhwc",
    "conv_transpose n3 ci20 co40 i1x1 k4",
    "conv_transpose n2 ci20 co20 i9 k3 s5 f64",
]

# -- what surrounds the kernels ---------------------------------------------------------------------------------------


def test_weights_are_packed_once_and_only_for_their_own():
    problem = Problem.parse("conv ci20 co40 i9x9 k3 p1")
    x, weight, bias = arrays(problem)
    p = plan(problem)
    packed = p.pack(weight)
    assert np.array_equal(p(x, packed, bias), p(x, weight, bias)) and packed.nbytes >= weight.nbytes
    larger = plan("conv n2 ci20 co40 i30x9 k3 p1")  # sizes of the image are no part of a packing
    x2, _, _ = arrays(larger.problem)
    assert np.array_equal(larger(x2, packed), larger(x2, weight))
    with pytest.raises(UnsupportedError, match=r"packed for another layer.*\n  try plan.pack"):
        plan("conv ci20 co40 i9x9 k1")(x, packed)
    with pytest.raises(GeometryError, match="weight has shape"):
        p.pack(weight[:3])


def test_a_plan_can_be_read():
    p = plan("conv_transpose ci64 co32 i14x14 k4 s2 p1")
    assert p.flops == 2 * p.problem.multiplications and p.bytes == 4 * (64 * 196 + 32 * 784 + 64 * 32 * 16)
    assert 0 < p.workspace < 4 << 20
    assert p.algorithm in p.why and "packed weights" in p.why and "for each" in p.loops
    assert "define void" in p.ir and "ret" in p.assembly
    assert "reference" in plan("conv i9x9 k3 int64").why


@pytest.mark.parametrize("text", EPILOGUES)
@pytest.mark.parametrize("residual", [False, True])
def test_a_plan_remembers_calls_with_packed_weights(text, residual, monkeypatch):
    p = plan(text, activation="relu", residual=residual)
    last = p.problem.layout == "channels_last"
    x, weight, bias = arrays(p.problem)
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    packed = p.pack(weight)
    other = np.ones_like(plan(text)(x, weight)) if residual else None
    want = p(x, weight, bias, residual=other)
    assert np.array_equal(p(x, packed, bias, residual=other), want)
    monkeypatch.setattr(type(p), "run", None)  # not looked at again
    again = p(x.copy(), packed, bias, residual=other)
    assert np.array_equal(again, want) and again.flags.c_contiguous
    assert not np.array_equal(p(x + 1, packed, bias, residual=other), want)
    monkeypatch.undo()
    with pytest.raises(UnsupportedError, match="residual"):
        p(x, packed, bias, residual=None if residual else want)
    with pytest.raises(GeometryError, match="bias has shape"):
        p(x, packed, bias[1:], residual=other)
    with pytest.raises(UnsupportedError, match="packed for another"):
        p(x, plan("conv ci3 co5 i9x9 k2").pack(np.ones((5, 3, 2, 2), np.float32)), bias, residual=other)
    with pytest.raises(UnsupportedError, match="packed for another"):  # of the same size
        p(x, plan(f"{text} flip").pack(weight), bias, residual=other)
    strided = np.repeat(x, 2, axis=-1)[..., ::2]
    assert np.array_equal(p(strided, packed, bias, residual=other), want)


def test_shapes_are_checked():
    p = plan("conv ci4 co8 i9x9 k3")
    x, weight, _ = arrays(p.problem)
    with pytest.raises(GeometryError, match=r"x has shape \(1, 4, 8, 9\)"):
        p(x[:, :, 1:], weight)
    with pytest.raises(GeometryError, match="bias has shape"):
        p(x, weight, np.zeros(7, np.float32))
    with pytest.raises(UnsupportedError, match="made without a residual"):
        p(x, weight, residual=np.zeros((1, 8, 7, 7), np.float32))


def test_where_memory_may_not_be_executed_the_reference_runs(monkeypatch):
    def refuse(*_):
        raise UnsupportedError("the system refuses executable memory")

    monkeypatch.setattr(binary, "load", refuse)
    monkeypatch.setattr(plans, "_kept", {})
    p = plan("conv ci8 co8 i40x40 k3")
    x, weight, _ = arrays(p.problem)
    assert p.algorithm == "reference" and "refuses executable memory" in p.why
    assert np.array_equal(p(x, weight), reference.run(p.problem, x, weight))
    warm.forget()
    assert np.array_equal(tf.conv2d(x, weight), reference.run(p.problem, x, weight))


def test_functional_runs_the_engine_and_remembers_calls(monkeypatch):
    warm.forget()
    x, weight, bias = arrays(Problem.parse("conv n2 ci20 co40 i19x23 k3 p1"))
    first = tf.conv2d(x, weight, bias, padding=1)
    assert len(warm._seen) == 1
    monkeypatch.setattr(call, "describe", None)  # not described again
    assert np.array_equal(tf.conv2d(x, weight, bias, padding=1), first)
    again = tf.conv2d(x + 1, weight, bias, padding=1)
    assert not np.array_equal(again, first)


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), [1, 1], [(1, 1), (1, 1)], (1, 1), "same"])
def test_calls_are_remembered_however_padding_is_spelt(padding, monkeypatch):
    warm.forget()
    x, weight, _ = arrays(Problem.parse("conv n2 ci20 co40 i19x23 k3 p1"))
    first = tf.conv2d(x, weight, padding=padding)
    monkeypatch.setattr(call, "describe", None)
    assert np.array_equal(tf.conv2d(x, weight, padding=padding), first)


def test_a_remembered_call_lets_no_wrong_one_pass():
    x, weight, bias = arrays(Problem.parse("conv n2 ci20 co40 i19x23 k3 p1"))
    tf.conv2d(x, weight, bias, padding=1, stride=1)
    for wrong in (True, 1.0, np.float32(1)):
        with pytest.raises(GeometryError, match="stride must be an integer"):
            tf.conv2d(x, weight, bias, padding=1, stride=wrong)
    with pytest.raises(TypeError, match="unexpected keyword"):
        tf.conv2d(x, weight, bias, padding=1, strides=1)
    raw = bytearray(x.nbytes + 1)
    crooked = np.frombuffer(raw, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    crooked[...] = x
    assert np.array_equal(tf.conv2d(crooked, weight, bias, padding=1), tf.conv2d(x, weight, bias, padding=1))


def test_torch_tensors_are_remembered_but_not_those_with_gradients():
    torch = pytest.importorskip("torch")
    x, weight, bias = (torch.from_numpy(a) for a in arrays(Problem.parse("conv n2 ci20 co40 i19x23 k3 p1")))
    want = torch.nn.functional.conv2d(x, weight, bias, padding=1)
    for _ in range(3):
        assert torch.equal(tf.conv2d(x, weight, bias, padding=1), want)
    last = x.to(memory_format=torch.channels_last)
    for _ in range(3):
        y = tf.conv2d(last, weight, bias, padding=1)
        assert torch.equal(y, want) and y.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(UnsupportedError, match="requires grad"):
        tf.conv2d(x, weight.clone().requires_grad_(), bias, padding=1)
    with pytest.raises(UnsupportedError, match=r"torch\.func"):
        torch.func.vmap(lambda t: tf.conv2d(t, weight, bias, padding=1))(x[None])
    turned = torch.complex(torch.zeros_like(x), x).conj().imag  # a negative that is not written out
    assert torch.equal(tf.conv2d(turned, weight, bias, padding=1), tf.conv2d(-x, weight, bias, padding=1))


def test_many_threads_at_once_from_a_cold_start(tmp_path):
    script = """
import threading, numpy as np, twofold as tf
from twofold import reference
from twofold.geometry import Problem
texts = ["conv n2 ci20 co40 i19x23 k3 p1", "conv_transpose ci20 co24 i15x16 k4 s2 p1",
         "conv n2 g24 ci24 co24 i29x31 k3 p1",
         "conv ci3 co40 i40x37 k5 s2 p2", "conv_transpose ci40 co3 i16x17 k4 s2 p1"]
cases, failed = [], []
for text in texts:
    p = Problem.parse(text); rng = np.random.default_rng(1)
    shape = p.coarse_shape if p.op == "conv_transpose" else p.fine_shape
    x, w = rng.integers(-4, 5, shape).astype("f"), rng.integers(-4, 5, p.weight_shape).astype("f")
    a = p.geometry.axes[0]
    f = tf.conv2d if p.op == "conv" else tf.conv_transpose2d
    options = dict(stride=a.stride, padding=a.pad_before, groups=p.geometry.groups)
    cases.append((f, x, w, options, reference.run(p, x, w)))
def work(first):
    try:
        for i in range(first, first + CALLS):
            f, x, w, o, want = cases[i % len(cases)]
            if not np.array_equal(f(x, w, **o), want):
                failed.append(i)
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
assert not failed, failed[:3]
"""
    calls = "1000" if os.environ.get("TWOFOLD_SOAK") == "1" else "60"
    env = os.environ | {"TWOFOLD_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script.replace("CALLS", calls)], env=env, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-2000:]


@POSIX
def test_a_forked_child_computes(tmp_path):
    script = """
import os, sys, numpy as np, twofold as tf
x, w = np.ones((4, 32, 40, 40), "f"), np.ones((32, 32, 3, 3), "f")
want = tf.conv2d(x, w)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(tf.conv2d(x, w), want) and np.array_equal(tf.conv2d(x[:2], w), want[:2]) else 1)
assert os.waitpid(child, 0)[1] == 0
assert np.array_equal(tf.conv2d(x, w), want)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_two_python_threads_share_a_plan():
    problem = Problem.parse("conv n4 ci20 co40 i19x23 k3 p1")
    x, weight, _ = arrays(problem)
    p, results = plan(problem), []
    want = reference.run(problem, x, weight)
    workers = [threading.Thread(target=lambda: results.append(p(x, weight))) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 6 and all(np.array_equal(y, want) for y in results)


# -- fused epilogue, out=, tuning -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", EPILOGUES)
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "silu", "gelu", "sigmoid", "tanh", "none"])
def test_activation_and_residual_are_applied_as_results_are_stored(text, name):
    torch = pytest.importorskip("torch")
    problem = Problem.parse(text)
    x, weight, bias = arrays(problem, 11, integers=False)
    rng = np.random.default_rng(12)
    y = plan(problem).run(x, weight, bias)
    other = rng.standard_normal(y.shape).astype(y.dtype)
    functions = {
        "none": lambda t: t,
        "relu": torch.relu,
        "leaky_relu": lambda t: torch.nn.functional.leaky_relu(t, 0.2),
        "silu": torch.nn.functional.silu,
        "gelu": lambda t: torch.nn.functional.gelu(t, approximate="tanh"),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
    }
    for residual in (None, other):
        fused = plan(problem, activation=name, slope=0.2, residual=residual is not None).run(x, weight, bias, residual)
        sums = y if residual is None else y + residual
        want = functions[name](torch.from_numpy(np.ascontiguousarray(sums).astype(np.float64))).numpy()
        assert np.allclose(fused, want, rtol=8 * np.finfo(y.dtype).eps, atol=1e-7 if y.dtype == np.float32 else 1e-15)


def test_results_are_written_where_the_caller_wants_them():
    for text in ("conv n2 ci20 co40 i19x23 k3 p1", "conv n2 ci20 co40 i19x23 k3 p1 nhwc"):
        problem = Problem.parse(text)
        x, weight, bias = arrays(problem)
        x = np.moveaxis(x, 1, -1) if problem.layout == "channels_last" else x
        options = {"padding": 1, "layout": problem.layout}
        want = tf.conv2d(x, weight, bias, **options)
        out = np.full_like(want, np.nan)
        assert tf.conv2d(x, weight, bias, out=out, **options) is out and np.array_equal(out, want)
        wide = np.full((*want.shape[:-1], 2 * want.shape[-1]), np.nan, want.dtype)[..., ::2]
        assert tf.conv2d(x, weight, bias, out=wide, **options) is wide and np.array_equal(wide, want)
        with pytest.raises(UnsupportedError, match="out overlaps x"):
            tf.conv2d(x, weight[:20], padding=1, layout=problem.layout, out=x)


def test_large_results_are_stored_past_the_caches():
    problem = Problem.parse("conv n10 ci2 co64 i80x90 k3 p1 nhwc")
    x, weight, bias = arrays(problem)
    p = plan(problem, accuracy="strict")
    assert "streaming" in p.why
    want = reference.run(problem, x, weight, bias)
    assert np.array_equal(p.run(x, weight, bias), want)
    memory = np.empty(want.size + 1, np.float32)[1:].reshape(
        np.moveaxis(want, 1, -1).shape
    )  # no whole vector begins there
    assert np.array_equal(p.run(x, weight, bias, into=memory), want)


def test_tuning_measures_and_remembers(monkeypatch, tmp_path):
    from twofold.engine import wisdom

    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path))
    monkeypatch.setattr(plans, "_kept", {})
    monkeypatch.setattr(wisdom, "_memory", {})
    problem = Problem.parse("conv n2 ci20 co40 i19x23 k3 p1")
    x, weight, bias = arrays(problem)
    want = reference.run(problem, x, weight, bias)
    measured = []
    real = wisdom.fastest
    monkeypatch.setattr(wisdom, "fastest", lambda calls: measured.append(len(calls)) or real(calls))
    assert np.array_equal(plan(problem, tune=True).run(x, weight, bias), want) and measured == [3]
    monkeypatch.setattr(wisdom, "fastest", lambda calls: len(calls) - 1)
    last = plan(problem, tune=True)._engine()
    monkeypatch.setattr(plans, "_kept", {})
    monkeypatch.setattr(wisdom, "_memory", {})  # another process
    again = plan(problem)._engine()
    assert (again.family.name, again.layer.scale) == (last.family.name, last.layer.scale) != ("direct", 0)
    assert np.array_equal(plan(problem).run(x, weight, bias), want)


# -- what a reviewer broke ---------------------------------------------------------------------------------------------


def test_what_was_copied_is_not_remembered():
    torch = pytest.importorskip("torch")
    x, weight = torch.ones(1, 16, 32, 32).bfloat16(), torch.ones(16, 16, 3, 3).bfloat16()
    for _ in range(3):
        y = tf.conv2d(x, weight, torch.ones(16).bfloat16())
        assert y.dtype == torch.bfloat16 and y.max() == 145
    packed = np.ones((16, 16, 3, 3), [("a", "f4"), ("b", "u1")])["a"]  # strides of 5 bytes
    for _ in range(3):
        assert tf.conv2d(np.ones((1, 16, 32, 32), np.float32), packed).max() == 144


def test_folded_padding_takes_no_activation_and_no_residual():
    text = "conv_transpose n2 ci16 co16 i20x20 k3x3 p1 reflect"
    for options in ({"residual": True}, {"activation": "relu"}):
        with pytest.raises(UnsupportedError, match=r"no activation or residual with padding_mode 'reflect'"):
            plan(text, **options)


def test_packed_weights_know_their_operation_and_survive_copies():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 16, 20, 20)).astype("f4"), rng.standard_normal((16, 16, 3, 3)).astype("f4")
    p = plan("conv_transpose n2 ci16 co16 i20x20 k3x3")
    with pytest.raises(UnsupportedError, match="packed for another layer"):
        p(x, plan("conv n2 ci16 co16 i20x20 k3x3").pack(weight))
    with pytest.raises(UnsupportedError, match="packed for another layer"):
        plan("conv n2 ci16 co16 i20x20 k3x3 int8")(x.astype("i1"), p.pack(weight))
    packed, want = p.pack(weight), p(x, weight)
    for copied in [copy.deepcopy(packed) for _ in range(8)] + [pickle.loads(pickle.dumps(packed))]:
        assert np.array_equal(p(x, copied), want)
    for again in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert np.array_equal(again(x, packed), want)
    with pytest.raises(UnsupportedError, match="lost a part"):
        p(x, plans.PackedWeight(packed.key, np.zeros(3, np.uint8)))


def test_packed_weights_outlive_tuning(monkeypatch, tmp_path):
    from twofold.engine import wisdom

    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path))
    monkeypatch.setattr(plans, "_kept", {})
    monkeypatch.setattr(wisdom, "_memory", {})
    text = "conv ci16 co16 i999 k3"
    x, weight, _ = arrays(Problem.parse(text))
    p = plan(text)
    packed, want, first = p.pack(weight), p(x, weight), p.algorithm
    monkeypatch.setattr(wisdom, "fastest", lambda calls: 1)
    tuned = plan(text, tune=True)
    assert np.array_equal(tuned(x, weight), want) and tuned.algorithm != first
    assert np.array_equal(p(x, packed), want)


def test_unaligned_weights_are_packed_right():
    raw = np.zeros(65 * 9 * 2 + 1, np.uint8)[1:].view(np.float16).reshape(65, 9, 1)
    raw[...] = 1
    p = plan("conv_transpose ci65 co9 i1254 k1 f16")
    assert p(np.ones((1, 65, 1254), np.float16), p.pack(raw)).min() == 65


@pytest.mark.parametrize("threads", [0, -1, 1.5, "a", True, 20_000, 10**30])
def test_threads_are_a_count(threads):
    with pytest.raises(GeometryError, match="threads"):
        plan("conv i300x300 k5x5", threads=threads)


def test_a_plan_rounds_nothing_silently():
    p = plan("conv n2 ci16 co16 i20x20 k3x3")
    x, weight, _ = arrays(p.problem)
    for wrong in ((x.astype(complex), weight), (x.astype(np.float64), weight), (x, weight.astype(np.float64))):
        with pytest.raises(UnsupportedError, match=r"is (complex128|float64), but the plan is for float32"):
            p(*wrong)
    with pytest.raises(UnsupportedError, match="weight is float64"):
        p.pack(weight.astype(np.float64))
    assert np.array_equal(p(x.astype(np.int8), weight), p(x, weight))
    for wrong, sentence in (
        (lambda: plan(3), "neither a Problem"),
        (lambda: plan("conv i30 k5", slope="a"), "slope must be a number"),
        (lambda: p(x, None), "weight must be"),
        (lambda: plan("conv_weight_gradient i9x9 k3")(np.ones((1, 1, 9, 9), "f4"), p.pack(weight)), "takes grad_y"),
    ):
        with pytest.raises(UnsupportedError, match=sentence):
            wrong()


def test_absurd_sizes_are_refused_before_any_table_is_written():
    for text in ("conv i1000000000000 k3", "conv i10000000000000000000000000 k3", "conv i1000000000x1000000000 k1"):
        with pytest.raises(GeometryError, match="bytes, but this machine gives"):
            plan(text)
