"""The tour on pictures of the reader's own, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from twofold.errors import FileError
from twofold.files import write_array
from twofold.tour import tour
from twofold.tour.picture import CROP, LARGEST, load
from twofold.tour.shown import Shown, signed_range


def noise(*shape, dtype=np.uint8, top=255):
    return np.random.default_rng(5).integers(0, top + 1, shape).astype(dtype)


def quiet(path, out):
    lines = []
    page = tour(path, out, say=lines.append)
    return page, lines


CASES = {
    "one.png": np.full((1, 1), 7, np.uint8),
    "black.png": np.zeros((12, 10), np.uint8),
    "grey.png": noise(21, 34),
    "odd.png": noise(33, 47, 3),
    "alpha.png": noise(16, 17, 4),
    "deep.png": noise(19, 23, dtype=np.uint16, top=65535),
    "bits.png": noise(9, 9, dtype=bool, top=1),
    "float.tif": np.linspace(-2, 3, 130, dtype=np.float32).reshape(13, 10),
    "line.npy": noise(1, 700),
}


@pytest.mark.parametrize("name", CASES)
def test_any_picture_gives_a_whole_tour_of_its_own_size(tmp_path, name):
    write_array(tmp_path / name, CASES[name])
    page, _ = quiet(tmp_path / name, tmp_path / "out")
    results = json.loads((page.parent / "results.json").read_text("utf-8"))
    size = list(CASES[name].shape[:2])
    assert results["picture"]["name"] == name and results["picture"]["size"] == size
    assert results["coding"]["layers"][-1]["out_size"] == size
    assert results["adjoint"]["<C x, y>"] == results["adjoint"]["<x, C^T y>"]
    channels = 3 if CASES[name].ndim == 3 else 1
    assert np.load(page.parent / "arrays" / "decoded.npy").shape == (channels, *size)
    assert np.load(page.parent / "arrays" / "decoded-equal-4.npy").shape == (channels, *size)
    assert "</html>" in page.read_text("utf-8")


def test_sixteen_bits_are_not_cut(tmp_path):
    write_array(tmp_path / "deep.png", CASES["deep.png"])
    np.testing.assert_allclose(load(tmp_path / "deep.png").grey * 65535, CASES["deep.png"], atol=0.01)


def test_an_alpha_channel_is_left_out_with_a_sentence(tmp_path):
    write_array(tmp_path / "alpha.png", CASES["alpha.png"])
    photo = load(tmp_path / "alpha.png")
    assert len(photo.pixels) == 3 and "alpha" in photo.notes[0]
    page, lines = quiet(tmp_path / "alpha.png", tmp_path / "out")
    assert photo.notes[0] in lines and "alpha channel" in page.read_text("utf-8")


def test_a_range_of_its_own_is_mapped_with_a_sentence(tmp_path):
    write_array(tmp_path / "float.tif", CASES["float.tif"])
    photo = load(tmp_path / "float.tif")
    assert (photo.grey.min(), photo.grey.max()) == (0, 1) and "from -2 to 3" in photo.notes[0]


def test_values_that_are_no_numbers_are_set_to_zero_with_a_sentence(tmp_path):
    write_array(tmp_path / "x.npy", np.array([[np.nan, 0.5], [np.inf, 1.0]]))
    photo = load(tmp_path / "x.npy")
    assert photo.grey.tolist() == [[0, 0.5], [0, 1]] and photo.notes[0].startswith("2 values")


@pytest.mark.parametrize("shape", [(1500, 1400), (2, 900_000), (1, 2_000_000)])
def test_a_large_picture_is_averaged_down_with_a_sentence(tmp_path, shape):
    picture = noise(*shape)
    write_array(tmp_path / "x.npy", picture)
    photo = load(tmp_path / "x.npy")
    height, width = photo.size
    down, across = shape[0] // height, shape[1] // width
    assert height * width <= LARGEST and f"{down} × {across}" in photo.notes[0]
    expected = picture[: height * down, : width * across].reshape(height, down, width, across).mean(axis=(1, 3))
    np.testing.assert_allclose(photo.grey * 255, expected, atol=0.51)


def test_the_crop_stays_inside(tmp_path):
    write_array(tmp_path / "x.npy", noise(10, 300))
    rows, columns = load(tmp_path / "x.npy").window
    assert (rows.start, rows.stop) == (0, 10) and columns.stop - columns.start == CROP


def test_the_crop_goes_where_something_is(tmp_path):
    picture = np.full((200, 300), 250, np.uint8)
    picture[140:180, 200:240] = noise(40, 40)
    write_array(tmp_path / "x.npy", picture)
    rows, columns = load(tmp_path / "x.npy").window
    assert rows.start < 160 < rows.stop and columns.start < 220 < columns.stop


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"), [("x.png", b"no picture"), ("x.png", b""), ("x.jpg", b"\xff\xd8\xff cut"), (None, b"")]
)
def test_a_bad_picture_is_refused_in_one_sentence_before_anything_is_written(tmp_path, name, content):
    path = tmp_path / (name or "missing.png")
    if name:
        path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        quiet(path, tmp_path / "out")
    assert "\n" not in caught.value.sentence and path.name in caught.value.sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("array", [np.ones((3, 3), complex), np.ones(5), np.ones((2, 2, 5))])
def test_an_array_that_is_no_picture_is_refused(tmp_path, array):
    write_array(tmp_path / "x.npy", array)
    with pytest.raises(FileError, match=r"x\.npy"):
        quiet(tmp_path / "x.npy", tmp_path / "out")


@pytest.fixture
def small(tmp_path):
    write_array(tmp_path / "small.png", noise(8, 9))
    return tmp_path / "small.png"


@pytest.mark.parametrize("below", ["", "inside", "pictures"])
def test_a_file_where_a_folder_should_be_is_refused_and_kept(tmp_path, small, below):
    out = tmp_path / "out"
    if below == "pictures":
        out.mkdir()
        (out / "pictures").write_text("mine")
    else:
        out.write_text("mine")
    with pytest.raises(FileError) as caught:
        quiet(small, out / below if below == "inside" else out)
    assert "\n" not in caught.value.sentence
    assert (out / "pictures" if below == "pictures" else out).read_text() == "mine"
    assert not (out / "index.html").exists()


def test_an_existing_folder_keeps_the_files_of_others(tmp_path, small):
    out = tmp_path / "out"
    (out / "pictures").mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    (out / "pictures" / "holiday.png").write_bytes(b"mine")
    (out / "results.json").write_text('{"twofold-tour": "0"}')
    quiet(small, out)
    before = (out / "results.json").stat().st_ino
    quiet(small, out)
    assert (out / "results.json").stat().st_ino != before  # replaced, not written over
    assert (out / "notes.txt").read_text() == "mine" and (out / "pictures" / "holiday.png").read_bytes() == b"mine"
    assert not list(out.rglob("*.tmp"))


@pytest.mark.parametrize(
    "content",
    [None, "{}", '["twofold-tour"]', "mine", "", "[" * 100_000, "\N{NO-BREAK SPACE}", "9" * 5000, "link", "large"],
)
def test_a_folder_of_others_is_refused_and_left_as_it_was(tmp_path, small, content):
    out = tmp_path / "out"
    (out / "pictures").mkdir(parents=True)
    (out / "index.html").write_text("mine")
    if content == "link":
        (tmp_path / "real.json").write_text('{"twofold-tour": "0"}')
        (out / "results.json").symlink_to(tmp_path / "real.json")
    elif content is not None:
        large = '{"twofold-tour": "0"}' + " " * 1_000_000
        (out / "results.json").write_text(large if content == "large" else content, "utf-8")
    before = {path.name: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(FileError) as caught:
        quiet(small, out)
    assert "such as 'index.html'" in caught.value.sentence and "; try -o OTHER" in caught.value.sentence
    assert {path.name: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_an_empty_folder_and_that_of_a_tour_are_taken(tmp_path, small):
    (tmp_path / "out").mkdir()
    page, _ = quiet(small, tmp_path / "out")
    assert next(iter(json.loads((page.parent / "results.json").read_text("utf-8")))) == "twofold-tour"
    page.unlink()  # a tour that was cut off
    assert quiet(small, tmp_path / "out")[0].is_file()


def test_links_that_lead_out_of_the_folder_are_refused(tmp_path, small):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "results.json").write_text('{"twofold-tour": "0"}')
    (out / "arrays").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(FileError, match="symbolic link"):
        quiet(small, out)
    (out / "arrays").unlink()
    (elsewhere / "index.html").write_text("mine")
    (out / "index.html").symlink_to(elsewhere / "index.html")
    with pytest.raises(FileError, match="symbolic link"):
        quiet(small, out)
    assert [file.read_text() for file in elsewhere.iterdir()] == ["mine"]


def test_a_failure_leaves_no_half_written_page(tmp_path, small, monkeypatch):
    out = tmp_path / "out"

    def broken(path, array):
        raise OSError("no space left")

    monkeypatch.setattr("twofold.tour.folder.write_array", broken)
    with pytest.raises(OSError, match="no space left"):
        quiet(small, out)
    assert not (out / "index.html").exists()
    monkeypatch.undo()
    page, _ = quiet(small, out)
    old = page.read_text("utf-8")
    monkeypatch.setattr("twofold.tour.folder.write_array", broken)
    with pytest.raises(OSError, match="no space left"):
        quiet(small, out)
    assert page.read_text("utf-8") == old


def test_a_hostile_name_is_shown_as_text(tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>&.png"
    write_array(path, noise(6, 6))
    page, _ = quiet(path, tmp_path / "out")
    text = page.read_text("utf-8")
    assert "<img src=x" not in text and "&lt;img src=x" in text


# -- maps --------------------------------------------------------------------------------------------------------------


def test_a_signed_map_is_blue_white_orange_about_zero():
    picture = Shown("x", np.array([[-1.0, 0, 1], [-9, -0.5, 9]]), "", "", -1, 1, True).picture()
    cells = picture[:: len(picture) // 2, :: picture.shape[1] // 3]
    assert cells[0].tolist() == [[0, 91, 160], [255, 255, 255], [213, 94, 0]]
    assert cells[1, 0].tolist() == [0, 91, 160] and cells[1, 2].tolist() == [213, 94, 0]
    assert cells[1, 1].tolist() == [128, 173, 208]  # half way to blue


def test_what_is_clipped_is_counted_and_said():
    shown = Shown("x", np.array([[0.0, 0.5], [1.0, 1.5]]), "", "")
    assert shown.clipped == 0.25 and "25 % of the values lie outside and are clipped" in shown.map


@pytest.mark.parametrize(("values", "limit"), [([0.0], 1.0), ([5.0, -7.31], 7.4), ([0.0] * 999 + [3.0], 3.0)])
def test_the_range_of_a_signed_map_is_round_and_never_zero(values, limit):
    assert signed_range(np.array(values), share=100) == limit
    assert signed_range(np.array(values)) > 0
