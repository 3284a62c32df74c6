"""Layers for the tests of the engine: a table with each option in it, and drawn ones; and arrays between pages."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

from twofold.geometry import Problem

TABLE = """
conv ci1 co1 i3x3 k2
conv ci16 co32 i14x14 k3 p1 nhwc
conv ci16 co32 i14x14 k3 p1
conv n3 ci17 co33 i15x9 k3 p1 s2
conv n3 ci3 co64 i30x31 k7 s2 p3
conv n3 ci20 co70 i7x7 k3 p1 nhwc
conv n2 ci5 co6 i40 k5 d2 p3:1
conv g2 ci34 co10 i6x7x8 k3x2x1 p1x0x0 nhwc
conv ci1 co20 i100 k9 s4
conv ci1 co40 i3000 k512 s128
conv n19 ci6 co20 i5x4 k3 p1
conv_transpose n67 ci6 co20 i1x1 k3 nhwc
conv n3 ci24 co40 i9x13 k1
conv n3 ci24 co40 i9x13 k1 nhwc
conv ci8 co8 i20x20 k1 s2 p2
conv ci6 co7 i5x5 k5 p7 s2
conv ci3 co5 i60x61 k3 p1 flip
conv g40 ci40 co40 i20x21 k3 p1
conv n2 g40 ci40 co40 i20x21 k3 p1 nhwc
conv g16 ci16 co32 i13x12 k3 s2 p1
conv g16 ci16 co16 i20 k31 p15 nhwc
conv n5 ci3 co1 i17x16 k5 p2
conv ci1 co1 i40x70 k11 p5
conv ci12 co3 i9x33 k3 p1 nhwc
conv ci70 co20 i1x1 k1
conv n3 ci33 co64 i7x7 k1 nhwc
conv n3 ci17 co33 i9x14 k1 s2 nhwc
conv n2 ci8 co70 i20x19 k1 s2 p2 nhwc
conv n2 g2 ci128 co70 i9x7 k1 nhwc
conv ci20 co36 i40 k1 nhwc f64
conv n2 ci16 co32 i5x6x7 k1 s2x1x1 nhwc
conv n9 ci33 co35 i1x1 k1 nhwc
conv ci6 co8 i12x13 k3 p1 reflect
conv ci6 co8 i12x13 k3 p2 circular nhwc
conv n2 ci4 co20 i11x10 same s2 k4
conv ci5 co18 i30 causal k3 d4
conv_transpose ci1 co1 i2x2 k2
conv_transpose ci20 co33 i8x8 k4 s2 p1
conv_transpose ci20 co64 i8x8 k4 s2 p1 nhwc
conv_transpose n2 ci20 co64 i9x5 k3 s2 p1 op1
conv_transpose n2 ci5 co3 i9x5 k2 s3
conv_transpose ci40 co32 i1x1 k4
conv_transpose n9 ci40 co32 i1x1 k4 nhwc
conv_transpose ci2 co3 i5x6x7 k3x4x5 s2x3x1 d1x2x3 p1
conv_transpose ci64 co24 i33 k16 s8 p4
conv_transpose n2 ci3 co5 i20x21 k3 p1 flip
conv_transpose g21 ci21 co21 i5x6 k8 s4 p2
conv_transpose n2 g21 ci21 co21 i5x6 k8 s4 p2 nhwc
conv_transpose g2 ci8 co6 i7x6 k3 s2 d2 p1
conv_transpose ci12 co1 i9x10 k9 s4 p4 op3
conv_transpose ci12 co3 i9x10 k4 s2 p1
conv_transpose n2 ci12 co3 i9x10 k4 s2 p1 nhwc
conv_transpose ci21 co21 i7x7 k16 s8 p4
conv_transpose ci21 co21 i7x7 k16 s8 p4 nhwc
conv_transpose ci9 co16 i4x5x6 k2 s2 nhwc
conv_transpose n3 ci64 co32 i7x7 k2 s2 nhwc
conv_transpose n2 ci20 co36 i9x8 k2 s3 op1 nhwc
conv_transpose n2 g2 ci34 co40 i9x8 k2x1 s2x3 p1x0 nhwc
conv_transpose ci6 co8 i12x13 k3 p1 reflect
conv_transpose ci1 co1 i300 k16 s4 p6
conv_transpose ci3 co40 i9 k3 s5
conv n2 ci20 co70 i7x9 k3 p1 f64
conv n2 g40 ci40 co40 i10x11 k3 p1 f64 nhwc
conv_transpose n2 ci12 co3 i9x10 k4 s2 p1 f64
conv_transpose ci20 co36 i6x7 k4 s2 p1 f64 nhwc
conv n2 g2 ci6 co8 i5x4x6x7 k2x3x2x3 s1x2x1x1 p1
conv g2 ci4 co4 i3x4x3x4x5 k2 p1 flip nhwc
conv_transpose n2 g2 ci4 co6 i3x2x4x3 k3x2x2x3 s2x1x2x1 p1x0x0x1 flip
conv_transpose ci3 co5 i3x4x5x3 k2x3x2x2 s3x2x1x2 nhwc f64
""".strip().splitlines()


def drawn(seed: int) -> Problem:
    """Draw a problem with any of the options; small, but past every tile."""
    rng = np.random.default_rng(seed)
    while True:
        rank = int(rng.choice([1, 2, 2, 2, 3]))
        op = str(rng.choice(["conv", "conv_transpose"]))
        most = {1: 90, 2: 22, 3: 9}[rank]
        kernel = [int(k) for k in rng.integers(1, {1: 9, 2: 6, 3: 4}[rank], rank)]
        groups = int(rng.choice([1, 1, 1, 2, 3]))
        a, b = (int(c) * groups for c in rng.choice([1, 2, 3, 4, 5, 8, 15, 16, 17, 20, 33, 40], 2))
        if rng.random() < 0.15:
            groups = a = b = int(rng.choice([3, 8, 16, 17, 35]))
        options = {
            "stride": [int(s) for s in rng.integers(1, 4, rank)],
            "dilation": [int(d) for d in rng.choice([1, 1, 1, 2, 3], rank)],
            "padding": [(int(p), int(q)) for p, q in rng.integers(0, 4, (rank, 2))],
            "batch": int(rng.choice([1, 1, 2, 3])),
            "groups": groups,
            "flip": bool(rng.random() < 0.2),
            "layout": str(rng.choice(["channels_first", "channels_last"])),
            "dtype": str(rng.choice(["float32", "float32", "float64"])),
        }
        if op == "conv_transpose":
            options["output_padding"] = [int(rng.integers(0, s)) for s in options["stride"]]
        size = [int(n) for n in rng.integers(1, most, rank)]
        try:
            return Problem.of(op, size, kernel, in_channels=a, out_channels=b, **options)
        except ValueError:
            continue


def arrays(problem: Problem, seed: int = 0, integers: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x (channels first, in the memory order of the layout), weight and bias."""
    rng = np.random.default_rng(seed)
    shape = problem.coarse_shape if problem.op == "conv_transpose" else problem.fine_shape

    def values(shape: tuple[int, ...]) -> np.ndarray:
        drawn = rng.integers(-4, 5, shape) if integers else rng.standard_normal(shape)
        return drawn.astype(problem.dtype)

    x, weight, bias = values(shape), values(problem.weight_shape), values((problem.out_channels,))
    if problem.layout == "channels_last":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    return x, weight, bias


def fenced(array: np.ndarray, end: bool) -> np.ndarray:
    """Copy an array flush against a page that may not be read: behind it if `end`, else before it."""
    page = mmap.PAGESIZE
    base = np.ascontiguousarray(array)
    pages = -(-max(base.nbytes, 1) // page)
    memory = mmap.mmap(-1, (pages + 2) * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    for forbidden in (0, pages + 1):
        assert libc.mprotect(ctypes.c_void_p(start + forbidden * page), page, 0) == 0
    at = (pages + 1) * page - base.nbytes if end else page
    copy = np.frombuffer(memory, base.dtype, base.size, at).reshape(base.shape)
    copy[...] = base
    return copy
