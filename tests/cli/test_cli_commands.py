"""The other commands, the help, and how the command line behaves in pipes, terminals and completions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import twofold as tf
from twofold import files
from twofold.cli.run import run

COMMANDS = ("tour", "conv", "conv-transpose", "explain", "sizes", "doctor", "version")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def twofold(*arguments, code=0, err="", **environment):
    env = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    done = subprocess.run(
        [sys.executable, "-m", "twofold", *map(str, arguments)], capture_output=True, timeout=120, env=env
    )
    assert (done.returncode, done.stderr.decode()) == (code, err)
    assert b"\x1b" not in done.stdout
    return done.stdout.decode(env["PYTHONIOENCODING"])


@pytest.fixture
def inside(capsys, monkeypatch):
    """The same without a process of its own, where it is only the output that matters."""
    monkeypatch.setenv("_TYPER_FORCE_DISABLE_TERMINAL", "1")

    def call(*arguments):
        assert run(arguments) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return call


# --- explain ----------------------------------------------------------------------------------------------------------


def test_explain_prints_every_step():
    out = twofold("explain", "conv i3x3 k2x2", "--input", "1 2 3; 4 5 6; 7 8 9", "--kernel", "1 2; 3 4")
    assert "(1,0)  1*4 + 2*5 + 3*7 + 4*8 = 4 + 10 + 21 + 32 = 67" in out.splitlines()
    assert "output (2, 2) = floor((3 + 0 - 1*(2-1) - 1)/1) + 1" in out


def test_explain_takes_its_sizes_from_the_numbers(inside):
    out = inside("explain", "conv", "--input", "1 2 3; 4 5 6; 7 8 9", "--kernel", "1 2; 3 4")
    assert out == inside("explain", "conv i3x3 k2x2", "--input", "1 2 3; 4 5 6; 7 8 9", "--kernel", "1 2; 3 4")
    line = inside("explain", "conv_transpose s2", "--input", "1 2 3", "-k", "1 10 100")
    assert "conv_transpose n1 ci1 co1 i3 k3 s2 f32" in line and "1  10 102  20 203  30 300" in line
    Image.new("L", (600, 300), 7).save("p.png")
    assert "1*7 = 7" in inside("explain", "conv k1", "--input", "p.png", "--step", "0", "-k", "1")


def test_explain_takes_digits_a_step_a_tab_and_words_without_quotes():
    words = ("conv_transpose", "i2x2", "k2x2", "--kernel", "digits", "--tab", "gather", "--step", "4")
    assert twofold("explain", *words).startswith("1000*1 + 100*2 + 10*3 + 1*4 = 1000 + 200 + 30 + 4 = 1234\n")


def test_explain_says_how_to_get_what_it_leaves_out_and_full_prints_it():
    assert "--full prints all" in twofold("explain", "i8x8 k1x1", PYTHONIOENCODING="ascii")
    assert len(twofold("explain", "i8x8 k1x1", "--full").splitlines()) > 64


@pytest.mark.parametrize("suffix", ["gif", "apng", "svg", "png", "txt", "json"])
def test_explain_writes_each_format(inside, suffix):
    out = inside("explain", "conv_transpose i2x2 k2x2", "--bias", "1", "-o", f"steps.{suffix}")
    held = {"gif": "[0-9]+ frames", "apng": "[0-9]+ frames", "svg": "the overview", "png": "the overview"}
    assert re.fullmatch(rf"wrote steps\.{suffix}, {held.get(suffix, '4 steps')}\b.*, in [0-9.]+ s\n", out)
    head = {"gif": b"GIF89a", "apng": b"\x89PNG", "png": b"\x89PNG", "svg": b"<svg", "txt": b"conv_tr", "json": b"{"}
    assert Path(f"steps.{suffix}").read_bytes().startswith(head[suffix])


def test_explain_json_is_the_trace(inside):
    trace = tf.explain.problem("conv i3 k2", np.array([1, 2, 3]), np.array([1, 10]))
    assert inside("explain", "conv i3 k2", "--input", "1 2 3", "-k", "1 10", "--json") == trace.to_json() + "\n"


@pytest.mark.parametrize("words, line", [
    ("--view matrix", "non-zeros 16 of 36: the 4 numbers of the weight again and again."),
    ("--view phases", "With stride 1 there is one phase: the operation itself."),
    ("--view overlap", "even: every inner cell is made of 4 products"),
    ("--view sizes", "k2 s2 p1 op1   even"),
    ("--view field", "output (1,1) sees input height 1, 2, width 1, 2: 4 cells"),
    ("--view gradient --tab weight", "(1,1)  1*5 + 1*6 + 1*8 + 1*9 = 5 + 6 + 8 + 9 = 28"),
])  # fmt: skip
def test_explain_shows_each_view(inside, words, line):
    assert line in inside("explain", "conv i3x3 k2x2", *words.split())


def test_explain_writes_a_view_and_the_page(inside):
    out = inside("explain", "conv_transpose i4 k3 s2", "--tab", "zero-insert", "-o", "zeros.gif")
    assert "9 frames" in out
    assert "the page" in inside("explain", "conv_transpose i4 k3 s2", "--view", "phases", "-o", "p.html")
    found = json.loads(inside("explain", "conv_transpose i4 k3 s2", "--view", "overlap", "--json"))
    assert found["view"] == "overlap" and found["tables"][0]["rows"][0][:3] == ["1", "1", "2"]


def test_sizes_solves_between_two_sizes(inside):
    assert "more; --json lists all" in inside("sizes", "4")
    lines = inside("sizes", "4", "8").splitlines()
    assert [line.split("  ")[0] for line in lines[:3]] == ["k2 s2 p0", "k4 s2 p1", "k6 s2 p2"]
    assert all("4 -> 8 -> 4" in line for line in lines) and "k3 s2 p1 op1" in "".join(lines)
    assert [s["fine"] for s in json.loads(inside("sizes", "4 k3 s2 p1", "--json"))["solutions"]] == [7, 8]


# --- sizes, doctor, version -------------------------------------------------------------------------------------------


def test_sizes_of_a_convolution_and_the_way_back(inside):
    out = inside("sizes", "conv i28x27 k3x3 s2 p1")
    assert "height: floor((28 + 2*1 - 1*(3-1) - 1)/2) + 1 = 14" in out
    assert "output_padding (1, 0) returns (28, 27)" in out and "1,764" in out


def test_sizes_of_a_transposed_convolution_and_its_overlap():
    out = twofold("sizes", "conv_transpose", "i14x14x14", "k3x4x1", "s2", "p0x1x0")
    assert "depth: uneven, a checkerboard: inner cells are made of 1 to 2 products; try a kernel size of 2 or 4" in out
    assert "height: even: every inner cell is made of 2 products" in out
    assert "width: holes: some cells get no product, others 1; try a kernel size of 2" in out


@pytest.mark.parametrize(
    "text", ["k3 s2", "k4 s2 p1", "k2 s3", "k3 s2 d2", "k5 s3 d2", "k7 s6 d4", "k9 s4", "k3 s1 d5"]
)
def test_the_overlap_in_json_is_what_counting_gives(inside, text):
    parsed = tf.Problem.parse(f"conv_transpose i200 {text}")
    found = json.loads(inside("sizes", str(parsed), "--json"))
    inner = parsed.geometry.axes[0].overlap(200, parsed.out_size[0])[48:-48]  # wider than any of these kernels
    low, high = min(inner), max(inner)
    assert found["overlap"]["width"] == {"even": low == high, "holes": low == 0, "products": [low, high]}
    assert found["output_size"] == list(parsed.out_size)


def test_numbers_beyond_every_machine_are_printed_too(inside):
    summary = json.loads(inside("sizes", f"n{10**900} ci{10**900} co{10**900} i{10**900} k1", "--json"))
    assert len(summary["multiplications"]) == 3601 or summary["multiplications"].startswith("about 10^")
    assert "about 10^" in inside("sizes", f"n{10**900} co{10**900} i{10**900}x{10**900} k1x1")


def test_doctor_tells_the_same_in_both_forms():
    facts = json.loads(twofold("doctor", "--json"))
    text = twofold("doctor")
    assert facts["twofold"] == tf.__version__ and f"numpy {np.__version__}" in text
    assert set(facts["isa"]) == {"avx2", "fma", "avx512f", "amx", "neon"} and facts["cores"]["usable"] >= 1
    assert "code cache" in text
    for extra, parts in facts["extras"].items():
        assert (f"pip install 'twofold[{extra}]'" in text) == (None in parts.values())


def test_doctor_loads_nothing_heavy():
    code = "import sys; from twofold.cli.run import run; run(['doctor']); run(['conv', '--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    heavy = {"torch", "PIL", "llvmlite", "scipy", "dask", "twofold.functional"}
    assert not heavy & set(done.stdout.splitlines()[-1].split())


def test_version():
    assert twofold("version") == twofold("--version") == f"twofold {tf.__version__}\n"


# --- tour -------------------------------------------------------------------------------------------------------------


def test_the_tour_refuses_a_folder_that_is_not_its_own_in_one_sentence():
    Path("s").mkdir()
    Path("s/index.html").write_text("mine")
    err = "twofold: 's' holds files that no tour wrote, such as 'index.html', and a tour could replace them; "
    assert twofold("tour", "-o", "s", code=2, err=err + "try -o OTHER, a new or an empty folder\n") == ""
    assert [path.name for path in Path("s").iterdir()] == ["index.html"]


def test_the_tour_writes_its_page_and_quiet_says_nothing():
    files.write_array("p.png", np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8))
    assert twofold("tour", "p.png", "-o", "seen", "--quiet") == ""
    assert Path("seen/index.html").stat().st_size > 1000


# --- help, pipes, terminals, completion -------------------------------------------------------------------------------


def test_alone_it_shows_its_help_in_ascii_where_nothing_else_is_read():
    out = twofold(PYTHONIOENCODING="ascii", GITHUB_ACTIONS="1")
    assert all(f"| {name} " in out for name in COMMANDS) and out.isascii()


@pytest.mark.parametrize("command", COMMANDS[:-1])
def test_each_help_has_examples_and_is_no_wider_than_a_terminal(inside, command):
    out = inside(command, "--help")
    assert "Examples:" in out and max(map(len, out.splitlines())) <= 80
    examples = re.findall(rf"^ +twofold ({command}.*?) *$", out, re.MULTILINE)
    assert len(examples) >= 2


def test_a_reader_that_goes_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "twofold", "doctor"], stdout=write, stderr=-1, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(os.name == "nt", reason="a terminal of POSIX")
@pytest.mark.parametrize("no_color", ["", "1"])
@pytest.mark.parametrize("line", ["sizes i5 k3", "tour --help", "explain i5 k3"])
def test_a_terminal_gets_colours_unless_no_color(line, no_color):
    import pty

    master, slave = pty.openpty()
    env = {**os.environ, "NO_COLOR": no_color, "TERM": "xterm"}
    env.pop("_TYPER_FORCE_DISABLE_TERMINAL", None)  # `run` sets it, in this process too
    process = subprocess.Popen([sys.executable, "-m", "twofold", *line.split()], stdout=slave, stderr=slave, env=env)
    os.close(slave)
    seen = b""
    try:
        while part := os.read(master, 65536):
            seen += part
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(master)
    assert process.wait(60) == 0 and (b"multiplications" in seen or b"Examples:" in seen or b"1*1 + 2*2 + 3*3" in seen)
    assert (b"\x1b[" in seen) == (not no_color)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("conv --padding-mode re", "reflect replicate"), ("conv --padding sam", "same same_lower"),
        ("conv --layout ", "channels_first channels_last"), ("conv-transpose --range c", "clip"),
        ("conv --axes ", "1 2 3"), ("explain conv_", "conv_transpose conv_weight_gradient"),
        ("explain conv --tab g", "gather"), ("sizes conv i5 k3 ca", "causal"),
    ],
)  # fmt: skip
def test_words_are_completed(line, words):
    asked = f"twofold {line}"
    count = len(asked.split()) - (not line.endswith(" "))
    assert twofold(_TWOFOLD_COMPLETE="complete_bash", COMP_WORDS=asked, COMP_CWORD=str(count)).split() == words.split()


def test_completion_scripts_and_names_of_filters():
    shell = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert "_TWOFOLD_COMPLETE=complete_bash" in twofold("--show-completion", "bash", **shell)
    asked = {"_TWOFOLD_COMPLETE": "complete_bash", "COMP_WORDS": "twofold conv --kernel so", "COMP_CWORD": "3"}
    assert twofold(**asked).split() == ["sobel-x", "sobel-y"]


def test_a_missing_extra_is_named_with_the_line_that_installs_it():
    from twofold.cli.run import _sentence
    from twofold.errors import UnsupportedError

    error = UnsupportedError("bench needs torch, which is missing", repair="pip install 'twofold[bench]'")
    assert _sentence(error) == "bench needs torch, which is missing; try pip install 'twofold[bench]'"
