"""The tour on the bundled photograph: what it prints, what it writes, and whether its numbers are true."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import twofold as tf
from twofold.files import read_array
from twofold.geometry import Axis, Problem
from twofold.tour import tour


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The page's path, the lines it printed, and the steps it reported."""
    lines, steps = [], []
    out = tmp_path_factory.mktemp("tour") / "out"
    page = tour(out=out, say=lines.append, progress=lambda *step: steps.append(step))
    return page, lines, steps


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run[0].parent / "results.json").read_text("utf-8"))


def array(run, stem):
    return np.load(run[0].parent / "arrays" / f"{stem}.npy")


class Page(HTMLParser):
    """Collects what the tests ask about, and holds that every element is closed in order."""

    VOID = ("meta", "link", "img", "br", "source")

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.words = [], [], []
        self.feed(path.read_text("utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def page(run):
    return Page(run[0])


# -- what is printed ---------------------------------------------------------------------------------------------------


def test_it_returns_the_page_it_wrote(run):
    assert run[0].name == "index.html" and run[0].is_file()


def test_it_prints_both_textbook_examples_step_by_step(run):
    text = "\n".join(run[1])
    assert "output (0,0)   1*1 + 2*2 + 3*4 + 4*5 = 1 + 4 + 12 + 20 = 37" in text
    assert "output (1,1)   1*5 + 2*6 + 3*8 + 4*9 = 5 + 12 + 24 + 36 = 77" in text
    assert "37 47" in text and "67 77" in text
    assert "(N+F-1) x (N+F-1) = 3 x 3" in text
    parts = "0 0 0        0 2 3        0 2 0        0 0 3        0  4 6"
    assert parts in text and "4 12 9" in text


def test_it_prints_lines_of_plain_ascii_but_for_names(run):
    odd = [line for line in run[1] if not line.isascii() and "Stéfan" not in line]
    assert odd == [] and not any("\n" in line for line in run[1])


def test_it_prints_the_comparison_with_the_figures_of_the_run(run, results):
    text = "\n".join(run[1])
    assert f"{results['comparison']['convolution']['multiplications']:,}" in text
    assert "transposed convolution layer" in text and "what comes out" in text and "ms, the best of" in text


def test_it_reports_every_step_once_and_ends(run):
    done = [step[1] for step in run[2]]
    assert done == sorted(set(done)) and run[2][-1][1] == run[2][-1][2] and len({step[2] for step in run[2]}) == 1


# -- the page ----------------------------------------------------------------------------------------------------------


def test_every_address_in_the_page_is_a_file_of_the_folder_or_a_place_in_it(run, page):
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    found = 0
    for attributes in page.all("a", "img", "source", "link"):
        address = attributes.get("href") or attributes.get("src") or attributes["srcset"]
        if address.startswith("#"):
            assert address[1:] in ids
        elif address != "data:,":
            assert re.fullmatch(r"[a-z0-9][a-z0-9./-]*", address) and ".." not in address
            assert (run[0].parent / address).is_file()
            found += 1
    assert found > 60


def test_the_page_needs_nothing_from_elsewhere(run, page):
    raw = run[0].read_text("utf-8")
    assert "http:" not in raw and "https:" not in raw and "//" not in raw.replace("://", "")
    assert "@import" not in raw and "url(" not in raw
    assert not page.all("script", "iframe", "object", "embed")


def test_every_picture_has_a_text_and_its_own_size(run, page):
    for attributes in page.all("img"):
        assert len(attributes["alt"]) > 10
        assert int(attributes["width"]) > 0 and int(attributes["height"]) > 0
        if attributes["src"].endswith(".png"):
            height, width = read_array(run[0].parent / attributes["src"]).shape[:2]
            assert (int(attributes["width"]), int(attributes["height"])) == (width, height)


def test_the_page_is_well_formed_for_listeners(page):
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1 and len(page.all("main")) == 1 and len(page.all("title")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert len(page.all("figure")) == len(page.all("figcaption"))
    assert len(page.all("table")) == len(page.all("caption"))
    assert all("scope" in attributes for attributes in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_page_tells_the_whole_story(page):
    words = " ".join("".join(page.words).replace("\N{NO-BREAK SPACE}", " ").split())
    for said in (
        "300 × 451 → 150 × 226 → 75 × 113", "(113-1)*2 - 2*1 + 1*(3-1) + 1 + 1 = 226", "one to four",
        "equal to the last digit", "The adjoint, not the inverse", "output_padding is 1", "clipped",
        "Stéfan van der Walt", "CC0", "twofold tour photo.jpg", "deconvolution",
    ):  # fmt: skip
        assert said in words


def test_every_picture_states_its_map(run, page):
    shown = [attributes for attributes in page.all("figure") if attributes["class"].startswith("shown")]
    assert len([a for a in page.all("span") if a.get("class") == "map"]) == len(shown) > 15


def test_no_path_of_this_machine_is_written(run):
    for file in ("index.html", "results.json"):
        text = (run[0].parent / file).read_text("utf-8")
        assert str(run[0].parent) not in text and "site-packages" not in text and str(Path.home()) not in text


def test_the_python_on_the_page_runs_and_gives_the_size_it_names(run, monkeypatch, capsys):
    from twofold.tour.page import snippet
    from twofold.tour.picture import load

    monkeypatch.chdir(run[0].parent)
    exec(snippet(load(None)), {})
    assert "(3, 75, 113) (3, 150, 226)" in capsys.readouterr().out


# -- the numbers -------------------------------------------------------------------------------------------------------


def test_the_decoder_returns_to_the_exact_size(run, results):
    picture = array(run, "picture")
    assert picture.shape == (3, 300, 451) == array(run, "decoded").shape
    assert array(run, "encoded-half").shape == (3, 150, 226) == array(run, "decoded-half").shape
    assert array(run, "encoded-quarter").shape == (3, 75, 113)
    layers = results["coding"]["layers"]
    assert [layer["out_size"] for layer in layers] == [[150, 226], [75, 113], [150, 226], [300, 451]]
    assert [layer["output_padding"] for layer in layers] == [None, None, [1, 1], [1, 0]]
    for layer in layers:
        problem = Problem.parse(layer["problem"])
        assert list(problem.out_size) == layer["out_size"] and problem.sums.splitlines() == layer["sums"]


def test_the_picture_is_the_photograph(run):
    photo = read_array(Path(tf.__file__).parent / "assets" / "chelsea.png")
    np.testing.assert_allclose(array(run, "picture") * 255, photo.transpose(2, 0, 1), atol=1e-4)


def test_the_arrays_can_be_made_again(run):
    options = {"stride": 2, "padding": 1, "groups": 3}
    picture, down, up = (array(run, stem) for stem in ("picture", "encoder-weight", "decoder-weight"))
    half = tf.conv2d(picture, down, **options)
    quarter = tf.conv2d(half, down, **options)
    back = tf.conv_transpose2d(quarter, up, output_size=(150, 226), **options)
    np.testing.assert_array_equal(half, array(run, "encoded-half"))
    np.testing.assert_array_equal(quarter, array(run, "encoded-quarter"))
    np.testing.assert_array_equal(back, array(run, "decoded-half"))
    whole = tf.conv_transpose2d(back, up, output_size=(300, 451), **options)
    np.testing.assert_array_equal(whole, array(run, "decoded"))
    for name in ("sobel-x", "sobel-y", "sharpen", "gaussian"):
        kernel = array(run, f"kernel-{name}")
        y = tf.conv2d(array(run, "grey"), kernel, padding=len(kernel) // 2, padding_mode="replicate")
        np.testing.assert_array_equal(y, array(run, f"filtered-{name}"))


def test_the_half_picture_is_what_a_loop_gives(run):
    # Written out here, for one channel and a few cells: the functions under test take no part.
    x, half = array(run, "picture")[0].astype(float), array(run, "encoded-half")[0]
    bell = np.outer([1, 2, 1], [1, 2, 1]) / 16
    padded = np.pad(x, 1)
    for r, c in ((0, 0), (3, 7), (149, 225), (149, 0)):
        assert half[r, c] == pytest.approx((padded[2 * r : 2 * r + 3, 2 * c : 2 * c + 3] * bell).sum(), abs=1e-6)


def test_the_loss_is_what_the_arrays_say(run, results):
    error = array(run, "decoded").astype(float) - array(run, "picture")
    rms = math.sqrt((error**2).mean())
    assert results["coding"]["rms_error"] == pytest.approx(rms, rel=1e-5)
    assert results["coding"]["psnr_db"] == pytest.approx(-20 * math.log10(rms), rel=1e-5)
    assert 0.01 < rms < 0.1


def test_the_adjoint_law_holds_exactly_and_the_inverse_does_not(run, results):
    told = results["adjoint"]
    assert told["<C x, y>"] == told["<x, C^T y>"] != 0
    x, y, bell = (array(run, f"adjoint-{name}").astype(int) for name in ("x", "y", "kernel"))
    c_x = sum(
        bell[a, b] * np.pad(x, 1)[a : a + 299 : 2, b : b + 451 : 2] for a in range(3) for b in range(3)
    )  # a convolution with stride 2 and padding 1, tap by tap
    assert c_x.shape == y.shape and int((c_x * y).sum()) == told["<C x, y>"]
    assert told["small"]["C^T C x"] == [[37, 121, 94], [178, 500, 342], [201, 499, 308]]
    assert told["rms_error"] > 0.01


def test_a_constant_shows_the_checkerboard_of_3x3_and_none_of_4x4(run, results):
    board = results["checkerboard"]
    assert board["3x3"]["overlap"] == [1, 1, 2, 1, 2, 1, 2, 1, 1] and board["3x3"]["overlap_2d"] == [1, 2, 4]
    assert board["4x4"]["overlap"] == [1, 1, 2, 2, 2, 2, 2, 2, 1, 1] and board["4x4"]["overlap_2d"] == [4]
    assert board["3x3"]["constant"] == [0.25, 0.5, 1] and board["3x3"]["ratio"] == 4
    assert board["4x4"]["constant"] == [1] and board["4x4"]["ratio"] == 1
    assert board["3x3_tent"]["constant"] == [1]
    assert (board["3x3"]["even"], board["4x4"]["even"]) == (Axis(3, 2).is_even, Axis(4, 2).is_even) == (False, True)
    inside = array(run, "constant-3")[2:-2, 2:-2]
    assert inside.max() / inside.min() == 4 and set(array(run, "constant-4")[2:-2, 2:-2].ravel()) == {1}


def test_the_checkerboard_is_on_the_picture_too(run, results):
    for size, low, high in ((3, 3.9, 4.1), (4, 0.97, 1.03)):
        grey = array(run, f"decoded-equal-{size}").mean(axis=0)
        assert grey.shape == (300, 451)
        assert low < grey[1::2, 1::2].mean() / grey[::2, ::2].mean() < high
        means = results["checkerboard"][f"{size}x{size}"]["phase_means"]
        assert means[1][1] == pytest.approx(grey[1::2, 1::2].mean(), rel=1e-4)


def test_both_layers_cost_the_same_multiplications(results):
    numbers = results["comparison"]
    counted = {numbers[name]["multiplications"] for name in ("convolution", "transposed")}
    # Along an axis the first window loses a tap to the padding; of the odd width, 451, the last one too.
    assert counted == {8 * 3 * (3 * 150 - 1) * (3 * 226 - 2)}
    assert all(numbers[name]["milliseconds"] > 0 for name in ("convolution", "transposed"))
    assert numbers["convolution"]["memory_bytes"] == 4 * (3 * 300 * 451 + 8 * 150 * 226 + 8 * 3 * 9)


def test_pictures_show_the_arrays_by_the_map_they_state(run, results):
    shown = results["pictures"]["pictures/sobel-x.png"]
    pixels, values = read_array(run[0].parent / "pictures/sobel-x.png").astype(int), array(run, "filtered-sobel-x")
    assert shown["map"] == "signed" and shown["low"] == -shown["high"]
    red, blue = pixels[..., 0], pixels[..., 2]
    assert (red[values > 0.1] > blue[values > 0.1]).all() and (red[values < -0.1] < blue[values < -0.1]).all()
    assert (pixels[np.abs(values) < 1e-6] == 255).all()
    assert shown["clipped"] == pytest.approx((np.abs(values) > shown["high"]).mean(), abs=1e-4)
    grey = read_array(run[0].parent / "pictures/grey.png")
    np.testing.assert_array_equal(grey, np.rint(array(run, "grey").astype(float) * 255))


def test_the_animations_have_a_frame_per_step(run):
    from PIL import Image

    for name in ("convolution", "transposed-convolution"):
        with Image.open(run[0].parent / "pictures" / f"{name}.gif") as gif:
            assert gif.n_frames == 4


def test_results_name_the_pictures_that_are_there(run, results):
    assert {file.relative_to(run[0].parent).as_posix() for file in run[0].parent.glob("pictures/*.png")} == set(
        results["pictures"]
    )
    assert results["picture"] == {
        "name": "chelsea.png", "credit": results["picture"]["credit"], "channels": 3, "size": [300, 451], "notes": [],
    }  # fmt: skip
