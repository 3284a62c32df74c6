"""Measures how far every algorithm is off, and writes the table into docs/how-to/accuracy.md.

    python benchmarks/accuracy.py            measure, and write the table between its two marks
    python benchmarks/accuracy.py --print    measure, and print it

Each layer is computed by every algorithm that `accuracy="fast"` allows on it, and by the direct one with inputs in
bfloat16, on five kinds of data, and held against the reference in float64:

    normal        x and weight drawn from a normal distribution
    scaled        the same, with every channel of x times a power of ten from 1e-3 to 1e3
    mean          x normal around 1000
    local         the last third of x, along its last axis, times 1e-6
    cancelling    pairs of channels of x that differ by a thousandth, with opposite weights: sums far below their terms

Errors are  |y - exact|  as norms, ||y - exact|| / ||exact||; of the worst element over the largest output; and of the
worst element over the bound of a direct sum, (K + 2) u conv(|x|, |weight|), which "strict" keeps below 1 and
"standard" below 4.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from twofold import Plan, __version__, plan, reference
from twofold.bench.oracle import terms
from twofold.cli.machine import cpu_model
from twofold.engine.machine import host
from twofold.engine.plan import algorithms
from twofold.geometry import Problem

LAYERS = (
    "conv ci64 co64 i28x28 k3 p1",
    "conv ci256 co256 i14x14 k3 p1",
    "conv ci1024 co1024 i7x7 k3 p1",
    "conv ci1024 co64 i8x8 k2",
    "conv ci128 co128 i14x14 k5 p2",
    "conv ci64 co64 i28x28 k3 s2 p1",
    "conv ci256 co256 i512 k3 p1",
    "conv ci16 co32 i10x16x16 k3 p1",
    "conv g16 ci16 co16 i56x56 k31 p15",
    "conv g4 ci4 co4 i128x128 k64 p32",
    "conv ci128 co128 i1024 k25 p12",
    "conv ci1 co1 i65536 k4096",
    "conv_transpose ci1024 co512 i4x4 k4 s2 p1",
    "conv_transpose ci256 co64 i14x14 k4 s2 p1",
    "conv_transpose ci128 co64 i128 k6 s2 p2",
    "conv_transpose ci513 co1 i61 k512 s128",
    "conv ci256 co256 i14x14 k3 p1 f64",
    "conv ci64 co64 i28x28 k9 p4 f64",
    "conv_weight_gradient n2 ci64 co64 i56x56 k3 p1",
    "conv_weight_gradient n8 ci256 co256 i14x14 k3 p1",
)
KINDS = ("normal", "scaled", "mean", "local", "cancelling")
PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "accuracy.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
Arrays = tuple[np.ndarray, np.ndarray]


def data(problem: Problem, kind: str) -> Arrays:
    """Return x and weight of this kind, or x and grad_y, the same on every run."""
    rng = np.random.default_rng(0)
    shape = problem.coarse_shape if problem.op == "conv_transpose" else problem.fine_shape
    other = problem.coarse_shape if problem.op == "conv_weight_gradient" else problem.weight_shape
    x, weight = rng.standard_normal(shape), rng.standard_normal(other)
    channels = np.arange(shape[1]).reshape(-1, *[1] * problem.rank)
    if kind == "scaled":
        x *= 10.0 ** rng.integers(-3, 4, shape[1]).reshape(channels.shape)
    if kind == "mean":
        x += 1000
    if kind == "local":
        x[..., 2 * shape[-1] // 3 :] *= 1e-6
    if kind == "cancelling":
        x = _cancelling(problem, x, weight)
    return x.astype(problem.dtype), weight.astype(problem.dtype)


def _cancelling(problem: Problem, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    # Channels in pairs; where a group has one channel alone, its taps sum to nothing and x is nearly constant; of a
    # weight gradient, grad_y sums to nothing.
    axis = 1 if problem.op == "conv" else 0
    per_group = problem.in_channels // problem.geometry.groups
    if per_group < 2 or problem.op == "conv_weight_gradient":
        cells = tuple(range(2, weight.ndim))
        weight -= weight.mean(cells, keepdims=True)
        return 1 + x / 1000
    pairs = per_group // 2
    lead = np.moveaxis(weight.reshape(problem.weight_shape), axis, 0)
    lead[1 : 2 * pairs : 2] = -lead[0 : 2 * pairs : 2]
    x[:, 1 : 2 * pairs : 2] = x[:, 0 : 2 * pairs : 2] * (1 + 1e-3 * x[:, 1 : 2 * pairs : 2])
    return x


def errors(problem: Problem, y: np.ndarray, exact: np.ndarray, bound: np.ndarray) -> tuple[float, float, float]:
    """Return the error by norms, of the worst element over the largest output, and over the bound of a direct sum."""
    off = np.abs(y - exact)
    shares = np.divide(off, bound, out=np.zeros_like(off), where=bound > 0)
    return float(np.linalg.norm(off) / np.linalg.norm(exact)), float(off.max() / abs(exact).max()), float(shares.max())


def rows() -> Iterator[tuple[str, ...]]:
    """Yield a row of the table for each layer and algorithm."""
    for text in LAYERS:
        problem = Problem.parse(text)
        unit = float(np.finfo(problem.dtype).eps) / 2
        cells: dict[str, list[str]] = {}
        for kind in KINDS:
            x, weight = data(problem, kind)
            exact = _exact(problem, x, weight)
            sizes = reference.run(problem, abs(x).astype(np.float64), abs(weight).astype(np.float64))
            name = "grad_weight" if problem.op == "conv_weight_gradient" else "y"
            bound = (terms(problem, name) + 2) * unit * sizes
            for name, run in _runs(problem):
                found = errors(problem, run.run(x, weight), exact, bound)
                first = [_allowed(problem, name), f"{run.relative:.1g}"]
                cells.setdefault(name, first).append("{:.1e}, {:.1e}, {:.2g}".format(*found))
        yield from ((text, name, *line) for name, line in cells.items())


def _exact(problem: Problem, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    # Of float32 data the reference in float64 is exact enough. Of float64 data: pieces of 17 bits, of which sums of up
    # to 2^17 products are exact in float64, added in long double.
    if problem.dtype == "float32":
        return reference.run(problem, x.astype(np.float64), weight.astype(np.float64))
    pairs = [(a, b) for a in _pieces(x) for b in _pieces(weight)]
    return sum(reference.run(problem, a, b).astype(np.longdouble) for a, b in reversed(pairs))


def _pieces(array: np.ndarray) -> list[np.ndarray]:
    step, found = 2.0 ** np.ceil(np.log2(abs(array).max())), []
    for _ in range(4):
        step *= 2.0**-17
        found.append(np.round(array / step) * step)
        array = array - found[-1]
    assert abs(array).max() <= step
    return found


def _runs(problem: Problem) -> Iterator[tuple[str, Plan]]:
    for name in algorithms(problem, "fast"):
        yield name, plan(problem, accuracy="fast", algorithm=name)
    if problem.dtype == "float32":
        yield f"{algorithms(problem, 'bf16')[0]}, bf16", plan(problem, accuracy="bf16")


def _allowed(problem: Problem, name: str) -> str:
    if "bf16" in name:
        return "bf16"
    return next(word for word in ("strict", "standard", "fast") if name in algorithms(problem, word))


def table() -> str:
    """Return the table as Markdown, with a sentence that says of which machine it is."""
    heads = ("layer", "algorithm", "from", "predicted", *KINDS)
    machine = f"Measured on {cpu_model() or 'an unknown processor'} ({host().isa}), twofold {__version__}."
    lines = [machine, "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in rows():
        lines.append(f"| {' | '.join(row)} |")
        sys.stderr.write(lines[-1] + "\n")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Measure, and write or print the table."""
    if arguments not in ([], ["--print"]):
        sys.stderr.write("usage: python benchmarks/accuracy.py [--print]\n")
        return 2
    found = table()
    if arguments:
        sys.stdout.write(found + "\n")
        return 0
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{found}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
