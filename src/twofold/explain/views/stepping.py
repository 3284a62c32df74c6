"""The two operations step by step: the sliding window; and painting, gathering and inserted zeros."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from twofold.explain.description import Description, Table, axis_text, planes
from twofold.explain.relatives import edges, same, stretched
from twofold.explain.text import canvas_text, fold_text, size_text
from twofold.explain.texts import say

if TYPE_CHECKING:
    from twofold.explain.arithmetic import Array
    from twofold.explain.steps import Step
    from twofold.explain.trace import Trace

__all__ = ["describe", "options", "steps_of"]

PARTS = 16  # input cells whose paintings are written out


def steps_of(trace: Trace, tab: str | None) -> Sequence[Step]:
    """Return the steps of a tab."""
    if tab == "zero-insert":
        return stretched(trace).steps
    return trace.gathered if tab == "gather" else trace.view(tab=tab).steps


def describe(trace: Trace, view: str, tab: str | None, step: int | None, steps: Sequence[Step]) -> Description:
    """Describe the operation's own view."""
    why = [*_first(trace, tab), *options(trace), *size_text(trace).split("\n")]
    tables: list[Table] = []
    if tab == "zero-insert":
        tables, more = _zero_tables(trace)
        why += more
    elif tab is not None:
        why += [*canvas_text(trace), *fold_text(trace), say("why.inverse")]
        tables = _parts(trace) + _canvas(trace) if tab == "paint" else []
    else:
        why += fold_text(trace)
    if trace.withheld:
        why.append(say("why.withheld", reason=trace.withheld))
    chosen = None if step is None else steps[step]
    formula, aria = ("", "") if chosen is None else (chosen.text, chosen.aria)
    title = say(f"title.{tab or view}")
    return Description(view, tab, title, tuple(why), len(steps), step, formula, aria, tuple(tables))


def options(trace: Trace) -> list[str]:
    """Say what each option that is in use does."""
    problem, layer = trace.problem, trace.problem.geometry
    transposed = problem.op == "conv_transpose"
    found = []
    if any(axis.stride > 1 for axis in layer.axes):
        key = "why.stride.transposed" if transposed else "why.stride"
        found.append(say(key, stride=_per_axis([axis.stride for axis in layer.axes])))
    if any(axis.dilation > 1 for axis in layer.axes):
        found.append(say("why.dilation", dilation=_per_axis([axis.dilation for axis in layer.axes])))
    padded = any(axis.pad_before or axis.pad_after > 0 for axis in layer.axes)
    if padded and not transposed and problem.padding_mode == "zeros":
        pads = [f"{a.pad_before}" + (f":{a.pad_after}" if a.pad_after != a.pad_before else "") for a in layer.axes]
        found.append(say("why.padding", padding=_per_axis(pads)))
    width = problem.in_channels // layer.groups
    if layer.groups > 1:
        found.append(say("why.channels.grouped", width, groups=layer.groups, channels=width))
    elif width > 1:
        found.append(say("why.channels", channels=width))
    if problem.flip:
        found.append(say("why.flip"))
    return [*found, say("why.bias")] if trace.bias is not None else found


def _first(trace: Trace, tab: str | None) -> list[str]:
    if tab != "zero-insert":
        return [say(f"why.{tab or 'filter'}")]
    strides = [axis.stride - 1 for axis in trace.problem.geometry.axes]
    found = [say("why.zero-insert.none")]
    if any(strides):
        found = [say("why.zero-insert", max(strides) if len(set(strides)) == 1 else None, zeros=_per_axis(strides))]
    sides, names = edges(trace.problem), [axis_text(i, trace.problem.rank) for i in range(trace.problem.rank)]
    if len(set(sides)) == 1:
        sides, names = sides[:1], [" x ".join(names)]
    for (before, after), name in zip(sides, names, strict=True):
        found.append(say("why.zero-insert.edges", axis=name, before=before, after=after))
    return found


