"""The folder that the tour writes: which files, in which order, and nothing else in it touched.

Every file is replaced in one step, and `index.html` comes last: whatever fails before, no half-written page is left.
A folder that holds anything is written into only if it carries the mark of an earlier tour, a key in `results.json`,
which is therefore written first: a tour that was cut off can be run again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twofold.errors import FileError
from twofold.files import write_array, write_text

__all__ = ["MARK", "RESULTS", "Folder"]

RESULTS = "results.json"
MARK = "twofold-tour"  # the first key of RESULTS, with the version of twofold that wrote it
_LARGEST = 1_000_000  # bytes of a results.json that is read; ours has some ten thousand


class Folder:
    """A list of files to be written; `write` makes them.

    >>> Folder("no such place").files
    ()
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._jobs: dict[str, Callable[[Path], object]] = {}

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of all files so far, relative to the folder."""
        return tuple(self._jobs)

    def add(self, file: str, write: Callable[[Path], object]) -> None:
        """Plan one file; `write` gets its full path."""
        self._jobs[file] = write

    def add_array(self, file: str, array: Any) -> None:
        """Plan an array or a picture; the suffix says which."""
        self.add(file, lambda path: write_array(path, array))

    def add_text(self, file: str, text: str) -> None:
        """Plan a text."""
        self.add(file, lambda path: write_text(path, text))

    def add_json(self, file: str, content: dict[str, Any]) -> None:
        """Plan a JSON file; NaN and infinity are no JSON and are refused."""
        self.add_text(file, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def prepare(self) -> None:
        """Make the folder itself; refused before the work begins if it cannot be one, or holds what is not a tour's."""
        _make(self.root)
        try:
            found = sorted(path.name for path in self.root.iterdir())
        except OSError as error:
            raise FileError(f"{str(self.root)!r} cannot be read: {error.strerror}", repair="another folder") from error
        if found and not _is_tour(self.root / RESULTS):
            shown = next((name for name in ("index.html", RESULTS) if name in found), found[0])
            raise FileError(
                f"{str(self.root)!r} holds files that no tour wrote, such as {shown!r}, and a tour could replace them",
                repair="-o OTHER, a new or an empty folder",
            )

    def write(self, done: Callable[[int, int], None] | None = None) -> None:
        """Write all files in the order in which they were planned."""
        for count, (file, write) in enumerate(self._jobs.items(), start=1):
            path = self.root / file
            for place in (path, path.parent):
                if place != self.root and place.is_symlink():
                    rule = f"{str(place)!r} is a symbolic link, and the tour writes inside its folder only"
                    raise FileError(rule, repair="another folder")
            _make(path.parent)
            write(path)
            if done:
                done(count, len(self._jobs))


def _is_tour(results: Path) -> bool:
    # Somebody else's file until it is read: of any kind, size and content.
    try:
        if results.is_symlink() or not results.is_file() or results.stat().st_size > _LARGEST:
            return False
        content = json.loads(results.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and MARK in content


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise FileError(f"{str(folder)!r} is a file, and the tour writes a folder", repair="another name") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FileError(f"{str(folder)!r} cannot be made: {reason}", repair="another name") from error
