"""Activations: how far from the true functions, what torch gives where they end, and in stores."""

from __future__ import annotations

import ctypes
import re

import numpy as np
import pytest

from twofold.engine import activation, binary, machine
from twofold.engine.emit import BYTES, Module, vector
from twofold.engine.records import ENTRY, NOW
from twofold.engine.store import Store

mpmath = pytest.importorskip("mpmath")
torch = pytest.importorskip("torch")

ULPS = {"sigmoid": 2.5, "silu": 3.5, "gelu": 3.5, "tanh": 3.0}  # of the true value, of both types, on every machine
DTYPES = {"float": np.float32, "double": np.float64}
SLOPE = 0.1
RUNS = ("", *machine._runs())


@pytest.fixture(params=RUNS)
def host(request, monkeypatch, tmp_path):
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "code"))
    monkeypatch.setenv("TWOFOLD_ISA", request.param)
    return machine.host()


def written(name, scalar, m):
    lanes = m.vector_bytes // BYTES[scalar]
    module = Module(m)
    f = module.function("act", x="ptr", y="ptr", n="i64", slope="double")
    with f.loop(f.n, step=lanes) as i:
        at = i.index * BYTES[scalar]
        x = f.load(vector(lanes, scalar), f.x + at)
        f.store(activation.apply(f, name, x, f.slope), f.y + at)
    return str(module)


def applied(name, x, m):
    scalar = {4: "float", 8: "double"}[x.itemsize]
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_double)
    f = binary.load("act", written(name, scalar, m), m).function("act", kind)
    padded = np.concatenate([x, np.zeros(-len(x) % 16, x.dtype)])
    y = np.empty_like(padded)
    f(padded.ctypes.data, y.ctypes.data, len(padded), SLOPE)
    return y[: len(x)]


def in_float64(name, x):
    """Return the true values, as far as float64 goes, at float32 numbers; without the cancellation of 1 + tanh."""
    x = torch.from_numpy(x.astype(np.float64))
    if name == "tanh":
        return torch.tanh(x).numpy()
    inner = (8 / np.pi) ** 0.5 * (x + 0.044715 * x**3) if name == "gelu" else x
    gate = torch.sigmoid(inner)
    return (gate if name == "sigmoid" else x * gate).numpy()


def in_mpmath(name, x):
    """Return the true values at float64 numbers as pairs of float64: rounded, and what the rounding left."""
    values = []
    with mpmath.workdps(50):
        for number in map(mpmath.mpf, x.tolist()):
            if name == "tanh":
                true = mpmath.tanh(number)
            else:
                cubic = number + mpmath.mpf("0.044715") * number**3
                inner = mpmath.sqrt(8 / mpmath.pi) * cubic if name == "gelu" else number
                gate = 1 / (1 + mpmath.exp(-inner))
                true = gate if name == "sigmoid" else number * gate
            values.append((float(true), float(true - mpmath.mpf(float(true)))))
    return np.array(values).T


def worst(y, true, rest, x):
    """Return the largest error in units in the last place of the true value, and where it is."""
    facts = np.finfo(y.dtype)
    size = np.maximum(np.abs(true), float(facts.smallest_subnormal))
    unit = np.exp2(np.maximum(np.floor(np.log2(size)), facts.minexp) - facts.nmant)
    ulps = np.abs((y.astype(np.float64) - true) - rest) / unit
    return ulps.max(), x[ulps.argmax()]


@pytest.mark.parametrize("name", ULPS)
def test_float_is_near_the_true_function(name, host):
    rng = np.random.default_rng(0)
    small = rng.standard_normal(40_000) * 10.0 ** rng.uniform(-40, 2, 40_000)
    parts = (np.linspace(-125, 125, 200_001), rng.uniform(-6, 6, 200_000), rng.uniform(-20, 20, 100_000), small)
    x = np.concatenate(parts).astype(np.float32)
    ulps, where = worst(applied(name, x, host), in_float64(name, x), 0.0, x)
    assert ulps <= ULPS[name], f"{name}({where!r}) is {ulps:.2f} units from the truth"


@pytest.mark.parametrize("name", ULPS)
def test_double_is_near_the_true_function(name, host):
    rng = np.random.default_rng(0)
    small = rng.standard_normal(300) * 10.0 ** rng.uniform(-300, 2, 300)
    x = np.concatenate([np.linspace(-760, 760, 501), rng.uniform(-6, 6, 1500), rng.uniform(-40, 40, 500), small])
    ulps, where = worst(applied(name, x, host), *in_mpmath(name, x), x)
    assert ulps <= ULPS[name], f"{name}({where!r}) is {ulps:.2f} units from the truth"


