"""What this machine is to us, what TWOFOLD_ISA makes of it, and that the code for each keeps to its instructions."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from twofold.engine import binary, machine
from twofold.errors import UnsupportedError

X86 = ("avx512", "avx2", "x86-64")  # each runs those after it
V3 = dict.fromkeys(("avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe", "popcnt"), True)
V4 = V3 | dict.fromkeys(("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"), True)

# The sum of x[i] * w[i] + x[i], and a * a - b twice: with two roundings that no compiler may make one, and with one.
IR = """
define float @dot(ptr %x, ptr %w) nounwind {{
  %a = load <16 x float>, ptr %x, align 4
  %b = load <16 x float>, ptr %w, align 4
  %p = call <16 x float> @llvm.{fma}.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %a)
  %s = call float @llvm.vector.reduce.fadd.v16f32(float 0.0, <16 x float> %p)
  ret float %s
}}
define double @apart(double %a, double %b) nounwind {{
  %p = fmul double %a, %a
  %d = fsub double %p, %b
  ret double %d
}}
define double @fused(double %a, double %b) nounwind {{
  %m = fneg double %b
  %d = call double @llvm.{fma}.f64(double %a, double %a, double %m)
  ret double %d
}}
declare <16 x float> @llvm.{fma}.v16f32(<16 x float>, <16 x float>, <16 x float>)
declare double @llvm.{fma}.f64(double, double, double)
declare float @llvm.vector.reduce.fadd.v16f32(float, <16 x float>)
"""
RUN = f"""
import ctypes, numpy as np
from twofold.engine import binary, machine
IR = '''{IR}'''
m = machine.host()
code = binary.load("dot", IR.format(fma="fma" if m.has_fma else "fmuladd"), m)
dot = code.function("dot", ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_void_p, ctypes.c_void_p))
x, w = np.arange(16, dtype=np.float32), np.arange(16, 32, dtype=np.float32)
two = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_double)
a, b = 1 + 2.0**-30, 1 + 2.0**-29  # a * a = b + 2**-60, which rounds to b
print(m.isa, m.vector_bytes, m.registers, m.has_fma, m.has_bf16)
print(dot(x.ctypes.data, w.ctypes.data), code.function("apart", two)(a, b), code.function("fused", two)(a, b))
print(*sorted(set(__import__("re").findall(r"%[xyz]mm[0-9]+", code.assembly()))))
"""


@pytest.fixture
def isa(monkeypatch, tmp_path):
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "code"))
    monkeypatch.delenv("TWOFOLD_ISA", raising=False)
    return lambda word: monkeypatch.setenv("TWOFOLD_ISA", word)


@pytest.fixture
def seen(isa, monkeypatch):
    """Let LLVM see another machine."""

    def pretend(features, triple="x86_64-unknown-linux-gnu", cpu="some-cpu"):
        monkeypatch.setattr(machine, "_seen_by_llvm", lambda: (triple, cpu, features))
        machine._host.cache_clear()
        return machine._host()

    yield pretend
    machine._host.cache_clear()


def words_that_run():
    here = machine._host().isa
    return X86[X86.index(here) :] if here in X86 else ("neon",) * (here == "neon")


# --- the host ---------------------------------------------------------------------------------------------------------


def test_importing_the_room_loads_no_compiler():
    code = "import sys, twofold.engine.machine, twofold.engine.binary; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "llvmlite" not in out.split()


def test_the_host_has_what_the_system_says(isa):
    here = machine.host()
    assert here.is_host and here is machine.host() and 1 <= here.cores <= os.cpu_count()
    assert 4 << 10 <= here.l1d <= here.l2 and here.l3 > 0
    if not Path("/proc/cpuinfo").exists() or here.isa not in X86:
        return
    flags = set(re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)[1].split())
    assert (here.isa == "avx512") == ({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags)
    assert here.has_fma == ("fma" in flags) and here.has_bf16 == ("avx512_bf16" in flags)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (V4, ("avx512", "some-cpu", 64, 32, True, False)),
        (V4 | {"avx512bf16": True}, ("avx512", "some-cpu", 64, 32, True, True)),
        (V4 | {"avx512bf16": False}, ("avx512", "some-cpu", 64, 32, True, False)),
        (V4 | {"avx512vl": False}, ("avx2", "x86-64-v3", 32, 16, True, False)),  # as Knights Landing: plain AVX2
        (V3 | {"avx512f": False}, ("avx2", "some-cpu", 32, 16, True, False)),
        (V3 | {"fma": False}, ("x86-64", "x86-64", 16, 16, False, False)),
        ({"sse2": True, "avx": True}, ("x86-64", "x86-64", 16, 16, False, False)),
        ({}, ("x86-64", "x86-64", 16, 16, False, False)),
    ],
)
def test_each_x86_is_the_widest_row_that_it_runs_in_full(seen, features, expected):
    m = seen(features)
    assert (m.isa, m.cpu, m.vector_bytes, m.registers, m.has_fma, m.has_bf16) == expected
    assert m.isa == "avx512" or "+avx512" not in m.features  # what LLVM is told is no wider than the row
    assert m.cpu == "some-cpu" or m.features == ""


def test_features_are_spelled_in_one_order_with_those_that_are_missing(seen):
    features = seen({**dict(reversed(V4.items())), "amx": False}).features.split(",")
    assert features == sorted(features, key=lambda flag: flag[1:]) and {"-amx", "+avx512f"} <= set(features)


@pytest.mark.parametrize("triple", ["aarch64-unknown-linux-gnu", "arm64-apple-darwin25.0.0"])
def test_every_64_bit_arm_is_neon(seen, triple):
    m = seen({"neon": True, "sve": True}, triple, "apple-m1")
    assert (m.isa, m.cpu, m.vector_bytes, m.registers, m.has_fma, m.has_bf16) == (
        "neon",
        "apple-m1",
        16,
        32,
        True,
        False,
    )
    assert machine.cross("neon").triple == triple and machine.cross("avx2").triple == "x86_64-unknown-linux-gnu"


def test_another_architecture_is_generic_and_has_no_lesser_table(seen, isa):
    assert seen({"vsx": True}, "powerpc64le-unknown-linux-gnu", "pwr9").isa == machine.host().isa == "generic"
    isa("x86-64")
    with pytest.raises(UnsupportedError, match="does not run\n  try no TWOFOLD_ISA"):
        machine.host()


def test_a_compiler_that_does_not_load_is_a_sentence(isa, monkeypatch):
    machine._host.cache_clear()
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    with pytest.raises(UnsupportedError, match=r"llvmlite, the compiler of the engine, does not load: .*halted"):
        machine.host()


# --- caches and cores -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"/sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"/sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ({"/sys/fs/cgroup/cpu.max": "900000 0\n"}, 8),
        ({"/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3),
        (
            {
                "/proc/self/cgroup": "0::/a/b\n",
                "/sys/fs/cgroup/a/cpu.max": "300000 100000",
                "/sys/fs/cgroup/a/b/cpu.max": "500000 100000",
            },
            3,
        ),
        ({"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"/proc/self/cgroup": "0::/../../etc\n", "/sys/fs/cgroup/cpu.max": "garbage"}, 8),
    ],
)
def test_cores_are_those_of_the_affinity_within_the_quota(monkeypatch, files, cores):
    monkeypatch.setattr(machine, "_read", lambda path: files.get(path.as_posix(), ""))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert machine._cores() == cores


def test_what_the_machine_does_not_say_of_its_caches_is_assumed(monkeypatch, seen):
    monkeypatch.setattr(machine, "_caches", lambda: {1: 48 << 10})
    m = seen(V3)
    assert (m.l1d, m.l2, m.l3) == (48 << 10, 512 << 10, 4 << 20)


# --- TWOFOLD_ISA ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["sse9", "generic", "AVX-512", "avx512,avx2"])
def test_an_unknown_word_is_refused(isa, word):
    isa(word)
    with pytest.raises(UnsupportedError) as refused:
        machine.host()
    assert "is none of avx512, avx2, x86-64, neon" in refused.value.sentence and word.lower() in refused.value.sentence
    with pytest.raises(UnsupportedError, match="is none of avx512"):
        machine.cross(word)


def test_what_this_machine_does_not_run_is_refused_with_what_it_runs(isa, seen):
    seen(V3)
    for word in ("avx512", "neon"):
        isa(word)
        with pytest.raises(UnsupportedError) as refused:
            machine.host()
        assert refused.value.sentence == (
            f"TWOFOLD_ISA={word} asks for instructions that this machine (some-cpu) does not run; "
            "try TWOFOLD_ISA=avx2 or x86-64"
        )


def test_an_empty_word_and_the_own_word_are_the_host_itself(isa, seen):
    here = seen(V4)
    for word in ("", " ", "avx512", "AVX512 "):
        isa(word)
        assert machine.host() is here
    isa("avx2")
    lesser = machine.host()
    assert (lesser.cpu, lesser.features, lesser.is_host, lesser.cores) == ("x86-64-v3", "", True, here.cores)


@pytest.mark.parametrize("word", X86)
def test_each_table_that_runs_here_gives_right_numbers_with_its_own_registers(isa, word, tmp_path):
    if word not in words_that_run():
        pytest.skip(f"this machine does not run {word}")
    env = {**os.environ, "TWOFOLD_ISA": word, "TWOFOLD_CACHE": str(tmp_path / "code")}
    done = subprocess.run([sys.executable, "-c", RUN], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    facts, numbers, registers = done.stdout.splitlines()
    width, count, fma = {"avx512": (64, 32, True), "avx2": (32, 16, True), "x86-64": (16, 16, False)}[word]
    assert facts.split()[:4] == [word, str(width), str(count), str(fma)] and (fma or facts.endswith("False"))
    expected = sum(i * (i + 16) + i for i in range(16))
    assert [float(number) for number in numbers.split()] == [expected, 0.0, 2.0**-60 if fma else 0.0]
    letters = {name[1] for name in registers.split()}
    assert ("z" in letters) == (word == "avx512") and ("y" in letters) <= (word != "x86-64")
    assert ("y" in letters) or word != "avx2"
    assert word == "avx512" or not re.search(r"mm(1[6-9]|[23][0-9])", registers)


# --- objects for other machines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "elf"), [("neon", 183), ("avx512", 62), ("avx2", 62), ("x86-64", 62)])
def test_objects_are_emitted_for_machines_that_are_not_here(isa, word, elf):
    target = machine.cross(word)
    ir = IR.format(fma="fma" if target.has_fma else "fmuladd")
    image = binary.emit_object(ir, target)
    if "linux" in target.triple:
        assert image[:6] == b"\x7fELF\x02\x01" and struct.unpack_from("<HH", image, 16) == (1, elf)
    words = {"neon": r"fmla\tv[0-9]+\.4s", "avx512": r"vfmadd.*%zmm", "avx2": r"vfmadd.*%ymm", "x86-64": r"\tmulps\t"}
    assert re.search(words[word], binary.emit_assembly(ir, target))
    with pytest.raises(UnsupportedError, match=f"code for {word} .* is not run on this machine"):
        binary.load("dot", ir, target)
