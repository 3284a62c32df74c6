"""Several threads: all work done once, however calls meet or nest; how many they are; forks, and the end of Python."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from twofold.engine import binary, machine, threads
from twofold.errors import UnsupportedError

CALLS, NEXT, SUM, JOBS = range(4)  # of `data`, int64
SQUARES = """
define void @squares(ptr %data) nounwind {
entry:
  %c = atomicrmw add ptr %data, i64 1 seq_cst
  %next = getelementptr i64, ptr %data, i64 1
  %sum = getelementptr i64, ptr %data, i64 2
  %jobs = getelementptr i64, ptr %data, i64 3
  %n = load i64, ptr %jobs
  br label %loop
loop:
  %j = atomicrmw add ptr %next, i64 1 seq_cst
  %more = icmp slt i64 %j, %n
  br i1 %more, label %job, label %out
job:
  %square = mul i64 %j, %j
  %s = atomicrmw add ptr %sum, i64 %square seq_cst
  br label %loop
out:
  ret void
}
"""
HAS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "code"))
    for name in ("TWOFOLD_ISA", "TWOFOLD_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def squares():
    return binary.load("squares", SQUARES, machine.host()).address("squares")


@pytest.fixture(params=["openmp", "python"])
def runtime(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(threads, "_found", threads._Runtime(knows_torch=True))
        monkeypatch.setattr(threads, "_team", threads._Team())
    elif threads._runtime().parallel is None:
        pytest.skip("no OpenMP runtime here")
    return request.param


@pytest.fixture
def alone(monkeypatch):
    """No torch and no OpenMP, as far as the count goes."""
    monkeypatch.setattr(threads, "_torch", lambda: None)
    monkeypatch.setattr(threads, "_found", threads._Runtime(knows_torch=True))


def summed(squares, count, jobs=1000):
    """Run it, check that each job was done once, and return how many calls there were."""
    shared = np.array([0, 0, 0, jobs], np.int64)
    threads.parallel(squares, shared.ctypes.data, count)
    done = shared.copy()  # nobody may write any more
    assert done[SUM] == (jobs - 1) * jobs * (2 * jobs - 1) // 6
    assert done[NEXT] == jobs + done[CALLS] and 1 <= done[CALLS] <= max(1, count)
    return int(done[CALLS])


def script(text, *arguments, timeout=60, **variables):
    """Run it in a process of its own, with `squares` and `check(threads)`; return what it prints."""
    head = f"""
import ctypes, os, sys, threading, time
from twofold.engine import binary, machine, threads
squares = binary.load("squares", '''{SQUARES}''', machine.host()).address("squares")
def check(count, jobs=1000):
    shared = (ctypes.c_int64 * 4)(0, 0, 0, jobs)
    threads.parallel(squares, ctypes.addressof(shared), count)
    assert shared[2] == (jobs - 1) * jobs * (2 * jobs - 1) // 6, list(shared)
    return shared[0]
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | variables
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", head + text, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# --- the work is done, once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [-1, 0, 1, 2, 3, 8])
@pytest.mark.parametrize("jobs", [0, 1, 2, 1000])
def test_every_job_is_done_once(squares, runtime, count, jobs):
    for _ in range(20):
        calls = summed(squares, count, jobs)
        if runtime == "openmp":
            assert calls == max(1, count)


def test_helpers_do_help(squares, runtime):
    assert any(summed(squares, 2, 1_000_000) == 2 for _ in range(20))


def test_8_python_threads_call_at_once_and_many_times(squares, runtime):
    barrier, failed = threading.Barrier(8), []

    def work():
        barrier.wait()
        try:
            for turn in range(100):
                summed(squares, 1 + turn % 3, 200)
        except BaseException as error:
            failed.append(error)

    callers = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert not failed and not any(caller.is_alive() for caller in callers)


def test_an_entry_may_call_again_and_again(squares, runtime):
    calls = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def inner(_):
        calls.append(summed(squares, 3))

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def outer(_):
        for _ in range(5):
            threads.parallel(ctypes.cast(inner, ctypes.c_void_p).value, 0, 2)

    for _ in range(10):
        threads.parallel(ctypes.cast(outer, ctypes.c_void_p).value, 0, 3)
    assert len(calls) >= 50