@pytest.mark.parametrize("scalar", DTYPES)
@pytest.mark.parametrize("name", activation.ACTIVATIONS)
def test_the_ends_are_those_of_torch(name, scalar, host):
    """Signs of zero too, and no NaN but where torch has one."""
    huge = float(np.finfo(DTYPES[scalar]).max)
    x = np.array([-np.inf, -huge, -1e30, -0.0, 0.0, 1e30, huge, np.inf, np.nan], DTYPES[scalar])
    functional = torch.nn.functional
    oracle = {
        "none": lambda t: t, "relu": torch.relu, "silu": functional.silu, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
        "leaky_relu": lambda t: functional.leaky_relu(t, SLOPE),
        "gelu": lambda t: functional.gelu(t, approximate="tanh"),
    }[name]  # fmt: skip
    want, got = oracle(torch.from_numpy(x)).numpy(), applied(name, x, host)
    np.testing.assert_array_equal(got, want)
    assert (np.signbit(got) == np.signbit(want))[~np.isnan(want)].all()


@pytest.mark.parametrize("scalar", DTYPES)
def test_tanh_of_a_subnormal_is_itself_and_tanh_is_odd(scalar, host):
    dtype = DTYPES[scalar]
    x = np.concatenate([np.arange(1, 100) * np.finfo(dtype).smallest_subnormal, np.linspace(0, 30, 999)]).astype(dtype)
    y = applied("tanh", x, host)
    np.testing.assert_array_equal(y[:99], x[:99])
    np.testing.assert_array_equal(applied("tanh", -x, host), -y)
    assert y.max() == 1


@pytest.mark.parametrize("isa", machine.ISAS)
@pytest.mark.parametrize("scalar", DTYPES)
@pytest.mark.parametrize("name", activation.ACTIVATIONS)
def test_no_function_of_a_library_is_called(name, scalar, isa):
    m = machine.cross(isa)
    assembly = binary.emit_assembly(written(name, scalar, m), m)
    assert not re.findall(r"^\s+(?:callq?|blr?)\s.*", assembly, re.MULTILINE)
    assert len(binary.emit_object(written(name, scalar, m), m)) > 100


# --- in stores --------------------------------------------------------------------------------------------------------


def record(kind, **fields):
    table = np.zeros(len(kind.fields), np.int64)
    for field, value in fields.items():
        table[kind.index[field]] = value
    return table


def stored(store, m, now, entry):
    module = Module(m)
    store.emit(module)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    binary.load(store.name, str(module), m).function(store.name, kind)(now.ctypes.data, entry.ctypes.data)


@pytest.mark.parametrize("pixels, channels", [(32, 32), (21, 19), (3, 1), (1, 5), (17, 32)])
@pytest.mark.parametrize("name", ["none", "leaky_relu", "gelu"])
@pytest.mark.parametrize("way", ["first", "last"])
def test_a_store_adds_the_residual_then_applies_the_activation(way, name, pixels, channels, host):
    """In either layout, and cells that are not its own stay as they were."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((pixels + 16, 32)).astype(np.float32)  # tiles leave whole vectors, and pixels beyond
    shape = (channels + 1, pixels + 2) if way == "first" else (pixels + 1, channels + 2)
    residual = rng.standard_normal(shape).astype(np.float32)
    y = np.full(shape, 7, np.float32)
    slope = int(np.array(SLOPE).view(np.int64))
    now = record(NOW, rows=rows.ctypes.data, y=y.ctypes.data, residual=residual.ctypes.data, slope=slope)
    entry = record(
        ENTRY, dst=4, pitch=128, pixels=pixels, lanes=channels, dst_row=4 * shape[1], step=4 * shape[1]
    )  # from the second cell on
    stored(Store(way, "float", "float", name, True), host, now, entry)
    sums = rows[:pixels, :channels].T if way == "first" else rows[:pixels, :channels]
    here = slice(0, sums.shape[0]), slice(1, 1 + sums.shape[1])
    x = (sums + residual[here]).ravel()
    if name == "gelu":
        ulps, where = worst(y[here].ravel(), in_float64(name, x), 0.0, x)
        assert ulps <= ULPS[name], where
    else:
        want = x if name == "none" else np.where(x > 0, x, x * np.float32(SLOPE))
        np.testing.assert_array_equal(y[here].ravel(), want)
    y[here] = 7
    assert (y == 7).all()


def test_a_store_that_spreads_phases_adds_the_residual_too(host):
    rng = np.random.default_rng(0)
    phases = rng.standard_normal((2, 5, 3)).astype(np.float64)  # phase, pixel, channel
    residual, y = rng.standard_normal((3, 10)), np.zeros((3, 10))
    starts = np.array([0, phases.strides[0]], np.int64)
    now = record(NOW, rows=phases.ctypes.data, y=y.ctypes.data, residual=residual.ctypes.data)
    entry = record(
        ENTRY, taps=starts.ctypes.data, count=2, pitch=phases.strides[1], src_row=8, pixels=10, lanes=3, dst_row=80,
        step=8,
    )  # fmt: skip
    stored(Store("spread", "double", "double", "relu", True), host, now, entry)
    np.testing.assert_array_equal(y, np.maximum(phases.transpose(2, 1, 0).reshape(3, 10) + residual, 0))
