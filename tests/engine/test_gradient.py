"""The weight gradient: exact on integers, within the bound of one chain on floats, no read beyond the arrays."""

from __future__ import annotations

import ctypes
import math
import mmap
import random
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from twofold import reference
from twofold.engine import binary, gradient_code, machine
from twofold.engine.emit import Module
from twofold.engine.gradient import WeightGradient
from twofold.engine.gradient_code import Copy, Tile, Unpack
from twofold.errors import GeometryError
from twofold.geometry import Problem

CASES = """
conv ci16 co32 i14x14 k3x3 p1x1
conv ci16 co32 i14x14 k3x3 p1x1 nhwc
conv ci17 co33 i15x9 k3x3 s2x2 p1x1
conv ci3 co64 n2 i30x31 k7x7 s2x2 p3x3
conv ci3 co64 i30x31 k7x7 s2x2 p3x3 nhwc
conv ci20 co70 n3 i7x7 k3x3 p1x1 nhwc
conv ci5 co6 i40 k5 p3:1 d2
conv ci24 co40 n2 i40 k3 p3 d3 nhwc
conv ci34 co10 g2 i6x7x8 k3x2x1 p1x0x0 nhwc
conv ci1 co20 i100 k9 s4
conv ci64 co40 n2 i9x9 k1x1
conv ci64 co100 n2 i9x9 k1x1 nhwc
conv ci70 co33 n3 i6x7x8 k1x1x1 nhwc
conv ci20 co70 n2 i9x8 k1x1 s2x2 nhwc
conv ci20 co70 n2 i9x8 k1x1 p1x1 nhwc
conv ci64 co96 n2 g2 i33 k1 nhwc f64
conv ci40 co40 n2 i9x8 k1x1 s2x3 p1x2
conv ci8 co8 i20x20 k1x1 s2x2 p2x2
conv ci64 co2 i20x20 k3x3
conv ci64 co3 i20x20 k3x3 nhwc
conv ci512 co40 i40x60 k3x3 p1x1
conv ci6 co7 i5x5 k5x5 s2x2 p7x7
conv ci3 co5 i200x201 k3x3 p1x1 flip
conv ci1 co1 i3x3 k2x2
conv ci1 co1 i9000 k4096 s1024
conv ci1 co2 i90x90 k31x31
conv ci1 co2 i70x90 k31x31 flip nhwc
conv ci3 co3 g3 i33x90 k31x31 p15x15 flip nhwc
conv ci40 co40 g40 i20x21 k3x3 p1x1
conv ci40 co40 g40 n2 i20x21 k3x3 p1x1 nhwc
conv ci64 co64 g64 i20x21 k3x3 p1x1 d2x2 nhwc
conv ci33 co33 g33 i45x45 k31x31 p15x15
conv ci16 co32 g16 i9x9 k3x3 p1x1
conv ci16 co8 g8 i9x9 k3x3 p1x1 nhwc
conv ci32 co32 g8 i9x9 k3x3 p1x1
conv ci12 co48 g3 i9 k4 p2:-1
conv ci20 co33 n2 i1x1 k3x3 p1x1
conv ci20 co70 n3 i7x9 k3x3 p1x1 f64
conv ci16 co16 g16 i20x20 k5x5 p2x2 nhwc f64
conv ci600 co4 i3000 k3 p1
conv ci2 co4 n0 i9 k3
conv ci2 co4 i1 k3 s4 p7
conv_transpose ci20 co33 i8x8 k4x4 s2x2 p1x1
conv_transpose ci20 co64 i8x8 k4x4 s2x2 p1x1 nhwc
conv_transpose ci20 co64 n2 i9x5 k3x3 s2x2 p1x1 op1x1
conv_transpose ci5 co3 n2 i9x5 k2x2 s3x3
conv_transpose ci128 co3 i16x16 k4x4 s2x2 p1x1
conv_transpose ci40 co32 i1x1 k4x4
conv_transpose ci2 co3 i5x6x7 k3x4x5 s2x3x1 p1x1x1 d1x2x3
conv_transpose ci64 co24 i33 k16 s8 p4
conv_transpose ci21 co21 g21 i5x6 k8x8 s4x4 p2x2
conv_transpose ci4 co6 i5x5 k3x3 s1x1 d3x3 op2x2 flip
conv_transpose ci1 co1 i2x2 k2x2
""".strip().splitlines()


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWOFOLD_CACHE", str(tmp_path_factory.mktemp("code") / "cache"))
        patch.delenv("TWOFOLD_ISA", raising=False)
        yield


