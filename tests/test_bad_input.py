"""Every public function, every parameter, many wrong values: an exact result, or a refusal that names the parameter."""

from __future__ import annotations

import numpy as np
import pytest

import oracles
import twofold
from strategies import Case


class Opaque:
    """An object that is no number, array or word."""

    def __repr__(self):
        return "<Opaque>"


class Hostile:
    """An object that fails at whatever it is asked."""

    def __repr__(self):
        raise RuntimeError("no repr")

    def __index__(self):
        raise RuntimeError("no index")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


HUGE = 2**70
VALUES = {
    "zero": 0,
    "one": 1,
    "two": 2,
    "negative": -1,
    "float": 1.5,
    "whole float": 2.0,
    "nan": float("nan"),
    "infinity": float("inf"),
    "bool": True,
    "NumPy bool": np.True_,
    "string": "two",
    "bytes": b"2",
    "None": None,
    "wrong length": (1, 1, 1, 1, 1),
    "empty tuple": (),
    "ragged list": [[1], [2, 3]],
    "float in a tuple": (1, 1.5),
    "huge": HUGE,
    "huge negative": -HUGE,
    "more digits than Python prints": 10**5000,
    "complex": 1j,
    "object": Opaque(),
    "hostile object": Hostile(),
    "dict": {"a": 1},
    "set": {1, 2},
    "iterator": iter([1, 1]),
    "function": len,
    "type": int,
    "array": np.array([1.5, 2]),
    "object array": np.array([None, 1]),
}

OPTIONS = ["dilation", "flip", "groups", "layout", "out", "out_dtype", "padding", "padding_mode", "stride"]
SIZES = ["output_padding", "output_size"]
FUNCTIONS = {
    "conv": ["x", "weight", "bias", *OPTIONS],
    "conv_transpose": ["x", "weight", "bias", *OPTIONS, *SIZES],
    **{f"conv{rank}d": ["input", "weight", "bias", *OPTIONS] for rank in (1, 2, 3)},
    **{f"conv_transpose{rank}d": ["input", "weight", "bias", *OPTIONS, *SIZES] for rank in (1, 2, 3)},
    "conv_weight_gradient": ["x", "grad_y", "kernel_size", *OPTIONS],
    "vjp": ["operation", "x", "weight", "bias", *OPTIONS],
}


def rank_of(function: str) -> int:
    return int(function[-2]) if function.endswith("d") else 2


def arguments_of(function: str) -> dict:
    """A legal call with two groups and four channels on both sides."""
    rank = rank_of(function)
    shapes = ((2, 4, *(5, 4, 3)[:rank]), (4, 2, *(3, 2, 2)[:rank]), (4,))
    x, weight, bias = (np.arange(float(np.prod(shape))).reshape(shape) % 7 - 3 for shape in shapes)
    if function == "conv_weight_gradient":
        return {"x": x, "grad_y": np.ones((2, 4, 3, 3)), "kernel_size": (3, 2), "groups": 2}
    first = "input" if function.endswith("d") else "x"
    arguments = {first: x, "weight": weight, "bias": bias, "groups": 2}
    return {"operation": twofold.conv, **arguments} if function == "vjp" else arguments


def called(function: str, arguments: dict):
    result = getattr(twofold, function)(**arguments)
    return result[0] if function == "vjp" else result


def expected(function: str, arguments: dict) -> np.ndarray:
    """What the oracles make of the same call, where the wrong value turned out to be a right one."""
    rank = rank_of(function)

    def per_axis(name: str, default: int) -> tuple[int, ...]:
        value = arguments.get(name, default)
        return tuple(value) if isinstance(value, tuple) else (value,) * rank

    # A stride beyond the image is as good as any other; torch's integers end at 2**63.
    pairs = {name: tuple(min(n, 99) for n in per_axis(name, 1)) for name in ("stride", "dilation")}
    padding = tuple((p, p) for p in per_axis("padding", 0))
    options = {**pairs, "padding": padding, "groups": arguments.get("groups", 1), "flip": arguments.get("flip", False)}
    x = arguments.get("x", arguments.get("input"))
    if function == "conv_weight_gradient":
        case = Case(
            "conv", x.shape[2:], (3, 2), *pairs.values(), padding, (0, 0), 2, 4, 4, options["groups"], options["flip"]
        )
        return oracles.brute_weight_gradient(case, x, arguments["grad_y"]).astype(float)
    if "transpose" not in function:
        return oracles.torch_conv(x, arguments["weight"], arguments["bias"], **options).numpy()
    extra = per_axis("output_padding", 0)
    if arguments.get("output_size") is not None:
        extra = tuple(n - m for n, m in zip(per_axis("output_size", 0), (7, 5, 4), strict=False))
    return oracles.torch_conv_transpose(
        x, arguments["weight"], arguments["bias"], output_padding=extra, **options
    ).numpy()


TABLE = [(function, parameter) for function, parameters in FUNCTIONS.items() for parameter in parameters]

# Right by themselves, but not together with the rest of the call: the message may name the other parameter.
RIGHT_ALONE = {("groups", "one"), ("groups", "two"), ("kernel_size", "one"), ("kernel_size", "two"), ("stride", "two")}


@pytest.mark.parametrize(("function", "parameter"), TABLE)
def test_a_wrong_value_is_an_exact_result_or_a_refusal_that_names_the_parameter(function, parameter):
    for name, value in VALUES.items():
        arguments = arguments_of(function) | {parameter: value}
        if name == "iterator":
            arguments[parameter] = iter([1, 1])
        try:
            y = called(function, arguments)
        except (twofold.GeometryError, twofold.UnsupportedError) as error:
            check_message(error, function, parameter, name, value)
        else:
            check_result(y, function, arguments, parameter, name)


def check_message(error, function, parameter, name, value):
    named = f"{function}, {parameter} = {name}: {error}"
    assert error.repair, f"no repair: {named}"
    assert len(str(error)) < 2500, named
    if (parameter, name) in RIGHT_ALONE:
        return
    word = {"input": "x", "output_size": "output"}.get(parameter, parameter)
    # Either the rule names the parameter, or the line that writes the call shows it with its value.
    assert word in error.rule or f"{word}=" in str(error.call), named
    is_option = parameter not in ("x", "input", "weight", "bias", "grad_y", "operation", "out")
    if is_option and isinstance(value, float | str):
        assert repr(value) in str(error), f"the value is not shown: {named}"


def check_result(y, function, arguments, parameter, name):
    named = f"{function}, {parameter} = {name}"
    if arguments[parameter] is None:  # as if it had not been given
        assert parameter in ("bias", "out", "out_dtype", "output_size"), named
    elif parameter == "out_dtype":
        assert name == "type" and y.dtype == np.int64, named  # `int` is one of NumPy's spellings
    want = expected(function, arguments)
    assert y.shape == want.shape, named
    assert (y == want).all(), named


@pytest.mark.parametrize("name", ["conv", "conv_transpose"])
def test_two_wrong_arrays_are_refused_too(name):
    for x, weight in [(None, None), ([], []), ((), 3), ("x", "w"), (np.ones(()), np.ones(())), ({}, {})]:
        with pytest.raises((twofold.GeometryError, twofold.UnsupportedError)):
            getattr(twofold, name)(x, weight)


def test_rank_is_not_limited_but_by_numpy():
    for rank in (4, 5, 9):
        x = np.ones((1, 1, *[2] * rank))
        assert twofold.conv(x, x).item() == 2**rank
        assert twofold.conv_transpose(x, x).sum() == 4**rank
