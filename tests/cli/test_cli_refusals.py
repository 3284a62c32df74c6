"""Whatever is wrong with a command line: exit code 2, one sentence on stderr, nothing on stdout, nothing written."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from twofold import files
from twofold.cli.run import run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.arange(1, 10).reshape(3, 3))
    np.save("x4.npy", np.zeros((1, 3, 5, 5)))
    np.save("w4.npy", np.zeros((4, 2, 3, 3)))
    np.save("big.npy", np.full((2, 2), 2**62))
    np.save("x0.npy", np.array(5))
    np.save("xc.npy", np.full((3, 3), 1j))
    np.save("xl.npy", np.ones((3, 3), np.longdouble))
    np.save("records.npy", np.zeros(3, [("a", "f4")]))
    files.write_array("flat.png", np.zeros((4300, 4300, 3), np.uint8))
    np.savez_compressed("flat.npz", x=np.zeros(60_000_000, np.uint8))
    np.save("x5.npy", np.zeros((5, 6, 6)))
    np.save("empty.npy", np.zeros((0, 3)))
    np.savez("two.npz", a=np.zeros(3), b=np.zeros(3))
    files.write_array("a.png", np.zeros((6, 7), np.uint8))
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    (tmp_path / "evil.npy").write_bytes(pickle.dumps({"a": 1}))
    np.save("object.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "k.txt").write_text("1 2\n3\n")
    (tmp_path / "dir").mkdir()
    return tmp_path


FILES = {
    "x.npy", "x4.npy", "x5.npy", "w4.npy", "big.npy", "empty.npy", "two.npz", "a.png", "cut.png", "evil.npy",
    "object.npy", "k.txt", "dir", "x0.npy", "xc.npy", "xl.npy", "records.npy", "flat.png", "flat.npz",
}  # fmt: skip
CASES = {
    # INPUT
    "conv nope.npy -k box": "'nope.npy' does not exist",
    "conv dir -k box": "'dir' is a directory",
    "conv cut.png -k box -o y.png": "'cut.png' is cut short",
    "conv evil.npy -k box": "'evil.npy' is none of PNG",
    "conv object.npy -k box": "'object.npy' holds Python objects",
    "conv two.npz -k 1": "try FILE.npz:a",
    "conv empty.npy -k box": "kernel does not fit",
    "conv x0.npy -k 1": "not the shape (); try an input of such a shape",
    "conv x.npy -k x0.npy": "not the shape (); try a .npy kernel of such a shape",
    "conv x.npy -k x5.npy --axes 2": "not the shape (5, 6, 6); try --axes 3",
    "conv x.npy -k w4.npy": "x has 2 axes",
    "conv xl.npy -k 1": "complex64, complex128, integers and bool are; try an array of float64",
    "conv records.npy -k 1": "holds records (1 fields), not numbers",
    "conv x.npy:a -k 1": "'x.npy:a' does not exist",
    "conv flat.png -k 1 -o y.npy": "'flat.png' would decode to 55470000 bytes from",
    "conv flat.npz -k 1 -o y.npy": "'flat.npz' holds 'x.npy', which would inflate to 60000128 bytes from",
    "conv -k box": "give INPUT, a file, or --input",
    "conv x.npy --input 1 -k 1": "both are there",
    "conv --input 1;|2 -k 1": "--input: slice",
    "conv --input nan;abc -k 1": "'abc'",
    "conv --input '' -k 1": "--input: empty: 0 numbers; try '1 2; 3 4'",
    "conv x.npy -k ''": "--kernel: empty: 0 numbers",
    # kernels
    "conv x.npy": "missing option '--kernel'",
    "conv x.npy -k sobelx": "try sobel-x",
    "conv x.npy -k 1,2;3": "row 2 has 1 number",
    "conv x.npy -k k.txt": "'k.txt'",
    "conv x.npy -k nope.txt": "'nope.txt' does not exist",
    "conv x.npy -k 1,x;3,4": "not a number: 'x'",
    "conv x.npy -k box:0": "size must be a whole number",
    "conv x.npy -k gaussian:3:nan": "sigma must be a finite number",
    "conv x.npy -k a.png": "a kernel is no picture",
    "conv x.npy -k box:5": "kernel does not fit",
    "conv x4.npy -k w4.npy": "3 channels",
    "conv a.png -k box --channels -o y.png": "--channels takes a kernel with axes",
    # numbers
    "conv x.npy -k box --stride 0": "stride must be at least 1, not 0 (axis height); try --stride 1",
    "conv x.npy -k box --stride abc": "--stride takes a whole number",
    "conv x.npy -k box --stride nan": "not 'nan'",
    "conv x.npy -k box --stride 1,2,3": "stride has 3 entries",
    "conv x.npy -k box --padding sam": "padding must be",
    "conv x.npy -k box --padding 1:2:3": "--padding takes",
    "conv x.npy -k box --padding -1": "padding must be at least 0",
    "conv x4.npy -k w4.npy --groups 3": "groups",
    "conv x.npy -k box --axes 7": "--axes takes 1, 2 or 3",
    "conv x.npy -k box --padding-mode wrap": "padding_mode must be",
    "conv x.npy -k box --layout nchw": "--layout takes",
    "conv x.npy -k box --output-size 7": "is not what a convolution gives",
    "conv-transpose x.npy -k box --stride 2 --output-padding 2": "output_padding 2 must be smaller",
    "conv-transpose x.npy -k box --output-size 99": "out of reach",
    "conv-transpose x.npy -k box --stride 1000000000": "-o FILE.npy",
    "conv-transpose x.npy -k box --stride 1000000000 -o y.npy": "bytes",
    "conv-transpose x.npy -k box --padding same --output-padding 1": "--padding same fixes the output",
    "conv-transpose x.npy -k box --padding same --output-size 9": "try --output-size 3",
    "conv big.npy -k 1,1;1,1": "int64 does not hold (-9223372036854775808 to 9223372036854775807); try float64 inputs",
    "conv big.npy -k 1,1;1,1 -o y.npy": "int64 does not hold",
    "conv big.npy -k 1,1;1,1 -o y.npz": "int64 does not hold",
    "conv big.npy -k 1,1;1,1 -o y.png": "int64 does not hold",
    "conv x.npy -k 1 -o x.npy/y.npy": "'x.npy' does not exist",
    "conv x.npy -k 1 -o /proc/y.npy": "'/proc",
    "conv xc.npy -k 1 -o y.png": "a picture shows real numbers",
    # outputs
    "conv x.npy -k box -o y.bmp": "has the suffix '.bmp'",
    "conv x.npy -k box -o y": "has the suffix ''",
    "conv x.npy -k box -o no/y.npy": "'no' does not exist",
    "conv a.png -k box": "a picture is not printed",
    "conv a.png -k nan -o y.png": "are not finite",
    "conv a.png -k box -o y.png --range nan:1": "two finite numbers",
    "conv a.png -k box -o y.npy --range auto": "--range is for pictures",
    "conv x5.npy -k box -o y.png": "is no picture",
    # commands
    "cnv": "did you mean 'conv'",
    "conv x.npy -k box --foo": "no such option: --foo",
    "explain": "missing argument 'PROBLEM'",
    "explain conv i5 k9": "try p2",
    "explain conv i3x3 k2x2 --kernel 1,2,3": "weight has shape (1, 3)",
    "explain conv i3x3 k2x2 --step 9": "no step 9",
    "explain conv i3 k2 --step 1 -o a.gif": "and a .gif file holds all; try -o FILE.svg, -o FILE.png, or no --step",
    "explain conv i3 k2 --step 9 -o a.svg": "no step 9",
    "explain conv i3 k2 --tab gather": "those of conv have one way only; try no --tab",
    "explain conv_transpose i3 k2 --tab paints": "--tab takes paint, gather or zero-insert, not 'paints'; try --tab",
    "explain conv i3 k2 --view columns": "--view takes filter, transposed, matrix",
    "explain conv i3 k2 --view matrix --tab paint": "--tab takes plain or transpose",
    "explain conv i3 k2 --view transposed": "conv has no view 'transposed', but filter, matrix, phases, overlap, "
    "sizes, field, image, gradient; try --view filter",
    "explain conv i3 k2 --view sizes --step 0": "there is no step 0: this view has none; try without a step",
    "explain conv i3 k2 --view overlap --tab paint": "no tab 'paint'",
    "explain conv i3 k2; k9 --view field": "kernel does not fit",
    "sizes 4 8 x3": "none of k s p d op",
    "sizes 0 8": "at least 1",
    "sizes 4 8 k3 s5": "no layer",
    "sizes 99999999999999999999 8": "too large",
    "explain conv_weight_gradient i3 k2": "a weight gradient has no steps of its own",
    "explain conv i3 k2 --seconds nan -o a.gif": "seconds",
    "explain conv i3 k20 --kernel digits": "",
    "explain conv i30x30 k5x5 --kernel digits": "too many digits",
    "explain conv i3 k2 reflec": "no field",
    "explain conv i1 k2 p1 reflect": "",
    "explain conv i9999999x9999999 k1x1": "",
    "explain conv i3x3 k2x2 -o y.npy": "has the suffix '.npy'",
    "sizes conv i5 k3 z1": "'z1' is no field",
    "sizes conv_transpose i5 k3 s2 op2": "output_padding 2 must be smaller",
    "sizes conv_transpose i5 k3 same op1": "fixes the output",
    "tour dir": "'dir'",
    "tour a.png -o .": "'.' holds files that no tour wrote, such as 'a.png'",
    "tour xc.npy -o new": "holds complex numbers, which have no brightness; try real numbers",
}


# Those that are run as processes as well.
REAL = [
    "conv dir -k box", "conv cut.png -k box -o y.png", "conv evil.npy -k box", "conv x.npy -k box:5",
    "conv-transpose x.npy -k box --stride 1000000000 -o y.npy", "conv big.npy -k 1,1;1,1", "cnv", "tour dir",
]  # fmt: skip


PYTHON = re.compile(r"\[None|\w=\[|=\[|\b\w+='|=\(|`|\bnp\.(?!savez)|\b(tf|twofold|taps|explain)\.[a-z]+\b|\w\[")


def arguments(line):
    return shlex.split(line.replace(";", r"\;").replace("|", r"\|")) if "''" in line else line.split()


def process(line):
    return subprocess.run(
        [sys.executable, "-m", "twofold", *arguments(line)], capture_output=True, text=True, timeout=60
    )


def check(folder, line, done):
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("twofold: ") and done.stderr.count("\n") == 1
    assert CASES[line] in done.stderr and "Traceback" not in done.stderr
    assert not PYTHON.search(done.stderr), done.stderr  # what to type in a shell, and not in Python
    assert {path.name for path in folder.iterdir()} == FILES


@pytest.fixture
def refused(capfd, monkeypatch):
    """Run a command line in this process, with what it wrote to the real stdout and stderr."""
    monkeypatch.setenv("_TYPER_FORCE_DISABLE_TERMINAL", "1")  # `run` would set it, and leave it set

    def call(line):
        code = run(arguments(line))
        return subprocess.CompletedProcess(line, code, *capfd.readouterr())

    return call


@pytest.mark.parametrize("line", REAL)
def test_one_sentence_from_a_process(folder, line):
    check(folder, line, process(line))


@pytest.mark.parametrize("line", CASES)
def test_one_sentence_and_nothing_written(folder, refused, line):
    check(folder, line, refused(line))


def test_an_unwritable_directory_is_refused(folder, refused, monkeypatch):
    access = os.access
    refuse = lambda path, mode: access(path, mode) and Path(path).name != "dir"  # noqa: E731  # root may write anywhere
    monkeypatch.setattr(os, "access", refuse)
    done = refused("conv x.npy -k box -o dir/y.npy")
    assert (done.returncode, done.stdout) == (2, "") and not list((folder / "dir").iterdir())
    assert done.stderr == (
        "twofold: 'dir/y.npy' may not be written: the directory 'dir' is read-only; try another path\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_sentence():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "twofold", "version"], stdout=full, stderr=-1, timeout=60)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_leaves_quietly_with_130(folder):
    np.save("x.npy", np.zeros((1, 64, 600, 600)))
    np.save("w.npy", np.zeros((64, 64, 9, 9)))
    command = [sys.executable, "-m", "twofold", "conv", "x.npy", "-k", "w.npy", "-o", "y.npy"]
    process = subprocess.Popen(command, stdout=-1, stderr=-1)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"") and b"Traceback" not in err
    assert not [path for path in folder.iterdir() if path.name == "y.npy" or path.suffix == ".tmp"]
