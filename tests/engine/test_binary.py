"""IR to machine code: right numbers, kept and taken again, whatever happens to the cache, to threads and processes."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import re
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from twofold.engine import binary, cache, machine
from twofold.errors import UnsupportedError

INT = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
POSIX = pytest.mark.skipif(os.name == "nt", reason="owners and modes of POSIX")


def adds(number, name="f"):
    return f"define i64 @{name}(i64 %a) nounwind {{\n  %r = add i64 %a, {number}\n  ret i64 %r\n}}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "code"))
    monkeypatch.delenv("TWOFOLD_ISA", raising=False)
    forget(monkeypatch)
    return tmp_path / "code"


def forget(monkeypatch):
    """Be a new process, as far as the codes that it has go."""
    monkeypatch.setattr(binary, "_codes", {})


@pytest.fixture
def again(monkeypatch):
    """Load as a new process would; say whether it was compiled, after checking what it computes."""

    def call(name="k", number=5, ir=None, **changes):
        forget(monkeypatch)
        m = machine.host()
        for field, value in changes.items():
            object.__setattr__(m := SimpleNamespace(**{f: getattr(m, f) for f in m.__slots__}), field, value)
        code = binary.load(name, adds(number) if ir is None else ir, m)
        assert code.function("f", INT)(37) == 37 + number
        assert re.fullmatch(r"compiled in [0-9]+ ms|cache, [0-9]+\.[0-9] ms", code.origin)
        return code.origin.startswith("compiled")

    return call


def files(folder):
    return sorted(folder.iterdir())


# --- code -------------------------------------------------------------------------------------------------------------


def test_code_has_addresses_functions_ir_and_assembly():
    ir = adds(5) + adds(-3, "g") + adds(1, "h").replace("define", "define internal")
    code = binary.load("three", ir, machine.host())
    assert code.function("f", INT)(1) == 6 and code.function("g", INT)(1) == -2
    assert set(code.addresses) == {"f", "g"} and code.address("f") != code.address("g")
    assert code.ir == ir and "f:" in code.assembly() and code.name == "three"
    with pytest.raises(KeyError):
        code.address("h")
    with pytest.raises(AttributeError):
        code.name = "another"


def test_the_same_code_is_loaded_once_in_a_process():
    first = binary.load("k", adds(5), machine.host())
    assert binary.load("k", adds(5), machine.host()) is first
    assert binary.load("k", adds(6), machine.host()) is not first


def test_code_stays_when_nobody_holds_it(monkeypatch):
    function = binary.load("k", adds(5), machine.host()).function("f", INT)
    forget(monkeypatch)
    gc.collect()
    others = [binary.load("k", adds(n), machine.host()).function("f", INT) for n in range(50)]
    assert function(1) == 6 and [other(1) for other in others] == list(range(1, 51))


def test_constants_calls_and_asm_are_linked():
    ir = """
    define void @copy(ptr %to, ptr %from, i64 %n) nounwind {
      call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %n, i1 false)
      ret void
    }
    define double @third(double %a) nounwind {
      call void asm sideeffect "nop", ""()
      %b = call double asm sideeffect "", "=x,0"(double %a)
      %c = fmul double %b, 0.3
      ret double %c
    }
    declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
    """
    if machine.host().isa in ("neon", "generic"):
        ir = ir.replace("=x,0", "=w,0")
    code = binary.load("linked", ir, machine.host())
    source, to = ctypes.create_string_buffer(b"ab" * 2500), ctypes.create_string_buffer(5000)
    copy = code.function("copy", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t))
    copy(ctypes.addressof(to), ctypes.addressof(source), 4999)
    assert to.raw == b"ab" * 2499 + b"a\0"
    assert code.function("third", ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double))(10.0) == 3.0


@pytest.mark.parametrize(
    ("ir", "said"),
    [
        ("define i64 @f(", "parsing error"),
        ("define i64 @f() {\n  ret i64 %x\n}", "undefined value"),
        ("define i64 @f(i64 %a) {\n  %y = add i64 %x, 1\n  %x = add i64 %a, 1\n  ret i64 %y\n}", "does not dominate"),
        ("define i64 @f() {\n  call void @no_such_function()\n  ret i64 1\n}\ndeclare void @no_such_function()", "f"),
    ],
)
def test_wrong_ir_is_said_by_llvm_and_is_no_refusal(folder, ir, said):
    with pytest.raises(RuntimeError, match=said):
        binary.load("wrong", ir, machine.host())
    assert not folder.exists()
    assert binary.load("k", adds(5), machine.host()).function("f", INT)(1) == 6


# --- what is taken from the cache -------------------------------------------------------------------------------------


def test_the_second_process_takes_what_the_first_compiled(again, folder):
    assert again() and not again()
    (file,) = files(folder)
    assert re.fullmatch("[0-9a-f]{64}", file.stem) and file.suffix == ".code"
    assert file.read_bytes().startswith(b"twofold\n")
    if os.name != "nt":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_another_name_ir_cpu_or_features_is_another_file(again):
    assert again() and again(name="other") and again(number=6)
    assert again(cpu="x86-64" if machine.host().isa in ("avx512", "avx2", "x86-64") else "generic")
    assert again(features="")
    assert not again() and not again(name="other") and not again(number=6) and not again(features="")


@pytest.mark.parametrize("part", ["_versions", "_sources"])
def test_another_version_or_another_source_of_the_engine_is_another_file(again, monkeypatch, part):
    assert again()
    with monkeypatch.context() as patch:
        patch.setattr(binary, part, lambda: ("another",))
        assert again() and not again()
    assert not again()


def test_versions_are_those_of_twofold_llvmlite_and_llvm():
    import llvmlite
    import llvmlite.binding as llvm

    import twofold

    assert binary._versions() == (twofold.__version__, llvmlite.__version__, llvm.llvm_version_info)


def test_the_source_hash_follows_each_file_of_the_engine(tmp_path, monkeypatch):
    room = tmp_path / "engine"
    room.mkdir()
    (room / "a.py").write_text("1")
    (room / "b.py").write_text("2")
    monkeypatch.setattr(binary, "__file__", str(room / "binary.py"))
    seen = {binary._sources.__wrapped__()}
    for path, text in (("a.py", "3"), ("b.py", "4"), ("c.py", "")):
        (room / path).write_text(text)
        seen.add(binary._sources.__wrapped__())
    (room / "c.py").rename(room / "d.py")
    seen.add(binary._sources.__wrapped__())
    assert len(seen) == 5 and binary._sources.__wrapped__() in seen


def test_a_function_that_writes_the_ir_is_called_to_compile_only(again):
    calls = []

    def ir():
        calls.append(1)
        return adds(5)

    assert again(ir=ir) and len(calls) == 1
    assert not again(ir=ir) and len(calls) == 1
    code = binary.load("k", ir, machine.host())
    assert code.ir == adds(5) and len(calls) == 2
    assert again(), "a text under the same name is another key"


# --- a broken cache ---------------------------------------------------------------------------------------------------

CORRUPT = r"""
import ctypes, hashlib, os, random, struct
from pathlib import Path
from twofold.engine import binary, cache, machine

