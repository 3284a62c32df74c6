"""The code to be copied: PyTorch's is run, the others are held to what their conventions say."""

from __future__ import annotations

import re

import numpy as np
import torch
from hypothesis import given

import twofold
from strategies import cases, few
from twofold.explain.code import code_of
from twofold.geometry import Problem


def described(case) -> Problem:
    return Problem.of(case.op, case.in_size, case.kernel_size, in_channels=case.in_channels, batch=case.batch,
                      out_channels=case.out_channels, dtype="float64", **case.options)  # fmt: skip


@few(60)
@given(cases())
def test_pytorchs_code_gives_our_output(case):
    code = code_of(described(case))["PyTorch"]
    if code.startswith("#"):
        assert case.op == "conv_transpose" and case.padding_mode != "zeros"
        return
    if case.padding_mode in ("reflect", "circular") and not _torch_pads(case):
        return
    x, weight, _ = (torch.tensor(array) for array in case.arrays)
    names = {"torch": torch, "x": x, "weight": weight}
    setup, run = code.split("\n", 1)
    exec(setup, names)
    names["layer"].double().requires_grad_(False).weight.copy_(weight)
    exec(run, names)
    y = getattr(twofold, case.op)(*(array for array in case.arrays[:2]), **case.options)
    assert np.array_equal(names["y"].numpy(), y)


def _torch_pads(case) -> bool:
    # torch reflects less than the array, and goes round at most once.
    most = [n - (case.padding_mode == "reflect") for n in case.in_size]
    return case.rank < 3 + (case.padding_mode != "reflect") and all(
        max(pads) <= n for pads, n in zip(case.padding, most, strict=True)
    )


@few(60)
@given(cases(op="conv_transpose", modes=("zeros",)))
def test_jaxs_padding_is_that_of_the_stretched_input(case):
    """By torch: zeros between, zeros around as JAX's padding says, the turned weight with stride 1."""
    code = code_of(described(case))["JAX"]
    pads = eval(re.search(r"padding=(\[.*?\]),", code)[1])
    x, weight, _ = (torch.tensor(array) for array in case.arrays)
    wide = torch.zeros(*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(case.in_size, case.stride, strict=True)),
                       dtype=torch.float64)  # fmt: skip
    wide[(slice(None), slice(None), *(slice(None, None, s) for s in case.stride))] = x
    wide = torch.nn.functional.pad(wide, [max(p, 0) for pair in reversed(pads) for p in pair])
    cut = (slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pads, wide.shape[2:], strict=True))
    wide = wide[(slice(None), slice(None), *cut)]
    g = case.groups
    turned = weight.reshape(g, weight.shape[0] // g, *weight.shape[1:]).swapaxes(1, 2)
    turned = turned.reshape(case.out_channels, case.in_channels // g, *case.kernel_size)
    turned = turned if case.flip else torch.flip(turned, tuple(range(2, 2 + case.rank)))
    assert ("jax.numpy.flip" in code) == (not case.flip)
    conv = getattr(torch.nn.functional, f"conv{case.rank}d")
    y = conv(wide, turned, dilation=case.dilation, groups=g)
    assert np.array_equal(y.numpy(), twofold.conv_transpose(*case.arrays[:2], **case.options))


def test_keras_and_onnx():
    up = code_of(Problem.parse("conv_transpose ci3 co8 i4x4 k3x3 s2 p1 op1"))
    assert "Conv2DTranspose(8, kernel_size=3, strides=2" in up["Keras"] and up["Keras"].endswith("y[:, 1:9, 1:9]")
    assert "pads=[1, 1, 1, 1]" in up["ONNX"] and "output_padding=[1, 1]" in up["ONNX"]
    same = code_of(Problem.parse("conv i6x6 k3x3 s2 same"))
    assert "ZeroPadding2D(((0, 1), (0, 1)))" in same["Keras"] and "pads=[0, 0, 1, 1]" in same["ONNX"]
    assert "x = torch.nn.functional.pad(x, (0, 1, 0, 1)" in same["PyTorch"]
    # Keras makes stride cells per input cell, even where the kernel is smaller.
    assert code_of(Problem.parse("conv_transpose i4 k2 s3"))["Keras"].endswith("y = y[:, 0:11]")
    assert "ZeroPadding1D((0, 1))(y)" in code_of(Problem.parse("conv_transpose i4 k3 s2 op1"))["Keras"]


def test_what_a_framework_cannot_do_is_said():
    for words, told in {
        "conv i5 k3 flip": {"Keras": "turn the weight by 180 degrees first", "ONNX": "turn the weight"},
        "conv i5 k3 p1 replicate": {"Keras": "no padding_mode 'replicate'", "ONNX": 'mode="edge"'},
        "conv_transpose i5 k3 p1 reflect": {
            "Keras": "no transposed layer",
            "JAX": "no transposed",
            "ONNX": "no ConvTr",
        },
    }.items():
        code = code_of(Problem.parse(words))
        assert all(text in code[name] for name, text in told.items())
