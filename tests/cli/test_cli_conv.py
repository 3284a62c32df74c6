"""`twofold conv` and `twofold conv-transpose` as processes: results, formats in and out, what is said about them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twofold import conv2d, conv_transpose2d, files, filters

NINE = np.arange(1, 10).reshape(3, 3)
RNG = np.random.default_rng(5)
GREY, RGBA = RNG.integers(0, 256, (9, 12), np.uint8), RNG.integers(0, 256, (9, 12, 4), np.uint8)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", NINE)
    files.write_array("grey.png", GREY)
    files.write_array("rgb.png", RGBA[:, :, :3])
    files.write_array("rgba.png", RGBA)
    return tmp_path


def twofold(*arguments, code=0, **environment):
    env = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    done = subprocess.run(
        [sys.executable, "-m", "twofold", *map(str, arguments)], capture_output=True, timeout=60, env=env
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, (out, err)
    assert "\x1b" not in out + err
    return out, err


def rows(text):
    return [[float(word) for word in line.split()] for line in text.strip().splitlines()]


# --- numbers in the terminal ------------------------------------------------------------------------------------------


def test_conv_prints_the_anchor_on_stdout_and_the_sizes_beside_it():
    out, err = twofold("conv", "x.npy", "--kernel", "1 2; 3 4")
    assert out == "37 47\n67 77\n"
    assert err.splitlines()[0] == "output (2, 2) = floor((3 + 0 - 1*(2-1) - 1)/1) + 1"
    assert err.splitlines()[1].startswith("took ") and err.endswith(" s\n")


def test_conv_transpose_prints_the_anchor_and_quiet_leaves_only_the_numbers():
    out, err = twofold("conv-transpose", "--input", "0 1; 2 3", "--kernel", "0 1; 2 3", "--quiet")
    assert (rows(out), err) == ([[0, 0, 1], [0, 4, 6], [4, 12, 9]], "")


def test_one_row_of_numbers_is_one_axis():
    out, _ = twofold("conv-transpose", "--input", "1 2 3", "-k", "1 10 100", "--stride", "2", "--padding", "1")
    assert rows(out) == [[10, 102, 20, 203, 30]]


def test_options_per_axis_pairs_and_words_mean_what_they_mean_in_python():
    out, _ = twofold("conv", "x.npy", "-k", "1 2; 3 4", "--stride", "2x1", "--padding", "1:0,0:1", "--dilation", "1,2",
                     "--padding-mode", "replicate", "--flip", "--bias", "0.5")  # fmt: skip
    expected = conv2d(
        NINE, [[1, 2], [3, 4]], np.array([0.5]), (2, 1), [(1, 0), (0, 1)], (1, 2), padding_mode="replicate", flip=True
    )
    assert rows(out) == expected.tolist()
    out, _ = twofold("conv-transpose", "x.npy", "-k", "box:4", "--stride", "2", "--padding", "1", "--output-size",
                     "7x6")  # fmt: skip
    assert rows(out) == conv_transpose2d(NINE, filters.kernel("box:4"), None, 2, 1, output_size=(7, 6)).tolist()


def test_json_holds_problem_sizes_and_values():
    out, err = twofold("conv", "x.npy", "-k", "1 nan; 3 4", "--padding", "same", "--json")
    summary = json.loads(out)
    assert err == "" and summary["problem"] == "conv n1 ci1 co1 i3x3 k2x2 p0:1x0:1 f64"
    assert (summary["output_size"], summary["output"]) == ([3, 3], None)
    assert summary["values"][0][0] == "nan" and summary["seconds"] >= 0


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_a_layer_over_a_batch_into_npy_exactly():
    x, weight = RNG.standard_normal((2, 4, 5, 6)).astype("f4"), RNG.standard_normal((6, 2, 3, 3)).astype("f4")
    np.save("x4.npy", x)
    np.savez("w.npz", weight=weight, bias=np.arange(6, dtype="f4"))
    out, err = twofold("conv", "x4.npy", "-k", "w.npz:weight", "--bias", "w.npz:bias", "--groups", "2", "-o", "y.npy")
    assert err == "" and "output (3, 4) = (floor((5 + 0" in out and "wrote y.npy in" in out
    expected = conv2d(x, weight, np.arange(6, dtype="f4"), groups=2)
    assert np.array_equal(np.load("y.npy"), expected) and np.load("y.npy").dtype == np.float32


def test_channels_last_and_npz_and_a_kernel_in_a_text_file():
    x = RNG.integers(-9, 9, (5, 6, 3))
    np.save("x3.npy", x)
    Path("k.txt").write_text("# two rows\n1 2\n\n3 4\n")
    out, _ = twofold("conv", "x3.npy", "-k", "k.txt", "--layout", "channels_last", "-o", "y.npz")
    assert "each of 3 channels by itself" in out
    expected = np.stack([conv2d(x[:, :, c], [[1, 2], [3, 4]]) for c in range(3)], axis=-1)
    assert np.array_equal(files.read_array("y.npz"), expected)


def test_axes_tells_a_volume_from_a_layer():
    np.save("v.npy", np.arange(1, 28).reshape(3, 3, 3))
    np.save("k3.npy", np.ones((2, 2, 2), int))
    out, _ = twofold("conv", "v.npy", "-k", "k3.npy", "--axes", "3")
    assert [n for row in rows(out.replace("[0]\n", "").replace("[1]\n", "")) for n in row] == [
        60, 68, 84, 92, 132, 140, 156, 164,
    ]  # fmt: skip


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_edges_are_mapped_from_least_to_greatest():
    out, err = twofold("conv", "grey.png", "--kernel", "sobel-x", "-o", "edges.png")
    y = conv2d(GREY, filters.kernel("sobel-x"))
    assert np.array_equal(files.read_array("edges.png"), files.to_picture(y))
    assert f"range {y.min():g} is black, {y.max():g} white (auto" in out and err == ""


@pytest.mark.parametrize(("suffix", "tolerance"), [("jpg", 40), ("tif", 0), ("webp", 0)])
def test_a_kernel_that_keeps_brightness_keeps_the_scale_in_each_format(suffix, tolerance):
    out, _ = twofold("conv", "rgb.png", "-k", "box:3", "--padding", "same", "-o", f"soft.{suffix}")
    assert "0 is black, 255 white (clip" in out
    y = np.stack([conv2d(RGBA[:, :, c], filters.kernel("box:3"), padding="same") for c in range(3)], -1)
    written = files.read_array(f"soft.{suffix}").astype(float)
    assert np.abs(written - files.to_picture(y, 0, 255)).mean() <= tolerance
    twofold("conv", f"soft.{suffix}", "-k", "box:3", "-o", "again.npy", "--quiet")


def test_a_picture_is_enlarged_with_its_alpha_and_edges_go_without():
    size = ["-k", "bilinear-up:2", "--stride", "2", "--padding", "1"]
    out, _ = twofold("conv-transpose", "rgba.png", *size, "-o", "large.png")
    assert files.read_array("large.png").shape == (18, 24, 4) and "(clip" in out
    out, _ = twofold("conv", "rgba.png", "-k", "laplacian", "-o", "edges.png", "--json")
    assert files.read_array("edges.png").shape == (7, 10, 3)
    assert json.loads(out)["range"]["remark"] == "the alpha channel was left out"


@pytest.mark.parametrize("suffix", ["jpg", "JPEG"])
def test_a_jpeg_has_no_alpha_channel_and_that_is_said(suffix):
    out, _ = twofold("conv", "rgba.png", "-k", "box:3", "-o", f"soft.{suffix}")
    assert "(clip, the scale of the input); the alpha channel was left out" in out
    assert files.read_array(f"soft.{suffix}").shape == (7, 10, 3)


def test_channels_are_mixed_by_a_kernel_that_has_them():
    np.save("luma.npy", np.array([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1))
    out, _ = twofold("conv", "rgb.png", "-k", "luma.npy", "--channels", "-o", "luma.png")
    with Image.open("rgb.png") as image:
        expected = np.asarray(image.convert("L"), float)
    assert "(clip" in out and np.abs(files.read_array("luma.png") - expected).max() <= 1


def test_a_range_is_taken_as_asked_and_input_may_be_output():
    y = files.to_picture(conv2d(GREY, filters.kernel("sobel-y")), -100, 100)
    out, err = twofold("conv", "grey.png", "-k", "sobel-y", "--range", "-100:100", "-o", "grey.png", "--quiet")
    assert (out, err) == ("", "") and np.array_equal(files.read_array("grey.png"), y)
    assert sorted(path.name for path in Path().iterdir()) == ["grey.png", "rgb.png", "rgba.png", "x.npy"]
