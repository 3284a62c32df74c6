"""A trace: one convolution or transposed convolution, multiplication by multiplication.

A step of a convolution is one output cell, the dot product of the weight and a window of the input. A step of a
transposed convolution is one input cell, which paints the weight times its value; `gathered` reads the same
multiplications per output cell. Everything is made when it is asked for: a trace of a million cells costs what its
arrays cost, until its steps are looked at.

The arithmetic is that of `arithmetic`: `steps[i].result` has the bits of `y`, and both are what the text says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold.analysis.taps import Taps, check_indices, reached, rows, walk, window
from twofold.analysis.taps import taps as all_taps
from twofold.errors import GeometryError, UnsupportedError
from twofold.explain import words
from twofold.explain.arithmetic import Array, accumulate, by_taps, exact, kind_of, widen
from twofold.explain.limits import check_given, check_held, check_sum, check_terms
from twofold.explain.numbers import Number, add, multiply
from twofold.explain.painter import Painter
from twofold.explain.steps import Canvas, Cells, Lazy, Step, Term
from twofold.geometry import Problem

if TYPE_CHECKING:
    from os import PathLike

    from twofold.analysis.chain import Chain

__all__ = ["Trace"]

PAGE_NUMBERS = 100_000  # of input and weight, to stand in a notebook with their page
_COUNTED = 1000  # numbers that merely count are left to the page beyond this


@dataclass(frozen=True, eq=False)
class Trace:
    """Everything about one operation on given numbers; made by `twofold.explain.conv2d` and its siblings.

    x, weight, bias  the operands, widened (arithmetic.py) and in the form in which they were given
    drop             leading axes that form leaves out: 2 for plain arrays, 1 without a batch, 0 for all
    tab              "paint" or "gather": whether the steps of a transposed convolution are its inputs or its outputs
    seen, tab        the view, see `view`; "" is the operation's own
    inserted         which cells of x are zeros that stand for none: drawn as padding
    chain            the layers of which this is the first, for the views overlap and field

    >>> from twofold import explain
    >>> trace = explain.conv_transpose2d([[0, 1], [2, 3]], [[0, 1], [2, 3]])
    >>> trace.y
    array([[ 0,  0,  1],
           [ 0,  4,  6],
           [ 4, 12,  9]])
    >>> trace.steps[3].text, trace.gathered[4].text
    ('0*3, 1*3, 2*3, 3*3 = 0, 3, 6, 9', '3*0 + 2*1 + 1*2 + 0*3 = 0 + 2 + 2 + 0 = 4')
    """

    problem: Problem
    x: Array
    weight: Array
    bias: Array | None = None
    drop: int = 0
    tab: str = "paint"
    seen: str = ""
    inserted: Array | None = None
    chain: Chain | None = None

    @classmethod
    def of(cls, problem: Problem, x: Array, weight: Array, bias: Array | None = None, drop: int = 0) -> Trace:
        """Make a trace of arrays that have the problem's shapes, once the axes that `drop` leaves out are added."""
        if problem.op == "conv_weight_gradient":
            raise UnsupportedError(
                "a weight gradient has no trace of its own", repair="the convolution it belongs to, and taps.meetings"
            )
        named = {"x": x, "weight": weight, **({} if bias is None else {"bias": bias})}
        check_indices(problem)
        for name, array in named.items():
            check_given(name, array.size)
        kind = max(kind_of(name, array) for name, array in named.items())
        if kind and (problem.dtype == "bool" or "int" in problem.dtype):
            raise UnsupportedError(f"the problem's dtype is {problem.dtype}, but the numbers are not integers")
        wide = {name: widen(name, array, kind) for name, array in named.items()}
        return cls(problem, wide["x"], wide["weight"], wide.get("bias"), drop)

    # -- results ----------------------------------------------------------------------------------------------------

    @cached_property
    def y(self) -> Array:
        """The output, in the form of x; refused beyond what `limits` allows, while `steps` can still be looked at."""
        x, weight, _ = self.operands
        self.check_sum(len(self._coarse))
        total = by_taps(self.problem, x, weight)
        return self.shown(self._with_bias(self.products_of(0, len(self._coarse)) if total is None else total))

    @cached_property
    def withheld(self) -> str:
        """Why there is no `y`, in a sentence; empty if there is one.

        >>> from twofold import explain
        >>> explain.problem("conv i500000 k250000").withheld
        'the output takes 62500250000 multiplications, and at most 100000000 are made'
        """
        try:
            self.check_sum(len(self._coarse))
        except GeometryError as refusal:
            return refusal.rule
        return ""

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of x with all axes: (batch, channels, *size)."""
        return self.problem.fine_shape if self.problem.op == "conv" else self.problem.coarse_shape

    @cached_property
    def taps(self) -> Taps:
        """Every multiplication, as a table of flat indices; refused beyond `analysis.taps.LIMIT` rows."""
        return all_taps(self.problem)

    @cached_property
    def longest(self) -> int:
        """Characters of the longest number in a picture."""
        from twofold.explain.sheets import longest_number

        return longest_number(self.x, self.weight, *([] if self.withheld else [self.y]))

    @property
    def terms(self) -> int:
        """Products of a step, at most."""
        if self.problem.op == "conv" or self.tab == "paint":
            return math.prod(self.problem.weight_shape[1:])
        return reached(self.problem)

    @property
    def derived(self) -> bool:
        """Whether this is seen in another view than the operation's own steps."""
        return self.tab == "zero-insert" or self.seen not in ("", "filter", "transposed")

    @property
    def steps(self) -> Sequence[Step]:
        """The steps: an output cell each, or for a transposed convolution an input cell each (see `view`)."""
        if self.derived:
            from twofold.explain.views import player

            return player(self, self.seen, self.tab or None)
        if self.problem.op == "conv":
            return self.gathered
        return self.gathered if self.tab == "gather" else Lazy(len(self._coarse), self._paint_step)

    @property
    def gathered(self) -> Sequence[Step]:
        """One dot product per output cell; of a convolution these are its steps."""
        if self.problem.op == "conv":
            return Lazy(len(self._coarse), self._window_step)
        return Lazy(math.prod(self._out_shape), self._gather_step)

    @property
    def intermediates(self) -> Sequence[Array]:
        """What each input cell of a transposed convolution paints, as an array of the output's shape.

        Their sum is y, but for the bias.
        """
        self._only_transposed("intermediate arrays")
        return Lazy(len(self._coarse), self._painted)

    @property
    def canvas(self) -> tuple[Canvas, ...]:
        """The canvas of a transposed convolution and its crop, an entry per axis."""
        self._only_transposed("a canvas")
        problem, canvas = self.problem, []
        for axis, coarse, fine in zip(problem.geometry.axes, problem.coarse_size, problem.fine_size, strict=True):
            span = axis.fine_span(range(coarse))
            canvas.append(Canvas(span.stop - span.start, -span.start, span.stop - fine))
        return tuple(canvas)

    @cached_property
    def uncropped(self) -> Trace:
        """The same trace on the whole canvas, before the crop and without the bias.

        With a padding mode other than zeros nothing is cropped but folded back, and it is the trace itself.
        """
        self._only_transposed("a canvas")
        if self.problem.padding_mode != "zeros":
            return self
        size = tuple(axis.size for axis in self.canvas)
        whole = replace(self.problem, geometry=self.problem.geometry.without_padding(), fine_size=size)
        return replace(self, problem=whole, bias=None, drop=0, tab="paint")

    def view(self, view: str | None = None, tab: str | None = None) -> Trace:
        """Return the same trace seen otherwise; names as in the page's address, and in `views.VIEWS` and `TABS`.

        view  "filter" or "transposed", "matrix", "phases", "overlap", "sizes", "field", "image", "gradient"
        tab   of a view that has several, such as "paint", "gather" or "zero-insert"

        >>> from twofold import explain
        >>> print(explain.conv_transpose1d([1, 2], [1, 10]).view(tab="gather").steps[1].text)
        10*1 + 1*2 = 10 + 2 = 12
        """
        from twofold.explain.views import named

        view, tab = named(self.problem.op, view, tab)
        return replace(self, seen=view, tab=tab or "")

    def covered(self, index: int) -> Array:
        """Return which output cells the steps 0 … `index` of a transposed convolution have painted."""
        self._only_transposed("painted cells")
        return self._painter.covered(range(len(self._coarse))[index])

    def so_far(self, index: int) -> tuple[Array, Array]:
        """Return the running sum after a step and which cells are painted, flat: read both before the next step."""
        self._only_transposed("a running sum")
        return self._painter.so_far(index)

    # -- doors to the other rooms -----------------------------------------------------------------------------------

    def scene(self, step: int | None = None) -> Any:
        """Draw the overview, or one step, as a `scene.Scene`."""
        from twofold.explain.figure import overview, step_scene
        from twofold.explain.views.drawing import view_scene

        if self.derived:
            return view_scene(self, self.seen, self.tab or None, step)
        return overview(self) if step is None else step_scene(self, step)

    def save(
        self,
        path: str | PathLike[str],
        *,
        step: int | None = None,
        steps: Sequence[int] | None = None,
        seconds: float = 0.8,
        overwrite: bool = True,
    ) -> str:
        """Write a picture, an animation or text; the suffix of the path chooses, see `explain.save`.

        returns  what the file holds: "64 frames", or "256 frames: the first 256 of 1600 steps"
        """
        from twofold.explain.save import save

        return save(self, path, step=step, steps=steps, seconds=seconds, overwrite=overwrite)

    def describe(self, step: int | None = None) -> dict[str, Any]:
        """Say everything that this view shows, as plain data; see `views.describe`."""
        from twofold.explain.views import describe

        return describe(self, self.seen or None, (self.tab or None) if self.seen else None, step)

    def state(self, step: int | None = None) -> dict[str, Any]:
        """Return what the page's address holds: problem, numbers, view, tab and step; and layers, of a chain.

        A large array that merely counts 1, 2, 3, … is left out: the page counts itself. What it does not have to hold
        it need not read, and what it cannot hold is a GeometryError.

        >>> from twofold import explain
        >>> explain.conv1d([1, 2], [3]).view("matrix").state()["view"]
        'matrix'
        """
        bias = None if self.bias is None else self.bias.tolist()
        found: dict[str, Any] = {"problem": str(self.problem)}
        for name, array, shape in (("x", self.x, self.in_shape), ("weight", self.weight, self.problem.weight_shape)):
            if array.size <= _COUNTED or not _counts(array):
                check_held(name, array.size)
                found[name] = array.reshape(shape).tolist()
        found |= {"bias": bias, "view": self.seen or ("filter" if self.problem.op == "conv" else "transposed")}
        more = {"tab": self.tab if self.seen else "", "step": step, "layers": self.chain and str(self.chain)}
        return found | {name: value for name, value in more.items() if value not in (None, "")}

    def page(self, step: int | None = None) -> str:
        """Return the interactive page, opened at this trace, as one HTML text that needs no network."""
        from twofold.explain.page import html

        return html(self.state(step))

    def widget(self, step: int | None = None) -> Any:
        """Return the page as a Jupyter widget, whose `selection` Python can read and set; needs twofold[notebook]."""
        from twofold.explain.notebook import widget

        return widget(self.state(step))

    def to_json(self) -> str:
        """Write the trace as JSON, always in the same bytes; see `explain.export`."""
        from twofold.explain.export import to_json

        return to_json(self)

    def text(self, *, full: bool = False, ascii: bool = False) -> str:
        """Write the whole trace for a terminal; see `explain.text`."""
        from twofold.explain.text import trace_text
        from twofold.explain.views.listing import view_text

        if self.derived:
            return view_text(self, full=full, ascii=ascii)
        return trace_text(self, full=full, ascii=ascii)

    def __str__(self) -> str:
        return self.text(ascii=True)

    def __repr__(self) -> str:
        view = ", " + " ".join(filter(None, (self.seen, self.tab))) if self.seen else ""
        return f"<Trace {self.problem}{view}: {len(self.steps)} steps>"

    def _repr_svg_(self) -> str | None:
        from twofold.explain.svg import to_svg

        try:
            return to_svg(self.scene())
        except GeometryError:  # the text says what is too large for a picture
            return None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        # A frame where scripts run; where they are stripped, as on GitHub, readers fall back to the picture.
        svg = self._repr_svg_()
        found = {"text/plain": str(self)} | ({} if svg is None else {"image/svg+xml": svg})
        if self.x.size + self.weight.size <= PAGE_NUMBERS:
            from twofold.explain.notebook import frame

            found["text/html"] = frame(self.page(), svg)
        return {kind: text for kind, text in found.items() if _wanted(kind, include, exclude)}

    # -- steps ------------------------------------------------------------------------------------------------------

    def _window_step(self, index: int) -> Step:
        check_terms(index, self.terms)
        return self._dot(index, index, rows(self.problem, index, index + 1, padding=True))

    def _gather_step(self, index: int) -> Step:
        cell = tuple(int(i) for i in np.unravel_index(index, self._out_shape))
        table = window(self.problem, cell)
        check_terms(index, len(table))
        return self._dot(index, index, table)

    def _dot(self, index: int, out: int, table: Taps) -> Step:
        terms = self._terms(table)
        focus = _places(np.array([out]), self._out_shape)[0]
        bias = None if self.operands[2] is None else self.operands[2].tolist()[focus[1]]
        values = [t.product for t in terms] + ([] if bias is None else [bias])
        result = add(values) + self._zero
        aria = words.dot_aria(words.spoken("output", focus, self._out_shape), result, terms, self._shapes, bias)
        reads = Cells("input", tuple(t.inp for t in terms if t.inp)), Cells("weight", _taps_of(terms))
        written = Cells("output", (focus,))
        channels = self._channel_sums(focus, terms)
        return Step(index, "dot", written, reads, written, terms, result, bias, channels, aria)

    def _paint_step(self, index: int) -> Step:
        check_terms(index, math.prod(self.problem.weight_shape[1:]))
        terms = self._terms(rows(self.problem, index, index + 1))
        focus = _places(np.array([index]), self.in_shape)[0]
        value: Number = self.operands[0][index : index + 1].tolist()[0]
        aria = words.scatter_aria(words.spoken("input", focus, self.in_shape), value, terms, self._shapes)
        read = Cells("input", (focus,))
        written = Cells("output", tuple(dict.fromkeys(t.out for t in terms if t.out)))
        reads = read, Cells("weight", _taps_of(terms))
        pictures = (lambda: self._painted(index), lambda: self._painter.running(index))
        return Step(index, "scatter", read, reads, written, terms, value, None, (), aria, "", *pictures)

    def _terms(self, table: Taps) -> tuple[Term, ...]:
        x, weight, _ = self.operands
        inside = table.inp >= 0
        values = x[np.where(inside, table.inp, 0)].tolist() if x.size else [self._zero] * len(table)
        places = _places(table.inp, self.in_shape) if x.size else [None] * len(table)
        taps = _places(table.weight, self.problem.weight_shape)
        outs = _places(table.out, self._out_shape)
        return tuple(
            _term(w, value, real, self._zero, inp, tap, out)
            for w, value, real, inp, tap, out in zip(
                weight[table.weight].tolist(), values, inside.tolist(), places, taps, outs, strict=True
            )
        )

    def _channel_sums(self, focus: tuple[int, ...], terms: Sequence[Term]) -> tuple[tuple[int, Number], ...]:
        layer = self.problem.geometry
        first = 0
        if self.problem.op == "conv":  # its weights count the channels within the group
            first = focus[1] // max(1, layer.coarse_channels // layer.groups) * (layer.fine_channels // layer.groups)
        sums: dict[int, list[Number]] = {}
        for t in terms:
            if t.tap:
                channel = first + t.tap[1] if self.problem.op == "conv" else t.tap[0]
                sums.setdefault(channel, []).append(t.product)
        return tuple((channel, add(values)) for channel, values in sums.items())

    # -- arrays -----------------------------------------------------------------------------------------------------

    @cached_property
    def operands(self) -> tuple[Array, Array, Array | None]:
        """Flat x and weight, and the bias, as the sums need them: Python integers where int64 could overflow."""
        return exact(self.problem, self.x.ravel(), self.weight.ravel(), self.bias)

    @cached_property
    def _painter(self) -> Painter:
        return Painter(self)

    @property
    def _zero(self) -> Number:
        return {"f": 0.0, "c": 0j}.get(self.x.dtype.kind, 0)

    @property
    def _coarse(self) -> range:
        return range(math.prod(self.problem.coarse_shape))

    @property
    def _out_shape(self) -> tuple[int, ...]:
        return self.problem.result_shape

    @property
    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        return self.in_shape, self.problem.weight_shape, self._out_shape

    def products_of(self, start: int, stop: int) -> Array:
        """Add up the products of some coarse cells: flat, and without the bias."""
        x, weight, _ = self.operands
        self.check_sum(stop - start)
        total = np.zeros(math.prod(self._out_shape), dtype=x.dtype)
        accumulate(total, walk(self.problem, start, stop), x, weight)
        return total

    def check_sum(self, coarse_cells: int) -> None:
        """Refuse to add up the products of so many coarse cells if that passes the limits."""
        check_sum(self.problem, coarse_cells, objects=self.operands[0].dtype == object)

    def _painted(self, index: int) -> Array:
        return self.shown(self.products_of(index, index + 1))

    def _with_bias(self, total: Array) -> Array:
        bias = self.operands[2]
        if bias is None:
            return total
        planes = total.reshape(self._out_shape[0], self._out_shape[1], -1)
        with np.errstate(all="ignore"):
            return np.add(planes, bias.reshape(1, -1, 1)).ravel()

    def shown(self, total: Array) -> Array:
        """Give a flat output the form of x."""
        if total.dtype == object and all(-(2**63) <= value < 2**63 for value in total.tolist()):
            total = total.astype(np.int64)
        total.flags.writeable = False
        return total.reshape(self._out_shape[self.drop :])

    def _only_transposed(self, what: str) -> None:
        if self.problem.op == "conv":
            raise UnsupportedError(f"{what} belongs to conv_transpose, not to conv", repair="explain.conv_transpose2d")


def _counts(array: Array) -> bool:
    return bool(array.dtype.kind in "if" and (array.ravel() == np.arange(1, array.size + 1)).all())


def _wanted(kind: str, include: Any, exclude: Any) -> bool:
    return (not include or kind in include) and kind not in (exclude or ())


def _term(
    weight: Number, value: Number, real: bool, zero: Number, inp: Any, tap: tuple[int, ...], out: tuple[int, ...]
) -> Term:
    if real:
        return Term(weight, value, multiply(weight, value), False, inp, tap, out)
    return Term(weight, zero, zero, True, None, tap, out)


def _places(flat: Array, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    if not flat.size:
        return []
    columns = np.unravel_index(np.maximum(flat, 0), shape)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _taps_of(terms: Sequence[Term]) -> tuple[tuple[int, ...], ...]:
    return tuple(dict.fromkeys(t.tap for t in terms if t.tap))