def _zero_tables(trace: Trace) -> tuple[list[Table], list[str]]:
    turned = stretched(trace)
    wrong = stretched(trace, turned=False)
    problem = turned.problem
    tables, why = planes("stretched", say("zero.stretched"), turned.x.reshape(turned.in_shape), _zero_flags(trace))
    weights, _ = planes("turned", say("zero.turned"), turned.weight.reshape(problem.weight_shape), weight=True)
    tables += weights
    if turned.withheld:
        return tables, why
    for name, key, found in (("zero-insert", "zero.output", turned), ("unturned", "zero.unturned", wrong)):
        tables += planes(name, say(key), found.y.reshape(problem.result_shape))[0]
    mode = trace.problem.padding_mode
    if same(turned.y, trace.y):
        equal = say("why.zero-insert.equal")
    else:
        equal = say("why.zero-insert.differs") if mode == "zeros" else say("why.zero-insert.folded", mode=mode)
    verdict = "why.zero-insert.same" if same(wrong.y, trace.y) else "why.zero-insert.unequal"
    return tables, [*why, equal, say(verdict)]


def _zero_flags(trace: Trace) -> Array:
    # "z" for zeros between input cells, "p" for those around them.
    turned, problem = stretched(trace), trace.problem
    spans = [axis.span(axis.kernel_size - 1, coarse, size)[1] for axis, coarse, size in zip(
        problem.geometry.axes, problem.coarse_size, turned.problem.in_size, strict=True
    )]  # fmt: skip
    flags = np.full(turned.in_shape, "p")
    flags[:, :, *(slice(span.start, span.stop) for span in spans)] = "z"
    flags[:, :, *spans] = "."
    return flags


def _parts(trace: Trace) -> list[Table]:
    # What each input cell paints, in the coordinates of the output, if there are few and of one channel.
    problem = trace.problem
    single = problem.batch == problem.in_channels == problem.out_channels == 1
    if not single or problem.rank > 2 or len(trace.intermediates) > PARTS or trace.withheld:
        return []
    found: list[Table] = []
    for index, array in enumerate(trace.intermediates):
        cell = [int(i) for i in np.unravel_index(index, problem.in_size)]
        name = "-".join(["part", *(["0"] if problem.rank == 1 else []), *map(str, cell)])
        touched = np.full(math.prod(problem.result_shape), "o")
        for out in trace.view(tab="paint").steps[index].writes.cells:
            touched[np.ravel_multi_index(out, problem.result_shape)] = "."
        caption = f"{number_times(trace, index)}*K"
        found += planes(name, caption, array.reshape(problem.result_shape), touched.reshape(problem.result_shape))[0]
    return found


def number_times(trace: Trace, index: int) -> str:
    """Write the input cell that multiplies the kernel."""
    from twofold.explain.numbers import term

    return term(trace.x.ravel()[index : index + 1].tolist()[0])


def _canvas(trace: Trace) -> list[Table]:
    # The whole canvas before the crop, with what is cropped and what is added beyond it.
    problem = trace.problem
    if trace.withheld or not canvas_text(trace):
        return []
    whole = trace.uncropped
    before = [axis.before for axis in trace.canvas]
    added = [max(-axis.after, 0) for axis in trace.canvas]
    shape = tuple(size + more for size, more in zip(whole.problem.out_size, added, strict=True))
    values = np.zeros((*whole.problem.result_shape[:2], *shape), dtype=whole.y.dtype)
    flags = np.full(values.shape, "n")
    inner = tuple(slice(0, size) for size in whole.problem.out_size)
    values[:, :, *inner] = whole.y.reshape(whole.problem.result_shape)
    flags[:, :, *inner] = "x"
    kept = tuple(slice(b, b + n) for b, n in zip(before, problem.out_size, strict=True))
    part = flags[:, :, *kept]
    part[part == "x"] = "."
    return planes("canvas", say("page.canvas"), values, flags)[0]


def _per_axis(values: Sequence[object]) -> str:
    texts = [str(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)
