"""One truth: the page's engine makes the bytes that Python makes, of traces and of everything that the views say.

The script of the committed page is run by node, without a browser and without npm.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from conftest import without
from twofold.explain.numbers import number

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
PAGE = Path(str(files("twofold.explain").joinpath("page.html")))


@pytest.fixture
def node():
    path = shutil.which("node")
    if path is None:
        without("node (apt-get install nodejs)")
    return path


def compared(node, *paths):
    done = subprocess.run([node, HERE / "parity.mjs", PAGE, *paths], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return int(done.stdout.split()[-4])


def test_the_golden_problems(node):
    assert len(json.loads((GOLDEN / "problems.json").read_text())) >= 300
    assert compared(node, GOLDEN / "problems.json") > 900


def test_two_hundred_problems_drawn_anew(node, tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    drawn = tmp_path / f"seed-{seed}.json"
    command = [sys.executable, GOLDEN / "make.py", "--random", "200", "--seed", str(seed), "-o", drawn]
    path = str(Path(str(files("twofold"))).parent)
    subprocess.run(command, check=True, timeout=280, env={**os.environ, "PYTHONPATH": path})
    assert compared(node, drawn) > 400, f"drawn with seed {seed}"


def test_a_hundred_thousand_numbers(node, tmp_path):
    draw = random.Random(7)
    kinds = [
        lambda: draw.uniform(-1e4, 1e4), lambda: draw.randrange(10**5) / 8, lambda: draw.randrange(10**6) / 16,
        lambda: draw.choice([1, -1]) * 10 ** draw.uniform(-300, 300), lambda: draw.randrange(10**5) + 0.5,
        lambda: draw.randrange(99999) * 0.5 * 10.0 ** draw.randrange(-8, 16),
    ]  # fmt: skip
    values = [draw.choice(kinds)() for _ in range(100_000)]
    written = tmp_path / "numbers.json"
    written.write_text(json.dumps([[value, number(value)] for value in values]))
    script = f"""
      const {{ readFileSync }} = require("node:fs"), {{ runInThisContext }} = require("node:vm");
      const page = readFileSync({json.dumps(str(PAGE))}, "utf8"), start = page.lastIndexOf("<script>") + 8;
      runInThisContext(page.slice(start, page.indexOf("</script>", start)));
      const pairs = JSON.parse(readFileSync({json.dumps(str(written))}, "utf8"));
      console.log(JSON.stringify(pairs.filter(([value, text]) => twofold.number(value) !== text).slice(0, 5)));
    """
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_same_in_a_browser(visit):
    page = visit({"problem": "conv i3x3 k2x2"})
    entries = json.loads((GOLDEN / "problems.json").read_text())
    lines = (GOLDEN / "problems.json").read_text().strip().removeprefix("[\n").removesuffix("\n]").split(",\n")
    given = [[entry["trace"][key] for key in ("problem", "x", "weight", "bias")] for entry in entries]
    found = page.page.evaluate("given => given.map(one => twofold.trace(...one))", given)
    for text, line in zip(found, lines, strict=True):
        assert line.startswith('{"trace":' + text + ',"views":')
