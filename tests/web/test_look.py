"""What the page looks like, to everybody: contrast and names by axe, no overflow, nothing loaded, the wheel."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from conftest import without

ROOT = Path(__file__).parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
FINDINGS = "axe.run().then(found => found.violations.map(v => [v.id, v.nodes.map(n => n.html + n.failureSummary)]))"
VIEWS = ("filter", "transposed", "matrix", "phases", "overlap", "sizes", "field", "image", "gradient")
C = {"problem": "conv_transpose i2x2 k3x3 s2 p1 op1", "x": [[1, 2], [3, 4]]}
A = {"problem": "conv i5x5 k3x3 s2 p1"}


def state(view):
    if view == "field":
        return {"problem": "conv i32x32 k3 p1", "view": view, "layers": "conv i32x32 k3 p1; k3 s2 p1; k3 s2 p1"}
    return {**(C if view in ("transposed", "phases", "overlap") else A), "view": view}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_and_the_view_looks_as_it_did(visit, view, scheme):
    """One visit for both; the picture against a small one of tests/golden/page, which TWOFOLD_DRAW=1 draws anew."""
    if not AXE.exists():
        without("axe-core (make page)")
    page = visit({**state(view), "step": 1}, color_scheme=scheme, reduced_motion="reduce")
    if view == "image":
        page("decoder-shuffle").wait_for()
    page.page.wait_for_timeout(150)
    picture = page.page.screenshot()
    page.page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.page.evaluate(FINDINGS) == []
    compare(picture, ROOT / "tests" / "golden" / "page" / f"{view}-{scheme}.png")


def compare(picture, path):
    from PIL import Image, ImageChops, ImageStat

    find = ["fc-match", "system-ui"]
    fonts = subprocess.run(find, capture_output=True, text=True).stdout if shutil.which("fc-match") else ""
    if "DejaVu" not in fonts:
        return  # the pictures are drawn with DejaVu, and this system's letters are others: lines break elsewhere
    found = Image.open(io.BytesIO(picture)).convert("RGB").resize((160, 112), Image.Resampling.BOX)
    if os.environ.get("TWOFOLD_DRAW") == "1":
        found.save(path)
    difference = ImageChops.difference(found, Image.open(path).convert("RGB")).convert("L")
    assert ImageStat.Stat(difference).mean[0] < 5
    assert difference.point(lambda value: 255 * (value > 60)).histogram()[255] < 0.02 * found.width * found.height


@pytest.mark.parametrize("tab", ["gather", "zero-insert"])
def test_axe_finds_nothing_in_the_tabs_the_tour_and_the_help(visit, tab):
    if not AXE.exists():
        without("axe-core (make page)")
    page = visit({**C, "view": "transposed", "tab": tab, "noflip": True, "tour": 3}, reduced_motion="reduce")
    page("param-stride").fill("0")
    page.page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.page.evaluate(FINDINGS) == []
    page("help").click()
    page.page.locator("dialog").wait_for()
    assert page.page.evaluate(FINDINGS) == []


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_runs_over_the_edge(visit, view):
    """On small telephones, at a zoom of 200 % (640), on a screen of 4K; nor does anything of a large problem."""
    wide = {
        "problem": "conv i20x20 k3x3 p1" if view == "matrix" else "conv_transpose ci2 i2x3x3 k3x3x3 s2 p1 op1",
        "view": view,
    }
    for shown in (state(view), wide):
        page = visit({**shown, "tab": "zero-insert"}, viewport={"width": 360, "height": 800})
        for width in (320, 360, 640, 768, 1280, 3840):
            page.page.set_viewport_size({"width": width, "height": 800})
            assert page.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_phone_reaches_everything_by_touch(visit):
    page = visit(C, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page.cell("output", 1, 1).tap()
    assert page.formula.endswith("= 36")
    page("settings").tap()
    page("param-stride").fill("3")
    assert " s3x3 " in page.hash["problem"]
    page("view-sizes").tap()
    assert page("size").is_visible()


def test_what_is_pointed_at_stays_under_the_pointer(visit):
    """A line at the foot that grew with its formula moved the page, and the cell away from the pointer, and back."""
    page = visit({"problem": "conv ci4 i3x3 k3x3 p1"}, viewport={"width": 360, "height": 740}, reduced_motion="reduce")
    page.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    height = "[document.documentElement.scrollHeight, document.querySelector('.bar').offsetHeight]"
    before = page.page.evaluate(height)
    assert page.hover("output", 1, 1).count("*") == 6
    assert page.page.evaluate(height) == before
    page.page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.page.evaluate(FINDINGS) == []
    page.cell("output", 1, 1).click()
    page.page.mouse.move(2, 2)
    page("full").click()
    assert page.formula.count("*") == 36


def test_forced_colours_keep_the_outlines(visit):
    page = visit({**A, "pin": ["output", 0]}, forced_colors="active")
    outline = page.cell("output", 0, 0).evaluate("cell => getComputedStyle(cell).outlineStyle")
    assert outline == "solid"


def test_the_picture_shows_the_roles(visit):
    """Input, output and focus have their colours where they should be."""
    page = visit({"problem": "conv i3x3 k2x2", "pin": ["output", 0]}, reduced_motion="reduce")
    colour = "cell => getComputedStyle(cell).backgroundColor"
    page.page.wait_for_timeout(200)
    assert page.cell("input", 0, 0).evaluate(colour) == "rgb(86, 180, 233)"
    assert page.cell("output", 0, 0).evaluate(colour) == "rgb(230, 159, 0)"


def test_an_image_goes_through_and_a_pixel_opens_with_its_numbers(visit, tmp_path):
    from PIL import Image

    page = visit({"problem": "conv i16x16 k3x3", "view": "image"})
    page("decoder-k4").wait_for()
    page("image-constant").click()
    readout = page("image-readout")
    sobel = page.page.locator("figure", has_text="sobel-x").locator("button.map")
    sobel.hover(position={"x": 64, "y": 64})
    assert readout.text_content().startswith("sobel-x, row 3")
    assert readout.text_content().endswith(": 0")
    path = tmp_path / "mine.png"
    Image.new("L", (80, 80), 10).save(path)
    page("image-file").set_input_files(path)
    blur = page.page.locator("figure", has_text="blur").locator("button.map")
    blur.hover(position={"x": 64, "y": 64})
    page.page.wait_for_timeout(200)
    blur.hover(position={"x": 60, "y": 64})
    assert readout.text_content().endswith(": 160")
    shown = page("decoder-k3").locator("button.map").first
    shown.scroll_into_view_if_needed()
    shown.hover(position={"x": 40, "y": 40})
    value = readout.text_content().split(": ")[-1]
    shown.click(position={"x": 40, "y": 40})
    page.page.mouse.move(2, 2)
    assert page.hash["problem"].startswith("conv_transpose ci6")
    assert page.formula.endswith(f"sum {value}")


def test_a_file_that_is_no_picture_is_refused(visit, tmp_path):
    page = visit({"problem": "conv i16x16 k3x3", "view": "image"})
    path = tmp_path / "x.png"
    path.write_text("no picture")
    page("image-file").set_input_files(path)
    page.page.locator(".complaint").wait_for()


def test_a_pixel_of_the_picture_itself_opens_too(visit):
    page = visit({"problem": "conv i3x3 k2x2", "view": "image", "image": "constant"})
    picture = page.page.locator("button.map").first
    picture.hover(position={"x": 3, "y": 120})
    picture.click(position={"x": 3, "y": 120})
    page.page.mouse.move(2, 2)
    assert page.hash["problem"] == "conv i5x5 k3x3"
    assert page.formula.startswith("input row 2 column 1 (128) feeds 6 outputs")


WORDS = """() => [...document.querySelectorAll(".twofold *")].flatMap(element => [
    ...[...element.childNodes].filter(node => node.nodeType === 3).map(node => node.data),
    ...["aria-label", "title", "aria-valuetext"].map(name => element.getAttribute(name) ?? "")])"""
# Words of the grammar, of APIs and of arithmetic are the same in every language.
NAMES = re.compile(
    r"(conv_transpose|conv|Twofold|PyTorch|Keras|JAX|ONNX|SAME\w*|padding|floor|zeros|reflect|replicate|circular"
    r"|input|weight|output|sobel|blur|sharpen|laplacian|layer = .*|y = layer.*)"
)


def test_every_word_comes_from_one_file(visit, tmp_path):
    """With another file of texts no English is left: each text stands in brackets here, and nothing is outside them."""
    from twofold.explain.page import html

    start = '<script type="application/json" id="texts">'
    before, rest = html().split(start)
    texts, after = rest.split("</script>", 1)
    other = {key: f"⟦{text}⟧" for key, text in json.loads(texts).items()}
    path = tmp_path / "other.html"
    path.write_text(f"{before}{start}{json.dumps(other)}</script>{after}", encoding="utf-8")
    left = set()
    for problem in ("conv ci2 i5x5 k3x3 s2 p1", "conv_transpose i2x2 k3x3 s2 p1 op1"):
        page = visit({"problem": problem, "step": 1, "tour": 2, "tab": "zero-insert"}, url=path.as_uri())
        for view in VIEWS:
            if view not in ("filter", "transposed"):
                page(f"view-{view}").click()
            page("param-stride").fill("0")
            for text in page.page.evaluate(WORDS):
                while text != (inner := re.sub("⟦[^⟦⟧]*⟧", "", text)):
                    text = inner
                left |= set(re.findall("[A-Za-z]{4,}", NAMES.sub("", text)))
    assert left == set()


def test_the_policy_lets_nothing_in(visit):
    page = visit(A, quiet=False)
    refused = page.page.evaluate("""async () => {
        const refused = [];
        document.addEventListener("securitypolicyviolation", event => refused.push(event.effectiveDirective));
        await fetch("https://twofold.invalid/").catch(() => {});
        const image = new Image();
        image.src = "https://twofold.invalid/x.png";
        await image.decode().catch(() => {});
        const script = document.createElement("script");
        script.textContent = "window.sneaked = true";
        document.body.append(script);
        await new Promise(done => setTimeout(done, 50));
        return [refused.sort(), window.sneaked === undefined];
    }""")
    assert refused == [["connect-src", "img-src", "script-src-elem"], True]


def test_the_page_of_the_installed_wheel(visit, tmp_path):
    wheel = tmp_path / "wheel"
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", wheel, ROOT],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    if built.returncode and "hatchling" in built.stderr:
        without("hatchling (pip install hatchling)")
    assert built.returncode == 0, built.stderr
    (path,) = wheel.glob("*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(path).extractall(installed)
    script = "import sys; from twofold.explain.page import html; sys.stdout.write(html({'problem': 'conv i3x3 k2x2'}))"
    page_path = tmp_path / "page.html"
    environment = {"PYTHONPATH": str(installed), "PYTHONIOENCODING": "utf-8"}
    with page_path.open("w") as out:
        subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env=environment, stdout=out)
    page = visit(url=page_path.as_uri())
    assert page.rows("output") == "37 47 / 67 77"


def test_a_state_from_python_cannot_break_out(visit, tmp_path):
    from twofold.explain.page import html

    nasty = "</script><script>window.sneaked = 1</script><!--<script>"
    path = tmp_path / "page.html"
    path.write_text(html({"problem": nasty, "layers": nasty, "x": [[float("nan")]]}), encoding="utf-8")
    page = visit(url=path.as_uri())
    assert page.page.evaluate("window.sneaked") is None
    assert "is no field of a problem" in page("error").text_content()
    assert page.rows("output") == "37 47 / 67 77"


def test_a_trace_opens_as_python_left_it(visit, tmp_path):
    import numpy as np

    from twofold import explain

    trace = explain.conv_transpose2d(np.array([[1.5, np.nan], [3, 4]]), np.ones((2, 2)), stride=2, padding=1)
    trace.save(tmp_path / "trace.html")
    assert visit(url=(tmp_path / "trace.html").as_uri()).rows("output") == "1.5 nan / 3 4"
    trace.view("matrix", "transpose").save(tmp_path / "matrix.html")
    assert visit(url=(tmp_path / "matrix.html").as_uri())("transpose").get_attribute("aria-pressed") == "true"


def test_the_page_in_a_sandboxed_frame(browser, tmp_path):
    """As notebooks show it: without an origin, so without an address and a memory of its own."""
    from twofold import explain

    path = tmp_path / "notebook.html"
    frame = explain.problem("conv_transpose i2x2 k3x3 s2")._repr_mimebundle_()["text/html"]
    path.write_text(f"<!doctype html><meta charset=utf-8>{frame}", encoding="utf-8")
    page = browser.new_page()
    errors = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    inside = page.frame_locator("iframe")
    inside.locator('[data-testid="step"]').click()
    assert inside.locator('[data-testid="formula"]').text_content().startswith("1*1, 2*1, 3*1")
    inside.locator('[data-testid="view-matrix"]').click()
    inside.locator('[data-testid="matrix"]').wait_for()
    assert errors == []
    page.close()


def test_the_page_keeps_within_its_size():
    import gzip

    page = (ROOT / "src" / "twofold" / "explain" / "page.html").read_text(encoding="utf-8")
    assert len(page.encode()) <= 250_000
    start = page.rindex("<script>") + len("<script>")
    assert len(gzip.compress(page[start : page.index("</script>", start)].encode())) <= 60_000
