"""OpenVINO on the CPU in float32; its request keeps the output's memory from call to call, as it does for its users."""

from __future__ import annotations

from typing import Any

import numpy as np

from twofold.bench.case import Cannot, Case, Prepared, guest

__all__ = ["prepare"]


def prepare(case: Case) -> Prepared:
    """Prepare `openvino`."""
    ov = guest("openvino", "openvino")
    ops = guest("openvino.opset13", "openvino")
    case.forward_only()
    if case.problem.dtype != "float32":
        raise Cannot("computes in float32 only")
    x = ops.parameter(case.x.shape, case.x.dtype, name="x")
    before, after = ([pair[side] for pair in case.pads] for side in (0, 1))
    weight: Any = case.weight
    if case.groups > 1:
        weight = weight.reshape(case.groups, -1, *weight.shape[1:])
    kind = ("group_" if case.groups > 1 else "") + "convolution" + ("_backprop_data" if case.transposed else "")
    sizes: dict[str, Any] = {
        "strides": list(case.stride),
        "pads_begin": before,
        "pads_end": after,
        "dilations": list(case.dilation),
    }
    if case.transposed:
        sizes["output_padding"] = list(case.problem.output_padding)
    layer = getattr(ops, kind)(x, ops.constant(np.ascontiguousarray(weight)), **sizes)
    config = {
        "INFERENCE_PRECISION_HINT": "f32",  # its own choice is bf16 where the processor has it
        "INFERENCE_NUM_THREADS": case.threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    request = ov.Core().compile_model(ov.Model([layer], [x]), "CPU", config).create_infer_request()
    request.set_input_tensor(ov.Tensor(case.x, shared_memory=True))
    return Prepared(lambda: request.infer(share_outputs=True), lambda result: (np.array(result[0]),))
