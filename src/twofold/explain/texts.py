"""The sentences of the explainer: templates in one file, `english.json`, which the page reads too.

A translation is one such file. Templates have named places only, `{name}`; where a count of 1 needs other words, the
template's name with `.one` after it is taken instead.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

__all__ = ["say", "templates"]

_PLACE = re.compile(r"\{(\w+)\}")


def say(key: str, count: int | None = None, **values: object) -> str:
    """Fill a template; a value that is no place of it is ignored.

    >>> say("why.crop", before=1, after=0), say("why.planes", count=1, name="output", more=1)
    ('crop 1 at the start and 0 at the end', 'output has 1 more plane, which is not written out here.')
    """
    known = templates()
    if count == 1 and f"{key}.one" in known:
        key = f"{key}.one"
    values["count"] = count
    return _PLACE.sub(lambda match: str(values[match[1]]), known[key])


@cache
def templates() -> dict[str, str]:
    """All templates by name."""
    text = files("twofold.explain").joinpath("english.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)
    return found
