"""Draw the pictures that the pages show: python docs/pictures/make.py. A test holds them to what the code draws."""

from pathlib import Path

import twofold as tf


def draw(folder: Path) -> None:
    """Write every picture into `folder`."""
    cells = [[0, 1], [2, 3]]
    tf.explain.conv_transpose2d(cells, cells).save(folder / "conv_transpose.svg")


if __name__ == "__main__":
    draw(Path(__file__).parent)
