"""The page in a notebook: static where scripts are stripped, a sandboxed frame where they run, or a widget.

anywidget is an optional guest (`pip install 'twofold[notebook]'`): it carries the page's module to the browser and two
traits back and forth, `state` and `selection`.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib.util import find_spec
from typing import Any

from twofold.errors import UnsupportedError

__all__ = ["HEIGHT", "frame", "widget"]

HEIGHT = 720  # px of the frame


def frame(page: str, picture: str | None = None, height: int = HEIGHT) -> str:
    """Return an element that shows a page with its scripts and nothing else: no origin, no cookies, no navigation.

    picture  an SVG for whoever takes the frame away and keeps what stands in it

    >>> frame("<p>")
    '<iframe srcdoc="&lt;p&gt;" sandbox="allow-scripts" title="twofold" width="100%" height="720" ...></iframe>'
    """
    instead = ""
    if picture is not None:
        coded = b64encode(picture.encode()).decode()
        instead = f'<img alt="twofold" src="data:image/svg+xml;base64,{coded}">'
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" title="twofold" width="100%" height="{height}" '
        f'style="border:0">{instead}</iframe>'
    )


def widget(state: Mapping[str, Any]) -> Any:
    """Return an anywidget of the page at a state.

    Its trait `selection` is {"view": …, "array": "output", "cell": [1, 0]} or None; reading it says where the reader
    points, setting it points there. `state` is the page's state as JSON.

    raises  UnsupportedError naming the extra if anywidget is not installed
    """
    if find_spec("anywidget") is None:
        raise UnsupportedError(
            "a widget needs anywidget, which is not installed",
            repair="pip install 'twofold[notebook]', or trace.page()",
        )
    return _kind()(state=json.dumps(_plain(state)), selection=None)


def _plain(state: Mapping[str, Any]) -> Any:
    from twofold.explain.page import plain

    return plain(dict(state))


def _kind() -> Any:
    import anywidget
    import traitlets

    from twofold.explain.page import widget_source

    class Explainer(anywidget.AnyWidget):  # type: ignore[misc]
        """The page as a widget."""

        _esm = widget_source()
        state = traitlets.Unicode("{}").tag(sync=True)
        selection = traitlets.Dict(default_value=None, allow_none=True).tag(sync=True)

    return Explainer
