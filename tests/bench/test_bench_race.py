"""Runs with peers that are wrong, die, hang or are missing: each becomes a row with its reason, and the run goes on."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from twofold.bench import Settings, problems, race
from twofold.bench.case import flipped, load
from twofold.bench.oracle import terms, write_expected, write_inputs
from twofold.bench.peers import Peer, choose
from twofold.bench.verdict import judge
from twofold.bench.worker import time_call
from twofold.errors import GeometryError
from twofold.geometry import Problem

FAKES = (
    "right", "wrong-by-one", "wrong-nan", "wrong-shape", "wrong-bf16", "dies", "dies-later", "dies-loading",
    "sleeps-once", "absent", "unwilling", "faulty", "chatty",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    calls = tmp_path_factory.mktemp("calls") / "calls"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("FAKE_CALLS", str(calls))
        patch.setattr(import_module("twofold.bench.race"), "_machine", lambda *_: {})  # measured in test_bench_cli
        peers = [Peer(name, "fake", "fakes", "none") for name in FAKES]
        settings = Settings(seconds=0.02, timeout=5)
        run = race(problems(["ci2 co3 i9 k3", "conv_transpose ci3 co2 i4 k3 s2"]), peers, settings)
    return run, calls.read_text()


EXPECTED = {
    "right": ("ok", ""),
    "wrong-by-one": ("wrong", "times what rounding explains"),
    "wrong-nan": ("wrong", "not finite"),
    "wrong-shape": ("wrong", "has shape (1, 1, "),
    "wrong-bf16": ("wrong", ""),
    "dies": ("crashed", "ended with code 3: last words"),
    "dies-later": ("crashed", "ended with code 4"),
    "dies-loading": ("crashed", "SIGABRT"),
    "sleeps-once": ("timeout", "no answer after 5 s, at 'check'"),
    "absent": ("missing", "not installed: pip install no-such-peer"),
    "unwilling": ("cannot", "does not do this"),
    "faulty": ("failed", "ValueError: first line second line"),
    "chatty": ("ok", ""),
}


@pytest.mark.parametrize("name", FAKES)
def test_each_peer_has_its_status_and_reason_on_each_problem(runs, name):
    status, reason = EXPECTED[name]
    for row in runs[0].rows:  # the second problem proves that the run went on
        if name == "sleeps-once" and row.problem.op == "conv_transpose":
            status, reason = "ok", ""  # in a new process
        assert row.peers[name].status == status
        assert reason in row.peers[name].reason
        assert bool(row.peers[name].samples) == (status == "ok")
        assert bool(row.peers[name].reason) == (status != "ok")


def test_a_wrong_peer_is_run_for_the_check_and_not_timed(runs):
    assert runs[1] == "xx" * 4 * 2  # two runs of each check, four wrong peers, two problems


CASES = (
    "n2 ci2 co4 i7x6 k3x2 s2x1 p1:0x0:2 d1x2 g2",
    "conv_transpose n2 ci4 co6 g2 i5 k3 s2 d3 p4:1 op2",
    "conv_transpose ci3 co2 i3x4 k2x3 s1x2 p0x1 op0x1 f64",
)


@pytest.mark.parametrize("text", CASES)
def test_the_oracle_is_the_sum_written_out(text, tmp_path):
    problem = Problem.parse(text)
    write_inputs(problem, tmp_path, True)
    case = load(tmp_path, problem, "oracle", 1, True)
    write_expected(case)
    x, w, grad_y = (array.astype(float) for array in (case.x, case.weight, case.grad_y))
    assert case.x.dtype == problem.dtype
    y, grad_x, grad_w = (np.load(tmp_path / f"expected_{name}.npy") for name in ("y", "grad_x", "grad_weight"))
    # <L x, grad_y> is one number, whichever of the three results it is made of; and L itself is summed by hand.
    assert np.allclose([(y * grad_y).sum(), (grad_x * x).sum()], (grad_w * w).sum())
    np.testing.assert_allclose(y, by_hand(problem, x, w), atol=1e-12)
    absolute = by_hand(problem, abs(x), abs(w))
    unit = {"float32": 2.0**-24, "float64": 2.0**-53}[problem.dtype]
    bound = np.load(tmp_path / "bound_y.npy")
    np.testing.assert_allclose(bound, (terms(problem, "y") + 2) * unit * absolute, atol=1e-30)


def by_hand(problem, x, w):
    layer, batch = problem.geometry, problem.batch
    y = np.zeros(problem.result_shape)
    per_fine, per_coarse = layer.fine_channels // layer.groups, layer.coarse_channels // layer.groups
    for coarse in np.ndindex(problem.coarse_size):
        for tap in np.ndindex(layer.kernel_size):
            fine = tuple(
                o * a.stride + t * a.dilation - a.pad_before for o, t, a in zip(coarse, tap, layer.axes, strict=True)
            )
            if any(not 0 <= cell < size for cell, size in zip(fine, problem.fine_size, strict=True)):
                continue
            for n, k, c in np.ndindex(batch, layer.coarse_channels, per_fine):
                of_fine = k // per_coarse * per_fine + c
                if problem.op == "conv":
                    y[(n, k, *coarse)] += w[(k, c, *tap)] * x[(n, of_fine, *fine)]
                else:
                    y[(n, of_fine, *fine)] += w[(k, c, *tap)] * x[(n, k, *coarse)]
    return y


@pytest.mark.parametrize("text", CASES[1:])
def test_the_flipped_weight_makes_a_dense_convolution_of_a_transposed_one(text, tmp_path):
    problem = Problem.parse(text)
    write_inputs(problem, tmp_path, False)
    case = load(tmp_path, problem, "oracle", 1, False)
    x = np.zeros((*case.x.shape[:2], *((n - 1) * s + 1 for n, s in zip(problem.in_size, case.stride, strict=True))))
    x[(..., *(slice(None, None, s) for s in case.stride))] = case.x
    pads = [cells for pair in reversed(case.full_pads) for cells in pair]
    wide = torch.nn.functional.pad(torch.from_numpy(x), pads)
    function = getattr(torch.nn.functional, f"conv{problem.rank}d")
    y = function(wide, torch.from_numpy(flipped(case)).double(), groups=case.groups, dilation=case.dilation)
    np.testing.assert_allclose(y.numpy(), by_hand(problem, case.x.astype(float), case.weight.astype(float)), atol=1e-9)


def test_low_precision_is_wrong_even_where_the_bound_would_let_it_pass(tmp_path):
    expected = np.ones((1, 1, 4))
    np.save(tmp_path / "expected_y.npy", expected)
    np.save(tmp_path / "bound_y.npy", expected)  # as loose as can be
    assert judge([np.float32(expected * (1 + 2e-5))], tmp_path).reason == ""
    assert "precision" in judge([np.float32(expected * (1 + 2**-9))], tmp_path).reason
    assert "precision" in judge([expected * (1 + 2**-24)], tmp_path).reason  # float64 made of float32
    assert judge([np.float32(expected * (1 + 2e-5))], tmp_path, slack=1e-6).reason.endswith("rounding explains")
    assert "precision" in judge([np.float32(expected * (1 + 2e-4))], tmp_path, slack=1e9).reason
    assert judge([np.float32(expected * (1 + 2e-4))], tmp_path, slack=1e9, direct=1e9).reason == ""  # of a direct sum


def test_samples_are_taken_until_the_time_is_over_and_at_least_once():
    assert len(time_call(lambda: None, 0.0)) == 1
    assert 2 <= len(time_call(lambda: None, 0.05)) <= 40
    assert min(time_call(lambda: [0] * 100_000, 0.02)) > 0


def test_peers_are_chosen_by_name_or_family_and_ours_are_always_there():
    assert [peer.name for peer in choose(["torch-cl", "scipy"])][4:] == ["torch-cl", "scipy"]
    assert len(choose()) == 18
    with pytest.raises(GeometryError, match="'tensorfow' is no peer"):
        choose(["tensorfow"])


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"threads": 10**6}, {"seconds": 0.0}, {"seconds": float("nan")}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(GeometryError):
        Settings(**wrong)
