"""Pictures of traces: golden SVG and pixels, frame counts, sizes, and that nothing overlaps or is cut off."""

from __future__ import annotations

import importlib.util
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from strategies import cases, few
from twofold import explain
from twofold.errors import FileError, GeometryError
from twofold.explain import figure, screen
from twofold.explain.animation import to_apng, to_gif
from twofold.explain.figure import FRAMES, frames, overview, step_scene
from twofold.explain.glyphs import ASCENT, DESCENT, text_width
from twofold.explain.panels import formula_box
from twofold.explain.scene import Line, Rect, Text

GOLDEN = Path(__file__).parent.parent / "golden"
_spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


def pixels(data: bytes) -> list[np.ndarray]:
    image = Image.open(io.BytesIO(data))
    found = []
    for index in range(image.n_frames):
        image.seek(index)
        found.append(np.asarray(image.convert("RGB")))
    return found


def traced(case):
    function = explain.conv if case.op == "conv" else explain.conv_transpose
    return function(*case.arrays, **case.options)


@pytest.mark.parametrize("name", ["conv-padding.png", "transposed.png", "transposed-crop.gif"])
def test_pictures_have_the_golden_pixels(name):
    got, expected = pixels(make.pictures()[name]), pixels((GOLDEN / name).read_bytes())
    assert len(got) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


# -- what is drawn ----------------------------------------------------------------------------------------------------


def corners(item) -> tuple[float, float, float, float]:
    if isinstance(item, Rect):
        grow = item.stroke_width / 2 if item.stroke else 0
        return item.x - grow, item.y - grow, item.x + item.w + grow, item.y + item.h + grow
    if isinstance(item, Line):
        grow = item.width / 2
        xs, ys = sorted((item.x0, item.x1)), sorted((item.y0, item.y1))
        return xs[0] - grow, ys[0] - grow, xs[1] + grow, ys[1] + grow
    width = text_width(item.text, item.size)
    left = item.x - {"start": 0, "middle": width / 2, "end": width}[item.anchor]
    return left, item.y - ASCENT * item.size, left + width, item.y + DESCENT * item.size


@given(cases())
@few(40)
def test_nothing_is_cut_off_and_no_texts_overlap(case):
    trace = traced(case)
    for scene in (overview(trace), step_scene(trace, case.seed % len(trace.steps))):
        boxes = [corners(item) for item in scene.items]
        assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= scene.width and b[3] <= scene.height for b in boxes)
        texts = [corners(item) for item in scene.items if isinstance(item, Text)]
        for a, b in itertools.combinations(texts, 2):
            assert not (min(a[2], b[2]) - max(a[0], b[0]) > 0.5 and min(a[3], b[3]) - max(a[1], b[1]) > 0.5)


@pytest.mark.parametrize(
    "text",
    [
        "conv i200x200 k5x5 p2", "conv i3x3x3 k2x2x2 p1", "conv ci9 co9 i3x3 k2x2", "conv_transpose i300 k5 s3",
        "conv_transpose ci2 co8 i9x9 k3x3 s2 p1", "conv_transpose i20x20x20 k3x3x3", "conv i2x2x2x2 k1x2x1x2",
        "conv i4 k1 n3", "conv_transpose i4x4 k5x5 s3 p2 op1", "conv i20x20 k18x18", "conv_transpose i2x2 k2x2 s2 p1",
    ],
)  # fmt: skip
def test_large_and_odd_problems_are_drawn_in_part_and_whole_inside(text):
    trace = explain.problem(text)
    steps = {0, len(trace.steps) // 2, len(trace.steps) - 1}
    for scene in [overview(trace), *(step_scene(trace, step) for step in steps)]:
        boxes = [corners(item) for item in scene.items]
        assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= scene.width and b[3] <= scene.height for b in boxes)
        assert len(scene.items) < 8000 and scene.width < 2500
        if max(trace.problem.out_size) > 12:
            assert any(isinstance(i, Text) and i.text.startswith("only ") for i in scene.items)


def words_of(scene) -> list[str]:
    return [item.text for item in scene.items if isinstance(item, Text)]


def test_the_focus_is_in_sight_and_outlined_in_every_step():
    trace = explain.problem("conv i40x40 k5x5 s3")
    for index in range(0, len(trace.steps), 7):
        scene = step_scene(trace, index)
        assert sum(1 for i in scene.items if isinstance(i, Rect) and i.stroke_width == 3) == 1
        assert sum(1 for i in scene.items if isinstance(i, Rect) and i.stroke_width == 2) == 25


def test_a_step_shows_its_number_formula_and_padding():
    scene = step_scene(explain.problem("conv i3x3 k2x2 p1"), 0)
    words = words_of(scene)
    assert "step 1/16" in words and "1*0 + 2*0 + 3*0 + 4*1 = 0 + 0 + 0 + 4 = 4" in words
    assert sum(1 for i in scene.items if isinstance(i, Rect) and i.pattern == "hatch") == 16
    assert scene.description.endswith("1*0 + 2*0 + 3*0 + 4*1 = 0 + 0 + 0 + 4 = 4")


