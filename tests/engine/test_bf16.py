"""Numbers of 16 bits: converted as NumPy does, moved by every kernel, multiplied two by two where the machine can."""

from __future__ import annotations

import ctypes
import dataclasses
import mmap
import os
import re

import numpy as np
import pytest

from twofold.engine import binary, machine
from twofold.engine.emit import BYTES, Module, vector
from twofold.engine.micro import Tile
from twofold.engine.pairs import AMX_BLOCK, AmxTile, PairTile, PairWeights, amx_tiles, has_amx
from twofold.engine.patch import Packer
from twofold.engine.records import ENTRY, JOB, LAUNCH, NOW
from twofold.engine.store import Store
from twofold.engine.weights import PACKING, PIECE, WeightPacker

bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
DTYPES = {"half": np.dtype(np.float16), "bfloat": np.dtype(bfloat16), "float": np.dtype("f4"), "double": np.dtype("f8")}
SHORT = ("half", "bfloat")
RUNS = ("", *machine._runs())
needs_amx = pytest.mark.skipif(not has_amx(machine.host()), reason="TDPBF16PS, and a system that allows it")
needs_bf16 = pytest.mark.skipif(not machine.host().has_bf16, reason="VDPBF16PS")


@pytest.fixture(params=RUNS)
def host(request, monkeypatch, tmp_path):
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "code"))
    monkeypatch.setenv("TWOFOLD_ISA", request.param)
    return machine.host()


def record(kind, **fields):
    table = np.zeros(len(kind.fields), np.int64)
    for field, value in fields.items():
        table[kind.index[field]] = value.ctypes.data if isinstance(value, np.ndarray) else value
    return table


def text(kernel, m):
    module = Module(m)
    kernel.emit(module)
    return str(module)


def call(kernel, m, *records):
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(records))
    f = binary.load(kernel.name, text(kernel, m), m).function(kernel.name, kind)
    f(*(r if isinstance(r, int) else r.ctypes.data for r in records))


def aligned(shape, dtype, value=0):
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(count + 64, np.uint8)
    array = raw[-raw.ctypes.data % 64 :][:count].view(dtype).reshape(shape)
    array[...] = value
    return array


# --- conversion -------------------------------------------------------------------------------------------------------


def converting(have, want, lanes, m):
    module = Module(m)
    f = module.function("convert", x="ptr", y="ptr", n="i64")
    with f.loop(f.n, step=max(lanes, 1)) as i:
        x = f.load(vector(lanes, have) if lanes else have, f.x + i.index * BYTES[have])
        f.store(f.convert(x, want), f.y + i.index * BYTES[want])
    return str(module)


def converted(x, have, want, lanes, m):
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    f = binary.load("convert", converting(have, want, lanes, m), m).function("convert", kind)
    y = np.empty(len(x), DTYPES[want])
    f(x.ctypes.data, y.ctypes.data, len(x))
    return y


def same_bits(got, want):
    nan = np.isnan(want.astype(np.float64))
    assert (np.isnan(got.astype(np.float64)) == nan).all()
    bits = f"u{got.itemsize}"
    np.testing.assert_array_equal(got.view(bits)[~nan], want.view(bits)[~nan])


def near_short_numbers():
    """Every number of 16 bits as float32, what lies about the middle between two, and any bits."""
    bits = np.arange(1 << 16).astype(np.uint16)
    half = bits.view(np.float16).astype(np.float32).view(np.uint32)
    about = [half + np.uint32(step % 2**32) for step in (0, 0xFFF, 0x1000, 0x1001, -0x1000)]
    about += [(bits.astype(np.uint32) << 16) + np.uint32(step) for step in (0, 0x7FFF, 0x8000, 0x8001)]
    return np.concatenate([*about, np.random.default_rng(0).integers(0, 2**32, 1 << 16, np.uint32)]).view(np.float32)


