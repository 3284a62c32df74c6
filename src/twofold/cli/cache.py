"""`twofold cache`: the machine code that the engine keeps on disk."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from twofold.cli.console import print_json, print_table, say, size_text, whole

__all__ = ["cache", "cache_facts"]

cache = typer.Typer(
    rich_markup_mode="rich",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@cache.callback()
def _group(context: typer.Context) -> None:
    """See and clear the machine code that is kept on disk.

    Compiled kernels are kept, so that they are compiled once. TWOFOLD_CACHE=DIR
    in the environment keeps them elsewhere, TWOFOLD_CACHE=off nowhere.

    Examples:
      twofold cache info
      twofold cache clear
    """
    if context.invoked_subcommand is None:
        help_text = context.get_help()  # Rich prints it and returns nothing
        if help_text.strip():
            typer.echo(help_text)


@cache.command("info")
def info(
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object for programs.")] = False,
) -> None:
    """Say where compiled kernels are kept, how many, and whether they are used.

    Examples:
      twofold cache info
      twofold cache info --json
    """
    facts = cache_facts()
    if as_json:
        print_json(facts)
    else:
        print_table(_rows(facts))


@cache.command("clear")
def clear() -> None:
    """Remove the kernels that are kept; they are compiled again when needed.

    Nothing else in the directory is touched.

    Examples:
      twofold cache clear
      TWOFOLD_CACHE=DIR twofold cache clear
    """
    from twofold.engine import cache as code_cache

    before = code_cache.info()
    removed = code_cache.clear()
    where = f" from {before.path}" if before.path else ""
    reason = f": {before.reason}" if before.reason else ""
    say(f"removed {whole(removed)} {'file' if removed == 1 else 'files'}{where}{reason}")


def cache_facts() -> dict[str, Any]:
    """Return the fields of `code_cache.info()`, the path as text."""
    from twofold.engine import cache as code_cache

    found = code_cache.info()
    return {**asdict(found), "path": str(found.path) if found.path else None}


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("directory", facts["path"] or "none"),
        ("kernels", f"{whole(facts['files'])}, {size_text(facts['bytes'])} of at most {size_text(facts['limit'])}"),
        ("used", "yes" if facts["usable"] else "no"),
    ]
    return rows + ([("because" if not facts["usable"] else "but", facts["reason"])] if facts["reason"] else [])