folder, draw, m = Path(os.environ["TWOFOLD_CACHE"]), random.Random(20), machine.host()
INT = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)

def adds(number):
    return f"define i64 @f(i64 %a) nounwind {{ %r = add i64 %a, {number}\n ret i64 %r }}"

def load(number):
    binary._codes.clear()
    code = binary.load("k", adds(number), m)
    assert code.function("f", INT)(37) == 37 + number
    return code.origin.startswith("compiled")

assert load(6)
(other,) = folder.iterdir()
other = other.read_bytes()
assert load(5)
(path,) = [path for path in folder.iterdir() if path.read_bytes() != other]
good = path.read_bytes()

def flip(raw):
    bit = draw.randrange(8 * len(raw))
    return raw[: bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1 :]

def header_flip(raw):
    return flip(raw[:84]) + raw[84:]

def long(raw):
    return raw[:44] + struct.pack("<Q", draw.choice((2**64 - 1, 2**63, 2**40, len(raw)))) + raw[52:]

def same_sum(raw):  # an object that LLVM must refuse, under a header that is right
    payload = draw.choice((b"f\0" + draw.randbytes(300), raw[84:-200], b"\xff\0", raw[84:].replace(b"f\0", b"g\0", 1)))
    digest = hashlib.sha256(payload).digest()
    return cache._HEADER.pack(b"twofold\n", 1, raw[12:44], len(payload), digest) + payload

