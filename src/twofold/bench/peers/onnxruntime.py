"""ONNX Runtime: a session that has the weight prepacked; inputs are bound, outputs are fresh."""

from __future__ import annotations

from twofold.bench.case import Case, Prepared, guest
from twofold.bench.onnx_model import onnx_model

__all__ = ["prepare"]


def prepare(case: Case) -> Prepared:
    """Prepare `onnxruntime`."""
    ort = guest("onnxruntime", "onnxruntime onnx")
    case.forward_only()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = case.threads, 1
    session = ort.InferenceSession(onnx_model(case), options, providers=["CPUExecutionProvider"])
    inputs = {"x": ort.OrtValue.ortvalue_from_numpy(case.x)}
    return Prepared(lambda: session.run_with_ort_values(["y"], inputs), lambda result: (result[0].numpy(),))