def parsed(text):
    return Problem.parse(text).weight_gradient()


def arrays(problem, seed=0, floats=False):
    """Return x and grad in the problem's layout, channels first."""
    rng = np.random.default_rng(seed)
    made = []
    for shape in (problem.fine_shape, problem.coarse_shape):
        a = rng.standard_normal(shape) if floats else rng.integers(-4, 5, shape)
        a = a.astype(problem.dtype)
        made.append(laid(a, problem.layout))
    return made


def laid(a, layout):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) if layout == "channels_last" else a


def gradient(problem, x, grad, threads=1):
    out = np.full(problem.weight_shape, np.nan, problem.dtype)
    WeightGradient(problem, machine.host(), threads).run(x, grad, out)
    return out


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_that_of_the_definition(case):
    problem = parsed(case)
    x, grad = arrays(problem)
    expected = reference.run(problem, x, grad)
    for threads in (1, 2, 3):
        assert np.array_equal(gradient(problem, x, grad, threads), expected), threads


def drawn(seed):
    """Return a random problem; some draws are none."""
    rng = random.Random(seed)
    rank = rng.randint(1, 3)
    most = {1: 60, 2: 20, 3: 8}[rank]
    groups = rng.choice([1, 1, 1, 2, 3, 17])
    few, many = ([1, 1, 2], [1, 2, 3]) if groups == 17 else ([1, 2, 3, 5, 16], [1, 3, 7, 20, 33])
    spread = {
        name: tuple(rng.randint(*ends) for _ in range(rank))
        for name, ends in {"i": (1, most), "k": (1, 5), "s": (1, 3), "p": (0, 3), "q": (-1, 3), "d": (1, 2)}.items()
    }
    op = rng.choice(["conv", "conv_transpose"])
    extra = {} if op == "conv" else {"output_padding": tuple(rng.randint(0, s - 1) for s in spread["s"])}
    after = spread["q"] if op == "conv" else spread["p"]
    return Problem.of(
        op, spread["i"], spread["k"], in_channels=groups * rng.choice(few), out_channels=groups * rng.choice(many),
        stride=spread["s"], padding=[(a, max(b, 0)) for a, b in zip(spread["p"], after, strict=True)],
        dilation=spread["d"], groups=groups, flip=rng.random() < 0.3, batch=rng.randint(1, 3),
        dtype=rng.choice(["float32", "float32", "float64"]), layout=rng.choice(["channels_first", "channels_last"]),
        **extra,
    ).weight_gradient()  # fmt: skip


def restrided(a, rng):
    """Return the same numbers with other strides."""
    way = rng.randint(0, 3)
    if way == 0:
        wide = np.zeros([2 * n for n in a.shape], a.dtype)
        view = wide[tuple(slice(1, None, 2) for _ in a.shape)]
    elif way == 1:
        view = np.empty(a.shape, a.dtype)[..., ::-1]
    elif way == 2:
        order = list(range(a.ndim))
        rng.shuffle(order)
        view = np.empty([a.shape[i] for i in order], a.dtype).transpose(np.argsort(order))
    else:
        return a
    view[...] = a
    return view


