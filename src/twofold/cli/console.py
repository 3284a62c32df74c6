"""How the command line prints: plain where piped, coloured only on a terminal, never an escape that nobody asked for.

Results go to stdout and everything about them to stderr where the result itself is printed, so that a pipe carries
numbers only. NO_COLOR, TERM=dumb and a stdout that is no terminal all mean: text and nothing else.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "print_json",
    "print_table",
    "print_text",
    "say",
    "seconds_text",
    "size_text",
    "speaks_unicode",
    "telling",
    "whole",
    "working",
]

_PLACE = r"^(?:input[^(]*)?\([\d,]+\)(?=  )"  # of a step: the cell it is about
_RESULT = r"(?<= = )[^ =]+$"
_LONG = 20_000_000  # multiplications; less is done before a bar could be read


def say(text: str = "", *, error: bool = False) -> None:
    """Print a line to stdout, or to stderr."""
    stream = sys.stderr if error else sys.stdout
    stream.write(text + "\n")


def print_json(fields: Mapping[str, Any]) -> None:
    """Print one JSON object, a line per field and ASCII only.

    nan and inf, and integers that a reader of JSON could round, become strings.
    """
    lines = (f"  {json.dumps(key)}: {json.dumps(_plain(value), allow_nan=False)}" for key, value in fields.items())
    say("{\n" + ",\n".join(lines) + "\n}")


def print_table(rows: list[tuple[str, str]]) -> None:
    """Print names and values in two columns, the names bold on a terminal."""
    width = max(len(name) for name, _ in rows)
    console = _console(sys.stdout)
    for name, value in rows:
        for i, line in enumerate(value.split("\n")):
            head = (name if i == 0 else "").ljust(width)
            if console is None:
                say(f"{head}  {line}".rstrip())
            else:
                from rich.text import Text

                console.print(Text.assemble((head, "bold"), "  ", line), soft_wrap=True)


def print_text(text: str) -> None:
    """Print an explanation; on a terminal its head, the places of its steps and their results stand out."""
    console = _console(sys.stdout)
    if console is None:
        say(text)
        return
    from rich.text import Text

    for i, line in enumerate(text.split("\n")):
        rich = Text(line, style="bold" if i == 0 else "")
        rich.highlight_regex(_PLACE, "cyan")
        rich.highlight_regex(_RESULT, "bold green")
        console.print(rich, soft_wrap=True)


def speaks_unicode(stream: TextIO | None = None) -> bool:
    """Whether what is printed may hold more than ASCII."""
    encoding = (stream or sys.stdout).encoding or "ascii"
    return encoding.lower().replace("-", "").replace("_", "") in ("utf8", "utf8sig", "utf16", "utf32")


@contextmanager
def working(what: str, multiplications: int, *, quiet: bool) -> Iterator[None]:
    """Show that work goes on, and for how long: a bar on stderr, on a terminal only, for long work only."""
    console = None if quiet or multiplications < _LONG else _console(sys.stderr)
    if console is None:
        yield
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        bar.add_task(what, total=None)
        yield


@contextmanager
def telling() -> Iterator[tuple[Callable[[str], None], Callable[[str, int, int], None] | None]]:
    """Give what prints lines, and what shows progress (a text, steps done, steps in all) below them on a terminal."""
    console = _console(sys.stdout)
    if console is None:
        yield say, None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield (
            lambda line: console.print(line, soft_wrap=True),
            lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
        )


def seconds_text(since: float) -> str:
    """Write the time since `time.perf_counter()` was `since`.

    >>> seconds_text(time.perf_counter())
    '0.00 s'
    """
    return f"{time.perf_counter() - since:.2f} s"


def whole(number: int) -> str:
    """Write a count so that it can be read, however large it is.

    >>> whole(1234567), whole(10**60)
    ('1,234,567', 'about 10^60')
    """
    if abs(number) < 10**21:
        return f"{number:,}"
    return f"about 10^{math.floor(number.bit_length() * math.log10(2))}"


def size_text(size: int) -> str:
    """Write a number of bytes in the unit that suits it.

    >>> size_text(96), size_text(3 << 20), size_text(10**60)
    ('96 bytes', '3 MiB', 'about 10^60 bytes')
    """
    if size >= 1 << 60 or size < 1 << 10:
        return f"{whole(size)} bytes"
    power = (size.bit_length() - 1) // 10
    return f"{size / (1 << 10 * power):.4g} {('', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')[power]}"


def _console(stream: TextIO) -> Console | None:
    # None where the stream takes no escapes at all; Rich itself would keep bold type under NO_COLOR.
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown"):
        return None
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False, force_terminal=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return str(value) if value.bit_length() < 10_000 else whole(value)
    return value
