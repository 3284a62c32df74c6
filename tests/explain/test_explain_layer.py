"""Real layers: with all channels and the whole input the trace is the layer's output; parts are parts of it."""

from __future__ import annotations

import pytest
import torch

from twofold import explain
from twofold.errors import GeometryError, UnsupportedError

torch.manual_seed(0)


@pytest.mark.parametrize("module", [
    torch.nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2),
    torch.nn.Conv2d(2, 3, (3, 2), padding="same", dilation=(1, 2)),
    torch.nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect", bias=False),
    torch.nn.Conv3d(2, 2, 2),
    torch.nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
    torch.nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1),
    torch.nn.ConvTranspose3d(1, 2, 2, stride=2, dilation=2),
])  # fmt: skip
def test_the_whole_layer(module):
    rank = module.weight.ndim - 2
    x = torch.randn(2, module.in_channels, *(7, 6, 5)[:rank])
    width = module.in_channels // module.groups
    for channel in range(module.out_channels):
        first = channel // (module.out_channels // module.groups) * width
        trace = explain.layer(module, x, channel=channel, channels=range(first, first + width), sample=1)
        y = module(x).detach()[1, channel]
        assert torch.allclose(torch.tensor(trace.y).reshape(y.shape), y.double(), atol=1e-5)
        assert trace.steps[0].text


def test_a_window_and_a_channel_of_a_large_layer():
    module = torch.nn.Conv2d(64, 128, 3, bias=False)
    x = torch.randn(1, 64, 56, 56)
    trace = explain.layer(module, x, channel=100, channels=[5, 60], window=[slice(10, 15), (20, 24)])
    weight, part = module.weight.detach()[100:101, [5, 60]], x[:, [5, 60], 10:15, 20:24]
    y = torch.nn.functional.conv2d(part.double(), weight.double())
    assert torch.allclose(torch.tensor(trace.y).reshape(y.shape), y)
    assert explain.layer(module, x).problem.in_size == (12, 12) and explain.layer(module, x).problem.in_channels == 4
    assert explain.layer(module, x[0]).problem.batch == 1


def test_what_is_derived_from_a_layer_and_kernels_larger_than_the_window():
    plain = torch.nn.Conv2d(2, 2, 15, dilation=2)
    normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.ConvTranspose1d(2, 2, 3))
    assert type(normed).__name__ != "ConvTranspose1d"
    assert explain.layer(normed, torch.ones(1, 2, 4)).problem.op == "conv_transpose"
    assert explain.layer(plain, torch.ones(1, 2, 60, 60), channels=1).problem.in_size == (31, 31)


class Quantised(torch.nn.Conv2d):
    """Like torch's own quantised layers: a method where the weight was."""

    def __init__(self):
        torch.nn.Module.__init__(self)
        self.weight = lambda: None


@pytest.mark.parametrize("call, kind, words", [
    (lambda m, x: explain.layer(torch.nn.Linear(2, 2), x), UnsupportedError, "no convolution layer"),
    (lambda m, x: explain.layer(torch.nn.LazyConv2d(3, 3), x), UnsupportedError, "no weight before its first call"),
    (lambda m, x: explain.layer(Quantised(), x), UnsupportedError, "as a quantised layer does not"),
    (lambda m, x: explain.layer(m, x, channel="a"), GeometryError, "no channel 'a'"),
    (lambda m, x: explain.layer(m, x, window=[3, 4]), GeometryError, "for each axis, not 3"),
    (lambda m, x: explain.layer(m, x, window=[(0, 1.5), (0, 3)]), GeometryError, "whole numbers"),
    (lambda m, x: explain.layer(m, x, window=[slice(0, 8, 2)] * 2), GeometryError, "not slice"),
    (lambda m, x: explain.layer(m, x[0, 0]), GeometryError, "the layer takes"),
    (lambda m, x: explain.layer(m, x[:, :1]), GeometryError, "the layer takes"),
    (lambda m, x: explain.layer(m, x, channel=6), GeometryError, "no channel 6"),
    (lambda m, x: explain.layer(m, x, sample=1), GeometryError, "no sample 1"),
    (lambda m, x: explain.layer(m, x, channels=[3]), GeometryError, "meets the input channels 0 to 1"),
    (lambda m, x: explain.layer(m, x, channels=[]), GeometryError, "meets the input channels"),
    (lambda m, x: explain.layer(m, x, window=[slice(0, 2)]), GeometryError, "window has 1 axes"),
    (lambda m, x: explain.layer(m, x, window=[(9, 9), (0, 3)]), GeometryError, "leaves nothing"),
    (lambda m, x: explain.layer(m, x, window=[(0, 2), (0, 2)]), GeometryError, "kernel does not fit"),
])  # fmt: skip
def test_what_is_not_there_is_refused(call, kind, words):
    module = torch.nn.Conv2d(4, 6, 3, groups=2)
    with pytest.raises(kind, match=words):
        call(module, torch.zeros(1, 4, 8, 8))