kinds = [flip, header_flip, long, same_sum, lambda raw: raw[: draw.randrange(len(raw))],
         lambda raw: draw.randbytes(draw.randrange(2000)), lambda raw: other, lambda raw: b"",
         lambda raw: raw + draw.randbytes(1 + draw.randrange(9)), lambda raw: raw[:84]]
for i in range(200):
    path.write_bytes(kinds[i % len(kinds)](good))
    assert load(5), f"corruption {i} was taken"
    assert path.read_bytes() == good and not load(5), f"corruption {i} was not repaired"
print("all")
"""


def test_200_corruptions_each_cost_a_compilation_and_nothing_else():
    done = subprocess.run([sys.executable, "-c", CORRUPT], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "all\n", "")


@POSIX
@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo", "hard link of a file that others may write"])
def test_what_is_no_file_of_our_own_is_not_taken(again, folder, kind):
    assert again()
    (path,) = files(folder)
    kept = folder.parent / "kept"
    path.rename(kept)
    if kind == "symlink":
        path.symlink_to(kept)
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        kept.chmod(0o666)
        path.hardlink_to(kept)
    assert again()
    assert again() == (kind == "directory")  # the others are replaced by a file of ours


@POSIX
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_may_write_is_not_taken_and_replaced(again, folder, mode):
    assert again()
    (path,) = files(folder)
    path.chmod(mode)
    assert again() and stat.S_IMODE(path.stat().st_mode) == 0o600 and not again()


@POSIX
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_directory_that_others_may_write_is_not_used(again, folder, mode):
    assert again()
    folder.chmod(mode)
    assert again() and again()
    seen = cache.info()
    assert not seen.usable and "others may write to it" in seen.reason and cache.clear() == 0
    folder.chmod(0o755)
    assert not again() and cache.info().usable


@POSIX
def test_nothing_of_another_user_is_taken(again, folder, monkeypatch):
    assert again()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 12345)
        assert again() and again() and "another user" in cache.info().reason
    assert not again()
    real = os.fstat
    with monkeypatch.context() as patch:  # the file alone

        def foreign(descriptor):
            state = list(real(descriptor))
            state[stat.ST_UID] = 12345
            return os.stat_result(state)

        patch.setattr(os, "fstat", foreign)
        assert again()


@POSIX
def test_a_symlink_in_the_place_of_the_directory_is_not_used(again, folder):
    assert again()
    folder.rename(folder.parent / "elsewhere")
    folder.symlink_to(folder.parent / "elsewhere")
    assert again() and again() and "symbolic link" in cache.info().reason and cache.clear() == 0
    assert len(files(folder.parent / "elsewhere")) == 1


@POSIX
def test_a_directory_below_one_that_everybody_may_write_is_not_used(again, folder, monkeypatch):
    shared = folder.parent / "shared"
    for place in (shared / "mine" / "code", folder.parent / "way" / "code"):
        monkeypatch.setenv("TWOFOLD_CACHE", str(place))
        place.parent.mkdir(parents=True, exist_ok=True) if "way" not in place.parts else None
        if "way" in place.parts:
            place.parent.symlink_to(shared / "mine")
        shared.chmod(0o777)
        assert again(), place
        assert again() and "everybody may write" in cache.info().reason
        shared.chmod(0o1777)
        assert cache.info().usable
    assert again() and not again()


def test_a_file_in_the_place_of_the_directory_or_above_it_only_costs_a_compilation(again, folder, monkeypatch):
    folder.write_text("mine")
    assert again() and again() and "is not a directory" in cache.info().reason and cache.clear() == 0
    monkeypatch.setenv("TWOFOLD_CACHE", str(folder / "deeper"))
    assert again() and again() and not cache.info().usable and folder.read_text() == "mine"


@pytest.mark.parametrize("wish", ["x" * 5000, "~nobody-of-this-name/x", "loop/code", "\udcff"])
def test_a_directory_that_cannot_be_only_costs_a_compilation(again, folder, monkeypatch, wish):
    folder.parent.joinpath("loop").symlink_to("loop")
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("TWOFOLD_CACHE", wish)
    assert again()
    seen = cache.info()
    assert seen.usable == (wish == "\udcff") and (not seen.usable) == bool(seen.reason)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("step", ["open", "write", "replace", "mkdir"])
def test_a_full_or_unwritable_disk_only_costs_a_compilation(again, folder, monkeypatch, code, step):
    def fail(*args, **options):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if step == "write":  # a disk that fills up while the file is written
            real = open
            patch.setattr(cache, "open", lambda fd, mode: Full(real(fd, mode), fail), raising=False)
        elif step == "mkdir":
            patch.setattr(Path, "mkdir", fail)
        else:
            patch.setattr(os, step, fail)
        assert again() and again()
    assert not folder.exists() or files(folder) == []  # no half-written file stays
    assert again() and not again()


class Full:
    def __init__(self, file, fail):
        self.file, self.write, self.read, self.fileno = file, fail, fail, file.fileno

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


@POSIX
def test_a_directory_that_may_not_be_written_is_still_read(again, folder, monkeypatch):
    assert again()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only")))
    seen = cache.info()
    assert seen.usable and "nothing new is kept" in seen.reason and seen.files == 1
    assert not again() and again(number=7) and again(number=7)


# --- where, how much, and what is removed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"HOME": "/h"}, "/h/.cache/twofold/code"),
        ("linux", {"HOME": "/h", "XDG_CACHE_HOME": "/c"}, "/c/twofold/code"),
        ("linux", {"HOME": "/h", "XDG_CACHE_HOME": "relative"}, "/h/.cache/twofold/code"),
        ("darwin", {"HOME": "/h", "XDG_CACHE_HOME": "/c"}, "/h/Library/Caches/twofold/code"),
        ("win32", {"HOME": "/h", "LOCALAPPDATA": "/l"}, "/l/twofold/code"),
        ("win32", {"HOME": "/h"}, "/h/AppData/Local/twofold/code"),
        ("linux", {"HOME": "/h", "TWOFOLD_CACHE": "/t"}, "/t"),
        ("linux", {"HOME": "/h", "TWOFOLD_CACHE": "~/t"}, "/h/t"),
    ],
)
@POSIX
def test_the_directory_is_where_the_platform_keeps_such_things(monkeypatch, platform, environment, expected):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "TWOFOLD_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache.info().path == Path(expected)


@pytest.mark.parametrize("word", ["off", "OFF"])
def test_off_keeps_and_takes_nothing(again, folder, monkeypatch, word):
    assert again()
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("TWOFOLD_CACHE", word)
    assert again() and again() and cache.clear() == 0
    assert cache.info() == cache.CacheInfo(None, 0, 0, cache.LIMIT, False, f"TWOFOLD_CACHE={word}")
    assert len(files(folder)) == 1 and not Path(word).exists()


def test_info_counts_and_clear_removes_ours_alone(again, folder):
    assert cache.info() == cache.CacheInfo(folder, 0, 0, 64 << 20, True, "") and cache.clear() == 0
    assert not folder.exists()
    assert again() and again(number=6)
    (folder / "notes.code").write_text("not ours")
    (folder / ("0" * 64 + ".code")).mkdir()
    ours = [path for path in files(folder) if path.is_file() and path.stem != "notes"]
    seen = cache.info()
    assert (seen.files, seen.bytes) == (2, sum(path.stat().st_size for path in ours)) and seen.usable
    assert cache.clear() == 2 and {path.name for path in files(folder)} == {"notes.code", "0" * 64 + ".code"}
    assert again()


def test_the_bound_is_kept_and_what_was_used_longest_ago_goes_first(again, folder, monkeypatch):
    assert again(number=0)
    size = files(folder)[0].stat().st_size
    monkeypatch.setattr(cache, "LIMIT", 5 * size + size // 2)
    places = {}
    for number in range(1, 5):
        before = set(files(folder))
        assert again(number=number)
        (places[number],) = set(files(folder)) - before
    for number, path in places.items():
        os.utime(path, (time.time() - 1000 + number,) * 2)
    assert not again(number=1)  # used now; 2 is now the one used longest ago, but for 0
    os.utime(next(path for path in files(folder) if path not in places.values()), (time.time() - 2000,) * 2)
    assert again(number=5) and len(files(folder)) == 5
    assert again(number=6) and len(files(folder)) == 5 and cache.info().bytes <= cache.LIMIT
    assert not again(number=1) and not again(number=3) and not again(number=6)
    assert again(number=0) and again(number=2)


def test_the_bound_holds_when_others_remove_files_at_the_same_time(again, folder, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 2000)
    real = cache._files

    def vanishing(directory):
        found = real(directory)
        for _, _, path in found[:1]:
            path.unlink()
        return found

    for number in range(5):
        assert again(number=number)
    monkeypatch.setattr(cache, "_files", vanishing)
    for number in range(5, 10):
        assert again(number=number)
    monkeypatch.setattr(cache, "_files", real)
    assert cache.info().bytes <= 2000


def test_code_larger_than_the_bound_is_not_kept(again, folder, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 100)
    assert again() and again() and not folder.exists()


def test_what_a_process_left_unfinished_is_removed_after_an_hour(again, folder):
    assert again()
    young, old = (folder / f"{'0' * 64}.{name * 16}.tmp" for name in "ab")
    young.write_bytes(b"x")
    old.write_bytes(b"x")
    os.utime(old, (time.time() - 4000,) * 2)
    assert again(number=6)
    assert young.exists() and not old.exists()


# --- threads, processes, forks ----------------------------------------------------------------------------------------


def test_8_threads_that_start_cold_get_one_code_and_one_right_answer():
    barrier, seen = threading.Barrier(8), []

    def work():
        m = machine.host()
        barrier.wait()
        code = binary.load("k", adds(5), m)
        seen.append((code, code.function("f", INT)(37)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(seen) == 8 and {answer for _, answer in seen} == {42} and len({id(code) for code, _ in seen}) == 1


PROCESS = """
import ctypes, sys, time
from twofold.engine import binary, cache, machine
m = machine.host()
binary._target(m)
time.sleep(max(0, float(sys.argv[1]) - time.time()))
INT = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
for n in range(20):
    code = binary.load("k", f"define i64 @f(i64 %a) nounwind {{ %r = add i64 %a, {n}\\n ret i64 %r }}", m)
    assert code.function("f", INT)(37) == 37 + n