def test_python_threads_are_as_many_as_one_call_asked_for(squares, monkeypatch):
    monkeypatch.setattr(threads, "_found", threads._Runtime(knows_torch=True))
    monkeypatch.setattr(threads, "_team", threads._Team())
    for count in (3, 2, 4, 1, 3):
        for _ in range(50):
            summed(squares, count)
    assert threads._team._size == 3


def test_a_system_without_another_thread_computes_on_this_one(squares, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_found", threads._Runtime(knows_torch=True))
    monkeypatch.setattr(threads, "_team", threads._Team())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert summed(squares, 4) == 1


def test_control_c_waits_for_the_helpers():
    task = threads._Task(lambda _: (begun.set(), finish.wait(30)), 0)
    begun, finish = threading.Event(), threading.Event()
    helper = threading.Thread(target=task.help, daemon=True)
    helper.start()
    assert begun.wait(30)

    class Interrupted:  # as if it came while waiting
        def __init__(self, lock):
            self.lock, self.release, self.times = lock, lock.release, 0

        def acquire(self):
            self.times += 1
            if self.times == 1:
                threading.Timer(0.05, finish.set).start()
                raise KeyboardInterrupt
            return self.lock.acquire()

    task._last = Interrupted(task._last)
    with pytest.raises(KeyboardInterrupt):
        task.close()
    assert finish.is_set() and task._running == 0
    helper.join(30)
    task.help()  # too late: must not run
    assert task._running == 0


# --- how many ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def cores(monkeypatch):
    def say(number):
        monkeypatch.setattr(threads, "_cores", lambda: number)

    say(6)
    return say


@pytest.mark.parametrize(("word", "expected"), [("1", 1), ("3", 3), (" 12 ", 12), ("1024", 1024)])
def test_our_variable_is_obeyed_even_above_the_cores(cores, monkeypatch, word, expected):
    monkeypatch.setenv("TWOFOLD_NUM_THREADS", word)
    assert threads.count() == expected
    with threads.limit(2):
        assert threads.count() == min(2, expected)


@pytest.mark.parametrize("word", ["", "0", "-1", "two", "1025", "2.0", "²", "9" * 5000])
def test_our_variable_must_be_a_number(cores, monkeypatch, word):
    monkeypatch.setenv("TWOFOLD_NUM_THREADS", word)
    if not word:  # unset, as a shell writes it
        assert 1 <= threads.count() <= 6
        return
    with pytest.raises(UnsupportedError, match=r"is no number from 1 to 1024\n  try TWOFOLD_NUM_THREADS=6"):
        threads.count()


@pytest.mark.parametrize(
    ("word", "expected"), [("4", 4), ("3,2", 3), (" 2 , 2", 2), ("64", 6), ("0", 6), ("many", 6), ("", 6), (None, 6)]
)
def test_the_variable_of_openmp_counts_up_to_the_cores(alone, cores, monkeypatch, word, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if word is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", word)
    assert threads.count() == expected


def test_the_runtime_is_asked_where_there_is_no_torch(cores, monkeypatch):
    monkeypatch.setattr(threads, "_torch", lambda: None)
    for said, expected in ((4, 4), (64, 6), (0, 1), (-1, 1)):
        monkeypatch.setattr(threads, "_found", threads._Runtime(max_threads=lambda said=said: said))
        assert threads.count() == expected


@pytest.mark.parametrize("word", ["1", "2"])
def test_the_variable_of_openmp_reaches_a_new_process(word):
    said = script("print(threads.count(), threads.describe())", OMP_NUM_THREADS=word)
    assert int(said.split()[0]) == min(int(word), machine.host().cores)


def test_torch_is_asked_where_it_is_imported(cores, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 5))
    assert threads._told() == (5, "torch.get_num_threads()") and threads.count() == 5
    cores(2)
    assert threads.count() == 2


@pytest.mark.parametrize("torch", [None, SimpleNamespace()])  # refused, and half imported
def test_a_torch_that_is_not_there_yet_is_not_asked(alone, cores, monkeypatch, torch):
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(threads, "_cores", lambda: 6)
    assert threads._torch() is None and 1 <= threads.count() <= 6


def test_the_number_that_torch_was_told_is_used():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert threads.count() == 1 and "torch.get_num_threads()" in threads.describe()
    finally:
        torch.set_num_threads(before)
    assert threads.count() == min(before, machine.host().cores)


@pytest.mark.skipif(find_spec("threadpoolctl") is None, reason="threadpoolctl is not installed (extra: bench)")
def test_the_limit_of_threadpoolctl_is_honoured():
    said = script("""
check(2)
import threadpoolctl
with threadpoolctl.threadpool_limits(1):
    print(threads.count())
""")
    assert said == "1\n"


@LINUX
@pytest.mark.parametrize("torch", ["", "import torch"])
def test_what_threadpoolctl_does_by_hand_is_honoured(torch):
    """It calls omp_set_num_threads of every runtime that is loaded."""
    said = script(f"""
{torch}
check(2)
for path in threads._loaded():
    ctypes.CDLL(path, mode=os.RTLD_NOLOAD).omp_set_num_threads(1)
print(len(threads._loaded()), threads.count())
""")
    if said.startswith("0"):
        pytest.skip("no OpenMP runtime here")
    assert said == "1 1\n"


def test_a_limit_only_lowers_and_is_of_its_thread(cores, monkeypatch):
    monkeypatch.setenv("TWOFOLD_NUM_THREADS", "5")
    seen = []
    with threads.limit(3):
        assert threads.count() == 3
        with threads.limit(9):
            assert threads.count() == 3
        with threads.limit(np.int64(2)):
            assert threads.count() == 2
        other = threading.Thread(target=lambda: seen.append(threads.count()))
        other.start()
        other.join(30)
        assert threads.count() == 3 and "(limit)" in threads.describe()
    with pytest.raises(ZeroDivisionError), threads.limit(1):
        raise ZeroDivisionError
    assert seen == [5] and threads.count() == 5


@pytest.mark.parametrize("wrong", [0, -3])
def test_a_limit_leaves_at_least_one(wrong):
    with pytest.raises(UnsupportedError, match="leaves no thread to compute on"), threads.limit(wrong):
        pass
    with pytest.raises(TypeError), threads.limit(1.5):
        pass


# --- which runtime ----------------------------------------------------------------------------------------------------


def test_what_is_described(monkeypatch):
    monkeypatch.setenv("TWOFOLD_NUM_THREADS", "3")
    monkeypatch.setattr(threads, "_torch", lambda: None)
    found = threads._Runtime("libgomp-a34b3233.so.1", "loaded already", lambda *four: None)
    monkeypatch.setattr(threads, "_found", found)
    assert threads.describe() == (
        "3 threads (TWOFOLD_NUM_THREADS): GOMP_parallel of libgomp-a34b3233.so.1, loaded already."
    )
    monkeypatch.setattr(threads, "_is_forked", True)
    assert "Python's own, because this process was forked" in threads.describe()
    monkeypatch.setattr(threads, "_is_forked", False)
    monkeypatch.setattr(threads, "_found", threads._Runtime())
    assert "Python's own, because no OpenMP runtime is at hand" in threads.describe()


def test_nothing_is_looked_for_or_begun_at_import():
    assert script("print(threading.active_count(), threads._found, 'torch' in sys.modules)") == "1 None False\n"


@LINUX
@pytest.mark.parametrize("order", ["before", "after"])
def test_there_is_one_pool_for_torch_and_us(order):
    pytest.importorskip("torch")
    said = script(
        """
if sys.argv[1] == "before":
    import torch
check(2)
import torch
torch.set_num_threads(4)
x = torch.ones(1000, 1000)
(x + x).sum()
before = len(os.listdir("/proc/self/task"))
check(4)
print(len(threads._loaded()), threads._found.origin, "and", len(os.listdir("/proc/self/task")) - before, "more threads")
""",
        order,
    )
    if said.startswith("0"):
        pytest.skip("this torch has no OpenMP")
    if order == "before" or said.startswith("1"):
        assert said == "1 shared with torch and 0 more threads\n"
    else:  # its wheel has a renamed copy, which came beside ours and is now used instead
        assert said == "2 shared with torch and 0 more threads\n"


@LINUX
def test_a_renamed_copy_that_is_loaded_is_found_and_no_other_is_opened(tmp_path):
    torch = find_spec("torch")
    folders = [Path(torch.origin).parent / "lib"] if torch else []
    folders += [Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib/aarch64-linux-gnu"), Path("/usr/lib64")]
    files = [path for folder in folders for path in sorted(folder.glob("libgomp*.so.1"))]
    if not files:
        pytest.skip("no libgomp here")
    copy = tmp_path / "libgomp-0123abcd.so.1"
    copy.write_bytes(files[0].read_bytes())
    said = script("ctypes.CDLL(sys.argv[1])\ncheck(2)\nprint(threads._loaded(), threads._found.name)", str(copy))
    assert said == f"{[str(copy)]} {copy.name}\n"


@pytest.mark.parametrize("path", ["/proc/none.so", __file__])
def test_a_file_that_is_no_runtime_is_passed_over(path):
    assert threads._opened(path, "", None) is None


def test_a_system_without_proc_has_nothing_loaded(monkeypatch):
    def refuse(self):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert threads._loaded() == []


# --- forks and ends ---------------------------------------------------------------------------------------------------

FORK = """
if sys.argv[1] == "torch":
    import torch
    torch.set_num_threads(2)
    x = torch.ones(500, 500)
    (x + x).sum()
if sys.argv[2] == "python":
    threads._found = threads._Runtime(knows_torch=True)
check(3)
def child(depth):
    for _ in range(20):
        check(3)
    assert "forked" in threads.describe() or threads.count() == 1
    others = [threading.Thread(target=check, args=(2,)) for _ in range(3)]
    [t.start() for t in others]
    [t.join() for t in others]
    if depth:
        fork(depth - 1)
def fork(depth):
    pid = os.fork()
    if pid == 0:
        try:
            child(depth)
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            code = 1
        os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
for _ in range(3):
    fork(1)
    check(3)
busy, stop = [], []
def computing():
    while not stop:
        check(2)
busy = threading.Thread(target=computing)
busy.start()
for _ in range(5):
    time.sleep(0.003)
    fork(0)
stop.append(1)
busy.join()
print("done")
"""


@HAS_FORK
@pytest.mark.parametrize("torch", ["torch", "alone"])
@pytest.mark.parametrize("runtime", ["openmp", "python"])
def test_a_forked_child_computes_and_so_does_its_child(torch, runtime):
    if torch == "torch":
        pytest.importorskip("torch")
    assert script(FORK, torch, runtime) == "done\n"


@HAS_FORK
@pytest.mark.skipif(sys.platform != "linux", reason="libgomp of Linux")
def test_without_the_fork_handler_the_child_would_hang():
    """That this is why: it holds for libgomp, and the day it no longer does, this file can be shorter."""
    said = script("""
check(2)
print(threads._found.name)
pid = os.fork()
if pid == 0:
    threads._is_forked = False
    check(2)
    os._exit(0)
for _ in range(100):
    time.sleep(0.01)
    if os.waitpid(pid, os.WNOHANG)[0]:
        print("ends")
        break
else:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    print("hangs")
""")
    if not said.startswith("libgomp"):
        pytest.skip("no libgomp here")
    assert said.endswith("hangs\n")


@pytest.mark.parametrize("runtime", ["openmp", "python"])
@pytest.mark.parametrize(
    "end",
    ["pass", "sys.exit()", "import atexit; atexit.register(check, 3)", "import atexit; atexit.register(check, 9)"],
)
def test_python_ends_right_after_use(runtime, end):
    forced = "threads._found = threads._Runtime(knows_torch=True)" if runtime == "python" else ""
    script(f"{forced}\ncheck(4)\n{end}")


@pytest.mark.parametrize("runtime", ["openmp", "python"])
def test_python_ends_while_daemon_threads_compute(runtime):
    forced = "threads._found = threads._Runtime(knows_torch=True)" if runtime == "python" else ""
    script(f"""
{forced}
def forever():
    while True:
        check(3)
for _ in range(2):
    threading.Thread(target=forever, daemon=True).start()
time.sleep(0.05)
""")


@pytest.mark.parametrize("runtime", ["openmp", "python"])
@pytest.mark.parametrize("first", ["check(3)", "pass"])
def test_an_object_may_compute_when_it_dies_last(runtime, first):
    forced = "threads._found = threads._Runtime(knows_torch=True)" if runtime == "python" else ""
    said = script(f"""
{forced}
class Last:
    def __del__(self, check=check, write=os.write):
        check(3)
        write(1, b"computed")
last = Last()
{first}
""")
    assert said == "computed"
