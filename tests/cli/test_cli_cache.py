"""`twofold cache`: what is kept, where, whether it is used; and clearing it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from twofold.cli.run import run

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "code"))
    monkeypatch.setenv("_TYPER_FORCE_DISABLE_TERMINAL", "1")
    return tmp_path / "code"


@pytest.fixture
def twofold(capsys):
    def call(*arguments, code=0):
        assert run(arguments) == code
        out, err = capsys.readouterr()
        assert (err == "") == (code == 0)
        return out if code == 0 else err

    return call


def keep(folder, count, size=2048):
    folder.mkdir(mode=0o700)
    for i in range(count):
        (folder / f"{i:064x}.code").write_bytes(bytes(size))


def test_info_of_a_cache_that_is_not_there_yet(folder, twofold):
    assert twofold("cache", "info").splitlines() == [
        f"directory  {folder}",
        "kernels    0, 0 bytes of at most 64 MiB",
        "used       yes",
    ]
    assert not folder.exists()


def test_info_counts_and_json_says_the_same(folder, twofold):
    keep(folder, 3)
    assert "kernels    3, 6 KiB of at most 64 MiB" in twofold("cache", "info").splitlines()
    facts = json.loads(twofold("cache", "info", "--json"))
    assert facts == {
        "path": str(folder), "files": 3, "bytes": 6144, "limit": 64 << 20, "usable": True, "reason": ""
    }  # fmt: skip


def test_info_says_why_it_is_not_used(folder, twofold, monkeypatch):
    keep(folder, 1)
    folder.chmod(0o777)
    out = twofold("cache", "info").splitlines()
    assert out[2:] == ["used       no", f"because    '{folder}' belongs to another user, or others may write to it"]
    monkeypatch.setenv("TWOFOLD_CACHE", "off")
    assert twofold("cache", "info").splitlines() == [
        "directory  none", "kernels    0, 0 bytes of at most 64 MiB", "used       no", "because    TWOFOLD_CACHE=off"
    ]  # fmt: skip
    assert json.loads(twofold("cache", "info", "--json"))["path"] is None


def test_clear_removes_the_kernels_and_nothing_else(folder, twofold):
    keep(folder, 2)
    (folder / "notes.txt").write_text("mine")
    assert twofold("cache", "clear") == f"removed 2 files from {folder}\n"
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert twofold("cache", "clear") == f"removed 0 files from {folder}\n"


def test_clear_leaves_a_directory_alone_that_is_not_ours(folder, twofold, monkeypatch):
    keep(folder, 2)
    folder.chmod(0o777)
    assert "removed 0 files" in (out := twofold("cache", "clear")) and "others may write to it" in out
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setenv("TWOFOLD_CACHE", "off")
    assert twofold("cache", "clear") == "removed 0 files: TWOFOLD_CACHE=off\n"


def test_the_group_shows_its_help_and_refuses_what_it_does_not_know(twofold):
    for arguments in (("cache",), ("cache", "--help")):
        out = twofold(*arguments)
        assert "Examples:" in out and " info " in out and " clear " in out and max(map(len, out.splitlines())) <= 80
    assert twofold("cache", "cleer", code=2).startswith("twofold: no such command 'cleer'")
    assert " cache " in twofold("--help")


def test_doctor_tells_of_the_cache(folder, twofold, monkeypatch):
    def line():
        return next(line for line in twofold("doctor").splitlines() if line.startswith("code cache"))

    assert line() == "code cache    empty: filled when a layer first runs"
    keep(folder, 2, 1024)
    assert line() == f"code cache    2 of 2 KiB in {folder}"
    assert json.loads(twofold("doctor", "--json"))["code_cache"]["files"] == 2
    monkeypatch.setenv("TWOFOLD_CACHE", "off")
    assert line() == "code cache    not used: TWOFOLD_CACHE=off"


@pytest.mark.parametrize("line", [["cache", "info"], ["cache", "clear"], ["doctor"], ["--help"]])
def test_no_compiler_is_loaded_for_it(line):
    code = f"import sys; from twofold.cli.run import run; run({line}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"llvmlite", "torch", "PIL"} & set(done.stdout.splitlines()[-1].split())
