"""`twofold page`: the interactive page of a problem, of arrays, of a picture; and what it refuses."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from twofold.cli.run import run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.arange(25.0).reshape(5, 5))
    np.save("w.npy", np.ones((2, 2)))
    np.save("many.npy", np.zeros((600, 600)))
    return tmp_path


def written(folder, *arguments, name="page.html"):
    assert run(["page", *arguments]) == 0
    page = (folder / name).read_text(encoding="utf-8")
    return json.loads(re.search(r'id="state">(.*?)</script>', page, re.DOTALL)[1])


def test_without_anything_it_is_the_first_example(folder, capsys):
    assert written(folder) is None
    assert capsys.readouterr().out.startswith("wrote page.html")


def test_a_problem_with_its_numbers(folder):
    problem = ["conv_transpose", "i2x2", "k2x2"]
    state = written(folder, *problem, "--input", "1 2; 3 4", "--kernel", "digits", "-o", "a.html", name="a.html")
    assert state["problem"] == "conv_transpose n1 ci1 co1 i2x2 k2x2 f32"
    assert state["x"] == [[[[1, 2], [3, 4]]]]
    assert state["weight"] == [[[[1, 10], [100, 1000]]]]
    assert state["view"] == "transposed"


def test_numbers_alone_make_a_convolution(folder):
    state = written(folder, "--input", "1 2 3; 4 5 6", "--kernel", "1 1", "--view", "matrix")
    assert (state["problem"], state["view"]) == ("conv n1 ci1 co1 i2x3 k1x2 f32", "matrix")
    assert written(folder, "--input", "1 2 3; 4 5 6")["problem"] == "conv n1 ci1 co1 i2x3 k2x3 f32"
    assert written(folder, "--kernel", "1 2; 3 4")["problem"] == "conv n1 ci1 co1 i5x5 k2x2 f32"


def test_two_array_files(folder):
    state = written(folder, "x.npy", "w.npy", "--bias", "0.5")
    assert state["problem"] == "conv n1 ci1 co1 i5x5 k2x2 f32"
    assert state["x"][0][0][1] == [5, 6, 7, 8, 9]
    assert state["bias"] == [0.5]


def test_arrays_of_any_rank_find_their_problem(folder):
    np.save("planes.npy", np.ones((2, 3, 3)))
    np.save("line.npy", np.arange(6))
    np.save("full.npy", np.ones((4, 2, 2, 2)))
    for arguments, problem in {
        ("planes.npy",): "conv n1 ci2 co2 i3x3 k3x3 g2 f32",  # without a kernel an edge filter on every plane
        ("planes.npy", "w.npy"): "conv n1 ci2 co2 i3x3 k2x2 g2 f32",
        ("planes.npy", "planes.npy"): "conv n1 ci1 co1 i2x3x3 k2x3x3 f32",
        ("planes.npy", "full.npy"): "conv n1 ci2 co4 i3x3 k2x2 f32",
        ("line.npy",): "conv n1 ci1 co1 i6 k3 f32",
        ("line.npy", "-k", "1 2"): "conv n1 ci1 co1 i6 k2 f32",
        ("conv_transpose", "s2", "--input", "line.npy", "-k", "1 2"): "conv_transpose n1 ci1 co1 i6 k2 s2 f32",
    }.items():
        assert written(folder, *arguments)["problem"] == problem


def test_numbers_that_merely_count_are_left_to_the_page(folder):
    state = written(folder, "conv", "i500x500", "k3x3")
    assert "x" not in state and (folder / "page.html").stat().st_size < 300_000


def test_a_picture_opens_the_image_view_and_is_sampled(folder, capsys):
    from PIL import Image

    Image.new("RGB", (600, 300), (10, 20, 30)).save("p.png")
    state = written(folder, "p.png", "--kernel", "box")
    assert state["problem"] == "conv n1 ci1 co1 i100x200 k3x3 f32"
    assert state["view"] == "image"
    assert state["x"][0][0][0][0] == 20
    assert "sampled to 200x100" in capsys.readouterr().out


def test_open_opens_it(folder, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    written(folder, "--open", "-q")
    assert opened == [(folder / "page.html").as_uri()]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frob"], "is no field of a problem"),
        (["nofile.npy"], "does not exist"),
        (["-o", "x.png"], "has the suffix '.png'"),
        (["--view", "frob"], "--view takes"),
        (["x.npy", "w.npy", "--kernel", "box"], "at most a kernel may follow"),
        (["many.npy"], "holds 360000 numbers"),
        (
            ["conv", "i3x3", "k9x9"],
            "kernel does not fit: (kernel_size 9 - 1) * dilation 1 + 1 = 9 cells, but input 3 + "
            "padding 0 + 0 = 3 (axis height); try p3",
        ),
        (["conv", "i5", "k3", "--view", "transposed"], "conv has no view 'transposed'"),
        (["planes.npy", "line.npy"], "a kernel of shape (3,) does not fit an input of shape (2, 3, 3)"),
    ],
)
def test_refusals(folder, capsys, arguments, words):
    np.save("planes.npy", np.ones((2, 3, 3)))
    np.save("line.npy", np.ones(3))
    assert run(["page", *arguments]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert out == ""
    assert not (folder / "page.html").exists()