@pytest.mark.parametrize("part", range(10))
def test_random_problems_and_strides(part):
    done = 0
    for seed in range(25 * part, 25 * part + 25):
        try:
            problem = drawn(seed)
        except GeometryError:
            continue
        rng = random.Random(seed)
        x, grad = arrays(problem, seed)
        expected = reference.run(problem, x, grad)
        found = gradient(problem, restrided(x, rng), restrided(grad, rng), rng.randint(1, 4))
        assert np.array_equal(found, expected), (seed, str(problem))
        done += 1
    assert done >= 10


@pytest.mark.parametrize("case", CASES[:40:3])
def test_floats_are_within_the_bound_of_one_chain(case):
    problem = parsed(case)
    x, grad = arrays(problem, 1, floats=True)
    wide = parsed(case.replace(" f64", "") + " f64")
    exact = reference.run(wide, x.astype(np.float64), grad.astype(np.float64))
    total = reference.run(wide, abs(x.astype(np.float64)), abs(grad.astype(np.float64)))
    terms = problem.batch * math.prod(problem.coarse_size)
    unit = np.finfo(problem.dtype).eps / 2
    assert (abs(gradient(problem, x, grad) - exact) <= (terms + 2) * unit * total + 1e-300).all()


@pytest.mark.parametrize("case", CASES[1:44:6])
def test_the_bits_depend_on_no_thread_and_no_stride(case):
    problem = parsed(case)
    x, grad = arrays(problem, 2, floats=True)
    expected = gradient(problem, x, grad)
    for threads in (2, 3, 7):
        assert gradient(problem, x, grad, threads).tobytes() == expected.tobytes()
    strange = [np.repeat(a, 2, axis=-1)[..., ::2] for a in (x, grad)]
    assert gradient(problem, *strange).tobytes() == expected.tobytes()


@pytest.mark.parametrize("case", CASES[::3])
def test_bands_do_not_change_the_bits(case):
    problem = parsed(case)
    x, grad = arrays(problem, 3, floats=True)
    small = WeightGradient(problem, replace(machine.host(), l2=4 << 10), 2)
    out = np.empty(problem.weight_shape, problem.dtype)
    small.run(x, grad, out)
    assert out.tobytes() == gradient(problem, x, grad).tobytes()


@pytest.mark.parametrize("case", [CASES[i] for i in (0, 1, 4, 6, 8, 10, 14, 21, 25, 29, 38, 44)])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_poisoned_cell_reaches_the_taps_that_meet_it_only(case, poison):
    problem = parsed(case)
    x, grad = arrays(problem, 4)
    x, grad = abs(x) + 1, abs(grad) + 1  # no zero times Inf
    x, grad = laid(x, problem.layout), laid(grad, problem.layout)
    rng = np.random.default_rng(5)
    for _ in range(2):
        bad = x.copy(order="K")
        bad[tuple(rng.integers(0, n) for n in x.shape)] = poison
        expected, found = reference.run(problem, bad, grad), gradient(problem, bad, grad)
        assert np.array_equal(found, expected, equal_nan=True)


# --- memory -----------------------------------------------------------------------------------------------------------


