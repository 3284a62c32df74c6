"""`twofold bench` itself: one tiny real run, its files, and what it refuses."""

from __future__ import annotations

import json

import pytest

from twofold.bench import Run, markdown
from twofold.cli.run import run


def test_a_real_run_against_torch_prints_json_with_both_and_writes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--peers", "torch", "--seconds", "0.02", "--batch", "1,2", "--training", "--json", "-o", "r.json"]
    assert run(["bench", "conv_transpose ci2 co3 i5x5 k4 s2 p1", *words]) == 0
    out, err = capsys.readouterr()
    fields = json.loads(out)
    assert err == ""
    assert [row["batch"] for row in fields["rows"]] == [1, 2] and fields["training"] is True
    for row in fields["rows"]:
        for name in ("twofold", "twofold-cl", "torch", "torch-cl"):
            assert row["peers"][name]["status"] == "ok" and min(row["peers"][name]["samples"]) > 0
        assert row["peers"]["twofold"]["error"] < 1e-6
    machine = fields["machine"]
    assert machine["fma_gflops"]["float32"] > 0 and "multiply-adds" in machine["peak_is"]
    assert len(machine["copy_gbs"]) == 3 and len(machine["cores"]) in (0, 1)
    kept = Run.read((tmp_path / "r.json").read_text())
    assert kept.fields()["rows"] == fields["rows"]
    assert "| conv_transpose n2 ci2 co3" in markdown(kept)


def test_every_algorithm_is_measured_and_checked_at_the_accuracy(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--peers", "scipy", "--seconds", "0.02", "--accuracy", "fast", "--all-algorithms", "-o", "r.json"]
    assert run(["bench", "conv g4 ci4 co4 i90x90 k40x40", *words]) == 0
    out, _ = capsys.readouterr()
    kept = Run.read((tmp_path / "r.json").read_text())
    ways = kept.rows[0].ways
    assert kept.settings["accuracy"] == "fast" and {way.layout for way in ways} == {"channels_first", "channels_last"}
    assert {"direct", "fft"} <= {way.algorithm for way in ways}
    for way in ways:
        assert way.measured.status == "ok" and min(way.measured.samples) > 0 and way.measured.error <= 2e-5
    planned = [way for way in ways if way.planned]
    assert [way.layout for way in planned] == ["channels_first", "channels_last"] and planned[0].algorithm == "fft"
    assert "fft*" in out and "of the best on" in out
    assert kept.rows[0].peers["twofold-packed"].error <= 2e-5


def test_a_bf16_run_is_right_within_bf16_only(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for word, least, most in (("bf16", 1e-4, 2e-2), ("strict", 0, 1e-5)):
        words = ["--peers", "scipy", "--seconds", "0.02", "--accuracy", word, "--json"]
        assert run(["bench", "conv ci16 co16 i20x20 k3", *words]) == 0
        peers = json.loads(capsys.readouterr().out)["rows"][0]["peers"]
        for name in ("twofold", "twofold-cl", "twofold-packed", "twofold-packed-cl"):
            assert peers[name]["status"] == "ok" and least < peers[name]["error"] < most, name


REFUSED = {
    "--accuracy exact": "accuracy must be 'strict', 'standard', 'fast' or 'bf16', not 'exact'; try --accuracy strict",
    "--all-algorithms --training": "algorithms are measured forward",
    "conv i5 k9": "kernel does not fit",
    "conv q5": "'q5' is no field",
    "--suite resnet": "no layer of the suite is called 'resnet'",
    "--peers nobody": "'nobody' is no peer",
    "--threads 0": "threads must be",
    "--seconds 0": "seconds must be",
    "--batch 1,x": "--batch takes whole numbers",
    "--batch 0": "--batch takes whole numbers",
    "-o result.txt": "has the suffix '.txt'",
    "-o nowhere/r.json": "no directory",
    "conv ci100000 co100000 i100000 k3 n1000": "bytes",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_wrong_is_one_sentence_and_exit_code_2(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [line] if line.startswith("conv") else line.split()
    assert run(["bench", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("twofold: ") and err.count("\n") == 1
    assert REFUSED[line] in err
    assert list(tmp_path.iterdir()) == []