@pytest.mark.parametrize("lanes", [16, 8, 4, 1, 0])
@pytest.mark.parametrize("short", SHORT)
def test_conversion_is_exact_or_to_nearest_even(short, lanes, host):
    with np.errstate(all="ignore"):
        every = np.arange(1 << 16).astype(np.uint16).view(DTYPES[short])
        same_bits(converted(every, short, "float", lanes, host), every.astype(np.float32))
        same_bits(converted(every, short, "double", lanes, host), every.astype(np.float64))
        x = near_short_numbers()
        same_bits(converted(x, "float", short, lanes, host), x.astype(DTYPES[short]))


def test_double_is_rounded_once(host):
    """As NumPy does to half; to bfloat16 via a float with its last bit set, so that no tie is made where none was."""
    with np.errstate(all="ignore"):
        x = np.concatenate([near_short_numbers().astype(np.float64) * (1 + e) for e in (0, 2.0**-40, -(2.0**-40))])
        same_bits(converted(x, "double", "half", 8, host), x.astype(np.float16))
        odd = x.astype(np.float32)
        bits = odd.view(np.uint32) - (np.abs(odd) > np.abs(x)) | ((odd != x) & ~np.isnan(x))
        same_bits(converted(x, "double", "bfloat", 8, host), bits.astype(np.uint32).view(np.float32).astype(bfloat16))
    tie = np.full(16, 1 + 2.0**-8 + 2.0**-40)  # float32 would drop the last term, and the tie go down to 1
    assert (converted(tie, "double", "bfloat", 8, host).astype(np.float64) == 1 + 2.0**-7).all()


def kernels():
    for short in SHORT:
        yield from (Packer(way, 16, short, "float") for way in ("pixels", "squares", "cells"))
        yield WeightPacker(short, "float")
        for way in ("first", "last", "spread"):
            yield from (Store(way, "float", short, "none"), Store(way, "float", short, "gelu", True))


@pytest.mark.parametrize("isa", machine.ISAS)
@pytest.mark.parametrize("kernel", list(kernels()), ids=lambda kernel: kernel.name)
def test_no_function_of_a_library_is_called(kernel, isa):
    m = machine.cross(isa)
    assembly = binary.emit_assembly(text(kernel, m), m)
    assert not re.findall(r"^\s+(?:callq?|blr?)\s.*|__\w+", assembly, re.MULTILINE)
    assert len(binary.emit_object(text(kernel, m), m)) > 100


# --- moved ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixels, channels", [(32, 32), (21, 19), (1, 5)])
@pytest.mark.parametrize("short", SHORT)
@pytest.mark.parametrize("way", ["first", "last"])
def test_a_store_adds_a_residual_and_rounds_once(way, short, pixels, channels, host):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((pixels + 16, 32)).astype(np.float32)
    shape = (channels, pixels) if way == "first" else (pixels, channels)
    residual = rng.standard_normal(shape).astype(DTYPES[short])
    y = np.zeros((shape[0] + 1, shape[1]), DTYPES[short])
    now = record(NOW, rows=rows, y=y, residual=residual)
    entry = record(ENTRY, pitch=128, pixels=pixels, lanes=channels, dst_row=2 * shape[1], step=2 * shape[1])
    call(Store(way, "float", short, "none", True), host, now, entry)
    sums = rows[:pixels, :channels].T if way == "first" else rows[:pixels, :channels]
    same_bits(y[:-1].ravel(), (sums + residual.astype(np.float32)).astype(DTYPES[short]).ravel())
    assert (y[-1] == 0).all()


