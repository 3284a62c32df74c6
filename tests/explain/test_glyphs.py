"""Our letters: every one drawn, inside its box, and like no other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from twofold.explain.glyphs import ADVANCE, ASCENT, CAP_HEIGHT, DESCENT, pen, strokes, text_width
from twofold.explain.raster import to_image
from twofold.explain.scene import Scene, Text

ASCII = [chr(code) for code in range(0x20, 0x7F)]
SIGNS = list("×·−→≤≥Σ…°")
INKED = [char for char in ASCII + SIGNS if char != " "]
BOX = "\N{SNOWMAN}"


def picture(char: str, size: float = 16.8, scale: float = 1) -> NDArray[np.int16]:
    """The darkness of one character drawn at a capital height of 12 px."""
    scene = Scene(ADVANCE * size + 2, 2 * size, "t", "d", [Text(1, 1.4 * size, char, size, "#000000")])
    return 255 - np.asarray(to_image(scene, scale).convert("L")).astype(np.int16)


@pytest.mark.parametrize("char", INKED)
def test_every_character_has_strokes_inside_its_box_pen_included(char: str) -> None:
    half = pen(10, "regular") / 10 / 2  # in parts of the size
    points = [point for stroke in strokes(char) for point in stroke]
    assert points
    assert strokes(char) != strokes(BOX)
    assert all(half <= x <= ADVANCE - half for x, _ in points), "ink beyond the advance touches the next character"
    assert all(-ASCENT + half <= y <= DESCENT - half for _, y in points)


@pytest.mark.parametrize("char", "0123456789ABCDEFGHIJKLMNOPRSTUVWXYZ")
def test_digits_and_capitals_stand_on_the_baseline_and_reach_the_cap_height(char: str) -> None:
    ys = [y for stroke in strokes(char) for _, y in stroke]
    assert max(ys) == 0
    assert min(ys) == pytest.approx(-CAP_HEIGHT, abs=1e-4)


def test_no_two_characters_look_alike_at_12_px() -> None:
    pictures = {char: picture(char) for char in [*INKED, BOX]}
    names = sorted(pictures)
    nearest = {
        (a, b): int(np.abs(pictures[a] - pictures[b]).sum()) for i, a in enumerate(names) for b in names[i + 1 :]
    }
    pair = min(nearest, key=lambda key: nearest[key])
    # A full stop in ink is worth about 1000; that much has to differ.
    assert nearest[pair] > 700, pair


@pytest.mark.parametrize("pair", ["0O", "1l", "1I", "lI", "5S", "8B", "2Z", "6G", "-−", "xX×", "rn", ".,", ":;"])
def test_the_pairs_that_readers_confuse_differ_clearly(pair: str) -> None:
    ink = picture(pair[0]).sum()
    assert np.abs(picture(pair[0]) - picture(pair[1])).sum() > 0.25 * ink


def test_ink_is_not_cut_off_at_any_size() -> None:
    for size in (9, 16.8, 60):
        for char in INKED:
            drawn = picture(char, size)
            edges = (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1])
            assert not any(edge.any() for edge in edges), (char, size)


def test_a_space_is_empty_and_an_unknown_character_is_a_box() -> None:
    assert strokes(" ") == strokes("\N{NO-BREAK SPACE}") == ()
    for char in ("漢", "\n", "\0", "\ud800", "\N{COMBINING ACUTE ACCENT}", "\N{GRINNING FACE}"):
        assert strokes(char) == strokes(BOX)
        assert len(strokes(char)) == 1


def test_typographic_punctuation_is_drawn_as_its_plain_sign() -> None:
    assert strokes("–") == strokes("—") == strokes("−")
    assert strokes("’") == strokes("'")


def test_width_counts_characters() -> None:
    assert text_width("", 14) == 0
    assert text_width("i", 10) == text_width("W", 10) == 6
    assert text_width("1*1 + 2*2", 20) == 108


def test_the_pen_grows_with_the_size_and_bold_is_heavier() -> None:
    assert pen(8) < pen(16) < pen(32)
    assert pen(14, "bold") > 1.3 * pen(14)
