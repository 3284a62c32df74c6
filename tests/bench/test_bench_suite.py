"""The suite: its rows are the layers they say, with torch's sizes; what is selected, and what is refused."""

from __future__ import annotations

import json
from importlib import resources

import pytest
import torch

from twofold.bench import problems, suite
from twofold.errors import GeometryError, TwofoldError

ROWS = json.loads(resources.files("twofold.bench").joinpath("suite.json").read_text())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_a_row_has_the_sizes_of_torch(row):
    (entry,) = [entry for entry in suite(batches=[8]) if entry.name == row["name"]]
    problem = entry.problem
    kind = f"Conv{'Transpose' if row['transposed'] else ''}{row['nd']}d"
    options = {"output_padding": row["outpad"]} if row["transposed"] else {}
    layer = getattr(torch.nn, kind)(
        row["cin"], row["cout"], row["k"], row["stride"], row["pad"], dilation=row["dil"], groups=row["groups"],
        device="meta", **options,
    )  # fmt: skip
    y = layer(torch.empty(8, row["cin"], *row["spatial"], device="meta"))
    assert problem.result_shape == tuple(y.shape)
    assert problem.weight_shape == tuple(layer.weight.shape)
    assert problem.in_size == tuple(row["spatial"])


def test_the_suite_is_17_convolutions_and_15_transposed_ones():
    kinds = [entry.kind for entry in suite()]
    assert (kinds.count("conv"), kinds.count("conv_transpose")) == (17, 15)


def test_fsrcnn_has_output_padding_3_and_quadruples_its_picture():
    (entry,) = suite(["FSRCNN"])
    assert (entry.problem.output_padding, entry.problem.out_size) == ((3, 3), (224, 224))


def test_names_select_by_part_and_batches_repeat_them():
    names = [(entry.name, entry.problem.batch) for entry in suite(["hifi", "vnet"], [1, 8])]
    assert len(names) == 8 and names[0] == ("hifi 512-256 k16s8 L32", 1) and names[-1] == ("vnet3d 32-16 k2s2 @16", 8)


def test_problems_keep_their_batch_unless_batches_are_asked_for():
    assert [e.problem.batch for e in problems(["n3 i5 k3", "i5 k3"])] == [3, 1]
    assert [e.name for e in problems(["n3 i5 k3"], [1, 2])] == [
        "conv n1 ci1 co1 i5 k3 f32",
        "conv n2 ci1 co1 i5 k3 f32",
    ]


def test_an_unknown_layer_is_refused_with_the_known_words():
    with pytest.raises(GeometryError, match="no layer of the suite is called 'resnet'") as refused:
        suite(["resnet"])
    assert "rn50" in refused.value.repair


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv_weight_gradient i5 k3", "training step"),
        ("i5 k3 f16", "not float16"),
        ("i5 k3 flip", "'flip'"),
        ("i5 k3 p1 reflect", "'reflect'"),
        ("i5 k3 nhwc", "best layout"),
        ("n0 i5 k3", "empty"),
        ("i5x5x5x5 k1", "3 spatial axes"),
    ],
)
def test_what_peers_do_not_share_is_refused(text, reason):
    with pytest.raises(TwofoldError, match=reason):
        problems([text])
