"""The views as pictures: every one is drawn, every step is a frame, and the gallery is whole."""

from __future__ import annotations

import io
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twofold import explain
from twofold.errors import GeometryError
from twofold.explain.legend import NAMES, with_legend
from twofold.explain.raster import pixels, to_png
from twofold.explain.scene import Line, Pixmap, Rect, Scene, Text
from twofold.explain.svg import to_svg
from twofold.explain.views import TABS, VIEWS

ROOT = Path(__file__).parents[2]
A = explain.conv2d([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 2], [3, 4]])
PROBLEMS = [
    "conv i3x3 k2x2", "conv i5 k3 s2 p1 reflect", "conv ci4 co2 g2 i2x3 k2x2 flip", "conv i2x3x3 k2x2x2", "conv i60 k3",
    "conv_transpose i2x2 k3x3 s2 p1 op1", "conv_transpose ci2 co2 i3 k2 s3", "conv_transpose i2x2x2 k2 s2",
    "conv_transpose i30x30 k3 s2", "conv_transpose i4 k3 s2; conv_transpose k3 s2", "conv n2 i3x3 k2x2",
]  # fmt: skip


def words_of(scene: Scene) -> str:
    return "\n".join(item.text for item in scene.items if isinstance(item, Text))


@pytest.mark.parametrize("text", PROBLEMS)
def test_every_view_is_drawn_still_and_at_a_step(text):
    trace = explain.problem(text)
    for view in VIEWS:
        if view == ("transposed" if trace.problem.op == "conv" else "filter"):
            continue
        for tab in TABS.get(view, (None,)):
            seen = trace.view(view, tab)
            scenes = [seen.scene(), *([seen.scene(len(seen.steps) - 1)] if len(seen.steps) else [])]
            for scene in scenes:
                assert scene.description and scene.width < 2200 and words_of(scene)
                assert all(item.x + 0.5 * item.size < scene.width for item in scene.items if isinstance(item, Text))
            assert to_svg(scenes[-1]).startswith("<svg")


STEPPING = [
    ("conv i3x3 k2x2", "matrix", None),
    ("conv_transpose i2x2 k3x3 s2", "phases", None),
    ("conv i3x3 k2x2", "gradient", "input"),
    ("conv i3x3 k2x2", "gradient", "weight"),
    ("conv_transpose i3 k3 s2", "transposed", "zero-insert"),
    ("conv i5 k3", "field", None),
]


@pytest.mark.parametrize("text, view, tab", STEPPING)
def test_an_animation_has_a_frame_per_step_and_the_same_bytes_each_time(tmp_path, text, view, tab):
    trace = explain.problem(text).view(view, tab)
    for suffix in ("gif", "apng"):
        data = []
        for name in "ab":
            trace.save(tmp_path / f"{name}.{suffix}", seconds=0.1)
            data.append((tmp_path / f"{name}.{suffix}").read_bytes())
        assert data[0] == data[1]
        with Image.open(io.BytesIO(data[0])) as image:
            assert image.n_frames == len(trace.steps)


@pytest.mark.parametrize(
    "text, view, tab, suffix",
    [
        ("conv i5x5 k3x3", "filter", None, "apng"),
        ("conv i5x5 k3x3 p1", "filter", None, "gif"),
        ("conv i5x5 k3x3", "matrix", "transpose", "gif"),
        ("conv_transpose i5x5 k3x3", "transposed", "zero-insert", "gif"),
        ("conv_transpose i5x5 k3x3 s2", "transposed", "paint", "gif"),
    ],
)
def test_5x5_k3_is_small(tmp_path, text, view, tab, suffix):
    trace = explain.problem(text).view(view, tab)
    trace.save(tmp_path / f"a.{suffix}")
    assert (tmp_path / f"a.{suffix}").stat().st_size <= 120_000
    with Image.open(tmp_path / f"a.{suffix}") as image:
        assert image.n_frames == len(trace.steps) and image.width > 300


def test_the_focus_of_a_step_is_outlined_and_its_row_is_marked():
    scene = explain.problem("conv i3x3 k2x2").view("matrix").scene(2)
    outlined = [item for item in scene.items if isinstance(item, Rect) and item.stroke_width == 3]
    marked = [item for item in scene.items if isinstance(item, Rect) and item.stroke_width == 2]
    assert len(outlined) == 1 and len(marked) == 8  # four weights of the row, and the four inputs they meet


