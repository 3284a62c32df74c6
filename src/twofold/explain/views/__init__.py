"""The views of the explainer: each is a function from a trace to a `Description`, which all renderers read.

filter       the sliding window                         conv
transposed   paint, gather, zero-insert                 conv_transpose
matrix       the operation as a matrix; transpose       field      receptive, projective: through a chain of layers
phases       what the stride parts                      image      a picture through kernels
overlap      how many products land where               gradient   input, weight
sizes        the size as a sum, solved for the rest
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twofold.analysis.chain import Chain
from twofold.errors import GeometryError
from twofold.explain.description import Description
from twofold.explain.steps import check_step
from twofold.explain.views import derived, field, sizes, stepping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twofold.explain.steps import Step
    from twofold.explain.trace import Trace

__all__ = ["TABS", "VIEWS", "describe", "description", "named", "player"]

VIEWS = ("filter", "transposed", "matrix", "phases", "overlap", "sizes", "field", "image", "gradient")
TABS: dict[str, tuple[str, ...]] = {
    "transposed": ("paint", "gather", "zero-insert"),
    "matrix": ("plain", "transpose"),
    "field": ("receptive", "projective"),
    "gradient": ("input", "weight"),
}


def named(op: str, view: str | None = None, tab: str | None = None) -> tuple[str, str | None]:
    """Return the names of a view and of its tab, the first of them where none is asked for.

    raises  GeometryError for a name that is none, or a view that the operation has not

    >>> named("conv"), named("conv_transpose"), named("conv", "matrix", "transpose")
    (('filter', None), ('transposed', 'paint'), ('matrix', 'transpose'))
    """
    own = "filter" if op == "conv" else "transposed"
    view = view or own
    if view not in VIEWS or view in ({"filter", "transposed"} - {own}):
        known = ", ".join(name for name in VIEWS if name not in {"filter", "transposed"} - {own})
        raise GeometryError(f"{op} has no view {str(view)[:40]!r}, but {known}", repair=f"view={own!r}")
    tabs = TABS.get(view, ())
    if tab is not None and tab not in tabs:
        repair = f"tab={tabs[-1]!r}" if tabs else "no tab"
        raise GeometryError(f"the view {view!r} has no tab {str(tab)[:40]!r}", repair=repair)
    return view, tab or (tabs[0] if tabs else None)


def description(
    trace: Trace, view: str | None = None, tab: str | None = None, step: int | None = None, chain: Chain | None = None
) -> Description:
    """Describe one view of a trace, perhaps at one of its steps.

    step    counted from 0; for the field it is the cell, counted row by row, and the middle one if it is not given
    chain   the layers of which the trace shows the first: for overlap and field

    >>> from twofold import explain
    >>> found = description(explain.problem("conv_transpose i4 k3 s2"), "overlap")
    >>> found["overlap"].rows[0], found.why[1][:34]
    (('1', '1', '2', '1', '2', '1', '2', '1', '1'), 'uneven: 3 is not a multiple of 2; ')
    """
    view, tab = named(trace.problem.op, view, tab)
    chain = chain or trace.chain or Chain((trace.problem,))
    if view == "field":
        return field.describe(trace, tab or "receptive", step, chain)
    steps = player(trace, view, tab)
    if step is not None:
        step = check_step(len(steps), step)
    if view in ("filter", "transposed"):
        return stepping.describe(trace, view, tab, step, steps)
    makers = {"matrix": derived.matrix_view, "phases": derived.phases_view, "gradient": derived.gradient_view}
    if view in makers:
        return makers[view](trace, tab, step, steps)
    if view == "overlap":
        return derived.overlap_view(trace, chain)
    return sizes.describe(trace) if view == "sizes" else derived.image_view(trace)


def describe(
    trace: Trace, view: str | None = None, tab: str | None = None, step: int | None = None, chain: Chain | None = None
) -> dict[str, Any]:
    """Describe a view as plain data; see `description`, whose fields are its keys.

    >>> from twofold import explain
    >>> describe(explain.conv1d([1, 2, 3], [1, 10]), step=0)["formula"]
    '1*1 + 10*2 = 1 + 20 = 21'
    """
    return description(trace, view, tab, step, chain).as_dict()


def player(trace: Trace, view: str | None = None, tab: str | None = None) -> Sequence[Step]:
    """Return the steps that a view can play; none where it stands still.

    >>> from twofold import explain
    >>> len(player(explain.problem("conv_transpose i2x2 k2x2"), tab="gather"))
    9
    """
    view, tab = named(trace.problem.op, view, tab)
    if view in ("filter", "transposed"):
        return stepping.steps_of(trace, tab)
    if view == "field":
        return field.steps_of(trace, tab or "receptive", trace.chain or Chain((trace.problem,)))
    makers = {"matrix": derived.matrix_steps, "phases": derived.phase_steps, "gradient": derived.gradient_steps}
    return makers[view](trace, tab) if view in makers else ()
