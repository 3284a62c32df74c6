"""Train the tiny autoencoder of the image view, and write it with the sample photograph into assets.json.

    python web/train.py          half a minute on one core; needs torch and the package itself

One encoder, 64 -> 32 -> 16 cells a side, and four decoders that learn together to undo it: transposed convolutions with
kernels of 3 and of 4, resize and convolution, and pixel shuffle. They see drawings made here and pieces of the
photograph that comes with the package (CC0), so the numbers are ours. Three digits of each weight are kept: what the
page computes from them is what Python computes from them.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from twofold import files

HERE = Path(__file__).parent
PHOTO = HERE.parent / "src" / "twofold" / "assets" / "chelsea.png"
SIDE, WIDTH, STEPS, BATCH = 64, 6, 900, 24


class Coder(nn.Module):
    """The encoder and its four decoders; each layer's name is its name in the page."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({
            "encoder-1": nn.Conv2d(1, WIDTH, 3, stride=2, padding=1),
            "encoder-2": nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1),
            "k3-1": nn.ConvTranspose2d(WIDTH, WIDTH, 3, stride=2, padding=1, output_padding=1),
            "k3-2": nn.ConvTranspose2d(WIDTH, 1, 3, stride=2, padding=1, output_padding=1),
            "k4-1": nn.ConvTranspose2d(WIDTH, WIDTH, 4, stride=2, padding=1),
            "k4-2": nn.ConvTranspose2d(WIDTH, 1, 4, stride=2, padding=1),
            "resize-1": nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            "resize-2": nn.Conv2d(WIDTH, 1, 3, padding=1),
            "shuffle-1": nn.Conv2d(WIDTH, WIDTH * 4, 3, padding=1),
            "shuffle-2": nn.Conv2d(WIDTH, 4, 3, padding=1),
        })  # fmt: skip

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return what each decoder makes of the code of x."""
        run = self.layers
        code = functional.relu(run["encoder-2"](functional.relu(run["encoder-1"](x))))
        plain = [run[f"{name}-2"](functional.relu(run[f"{name}-1"](code))) for name in ("k3", "k4")]
        middle = functional.relu(run["resize-1"](functional.interpolate(code, scale_factor=2)))
        resized = run["resize-2"](functional.interpolate(middle, scale_factor=2))
        middle = functional.relu(functional.pixel_shuffle(run["shuffle-1"](code), 2))
        return [*plain, resized, functional.pixel_shuffle(run["shuffle-2"](middle), 2)]


def photograph() -> np.ndarray:
    """The photograph in grey, from 0 to 1."""
    picture = files.read_array(PHOTO).astype(np.float64) / 255
    return picture @ [0.299, 0.587, 0.114]


def drawing(rng: np.random.Generator) -> np.ndarray:
    """Bars, discs, slopes and rings, from 0 to 1."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    angle, shift = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5)
    across = x * np.cos(angle) + y * np.sin(angle) + shift
    kind = rng.integers(4)
    if kind == 0:
        return (across > 0.5).astype(float)
    if kind == 1:
        return 0.5 + 0.5 * np.sin(across * rng.uniform(5, 60))
    if kind == 2:
        cx, cy, r = rng.uniform(0.2, 0.8, 3)
        return (np.hypot(x - cx, y - cy) < r / 2).astype(float)
    return np.clip(across, 0, 1)


def batch(rng: np.random.Generator, photo: np.ndarray) -> torch.Tensor:
    """Half drawings, half pieces of the photograph at different scales."""
    found = []
    for i in range(BATCH):
        if i % 2:
            found.append(drawing(rng))
            continue
        step = int(rng.integers(1, 5))
        top, left = rng.integers(photo.shape[0] - SIDE * step + 1), rng.integers(photo.shape[1] - SIDE * step + 1)
        found.append(photo[top : top + SIDE * step : step, left : left + SIDE * step : step])
    return torch.tensor(np.stack(found)[:, None], dtype=torch.float32)


def main() -> None:
    """Train, and write."""
    torch.manual_seed(0)
    rng, photo, coder = np.random.default_rng(0), photograph(), Coder()
    optimiser = torch.optim.Adam(coder.parameters(), lr=4e-3)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for step in range(STEPS):
        x = batch(rng, photo)
        losses = [functional.mse_loss(y, x) for y in coder(x)]
        optimiser.zero_grad()
        sum(losses).backward()
        optimiser.step()
        plan.step()
        if step % 150 == 149:
            print(step + 1, *(f"{loss.item():.4f}" for loss in losses))

    def kept(values: torch.Tensor) -> list[float]:
        return [round(value, 3) for value in values.detach().flatten().tolist()]

    layers = {
        name: {"shape": list(layer.weight.shape), "weight": kept(layer.weight), "bias": kept(layer.bias)}
        for name, layer in coder.layers.items()
    }
    cut = photo[20 : 20 + 4 * SIDE, 110 : 110 + 4 * SIDE].reshape(SIDE, 4, SIDE, 4).mean((1, 3))
    grey = base64.b64encode(np.rint(cut * 255).astype(np.uint8).tobytes()).decode()
    text = json.dumps({"photo": {"side": SIDE, "grey": grey}, "coder": layers}, separators=(",", ":"))
    (HERE / "assets.json").write_text(text + "\n", encoding="utf-8")
    print(len(text), "bytes")


if __name__ == "__main__":
    main()
