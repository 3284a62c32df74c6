"""Winograd's transforms: right for every layer, exact where they can be, as wrong as predicted, and within memory."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_layers import arrays, drawn, fenced
from test_families import layer_of, run

import twofold as tf
from twofold import reference
from twofold.engine import binary, bound, families, machine, pairs, winograd, winograd_schedule
from twofold.engine.emit import Module
from twofold.engine.plan import algorithms, plan
from twofold.engine.winograd_code import MISSING, Pass, WeightTransform
from twofold.geometry import Problem

F1, F2, F3, F4, F5, F6 = ALL = tuple(families.named(winograd.name(m)) for m in winograd.SIZES)
POSIX = pytest.mark.skipif(os.name == "nt", reason="protected pages of POSIX")

TABLE = """
conv ci16 co32 i14x14 k3 p1 nhwc
conv ci16 co32 i14x14 k3 p1
conv n3 ci17 co33 i15x9 k3 p1
conv n5 ci40 co70 i8x8 k3 p1
conv n2 ci17 co33 i15x9 k3 p1 d2
conv g2 ci34 co40 i7x8 k3 p1 nhwc
conv ci20 co8 i4x1 k3x1 p1x0
conv ci16 co32 i40 k3 p1
conv ci16 co32 i40 k3 p3 d3
conv ci16 co32 i20x9 k3x1 p1x0
conv ci16 co32 i20x8 k1x3 p0x1
conv ci16 co32 i8x9x10 k3 p1
conv ci16 co32 i8x9x10 k3x1x1 nhwc
conv ci16 co32 i8x8x10 k1x3x1
conv ci16 co32 i8x9x10 k3x1x3
conv ci16 co32 i8x9x10 k3x3x1
conv ci16 co32 i8x9x10 k3x2x3 p4x0x3:1 flip
conv ci16 co32 i20x21 k2 p1
conv ci16 co32 i20x21 k4 s2 p1
conv ci16 co32 i20x21 k5 s2 p2 nhwc
conv ci16 co32 i20x21 k5x4 s2x1 p2 nhwc
conv ci16 co16 i20x21 k5 p2
conv n2 ci8 co5 i60x8 k3 p3 f64 nhwc
conv ci260 co300 i12x12 k3 p1
conv_transpose ci20 co33 i8x8 k4 s2 p1
conv_transpose ci20 co64 i8x8 k4 s2 p1 nhwc
conv_transpose n2 ci20 co64 i9x5 k3 s2 p1 op1
conv_transpose n2 ci20 co5 i9x6 k3 s1x2 op0x1 nhwc
conv_transpose ci64 co24 i33 k16 s8 p4
conv_transpose n2 ci20 co5 i20x21 k3 p1 flip
conv_transpose g2 ci20 co36 i6x7 k4 s2 p1 f64 nhwc
conv_transpose ci16 co20 i4x5x6 k4x1x4 s2x1x2 p1x0x1
""".strip().splitlines()


def fitting(problem: Problem) -> list[families.Family]:
    """Those that fit, and tap by tap, which fits where it pays only."""
    layer = layer_of(problem)
    found = [family for family in ALL[1:] if family.fits(layer, machine.host())]
    return [F1, *found] if found else []


def most_of(family: families.Family) -> int:
    return winograd.SIZES[ALL.index(family)]


def is_exact(problem: Problem, family: families.Family) -> bool:
    cuts = [cut for side in layer_of(problem).sides for cut in winograd.cuts_of(side, most_of(family)) or ()]
    return all(part.is_exact for cut in cuts for part in cut.parts)


def check(problem: Problem, family: families.Family, values, threads: int = 1, **options) -> None:
    y, want = run(problem, family, threads, *values, **options), reference.run(problem, *values)
    if is_exact(problem, family):
        assert np.array_equal(y, want), f"{problem} {family.name}"
    most = 4 * family.relative(layer_of(problem)) * np.abs(want).max()
    assert np.abs(y - want).max() <= most, f"{problem} {family.name}"


def test_the_table_tries_every_family():
    tried = [family.name for text in TABLE for family in fitting(Problem.parse(text))]
    assert {name: tried.count(name) > 5 for name in set(tried)} == {f.name: True for f in ALL}
    assert all(fitting(Problem.parse(text)) for text in TABLE)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("text", TABLE)
def test_integers_are_exact_or_nearly(text, threads):
    problem = Problem.parse(text)
    for family in fitting(problem):
        check(problem, family, arrays(problem), threads)


def _check_drawn(seeds):
    checked = 0
    for seed in seeds:
        problem = drawn(seed)
        for family in fitting(problem) if problem.rank <= 3 else ():
            check(problem, family, arrays(problem, seed), 1 + seed % 2)
            checked += 1
    return checked


def test_drawn_layers_are_right():
    assert _check_drawn(range(400)) > 50


@pytest.mark.soak
def test_many_drawn_layers_are_right():
    _check_drawn(range(5000, 10000))


@pytest.mark.parametrize("text", ["conv n2 ci20 co40 i19x17 k3 p1", "conv_transpose n2 ci20 co40 i9x11 k4 s2 p1"])
def test_torch_says_the_same(text):
    torch = pytest.importorskip("torch")
    problem = Problem.parse(text)
    x, weight, bias = arrays(problem, 3, integers=False)
    function = torch.nn.functional.conv2d if problem.op == "conv" else torch.nn.functional.conv_transpose2d
    options = {"stride": problem.geometry.axes[0].stride, "padding": problem.geometry.axes[0].pad_before}
    want = function(*(torch.from_numpy(a).double() for a in (x, weight, bias)), **options).numpy()
    for family in fitting(problem):
        y = run(problem, family, 1, x, weight, bias)
        assert np.abs(y - want).max() < 2e-5 * np.abs(want).max()


@pytest.mark.parametrize("text", TABLE)
def test_threads_and_batch_neighbours_leave_the_bits_alone(text):
    problem = Problem.parse(text)
    many = replace(problem, batch=3)
    x, weight, bias = arrays(many, 5, integers=False)
    for family in fitting(problem):
        together = run(many, family, 1, x, weight, bias)
        assert np.array_equal(run(many, family, 3, x, weight, bias), together)
        for image in range(3):
            alone = run(replace(problem, batch=1), family, 2, x[image : image + 1], weight, bias)
            assert np.array_equal(alone[0], together[image])


@pytest.mark.parametrize("text", TABLE[::4])
def test_residual_and_activation_follow_the_sum(text):
    problem = Problem.parse(text)
    x, weight, bias = arrays(problem)
    plain = reference.run(problem, x, weight, bias)
    residual = np.random.default_rng(1).integers(-50, 50, plain.shape).astype(problem.dtype)
    for family in fitting(problem):
        most = 2e-5 * np.abs(plain).max()
        y = run(problem, family, 1, x, weight, bias, residual, "relu")
        assert np.allclose(y, np.maximum(plain + residual, 0), 0, most)
        y = run(problem, family, 1, x, weight, bias, None, "leaky_relu")
        assert np.allclose(y, np.where(plain < 0, plain / 4, plain), 0, most)


@POSIX
@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("text", TABLE)
def test_nothing_beyond_the_arrays_is_touched(text, end):
    problem = Problem.parse(text)
    for family in fitting(problem):
        check(problem, family, arrays(problem), place=lambda array: fenced(array, end))


@POSIX
def test_nothing_beyond_the_scratch_memory_is_touched(monkeypatch):
    libc, held = ctypes.CDLL(None), []

    def memory(size: int) -> np.ndarray:
        page = mmap.PAGESIZE
        whole = -(-size // page) * page
        held.append(mmap.mmap(-1, whole + 2 * page))
        start = ctypes.addressof(ctypes.c_char.from_buffer(held[-1]))
        for forbidden in (0, page + whole):
            assert libc.mprotect(ctypes.c_void_p(start + forbidden), page, 0) == 0
        return np.frombuffer(held[-1], np.uint8, size, page + (whole - size) // 64 * 64)

    monkeypatch.setattr(bound, "aligned", memory)
    monkeypatch.setattr(bound, "_GRAIN", 64)
    monkeypatch.setattr(bound, "_spares", bound._Spares(0))
    for text in TABLE:
        problem = Problem.parse(text)
        for family in fitting(problem):
            check(problem, family, arrays(problem))


# -- numbers that are not finite --------------------------------------------------------------------------------------


def _broken(problem: Problem, number: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # The last image has the number, in its last channel.
    x, weight, bias = arrays(problem, 2, integers=False)
    x[(-1, -1, *(n // 2 for n in problem.in_size))] = number
    return x, weight, bias


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("text", TABLE[::2])
def test_what_is_not_finite_reaches_its_windows_only(text, number):
    problem = replace(Problem.parse(text), batch=2)
    x, weight, bias = _broken(problem, number)
    want = reference.run(problem, x, weight, bias)
    names = [name for name in algorithms(problem, "fast") if name.startswith("winograd")]
    assert names
    for name in names:
        p = plan(problem, algorithm=name)
        for brought in (weight, p.pack(weight)):
            y = p.run(x, brought, bias)
            assert np.array_equal(np.isnan(y), np.isnan(want)) and np.array_equal(np.isinf(y), np.isinf(want))
            strict = plan(replace(problem, batch=1), accuracy="strict").run(x[1:], weight, bias)
            assert np.array_equal(y[1], strict[0], equal_nan=True)
            alone = plan(replace(problem, batch=1), algorithm=name).run(x[:1], weight, bias)
            assert np.array_equal(y[0], alone[0])  # which has only finite numbers, and is left as it is


def test_transforms_that_overflow_are_found_out():
    problem = Problem.parse("conv ci16 co16 i12x12 k3 p1")
    x, weight = np.zeros(problem.fine_shape, "f4"), np.zeros(problem.weight_shape, "f4")
    x[:, :, 4, 4:8] = 3e38, -3e38, 3e38, -3e38
    weight[:, :1, 1, 1] = 1  # what is written is what is read
    for name in (name for name in algorithms(problem, "fast") if name.startswith("winograd")):
        assert np.array_equal(plan(problem, algorithm=name)(x, weight), reference.run(problem, x, weight))


def test_an_activation_hides_nothing_that_is_not_finite():
    problem = Problem.parse("conv n2 ci16 co16 i20x20 k3 p1")
    x, weight, bias = _broken(problem, np.inf)
    residual = np.ones(problem.result_shape, "f4")
    for activation in ("sigmoid", "relu", "none"):
        y, strict = (
            plan(problem, activation=activation, residual=True, **how)(x, weight, bias, residual=residual)
            for how in ({"algorithm": F4.name}, {"accuracy": "strict"})
        )
        assert np.array_equal(y[1], strict[1], equal_nan=True)
        assert np.allclose(y[0], strict[0], 0, 1e-4)


@pytest.mark.parametrize("word", ["standard", "fast"])
def test_calls_that_are_remembered_find_it_out_too(word):
    problem = Problem.parse("conv n2 ci32 co32 i20x20 k3 p1")
    x, weight, bias = _broken(problem, 1.0)
    p = tf.plan(problem, accuracy=word)
    assert p.algorithm.startswith("winograd")
    packed, first = p.pack(weight), {}
    for number in (1.0, 1.0, np.nan, 1.0, np.inf, 1.0):  # from the second on by the short way
        x[1, 31, 10, 10] = number
        want = reference.run(problem, x, weight, bias)
        ways = {"call": tf.conv2d(x, weight, bias, padding=1, accuracy=word), "plan": p(x, packed, bias)}
        for name, y in ways.items():
            assert np.array_equal(np.isfinite(y), np.isfinite(want))
            if np.isfinite(number):  # by the transforms again
                assert np.allclose(y, want, 0, 4e-5 * abs(want).max())
                assert np.array_equal(first.setdefault(name, y), y)


@pytest.mark.parametrize("text", ["conv n2 ci20 co24 i9x12 k3 p1", "conv_transpose n2 ci20 co24 i5x6 k4 s2 p1"])
def test_weights_of_any_strides(text):
    problem = Problem.parse(text)
    x, weight, bias = arrays(problem)
    p = plan(problem, algorithm="winograd F(2)")
    want = reference.run(problem, x, weight, bias)
    for view in (np.asfortranarray(weight), np.flip(np.flip(weight, 2).copy(), 2), np.repeat(weight, 2, 1)[:, ::2]):
        assert np.array_equal(p.run(x, view, bias), want)
    for view in (np.asfortranarray(x), np.flip(np.flip(x, 3).copy(), 3), np.repeat(x, 2, 1)[:, ::2]):
        assert np.array_equal(p.run(view, weight, bias), want)
    assert np.array_equal(p.run(x, p.pack(weight), bias), want)


# -- predictions ------------------------------------------------------------------------------------------------------

LAYERS = [
    "conv ci64 co32 i24x24 k3 p1",
    "conv ci256 co32 i12x12 k3 p1",
    "conv ci32 co32 i10x10x10 k3 p1",
    "conv ci64 co32 i99 k5",
    "conv ci32 co32 i33x33 k5 s2 p2",
    "conv_transpose ci64 co32 i12x12 k4 s2 p1",
]


@pytest.mark.parametrize("text", LAYERS)
def test_errors_are_about_as_large_as_predicted(text):
    problem = Problem.parse(text)
    x, weight, bias = arrays(problem, 4, integers=False)
    want = reference.run(replace(problem, dtype="float64"), *(a.astype(np.float64) for a in (x, weight, 0 * bias)))
    for family in fitting(problem):
        y = run(problem, family, 1, x, weight, 0 * bias)
        measured = np.abs(y - want).max() / np.abs(want).max()
        predicted = family.relative(layer_of(problem))
        assert predicted / 6 < measured < predicted * 1.2, f"{family.name}: {measured:.2g}, not {predicted:.2g}"


@pytest.mark.parametrize("text", LAYERS)
def test_no_error_exceeds_the_bound(text):
    # Of inputs and weights of one size, whose signs are drawn, and of those that grow the most.
    problem = Problem.parse(text)
    rng = np.random.default_rng(6)
    x, weight, bias = arrays(problem)
    x, weight = ((rng.choice([-1, 1], a.shape) * rng.uniform(0.99, 1, a.shape)).astype(np.float32) for a in (x, weight))
    wide = replace(problem, dtype="float64")
    want = reference.run(wide, *(a.astype(np.float64) for a in (x, weight, 0 * bias)))
    size = reference.run(wide, *(np.abs(a).astype(np.float64) for a in (x, weight, 0 * bias)))
    layer = layer_of(problem)
    terms = layer.inputs * np.prod(layer.kernel)
    for family in fitting(problem):
        y = run(problem, family, 1, x, weight, 0 * bias)
        inner = size > 0.9 * size.max()  # at the border there are fewer terms, of which the bound does not know
        ratio = (np.abs(y - want) / ((terms + 2) * 2.0**-24 * size))[inner].max()
        assert 1e-4 < ratio < winograd.error(layer, most_of(family))


def test_accuracy_decides():
    problem = Problem.parse("conv ci64 co64 i56x56 k3 p1")
    layer, here = layer_of(problem), machine.host()
    names = {word: [f.name for f in families.available(layer, here, word)] for word in ("strict", "standard", "fast")}
    assert not any(name.startswith("winograd") for name in names["strict"])
    assert F2.name in names["standard"] and F4.name not in names["standard"]
    assert {F2.name, F3.name, F4.name} <= set(names["fast"])
    assert families.choose(layer, here, "strict").name == "direct"
    assert families.choose(layer, here).name == F2.name  # standard is the default
    assert families.choose(layer, here, "standard").name == F2.name
    assert families.choose(layer, here, "fast").name in (F4.name, F6.name)


def test_why_names_the_tiles():
    why = plan("conv ci64 co64 i56x56 k3 p1", algorithm="winograd F(4)").why
    assert "winograd F(4)" in why and "F(4x4, 3x3)" in why


def test_tap_by_tap_is_for_few_cells_and_many_weights():
    here = machine.host()
    few, many, light = (
        layer_of(Problem.parse(text))
        for text in (
            "conv_transpose ci1024 co512 i4x4 k4 s2 p1",
            "conv_transpose ci1024 co512 i8x8 k4 s2 p1",
            "conv_transpose ci64 co64 i4x4 k4 s2 p1",
        )
    )
    assert [F1.fits(layer, here) for layer in (few, many, light)] == [few_is_heavy(here), False, False]
    assert families.choose(few, here, "strict").direct and F1.error(few) < 1.1
    assert F1 in families.available(few, here, "standard") or not few_is_heavy(here)


def few_is_heavy(here: machine.Machine) -> bool:
    return 2 * here.l2 < 1024 * 512 * 16 * 4


def test_what_does_not_fit():
    here = machine.host()
    for text in (
        "conv ci64 co64 i56x56 k1",
        "conv ci3 co64 i56x56 k3 p1",
        "conv g64 ci64 co64 i56x56 k3",
        "conv ci64 co64 i56x56 k7 p3",
        "conv ci64 co64 i1x1 k3 p1",
        "conv_transpose ci64 co64 i9x9 k2 s2",
    ):
        assert not fitting(Problem.parse(text)), text
    bf16 = replace(layer_of(Problem.parse("conv ci64 co64 i56x56 k3 p1")), source="bfloat")
    assert winograd.fits(bf16, here, 2) != pairs.has_amx(here)


@pytest.mark.parametrize("cells", range(1, 40))
def test_no_cell_is_computed_in_vain(cells):
    for most, step in itertools.product(winograd.SIZES, (1, 2)):
        side = layer_of(Problem.parse(f"conv ci1 co1 i{cells} k3 p{step} d{step}")).sides[2]
        (cut,) = winograd.cuts_of(side, most) or ()
        covered = [row.first + cut.step * i for row in cut.rows() for i in range(row.count * row.m)]
        beyond = [cell for cell in covered if cell >= cells]
        assert sorted(set(covered) - set(beyond)) == list(range(cells)) and len(covered) == cells + len(beyond)
        assert len(beyond) <= (cells < 2 * step * most)  # a line of one cell, where another has two


def test_14_cells_take_no_more_products_than_they_must():
    layer = layer_of(Problem.parse("conv ci64 co64 i14x14 k3 p1"))
    assert winograd._products(layer, 4) == (14 + 4 * 2) ** 2 < 0.85 * (4 * 6) ** 2
    tiles = winograd_schedule.Tiles(layer, machine.host(), 1, winograd.all_cuts(layer, 4))
    phase = tiles._phase((0, 0, 0), (0, 0, 0), (1, 14, 14))
    found = [phase.with_point(point, 2) for point in itertools.product(*map(range, phase.points))]
    assert sum(stop - start for parts in found for start, stop in parts) == 2 * 484
    assert max(map(len, found)) == 1  # one product of matrices for each point


def test_tiles_of_an_axis():
    side = layer_of(Problem.parse("conv ci1 co1 i40 k3 p3 d3")).sides[2]
    (cut,) = winograd.cuts_of(side, 4) or ()
    assert (cut.m, cut.r, cut.step, cut.shifts) == (4, 3, 3, (-3,))
    # Lines of 14, 13 and 13 cells, each third: 4 4 3 3, and 4 3 3 3.
    rows = [(0, 4, 0, 2), (1, 3, 24, 2), (0, 4, 1, 1), (1, 3, 13, 3), (0, 4, 2, 1), (1, 3, 14, 3)]
    assert cut.rows() == tuple(winograd.Row(*row) for row in rows)
    assert cut.tiles() == 12 and cut.multiplications == 4 * 6 + 8 * 5
    assert cut.reach() == 40 + 3 * (3 - 1)  # what the sums read, and no more
    (cut,) = winograd.cuts_of(layer_of(Problem.parse("conv ci1 co1 i30 k3 p1")).sides[2], 4) or ()
    assert [band for band in range(1, 31) if cut.is_cut_by(band)] == [8, 12, 16, 20, 24, 30]  # 6 of 4 cells, 2 of 3
    assert cut.rows(16, 30) == (winograd.Row(0, 4, 0, 2), winograd.Row(1, 3, 8, 2))
    side = layer_of(Problem.parse("conv ci1 co1 i40 k5 s2 p2")).sides[2]
    (cut,) = winograd.cuts_of(side, 2) or ()
    assert cut.taps == ((0, 2, 4), (1, 3, -1)) and cut.shifts == (-1, -1)
    assert MISSING > 1 << 48  # beyond every offset in a weight


# -- other machines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", ["avx2", "x86-64"])
def test_lesser_machines_are_right(isa):
    try:
        if isa not in machine._runs():
            pytest.skip(f"this machine does not run {isa}")
    except AttributeError:
        pytest.skip("unknown machine")
    script = (
        "import test_winograd as t\n"
        "for text in t.TABLE[::3]:\n"
        "    problem = t.Problem.parse(text)\n"
        "    for family in t.fitting(problem)[::2]:\n"
        "        t.check(problem, family, t.arrays(problem))\n"
    )
    env = os.environ | {"TWOFOLD_ISA": isa, "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parent, *sys.path)))}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("isa", machine.ISAS)
def test_objects_are_emitted(isa):
    target, kernels = machine.cross(isa), []
    for text, most in (("conv ci16 co32 i14x14 k3 p1", 4), ("conv_transpose ci20 co33 i9x9 k3 s2", 2)):
        made = winograd_schedule.schedule(layer_of(Problem.parse(text)), target, most=most)
        kernels += [*made.kernels, made.packer]
    assert {type(kernel) for kernel in kernels} > {Pass, WeightTransform}
    for kernel in dict.fromkeys(kernels):
        module = Module(target)
        kernel.emit(module)
        assert len(binary.emit_object(str(module), target)) > 500
    assert len({kernel.name for kernel in kernels}) == len(set(kernels))


# -- the batch -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [False, True])
def test_under_standard_the_choice_is_not_of_the_batch(fresh):
    here, chosen = machine.host(), set()
    texts = [f"{op} ci{c} co{k} i{n}x{n} {rest}" for op, rest in (("conv", "k3 p1"), ("conv_transpose", "k4 s2 p1"))
             for c, k in ((16, 16), (64, 32), (128, 256), (512, 512)) for n in (4, 7, 14, 28)]  # fmt: skip
    for text in texts:
        layer = layer_of(Problem.parse(text))
        found = {families.choose(replace(layer, batch=n), here, "standard", fresh).name for n in (1, 2, 3, 8, 64)}
        assert len({"direct" if families.named(name).direct else name for name in found}) == 1, text
        chosen |= found
    assert F2.name in chosen and "direct" in chosen


@pytest.mark.parametrize("text", ["conv ci128 co128 i14x14 k3 p1", "conv_transpose ci256 co128 i7x7 k4 s2 p1"])
def test_an_image_has_the_same_bits_in_any_batch(text):
    problem = replace(Problem.parse(text), batch=5)
    x, weight, bias = arrays(problem, 7, integers=False)
    function = tf.conv2d if problem.op == "conv" else tf.conv_transpose2d
    stride = problem.geometry.axes[0].stride
    whole = function(x, weight, bias, stride=stride, padding=1)
    for images in (slice(0, 1), slice(2, 4), slice(1, 5)):
        assert np.array_equal(function(x[images], weight, bias, stride=stride, padding=1), whole[images])
        part = replace(problem, batch=images.stop - images.start)
        assert np.array_equal(plan(part)(x[images], weight, bias), plan(problem)(x, weight, bias)[images])
