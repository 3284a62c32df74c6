"""ncnn: one layer as a .param and .bin file. It has no batch axis, so images follow each other, as its users do it."""

from __future__ import annotations

from typing import Any

import numpy as np

from twofold.bench.case import Array, Cannot, Case, Prepared, guest

__all__ = ["prepare"]

# Parameter numbers by axis name, from ncnn's operator documentation: kernel, dilation, stride, pads, output padding.
_NUMBERS = {
    "width": {"k": 1, "d": 2, "s": 3, "before": 4, "after": 15, "op": 18},
    "height": {"k": 11, "d": 12, "s": 13, "before": 14, "after": 16, "op": 19},
    "depth": {"k": 21, "d": 22, "s": 23, "before": 24, "after": 17, "op": 20},
}


def prepare(case: Case) -> Prepared:
    """Prepare `ncnn`."""
    ncnn = guest("ncnn", "ncnn")
    case.forward_only()
    if case.problem.dtype != "float32" or case.problem.rank > 3:
        raise Cannot("computes float32 with at most 3 spatial axes only")
    net = ncnn.Net()
    net.opt.num_threads = case.threads
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    param, weights = case.folder / "ncnn.param", case.folder / "ncnn.bin"
    param.write_text(f"7767517\n2 2\nInput in 0 1 x\n{_layer(case)}\n")
    weights.write_bytes(bytes(4) + _weight(case).tobytes())  # four zero bytes: float32 follows
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise Cannot("does not load the layer")
    images = [ncnn.Mat(np.ascontiguousarray(image)).clone() for image in case.x]

    def call() -> list[Any]:
        outputs = []
        for image in images:
            extractor = net.create_extractor()
            extractor.input("x", image)
            outputs.append(extractor.extract("y")[1])
        return outputs

    return Prepared(call, lambda outputs: (np.stack([np.array(y) for y in outputs]),))


def _layer(case: Case) -> str:
    rank, problem = case.problem.rank, case.problem
    kind = ("Deconvolution" if case.transposed else "Convolution") + ("DepthWise" if case.groups > 1 else "")
    fields = {0: problem.out_channels, 5: 0, 6: case.weight.size}
    if case.groups > 1:
        fields[7] = case.groups
    for i, name in enumerate(("depth", "height", "width")[3 - rank :]):
        axis, numbers = problem.geometry.axes[i], _NUMBERS[name]
        fields |= {numbers["k"]: axis.kernel_size, numbers["d"]: axis.dilation, numbers["s"]: axis.stride}
        fields |= {numbers["before"]: axis.pad_before, numbers["after"]: axis.pad_after}
        if case.transposed:
            fields[numbers["op"]] = problem.output_padding[i]
    words = " ".join(f"{key}={value}" for key, value in sorted(fields.items()))
    return f"{kind}{'' if rank == 2 else f'{rank}D'} layer 1 1 x y {words}"


def _weight(case: Case) -> Array:
    # (groups, out / groups, in / groups, *kernel_size) for both operations.
    weight = case.weight
    if case.transposed:
        weight = weight.reshape(case.groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(weight, np.float32)
