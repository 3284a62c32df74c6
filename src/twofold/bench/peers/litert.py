"""LiteRT (TensorFlow Lite) with XNNPACK: TensorFlow converts the model, the interpreter runs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from twofold.bench.case import Cannot, Case, Prepared, guest
from twofold.bench.peers.tensorflow import Spelled, operation

__all__ = ["prepare"]


def prepare(case: Case) -> Prepared:
    """Prepare `litert`."""
    runtime = guest("ai_edge_litert.interpreter", "ai-edge-litert tensorflow")
    tf = guest("tensorflow", "ai-edge-litert tensorflow")
    case.forward_only()
    if case.problem.dtype != "float32":
        raise Cannot("computes in float32 only")
    spelled = Spelled(case)
    layer, weight, x = operation(tf, spelled), spelled.weight(case.weight), spelled.laid(case.x)
    function = tf.function(
        lambda image: layer(image, tf.constant(weight)), input_signature=[tf.TensorSpec(x.shape, tf.float32)]
    ).get_concrete_function()
    model = tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
    interpreter = runtime.Interpreter(model_content=model, num_threads=case.threads)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    read: Any = interpreter.tensor(interpreter.get_output_details()[0]["index"])

    def call() -> Any:
        interpreter.invoke()
        return read

    return Prepared(call, lambda output: (spelled.first(np.array(output())),))
