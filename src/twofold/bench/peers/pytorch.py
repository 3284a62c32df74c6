"""PyTorch: eager in both memory formats, and compiled by inductor with its weights frozen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twofold.bench.case import Array, Cannot, Case, Prepared, guest

__all__ = ["prepare"]

_FORMATS = {2: "channels_last", 3: "channels_last_3d"}


def prepare(case: Case) -> Prepared:
    """Prepare `torch` or `torch-compile`, `-cl` of them in channels_last."""
    torch = guest("torch", "torch")
    torch.set_num_threads(case.threads)
    memory_format = _memory_format(torch, case)
    compiled = "compile" in case.variant

    def tensor(array: Array) -> Any:
        return torch.from_numpy(array).contiguous(memory_format=memory_format)

    x, weight = tensor(case.x), tensor(case.weight)
    layer = _layer(torch, case, weight)
    if compiled:
        torch._dynamo.reset()
    if case.grad_y is None:
        return Prepared(_forward(torch, layer, x, compiled), lambda y: (y.numpy(),))
    call = torch.compile(layer, dynamic=False) if compiled else layer
    x, grad_y = x.requires_grad_(), tensor(case.grad_y)

    def step() -> tuple[Any, Any, Any]:
        y = call(x)
        return (y, *torch.autograd.grad(y, (x, layer.weight), grad_y))

    return Prepared(step, lambda result: tuple(part.detach().numpy() for part in result))


def _memory_format(torch: Any, case: Case) -> Any:
    if not case.variant.endswith("-cl"):
        return torch.contiguous_format
    if case.problem.rank not in _FORMATS:
        raise Cannot(f"has no channels_last for {case.problem.rank} spatial axis")
    return getattr(torch, _FORMATS[case.problem.rank])


def _layer(torch: Any, case: Case, weight: Any) -> Any:
    # A module of torch, not a function: inductor freezes the weights of modules only.
    if case.problem.rank > 3:
        raise Cannot("has no more than 3 spatial axes")
    kind = f"Conv{'Transpose' if case.transposed else ''}{case.problem.rank}d"
    extra = {"output_padding": case.problem.output_padding} if case.transposed else {}
    layer = getattr(torch.nn, kind)(
        case.problem.in_channels,
        case.problem.out_channels,
        case.problem.geometry.kernel_size,
        stride=case.stride,
        padding=case.symmetric_pads(),
        dilation=case.dilation,
        groups=case.groups,
        bias=False,
        device="meta",
        **extra,
    )
    layer.weight = torch.nn.Parameter(weight, requires_grad=case.grad_y is not None)
    return layer.train(case.grad_y is not None)


def _forward(torch: Any, layer: Any, x: Any, compiled: bool) -> Callable[[], Any]:
    if compiled:
        guest("torch._inductor.config", "torch").freezing = True
        layer = torch.compile(layer, dynamic=False)

    def forward() -> Any:
        with torch.inference_mode() if not compiled else torch.no_grad():  # freezing knows no inference mode
            return layer(x)

    return forward
