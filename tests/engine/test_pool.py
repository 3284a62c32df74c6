"""Memory that is used again: never while anybody sees it, never more than the bound, and not at all if so wished."""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from twofold.engine import pool
from twofold.errors import UnsupportedError
from twofold.memory import memory_limit

MIB = 1 << 20
HUGE = 2 * MIB
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no private mappings: np.empty throughout")


def pooled(array):
    """Say whether it stands on a mapping of the pool."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return isinstance(array.base, pool._Loan)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pool from 2 MiB up, so that these tests are quick."""
    monkeypatch.setattr(pool, "THRESHOLD", HUGE)
    monkeypatch.setenv("TWOFOLD_POOL", "64M")
    pool.clear()
    yield
    pool.clear()


def pages(count, dtype=np.uint8):
    """An array of this many huge pages."""
    return pool.empty((count * HUGE // np.dtype(dtype).itemsize,), dtype)


def address(x):
    return x.__array_interface__["data"][0]


# --- what comes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, ">i2", np.complex128, "M8[s]", "S3", np.dtype("f4, i1")])
@pytest.mark.parametrize("rows", [1, 300_000, 1_000_001])
def test_arrays_are_what_numpy_makes(dtype, rows):
    x, like = pool.empty((rows, 3), dtype), np.empty((rows, 3), dtype)
    assert (x.shape, x.dtype, x.strides, type(x)) == (like.shape, like.dtype, like.strides, np.ndarray)
    assert x.flags.c_contiguous and x.flags.writeable and x.flags.aligned
    if x.nbytes >= HUGE:
        assert pooled(x) and address(x) % 64 == 0
    x[...] = np.zeros((), x.dtype)
    assert pickle.loads(pickle.dumps(x[:2])).tobytes() == bytes(x[:2].nbytes)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2**40), (1,)])
def test_small_and_empty_shapes(shape):
    x = pool.empty(shape, np.float64)
    assert x.shape == shape and not pooled(x)
    assert pool.empty((), f"S{HUGE}").shape == ()


def test_objects_and_arrays_in_arrays_are_left_to_numpy():
    x = pool.empty((HUGE // 8,), object)
    assert not pooled(x) and x[0] is None and x[-1] is None
    assert pool.empty((HUGE,), np.dtype((np.uint8, 2))).shape == (HUGE, 2)


@pytest.mark.parametrize("shape", [(-1,), (-HUGE, -1), (2, -HUGE)])
def test_negative_sizes_are_refused_as_numpy_does(shape):
    with pytest.raises(ValueError, match="negative dimensions"):
        pool.empty(shape, np.uint8)


@pytest.mark.parametrize("bound", ["64M", "9" * 18])  # beyond the bound, and within
def test_more_than_there_is_is_a_memory_error_in_numpys_words(monkeypatch, bound):
    monkeypatch.setenv("TWOFOLD_POOL", bound)
    del_me = pages(1)
    del del_me
    with pytest.raises(MemoryError, match="Unable to allocate"):
        pool.empty((1 << 57,), np.uint8)
    with pytest.raises(ValueError, match=r"[Mm]aximum"):
        pool.empty((1 << 40, 1 << 40), np.uint8)
    assert pages(1).nbytes == HUGE


def test_a_mapping_refused_gives_back_what_waits_and_asks_numpy(monkeypatch):
    x = pages(1)
    del x

    def refuse(*arguments, **options):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert pool.kept() == HUGE
    x = pages(4)
    assert not pooled(x) and x.nbytes == 4 * HUGE and pool.kept() == 0


# --- used again -------------------------------------------------------------------------------------------------------


def test_the_same_memory_comes_again_and_is_not_counted_while_used():
    x = pages(2)
    place = address(x)
    assert pool.kept() == 0
    for dtype in (np.float32, np.int8):
        del x
        assert pool.kept() == 2 * HUGE
        x = pages(2, dtype)
        assert address(x) == place and x.dtype == dtype and pool.kept() == 0


@pytest.mark.parametrize(
    ("waiting", "wanted", "taken"),
    [
        ([4, 2, 3], 2, 2),
        ([4, 3, 6], 2, 3),  # the best fit
        ([4], 2, 4),  # twice as large will do
        ([5], 2, None),  # more is a waste
        ([2], 3, None),
        ([], 1, None),
    ],
)
def test_the_best_fit_up_to_twice_as_large_is_taken(waiting, wanted, taken):
    arrays = [pages(count) for count in waiting]
    places = {address(x): count for count, x in zip(waiting, arrays, strict=True)}
    arrays.clear()
    before = pool.kept()
    x = pages(wanted)
    assert before - pool.kept() == (taken or 0) * HUGE
    assert places.get(address(x)) == taken


def test_sizes_are_rounded_up_to_huge_pages():
    x = pool.empty((HUGE + 1,), np.uint8)
    assert x.shape == (HUGE + 1,)
    del x
    assert pool.kept() == 2 * HUGE


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[5:6],
        lambda x: x.view(np.int16)[::-2],
        lambda x: x.reshape(2, -1).T[3:],
        lambda x: memoryview(x)[7:9],
        lambda x: x.base,
        lambda x: np.from_dlpack(x),
        lambda x: np.asarray(x).view(np.recarray),
        lambda x: [x[:0]],
    ],
)
def test_whatever_still_sees_the_memory_keeps_it(view):
    x = pages(2)
    x[...] = 7
    seen = view(x)
    del x
    assert pool.kept() == 0
    other = pages(2)
    other[...] = 9
    if not isinstance(seen, list):
        assert set(np.asarray(seen).tobytes()) == {7}
    del seen
    gc.collect()
    assert pool.kept() == 2 * HUGE


