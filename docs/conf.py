"""Sphinx settings: MyST pages, furo, and docstrings shown as they are written. Nothing is fetched from a network."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

from sphinx.application import Sphinx

import twofold

project = "Twofold"
author = "The Twofold developers"
copyright = f"2026, {author}"
version = release = twofold.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
highlight_language = "text"
smartquotes = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = "Twofold"
html_show_sourcelink = False


def docstring_as_written(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:  # the signature is Sphinx's
    """Turn a plain-text docstring into reStructuredText that looks the same.

    Our docstrings are written to be read in the source: equations, drawings and aligned columns, no markup beyond
    `names`. So a paragraph stays one, and whatever is indented, aligned or an example becomes a literal block.
    """
    paragraphs = "\n".join(lines).strip("\n").expandtabs().split("\n\n")
    lines[:] = [*"\n\n".join(map(_restructured, paragraphs)).splitlines(), ""]


def _restructured(paragraph: str) -> str:
    if not paragraph.strip():
        return ""
    if paragraph.lstrip().startswith(">>>"):
        return ".. code-block:: pycon\n\n" + _indented(paragraph)
    indented_or_aligned = re.search(r"^ |\S {2,}\S|^[^\w\s]{2,}$", paragraph, flags=re.MULTILINE)
    if indented_or_aligned:
        return ".. code-block:: text\n\n" + _indented(paragraph)
    pieces = re.split(r"`+([^`]+)`+", paragraph)  # every second piece stood in backquotes
    pieces[0::2] = [re.sub(r"([\\*_|`])", r"\\\1", text) for text in pieces[0::2]]
    pieces[1::2] = [rf"\ ``{name}``\ " for name in pieces[1::2]]  # "\ " ends markup where no space or comma does
    return "".join(pieces)


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


def draw_gallery(app: Sphinx, exception: Exception | None) -> None:
    """Draw the figures beside the pages; the stills alone where nobody looks."""
    if exception is None and app.builder.format == "html":
        draw = runpy.run_path(str(Path(app.srcdir) / "pictures" / "gallery.py"))["draw"]
        draw(Path(app.outdir) / "gallery", quick=bool(os.environ.get("CI")))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", docstring_as_written)
    app.connect("build-finished", draw_gallery)
