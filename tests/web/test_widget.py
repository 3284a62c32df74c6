"""The page as a module for notebooks: two of them side by side, each with its own state; `selection` goes both ways."""

from __future__ import annotations

import json

import pytest

HTML = """<!doctype html><meta charset="utf-8"><div id="a"></div><div id="b"></div>
<script type="module">
import widget from "data:text/javascript;base64,SOURCE";
class Model {
  constructor(values) { this.values = values; this.heard = {}; this.saved = 0; }
  get(name) { return this.values[name]; }
  set(name, value) { this.values[name] = value; }
  on(event, act) { (this.heard[event] ??= []).push(act); }
  off(event, act) { this.heard[event] = this.heard[event].filter(one => one !== act); }
  save_changes() { this.saved++; }
  push(name, value) { this.values[name] = value; for (const act of this.heard["change:" + name] ?? []) act(); }
}
window.models = STATES.map((state, i) => new Model({ state: JSON.stringify(state), selection: null }));
window.stops = models.map((model, i) => widget.render({ model, el: document.getElementById("ab"[i]) }));
window.ready = true;
</script>"""
A = {"problem": "conv i3x3 k2x2", "x": [[1, 2, 3], [4, 5, 6], [7, 8, 9]], "weight": [[1, 2], [3, 4]]}
B = {"problem": "conv_transpose i2x2 k2x2", "x": [[1, 2], [3, 4]], "weight": [[1, 2], [3, 4]]}


@pytest.fixture
def widgets(browser, tmp_path):
    from base64 import b64encode

    from twofold.explain.page import widget_source

    path = tmp_path / "widget.html"
    source = b64encode(widget_source().encode()).decode()
    path.write_text(HTML.replace("SOURCE", source).replace("STATES", json.dumps([A, B])), encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(10_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function("window.ready")
    yield page
    context.close()
    assert errors == []


def text(page, which, name):
    return page.locator(f'#{which} [data-testid="{name}"]').first.text_content()


def test_python_reads_and_sets_the_selection(widgets):
    widgets.locator('#a [data-testid="output"] [data-rc="1,0"]').click()
    chosen = {"view": "filter", "array": "output", "cell": [1, 0]}
    assert widgets.evaluate("models[0].values.selection") == chosen
    assert widgets.evaluate("models[0].saved") > 0
    assert widgets.evaluate("models[1].values.selection") is None
    widgets.mouse.move(1, 1)
    widgets.evaluate("models[0].push('selection', {view: 'filter', array: 'output', cell: [1, 1]})")
    widgets.locator('#a [data-testid="output"] [data-rc="1,1"].focus').wait_for()
    widgets.evaluate("models[0].push('selection', null)")
    widgets.locator('#a [data-testid="output"] .focus').wait_for(state="detached")


def test_python_sets_the_state_and_nonsense_does_no_harm(widgets):
    assert text(widgets, "b", "output").startswith("output")
    widgets.evaluate("models[1].push('state', JSON.stringify({problem: 'conv i2 k1', x: [5, 6], weight: [2]}))")
    widgets.locator("#b >> text=10").first.wait_for()
    widgets.evaluate("models[1].push('state', '{')")
    widgets.evaluate("models[1].push('selection', {array: 'output', cell: [99, 99]})")
    widgets.evaluate("models[1].push('selection', {array: 'nothing'})")
    assert widgets.locator('#b [data-testid="output"]').count() == 1


def test_a_widget_that_is_taken_away_leaves_nothing(widgets):
    widgets.evaluate("stops[0]()")
    assert widgets.locator('#a [data-testid="output"]').count() == 0
    assert widgets.evaluate("Object.values(models[0].heard).flat().length") == 0
