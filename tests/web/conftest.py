"""A real browser on the page as it is committed: Debian's Chromium, driven by Playwright, with nothing downloaded.

Where either is missing the tests skip and say so; with CI=true they fail.
"""

from __future__ import annotations

import json
import os
import shutil
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import pytest

CHROMIUM = os.environ.get("TWOFOLD_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"


def without(what: str) -> None:
    """Skip for want of something, or fail where CI must have it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have {what}")
    pytest.skip(f"the page is not tried in a browser: there is no {what}")


@pytest.fixture(scope="session")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        without("playwright (pip install playwright)")
    if not Path(CHROMIUM).exists():
        without(f"{CHROMIUM} (apt-get install chromium)")
    with sync_playwright() as playwright:
        # Chromium refuses to sandbox the superuser, as whom containers often run.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield found
        found.close()


@pytest.fixture(scope="session")
def page_url(tmp_path_factory):
    from twofold.explain.page import html

    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(html(), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def visit(browser, page_url):
    """Open the page at a state; at the end nothing may stand on the console, and only the page itself be asked for."""
    opened = []

    def call(state=None, *, url=None, quiet=True, **options):
        context = browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 900}), **options)
        page = context.new_page()
        page.set_default_timeout(10_000)
        shown = Shown(page)
        opened.append((context, shown, quiet))
        shown.url_of = lambda state: (url or page_url) + ("" if state is None else "#" + quote(json.dumps(state)))
        page.goto(shown.url_of(state))
        page.wait_for_selector('[data-testid="formula"]', state="attached")
        return shown

    yield call
    for context, shown, quiet in opened:
        context.close()
        if not quiet:
            continue
        assert shown.console == []
        assert [request for request in shown.requests if not request.startswith(("file://", "data:"))] == []


class Shown:
    """What a visitor sees, by the names of the page's contract."""

    def __init__(self, page):
        self.page = page
        self.console: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def __call__(self, name):
        return self.page.locator(f'[data-testid="{name}"]').first

    def cell(self, name, *place):
        return self(name).locator(f'[data-rc="{",".join(map(str, place))}"]')

    def rows(self, name):
        """The numbers of a matrix as text, padding left out."""
        return self(name).evaluate(
            """grid => [...grid.querySelectorAll("tr")].map(row => [...row.querySelectorAll("[data-rc]:not(.pad)")]
                .map(cell => cell.textContent).join(" ")).filter(Boolean).join(" / ")"""
        )

    def hits(self, name):
        cells = self(name).evaluate('grid => [...grid.querySelectorAll(".hit")].map(cell => cell.dataset.rc)')
        return sorted(tuple(map(int, cell.split(","))) for cell in cells)

    def hover(self, name, *place):
        self.cell(name, *place).hover()
        return self.formula

    @property
    def formula(self):
        return self("formula").text_content()

    @property
    def hash(self):
        return json.loads(self.page.evaluate("decodeURIComponent(location.hash.slice(1))"))


def golden(name):
    """A file of tests/golden."""
    return (files("twofold").parent.parent / "tests" / "golden" / name).read_text(encoding="utf-8")
