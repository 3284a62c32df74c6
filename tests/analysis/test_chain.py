"""Fields through a chain: exact sets against what numbers do, and the formula's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import twofold
from twofold.analysis.chain import Chain, Field, reaches, sees, spans
from twofold.errors import GeometryError


@st.composite
def chains(draw) -> Chain:
    mode = draw(st.sampled_from(("zeros", "zeros", "reflect", "replicate", "circular")))
    text, size = f"{_layer(draw)} i{draw(st.integers(6, 10))}", draw(st.integers(1, 3))
    parts = [f"{text} {mode if mode != 'zeros' else ''}"] + [_layer(draw) for _ in range(size - 1)]
    try:
        return Chain.parse("; ".join(parts))
    except GeometryError:
        return Chain.parse("conv i9 k3 s2 p1; conv_transpose k3 s2")


def _layer(draw) -> str:
    op = draw(st.sampled_from(("conv", "conv_transpose")))
    k, s, d, p = (draw(st.integers(low, high)) for low, high in ((1, 3), (1, 3), (1, 2), (0, 1)))
    return f"{op} k{k} s{s} d{d} p{p}"


def run(chain: Chain, x: np.ndarray) -> np.ndarray:
    for layer in chain.layers:
        axis = layer.geometry.axes[0]
        options = {"stride": axis.stride, "dilation": axis.dilation, "padding": axis.pad_before,
                   "padding_mode": layer.padding_mode}  # fmt: skip
        x = getattr(twofold, layer.op)(x, np.ones((1, 1, axis.kernel_size)), **options)
    return x


@given(chains())
def test_exact_sets_are_those_that_a_touched_cell_changes(chain):
    n = chain.layers[0].in_size[0]
    changed = np.array([run(chain, np.eye(n)[i].reshape(1, 1, n))[0, 0] != 0 for i in range(n)])
    for out in range(changed.shape[1]):
        assert sees(chain, 0, [out])[0] == tuple(np.flatnonzero(changed[:, out]).tolist())
    for cell in range(n):
        assert reaches(chain, 0, [cell])[-1] == tuple(np.flatnonzero(changed[cell]).tolist())


@given(chains())
def test_no_exact_set_is_wider_than_the_formula(chain):
    last = spans(chain, 0)[-1]
    if chain.layers[0].padding_mode == "zeros":
        for out in range(chain.layers[-1].out_size[0]):
            cells = sees(chain, 0, [out])[0]
            assert not cells or cells[-1] - cells[0] + 1 <= last.r


def test_the_worked_stack():
    chain = Chain.parse("conv i32x32 k3 p1; k3 s2 p1; k3 s2 p1")
    assert [(s.r, s.jump, s.start) for s in spans(chain, 0)] == [(3, 1, -1), (5, 2, -2), (9, 4, -4)]
    assert sees(chain, 0, [4])[0] == tuple(range(12, 21))


def test_gridding_and_edges_differ_from_the_formula():
    chain = Chain.parse("conv i20 k3 d2; k3 d2; k3 d2")
    cells = sees(chain, 0, [6])[0]
    assert cells == (6, 8, 10, 12, 14, 16, 18) and spans(chain, 0)[-1].r == 13
    assert Field(13, cells).has_gaps and Field(13, cells).differs
    edge = sees(Chain.parse("conv i9 k3 p1"), 0, [0])[0]
    assert edge == (0, 1) and Field(3, edge).differs and not Field(3, edge).has_gaps


def test_later_layers_are_filled_in():
    chain = Chain.parse("conv ci3 co8 i8x8 k3 p1; conv_transpose co4 k4 s2 p1")
    assert chain.layers[1].in_channels == 8 and chain.layers[1].out_size == (16, 16)
    assert Chain.parse(str(chain)) == chain


@pytest.mark.parametrize("text, words", [
    ("conv i8 k3; conv i7 k3", "layer 1 takes"),
    ("conv i8 k3; k9", "kernel does not fit"),
    ("conv i8 k3;" * 70, "needs k"),
    ("conv i8 k3; conv_weight_gradient k3", "no layer of a chain"),
])  # fmt: skip
def test_what_is_no_chain_is_refused(text, words):
    with pytest.raises(GeometryError, match=words):
        Chain.parse(text)


def test_an_endless_set_is_refused():
    chain = Chain.parse("conv i400000 k300000")
    with pytest.raises(GeometryError, match="too large to be walked"):
        sees(chain, 0, [0])


def test_channels_of_later_layers_are_those_before_whether_or_not_the_operation_is_named():
    chain = Chain.parse("conv ci3 co8 i9 k3; k3; conv k3; conv_transpose k2; conv co4 k1")
    assert [layer.in_channels for layer in chain.layers] == [3, 8, 8, 8, 8]
    assert [layer.out_channels for layer in chain.layers] == [8, 8, 8, 8, 4]