def test_the_canvas_shows_what_is_cropped_and_what_nobody_paints():
    crop = step_scene(explain.problem("conv_transpose i2x2 k3x3 s2 p1 op1"), 3)
    assert sum(1 for i in crop.items if isinstance(i, Line) and i.dash) == 8  # a frame round paints and sum
    assert any("crop 1 at the start" in text for text in words_of(crop))
    grown = step_scene(explain.problem("conv_transpose i2x2 k3x3 s2 op1"), 0)
    assert sum(1 for i in grown.items if isinstance(i, Rect) and i.pattern == "hatch") == 2 * 11
    holes = step_scene(explain.problem("conv_transpose i3 k3 s2 d2"), 2)
    assert sum(1 for i in holes.items if isinstance(i, Line) and i.dash) == 2 * 4


def test_grids_are_titled_with_their_batch():
    dot = words_of(step_scene(explain.problem("conv n2 i4 k2"), 4))
    assert "input 4, batch 1" in dot and "output 3, batch 1" in dot
    painted = words_of(step_scene(explain.problem("conv_transpose n2 ci2 co2 i2x2 k2x2"), 9))
    assert "input channel 0, batch 1" in painted and "sum channel 1, batch 1" in painted
    assert not any("batch" in word for word in words_of(step_scene(explain.problem("conv i4 k2"), 0)))


def test_depth_slices_stand_in_rows_that_wrap():
    for text in ("conv ci2 co2 i5x6x6 k2x2x2 p1", "conv_transpose ci2 co2 i3x6x6 k2x2x2 s2"):
        scene = step_scene(explain.problem(text), 3)
        assert scene.height < 1.3 * scene.width and scene.width < 2000
        tops = [item.y for item in scene.items if isinstance(item, Text) and item.text == "depth 0"]
        assert len(set(tops)) < len(tops)  # input and weight beside each other
    deep = step_scene(explain.problem("conv i9x9x9x9 k2x2x2x2"), 0)
    assert deep.width < 2000 and len({i.y for i in deep.items if isinstance(i, Text) and "depth" in i.text}) > 4


def test_the_overview_of_a_transposed_convolution_is_the_sum_of_its_parts():
    words = words_of(overview(explain.conv_transpose2d([[1, -2], [3, 4]], [[1, 2], [3, 4]])))
    assert [w for w in words if w.endswith("*K")] == ["1*K", "(-2)*K", "3*K", "4*K"] and words.count("+") == 3
    for too_much in ("conv_transpose i5x5 k2x2", "conv_transpose i4x4 k3x3 s6", "conv_transpose ci2 i2x2 k2x2"):
        assert not any(w.endswith("*K") for w in words_of(overview(explain.problem(too_much))))


def test_outputs_to_come_are_blank():
    words = words_of(step_scene(explain.conv2d(np.arange(1, 10).reshape(3, 3), [[1, 2], [3, 4]]), 1))
    assert "37" in words and "47" in words and "67" not in words and "77" not in words


def test_formulas_break_at_equals_signs_and_lose_nothing():
    formula = explain.problem("conv i3x3 k3x3").steps[0].text
    items = formula_box("output (0,0):", [formula], 330).draw(0, 0)
    lines = [item.text for item in items[1:]]
    assert len(lines) > 2 and " ".join(line.strip() for line in lines) == formula
    assert all(text_width(line, 14) <= 330 for line in lines)


# -- files ------------------------------------------------------------------------------------------------------------


def test_an_animation_has_a_frame_per_step_and_the_same_bytes_twice(tmp_path):
    trace = explain.problem("conv i5x5 k3x3")
    for suffix in ("gif", "apng"):
        first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
        trace.save(first)
        trace.save(second)
        assert first.read_bytes() == second.read_bytes()
        with Image.open(first) as image:
            assert image.n_frames == len(trace.steps) == 9
    assert (tmp_path / "a.gif").stat().st_size <= 120_000
    assert trace.save(tmp_path / "c.gif", steps=[8, 0], seconds=0.1) == "2 frames: chosen from 9 steps"
    with Image.open(tmp_path / "c.gif") as image:
        assert image.n_frames == 2


def test_frames_are_of_one_size_and_at_most_256():
    trace = explain.problem("conv_transpose i289 k1")
    scenes = frames(trace)
    assert len(scenes) == FRAMES < len(trace.steps)
    assert {(scene.width, scene.height) for scene in scenes} == {(scenes[0].width, scenes[0].height)}
    assert "step 256 of 289" in words_of(scenes[-1])


def test_saving_says_what_the_file_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(figure, "FRAMES", 4)
    trace = explain.problem("conv i1100 k1")
    held = {suffix: trace.save(tmp_path / f"x.{suffix}") for suffix in ("gif", "svg", "txt", "json")}
    assert held == {
        "gif": "4 frames: the first 4 of 1100 steps",
        "svg": "the overview",
        "txt": "1100 steps",
        "json": "1024 steps: the first 1024 of 1100 steps",
    }
    assert trace.save(tmp_path / "x.png", step=-1) == "step 1099 of 1100"
    assert explain.conv1d([1], [1]).save(tmp_path / "y.gif") == "1 frame"


