"""The tour: convolution and transposed convolution on one picture, told, shown and compared.

`tour` runs the chapters in order, prints them, and writes a folder whose `index.html` opens offline.

    picture       the photograph that everything is done to        shown     an array as a picture, with its map
    textbook      1  two small examples, number by number          filtering 2  what single filters find
    coding        3  encoder and decoder, exact sizes              adjoint   4  why the transpose is no inverse
    checkerboard  5  its cause and its cure                        comparison 6 the two layers, point by point
    page, html    the page around them                             folder    what is written, index.html last
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from twofold import __version__
from twofold.files import write_array
from twofold.tour.adjoint import Adjoint
from twofold.tour.chapter import Chapter, Write
from twofold.tour.checkerboard import Checkerboard
from twofold.tour.coding import Coding
from twofold.tour.comparison import Comparison
from twofold.tour.filtering import Filtering
from twofold.tour.folder import MARK, RESULTS, Folder
from twofold.tour.page import commands, page
from twofold.tour.picture import Photograph, load
from twofold.tour.shown import Shown
from twofold.tour.textbook import Textbook
from twofold.tour.words import plain, spread

__all__ = ["tour"]

Progress = Callable[[str, int, int], None]


def tour(
    picture: str | Path | None = None,
    out: str | Path = "twofold-tour",
    *,
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> Path:
    """Run the tour on a picture, print it line by line and write it as a folder; return the path of its page.

    picture   a file that `twofold.files` reads; by default the bundled photograph
    out       a new or an empty folder, or one of an earlier tour, whose files are replaced one by one; others in it
              are left alone
    say       takes each line         progress  takes (what is being done, steps done, steps in all)
    raises    FileError if the picture cannot be read, or `out` cannot be a folder or holds what no tour wrote
    """
    report = progress or (lambda what, done, total: None)

    def tell(lines: Iterable[str]) -> None:
        for line in lines:
            say(plain(line))

    folder = Folder(out)
    photo = load(picture)
    folder.prepare()
    chapters: list[Chapter] = []
    tell(_welcome(photo))
    for number, (what, chapter) in enumerate(_chapters(photo), start=1):
        report(what, number - 1, _STEPS)
        chapters.append(chapter())
        tell(_told(number, chapters[-1]))
    report("writing the page", _STEPS - 1, _STEPS)
    _plan(folder, photo, chapters)
    folder.write()
    report("done", _STEPS, _STEPS)
    tell(_farewell(folder))
    return folder.root / "index.html"


_STEPS = 7  # six chapters and the writing


def _chapters(photo: Photograph) -> Iterator[tuple[str, Callable[[], Chapter]]]:
    yield "two small examples", Textbook.run
    yield "filtering the picture", lambda: Filtering.run(photo)
    coding = Coding.run(photo)
    yield "encoding and decoding", lambda: coding
    yield "adjoint and inverse", lambda: Adjoint.run(photo)
    yield "the checkerboard", lambda: Checkerboard.run(photo, coding.half)
    yield "measuring the two layers", lambda: Comparison.run(photo)


def _plan(folder: Folder, photo: Photograph, chapters: list[Chapter]) -> None:
    pictures = {shown.file: shown for chapter in chapters for shown in chapter.shown()}
    folder.add_json(RESULTS, _results(photo, chapters, pictures))
    for chapter in chapters:
        for file, write in chapter.files().items():
            folder.add(file, write)
        for stem, array in chapter.arrays().items():
            folder.add_array(f"arrays/{stem}.npy", np.ascontiguousarray(array))
    for file, shown in pictures.items():
        folder.add(file, _png(shown))
    folder.add_text("index.html", page(photo, chapters, folder.files))


def _png(shown: Shown) -> Write:
    return lambda path: write_array(path, shown.picture())


def _results(photo: Photograph, chapters: list[Chapter], pictures: dict[str, Shown]) -> dict[str, Any]:
    return {
        MARK: __version__,
        "picture": {
            "name": photo.name,
            "credit": photo.credit,
            "channels": len(photo.pixels),
            "size": list(photo.size),
            "notes": list(photo.notes),
        },
        **{type(chapter).__name__.lower(): chapter.figures() for chapter in chapters},
        "pictures": {file: shown.figures() for file, shown in pictures.items()},
    }


def _welcome(photo: Photograph) -> Iterator[str]:
    yield "Convolution and its transpose, on one picture"
    yield f"{photo.name}: {spread(photo.size)} pixels, {photo.kind}. {photo.credit[0].upper()}{photo.credit[1:]}."
    yield from photo.notes


def _told(number: int, chapter: Chapter) -> Iterator[str]:
    heading = f"{number}. {chapter.title}"
    yield from ("", heading, "=" * len(heading), "")
    yield from chapter.told()


def _farewell(folder: Folder) -> Iterator[str]:
    heading = "What to try next"
    yield from ("", heading, "=" * len(heading), "")
    for command, what in commands():
        yield f"  {command:<67}  {what}"
    yield from ("", "  In Python:", "  import twofold as tf")
    yield "  print(tf.explain.conv_transpose1d([1, 2, 3], [1, 10, 100], stride=2))"
    yield from ("", f"{len(folder.files)} files written. Open {folder.root / 'index.html'} in a browser.")