print("done")
"""


def test_4_processes_race_on_an_empty_cache(folder):
    start = str(time.time() + 1.5)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", PROCESS, start], **pipes) for _ in range(4)]
    for process in processes:
        assert process.communicate(timeout=60) == ("done\n", "") and process.returncode == 0
    assert len(files(folder)) == 20 and {path.suffix for path in files(folder)} == {".code"}
    assert cache.info().files == 20


FORK = """
import ctypes, os, threading, time
from twofold.engine import binary, cache, machine
m = machine.host()
INT = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
ir = "define i64 @f(i64 %a) nounwind {{ %r = add i64 %a, {}\\n ret i64 %r }}"
f = binary.load("k", ir.format(5), m).function("f", INT)
stop = []
def compiling():
    n = 100
    while not stop:
        n += 1
        binary.load("busy", ir.format(n), m)
thread = threading.Thread(target=compiling)
thread.start()
for i in range(20):
    time.sleep(0.003)
    child = os.fork()
    if child == 0:
        good = f(37) == 42 and binary.load("k", ir.format(5), m).function("f", INT)(1) == 6
        good = good and binary.load("k", ir.format(-i), m).function("f", INT)(1) == 1 - i
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.append(1)
thread.join()
assert f(1) == 6
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_calls_loads_and_compiles_even_while_a_thread_compiles():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


