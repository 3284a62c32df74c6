"""One layer as an ONNX model, for the runtimes that read that format."""

from __future__ import annotations

from itertools import chain

from twofold.bench.case import Case, guest

__all__ = ["onnx_model"]


def onnx_model(case: Case) -> bytes:
    """Return a model with input `x`, output `y` and the weight inside."""
    onnx = guest("onnx", "onnx")
    make = onnx.helper
    attributes = {
        "kernel_shape": case.problem.geometry.kernel_size,
        "strides": case.stride,
        "dilations": case.dilation,
        "pads": list(chain(*zip(*case.pads, strict=True))),  # all the befores, then all the afters
        "group": case.groups,
    }
    if case.transposed:
        attributes["output_padding"] = case.problem.output_padding
    node = make.make_node("ConvTranspose" if case.transposed else "Conv", ["x", "weight"], ["y"], **attributes)
    kind = make.np_dtype_to_tensor_dtype(case.x.dtype)
    graph = make.make_graph(
        [node],
        "layer",
        [make.make_tensor_value_info("x", kind, case.x.shape)],
        [make.make_tensor_value_info("y", kind, case.problem.result_shape)],
        [onnx.numpy_helper.from_array(case.weight, "weight")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())