class Fenced:
    """Memory between two pages that nobody may touch; arrays lie flush against one of them."""

    def __init__(self, size):
        page = mmap.PAGESIZE
        self.room = -(-size // page) * page
        self.map = mmap.mmap(-1, self.room + 2 * page)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        for at in (0, page + self.room):
            assert protect(ctypes.c_void_p(self.start + at), ctypes.c_size_t(page), 0) == 0

    def array(self, shape, dtype, at_end):
        size = math.prod(shape) * np.dtype(dtype).itemsize
        begin = mmap.PAGESIZE + (self.room - size if at_end else 0)
        return np.frombuffer(self.map, dtype, math.prod(shape), begin).reshape(shape)


def fenced(a, layout, at_end):
    order = [0, *range(2, a.ndim), 1] if layout == "channels_last" else list(range(a.ndim))
    shape = [a.shape[i] for i in order]
    view = Fenced(a.nbytes).array(shape, a.dtype, at_end).transpose(np.argsort(order))
    view[...] = a
    return view


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect")
@pytest.mark.parametrize("at_end", [False, True])
def test_nothing_beyond_the_arrays_is_touched(at_end):
    for case in CASES:
        problem = parsed(case)
        if not problem.batch:
            continue
        x, grad = arrays(problem)
        out = fenced(np.zeros(problem.weight_shape, problem.dtype), "channels_first", at_end)
        ours = [fenced(a, problem.layout, at_end) for a in (x, grad)]
        WeightGradient(problem, machine.host(), 1).run(*ours, out)
        assert np.array_equal(out, reference.run(problem, x, grad)), case


def test_workspace_is_less_than_arrays_and_gradient():
    for case in (
        "conv ci64 co64 i56x56 k3x3 p1x1",
        "conv ci64 co256 i56x56 k1x1",
        "conv ci64 co64 g64 i112x112 k3x3 p1x1",
    ):
        problem = parsed(case)
        room = math.prod(problem.fine_shape) + math.prod(problem.coarse_shape) + math.prod(problem.weight_shape)
        assert 0 < WeightGradient(problem, machine.host()).workspace < 4 * room


def test_many_threads_may_run_one_layer():
    problem = parsed("conv ci16 co32 n2 i14x14 k3x3 p1x1")
    layer = WeightGradient(problem, machine.host(), 2)
    pairs = [arrays(problem, seed) for seed in range(8)]
    found = [np.empty(problem.weight_shape, np.float32) for _ in pairs]

    def work(i):
        for _ in range(20):
            layer.run(*pairs[i], found[i])

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(pairs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for (x, grad), one in zip(pairs, found, strict=True):
        assert np.array_equal(one, reference.run(problem, x, grad))


# --- machines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", ["avx2", "x86-64"])
def test_lesser_machines(isa, monkeypatch):
    try:
        monkeypatch.setenv("TWOFOLD_ISA", isa)
        machine.host()
    except Exception:
        pytest.skip(f"no {isa} here")
    for case in CASES[::2] if isa == "avx2" else CASES[1::3]:
        problem = parsed(case)
        x, grad = arrays(problem)
        assert np.array_equal(gradient(problem, x, grad, 2), reference.run(problem, x, grad)), case


@pytest.mark.parametrize("isa", ["neon", "avx512", "avx2", "x86-64"])
def test_objects_for_other_machines(isa):
    cross = machine.cross(isa)
    lanes = cross.vector_bytes // 4
    kernels = [Tile("outer", 2, 3, 2), Tile("each", 1, 3, 1), Unpack("turn", "float"), Unpack("rows", "float")]
    kernels += [Copy(way, 1, "float") for way in ("rows", "turn", "cells")]
    kernels += [Copy(way, 2 * lanes, "float") for way in ("pixels", "squares", "gather")]
    for kernel in (*kernels, gradient_code):
        module = Module(cross)
        kernel.emit(module)
        assert len(binary.emit_object(str(module), cross)) > 500


def test_a_layer_shows_what_it_runs():
    layer = WeightGradient(parsed("conv ci64 co64 i56x56 k3x3 p1x1"), machine.host())
    main = layer.all_codes[0]
    assert layer.kernels[0] in main.ir and layer.kernels[0] in main.assembly()
    assert layer.kernels[0] in layer.sentences[0]
    assert layer.loops.startswith("for job in range(1)") and layer.kernels[0] in layer.loops


def test_where_no_cells_meet_the_gradient_is_zero():
    problem = parsed("conv ci2 co4 i1 k1 s9 p4")
    layer = WeightGradient(problem, machine.host())
    out = np.full(problem.weight_shape, np.nan, np.float32)
    layer.run(*arrays(problem), out)
    assert (layer.all_codes, layer.workspace, layer.kernels) == ([], 0, [])
    assert not out.any()
