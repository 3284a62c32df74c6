"""The doors of a notebook: what a trace says to Jupyter, and the widget with its two-way selection."""

from __future__ import annotations

import base64
import html
import json
import re

import numpy as np
import pytest

from twofold import explain
from twofold.errors import UnsupportedError

TRACE = explain.conv2d(np.arange(1, 10).reshape(3, 3), [[1, 2], [3, 4]])


def test_a_frame_holds_the_page_and_nothing_but_scripts():
    found = TRACE._repr_mimebundle_()["text/html"]
    assert 'sandbox="allow-scripts"' in found and "allow-same-origin" not in found
    page = html.unescape(re.search(r'srcdoc="([^"]*)"', found)[1])
    assert page == TRACE.page() and page.lower().startswith("<!doctype html>")
    picture = base64.b64decode(re.search(r"base64,([^\"]*)", found)[1]).decode()
    assert picture == TRACE._repr_svg_()


def test_what_jupyter_asks_for_is_what_it_gets():
    assert set(TRACE._repr_mimebundle_(include={"text/plain"})) == {"text/plain"}
    assert "text/html" not in TRACE._repr_mimebundle_(exclude={"text/html"})
    large = explain.problem("conv i400x400 k3x3")
    assert "text/html" not in large._repr_mimebundle_()


def test_the_page_opens_at_the_view_and_the_step():
    page = TRACE.view("matrix", "transpose").page(step=2)
    state = json.loads(re.search(r'id="state">(.*?)</script>', page)[1])
    assert (state["view"], state["tab"], state["step"]) == ("matrix", "transpose", 2)
    assert state["x"] == [[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]] and state["problem"] == str(TRACE.problem)


def test_saved_pages_are_the_page(tmp_path):
    assert TRACE.save(tmp_path / "a.html", step=3) == "the page"
    assert (tmp_path / "a.html").read_text() == TRACE.page(3)


def test_numbers_beyond_json_reach_the_page_whole():
    odd = explain.conv1d([2**60 + 1, 3], [1]).page()
    assert '"1152921504606846977"' in odd
    assert '["nan","-inf"]' in explain.conv1d([np.nan, -np.inf], [1.0]).page()


def test_hostile_text_cannot_leave_the_state():
    page = explain.conv1d([1, 2], [1]).page()
    assert page.count("</script>") == len(re.findall(r"<script", page))


def test_a_widget_needs_its_extra(monkeypatch):
    monkeypatch.setattr("twofold.explain.notebook.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match="needs anywidget") as refusal:
        TRACE.widget()
    assert "twofold[notebook]" in refusal.value.repair


def test_a_widget_can_be_read_and_set():
    pytest.importorskip("anywidget", reason="the extra [notebook] is not installed")
    widget = TRACE.view("matrix").widget(step=1)
    state = json.loads(widget.state)
    assert state["view"] == "matrix" and state["step"] == 1
    seen = []
    widget.observe(lambda change: seen.append(change["new"]), "selection")
    widget.selection = {"view": "matrix", "array": "output", "cell": [1, 0]}
    assert seen == [{"view": "matrix", "array": "output", "cell": [1, 0]}]
    widget.selection = None
    assert widget.selection is None and "export" in str(widget._esm)