AT_EXIT = """
import ctypes, threading
from twofold.engine import binary, cache, machine
spin = '''define void @spin(i64 %n) nounwind {
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%j, %loop]
  %j = add i64 %i, 1
  %k = call i64 asm sideeffect "", "=r,0"(i64 %j)
  %done = icmp eq i64 %k, %n
  br i1 %done, label %out, label %loop
out:
  ret void
}'''
run = binary.load("spin", spin, machine.host()).function("spin", ctypes.CFUNCTYPE(None, ctypes.c_int64))
threading.Thread(target=run, args=(2**62,), daemon=True).start()
"""


def test_a_thread_that_still_runs_when_python_ends_does_no_harm():
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# --- executable memory ------------------------------------------------------------------------------------------------


def test_refused_executable_memory_is_a_sentence_and_keeps_nothing(folder, monkeypatch):
    def refuse(names, image):
        raise RuntimeError("Failed to materialize symbols")

    monkeypatch.setattr(binary, "_linked", refuse)
    with pytest.raises(UnsupportedError, match="the system refuses executable memory to this process"):
        binary.load("k", adds(5), machine.host())
    assert not folder.exists()


HARDENED = """
import ctypes, sys
from twofold.engine import binary, cache, machine
from twofold.errors import UnsupportedError
m = machine.host()
m and binary._target(m)
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    sys.exit(77)
for _ in range(2):
    try:
        binary.load("k", "define i64 @f(i64 %a) nounwind { ret i64 %a }", m)
    except UnsupportedError as error:
        print(error.sentence)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl of Linux")
@pytest.mark.parametrize("is_cached", [False, True])
def test_a_process_that_linux_denies_executable_memory_gets_the_sentence(is_cached):
    if is_cached:
        binary.load("k", "define i64 @f(i64 %a) nounwind { ret i64 %a }", machine.host())
    done = subprocess.run([sys.executable, "-c", HARDENED], capture_output=True, text=True, timeout=60)
    if done.returncode == 77:
        pytest.skip("this kernel is older than 6.3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the system refuses executable memory") == 2 and done.stderr == ""


# --- a kernel of the size that is to come; what it costs is printed by: pytest -s tests/engine -k register_tile -------

TILE = """
import ctypes, time
import numpy as np
def ms(start):
    return f"{1e3 * (time.perf_counter() - start):.1f} ms"
