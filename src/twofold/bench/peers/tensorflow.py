"""TensorFlow, channels last; a sequence is an image of one row. `operation` also makes the model that LiteRT reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from twofold.bench.case import Array, Cannot, Case, Prepared, guest
from twofold.geometry import Problem

__all__ = ["Spelled", "operation", "prepare"]


class Spelled:
    """A case in TensorFlow's words: at least two spatial axes, channels last, weights as TensorFlow has them."""

    def __init__(self, case: Case) -> None:
        rank, problem = case.problem.rank, case.problem
        if rank > 3:
            raise Cannot("has no more than 3 spatial axes")
        self.case = case
        self.row = rank == 1  # one more axis, of size 1
        self.stride = (1,) * self.row + case.stride
        self.dilation = (1,) * self.row + case.dilation
        self.pads = ((0, 0),) * self.row + case.pads
        self.out_size = (1,) * self.row + problem.out_size
        self.depthwise = case.groups > 1 and case.groups == problem.in_channels and not case.transposed
        self.same = _is_same(problem)
        if case.transposed and case.groups > 1:
            raise Cannot("has no grouped transposed convolution")
        if case.transposed and max(case.dilation) > 1:
            raise Cannot("has no dilated transposed convolution on the CPU")

    def laid(self, array: Array) -> Array:
        """Return an input or gradient channels last."""
        wide = np.expand_dims(array, 2) if self.row else array
        return np.ascontiguousarray(np.moveaxis(wide, 1, -1))

    def first(self, array: Any) -> Array:
        """Return an output channels first."""
        narrow = np.moveaxis(np.asarray(array), -1, 1)
        return narrow[:, :, 0] if self.row else narrow

    def weight(self, array: Array) -> Array:
        """Return the weight with its kernel axes first: (*kernel, in / groups, out), transposed (*kernel, out, in)."""
        wide = np.expand_dims(array, 2) if self.row else array
        w = np.moveaxis(wide, (0, 1), (-1, -2))
        if self.depthwise:  # (*kernel, channels, multiplier)
            return np.ascontiguousarray(w.reshape(*w.shape[:-2], self.case.groups, -1))
        return np.ascontiguousarray(w)

    def torch_weight(self, array: Any) -> Array:
        """Return a gradient of the weight as torch has it."""
        w = np.asarray(array)
        if self.depthwise:
            w = w.reshape(*w.shape[:-2], 1, -1)
        w = np.moveaxis(w, (-1, -2), (0, 1))
        return w[:, :, 0] if self.row else w


def prepare(case: Case) -> Prepared:
    """Prepare `tensorflow`."""
    tf = guest("tensorflow", "tensorflow")
    tf.config.threading.set_intra_op_parallelism_threads(case.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    spelled = Spelled(case)
    layer = operation(tf, spelled)
    x, weight = tf.constant(spelled.laid(case.x)), tf.constant(spelled.weight(case.weight))
    if case.grad_y is None:
        run = tf.function(layer)
        return Prepared(lambda: run(x, weight), lambda y: (spelled.first(y),))
    grad_y = tf.constant(spelled.laid(case.grad_y))

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow comes without types
    def step(x: Any, weight: Any, grad_y: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch((x, weight))
            y = layer(x, weight)
        return (y, *tape.gradient(y, (x, weight), grad_y))

    def arrays(result: Any) -> tuple[Array, ...]:
        return spelled.first(result[0]), spelled.first(result[1]), spelled.torch_weight(result[2])

    return Prepared(lambda: step(x, weight, grad_y), arrays)


def operation(tf: Any, spelled: Spelled) -> Callable[[Any, Any], Any]:
    """Return the layer as a function of x and weight."""
    return _transposed(tf, spelled) if spelled.case.transposed else _conv(tf, spelled)


def _conv(tf: Any, spelled: Spelled) -> Callable[[Any, Any], Any]:
    word = "SAME" if spelled.same else "VALID"
    pads = [[0, 0], *map(list, spelled.pads), [0, 0]]
    strides = [1, *spelled.stride, 1]

    def run(x: Any, weight: Any) -> Any:
        if not spelled.same and any(map(any, pads)):
            x = tf.pad(x, pads)
        if spelled.depthwise:
            return tf.nn.depthwise_conv2d(x, weight, strides, word, dilations=spelled.dilation)
        function = tf.nn.conv2d if len(spelled.stride) == 2 else tf.nn.conv3d
        return function(x, weight, strides, word, dilations=[1, *spelled.dilation, 1])

    return run


def _transposed(tf: Any, spelled: Spelled) -> Callable[[Any, Any], Any]:
    # What no word of TensorFlow says is computed whole and cropped.
    word = "SAME" if spelled.same else "VALID"
    channels, batch = spelled.case.problem.out_channels, spelled.case.problem.batch
    befores = [0 if spelled.same else before for before, _ in spelled.pads]
    rank = spelled.case.problem.rank
    kernel = (1,) * spelled.row + spelled.case.problem.geometry.kernel_size
    in_size = (1,) * spelled.row + spelled.case.problem.in_size
    full = [(n - 1) * s + k for n, s, k in zip(in_size, spelled.stride, kernel, strict=True)]
    need = [before + out for before, out in zip(befores, spelled.out_size, strict=True)]
    # A VALID output may be longer than the canvas by less than the stride, and no other.
    if not spelled.same and any(n >= f + s for n, f, s in zip(need, full, spelled.stride, strict=True)):
        raise Cannot("has no output padding of this size")
    size = spelled.out_size if spelled.same else tuple(map(max, full, need))
    function = tf.nn.conv3d_transpose if rank == 3 else tf.nn.conv2d_transpose

    def run(x: Any, weight: Any) -> Any:
        y = function(x, weight, [batch, *size, channels], list(spelled.stride), word)
        return (
            y
            if tuple(size) == tuple(spelled.out_size)
            else tf.slice(y, [0, *befores, 0], [batch, *spelled.out_size, channels])
        )

    return run


def _is_same(problem: Problem) -> bool:
    # TensorFlow's 'SAME' is ours; geometry knows what it pads.
    axes = problem.geometry.axes
    same = Problem.of(
        problem.op,
        problem.in_size,
        problem.geometry.kernel_size,
        stride=[axis.stride for axis in axes],
        dilation=[axis.dilation for axis in axes],
        padding="same",
    )
    return same.geometry.axes == axes and same.out_size == problem.out_size