def test_pictures_call_things_by_their_names():
    matrix = words_of(A.view("matrix").scene(1))
    assert "x00" in matrix and "y11" in matrix and "output (0,1):" in matrix
    gradient = words_of(A.view("gradient").scene(4))
    assert "dL/dy 2x2" in gradient and "dL/dx 3x3" in gradient and "dL/dx (1,1):" in gradient
    weights = words_of(explain.problem("conv ci2 co2 i3x3 k2x2").view("gradient", "weight").scene(5))
    assert "dL/dw 0,1" in weights and "dL/dw 0,1 (0,1):" in weights and "batch" not in weights
    deep = explain.problem("conv_transpose i2x2x2 k2x2x2 s2").view("phases")
    assert "Of each array the first plane is drawn." in words_of(deep.scene())
    field = explain.problem("conv i6x6x6 k3; k2 s2").view("field")
    assert "input, depth 2 to 5" in words_of(field.scene())
    assert "conv n1 ci1 co1 i5 k2 f32" not in words_of(explain.problem("conv i6 k2; k2").view("matrix").scene())


def test_without_the_turn_what_differs_is_red():
    scene = explain.problem("conv_transpose i2x2 k3x3 s2").view("transposed", "zero-insert").scene()
    red = [item for item in scene.items if isinstance(item, Rect) and item.fill == "#f8c9c0"]
    assert len(red) == 20 and "output without the turn: not equal" in words_of(scene)  # of 25, five are right by chance


def test_a_legend_is_below_all_frames_alike():
    scenes = with_legend([Scene(300, 100, "t", "d"), Scene(500, 90, "t", "d")], NAMES)
    assert {(s.width, s.height) for s in scenes} == {(500, scenes[0].height)} and scenes[0].height > 100
    assert scenes[0].items == scenes[1].items
    assert [i.text for i in scenes[0].items if isinstance(i, Text)][:2] == ["input", "weight"]
    frames = explain.problem("conv i3 k2").view("filter")
    assert "this step" not in words_of(frames.scene(0))


# -- pictures of pictures ----------------------------------------------------------------------------------------------


def test_a_pixmap_is_drawn_square_by_square_in_both_renderers():
    colours = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10
    scene = Scene(40, 30, "t", "d", [Pixmap(5, 5, 30, 20, 3, colours.tobytes()), Line(0, 0, 1, 1)])
    for scale in (1, 2):
        drawn = pixels(scene, scale)
        for r, c in np.ndindex(2, 3):
            x, y = round((5 + 10 * c + 5) * scale), round((5 + 10 * r + 5) * scale)
            assert (drawn[y, x] == colours[r, c]).all()
        assert (drawn[0, -1] == 255).all()
    coded = re.search(r'href="data:image/png;base64,([^"]*)"', to_svg(scene))[1]
    with Image.open(io.BytesIO(__import__("base64").b64decode(coded))) as image:
        assert (np.asarray(image) == colours).all()
    with pytest.raises(GeometryError, match="no rows of 2 cells"):
        Pixmap(0, 0, 1, 1, 2, b"123")


def test_the_image_view_shows_a_map_per_kernel_on_one_scale():
    picture = np.zeros((16, 16))
    picture[:, 8:] = 10.0
    scene = explain.conv2d(picture, [[0.0, 1.0], [0.0, 0.0]]).view("image").scene()
    maps = [item for item in scene.items if isinstance(item, Pixmap)]
    assert len(maps) == 8 and maps[0].columns == 16
    assert "from" not in words_of(scene) and "orange 40" in words_of(scene)
    sobel = np.frombuffer(maps[1].data, np.uint8).reshape(16, 16, 3)
    assert sobel[8, 7, 2] < 50 and (sobel[8, 3] == 255).all()
    odd = explain.conv2d([[np.nan, 1.0], [np.inf, 2.0]], [[1.0]]).view("image")
    assert to_png(odd.scene(), scale=1)


# -- the gallery -------------------------------------------------------------------------------------------------------


def test_the_gallery_draws_every_figure(tmp_path):
    module = runpy.run_path(str(ROOT / "docs/pictures/gallery.py"))
    written = module["draw"](tmp_path, quick=True)
    assert sorted(written) == sorted(path.name for path in tmp_path.iterdir())
    assert len(written) == len(module["FIGURES"]) + 1 and len({f.name for f in module["FIGURES"]}) == len(written) - 1
    page = (tmp_path / "index.html").read_text()
    assert all(f'src="{name}"' in page for name in written if name.endswith(".svg"))
