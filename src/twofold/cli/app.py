"""The commands by name."""

from __future__ import annotations

from typing import Annotated

import typer

from twofold.cli.bench import bench
from twofold.cli.cache import cache
from twofold.cli.convolve import conv, conv_transpose
from twofold.cli.doctor import doctor
from twofold.cli.explain import explain
from twofold.cli.page import page
from twofold.cli.sizes import sizes
from twofold.cli.tour import tour

__all__ = ["app"]

app = typer.Typer(
    name="twofold",
    no_args_is_help=False,
    invoke_without_command=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def twofold(
    context: typer.Context,
    show_version: Annotated[
        bool,
        typer.Option("--version", metavar="", callback=_version, is_eager=True, help="Print the version and leave."),
    ] = False,
) -> None:
    """Convolution and its transpose: computed fast, computed exactly, and shown.

    Examples:
      twofold tour
      twofold conv photo.png --kernel sobel-x -o edges.png
      twofold explain 'conv_transpose i2x2 k3x3 s2' -o steps.gif

    'twofold COMMAND --help' says more about each command.
    """
    if context.invoked_subcommand is None:
        help_text = context.get_help()  # Rich prints it and returns nothing
        if help_text.strip():
            typer.echo(help_text)


def version() -> None:
    """Print the version."""
    from twofold import __version__

    typer.echo(f"twofold {__version__}")


app.command()(tour)
app.command("conv")(conv)
app.command("conv-transpose")(conv_transpose)
app.command()(explain)
app.command()(page)
app.command()(sizes)
app.command()(bench)
app.command()(doctor)
app.add_typer(cache, name="cache")
app.command()(version)
