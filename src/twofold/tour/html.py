"""The few pieces of HTML that the page is made of. All text that comes from outside passes `text`."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from twofold.explain.numbers import number
from twofold.tour.shown import Shown

__all__ = ["drawing", "figure", "figures", "matrix", "paragraph", "pre", "stacking_table", "sums", "table", "text"]

Array = NDArray[Any]


_TALLEST = 40  # rem, the height of a picture on the page


def text(words: str) -> str:
    """Escape text for any place in the page; 3 × 3 and 5 % stay on one line.

    >>> text('<b> & "c"')
    '&lt;b&gt; &amp; &quot;c&quot;'
    """
    return re.sub(" (?=[×%])|(?<=×) ", "\N{NO-BREAK SPACE}", html.escape(words, quote=True))


def paragraph(words: str, kind: str = "") -> str:
    """Wrap markup of our own as a paragraph."""
    return f'<p class="{kind}">{words}</p>' if kind else f"<p>{words}</p>"


def pre(words: str, label: str) -> str:
    """Show lines as they are; a narrow screen scrolls them, so they can be reached by keyboard."""
    return f'<pre tabindex="0" role="region" aria-label="{text(label)}"><code>{text(words)}</code></pre>'


def sums(groups: Sequence[tuple[str, str]]) -> str:
    """Show size arithmetic: what it is about, and its lines."""
    items = []
    for what, lines in groups:
        codes = "".join(f"<br><code>{text(line)}</code>" for line in lines.splitlines())
        items.append(f"<li><strong>{text(what)}</strong>{codes}</li>")
    return '<ul class="sums">' + "".join(items) + "</ul>"


def matrix(array: Array, caption: str, role: str, head: str = "") -> str:
    """Show a small matrix as a table; `role` (input, weight, output, plain, fractions) chooses its look."""
    rows = "".join("<tr>" + "".join(f"<td>{number(v)}</td>" for v in row) + "</tr>" for row in array.tolist())
    return f'<table class="matrix {role}"><caption>{head or text(caption)}</caption><tbody>{rows}</tbody></table>'


def figure(shown: Shown, words: str = "", *, share: float = 1.0, extra: str = "", kind: str = "") -> str:
    """Show a picture with its title, words of our own, and the map that made it.

    share  of the width of its place, so that a smaller picture looks smaller
    """
    height, width = (n * shown.enlargement for n in shown.values.shape[-2:])
    crisp = " crisp" if shown.enlargement > 1 or share < 1 else ""
    widest = _TALLEST * share * width / height  # a tall picture is narrow rather than taller than the screen
    style = f' style="width:min({100 * share:.4g}%, {widest:.4g}rem)"'
    colour = shown.values.ndim == 3 and len(shown.values) == 3
    scale = "" if colour else f'<span class="scale {"signed" if shown.signed else "grey"}" aria-hidden="true"></span>'
    return (
        f'<figure class="shown {kind}"><div class="frame"><a href="{shown.file}"{style}>'
        f'<img class="picture{crisp}" src="{shown.file}" width="{width}" height="{height}" alt="{text(shown.alt)}">'
        f"</a></div><figcaption><strong>{text(shown.title)}</strong> {words}{extra}"
        f'<span class="map">{scale}{text(shown.map)}</span></figcaption></figure>'
    )


def drawing(file: str, alt: str, caption: str, size: tuple[float, float], *, still: str | None = None) -> str:
    """Show a drawing or an animation on white paper; `still` replaces it for readers who want no motion."""
    width, height = (round(n) for n in size)
    image = f'<img src="{file}" width="{width}" height="{height}" alt="{text(alt)}">'
    if still:
        source = f'<source media="(prefers-reduced-motion: reduce)" srcset="{still}">'
        image = f"<picture>{source}{image}</picture>"
    return f'<figure class="drawing"><div class="paper">{image}</div><figcaption>{caption}</figcaption></figure>'


def figures(items: Sequence[str], kind: str = "") -> str:
    """Lay figures side by side; they wrap on narrow screens."""
    return f'<div class="figures {kind}">' + "".join(items) + "</div>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Show a table of text; the first cell of a row is its heading."""
    top = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>' + "".join(f"<td>{text(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table class="facts">'
        f"<caption>{text(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def stacking_table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Show a table of long cells; on a narrow screen they stand below each other, each under its column's name.

    The roles are written out because a browser forgets them when the style makes blocks of the cells.
    """
    top = "".join(f'<th role="columnheader" scope="col">{text(cell)}</th>' for cell in head)
    body = ""
    for row in rows:
        cells = "".join(
            f'<td role="cell" data-label="{text(label)}">{text(cell)}</td>'
            for label, cell in zip(head[1:], row[1:], strict=True)
        )
        body += f'<tr role="row"><th role="rowheader" scope="row">{text(row[0])}</th>{cells}</tr>'
    return (
        f'<table class="compare" role="table"><caption>{text(caption)}</caption><thead role="rowgroup">'
        f'<tr role="row">{top}</tr></thead><tbody role="rowgroup">{body}</tbody></table>'
    )
