"""The folder that the tour writes: which files, in which order, and nothing else in it touched.

Every file is replaced in one step, and `index.html` comes last: whatever fails before, no half-written page is left.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twofold.errors import FileError
from twofold.files import write_array, write_text

__all__ = ["Folder"]


class Folder:
    """A list of files to be written; `write` makes them.

    >>> Folder("no such place").files
    ()
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._jobs: dict[str, Callable[[Path], None]] = {}

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of all files so far, relative to the folder."""
        return tuple(self._jobs)

    def add(self, file: str, write: Callable[[Path], None]) -> None:
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
        """Make the folder itself, so that a path that cannot be one is refused before the work begins."""
        _make(self.root)

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


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise FileError(f"{str(folder)!r} is a file, and the tour writes a folder", repair="another name") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FileError(f"{str(folder)!r} cannot be made: {reason}", repair="another name") from error
