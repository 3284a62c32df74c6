"""The golden files of this directory: what they are, and how they are made anew.

    python tests/golden/make.py          writes all of them; then look at the difference before you commit it
    python tests/golden/make.py --random 200 --seed 7 -o FILE        writes drawn problems for the page, see `draw`

`tests/explain/test_explain_text.py` and `test_figure.py` compare: texts, JSON and SVG byte by byte, PNG and GIF pixel
by pixel, since the bytes of a compressed file depend on the zlib that made it. `problems.json` is what the page must
equal byte by byte: traces, and what the views say.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for `draw`, which lies beside this script

import draw

from twofold import explain
from twofold.explain import Trace
from twofold.explain.animation import to_gif
from twofold.explain.figure import frames
from twofold.explain.raster import to_png
from twofold.explain.svg import to_svg

HERE = Path(__file__).parent
NAN = float("nan")


def traces() -> dict[str, Trace]:
    """The traces, by the name of their files."""
    return {
        "conv": explain.conv2d([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 2], [3, 4]]),
        "conv-padding": explain.problem("conv i3x3 k2x2 p1"),
        "conv-reflect": explain.problem("conv i4 k3 p2 reflect", bias=[-1]),
        "conv-channels": explain.problem("conv ci4 co2 g2 i2x3 k2x2 flip"),
        "conv-3d": explain.problem("conv i2x3x3 k2x2x2"),
        "conv-long": explain.problem("conv i20x20 k4x4 s2"),
        "transposed": explain.conv_transpose2d([[0, 1], [2, 3]], [[0, 1], [2, 3]]),
        "transposed-crop": explain.problem("conv_transpose i2x2 k3x3 s2 p1 op1", bias=[0.5]),
        "transposed-holes": explain.problem("conv_transpose i3 k3 s2 d2 op1", x=[1.25, -3, NAN]),
        "transposed-channels": explain.problem("conv_transpose ci2 co2 i1x2 k2x2"),
        "transposed-gather": explain.problem("conv_transpose i2x2 k2x2", weight="digits").view(tab="gather"),
    }


def texts() -> dict[str, str]:
    """File name and content of what is compared byte by byte."""
    found = {}
    for name, trace in traces().items():
        found[f"{name}.txt"] = trace.text() + "\n"
        found[f"{name}.json"] = trace.to_json() + "\n"
    for name, step in STEPS.items():
        found[f"{name}.svg"] = to_svg(traces()[name].scene(step))
    return found


STEPS = {
    "conv": 2,
    "conv-padding": 0,
    "conv-channels": 3,
    "transposed": None,
    "transposed-crop": 2,
    "transposed-holes": 2,
}


def pictures() -> dict[str, bytes]:
    """File name and content of what is compared pixel by pixel."""
    known = traces()
    return {
        "conv-padding.png": to_png(known["conv-padding"].scene(5), scale=1),
        "transposed.png": to_png(known["transposed"].scene(), scale=1),
        "transposed-crop.gif": to_gif(frames(known["transposed-crop"])),
    }


SEED, DRAWN = 5, 270


def problems() -> str:
    """The problems that the page must agree on."""
    return draw.entries(SEED, DRAWN, worked=True)


def main() -> None:
    """Write the files that the command line asks for."""
    parser = argparse.ArgumentParser(description="Write the golden files, or drawn problems for the page.")
    parser.add_argument("--random", type=int, metavar="N", help="write N drawn problems instead, to FILE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE")
    given = parser.parse_args()
    if given.random is not None:
        text = draw.entries(given.seed, given.random, worked=False)
        if given.output is None:
            sys.stdout.write(text)
        else:
            given.output.write_text(text, encoding="utf-8")
        return
    for name, text in texts().items():
        (HERE / name).write_bytes(text.encode())
    for name, data in pictures().items():
        (HERE / name).write_bytes(data)
    (HERE / "problems.json").write_bytes(problems().encode())


if __name__ == "__main__":
    main()
