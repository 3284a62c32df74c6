"""A trace as a file; the suffix of the path chooses what is written.

.svg .png     one picture: the overview, or the step that is asked for
.gif .apng    an animation: a frame per step, at most 256 unless the steps are chosen
.txt .json    all steps as text; everything as data
.html         the interactive page, opened at this trace, in one file
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import PurePath
from typing import TYPE_CHECKING

from twofold.errors import FileError, GeometryError
from twofold.explain.steps import check_step

if TYPE_CHECKING:
    from twofold.explain.scene import Scene
    from twofold.explain.trace import Trace

__all__ = ["SUFFIXES", "save"]

SUFFIXES = (".apng", ".gif", ".html", ".json", ".png", ".svg", ".txt")
_STILL = (".png", ".svg")
_MOVING = (".apng", ".gif")
# Long animations are drawn smaller, so that they stay small as files: the scale, and the px of all frames up to which.
_SCALES = ((1.5, 3.5e6), (1, 6e6), (0.8, 10e6), (0.7, math.inf))
_BYTES = 120_000  # of an animation; one that would be larger is drawn smaller still, but not below _LEAST
_LEAST = 0.44  # numbers in cells are then 8 px high


def save(
    trace: Trace,
    path: str | PathLike[str],
    *,
    step: int | None = None,
    steps: Sequence[int] | None = None,
    seconds: float = 0.8,
    overwrite: bool = True,
) -> str:
    """Write a trace and say what the file holds, as in "256 frames: the first 256 of 1600 steps".

    The old file stays whole until the new one is.

    step      which step a still picture shows; None for the overview
    steps     which steps an animation shows, in this order
    seconds   how long each is shown
    raises    FileError for a suffix that names no format or a path that cannot be written
              GeometryError for a step that does not exist

    >>> from twofold import explain
    >>> save(explain.conv1d([1, 2], [1]), "steps.bmp")
    Traceback (most recent call last):
    twofold.errors.FileError: '.bmp' is no format for a trace: .apng, .gif, .html, .json, .png, .svg and .txt are
      try steps.svg
    """
    name = PurePath(fspath(path))
    suffix = name.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES[:-1]) + f" and {SUFFIXES[-1]}"
        raise FileError(f"{suffix!r} is no format for a trace: {known} are", repair=name.stem + ".svg")
    if step is not None and suffix not in (*_STILL, ".html"):
        raise GeometryError(
            f"step chooses the step of a still picture, not of a {suffix} file", repair=f"steps=[{step}]"
        )
    if steps is not None and suffix not in _MOVING:
        raise GeometryError(f"steps chooses the frames of an animation, not of a {suffix} file", repair="step=0")
    if steps is not None and not len(steps):
        raise GeometryError("steps names no step at all", repair="steps=[0], or without steps")
    for chosen in [step] if step is not None else steps or ():
        check_step(len(trace.steps), chosen)
    from twofold.files import write_bytes, write_text

    content = _content(trace, suffix, step, steps, seconds)
    if isinstance(content, str):
        write_text(path, content, overwrite=overwrite)
    else:
        write_bytes(path, content, overwrite=overwrite)
    return _report(trace, suffix, step, steps)


def _report(trace: Trace, suffix: str, step: int | None, steps: Sequence[int] | None) -> str:
    from twofold.explain.export import STEPS
    from twofold.explain.figure import frame_count

    if suffix == ".html":
        return "the page"
    if suffix in _STILL:
        return "the overview" if step is None else f"step {range(len(trace.steps))[step]} of {len(trace.steps)}"
    if trace.derived and (suffix == ".json" or not len(trace.steps)):
        return "1 frame" if suffix in _MOVING else "the view"
    held = {".txt": len(trace.steps), ".json": min(len(trace.steps), STEPS)}.get(suffix, frame_count(trace))
    name = "steps" if suffix not in _MOVING else "frames"
    if steps:
        return _plural(len(steps), "frames") + f": chosen from {_plural(len(trace.steps), 'steps')}"
    if held < len(trace.steps):
        return f"{_plural(held, name)}: the first {held} of {len(trace.steps)} steps"
    return _plural(held, name)


def _plural(number: int, name: str) -> str:
    return f"{number} {name.removesuffix('s') if number == 1 else name}"


def _content(trace: Trace, suffix: str, step: int | None, steps: Sequence[int] | None, seconds: float) -> str | bytes:
    if suffix == ".txt":
        return trace.text(full=True) + "\n"
    if suffix == ".json":
        return (json.dumps(trace.describe(), indent=1) if trace.derived else trace.to_json()) + "\n"
    if suffix == ".html":
        return trace.page(step)
    if suffix == ".svg":
        from twofold.explain.svg import to_svg

        return to_svg(trace.scene(step))
    if suffix == ".png":
        from twofold.explain.raster import to_png

        return to_png(trace.scene(step))
    return _animated(_frames(trace, steps), suffix, seconds)


def _animated(scenes: Sequence[Scene], suffix: str, seconds: float) -> bytes:
    from twofold.explain.animation import to_apng, to_gif

    encode = to_gif if suffix == ".gif" else to_apng
    area = sum(scene.width * scene.height for scene in scenes)
    scale = next(scale for scale, most in _SCALES if area <= most)
    scale = min(scale, 1) if suffix == ".gif" else scale
    while True:
        content = encode(scenes, seconds=seconds, scale=scale, small=True)
        # Files grow a little less than their pictures do; what stays too large even at the least is left as it is.
        wanted = scale * (_BYTES / len(content)) ** 0.9
        if len(content) <= _BYTES or scale == _LEAST or wanted < 0.8 * _LEAST:
            return content
        scale = max(_LEAST, min(round(wanted, 2), scale - 0.05))


def _frames(trace: Trace, steps: Sequence[int] | None) -> Sequence[Scene]:
    from twofold.explain.figure import frames
    from twofold.explain.views import drawing

    if trace.derived:
        return drawing.frames(trace, trace.seen, trace.tab or None, steps)
    return frames(trace, steps)
