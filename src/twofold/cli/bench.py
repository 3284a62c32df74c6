"""`twofold bench`: our operations held against other libraries, on problems or on the suite."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twofold.accuracies import DEFAULT
from twofold.cli.console import print_json, say, seconds_text, telling
from twofold.cli.options import completing
from twofold.errors import GeometryError

if TYPE_CHECKING:
    from twofold.bench import Entry, Run
    from twofold.bench.report import Table

__all__ = ["bench"]

_SUFFIXES = (".json", ".md")
_WIDTH = 78  # of the progress line, which is written over itself


def bench(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROBLEM...]", show_default=False,
            help="Problems, each in quotes, as 'conv ci64 co64 i56x56 k3x3 p1'; with --suite, parts of names of its "
            "layers. Without any: the whole suite.",
        ),
    ] = None,
    with_suite: Annotated[
        bool, typer.Option("--suite", metavar="", help="Measure layers of the suite: those named, or all.")
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(metavar="N,...", help="Batch sizes, as 1,8. Default 1, and for problems their own."),
    ] = None,
    peers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Whom to measure beside twofold: torch, torch-compile, onnxruntime, openvino, ncnn, mnn, litert, "
            "tensorflow, jax, scipy. Default all; who is not installed is listed with the way to install it.",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(metavar="N", help="Threads, and cores, that each may use.")] = 1,
    seconds: Annotated[float, typer.Option(metavar="S", help="Time to measure each peer on each problem.")] = 1.0,
    training: Annotated[
        bool, typer.Option("--training", metavar="", help="Measure forward and both gradients together.")
    ] = False,
    accuracy: Annotated[
        str,
        typer.Option(
            metavar="WORD", help="How exact twofold is to be: strict, standard, fast or bf16. Default standard.",
            autocompletion=completing("strict", "standard", "fast", "bf16"), show_default=False,
        ),
    ] = DEFAULT,
    all_algorithms: Annotated[
        bool,
        typer.Option(
            "--all-algorithms", metavar="",
            help="Also measure each algorithm that twofold has for a layer, and show whether the plan took the best.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object for programs.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Also write it: .json with every sample, .md as tables."),
    ] = None,
) -> None:  # fmt: skip
    """Measure twofold against other libraries, side by side.

    Each peer runs in its own process on the same cores, in its best layout,
    in turns with the others; every result is checked before it is timed.
    A ratio above 1 means that twofold is faster.

    Examples:
      twofold bench --suite dcgan fsrcnn --peers torch
      twofold bench 'conv_transpose ci64 co32 i56x56 k4 s2 p1' --batch 1,8
      twofold bench --seconds 0.2 -o result.json
      twofold bench --suite unet --accuracy fast --all-algorithms
    """
    from twofold.bench import Settings, choose, markdown, race
    from twofold.cli.machine import cpu_model
    from twofold.cli.results import check_output

    if output is not None:
        check_output(output, _SUFFIXES)
    entries = _entries(words or [], with_suite, _batches(batch))
    chosen = choose([name for name in (peers or "").split(",") if name])
    settings = Settings(
        threads=threads, seconds=seconds, training=training, accuracy=accuracy.lower(), algorithms=all_algorithms
    )
    begin = time.perf_counter()
    with _progress() as progress:
        run = race(entries, chosen, settings, cpu=cpu_model() or "", progress=progress)
    if output is not None:
        output.write_text(run.json() if output.suffix.lower() == ".json" else markdown(run), encoding="utf-8")
    if as_json:
        print_json(run.fields())
        return
    _print(run)
    if output is not None:
        say(f"wrote {output}, {len(run.rows)} problem{'s' * (len(run.rows) != 1)}, in {seconds_text(begin)}")


def _entries(words: list[str], with_suite: bool, batches: list[int]) -> list[Entry]:
    from twofold.bench import problems, suite

    if with_suite or not words:
        return suite(words, batches or [1])
    try:
        return problems(words, batches)
    except GeometryError as error:
        # What repairs it is spelled for Python's functions; `sizes` spells it for a problem.
        said = f"{error.rule}; 'twofold sizes' works a problem's sizes out"
        raise GeometryError(said, axis=error.axis) from error


def _batches(text: str | None) -> list[int]:
    if text is None:
        return []
    if not re.fullmatch(r"[1-9][0-9]{0,8}(,[1-9][0-9]{0,8})*", text):
        raise GeometryError(f"--batch takes whole numbers from 1, apart by commas, not {text[:100]!r}; try --batch 1,8")
    return [int(word) for word in text.split(",")]


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None] | None]:
    # A line on stderr that is written over itself, on a terminal only; without escapes.
    if not sys.stderr.isatty():
        yield None
        return

    def show(what: str, done: int, total: int) -> None:
        sys.stderr.write("\r" + f"{done}/{total} {what}"[:_WIDTH].ljust(_WIDTH))
        sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r" + " " * _WIDTH + "\r")
        sys.stderr.flush()


def _print(run: Run) -> None:
    from twofold.bench import remarks, tables, text

    ratios, means, times, *ways = tables(run)
    with telling() as (tell, on_terminal):
        for table in (*((ratios, times) if len(run.peers) <= 8 else (ratios,)), *ways, means):
            tell(_rich(table) if on_terminal else text(table) + "\n")  # type: ignore[arg-type]  # Rich prints both
    for line in remarks(run):
        say(line)


def _rich(table: Table) -> object:
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=table.title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for i, head in enumerate(table.heads):
        grid.add_column(Text(head), justify="right" if i else "left")
    for row in table.rows:
        grid.add_row(*(Text(word, style="bold red" if word == "WRONG" else "") for word in row))
    return grid