start = time.perf_counter()
import llvmlite.binding
imported = ms(start)
from twofold.engine import binary, cache, machine
start = time.perf_counter()
m = machine.host()
found = ms(start)

lanes, rows, steps = m.vector_bytes // 4, 14 if m.registers == 32 else 6, 9
vec, fma = f"<{lanes} x float>", "fma" if m.has_fma else "fmuladd"
cells = [(r, v) for r in range(rows) for v in range(2)]

def tile():
    yield "define void @tile(ptr %x, ptr %w, ptr %y, i64 %n) nounwind {\\nentry:\\nbr label %loop\\nloop:"
    yield "%i = phi i64 [0, %entry], [%next, %loop]"
    for r, v in cells:
        yield f"%a{r}_{v} = phi {vec} [zeroinitializer, %entry], [%b{r}_{v}, %loop]"
    for v in range(2):
        yield f"%o{v} = getelementptr [2 x {vec}], ptr %w, i64 %i, i64 {v}\\n%w{v} = load {vec}, ptr %o{v}, align 4"
    for r in range(rows):
        yield f"%p{r} = getelementptr [{rows} x float], ptr %x, i64 %i, i64 {r}"
        yield f"%x{r} = load float, ptr %p{r}, align 4"
        yield f"%s{r} = insertelement {vec} poison, float %x{r}, i64 0"
        yield f"%t{r} = shufflevector {vec} %s{r}, {vec} poison, <{lanes} x i32> zeroinitializer"
        for v in range(2):
            yield f"%b{r}_{v} = call {vec} @llvm.{fma}.v{lanes}f32({vec} %t{r}, {vec} %w{v}, {vec} %a{r}_{v})"
    yield "%next = add i64 %i, 1\\n%more = icmp ult i64 %next, %n\\nbr i1 %more, label %loop, label %out\\nout:"
    for r, v in cells:
        yield f"%q{r}_{v} = getelementptr [2 x {vec}], ptr %y, i64 {r}, i64 {v}"
        yield f"store {vec} %b{r}_{v}, ptr %q{r}_{v}, align 4"
    yield f"ret void\\n}}\\ndeclare {vec} @llvm.{fma}.v{lanes}f32({vec}, {vec}, {vec})"

code = binary.load("tile", "\\n".join(tile()), m)
x = np.arange(steps * rows, dtype=np.float32).reshape(steps, rows) % 7
w = np.arange(steps * 2 * lanes, dtype=np.float32).reshape(steps, 2 * lanes) % 5
y = np.empty((rows, 2 * lanes), np.float32)
run = code.function("tile", ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64))
run(x.ctypes.data, w.ctypes.data, y.ctypes.data, steps)
assert np.array_equal(y, np.einsum("sr,sw->rw", x, w))
assert not {"Spill", "%rsp", "[sp"} & set(__import__("re").findall(r"Spill|%rsp|\\[sp", code.assembly()))
print(f"{m.isa}, {rows} x 2 vectors: llvmlite imported in {imported}, host() {found}, code {code.origin}")
"""


def test_a_register_tile_of_each_process_is_right_and_spills_nothing():
    seen = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", TILE], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        seen.append(done.stdout)
    print("", *seen, sep="\n", end="")
    assert "compiled" in seen[0] and "cache" in seen[1]
