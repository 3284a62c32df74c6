"""`twofold tour`: both operations on one picture, written as pages and pictures into a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from twofold.cli.console import say, seconds_text, telling

__all__ = ["tour"]


def tour(
    picture: Annotated[
        Path | None,
        typer.Argument(metavar="PICTURE", show_default=False, help="Your picture; without one, one that comes along."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="A new or an empty folder, or that of a former tour.")
    ] = Path("twofold-tour"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Print nothing.")] = False,
) -> None:
    """See what both operations do, on a picture: start here.

    Writes a folder of pictures, animations and numbers, with a page (index.html) that leads through them offline.

    Examples:
      twofold tour
      twofold tour photo.jpg -o my-tour
    """
    from twofold.tour import tour as run

    start = time.perf_counter()
    if quiet:
        run(picture, output, say=lambda line: None)
        return
    with telling() as (tell, progress):
        run(picture, output, say=tell, progress=progress)
    say(f"It took {seconds_text(start)}.")
