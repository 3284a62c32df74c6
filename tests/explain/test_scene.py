"""Scenes drawn as SVG and as pixels, and the grids that are put into them."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from twofold.errors import GeometryError
from twofold.explain import raster
from twofold.explain.animation import to_apng, to_gif
from twofold.explain.glyphs import strokes
from twofold.explain.grid import Cell, cell_box, grid, grid_size
from twofold.explain.raster import to_image, to_png
from twofold.explain.scene import (
    FADED,
    FOCUS,
    INK,
    INPUT,
    MARKED,
    MUTED,
    OUTPUT,
    PAPER,
    PLAIN,
    WEIGHT,
    Item,
    Line,
    Rect,
    Scene,
    Text,
    contrast,
    ink_on,
    line_strokes,
    texture,
)
from twofold.explain.screen import Screen
from twofold.explain.svg import to_svg

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</title><script>alert("1")</script> & \x00\x08\x1b\x7f\ud800\ufffe ]]> <b>'


def figure(step: int = 0, *, size: int = 5, kernel: int = 3, number: int | None = None) -> Scene:
    """A step of a convolution with every kind of mark, 640 x 360."""
    out = size - kernel + 1
    row, column = divmod(step, out)
    image = [[str((7 * r + 3 * c) % 23) for c in range(size)] for r in range(size)]
    window = {(row + r, column + c) for r in range(kernel) for c in range(kernel)}
    done = [[str(100 + 17 * r + 31 * c) if r * out + c <= step else "" for c in range(out)] for r in range(out)]
    weight = [[str(kernel * r + c + 1) for c in range(kernel)] for r in range(kernel)]
    products = " + ".join(f"{k}*{(step + k) % 23}" for k in range(1, 8))
    items: list[Item] = [
        Text(24, 32, "Convolution", 18, weight="bold"),
        *grid(image, x=24, y=56, cell=32, role="input", caption="input", marked=window, padding={(0, 0)}),
        *grid(weight, x=290, y=56, cell=32, role="weight", caption="weight"),
        Line(400, 150, 424, 150, MUTED, 1.5, arrow=True),
        *grid(done, x=430, y=56, cell=32, role="output", caption="output", focus={(row, column)}, holes={(0, 1)}),
        Text(24, 320, products, 13),
        Text(24, 344, f"step {step if number is None else number} of {out * out}", 11, MUTED),
    ]
    return Scene(640, 360, "Convolution", f"step {step}", items)


def pixels(scene: Scene, scale: float = 1) -> NDArray[np.uint8]:
    return np.asarray(to_image(scene, scale))


def opened(data: bytes) -> list[NDArray[np.uint8]]:
    """The frames of a file as a reader composes them."""
    frames = []
    with Image.open(BytesIO(data)) as image:
        for k in range(getattr(image, "n_frames", 1)):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB")))
    return frames


def rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


# ------------------------------------------------------------------------------------------------------------- scene


def test_ink_is_readable_on_the_fill_of_every_role() -> None:
    for role in (INPUT, WEIGHT, OUTPUT, PLAIN, FOCUS, MARKED):
        assert contrast(INK, role.fill) >= 4.5
        colour = texture(Rect(0, 0, 9, 9, pattern="dots"))[0]
        assert contrast(INK, colour) >= 4.5  # even where a digit crosses the texture
    for fill in (PAPER, FADED):
        assert contrast(MUTED, fill) >= 4.5
    assert contrast(FOCUS.edge, FOCUS.fill) >= 3  # the outline, WCAG 1.4.11


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)  # the well-known grey that just fails
    assert min(contrast(ink_on(f"#{v:02x}{v:02x}{v:02x}"), f"#{v:02x}{v:02x}{v:02x}") for v in range(256)) > 4.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rect(0, 0, -1, 1), "Rect: w must be at least 0, not -1"),
        (lambda: Rect(0, 0, 1, 1, fill="red"), "Rect: fill must be a colour such as #56b4e9, not 'red'"),
        (lambda: Line(0, 0, 1, 1, '#000000"/><script>'), "Line: stroke must be a colour"),
        (lambda: Line(0, 0, float("nan"), 1), "Line: x1 must be a finite number, not nan"),
        (lambda: Line(0, 0, 1e9, 1), "Line: x1 must be within 1000000 px"),
        (lambda: Text(0, 0, "a", size=0), "Text: size must be a finite number above 0, not 0"),
        (lambda: Text(0, 0, "a", anchor="left"), "Text: anchor must be one of 'start', 'middle', 'end', not 'left'"),
        (lambda: Scene(float("inf"), 1, "t", "d"), "Scene: width must be a finite number above 0, not inf"),
    ],
)
def test_what_cannot_be_drawn_is_refused_at_birth(make: object, message: str) -> None:
    with pytest.raises(GeometryError, match="^" + re.escape(message)):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("pattern", ["hatch", "dots"])
def test_a_texture_stays_inside_its_box_and_runs_on_next_door(pattern: str) -> None:
    left, right, both = (Rect(x, 3, w, 40, pattern=pattern) for x, w in ((5, 40), (45, 40), (5, 80)))
    for rect in (left, right):
        marks = texture(rect)[2]
        assert len(marks) > 5
        assert all(rect.x < x < rect.x + 40 and 3 < y < 43 for mark in marks for x, y in mark)
    on = {round(x + y, 6) % 8 for rect in (left, right, both) for mark in texture(rect)[2] for x, y in mark}
    assert on == {0}


def test_dashes_cover_both_ends_and_the_middle() -> None:
    dashes = line_strokes(Line(0, 0, 60, 0, dash=True))
    assert dashes[0][0] == (0, 0)
    assert dashes[-1][-1] == pytest.approx((60, 0))
    assert any(a[0] < 30 < b[0] for a, b in dashes)
    assert all(a[1][0] < b[0][0] for a, b in pairwise(dashes))


def test_an_arrow_ends_where_its_line_ends() -> None:
    shaft, head = line_strokes(Line(0, 0, 30, 40, arrow=True, width=2))
    assert shaft == ((0, 0), (30, 40))
    assert head[1] == (30, 40)
    assert np.hypot(*np.subtract(head[0], head[1])) == pytest.approx(np.hypot(*np.subtract(head[2], head[1])))


def test_the_light_rooms_load_no_picture_library() -> None:
    code = "import sys, twofold.explain.scene, twofold.explain.svg, twofold.explain.grid, twofold.explain.raster\n"
    code += "print([name for name in sys.modules if name.split('.')[0] in ('PIL', 'matplotlib', 'torch')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --------------------------------------------------------------------------------------------------------------- svg


def test_svg_is_xml_with_a_title_and_a_description() -> None:
    root = ElementTree.fromstring(to_svg(figure(4)))
    assert root.tag == SVG + "svg"
    assert (root.get("viewBox"), root.get("role")) == ("0 0 640 360", "img")
    title, description = root.find(SVG + "title"), root.find(SVG + "desc")
    assert title is not None
    assert description is not None
    assert (title.text, description.text) == ("Convolution", "step 4")
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"


def test_hostile_labels_are_shown_as_text() -> None:
    text = to_svg(Scene(50, 20, HOSTILE, HOSTILE, [Text(0, 10, HOSTILE)]))
    root = ElementTree.fromstring(text.encode("utf-8"))
    shown = HOSTILE.replace("\x7f", "\x7f")
    for bad in ("\x00", "\x08", "\x1b", "\ud800", "\ufffe"):
        shown = shown.replace(bad, "\N{REPLACEMENT CHARACTER}")
    assert root.findtext(SVG + "title") == root.findtext(SVG + "desc") == shown
    assert "script" not in {element.tag.split("}")[1] for element in root.iter()}
    assert len(opened(to_png(Scene(50, 20, HOSTILE, HOSTILE, [Text(0, 10, HOSTILE)])))) == 1


def test_svg_holds_no_font_no_script_and_no_link_outside() -> None:
    root = ElementTree.fromstring(to_svg(figure()))
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "title", "desc", "defs", "path", "rect", "g", "use"}
    names = {element.get("id") for element in root.iter()}
    for element in root.iter():
        for key, value in element.attrib.items():
            assert not key.startswith("on")
            assert key not in ("style", "class")
            assert "url(" not in value
            if key == "href":
                assert value.startswith("#")
                assert value[1:] in names


def test_every_letter_is_defined_once_and_placed_where_it_stands() -> None:
    root = ElementTree.fromstring(to_svg(Scene(90, 30, "t", "d", [Text(10, 20, "1 1", 10), Text(80, 20, "1", 10)])))
    definitions = root.findall(f"{SVG}defs/{SVG}path")
    uses = root.findall(f".//{SVG}use")
    assert (len(definitions), len(uses)) == (1, 3)
    assert [use.get("x") for use in uses] == ["0", "120", "0"]  # hundredths of the size
    assert "translate(10 20) scale(0.1)" in to_svg(Scene(9, 9, "t", "d", [Text(10, 20, "1", 10)]))


def test_the_paths_are_the_strokes() -> None:
    for char in "8g-,@":
        root = ElementTree.fromstring(to_svg(Scene(90, 30, "t", "d", [Text(0, 20, char)])))
        path = root.find(f"{SVG}defs/{SVG}path")
        assert path is not None
        written = [[float(n) for n in re.findall(r"-?[\d.]+", part)] for part in path.attrib["d"].split("M")[1:]]
        wanted = [[100 * n for point in stroke for n in point] for stroke in strokes(char)]
        assert written == [pytest.approx(stroke, abs=0.051) for stroke in wanted]


def test_two_scenes_in_one_page_share_no_names_and_one_scene_has_the_same_bytes() -> None:
    first, second = to_svg(figure(0)), to_svg(figure(1))
    assert first == to_svg(figure(0))
    assert not set(re.findall(r'id="([^"]+)"', first)) & set(re.findall(r'id="([^"]+)"', second))
    assert len(first) < 60_000


# ------------------------------------------------------------------------------------------------------------ pixels


def test_colours_at_known_places() -> None:
    scene = Scene(
        40, 30, "t", "d",
        [
            Rect(2, 2, 10, 10, fill="#d9edf9", stroke="#000000", stroke_width=2),
            Rect(20, 2, 10, 10, fill="#009e73"),
            Rect(24, 2, 10, 10, fill="#e69f00"),
            Rect(2, 16, 12, 12, fill="#ff0000", radius=6),
            Line(20, 22, 38, 22, "#0000ff", 2),
        ],
    )  # fmt: skip
    for scale in (1, 2, 3):
        drawn = pixels(scene, scale)
        assert drawn.shape == (30 * scale, 40 * scale, 3)

        def at(x: float, y: float, drawn: NDArray[np.uint8] = drawn, scale: int = scale) -> tuple[int, ...]:
            return tuple(drawn[int(y * scale), int(x * scale)].tolist())

        assert at(0, 0) == at(39, 29) == rgb(PAPER)
        assert at(7, 7) == rgb("#d9edf9")
        assert at(1.5, 7) == at(2.5, 7) == (0, 0, 0)
        assert at(1.5, 1.5) == (0, 0, 0), "corners are square"
        assert at(0.5, 7) == rgb(PAPER)
        assert at(3.5, 7) == rgb("#d9edf9")
        assert at(21, 7) == rgb("#009e73")
        assert at(26, 7) == rgb("#e69f00"), "later items cover earlier ones"
        assert at(8, 22) == (255, 0, 0)
        assert at(2.1, 16.1) == rgb(PAPER), "this corner is round"
        assert at(29, 21.5) == at(29, 22.5) == (0, 0, 255)
        assert at(29, 20) == at(29, 24) == rgb(PAPER)


def test_coverage_is_the_area() -> None:
    half = pixels(Scene(4, 4, "t", "d", [Rect(1.5, 0, 1, 4, fill="#000000")]))
    assert half[2, :, 0].tolist() == [255, 128, 128, 255]
    thin = pixels(Scene(9, 5, "t", "d", [Line(0, 2.5, 9, 2.5, "#000000", 0.5)]))
    assert thin[:, 4, 0].tolist() == [255, 255, 128, 255, 255]


def test_an_outline_is_equally_wide_around_a_round_corner() -> None:
    box = Rect(10, 10, 60, 60, stroke="#000000", stroke_width=6, radius=20)
    drawn = 255 - pixels(Scene(80, 80, "t", "d", [box])).astype(float)[:, :, 0]
    straight = drawn[40, :40].sum() / 255
    corner = np.diagonal(drawn)[:40].sum() / 255 * np.sqrt(2)  # a step along the diagonal is longer
    assert straight == pytest.approx(6, abs=0.01)
    assert corner == pytest.approx(6, abs=0.3)


def test_a_digit_stands_in_the_middle_of_its_cell() -> None:
    for text in ("8", "0", "88"):
        drawn = 255 - pixels(Scene(60, 60, "t", "d", grid([[text]], x=5, y=5, cell=48, labels=False)), 4).astype(int)
        box = cell_box(0, 0, rows=1, x=5, y=5, cell=48, labels=False)
        inside = drawn[int(box.y + 3) * 4 : int(box.y + 45) * 4, int(box.x + 3) * 4 : int(box.x + 45) * 4, 0]
        ys, xs = np.nonzero(inside > 128)
        middle_x, middle_y = (xs.min() + xs.max()) / 8 + int(box.x + 3), (ys.min() + ys.max()) / 8 + int(box.y + 3)
        assert abs(middle_x - (box.x + 24)) < 0.5
        assert abs(middle_y - (box.y + 24)) < 0.5


def test_what_lies_outside_is_cut_off() -> None:
    items: list[Item] = [
        Rect(-50, -50, 40, 40, fill="#000000", stroke="#000000", pattern="hatch"), Text(-500, -20, "far"),
        Line(-9999, 300, 9999, 300, "#000000"), Text(400, 400, "8", 100), Rect(-5, -5, 8, 8, fill="#ff0000"),
    ]  # fmt: skip
    drawn = pixels(Scene(20, 20, "t", "d", items))
    assert tuple(drawn[1, 1].tolist()) == (255, 0, 0)
    assert (drawn[4:, 4:] == 255).all()


def test_a_picture_beyond_the_limit_is_refused_before_it_is_made() -> None:
    for draw in (to_image, to_png, lambda scene: to_gif([scene]), lambda scene: to_apng([scene])):
        with pytest.raises(GeometryError, match=r"0 x \d+ pixels is too large: the limit is 40000000 pixels\n"):
            draw(Scene(10_000, 5_000, "t", "d"))
    with pytest.raises(GeometryError, match="limit is 40000000 pixels and 65535 on a side"):
        to_gif([Scene(70_000, 2, "t", "d")])
    with pytest.raises(GeometryError, match="scale must be a finite number above 0, not nan"):
        to_png(Scene(2, 2, "t", "d"), float("nan"))


def test_png_is_the_image() -> None:
    scene = figure(3)
    assert np.array_equal(opened(to_png(scene, 1.5))[0], pixels(scene, 1.5))


# ------------------------------------------------------------------------------------------------------------ frames


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        name, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length)[0] == zlib.crc32(name + body)
        yield name, body
        place += 12 + length


@pytest.mark.parametrize("draw", [to_gif, to_apng])
def test_every_scene_is_a_frame_even_where_neighbours_are_alike(draw: object) -> None:
    scenes = [figure(0), figure(0), figure(1), figure(1), figure(1), figure(0), figure(0)]
    data = draw(scenes, scale=1)  # type: ignore[operator]
    frames = opened(data)
    assert len(frames) == 7
    for frame, scene in zip(frames, scenes, strict=True):
        # GIF has 255 colours: mixes may be off by a little, flat colours may not.
        exact = pixels(scene).astype(int)
        assert np.abs(frame - exact).max() <= (0 if draw is to_apng else 40)
        for fill in (INPUT.fill, FOCUS.fill, MARKED.fill, PAPER, INK, OUTPUT.edge):
            flat = (exact == rgb(fill)).all(axis=2)
            assert flat.any()
            assert (frame[flat] == rgb(fill)).all()


@pytest.mark.parametrize("draw", [to_gif, to_apng])
def test_frames_are_drawn_as_they_come(draw: object, monkeypatch: pytest.MonkeyPatch) -> None:
    made, drawn = [], []
    show = Screen.show
    monkeypatch.setattr(Screen, "show", lambda screen, scene: (drawn.append(len(made)), show(screen, scene))[1])

    def scenes() -> Iterator[Scene]:
        for k in range(6):
            made.append(k)
            yield Scene(20, 20, "t", "d", [Text(2, 15, str(k))])

    draw(scenes())  # type: ignore[operator]
    assert drawn == [2, 3, 4, 5, 6, 6]  # one scene of foresight, to know which is the last


@pytest.mark.parametrize("scale", [1, 2, 0.7])
def test_a_screen_that_repaints_what_differs_has_the_pixels_of_a_new_picture(scale: float) -> None:
    random = np.random.default_rng(3)
    things: list[Item] = [
        Rect(float(x), float(y), 30, 18, fill="#d9edf9", stroke="#56b4e9", pattern=pattern, radius=radius)
        for x, y, pattern, radius in [
            (2.3, 4.6, None, 0), (20, 8, "hatch", 5), (11, 15.5, "dots", 0), (-9, 30, None, 1)
        ]
    ]  # fmt: skip
    things += [Text(float(x), 20.0 + x, f"step {x}", 14, weight="bold") for x in range(0, 50, 7)]
    things += [Line(5, 5, 70, 40, dash=True), Line(3, 44, 75, 12, width=3, arrow=True)]
    screen, before = Screen(Scene(90, 60, "t", "d"), scale), None
    for _ in range(60):
        items = [things[k] for k in random.permutation(len(things))[: random.integers(len(things))]]
        if random.integers(3):  # mostly in one order, as the frames of a figure
            items = [thing for thing in things if thing in items]
        scene = Scene(90, 60, "t", "d", items)
        _, changed = screen.show(scene)
        now = raster.pixels(scene, scale)
        assert np.array_equal(screen.pixels, now)
        assert before is None or np.array_equal(changed, (now != before).any(axis=2))
        before = now


def test_the_same_scenes_give_the_same_bytes() -> None:
    code = "import hashlib, sys; sys.path.insert(0, sys.argv[1]); import test_scene as t\n"
    code += "print(hashlib.sha256(t.to_gif([t.figure(k) for k in range(3)]) + t.to_apng([t.figure(0), t.figure(1)])"
    code += " + t.to_png(t.figure(2)) + t.to_svg(t.figure()).encode()).hexdigest())"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code, str(__file__).rsplit("/", 1)[0]],
            capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert len(runs[0]) == 65
    assert runs[0] == runs[1]


@pytest.mark.parametrize(("size", "count"), [(5, 9), (7, 25)])
def test_an_animated_gif_is_small(size: int, count: int) -> None:
    data = to_gif(figure(k, size=size) for k in range(count))
    assert len(opened(data)) == count
    assert len(data) <= 120_000


def test_a_gif_repeats_for_ever_and_holds_its_last_frame() -> None:
    with Image.open(BytesIO(to_gif([figure(0), figure(1), figure(2)], seconds=0.4))) as image:
        assert image.info["loop"] == 0
        shown = []
        for k in range(3):
            image.seek(k)
            shown.append(image.info["duration"])
    assert shown == [400, 400, 1000]


def test_an_animated_png_numbers_its_frames_and_repeats_for_ever() -> None:
    found = list(chunks(to_apng([figure(0), figure(1), figure(2)], seconds=0.4, scale=1)))
    assert [name for name, _ in found] == [b"IHDR", b"acTL", b"fcTL", b"IDAT", *[b"fcTL", b"fdAT"] * 2, b"IEND"]
    assert found[1][1] == struct.pack(">II", 3, 0)
    sequence = [struct.unpack_from(">I", body)[0] for name, body in found if name in (b"fcTL", b"fdAT")]
    assert sequence == list(range(5))
    delays = [struct.unpack_from(">HH", body, 20) for name, body in found if name == b"fcTL"]
    assert delays == [(40, 100), (40, 100), (100, 100)]


def test_more_colours_than_a_gif_has_are_shown_as_their_nearest() -> None:
    many: list[Item] = [
        Rect(k % 32 * 4, k // 32 * 4, 4, 4, fill=f"#{k * 8 % 256:02x}{k // 4:02x}40") for k in range(512)
    ]
    scene = Scene(128, 64, "t", "d", many)
    frames = opened(to_gif([scene, Scene(128, 64, "t", "d", [Rect(0, 0, 64, 64, fill="#40ff00")])]))
    assert np.abs(frames[0].astype(int) - pixels(scene)).mean() < 40
    assert len(frames) == 2


@pytest.mark.parametrize(
    ("scenes", "seconds", "message"),
    [
        ([], 0.8, "an animation needs at least one frame, not 0"),
        ([Scene(4, 4, "t", "d"), Scene(5, 4, "t", "d")], 0.8, "one size, not 4 x 4 and 5 x 4 pixels"),
        ([Scene(4, 4, "t", "d")], 0, "a frame is shown for 0.02 to 262 seconds, not 0"),
        ([Scene(4, 4, "t", "d")], float("nan"), "a frame is shown for 0.02 to 262 seconds, not nan"),
    ],
)
def test_impossible_animations_are_refused_in_a_sentence(scenes: list[Scene], seconds: float, message: str) -> None:
    for draw in (to_gif, to_apng):
        with pytest.raises(GeometryError, match=re.escape(message)):
            draw(scenes, seconds, scale=1)


# -------------------------------------------------------------------------------------------------------------- grid

NUMBERS = [["1", "2", "3"], ["4", "5", "6"]]


def texts(items: list[Item]) -> list[str]:
    return [item.text for item in items if isinstance(item, Text)]


def the_cell(items: list[Item], at: Cell, *, rows: int = 2, **options: object) -> list[Rect]:
    """The rectangles of one cell from the bottom up: its box, then plate or outline."""
    box = cell_box(*at, rows=rows, x=0, y=0, **options)  # type: ignore[arg-type]
    x, y = box.x + box.w / 2, box.y + box.h / 2
    rects = [item for item in items if isinstance(item, Rect)]
    return [r for r in rects if abs(r.x + r.w / 2 - x) < 1 and abs(r.y + r.h / 2 - y) < 1]


def test_a_grid_shows_caption_indices_and_numbers_in_reading_order() -> None:
    items = grid(NUMBERS, x=0, y=0, role="input", caption="input")
    assert texts(items) == ["input", "0", "1", "2", "0", "1", "1", "2", "3", "4", "5", "6"]
    assert texts(grid(NUMBERS, x=0, y=0, labels=False)) == ["1", "2", "3", "4", "5", "6"]
    assert texts(grid(NUMBERS, x=0, y=0, first=(-1, -2)))[:5] == ["-2", "-1", "0", "-1", "0"]
    assert texts(grid([["7", "8"]], x=0, y=0)) == ["0", "1", "7", "8"]  # a single row has no index


def test_each_role_has_its_fill_and_the_weight_its_texture() -> None:
    for name, role in (("input", INPUT), ("weight", WEIGHT), ("output", OUTPUT), ("plain", PLAIN)):
        box = the_cell(grid(NUMBERS, x=0, y=0, role=name), (1, 1))[0]  # type: ignore[arg-type]
        assert (box.fill, box.stroke, box.pattern) == (role.fill, role.edge, role.pattern)
    assert WEIGHT.pattern == "dots"


def test_focus_padding_holes_marks_and_fading_are_more_than_colour() -> None:
    items = grid(NUMBERS, x=0, y=0, role="input", focus={(0, 0)}, marked={(0, 1)}, padding={(0, 2)}, holes={(1, 0)},
                 faded={(1, 1)}, shades={(1, 2): "#333333"})  # fmt: skip
    focus = the_cell(items, (0, 0))
    assert focus[0].fill == FOCUS.fill
    assert (focus[-1].stroke, focus[-1].stroke_width) == ("#000000", 3)
    marked = the_cell(items, (0, 1))
    assert marked[0].fill == MARKED.fill
    assert (marked[-1].stroke, marked[-1].stroke_width) == (MARKED.edge, 2)
    assert the_cell(items, (0, 2))[0].pattern == "hatch"
    assert the_cell(items, (1, 1))[0].fill == FADED
    assert the_cell(items, (1, 2))[0].fill == "#333333"
    inks = {item.text: item.fill for item in items if isinstance(item, Text) and item.size > 11}
    assert inks == {"1": INK, "2": INK, "3": MUTED, "5": MUTED, "6": PAPER}  # and no number in the hole
    cross = [item for item in items if isinstance(item, Line)]
    assert len(cross) == 2
    assert all(line.dash for line in cross)


def test_outlines_cover_the_edges_of_their_neighbours() -> None:
    items = grid(NUMBERS, x=0, y=0, focus={(0, 0)}, faded={(0, 1)})
    outline = max(k for k, item in enumerate(items) if isinstance(item, Rect) and item.stroke_width == 3)
    boxes = [k for k, item in enumerate(items) if isinstance(item, Rect) and item.stroke_width == 1 and item.stroke]
    assert outline > max(boxes)


def test_a_faded_cell_does_not_paint_over_the_edge_of_its_neighbour() -> None:
    for faded in (0, 1):
        items = grid([["", ""]], x=0, y=0, cell=30, role="output", faded={(0, faded)}, labels=False)
        assert tuple(pixels(Scene(70, 40, "t", "d", items))[15, 31].tolist()) == rgb(OUTPUT.edge)


def test_a_number_stands_clear_of_the_texture() -> None:
    items = grid([["8"]], x=0, y=0, cell=48, role="weight", labels=False)
    drawn = pixels(Scene(52, 52, "t", "d", items), 4)
    colours = {tuple(pixel.tolist()) for pixel in drawn[18 * 4 : 33 * 4, 20 * 4 : 31 * 4].reshape(-1, 3)}
    dot = rgb(texture(Rect(0, 0, 9, 9, pattern="dots"))[0])
    assert dot not in colours
    assert {rgb(WEIGHT.fill), rgb(INK)} <= colours
    assert (drawn == dot).all(axis=2).any()


@pytest.mark.parametrize("text", ["7", "37", "-12.5", "-0.1253", "1.235e-05", "123456789012345", "-1.235e+100"])
def test_a_long_number_shrinks_to_fit_its_cell(text: str) -> None:
    for cell in (20, 32, 44):
        items = grid([[text, "1"]], x=0, y=0, cell=cell, labels=False)
        drawn, other = (item for item in items if isinstance(item, Text))
        assert len(text) * 0.6 * drawn.size <= 0.8 * cell
        assert drawn.size <= other.size <= 0.42 * cell
        assert other.size >= 0.28 * cell, "one long number must not make all the others tiny"


def test_a_grid_fills_the_space_that_it_announces() -> None:
    for options in ({}, {"labels": False}, {"caption": "a caption wider than its grid"}, {"first": (-10, 0)}):
        width, height = grid_size(2, 3, cell=30, **options)  # type: ignore[arg-type]
        items = grid(NUMBERS, x=0, y=0, cell=30, focus={(1, 2), (0, 0)}, **options)  # type: ignore[arg-type]
        drawn = pixels(Scene(width + 40, height + 40, "t", "d", items), 1)
        ys, xs = np.nonzero((drawn < 200).any(axis=2))
        assert max(xs) < width
        assert max(ys) < height
        assert max(xs) >= width - 4
        assert max(ys) >= height - 4
        # Nothing is cut off at the left and the top either: moved away from the corner, the picture is the same.
        moved = grid(NUMBERS, x=20, y=20, cell=30, focus={(1, 2), (0, 0)}, **options)  # type: ignore[arg-type]
        away = pixels(Scene(width + 40, height + 40, "t", "d", moved), 1)
        assert np.array_equal(away[20:, 20:], drawn[:-20, :-20])
        assert (away[:20] == 255).all()
        assert (away[:, :20] == 255).all()


def test_lines_of_a_grid_fall_on_whole_pixels() -> None:
    for scale in (1, 2):
        drawn = pixels(Scene(120, 80, "t", "d", grid(NUMBERS, x=3, y=3, cell=32, role="input", labels=False)), scale)
        row = drawn[10 * scale]  # above the digits: only fills and vertical edges
        assert {tuple(pixel.tolist()) for pixel in row} == {rgb(PAPER), rgb(INPUT.fill), rgb(INPUT.edge)}


@pytest.mark.parametrize("values", [[], [[]], [["1"], ["1", "2"]]])
def test_a_grid_without_cells_or_with_ragged_rows_is_refused(values: list[list[str]]) -> None:
    with pytest.raises(GeometryError, match="a grid needs rows of one length, at least 1, not"):
        grid(values, x=0, y=0)
