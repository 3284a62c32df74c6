"""MNN: an ONNX model through its converter, then a module in high precision.

Its largest Winograd tiles lose more precision than `verdict` lets pass; `mnn-small-tiles` is MNN without them.
Not a session, which may overwrite its own input while it runs.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np

from twofold.bench.case import Array, Cannot, Case, Prepared, guest
from twofold.bench.onnx_model import onnx_model

__all__ = ["prepare"]


def prepare(case: Case) -> Prepared:
    """Prepare `mnn` or `mnn-small-tiles`."""
    guest("MNN", "MNN onnx")
    case.forward_only()
    if case.problem.dtype != "float32":
        raise Cannot("computes in float32 only")
    source, target = case.folder / f"{case.variant}.onnx", case.folder / f"{case.variant}.mnn"
    source.write_bytes(onnx_model(case))
    words = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "bench"]
    done = subprocess.run([sys.executable, "-m", "MNN.tools.mnnconvert", *words], capture_output=True, text=True)
    if not target.exists():
        raise Cannot(f"its converter refuses the layer: {(done.stderr or done.stdout).strip()[-200:]}")
    nn, expr = guest("MNN.nn", "MNN onnx"), guest("MNN.expr", "MNN onnx")
    config = {"backend": 0, "numThread": case.threads, "precision": "high"}  # backend 0 is the CPU
    runtime = nn.create_runtime_manager((config,))
    if case.variant == "mnn-small-tiles":
        runtime.set_hint(3, 1)  # WINOGRAD_MEMORY_LEVEL
    module = nn.load_module_from_file(str(target), ["x"], ["y"], runtime_manager=runtime)
    x = expr.const(case.x, list(case.x.shape), expr.NCHW)

    def arrays(result: Any) -> tuple[Array, ...]:
        return (np.array(result[0].read(), np.float32).reshape(case.problem.result_shape),)

    return Prepared(lambda: module.forward([x]), arrays)