def test_an_animation_paints_only_what_moves(monkeypatch):
    painted, paint = [], screen.paint
    monkeypatch.setattr(screen, "paint", lambda canvas, items, *a, **b: paint(canvas, note(list(items)), *a, **b))

    def note(items):
        painted.append(len(items))
        return items

    scenes = frames(explain.problem("conv i8x8 k3x3 p1"), range(16))
    to_gif(scenes)
    assert sum(painted) - len(scenes[0].items) < 0.4 * sum(len(scene.items) for scene in scenes[1:])


@given(cases())
@few(6)
def test_every_problem_moves(case):
    trace = traced(case)
    scenes = frames(trace, range(min(3, len(trace.steps))))
    assert len(pixels(to_gif(scenes))) == len(scenes)
    assert len({(scene.width, scene.height) for scene in scenes}) == 1
    assert to_apng(scenes[:1])[:4] == b"\x89PNG"


def test_every_suffix_writes_its_format(tmp_path):
    trace = explain.conv_transpose1d([1, 2], [1, 10])
    heads = {"svg": b"<svg", "png": b"\x89PNG", "txt": b"conv_transpose n1", "json": b'{"problem"'}
    for suffix, head in heads.items():
        path = tmp_path / f"x.{suffix}"
        trace.save(path)
        assert path.read_bytes().startswith(head)
    trace.save(tmp_path / "step.SVG", step=1)
    assert "step 2/2" not in (tmp_path / "step.SVG").read_text()  # letters are drawn, not written
    assert (tmp_path / "step.SVG").read_bytes() != (tmp_path / "x.svg").read_bytes()


def test_an_svg_uses_no_font_and_has_a_title_and_a_description():
    svg = explain.problem("conv i3x3 k2x2")._repr_svg_()
    assert "<text" not in svg and "font" not in svg and "<script" not in svg
    assert ">conv n1 ci1 co1 i3x3 k2x2 f32</title>" in svg and "= 77</desc>" in svg


def test_wrong_paths_and_steps_are_refused_and_leave_no_file(tmp_path):
    trace = explain.conv1d([1, 2], [1])
    with pytest.raises(FileError, match=r"'\.bmp' is no format for a trace: \.apng, \.gif"):
        trace.save(tmp_path / "x.bmp")
    with pytest.raises(GeometryError, match="there is no step 2: this view has 2"):
        trace.save(tmp_path / "x.svg", step=2)
    with pytest.raises(GeometryError, match="still picture"):
        trace.save(tmp_path / "x.gif", step=0)
    with pytest.raises(GeometryError, match="frames of an animation"):
        trace.save(tmp_path / "x.png", steps=[0])
    with pytest.raises(FileError):
        trace.save(tmp_path / "no" / "x.svg")
    assert not list(tmp_path.iterdir())


def test_a_notebook_gets_svg_and_text():
    bundle = explain.conv1d([1, 2], [1])._repr_mimebundle_()
    assert set(bundle) == {"image/svg+xml", "text/plain", "text/html"} and bundle["image/svg+xml"].startswith("<svg")


def test_empty_traces_are_drawn():
    trace = explain.conv2d(np.zeros((0, 1, 3, 3)), np.ones((1, 1, 2, 2)))
    assert "the output is empty: there is no step" in words_of(trace.scene()) and len(frames(trace)) == 1
    none = explain.conv2d(np.zeros((1, 0, 3, 3)), np.zeros((1, 0, 2, 2)))
    assert step_scene(none, 0).items


def test_what_a_file_of_a_view_holds_is_said(tmp_path):
    trace = explain.problem("conv_transpose i3 k3 s2")
    for view, suffix, held in [
        ("overlap", "gif", "1 frame"), ("overlap", "txt", "the view"), ("matrix", "json", "the view"),
        ("matrix", "gif", "7 frames"), ("phases", "apng", "2 frames"), ("sizes", "json", "the view"),
    ]:  # fmt: skip
        assert trace.view(view).save(tmp_path / f"a.{suffix}") == held
    for steps, words in [([], "names no step"), ("ab", "a step is a whole number, not 'a'"), ([1.5], "not 1.5")]:
        with pytest.raises(GeometryError, match=words):
            trace.save(tmp_path / "b.gif", steps=steps)
    assert not (tmp_path / "b.gif").exists()


def test_a_page_of_counting_numbers_is_small_and_one_of_too_many_is_refused(tmp_path):
    counted = explain.problem("conv i600x600 k3x3")
    assert counted.save(tmp_path / "a.html") == "the page" and (tmp_path / "a.html").stat().st_size < 250_000
    assert "x" not in counted.state() and counted.state()["weight"][0][0][0] == [1, 2, 3]
    with pytest.raises(GeometryError, match="x holds 360000 numbers, and a page holds at most 262144"):
        explain.conv2d(np.ones((600, 600)), [[1]]).page()
