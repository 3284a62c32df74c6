"""Draw the pictures that the pages show: python docs/pictures/make.py. A test holds them to what the code draws."""

from pathlib import Path

import twofold as tf


def draw(folder: Path) -> None:
    """Write every picture into `folder`."""
    cells = [[0, 1], [2, 3]]
    tf.explain.conv_transpose2d(cells, cells).save(folder / "conv_transpose.svg")
    shown = {
        "crop": tf.explain.problem("conv_transpose i2x2 k3x3 s2 p1 op1"),
        "zero-insert": tf.explain.problem("conv_transpose i2x2 k3x3 s2").view(tab="zero-insert"),
        "phases": tf.explain.problem("conv_transpose i2x2 k3x3 s2").view("phases"),
        "overlap": tf.explain.problem("conv_transpose i3x3 k3x3 s2").view("overlap"),
        "matrix": tf.explain.problem("conv i3x3 k2x2").view("matrix"),
    }
    for name, trace in shown.items():
        trace.save(folder / f"{name}.svg")


if __name__ == "__main__":
    draw(Path(__file__).parent)