def weights_packed(weight, packer, m, block, vectors, channels, dtype):
    """Return the weights of one piece: (outputs, inputs, taps) -> [block][tap][channel][V * lanes]."""
    outs, ins, taps = weight.shape
    item = weight.itemsize
    offsets = np.arange(taps) * item
    lanes = vectors * m.vector_bytes // 4
    out = aligned((-(-ins // block) * block * taps * lanes,), dtype)
    pieces = record(PIECE, lanes=outs, row=lanes * 4, taps=offsets, count=taps)
    packing = record(
        PACKING, source=weight, target=out, pieces=pieces, count=1, phases=1, outs=taps * ins * item, ins=taps * item,
        channels=channels, block=block,
    )  # fmt: skip
    call(packer, m, packing)
    return out


@pytest.mark.parametrize("short", SHORT)
def test_weights_are_packed_and_widened(short, host):
    weight = np.random.default_rng(0).standard_normal((5, 18, 3)).astype(DTYPES[short])
    if os.name == "posix":
        weight = before_forbidden_memory(weight)  # 2-byte numbers are gathered 4 bytes at a time
    lanes = host.vector_bytes // 4
    packed = weights_packed(weight, WeightPacker(short, "float"), host, 16, -(-5 // lanes), 18, np.float32)
    lanes *= -(-5 // lanes)
    whole = packed[: 16 * 3 * lanes].reshape(3, 16, lanes)
    np.testing.assert_array_equal(whole[:, :, :5], weight[:, :16].transpose(2, 1, 0).astype(np.float32))
    assert (whole[:, :, 5:] == 0).all()


def before_forbidden_memory(array):
    """Return a copy whose last byte is the last of a page, with a page after it that may not be read."""
    page = mmap.PAGESIZE
    memory = np.frombuffer(mmap.mmap(-1, 2 * page), np.uint8)
    protect = ctypes.CDLL(None).mprotect
    assert protect(ctypes.c_void_p(memory.ctypes.data + page), ctypes.c_size_t(page), 0) == 0
    copy = memory[page - array.nbytes : page].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def patch_of(x, packer, m):
    """Return the patch of a plane of rows x columns, (channels, rows, columns) with any strides, padded by 1."""
    channels, rows, columns = x.shape
    room_h, room_w = rows + 2, columns + 2
    block, wide = packer.block, BYTES[packer.scalar]
    blocks = -(-channels // block)
    pixel = block * wide
    line = room_w * pixel
    bytes_ = line * room_h + 64 * pixel
    patch = aligned((blocks, bytes_), np.uint8, 0xFF)  # NaN of any type
    residues = np.zeros(1, np.int64)
    c, h, w = x.strides
    launch = record(
        LAUNCH, x_c=c, x_h=h, x_w=w, size_d=1, size_h=rows, size_w=columns, step_d=1, step_h=1, step_w=1, planes_d=1,
        planes_h=1, planes_w=1, residues_d=residues, residues_h=residues, residues_w=residues, room_d=1, room_h=room_h,
        room_w=room_w, pixel=pixel, line=line, slab=line * room_h, block=bytes_, image=blocks * bytes_,
    )  # fmt: skip
    last = channels - (blocks - 1) * block
    now = record(NOW, patch=patch, images=1, blocks=blocks, last=last, block=bytes_)
    call(packer, m, launch, now, record(JOB, first_h=-1, first_w=-1), x.ctypes.data)
    dtype = DTYPES[packer.scalar]
    cells = patch[:, : line * room_h].reshape(-1).view(dtype).reshape(blocks, room_h, room_w, block)
    return patch, now, cells


@pytest.mark.parametrize("channels", [16, 21, 2])
@pytest.mark.parametrize("way", ["pixels", "squares", "cells"])
@pytest.mark.parametrize("short", SHORT)
def test_patches_are_widened(short, way, channels, host):
    x = np.random.default_rng(0).standard_normal((channels, 3, 37)).astype(DTYPES[short])
    if way == "pixels":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)
    _, _, cells = patch_of(x, Packer(way, 16, short, "float"), host)
    want = np.pad(x.astype(np.float32), ((0, 0), (0, 0), (1, 1)))
    for c in range(channels):
        np.testing.assert_array_equal(cells[c // 16, 1:-1, :, c % 16], want[c])


@pytest.mark.parametrize("channels", [16, 21, 1])
@pytest.mark.parametrize("way", ["pixels", "squares", "cells"])
def test_channels_that_a_block_lacks_are_zero(way, channels, host):
    """Where scratch memory held NaN, and where the channel repeated in its place is infinite."""
    x = np.random.default_rng(0).standard_normal((channels, 3, 37)).astype(bfloat16)
    x[-1, 1, 1] = np.inf
    if way == "pixels":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)
    _, _, cells = patch_of(x, Packer(way, 16, "bfloat", "bfloat"), host)
    want = np.pad(x.astype(np.float32), ((0, 0), (0, 0), (1, 1)))
    for c in range(channels):
        np.testing.assert_array_equal(cells[c // 16, 1:-1, :, c % 16].astype(np.float32), want[c])
    if channels % 16:
        assert (cells[-1, 1:-1, :, channels % 16 :].astype(np.float32) == 0).all()


# --- multiplied -------------------------------------------------------------------------------------------------------

TAPS = 3  # of a row


def convolved(x, weight, tile, m, first=0):
    """Return (row, pixel, output) of one tile at the pixel `first` of the first row, and what it should be."""
    pairs = not isinstance(tile, Tile)
    block = AMX_BLOCK if isinstance(tile, AmxTile) else tile.block
    channels, _, _ = x.shape
    way = Packer("squares", block, "bfloat", "bfloat" if pairs else "float")
    _patch, now, cells = patch_of(x, way, m)  # `now` points into the first
    packer = PairWeights() if pairs else WeightPacker("bfloat", "float")
    packed = weights_packed(weight, packer, m, block, tile.vectors, channels, np.uint32 if pairs else np.float32)
    lanes = tile.vectors * m.vector_bytes // 4
    row = (block // 2 if pairs else min(channels, block)) * lanes * 4
    pixel, line = cells.strides[2], cells.strides[1]
    taps = np.array([(line + t * pixel, t * row) for t in range(TAPS)], np.int64)
    bias, y = np.ones(lanes, np.float32), aligned((tile.rows, tile.pixels, lanes), np.float32, np.nan)
    for name, value in {"weights": packed, "bias": bias, "y": y}.items():
        now[NOW.index[name]] = value.ctypes.data
    entry = record(
        ENTRY, taps=taps, count=TAPS, src=first * pixel, src_row=line, weights_block=TAPS * row, base=NOW.offset("y"),
        pitch=lanes * 4, dst_row=tile.pixels * lanes * 4,
    )  # fmt: skip
    call(tile, m, now, entry)
    wide = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1)))
    windows = np.stack([wide[:, : tile.rows, first + t : first + t + tile.pixels] for t in range(TAPS)], axis=1)
    want = np.einsum("oct,cthw->hwo", weight.astype(np.float64), windows) + 1
    bound = np.einsum("oct,cthw->hwo", np.abs(weight.astype(np.float64)), np.abs(windows)) + 1
    return y[:, :, : weight.shape[0]], want, bound


def operands(channels, outs, whole):
    rng = np.random.default_rng(channels)
    shapes = (channels, 3, 40), (outs, channels, TAPS)
    return [(rng.integers(-4, 5, s) if whole else rng.standard_normal(s)).astype(bfloat16) for s in shapes]


@needs_bf16
@pytest.mark.parametrize("channels", [1, 2, 5, 16, 33])
@pytest.mark.parametrize("shape", [(1, 14, 2), (2, 7, 2), (1, 28, 1), (1, 1, 1)])
def test_pairs_of_integers_are_exact(shape, channels):
    x, weight = operands(channels, 16 * shape[2] - 3, whole=True)
    y, want, _ = convolved(x, weight, PairTile(*shape, block=16), machine.host())
    np.testing.assert_array_equal(y, want)


@needs_bf16
@pytest.mark.parametrize("channels", [3, 64])
def test_pairs_are_summed_in_float32(channels):
    """Within the bound of a chain of float32 additions; the products are exact."""
    x, weight = operands(channels, 32, whole=False)
    y, want, bound = convolved(x, weight, PairTile(1, 14, 2, 16), machine.host())
    terms = channels * TAPS + 1
    assert (np.abs(y - want) <= terms * 2.0**-24 * bound).all()


@needs_bf16
def test_no_result_of_pairs_depends_on_its_tile():
    x, weight = operands(33, 32, whole=False)
    wide, _, _ = convolved(x, weight, PairTile(2, 7, 2, 16), machine.host())
    for pixel in range(7):
        one, _, _ = convolved(x, weight, PairTile(1, 1, 2, 16), machine.host(), first=pixel)
        np.testing.assert_array_equal(one[0, 0], wide[0, pixel])
    narrow, _, _ = convolved(x, weight[:16], PairTile(1, 4, 1, 16), machine.host())
    np.testing.assert_array_equal(narrow[0], wide[0, :4, :16])


@needs_amx
@pytest.mark.parametrize("channels", [1, 5, 32, 33, 96])
@pytest.mark.parametrize("shape", [shape[:3] for shape in amx_tiles()])
def test_tile_registers_of_integers_are_exact(shape, channels):
    x, weight = operands(channels, 16 * shape[2] - 3, whole=True)
    y, want, _ = convolved(x, weight, AmxTile(*shape), machine.host())
    np.testing.assert_array_equal(y, want)


@needs_amx
@pytest.mark.parametrize("channels", [3, 64])
def test_tile_registers_sum_in_float32_whatever_the_tile(channels):
    x, weight = operands(channels, 32, whole=False)
    y, want, bound = convolved(x, weight, AmxTile(2, 16, 2), machine.host())
    assert (np.abs(y - want) <= (channels * TAPS + 1) * 2.0**-24 * bound).all()
    for pixel in range(16):
        one, _, _ = convolved(x, weight, AmxTile(1, 1, 2), machine.host(), first=pixel)
        np.testing.assert_array_equal(one[0, 0], y[0, pixel])
    narrow, _, _ = convolved(x, weight[:16], AmxTile(1, 28, 1), machine.host())
    np.testing.assert_array_equal(narrow[0, :16], y[0, :, :16])


@pytest.mark.parametrize("shape", [shape[:3] for shape in amx_tiles()])
def test_tile_registers_are_all_that_multiplies(shape):
    m = dataclasses.replace(machine.cross("avx512"), features="+amx-tile,+amx-bf16")
    assembly = binary.emit_assembly(text(AmxTile(*shape), m), m)
    rows, pixels, vectors = shape
    registers = max(rows, -(-pixels // 16)) * vectors
    assert len(re.findall(r"^\s+tdpbf16ps\s", assembly, re.MULTILINE)) == registers
    assert len(re.findall(r"^\s+(?:ldtilecfg|tilerelease)\b", assembly, re.MULTILINE)) == 2
    assert not re.findall(r"^\s+callq?\s.*|__\w+", assembly, re.MULTILINE)


def test_amx_is_asked_for_only_where_it_is():
    assert not has_amx(machine.cross("avx512")) and not has_amx(machine.cross("neon"))
    here = machine.host()
    assert not has_amx(dataclasses.replace(here, features=here.features.replace("+amx-bf16", "-amx-bf16")))


@pytest.mark.parametrize("channels", [5, 16, 33])
def test_without_pairs_bfloat_is_widened(channels, host):
    """By every instruction set: exact for integers, and within the same bound."""
    outs = host.vector_bytes // 4
    x, weight = operands(channels, outs, whole=True)
    y, want, _ = convolved(x, weight, Tile(1, 4, 1, 16), host)
    np.testing.assert_array_equal(y, want)
    x, weight = operands(channels, outs, whole=False)
    y, want, bound = convolved(x, weight, Tile(1, 4, 1, 16), host)
    assert (np.abs(y - want) <= (channels * TAPS + 1) * 2.0**-24 * bound).all()


def test_pairs_are_one_instruction_each():
    m = dataclasses.replace(machine.cross("avx512"), features="+avx512bf16", has_bf16=True)
    assembly = binary.emit_assembly(text(PairTile(1, 14, 2, 16), m), m)
    assert len(re.findall(r"^\s+vdpbf16ps\s.*%zmm", assembly, re.MULTILINE)) == 28
    assert not re.findall(r"^\s+callq?\s.*|__\w+", assembly, re.MULTILINE)
