"""Real layers of oneDNN's lists (data/README.md): their sizes as listed, and their numbers against torch, exactly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import oracles
import twofold
from twofold import Problem

ROWS = json.loads(Path(__file__).with_name("data").joinpath("benchdnn_data.json").read_text())["problems"]
SAMPLE = ROWS[::16] + [row for row in ROWS if row["kind"] == "deconv"][::6]
LARGEST = {1: 60, 2: 7, 3: 3}  # coarse cells per axis that are left of a large layer


def named(row: dict) -> str:
    return "-".join(str(row[key]) for key in ("kind", "file", "name") if row[key]).replace(" ", "_")


def per_axis(row: dict) -> list[dict]:
    keys = ("i", "o", "k", "s", "d", "pl", "pr")
    return [dict(zip(keys, values, strict=True)) for values in zip(*(row[key] for key in keys), strict=True)]


def options(row: dict) -> dict:
    """The row in the words of the public functions."""
    axes = per_axis(row)
    words = {"stride": tuple(row["s"]), "dilation": tuple(row["d"]), "groups": row["g"]}
    if row["kind"] == "conv":  # a negative pad after is an edge that no window reads
        return words | {"padding": tuple((axis["pl"], max(axis["pr"], 0)) for axis in axes)}
    pads, extras = [], []
    for axis in axes:
        surplus = axis["pl"] - axis["pr"]
        is_output_padding = 0 <= surplus < max(axis["s"], axis["d"])
        pads.append((axis["pl"], axis["pl"] if is_output_padding else axis["pr"]))
        extras.append(surplus if is_output_padding else 0)
    return words | {"padding": tuple(pads), "output_padding": tuple(extras)}


def shrunk(row: dict) -> dict:
    """The same layer with few channels, and without the coarse cells beyond a few, each with `stride` fine ones."""
    small = {key: list(value) if isinstance(value, list) else value for key, value in row.items()}
    coarse, fine = ("o", "i") if row["kind"] == "conv" else ("i", "o")
    for j, axis in enumerate(per_axis(row)):
        surplus = min(max(0, axis[coarse] - LARGEST[len(row["i"])]), (axis[fine] - 1) // axis["s"])
        small[coarse][j] -= surplus
        small[fine][j] -= surplus * axis["s"]
    is_depthwise = row["g"] == row["ic"] == row["oc"] > 1
    groups = 3 if is_depthwise else min(row["g"], 2)
    each = (1, 1) if is_depthwise else (2, 3)
    return small | {"g": groups, "mb": 2, "ic": groups * each[0], "oc": groups * each[1]}


def check_numbers(row: dict) -> None:
    row = shrunk(row)
    rng = np.random.default_rng(len(row["name"]) + sum(row["i"]))
    is_conv = row["kind"] == "conv"
    channels = (row["oc"], row["ic"]) if is_conv else (row["ic"], row["oc"])
    x = rng.integers(-9, 10, (row["mb"], row["ic"], *row["i"])).astype(np.float32)
    weight = rng.integers(-9, 10, (channels[0], channels[1] // row["g"], *row["k"])).astype(np.float32)
    bias = rng.integers(-9, 10, row["oc"]).astype(np.float32)
    function = twofold.conv if is_conv else twofold.conv_transpose
    oracle = oracles.torch_conv if is_conv else oracles.torch_conv_transpose
    y = function(x, weight, bias, **options(row))
    assert y.shape == (row["mb"], row["oc"], *row["o"])
    exact = (torch.as_tensor(array.astype(np.float64)) for array in (x, weight, bias))
    assert y.dtype == np.float32 and (y == oracle(*exact, **options(row)).numpy()).all()


def test_every_listed_output_size_is_ours():
    for row in ROWS:
        op = "conv" if row["kind"] == "conv" else "conv_transpose"
        problem = Problem.of(
            op, row["i"], row["k"], in_channels=row["ic"], out_channels=row["oc"], batch=row["mb"], **options(row)
        )
        assert problem.out_size == tuple(row["o"]), named(row)
        assert Problem.parse(str(problem)) == problem
        if op == "conv_transpose":
            by_target = {key: value for key, value in options(row).items() if key != "output_padding"}
            again = Problem.of(
                op,
                row["i"],
                row["k"],
                in_channels=row["ic"],
                out_channels=row["oc"],
                batch=row["mb"],
                output_size=row["o"],
                **by_target,
            )
            assert again == problem


def test_shrinking_keeps_the_relation_of_the_sizes():
    for row in ROWS:
        for before, after in zip(per_axis(row), per_axis(shrunk(row)), strict=True):
            coarse, fine = ("o", "i") if row["kind"] == "conv" else ("i", "o")
            left_out = before[coarse] - after[coarse]
            assert left_out >= 0 and before[fine] - after[fine] == left_out * before["s"] and after[fine] >= 1


@pytest.mark.parametrize("row", SAMPLE, ids=named)
def test_a_sample_of_real_layers_equals_torch(row):
    check_numbers(row)


@pytest.mark.soak
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_every_real_layer_equals_torch(row):
    check_numbers(row)
