"""The page: head, contents, the chapters as numbered sections, and where to go from there.

One file that needs nothing from elsewhere: no script, no font, no address outside its own folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from twofold.tour import html
from twofold.tour.chapter import Chapter
from twofold.tour.picture import Photograph
from twofold.tour.shown import Shown
from twofold.tour.words import spread

__all__ = ["commands", "page", "snippet"]

_NEXT, _FILES = "Your turn", "What is in this folder"


def commands() -> tuple[tuple[str, str], ...]:
    """Commands to try next, each with what it does."""
    return (
        ("twofold tour photo.jpg -o my-tour", "this tour, on your own picture"),
        ("twofold explain 'conv_transpose i4x4 k3x3 s2x2 p1x1' -o steps.gif", "any layer, step by step"),
        ("twofold conv photo.jpg --kernel sobel-x -o edges.png", "one filter, one picture"),
        ("twofold sizes 'conv_transpose i113 k3 s2 p1 op1'", "the arithmetic of a layer: size, cost, overlap"),
    )


def snippet(photo: Photograph) -> str:
    """Python that repeats the decoder's first step from the files in the folder, and explains a small one."""
    groups = len(photo.pixels)
    return "\n".join(
        (
            "import numpy as np",
            "import twofold as tf",
            "",
            'quarter = np.load("arrays/encoded-quarter.npy")',
            'weight = np.load("arrays/decoder-weight.npy")',
            'half = np.load("arrays/encoded-half.npy")',
            "",
            "# back to the exact size of the half picture",
            f"y = tf.conv_transpose2d(quarter, weight, stride=2, padding=1, groups={groups},",
            "                        output_size=half.shape[1:])",
            "print(quarter.shape, y.shape)",
            "",
            "# every product of a small one, with its sums",
            "print(tf.explain.conv_transpose1d([1, 2, 3], [1, 10, 100], stride=2))",
        )
    )


def page(photo: Photograph, chapters: Sequence[Chapter], files: Sequence[str]) -> str:
    """Write the whole page; `files` are listed at its end."""
    hero = next(shown for chapter in chapters for shown in chapter.shown() if shown.stem == "picture")
    css = (resources.files("twofold.tour") / "page.css").read_text("utf-8")
    titles = [*(chapter.title for chapter in chapters), _NEXT, _FILES]
    bodies = [*(chapter.section() for chapter in chapters), _next(photo), _files(files)]
    sections = "\n".join(
        f'<section id="part-{i}" aria-labelledby="title-{i}"><h2 id="title-{i}"><span class="number">{i}</span>'
        f"{html.text(title)}</h2>\n{body}</section>"
        for i, (title, body) in enumerate(zip(titles, bodies, strict=True), start=1)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>Convolution and its transpose, on one picture</title>\n"
        '<meta name="description" content="A convolution layer and a transposed convolution layer, explained and '
        'compared on one picture, with all their numbers.">\n'
        f'<link rel="icon" href="data:,">\n<style>\n{css}</style>\n</head>\n<body>\n'
        f'<a class="skip" href="#part-1">Skip to the first section</a>\n{_head(photo, titles, hero)}\n'
        f"<main>\n{sections}\n</main>\n<footer><p>Made by <strong>Twofold</strong>: convolution and its transpose, "
        f"computed fast, computed exactly, and shown. Picture: {html.text(photo.credit)}.</p></footer>\n"
        "</body>\n</html>\n"
    )


def _head(photo: Photograph, titles: Sequence[str], hero: Shown) -> str:
    links = "".join(f'<li><a href="#part-{i}">{html.text(title)}</a></li>' for i, title in enumerate(titles, start=1))
    notes = "".join(html.paragraph(html.text(note), "note") for note in photo.notes)
    return (
        '<header><div class="hero"><div><p class="kicker">A tour by Twofold</p>'
        "<h1>Convolution and its transpose, on one picture</h1>"
        + html.paragraph(
            "A <strong>convolution layer</strong> looks at a picture through a small window and writes down what it "
            "sees. A <strong>transposed convolution layer</strong> takes such notes and paints a picture from them. "
            "Networks that segment, sharpen or invent pictures are built from these two. Here you see both, number by "
            f"number and then on {html.text(photo.name)}, {spread(photo.size)} pixels. "
            "Every number on this page comes from one run.",
            "lead",
        )
        + "</div>"
        + html.figure(hero, html.text(photo.credit) + ".", kind="portrait")
        + "</div>"
        + notes
        + html.paragraph("<code>fine = coarse · stride + tap · dilation − padding</code>", "formula")
        + html.paragraph(
            "This one line says which cells meet: <em>fine</em> is a cell of the large side, <em>coarse</em> a cell of "
            "the small side, and a <em>tap</em> is a cell of the kernel. Read it from the fine side to the coarse "
            "side and it is convolution; read it from the coarse side to the fine side and it is its transpose."
        )
        + f'<nav aria-label="Contents"><ol>{links}</ol></nav></header>'
    )


def _next(photo: Photograph) -> str:
    shell = "\n\n".join(f"# {what}\n{command}" for command, what in commands())
    return (
        html.paragraph("In a terminal:")
        + html.pre(shell, "Commands to try")
        + html.paragraph("In Python, started in this folder:")
        + html.pre(snippet(photo), "Python to try")
        + html.paragraph(
            "Questions to play with: what does <code>dilation=2</code> do to the counts of section 5? Which "
            "<code>output_padding</code> leads from 14 back to 28, and which to 27, with the kernel of section 3? "
            "How many 3 × 3 convolutions, one after the other, see as far as one of 7 × 7?"
        )
    )


def _files(files: Sequence[str]) -> str:
    groups = {
        "pictures": "The pictures of this page, the animations and the drawings.",
        "arrays": "The numbers themselves, for <code>numpy.load</code>.",
    }
    parts = []
    for folder, words in groups.items():
        inside = sorted(file for file in files if file.startswith(folder + "/"))
        links = "".join(f'<li><a href="{file}">{html.text(file.split("/")[1])}</a></li>' for file in inside)
        parts.append(f'<h3>{folder}/</h3><p>{words}</p><ul class="files">{links}</ul>')
    results = '<p><a href="results.json">results.json</a> holds all figures of this page.</p>'
    return results + "".join(parts)
