"""Prints the tables of a result as Markdown: python benchmarks/report.py benchmarks/results/NAME.json > NAME.md."""

from __future__ import annotations

import sys
from pathlib import Path

from twofold.bench import Run, markdown
from twofold.errors import FileError


def main(arguments: list[str]) -> int:
    """Print the report of one result, or say what is wrong with it."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python benchmarks/report.py RESULT.json\n")
        return 2
    try:
        page = markdown(Run.read(Path(arguments[0]).read_text(encoding="utf-8")))
    except (OSError, FileError) as error:
        sys.stderr.write(f"report: {error.sentence if isinstance(error, FileError) else error}\n")
        return 2
    sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
