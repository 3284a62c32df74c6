"""`twofold sizes`: the sizes of a problem worked out, what it costs, and how evenly it covers its output."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twofold.cli.console import print_json, print_table, say, size_text, whole
from twofold.cli.options import problem_words

if TYPE_CHECKING:
    from twofold.geometry import Axis, Problem

__all__ = ["sizes"]

_SHOWN = 24  # solutions that are printed


def sizes(
    problem: Annotated[
        list[str],
        typer.Argument(
            metavar="PROBLEM", show_default=False, autocompletion=problem_words,
            help="The operation and its sizes, as in 'conv n1 ci3 co8 i28x28 k3x3 s2 p1': conv (the default) or "
            "conv_transpose; n batch, ci and co channels, i input, k kernel, s stride, p padding (p1:2 before and "
            "after; or same, causal), d dilation, op output_padding, o output size, g groups; f32, f16, int8, ... "
            "Or two sizes, as in '4 8', to find the layers between them, perhaps with some of k s p d op given.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object for programs.")] = False,
) -> None:  # fmt: skip
    """Work out the sizes of a layer: output, weight, multiplications, memory, overlap.

    For conv also the output_padding with which conv_transpose returns the
    size of its input. For conv_transpose also whether all outputs are made of
    equally many products; where not, a checkerboard or holes appear.

    Examples:
      twofold sizes 'conv i28x28 k3x3 s2 p1'
      twofold sizes conv_transpose ci64 co32 i14x14 k4x4 s2 p1
      twofold sizes 'conv_transpose i7 k3 s2' --json
      twofold sizes 4 8             the layers from 4 cells to 8 and back
      twofold sizes 4 k3 s2 p1      which inputs give 4
    """
    from twofold.geometry import Problem

    words = " ".join(problem).split()
    if words and words[0].lstrip("+-").isdigit():
        _solve(words, as_json)
        return
    parsed = Problem.parse(" ".join(problem))
    if as_json:
        print_json(_fields(parsed))
    else:
        print_table(_rows(parsed))


def _solve(words: list[str], as_json: bool) -> None:
    from twofold.analysis.overlap import verdict
    from twofold.analysis.sizes import KERNELS, solve
    from twofold.errors import GeometryError

    sizes_ = [word for word in words[:2] if word.lstrip("+-").isdigit()]
    if any(len(word) > 18 for word in sizes_):
        raise GeometryError(f"{max(sizes_, key=len)[:40]!r} is too large a size", repair="twofold sizes 4 8")
    known = [int(word) for word in sizes_]
    given = _given(words[len(known) :])
    coarse, fine = (min(known), max(known)) if len(known) == 2 else (*known, None)
    found = solve(coarse, fine, **given)
    names = [verdict([s.axis]).kind for s in found]
    if as_json:
        print_json({"solutions": [
            {"layer": s.name, "coarse": s.coarse, "fine": s.fine, "output_padding": s.output_padding, "overlap": kind}
            for s, kind in zip(found, names, strict=True)
        ]})  # fmt: skip
    elif not found:
        tried = "these numbers" if given else f"a kernel up to {KERNELS} and a whole stride near {fine}/{coarse}"
        raise GeometryError(f"no layer of {tried} leads between {coarse} and {fine}", repair="other numbers")
    else:
        print_table([(s.name, f"{s.coarse} -> {s.fine} -> {s.coarse}, {kind}") for s, kind in
                     zip(found[:_SHOWN], names, strict=False)])  # fmt: skip
        if len(found) > _SHOWN:
            say(f"... {len(found) - _SHOWN} more; --json lists all, and k s p d op choose among them")


def _given(words: list[str]) -> dict[str, int]:
    from twofold.errors import GeometryError

    names = {"k": "kernel_size", "s": "stride", "p": "padding", "d": "dilation", "op": "output_padding"}
    found = {}
    for word in words:
        key = word.rstrip("0123456789")
        if key not in names or not 0 < len(word) - len(key) < 19:
            raise GeometryError(f"{word[:40]!r} is none of k s p d op with a number", repair="twofold sizes 4 8 k3")
        found[names[key]] = int(word[len(key) :])
    return found


def _rows(problem: Problem) -> list[tuple[str, str]]:
    memory = _memory(problem)
    rows = [
        ("problem", _short(str(problem))),
        ("sizes", problem.sums),
        ("output", _shape(problem.result_shape, problem)),
        ("weight", f"{_tuple(problem.weight_shape)}  {_weight_axes(problem)}"),
        ("multiplications", whole(problem.multiplications)),
        ("memory", ", ".join(f"{name} {size_text(size)}" for name, size in memory.items())),
    ]
    if problem.op == "conv_transpose":
        rows.append(("overlap", "\n".join(f"{name}: {overlap_text(axis)}" for name, axis in _axes(problem))))
    if problem.op == "conv":
        way_back = problem.adjoint()
        rows.append(
            ("way back", f"output_padding {_tuple(way_back.output_padding)} returns {_tuple(problem.in_size)}:")
        )
        rows.append(("", _short(str(way_back))))
    return rows


def _fields(problem: Problem) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "problem": str(problem),
        "sums": dict(line.split(": ", 1) for line in problem.sums.split("\n")),
        "input_size": problem.in_size,
        "output_size": problem.out_size,
        "output_shape": problem.result_shape,
        "weight_shape": problem.weight_shape,
        "multiplications": problem.multiplications,
        "bytes": _memory(problem),
    }
    if problem.op == "conv_transpose":
        fields["output_padding"] = problem.output_padding
        fields["overlap"] = {
            name: {"even": axis.is_even, "holes": axis.has_holes, "products": axis.products}
            for name, axis in _axes(problem)
        }
    if problem.op == "conv":
        way_back = problem.adjoint()
        fields["way_back"] = {"output_padding": way_back.output_padding, "problem": str(way_back)}
    return fields


def overlap_text(axis: Axis) -> str:
    """Say in a sentence how many products the inner cells of a transposed convolution are made of.

    >>> from twofold.geometry import Axis
    >>> print(overlap_text(Axis(3, stride=2)))
    uneven, a checkerboard: inner cells are made of 1 to 2 products; try a kernel size of 2 or 4
    >>> print(overlap_text(Axis(4, stride=2)))
    even: every inner cell is made of 2 products
    """
    low, high = axis.products
    if axis.is_even:
        return f"even: every inner cell is made of {high} product{'s' if high != 1 else ''}"
    fitting = " or ".join(map(whole, axis.even_kernel_sizes))
    if axis.has_holes and not fitting:
        repair = f"try a dilation that shares no factor with stride {whole(axis.stride)}"
        return f"holes: some cells get no product, others {whole(high)}; {repair}"
    if axis.has_holes:
        return f"holes: some cells get no product, others {whole(high)}; try a kernel size of {fitting}"
    return (
        f"uneven, a checkerboard: inner cells are made of {whole(low)} to {whole(high)} products; "
        f"try a kernel size of {fitting}"
    )


def _memory(problem: Problem) -> dict[str, int]:
    cell = _item_size(problem.dtype)
    shapes = {"input": problem.fine_shape, "weight": problem.weight_shape, "output": problem.coarse_shape}
    if problem.op == "conv_transpose":
        shapes = {"input": problem.coarse_shape, "weight": problem.weight_shape, "output": problem.fine_shape}
    if problem.op == "conv_weight_gradient":
        shapes = {"input": problem.fine_shape, "grad_y": problem.coarse_shape, "output": problem.weight_shape}
    # Integers are summed and returned in 64 bits.
    whole_numbers = problem.dtype == "bool" or "int" in problem.dtype
    return {
        name: math.prod(shape) * (8 if whole_numbers and name == "output" else cell) for name, shape in shapes.items()
    }


def _item_size(dtype: str) -> int:
    bits = "".join(letter for letter in dtype if letter.isdigit())
    return int(bits) // 8 if bits else 1  # bool


def _axes(problem: Problem) -> list[tuple[str, Axis]]:
    from twofold.geometry import axis_name

    return [(axis_name(i, problem.rank), axis) for i, axis in enumerate(problem.geometry.axes)]


def _shape(shape: tuple[int, ...], problem: Problem) -> str:
    names = "as the weight" if problem.op == "conv_weight_gradient" else "(batch, channels, *size)"
    return f"{_tuple(shape)}  {names}"


def _weight_axes(problem: Problem) -> str:
    return "(in, out / groups, *kernel)" if problem.op == "conv_transpose" else "(out, in / groups, *kernel)"


def _tuple(numbers: tuple[int, ...]) -> str:
    return "(" + ", ".join(str(number) if number < 10**21 else whole(number) for number in numbers) + ")"


def _short(text: str) -> str:
    return text if len(text) <= 400 else text[:397] + "..."
