"""Drawn problems: small, and with every parameter that a convolution has.

A `Case` is plain numbers and draws its own arrays from a seed, so that a failing one can be typed in again. Its sizes
are counted here by brute force and never asked of the code under test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

MODES = ("zeros", "reflect", "replicate", "circular")

# Cells per axis at most, so that a loop in Python over all products stays short.
_SIZES = {1: 9, 2: 5, 3: 3, 4: 2}


@dataclass(frozen=True)
class Case:
    """One call in the words of the public functions. `in_size` is that of x, whichever side that is."""

    op: str
    in_size: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    output_padding: tuple[int, ...]
    batch: int = 1
    in_channels: int = 1
    out_channels: int = 1
    groups: int = 1
    flip: bool = False
    padding_mode: str = "zeros"
    seed: int = field(default=0, compare=False)

    @property
    def rank(self) -> int:
        return len(self.in_size)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of `twofold.conv` or `twofold.conv_transpose`."""
        options = {name: getattr(self, name) for name in ("stride", "dilation", "padding", "groups", "flip")}
        options["padding_mode"] = self.padding_mode
        return options | ({"output_padding": self.output_padding} if self.op == "conv_transpose" else {})

    @property
    def weight_shape(self) -> tuple[int, ...]:
        pair = (self.out_channels, self.in_channels) if self.op == "conv" else (self.in_channels, self.out_channels)
        return (pair[0], pair[1] // self.groups, *self.kernel_size)

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (self.batch, self.in_channels, *self.in_size)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return (self.batch, self.out_channels, *self.out_size)

    @property
    def out_size(self) -> tuple[int, ...]:
        axes = zip(
            self.in_size,
            self.kernel_size,
            self.stride,
            self.dilation,
            self.padding,
            self.output_padding,
            strict=True,
        )
        count = counted_coarse if self.op == "conv" else counted_fine
        return tuple(count(*axis) for axis in axes)

    def integers(self, *shape: int, salt: int = 0, low: int = -9, high: int = 9) -> np.ndarray:
        """Small integers in float64, so that sums of them are exact and `==` is the comparison."""
        return np.random.default_rng((self.seed, salt)).integers(low, high + 1, shape).astype(np.float64)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, weight and bias."""
        return (
            self.integers(*self.x_shape, salt=1),
            self.integers(*self.weight_shape, salt=2),
            self.integers(self.out_channels, salt=3),
        )


def counted_coarse(n: int, k: int, s: int, d: int, pads: tuple[int, int], _: int = 0) -> int:
    """Count the places where the dilated kernel lies inside the padded array, one by one."""
    padded = n + pads[0] + pads[1]
    return sum(1 for start in range(0, padded, s) if all(start + tap * d < padded for tap in range(k)))


def counted_fine(n: int, k: int, s: int, d: int, pads: tuple[int, int], extra: int = 0) -> int:
    """Paint the kernel once per cell, and count the canvas from its first to its last cell, less what is cropped."""
    return max(cell * s + tap * d for cell in range(n) for tap in range(k)) + 1 - sum(pads) + extra


@st.composite
def cases(draw, op: str | None = None, max_rank: int = 3, modes: tuple[str, ...] = MODES, flips: bool = True) -> Case:
    """Problems that are legal, of either operation unless `op` names one."""
    op = op or draw(st.sampled_from(("conv", "conv_transpose")))
    rank = draw(st.integers(1, max_rank))
    axes = [draw(axis_numbers(op, _SIZES[rank])) for _ in range(rank)]
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    mode = draw(st.sampled_from(modes))
    case = Case(
        op,
        *(tuple(numbers) for numbers in zip(*axes, strict=True)),
        batch=draw(st.integers(1, 2)),
        in_channels=groups * draw(st.integers(1, 2)),
        out_channels=groups * draw(st.integers(1, 2)),
        groups=groups,
        flip=draw(st.booleans()) if flips else False,
        padding_mode=mode,
        seed=draw(st.integers(0, 2**16)),
    )
    fine = case.in_size if op == "conv" else case.out_size
    if mode == "reflect" and min(fine) < 2:  # one cell alone has nothing to reflect
        return Case(**{**case.__dict__, "padding_mode": "replicate"})
    return case


@st.composite
def axis_numbers(draw, op: str, largest: int) -> tuple[Any, ...]:
    """(in_size, kernel_size, stride, dilation, pads, output_padding) of one axis that has a result."""
    k = draw(st.integers(1, 4 if largest > 3 else 2))
    s, d = draw(st.integers(1, 4)), draw(st.integers(1, 4 if largest > 5 else 2))
    pads = (draw(st.integers(0, 4)), draw(st.integers(0, 4)))
    n = draw(st.integers(1, largest))
    if op == "conv":
        return max(n, d * (k - 1) + 1 - sum(pads)), k, s, d, pads, 0
    extra = draw(st.integers(0, max(s, d) - 1))
    full = (n - 1) * s + d * (k - 1) + 1 + extra
    before = min(pads[0], full - 1)
    return n, k, s, d, (before, min(pads[1], full - 1 - before)), extra


def few(examples: int) -> settings:
    """Fewer examples than the profile's 100, for a slow test; still 20 times as many under soak."""
    return settings(max_examples=max(1, settings.default.max_examples * examples // 100))