def test_a_torch_tensor_on_the_memory_keeps_it():
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(pages(2))
    tensor.fill_(7)
    other = pages(2)
    other[...] = 9
    assert pool.kept() == 0 and int(tensor.min()) == int(tensor.max()) == 7
    del tensor
    assert pool.kept() == 2 * HUGE


def test_live_arrays_never_change():
    rng = np.random.default_rng(0)
    live = {}
    for turn in range(400):
        x = pages(int(rng.integers(1, 6)))
        x[:: HUGE // 4] = turn % 251
        live[turn] = x[:: HUGE // 4] if turn % 2 else x
        del x
        for old in rng.choice(list(live), size=min(len(live), int(rng.integers(0, 3))), replace=False):
            del live[int(old)]
        for name, x in live.items():
            assert (x[:: HUGE // 4 if x.flags.c_contiguous else 1] == name % 251).all()
        while len(live) > 12:
            del live[min(live)]
    assert pool.kept() <= 64 * MIB


# --- bounds and the switch --------------------------------------------------------------------------------------------


def test_no_more_is_kept_than_the_bound_and_the_oldest_goes_first(monkeypatch):
    monkeypatch.setenv("TWOFOLD_POOL", "10M")
    arrays = [pages(count) for count in (1, 2, 3)]
    places = [address(x) for x in arrays]
    while arrays:
        del arrays[0]
        assert pool.kept() <= 10 * MIB
    assert pool.kept() == 5 * HUGE and list(pool._kept) == places[1:]
    assert not pooled(pages(6)) and pool.kept() == 5 * HUGE  # could never be kept: NumPy's


def test_a_bound_that_falls_is_kept_at_the_next_return(monkeypatch):
    arrays = [pages(2) for _ in range(4)]
    last = arrays.pop()
    arrays.clear()
    assert pool.kept() == 6 * HUGE
    monkeypatch.setenv("TWOFOLD_POOL", "5M")
    del last
    assert pool.kept() == 2 * HUGE


@pytest.mark.parametrize("word", ["off", "OFF", " off ", "0"])
def test_off_is_off_also_for_what_is_still_out(monkeypatch, word):
    x = pages(2)
    monkeypatch.setenv("TWOFOLD_POOL", word)
    assert not pooled(pages(2))
    del x
    assert pool.kept() == 0


@pytest.mark.parametrize(
    ("word", "expected"),
    [("1000", 1000), ("256M", 256 * MIB), ("256m", 256 * MIB), (" 3k ", 3 << 10), ("2G", 2 << 30), ("off", 0)],
)
def test_the_words_of_the_variable(monkeypatch, word, expected):
    monkeypatch.setenv("TWOFOLD_POOL", word)
    assert pool._bound() == expected


@pytest.mark.parametrize("word", [None, ""])
def test_the_bound_when_nothing_is_said(monkeypatch, word):
    monkeypatch.delenv("TWOFOLD_POOL")
    if word is not None:
        monkeypatch.setenv("TWOFOLD_POOL", word)
    assert pool._bound() == min(512 * MIB, memory_limit() // 8)


@pytest.mark.parametrize("word", ["on", "-1", "256MB", "1.5G", "M", "²", "9" * 5000])
def test_a_wrong_word_is_said_where_somebody_hears_it(monkeypatch, word):
    x = pages(1)
    monkeypatch.setenv("TWOFOLD_POOL", word)
    with pytest.raises(UnsupportedError, match=r"is neither off nor a number of bytes\n  try TWOFOLD_POOL=256M"):
        pages(1)
    del x  # a finalizer raises nothing; pytest would say so
    assert pool.kept() == 0
    assert pool.empty((3,), np.float32).shape == (3,)


def test_clear_gives_back_what_waits_and_nothing_else():
    x, y = pages(1), pages(1)
    x[...] = 7
    del y
    assert pool.kept() == HUGE
    pool.clear()
    assert pool.kept() == 0 and (x == 7).all()


# --- threads, finalizers, forks, ends ---------------------------------------------------------------------------------


def test_an_array_that_dies_in_another_thread_comes_again():
    x = [pages(2)]
    place = address(x[0])
    other = threading.Thread(target=x.clear)
    other.start()
    other.join(30)
    assert pool.kept() == 2 * HUGE and address(pages(2)) == place


def test_threads_that_make_and_free_at_once_never_share(monkeypatch):
    monkeypatch.setenv("TWOFOLD_POOL", "10M")
    failed, barrier = [], threading.Barrier(6)

    def work(name):
        barrier.wait()
        for turn in range(300):
            x = pages(1 + (turn + name) % 3)
            x[:: HUGE // 8] = name
            if turn % 50 == 0:
                pool.clear()
            if not (x[:: HUGE // 8] == name).all():
                failed.append(turn)

    workers = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not failed and pool.kept() <= 10 * MIB


def test_arrays_that_only_the_collector_frees_come_back():
    x = pages(2)
    cycle = [x]
    cycle.append(cycle)
    del x, cycle
    assert pool.kept() == 0
    gc.collect()
    assert pool.kept() == 2 * HUGE


def script(text):
    head = "import os, sys, numpy as np\nfrom twofold.engine import pool\nn = (pool.THRESHOLD,)\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", head + text], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_parent_and_child_have_each_their_own():
    said = script("""
live, dead = pool.empty(n, np.uint8), pool.empty(n, np.uint8)
live[::4096], dead[::4096] = 5, 6
view = dead[::4096]
del dead
pid = os.fork()
if pid == 0:
    del view
    new = pool.empty(n, np.uint8)
    new[::4096] = 7
    live[::4096] = 8
    del new, live
    os._exit(0 if pool.kept() == 2 * n[0] else 1)
assert os.waitpid(pid, 0)[1] == 0
assert (live[::4096] == 5).all() and (view == 6).all() and pool.kept() == 0
print("done")
""")
    assert said == "done\n"


def test_an_array_may_be_used_until_the_very_end():
    said = script("""
waiting = pool.empty(n, np.uint8)
del waiting
class Last:
    def __del__(self, write=os.write):
        self.x[...] = 49
        write(1, self.x[-2:].tobytes())
last = Last()
last.x = pool.empty(n, np.uint8)
""")
    assert said == "11"


def test_python_ends_while_a_daemon_thread_makes_and_frees():
    script("""
import threading
def forever():
    while True:
        pool.empty(n, np.uint8)[0] = 1
threading.Thread(target=forever, daemon=True).start()
""")


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="no huge pages here")
def test_huge_pages_are_asked_for_private_memory():
    x = pages(4)
    with open("/proc/self/smaps") as file:  # noqa: PTH123
        found, inside = "", False
        for line in file:
            first = line.split(None, 1)[0]
            if "-" in first and not first.endswith(":"):
                start, end = (int(word, 16) for word in first.split("-"))
                inside = start <= address(x) < end
                found += line if inside else ""
            elif inside and line.startswith("VmFlags:"):
                found += line
    assert " rw-p " in found and " hg" in found
