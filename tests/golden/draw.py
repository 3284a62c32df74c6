"""Problems for the page to agree with Python on: the worked ones, and drawn ones over the whole option space.

Each is written with its trace and with what some views say of it; the page must make the same bytes of it.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from twofold import explain
from twofold.analysis.chain import Chain
from twofold.analysis.taps import count
from twofold.errors import GeometryError, UnsupportedError
from twofold.explain import Trace
from twofold.explain.views import TABS, VIEWS, description
from twofold.geometry import Problem

__all__ = ["entries", "entry", "table"]

Shown = tuple[str, str | None, int | None, str | None]  # view, tab, step, layers

_PRODUCTS, _CELLS = 36, 30  # of a drawn problem, so that the file stays small
K9 = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
NUMBERS = [
    0, 1, 2, 3, 5, 7, 10, 100, -1, -2, -3, 0.5, 0.25, -0.75, 1.5, 0.1, 2 / 3, 1e-3, 12345.678, 1e15, 1e21, 1e-7, 1e300,
]  # fmt: skip
ODD = [math.nan, math.inf, -math.inf, -0.0]
BIG = [2**53 - 1, 2**53 + 1, 2**62, -(2**63), 2**64, 10**20]

WORKED: list[tuple[str, dict[str, Any]]] = [
    ("conv i3x3 k2x2", {}),
    ("conv i3x3 k2x2 p1", {}),
    ("conv i3x3 k2x2 d2", {}),
    ("conv i3x3 k2x2", {"weight": "digits"}),
    ("conv_transpose i2x2 k2x2", {}),
    ("conv_transpose i2x2 k2x2 s2", {}),
    ("conv_transpose i2x2 k2x2", {"weight": "digits"}),
    ("conv_transpose i2x2 k3x3 s2", {}),
    ("conv_transpose i2x2 k3x3 s2 p1", {}),
    ("conv_transpose i2x2 k3x3 s2 p1 op1", {}),
    ("conv_transpose i4 k3 s2", {}),
    ("conv_transpose i4 k2 s2", {}),
    ("conv_transpose i4 k4 s2 p1", {}),
    ("conv_transpose i4 k2 s3", {}),
    ("conv_transpose i4 k3 s2 d2", {}),
    ("conv i24 k3 s2 p1", {}),
    ("conv_transpose i4 k3 s2 p1 op1", {}),
    ("conv i6 k3 s2 same", {}),
    ("conv i6 k3 causal", {}),
    ("conv_transpose i3", {"suffix": " k3", "weight": [1, 10, 100]}),
    ("conv_transpose i3 k3 s2", {"weight": [1, 10, 100]}),
    ("conv i3x3x3 k2x2x2", {"weight": np.ones((2, 2, 2), int)}),
    ("conv i3x3 k2x2 int64", {}),
    ("conv ci2 co3 i3x3 k2x2", {"bias": [1, -1, 0.5]}),
    ("conv ci4 co2 g2 i2x3 k2x2 flip", {}),
    ("conv_transpose ci4 co2 g2 i2x2 k2x2 flip", {}),
    ("conv n2 i3 k2", {}),
    ("conv i5 k3 p2 reflect", {}),
    ("conv i5 k3 p2 replicate", {"bias": [3]}),
    ("conv i5 k3 p2 circular", {}),
    ("conv_transpose i4 k3 p1 reflect", {}),
    ("conv_transpose i5 k1 s2 p2", {}),
]
STACKS = [
    "conv i12 k3 p1; k3 s2 p1; k3 s2 p1",
    "conv i16 k3 d2; k3 d2; k3 d2",
    "conv_transpose i4 k3 s2; conv_transpose k3 s2",
    "conv_transpose i3x3 k4 s2 p1; conv k3 p1",
    "conv i9 k3 s2 p1; conv_transpose k3 s2 p1",
]


def table() -> Iterator[tuple[Trace, list[Shown]]]:
    """Yield the worked problems with every view of each, and the stacks."""
    for text, more in WORKED:
        options = dict(more)
        trace = explain.problem(text + options.pop("suffix", ""), **options)
        yield trace, list(every(trace))
    for text in STACKS:
        chain = Chain.parse(text)
        views: list[Shown] = [("field", "receptive", None, text), ("field", "projective", 1, text),
                              ("overlap", None, None, text)]  # fmt: skip
        yield explain.problem(chain.layers[0]), views


def every(trace: Trace) -> Iterator[Shown]:
    """Yield all views and tabs, each at its last step, or still if it has none."""
    own = "filter" if trace.problem.op == "conv" else "transposed"
    for view in VIEWS:
        if view in {"filter", "transposed"} - {own} or view == "image":
            continue
        for tab in TABS.get(view, (None,)):
            if tab == "zero-insert" and trace.problem.padding_mode != "zeros":
                continue
            steps = description(trace, view, tab).steps
            yield view, tab, steps - 1 if steps else None, None


def drawn(seed: int, number: int) -> Iterator[tuple[Trace, list[Shown]]]:
    """Yield so many problems, always the same ones for a seed; one or two views of each, and some in a stack."""
    chance = random.Random(seed)
    made = 0
    while made < number:
        trace = _problem(chance)
        if trace is None:
            continue
        made += 1
        views = chance.sample(list(every(trace)), chance.choice((1, 2)))
        views = [(view, tab, last if last is None else chance.randint(0, last), None) for view, tab, last, _ in views]
        if chance.random() < 0.15 and (text := _stack(chance, trace.problem)):
            views.append(("field", chance.choice(TABS["field"]), None, text))
            views.append(("overlap", None, None, text))
        yield trace, views


def entry(trace: Trace, views: list[Shown]) -> str:
    """Write one problem: its trace as `to_json` writes it, and the descriptions."""
    said = []
    for view, tab, step, layers in views:
        chain = None if layers is None else Chain.parse(layers)
        found = description(trace, view, tab, step, chain).as_dict()
        said.append({"view": view, "tab": tab, "step": step, "layers": layers, "description": found})
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=True)
    return '{"trace":' + trace.to_json() + ',"views":' + text + "}"


def entries(seed: int, number: int, *, worked: bool) -> str:
    """Write a list of entries as JSON, one per line."""
    found = [*(table() if worked else ()), *drawn(seed, number)]
    return "[\n" + ",\n".join(entry(*one) for one in found) + "\n]\n"


def _problem(chance: random.Random) -> Trace | None:
    text = _text(chance)
    try:
        problem = Problem.parse(text)
        cells = max(math.prod(problem.result_shape), math.prod(problem.fine_shape), math.prod(problem.coarse_shape))
        if count(problem) > _PRODUCTS or cells > _CELLS or math.prod(problem.weight_shape) > _CELLS:
            return None
        shape = problem.coarse_shape if problem.op == "conv_transpose" else problem.fine_shape
        x, weight = _array(chance, shape), _array(chance, problem.weight_shape)
        bias = _array(chance, (problem.out_channels,)) if chance.random() < 0.3 else None
        return explain.problem(problem, x, weight, bias)
    except (GeometryError, UnsupportedError):  # what cannot be is not drawn
        return None


def _stack(chance: random.Random, problem: Problem) -> str:
    # The problem and one or two layers after it, if such layers can be.
    text = str(problem)
    for _ in range(chance.choice((1, 2))):
        words = (
            chance.choice(("conv", "conv_transpose")),
            f"k{chance.choice((1, 2, 3))}",
            f"s{chance.choice((1, 1, 2))}",
        )
        text += "; " + " ".join([*words, *chance.choice(([], ["p1"], ["d2"]))])
    try:
        chain = Chain.parse(text)
    except (GeometryError, UnsupportedError):
        return ""
    sizes = [n for layer in chain.layers for n in (*layer.in_size, *layer.out_size)]
    return text if min(sizes) > 0 and max(sizes) <= 20 else ""


def _text(chance: random.Random) -> str:
    rank = chance.choice((1, 1, 2, 2, 2, 3))
    op = chance.choice(("conv", "conv_transpose"))

    def size(*options: int) -> str:
        return "x".join(str(chance.choice(options)) for _ in range(rank))

    groups = chance.choice((1, 1, 1, 2))
    words = [op, f"n{chance.choice((1, 1, 1, 2))}", f"ci{groups * chance.choice((1, 1, 2))}"]
    words += [f"co{groups * chance.choice((1, 1, 2))}", f"g{groups}"]
    words += ["i" + (size(1, 2, 3, 4, 5, 7) if rank < 3 else size(1, 2, 3)), "k" + size(1, 2, 3, 3, 4)]
    words += ["s" + size(1, 1, 2, 2, 3), "d" + size(1, 1, 1, 2, 3)]
    padding = chance.choice(("", "p", "p", "pairs", "same", "same_lower", "causal", "valid"))
    pads = [(chance.choice((0, 1, 1, 2, 3)), chance.choice((0, 1, 2))) for _ in range(rank)]
    words += {"": [], "p": ["p" + "x".join(str(a) for a, _ in pads)],
              "pairs": ["p" + "x".join(f"{a}:{b}" for a, b in pads)]}.get(padding, [padding])  # fmt: skip
    if op == "conv_transpose" and padding in ("", "p", "pairs", "valid") and chance.random() < 0.5:
        words.append("op" + size(0, 1, 1, 2))
    words += chance.choice(([], [], [], ["reflect"], ["replicate"], ["circular"]))
    words += ["flip"] if chance.random() < 0.2 else []
    return " ".join([*words, chance.choice(("f32", "f32", "f64", "int64"))])


def _array(chance: random.Random, shape: tuple[int, ...]) -> Any:
    cells, kind = math.prod(shape), chance.random()
    if kind < 0.5:
        values: list[Any] = [chance.randint(-9, 9) for _ in range(cells)]
    elif kind < 0.8:
        values = [chance.choice(NUMBERS) for _ in range(cells)]
    elif kind < 0.9:
        values = [chance.choice(ODD + NUMBERS[:8]) for _ in range(cells)]
    else:
        values = [chance.choice([*BIG, 1, -1, 3]) for _ in range(cells)]
    whole = all(isinstance(value, int) for value in values)
    if whole and any(not -(2**63) <= value < 2**63 for value in values):
        return np.array(values, dtype=object).reshape(shape)
    return np.array(values, dtype=np.int64 if whole else np.float64).reshape(shape)
