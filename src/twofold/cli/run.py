"""Runs a command line: one sentence on stderr and an exit code for whatever goes wrong, never a traceback.

    0    done                                  1    the reader of our output went away, or a fault of ours
    2    refused: the input, an option, a file   130  interrupted

A fault of ours is reported in a sentence too; with TWOFOLD_TRACEBACK=1 in the environment it comes with its traceback.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from twofold.errors import GeometryError, TwofoldError

__all__ = ["run"]

_FIELDS = {  # the option of a function -> the field of a problem's string; padding_mode is a word without a letter
    "stride": "s", "padding": "p", "padding_mode": "", "dilation": "d", "groups": "g", "output_padding": "op",
    "output_size": "o",
}  # fmt: skip
_SPELLING = re.compile(rf"\b({'|'.join(_FIELDS)}|accuracy|layout|seconds|view|tab)=('?)([\w.…-]+)\2(?![\w(])")
_REPAIRS = [  # of a call in Python -> of a command line
    (re.compile(r"^key='(.*)'$"), r"FILE.npz:\1"),
    (re.compile(r"^without key$"), "without :NAME"),
    (re.compile(r"\b\w+\.astype\(np\.(\w+)\)( on both)?"), r"an array of \1"),
    (re.compile(r"\bout_dtype=[\w.]+, or "), ""),
]
_PYTHON = re.compile(r"[\w\]][(\[]|=|`")  # a call, an index, an argument: nothing to type in a shell


def run(arguments: Sequence[str]) -> int:
    """Run `twofold` with these arguments and return the exit code."""
    _prepare_streams()
    try:
        code = _invoke(list(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        _abandon_stdout()
        if error.errno == errno.EPIPE:
            return 1
        return _refuse(f"{error.strerror or error}" + (f": {error.filename!r}" if error.filename else ""))
    return code


def _invoke(arguments: list[str]) -> int:
    import typer

    from twofold.cli.app import app

    try:
        result = app(args=arguments, prog_name="twofold", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except TwofoldError as error:
        takes_problem = next((word for word in arguments if not word.startswith("-")), "") in (
            "explain",
            "page",
            "sizes",
        )
        return _refuse(_sentence(error, takes_problem))
    except (OverflowError, MemoryError) as error:
        rule, _, repair = str(error).partition("\n  try ")
        return _refuse(_sentence(GeometryError(rule or "this needs more memory than there is", repair=repair or None)))
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.Abort:
        return 130
    except (OSError, KeyboardInterrupt):
        raise
    except Exception as error:
        if hasattr(error, "format_message"):  # Typer's own refusals, whichever package it takes them from
            return _refuse(_usage(error))
        return _fault(error)


def _sentence(error: TwofoldError, takes_problem: bool = False) -> str:
    # What repairs a call in Python, as the command line spells it: with options, or in the problem's string.
    def spelled(match: re.Match[str]) -> str:
        if takes_problem and match[1] in _FIELDS:
            return _FIELDS[match[1]] + match[3]
        return f"--{match[1].replace('_', '-')} {match[3]}"

    repair = error.repair or ""
    for pattern, words in _REPAIRS:
        repair = pattern.sub(words, repair)
    repair = _SPELLING.sub(spelled, repair)
    known = repair and (repair.startswith(("FILE.npz:", "pip install ")) or not _PYTHON.search(repair))
    return type(error)(_SPELLING.sub(spelled, error.rule), axis=error.axis, repair=repair if known else None).sentence


def _usage(error: Any) -> str:
    sentence = str(error.format_message()).strip().rstrip(".").replace(". Did you mean", ", did you mean")
    context = getattr(error, "ctx", None)
    see = f"{'' if sentence.endswith('?') else ';'} see '{context.command_path} --help'" if context is not None else ""
    return sentence[:1].lower() + sentence[1:] + see


def _refuse(sentence: str, code: int = 2) -> int:
    line = " ".join(sentence.split())
    with suppress(OSError):
        sys.stderr.write(f"twofold: {line}\n")
        sys.stderr.flush()
    return code


def _fault(error: Exception) -> int:
    if os.environ.get("TWOFOLD_TRACEBACK"):
        raise error
    reason = f"{type(error).__name__}: {error}"[:300]
    return _refuse(f"a fault in twofold itself, please report it ({reason}); TWOFOLD_TRACEBACK=1 tells more", 1)


def _prepare_streams() -> None:
    # A stream may be closed (None), or unable to encode a file's name.
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # open until the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        # Typer's help would colour pipes on GitHub's machines, and print bold type under NO_COLOR.
        os.environ.setdefault("_TYPER_FORCE_DISABLE_TERMINAL", "1")


def _abandon_stdout() -> None:
    # Python flushes stdout once more at its end, and would complain; what is left in it now goes nowhere.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
