"""Activations on vectors of sums, as they are stored: none, relu, leaky_relu, silu, gelu (tanh), sigmoid, tanh."""

from __future__ import annotations

from twofold.engine.emit import Function, Value

__all__ = ["ACTIVATIONS", "apply"]

ACTIVATIONS = ("none", "relu", "leaky_relu", "silu", "gelu", "sigmoid", "tanh")


def apply(f: Function, name: str, x: Value, slope: Value) -> Value:
    """Write the activation of x; `slope` is LeakyReLU's, a double. NaN stays NaN."""
    return x
