"""Files: what is written comes back, what is hostile is refused, what fails leaves the old file.

The hostile files are read by one child process with 2 GiB of address space and 5 seconds for each; it reports what it
was told and the memory it took.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from twofold import files, pictures
from twofold.errors import FileError, GeometryError, UnsupportedError

RNG = np.random.default_rng(7)
GREY, PAIR, RGB, RGBA = (RNG.integers(0, 256, (11, 7, *c), np.uint8) for c in ((), (2,), (3,), (4,)))
WIDE = RNG.integers(0, 65536, (11, 7), np.uint16)
BITS = RNG.random((11, 7)) < 0.5
REAL = RNG.standard_normal((11, 7)).astype(np.float32)
PICTURES = {"uint8": GREY, "uint8x2": PAIR, "uint8x3": RGB, "uint8x4": RGBA, "uint16": WIDE, "bool": BITS}


def same(a, b):
    if a.dtype.char in "gG":  # of 16 bytes only 10 are the number
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# --- what is written comes back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".NPY"])
@pytest.mark.parametrize("dtype", [*"?bBhHiIqQefdgFD", ">f4", ">i2", ">D"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 0, 2), (2, 3), (2, 3, 4, 5)])
def test_arrays_come_back_exactly(tmp_path, suffix, dtype, shape):
    array = (RNG.standard_normal(shape) * 100).astype(dtype)
    files.write_array(tmp_path / f"x{suffix}", array)
    back = files.read_array(tmp_path / f"x{suffix}")
    assert same(back, array) and back.flags.writeable


@pytest.mark.parametrize("suffix", files.ARRAY_SUFFIXES)
@pytest.mark.parametrize("view", ["a.T", "a[::2, ::-1]", "np.asfortranarray(a)", "np.broadcast_to(a[0], (4, 300))"])
def test_strided_and_fortran_arrays_come_back_equal(tmp_path, suffix, view):
    array = eval(view, {"np": np, "a": np.arange(12_000).reshape(40, 300)})
    files.write_array(tmp_path / f"x{suffix}", array)
    back = files.read_array(tmp_path / f"x{suffix}")
    assert back.dtype == array.dtype and (back == array).all()
    assert back.flags.f_contiguous or not array.flags.f_contiguous


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_npy_version_is_read(tmp_path, version):
    with (tmp_path / "x.npy").open("wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.lib.format.write_array(file, REAL, version)
    assert same(files.read_array(tmp_path / "x.npy"), REAL)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_of_several_arrays_gives_the_one_asked_for(tmp_path, save):
    save(tmp_path / "x.npz", a=GREY, **{"block/weight": REAL})
    assert same(files.read_array(tmp_path / "x.npz", key="a"), GREY)
    assert same(files.read_array(tmp_path / "x.npz", key="block/weight"), REAL)
    with pytest.raises(FileError, match=r"holds 2 arrays: 'a', 'block/weight'\n  try key='a'"):
        files.read_array(tmp_path / "x.npz")
    with pytest.raises(FileError, match="holds no array 'b', but 'a', 'block/weight'"):
        files.read_array(tmp_path / "x.npz", key="b")


@pytest.mark.parametrize("suffix", [".npy", ".png"])
def test_a_key_for_a_file_of_one_array_is_refused(tmp_path, suffix):
    files.write_array(tmp_path / f"x{suffix}", GREY)
    with pytest.raises(FileError, match="holds a single array, none named 'k'"):
        files.read_array(tmp_path / f"x{suffix}", key="k")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("array", PICTURES.values(), ids=PICTURES)
def test_lossless_pictures_come_back_exactly(tmp_path, suffix, array):
    files.write_array(tmp_path / f"x{suffix}", array)
    assert same(files.read_array(tmp_path / f"x{suffix}"), array)
    assert same(files.read_picture(tmp_path / f"x{suffix}"), array)


@pytest.mark.parametrize("array", [RGB, RGBA])
def test_webp_comes_back_exactly_even_where_nothing_is_seen(tmp_path, array):
    array = array.copy()
    array[:5, :, 3:] = 0
    files.write_array(tmp_path / "x.webp", array)
    assert same(files.read_array(tmp_path / "x.webp"), array)


def test_grey_webp_comes_back_with_its_channels_repeated(tmp_path):
    files.write_array(tmp_path / "x.webp", GREY)
    assert same(files.read_array(tmp_path / "x.webp"), np.repeat(GREY[:, :, None], 3, axis=2))


@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 3)])
def test_jpeg_comes_back_close(tmp_path, shape):
    array = np.full(shape, 90, np.uint8)
    array[4:] = 160
    files.write_array(tmp_path / "x.jpg", array)
    back = files.read_array(tmp_path / "x.jpg")
    assert back.shape == shape and back.dtype == np.uint8
    assert np.abs(back.astype(int) - array).max() <= 12


def test_float_tiff_comes_back_exactly_nan_and_infinity_included(tmp_path):
    array = np.concatenate([REAL, [[np.nan, np.inf, -np.inf, -0.0, 1e-45, 3e38, 0]]]).astype(np.float32)
    files.write_array(tmp_path / "x.tif", array)
    assert same(files.read_array(tmp_path / "x.tif"), array)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_big_endian_strided_and_one_channel_pictures_are_written(tmp_path, suffix):
    files.write_array(tmp_path / f"x{suffix}", WIDE.astype(">u2")[::-1, ::2])
    assert same(files.read_array(tmp_path / f"x{suffix}"), np.ascontiguousarray(WIDE[::-1, ::2]))
    files.write_array(tmp_path / f"x{suffix}", GREY[:, :, None])
    assert same(files.read_array(tmp_path / f"x{suffix}"), GREY)


def test_a_picture_of_many_strips_comes_back_exactly(tmp_path):
    array = RNG.integers(0, 256, (1700, 1300), np.uint8)
    files.write_array(tmp_path / "x.tif", array)
    assert same(files.read_array(tmp_path / "x.tif"), array)


# --- what others wrote is read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("clear", [False, True])
def test_a_palette_becomes_rgb_or_rgba(tmp_path, suffix, clear):
    image = Image.fromarray(np.array([[0, 1], [1, 2]], np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 1, 2])
    image.save(tmp_path / f"x.{suffix}", **({"transparency": 1} if clear and suffix == "png" else {}))
    want = np.array([[[10, 20, 30], [40, 50, 60]], [[40, 50, 60], [70, 80, 90]]], np.uint8)
    if clear and suffix == "png":
        want = np.concatenate([want, [[[255], [0]], [[0], [255]]]], axis=2).astype(np.uint8)
    assert same(files.read_array(tmp_path / f"x.{suffix}"), want)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_becomes_rgb(tmp_path, suffix):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / f"x.{suffix}", quality=100)
    array = files.read_array(tmp_path / f"x.{suffix}")
    assert array.shape == (8, 8, 3)
    assert np.abs(array.astype(int) - [255, 0, 0]).max() <= 4


TURNED = {1: "a", 2: "a[:, ::-1]", 3: "a[::-1, ::-1]", 4: "a[::-1]", 5: "a.T", 6: "np.rot90(a, -1)"}
TURNED |= {7: "a[::-1, ::-1].T", 8: "np.rot90(a)"}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", TURNED)
def test_the_exif_orientation_is_applied(tmp_path, suffix, orientation):
    array = np.repeat(np.repeat(np.array([[0, 255, 0], [255, 255, 0]], np.uint8), 8, 0), 8, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(array).save(tmp_path / f"x.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    back = files.read_array(tmp_path / f"x.{suffix}")
    back = back[:, :, 0] if back.ndim == 3 else back
    want = eval(TURNED[orientation], {"np": np, "a": array})
    assert back.shape == want.shape and ((back > 127) == (want > 127)).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_a_broken_exif_block_does_not_hide_the_picture(tmp_path, suffix, exif):
    Image.fromarray(RGB).save(tmp_path / f"x.{suffix}", exif=exif)
    assert files.read_array(tmp_path / f"x.{suffix}").shape == RGB.shape


@pytest.mark.parametrize(("suffix", "more"), [("png", {}), ("webp", {"lossless": True}), ("tif", {})])
def test_of_several_frames_the_first_is_read(tmp_path, suffix, more):
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:], **more)
    assert same(files.read_array(tmp_path / f"x.{suffix}")[:, :, :3].copy(), RGB)


def png(width=7, height=11, depth=8, colour=0, rows=None, tail=b"", interlace=0):
    """A PNG written by hand: `rows` is the data before deflation, `tail` stands where IEND should be."""
    rows = b"".join(b"\0" + GREY[y % 11].tobytes() for y in range(height)) if rows is None else rows
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body + tail


def tiff(array, order="<", photometric=1, **tags):
    """An uncompressed TIFF written by hand, in either byte order, for dtypes that Pillow does not write."""
    data = array.astype(array.dtype.newbyteorder(order)).tobytes()
    channels = array.shape[2] if array.ndim == 3 else 1
    form = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    bits = array.dtype.itemsize * 8
    fields = {256: array.shape[1], 257: array.shape[0], 258: bits, 259: 1, 262: photometric, 273: 8, 277: channels}
    fields |= {278: array.shape[0], 279: len(data), 339: form} | {int(k[1:]): v for k, v in tags.items()}
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data)) + data
    extra = struct.pack(order + f"{channels}H", *[bits] * channels)
    at = 8 + len(data) + 2 + 12 * len(fields) + 4
    out += struct.pack(order + "H", len(fields))
    for number, value in sorted(fields.items()):
        if number == 258 and channels > 2:
            out += struct.pack(order + "HHII", number, 3, channels, at)
        else:
            out += struct.pack(order + "HHII", number, 4, 1, value)
    return out + bytes(4) + extra


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "u4"])
def test_tiffs_of_either_byte_order_keep_every_bit(tmp_path, order, dtype):
    array = np.frombuffer(RNG.bytes(77 * int(dtype[1])), dtype).reshape(11, 7)
    (tmp_path / "x.tif").write_bytes(tiff(array, order))
    if (dtype, order) == ("u4", ">"):  # Pillow has no decoder for it
        with pytest.raises(FileError):
            files.read_array(tmp_path / "x.tif")
    else:
        assert same(files.read_array(tmp_path / "x.tif"), array)


@pytest.mark.parametrize(
    "data",
    [
        png(depth=16, colour=2, rows=b"\0" * 11 * (1 + 7 * 6)),
        png(depth=16, colour=4, rows=b"\0" * 11 * (1 + 7 * 4)),
        tiff(np.zeros((3, 4, 3), np.uint16), photometric=2),
        tiff(np.zeros((3, 4, 3), np.uint16), ">", photometric=2),
    ],
    ids=["png", "png with alpha", "tiff", "big-endian tiff"],
)
def test_16_bit_colour_is_refused_rather_than_cut(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(FileError, match="16-bit colour, which Pillow would cut to 8 bits"):
        files.read_array(tmp_path / "x")


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_pngs_of_few_bits_are_read(tmp_path, depth):
    (tmp_path / "x.png").write_bytes(png(5, 2, depth, 0, (b"\0" + b"\xff" * (-(-5 * depth // 8))) * 2))
    array = files.read_array(tmp_path / "x.png")
    assert array.shape == (2, 5) and (array == array.dtype.type(255)).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 9), (8, 8), (13, 5)])
def test_interlaced_pngs_are_read_and_their_size_is_checked(tmp_path, size):
    # Every pass of Adam7, by its definition: which cells of each 8 x 8 block belong to it.
    table = ["16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777"]
    width, height = size
    picture = np.arange(width * height, dtype=np.uint8).reshape(height, width)
    rows = b""
    for number in "1234567":
        for y in range(height):
            row = bytes(picture[y, x] for x in range(width) if table[y % 8][x % 8] == number)
            rows += b"\0" + row if row else b""
    (tmp_path / "x.png").write_bytes(png(width, height, rows=rows, interlace=1))
    assert same(files.read_array(tmp_path / "x.png"), picture)
    (tmp_path / "y.png").write_bytes(png(width, height, rows=rows + b"\0", interlace=1))
    with pytest.raises(FileError, match="but holds"):
        files.read_array(tmp_path / "y.png")


def test_the_content_decides_and_not_the_name(tmp_path):
    files.write_array(tmp_path / "x.png", GREY)
    (tmp_path / "x.png").rename(tmp_path / "x.jpg")
    assert same(files.read_array(tmp_path / "x.jpg"), GREY)
    (tmp_path / "link").symlink_to("x.jpg")
    assert same(files.read_array(str(tmp_path / "link")), GREY)


@pytest.mark.parametrize("shape", [(5,), (), (0, 3), (2, 3, 5), (1, 2, 3, 4)])
def test_read_picture_refuses_arrays_that_are_no_pictures(tmp_path, shape):
    files.write_array(tmp_path / "x.npy", np.zeros(shape))
    with pytest.raises(FileError, match=r"'.*x.npy' has shape \("):
        files.read_picture(tmp_path / "x.npy")


def test_read_picture_takes_arrays_shaped_like_pictures(tmp_path):
    files.write_array(tmp_path / "x.npz", REAL)
    assert same(files.read_picture(tmp_path / "x.npz"), REAL)


def test_importing_files_loads_no_pillow():
    code = "import sys, twofold.files; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- what is hostile is refused ---------------------------------------------------------------------------------------


def encoded(array, suffix, **more):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=suffix, **more)
    return buffer.getvalue()


def npy_bytes(shape="(2, 3)", descr="'<f8'", data=b"\0" * 48, order="False", header=None, version=1):
    text = header or f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    text = text.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + data


def zip_bytes(*members, count=None):
    """A zip written by hand: (name, stored bytes, method, declared size, flags) each.

    The checksum of what is compressed is wrong.
    """
    body, directory = b"", b""
    for name, data, method, size, flags in members:
        big = struct.pack("<HHQQ", 1, 16, size, len(data))  # zip64: the sizes stand here
        common = struct.pack("<HHHHHI", 45, flags, method, 0, 0, 0 if method else zlib.crc32(data)) + b"\xff" * 8
        common += struct.pack("<HH", len(name), len(big))
        directory += b"PK\1\2" + struct.pack("<H", 45) + common + struct.pack("<HHHII", 0, 0, 0, 0, len(body))
        directory += name.encode() + big
        body += b"PK\3\4" + common + name.encode() + big + data
    count = len(members) if count is None else count
    return body + directory + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)


def zeros_deflated(mebibytes):
    # After a full flush the stream remembers nothing, so one flushed mebibyte may be repeated.
    deflate = zlib.compressobj(9, wbits=-15)
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return block * mebibytes + deflate.flush()


def bomb(declared_by_directory, shape, mebibytes):
    deflate = zlib.compressobj(9, wbits=-15)
    head = npy_bytes(f"({shape},)", "'|u1'", b"")
    start = deflate.compress(head) + deflate.flush(zlib.Z_FULL_FLUSH)
    return zip_bytes(("x.npy", start + zeros_deflated(mebibytes), 8, declared_by_directory or len(head) + shape, 0))


def pickled(text):
    class Bad:
        def __reduce__(self):
            return eval, (text,)

    return pickle.dumps(Bad())


def rewritten(data, at, value):
    return data[:at] + value + data[at + len(value) :]


def jpeg_declaring(width, height):
    data = encoded(RGB, "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return rewritten(data, at, struct.pack(">HH", height, width))


def webp_declaring(kind):
    if kind == "VP8L":
        data = encoded(RGB, "WEBP", lossless=True)
        return rewritten(data, 21, struct.pack("<I", 16382 | 16382 << 14))
    if kind == "VP8 ":
        data = encoded(RGB, "WEBP", quality=50)
        return rewritten(data, data.index(b"\x9d\x01\x2a") + 3, struct.pack("<HH", 16383, 16383))
    chunk = encoded(RGB, "WEBP", lossless=True)[12:]
    body = b"WEBPVP8X" + struct.pack("<II", 10, 0) + b"\xff\xff\x00" + b"\xff\xff\x00" + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body


def many_scans(count):
    data = encoded(np.zeros((64, 64), np.uint8), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * count + data[-2:]


def flat(suffix, **more):
    return encoded(np.zeros((4300, 4300, 3), np.uint8), suffix, **more)


GOOD_NPY = npy_bytes()
WHOLE = {
    "png": encoded(RGB, "PNG"),
    "palette png": encoded(GREY, "PNG", bits=8),
    "jpeg": encoded(RGB, "JPEG"),
    "progressive jpeg": encoded(RGB, "JPEG", progressive=True),
    "tiff": encoded(RGB, "TIFF"),
    "lzw tiff": encoded(RGB, "TIFF", compression="tiff_lzw"),
    "deflate tiff": encoded(RGB, "TIFF", compression="tiff_adobe_deflate"),
    "jpeg tiff": encoded(RGB, "TIFF", compression="jpeg"),
    "webp": encoded(RGB, "WEBP", lossless=True),
    "lossy webp": encoded(RGB, "WEBP"),
    "npy": GOOD_NPY,
}
with io.BytesIO() as _buffer:
    np.savez(_buffer, x=REAL)
    WHOLE["npz"] = _buffer.getvalue()
with io.BytesIO() as _buffer:
    np.savez_compressed(_buffer, x=REAL)
    WHOLE["compressed npz"] = _buffer.getvalue()

CUTS = {
    f"{name} cut to {part}": (data[:part], "is cut short" if part >= 20 and ("jpeg" in name or "webp" in name) else "")
    for name, data in WHOLE.items()
    for part in (4, 12, 20, len(data) // 3, len(data) // 2, len(data) - 13, len(data) - 3, len(data) - 1)
}
CUTS = {name: (data, "" if "tiff" in name else message) for name, (data, message) in CUTS.items()}

HOSTILE = CUTS | {
    "empty": (b"", "is empty (0 bytes)"),
    "text": (b"hello, I am a text", "is none of PNG, JPEG, TIFF, WebP, NPY, NPZ: it begins with b'hello, I'"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is none of"),
    "gif": (encoded(GREY, "GIF"), "is none of"),
    "pickle": (pickled("1"), "is none of"),
    "png 50000 x 50000": (png(50000, 50000, rows=b""), "2500000000 pixels, more than 50000000"),
    "png 2^31": (png(2**31 - 1, 2**31 - 1, rows=b""), "more than 50000000"),
    "png just above the limit": (png(50_000_001, 1), "50000001 pixels, more than 50000000"),
    "png of no width": (png(0, 5), "0 x 5 pixels"),
    "png higher than its data": (png(7, 100, rows=bytes(88)), "declares 7 x 100 pixels, which is 800 bytes, but holds"),
    "png lower than its data": (png(7, 5, rows=bytes(88)), "declares 7 x 5 pixels, which is 40 bytes, but holds 88"),
    "png wider than its data": (png(8, 11, rows=bytes(88)), "which is 99 bytes, but holds 88"),
    "png narrower than its data": (png(3, 11, rows=bytes(88)), "which is 44 bytes, but holds 88"),
    "png that inflates to 1 GB": (
        b"\x89PNG\r\n\x1a\n" + png(7, 11)[8:33] + struct.pack(">I", len(z := b"\x78\x9c" + zeros_deflated(1000)))
        + b"IDAT" + z + bytes(4) + b"\0\0\0\0IEND\xaeB`\x82", "which is 88 bytes, but holds"),
    "png of 200,000 chunks": (png()[:33] + b"\0\0\0\0tEXt\0\0\0\0" * 200_000, "more than 100000 chunks"),
    "png with text that inflates": (
        png()[:33] + (lambda d: struct.pack(">I", len(d)) + b"zTXt" + d + struct.pack(">I", zlib.crc32(b"zTXt" + d)))(
            b"a\0\0" + zlib.compress(bytes(1 << 28))) + png()[33:], ""),
    "png of unknown colour": (png(colour=5), ""),
    "jpeg 65500 x 65500": (jpeg_declaring(65500, 65500), "4290250000 pixels, more than 50000000"),
    "jpeg 9500 x 9500": (jpeg_declaring(9500, 9500), "90250000 pixels, more than 50000000"),
    "jpeg of 10,000 scans": (many_scans(10_000), "more than 100 scans"),
    "jpeg of 200,000 segments": (b"\xff\xd8" + b"\xff\xfe\0\2" * 200_000, "more than 100000 segments"),
    "tiff 50000 x 50000": (tiff(GREY, t256=50000, t257=50000), "2500000000 pixels) exceeds limit of"),
    "tiff wider than its data": (tiff(GREY, t256=8), "which is 88 bytes, but holds 77"),
    "tiff higher than its data": (tiff(GREY, t257=900), "which is 6300 bytes, but holds 77"),
    "tiff with data beyond its end": (tiff(GREY, t273=10_000), "its data end at byte 10077"),
    "tiff of no width": (tiff(GREY, t256=0), ""),
    "tiff of 60000 channels": (tiff(GREY, t277=60000), ""),
    "tiff that points to itself": (b"II*\0" + struct.pack("<IHHHII", 8, 1, 34665, 4, 1, 8) + struct.pack("<I", 8), ""),
    "png that inflates 1030 times": (flat("PNG", compress_level=9), "would decode to 55470000 bytes from"),
    "tiff that inflates 1000 times": (flat("TIFF", compression="tiff_adobe_deflate"), "more than 400 times as many"),
    "webp that inflates 100,000 times": (flat("WEBP", lossless=True), "would decode to 55470000 bytes from"),
    "npz that inflates 1030 times": (bomb(0, 60 << 20, 60), "would inflate to 62914"),
    "webp VP8L 16383 x 16383": (webp_declaring("VP8L"), "16383 x 16383 = 268402689 pixels"),
    "webp VP8 16383 x 16383": (webp_declaring("VP8 "), "16383 x 16383 = 268402689 pixels"),
    "webp VP8X 65536 x 65536": (webp_declaring("VP8X"), "65536 x 65536 = 4294967296 pixels"),
    "npy of more than it has": (npy_bytes("(1000000,)"), "which is 8000000 bytes, but holds 48"),
    "npy of 2^62": (npy_bytes(f"({2**62},)"), "declares the shape (4611686018427387904,), which no array has"),
    "npy of 2^40 by 2^40": (npy_bytes(f"({2**40}, {2**40})"), "which no array has"),
    "npy of 10^4000": (npy_bytes(f"({10**4000},)"), "declares the shape (1000"),
    "npy of huge nothing": (npy_bytes(f"({2**62}, 0)", data=b""), ""),
    "npy of -1": (npy_bytes("(-1,)"), "declares the shape (-1,), which no array has"),
    "npy of -2 by -3": (npy_bytes("(-2, -3)"), "declares the shape"),
    "npy of True": (npy_bytes("(True, 6)"), "declares the shape"),
    "npy of 40 axes": (npy_bytes(str((1,) * 40), data=bytes(8)), "declares the shape"),
    "npy with more data": (npy_bytes(data=bytes(49)), "which is 48 bytes, but holds 49"),
    "npy of broken header": (npy_bytes(header="{'descr': '<f8', 'fortran_or"), "cannot be read: "),
    "npy of no dictionary": (npy_bytes(header="[1, 2]"), "cannot be read: "),
    "npy of other keys": (npy_bytes(header="{'shape': (2,)}"), "cannot be read: "),
    "npy with an expression": (npy_bytes("(__import__('os').getpid(),)"), "cannot be read: "),
    "npy with a product": (npy_bytes("(2*3,)"), "cannot be read: "),
    "npy of nested brackets": (npy_bytes("(" * 5000 + ")" * 5000), "cannot be read: "),
    "npy of nested signs": (npy_bytes("(" + "-" * 9000 + "1,)"), ""),
    "npy of a 60 kB header": (npy_bytes(header=" " * 60_000 + "{}"), ""),
    "npy of a 4 GB header": (b"\x93NUMPY\2\0\xff\xff\xff\xff" + b" " * 100_000, "cannot be read: "),
    "npy written by Python 2": (npy_bytes("(2L, 9L)"), "which is 144 bytes, but holds 48"),
    "npy of invalid escapes": (npy_bytes(descr=r"'\d'"), "cannot be read: "),
    "npy version 9": (npy_bytes(version=9), ""),
    "npy of objects": (npy_bytes(descr="'|O'", data=pickled("print('PWNED')")), "unpickling them can run any code"),
    "npy of records": (npy_bytes(descr="[('a', '<f8'), ('b', '<i4')]"), "holds records (2 fields)"),
    "npy of records of objects": (npy_bytes(descr="[('a', '|O')]"), "unpickling them can run any code"),
    "npy of blocks": (npy_bytes(descr="'(2,3)<f8'"), "not numbers"),
    "npy of text": (npy_bytes(descr="'<U2'"), "holds <U2, not numbers"),
    "npy of dates": (npy_bytes(descr="'<M8[s]'"), "not numbers"),
    "npy of bools that are none": (npy_bytes("(48,)", "'|b1'", data=bytes(47) + b"\2"), "holds the byte 2"),
    "npz of 10 GB declared by both": (bomb(0, 10 * 2**30, 10), "compressed from 107374"),
    "npz of 10 GB": (bomb(0, 10 * 2**30, 10 * 2**10), "compressed from 107374"),
    "npz of 10 GB declared by the directory": (bomb(10 * 2**30, 80, 1), "compressed from 10737418240 bytes, more than"),
    "npz of 10 GB declared by the array": (bomb(20_000, 10 * 2**30, 1), "which is 10737418240 bytes, but holds"),
    "npz that inflates to more than it says": (bomb(0, 80, 2000), "CRC"),
    "npz that inflates to less than it says": (bomb(0, 300 << 20, 1), ""),
    "npz stored but declared larger": (zip_bytes(("x.npy", GOOD_NPY, 0, 10**10, 0)), "declared as 10000000000"),
    "npz with a wrong checksum": (
        zip_bytes(("x.npy", GOOD_NPY, 0, len(GOOD_NPY), 0)).replace(GOOD_NPY, GOOD_NPY[:-1] + b"1"), "CRC"),
    "npz of 20 kB with a wrong checksum": (
        zip_bytes(("x.npy", d := npy_bytes("(2500,)", data=bytes(20_000)), 0, len(d), 0)).replace(d, d[:-1] + b"1"),
        "CRC"),
    "npz of one pickled array": (
        zip_bytes(("x.npy", d := npy_bytes(descr="'|O'", data=pickled("print('PWNED')")), 0, len(d), 0)), "unpickling"),
    "npz of ../x": (zip_bytes(("../x.npy", GOOD_NPY, 0, len(GOOD_NPY), 0)), "'../x.npy', which points outside"),
    "npz of a/../../x": (zip_bytes(("a/../../x.npy", GOOD_NPY, 0, len(GOOD_NPY), 0)), "which points outside"),
    "npz of /x": (zip_bytes(("/x.npy", GOOD_NPY, 0, len(GOOD_NPY), 0)), "which points outside"),
    "npz of C:x": (zip_bytes(("C:\\x.npy", GOOD_NPY, 0, len(GOOD_NPY), 0)), "which points outside"),
    "npz of ..\\x": (zip_bytes(("..\\x.npy", GOOD_NPY, 0, len(GOOD_NPY), 0)), "which points outside"),
    "npz encrypted": (zip_bytes(("x.npy", GOOD_NPY, 0, len(GOOD_NPY), 1)), "'x.npy' encrypted"),
    "npz by bzip2": (zip_bytes(("x.npy", GOOD_NPY, 12, len(GOOD_NPY), 0)), "compressed by method 12"),
    "npz of another file": (zip_bytes(("word/document.xml", b"<a/>", 0, 4, 0)), "which is no .npy array"),
    "npz of two of one name": (zip_bytes(*[("x.npy", GOOD_NPY, 0, len(GOOD_NPY), 0)] * 2), "two arrays of one name"),
    "npz of nothing": (zip_bytes(), "holds no array"),
    "npz of 10,001 arrays": (zip_bytes(*[("x.npy", b"", 0, 0, 0)] * 10_001), "holds 10001 arrays, more than 10000"),
    "npz of 300,000 arrays": (
        b"PK\3\4" + (d := b"PK\1\2" + bytes(42)) * 300_000 + b"PK\5\6"
        + struct.pack("<HHHHIIH", 0, 0, 9, 9, 300_000 * len(d), 4, 0), "declares a zip directory of 13800000 bytes"),
    "npz with a wrong directory": (zip_bytes(("x.npy", GOOD_NPY, 0, len(GOOD_NPY), 0))[:-10] + bytes(10), ""),
}  # fmt: skip

SPECIAL = {
    "missing": "does not exist",
    "directory": "is a directory, not a file",
    "pipe": "is a pipe, socket or device",
    "link to a pipe": "is a pipe, socket or device",
    "/dev/zero": "is a pipe, socket or device",
    "a\0b": "cannot be read: ",
    "n" * 300: "cannot be read: File name too long",
    "endless link": "cannot be read: ",
    "file/below": "cannot be read: Not a directory",
}

CHILD = """
import json, resource, signal, sys, time, warnings
warnings.simplefilter("error")
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from twofold import files
from twofold.errors import FileError
from PIL import Image
Image.init()
class TooLong(BaseException): pass
def late(*_): raise TooLong
signal.signal(signal.SIGALRM, late)
for name, path in json.load(sys.stdin):
    signal.alarm(5)
    try:
        answer = "array of shape " + str(files.read_array(path).shape)
    except FileError as error:
        answer = "refused: " + error.sentence
    except TooLong:
        answer = "too long"
    except BaseException as error:
        answer = type(error).__name__ + str(error)
    signal.alarm(0)
    print(json.dumps([name, answer, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]), flush=True)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "directory").mkdir()
    (folder / "file").write_bytes(b"x")
    os.mkfifo(folder / "pipe")
    (folder / "link to a pipe").symlink_to("pipe")
    (folder / "endless link").symlink_to("endless link")
    paths = [(name, str(folder / name)) for name in SPECIAL]
    for number, (name, (data, _)) in enumerate(HOSTILE.items()):
        (folder / str(number)).write_bytes(data)
        paths.append((name, str(folder / str(number))))
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(paths),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "PWNED" not in done.stdout + done.stderr
    # libtiff's JPEG decoder prints by itself, past Python.
    assert [line for line in done.stderr.splitlines() if not line.startswith("JPEGLib: ")] == []
    return {name: (answer, rss) for name, answer, rss in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", [*SPECIAL, *HOSTILE], ids=lambda name: name.replace("\0", "NUL")[:60])
def test_a_hostile_file_is_refused_in_one_sentence_within_5_seconds_and_a_gibibyte(answers, name):
    answer, kibibytes = answers[name]
    message = SPECIAL[name] if name in SPECIAL else HOSTILE[name][1]
    assert answer.startswith("refused: '") and message in answer
    assert "\n" not in answer and len(answer) < 800
    assert kibibytes < 1 << 20


def test_a_warning_or_limit_of_pillow_becomes_a_file_error(tmp_path, monkeypatch):
    files.write_array(tmp_path / "x.png", GREY)
    for limit, message in [(70, "more pixels than Pillow is set to read"), (1, "more pixels than Pillow")]:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(FileError, match=message):
            files.read_array(tmp_path / "x.png")


DECODER_ERRORS = [OSError, SyntaxError, ValueError, struct.error, EOFError, MemoryError, zlib.error, IndexError]
DECODER_ERRORS += [TypeError, OverflowError, SystemError, RecursionError, KeyError]


def test_our_limit_holds_when_pillow_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    for number, data in enumerate([HOSTILE["jpeg 65500 x 65500"][0], HOSTILE["tiff 50000 x 50000"][0]]):
        (tmp_path / str(number)).write_bytes(data)
        with pytest.raises(FileError, match="more than 50000000"):
            files.read_array(tmp_path / str(number))


@pytest.mark.parametrize("error", DECODER_ERRORS)
def test_whatever_pillow_throws_becomes_a_file_error(tmp_path, monkeypatch, error):
    files.write_array(tmp_path / "x.png", GREY)

    def load(self):
        raise error("first line\nsecond line")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(FileError) as caught:
        files.read_array(tmp_path / "x.png")
    assert "\n" not in caught.value.sentence


def test_an_interrupt_is_no_file_error(tmp_path, monkeypatch):
    files.write_array(tmp_path / "x.png", GREY)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageFile.ImageFile, "load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.read_array(tmp_path / "x.png")


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_with_flipped_or_cut_bytes_is_refused_or_read_and_never_warns(tmp_path, name):
    rng = np.random.default_rng(list(name.encode()))
    path = tmp_path / "x"
    path.write_bytes(WHOLE[name])
    assert files.read_array(path).size
    for trial in range(200):
        data = bytearray(WHOLE[name])
        for at in rng.integers(0, len(data) if trial % 2 else min(64, len(data)), rng.integers(1, 4)):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data[: rng.integers(0, len(data))] if trial % 5 == 0 else data)
        try:
            array = files.read_array(path)
        except FileError as error:
            assert "\n" not in error.sentence
        else:
            assert isinstance(array, np.ndarray) and array.dtype.kind in "biufc"


def test_one_thread_at_a_time_changes_the_warning_filters():
    entered = threading.Event()

    def enter():
        with pictures.quiet():
            entered.set()

    other = threading.Thread(target=enter)
    with pictures.quiet():
        other.start()
        assert not entered.wait(0.2)
    assert entered.wait(5)
    other.join()


@pytest.mark.parametrize(("suffix", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("tif", "TIFF"), ("webp", "WEBP")])
def test_pillow_is_told_the_one_format_it_may_decode(tmp_path, monkeypatch, suffix, kind):
    files.write_array(tmp_path / f"x.{suffix}", RGB)
    told = []
    plain = Image.open
    monkeypatch.setattr(Image, "open", lambda file, formats=None: told.append(formats) or plain(file, formats=formats))
    files.read_array(tmp_path / f"x.{suffix}")
    assert told == [(kind,)]


def test_flat_pictures_are_no_bombs_as_long_as_they_are_small(tmp_path):
    for name, shape in {"grey": (3900, 4000), "colour": (2200, 2300, 3)}.items():  # 15.6 MB and 15.2 MB
        (tmp_path / name).write_bytes(encoded(np.zeros(shape, np.uint8), "PNG", compress_level=9))
        assert np.prod(shape) > files.MAX_RATIO * (tmp_path / name).stat().st_size
        assert files.read_array(tmp_path / name).shape == shape


def test_the_ratio_is_that_of_what_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr(pictures, "MAX_SMALL", 999)
    small, flat = RNG.integers(0, 9, 1000, np.uint8), np.zeros(1_000_000, np.uint8)
    np.savez_compressed(tmp_path / "x.npz", small=small, flat=flat)
    assert same(files.read_array(tmp_path / "x.npz", key="small"), small)
    with pytest.raises(FileError, match=r"holds 'flat.npy', which would inflate to 1000128 bytes from .*\n  try .*npy"):
        files.read_array(tmp_path / "x.npz", key="flat")
    for limit in (2, 3):
        monkeypatch.setattr(pictures, "MAX_RATIO", limit)
        if limit == 3:
            pictures.check_ratio("holds", 3000, 1000)
        else:
            with pytest.raises(FileError, match="holds 3000 bytes from 1000, more than 2 times as many"):
                pictures.check_ratio("holds", 3000, 1000)


# --- what fails leaves the old file -----------------------------------------------------------------------------------

OLD = b"the old file"


def only_old(folder, name):
    return [p.name for p in folder.iterdir()] == [name] and (folder / name).read_bytes() == OLD


WRITERS = {
    "x.npy": lambda path, **more: files.write_array(path, REAL, **more),
    "x.npz": lambda path, **more: files.write_array(path, REAL, **more),
    "x.png": lambda path, **more: files.write_array(path, GREY, **more),
    "x.jpg": lambda path, **more: files.write_array(path, GREY, **more),
    "x.tif": lambda path, **more: files.write_array(path, GREY, **more),
    "x.webp": lambda path, **more: files.write_array(path, GREY, **more),
    "x.svg": lambda path, **more: files.write_text(path, "<svg/>", **more),
    "x.bin": lambda path, **more: files.write_bytes(path, b"new", **more),
}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError(), KeyboardInterrupt()])
@pytest.mark.parametrize("name", WRITERS)
def test_a_failure_while_writing_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, name, error):
    (tmp_path / name).write_bytes(OLD)

    def fail(*_):
        raise error

    monkeypatch.setattr(type(tmp_path), "replace", fail)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else FileError):
        WRITERS[name](tmp_path / name)
    assert only_old(tmp_path, name)


@pytest.mark.parametrize("name", ["x.png", "x.webp"])
def test_a_failing_encoder_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(OLD)

    def save(self, file, **_):
        file.write(b"half")
        raise OSError("encoder error")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(FileError, match="cannot be written: encoder error"):
        WRITERS[name](tmp_path / name)
    assert only_old(tmp_path, name)


def test_a_full_disk_is_a_file_error():
    # The soft limit of the child's file size stands for the disk.
    code = """if True:
        import resource, signal, sys, numpy as np, pathlib
        from twofold import files
        from twofold.errors import FileError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "x.npy"
            path.write_bytes(b"old")
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            try:
                files.write_array(path, np.zeros(10_000))
            except FileError as error:
                print(error.sentence)
            assert [p.name for p in path.parent.iterdir()] == ["x.npy"] and path.read_bytes() == b"old"
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "x.npy' cannot be written: " in done.stdout


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_replaced_unless_that_is_forbidden(tmp_path, name):
    (tmp_path / name).write_bytes(OLD)
    (tmp_path / name).chmod(0o640)
    with pytest.raises(FileError, match=r"exists already\n  try another path, or overwrite=True"):
        WRITERS[name](tmp_path / name, overwrite=False)
    assert only_old(tmp_path, name)
    WRITERS[name](tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name] and (tmp_path / name).read_bytes() != OLD
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o640
    (tmp_path / name).unlink()
    WRITERS[name](tmp_path / name, overwrite=False)
    assert (tmp_path / name).exists()


def test_writing_through_a_link_keeps_the_link(tmp_path):
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "link.svg").symlink_to("target")
    files.write_text(tmp_path / "link.svg", "é\r\n")
    assert (tmp_path / "link.svg").is_symlink()
    assert (tmp_path / "target").read_bytes() == "é\r\n".encode()


@pytest.mark.parametrize("name", WRITERS)
def test_targets_that_cannot_be_are_refused(tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    with pytest.raises(FileError, match="is a directory, not a file"):
        WRITERS[name](tmp_path / name)
    with pytest.raises(FileError, match=r"has no directory to be in: '.*absent' does not exist"):
        WRITERS[name](tmp_path / "absent" / name)
    os.mkfifo(tmp_path / f"pipe{name[1:]}")
    with pytest.raises(FileError, match="is a pipe, socket or device"):
        WRITERS[name](tmp_path / f"pipe{name[1:]}")
    monkeypatch.setattr(os, "access", lambda *_: False)  # as root, nothing is read-only
    with pytest.raises(FileError, match=r"may not be written: the directory '.*' is read-only"):
        WRITERS[name](tmp_path / f"new{name[1:]}")
    (tmp_path / f"old{name[1:]}").write_bytes(OLD)
    with pytest.raises(FileError, match="may not be overwritten: it is read-only"):
        WRITERS[name](tmp_path / f"old{name[1:]}")
    assert not list(tmp_path.glob(".twofold*"))


def test_a_device_is_never_replaced():
    with pytest.raises(FileError, match="is a pipe, socket or device"):
        files.write_bytes("/dev/null", b"")


@pytest.mark.parametrize("name", ["x.gif", "x", "x.eps", "x.png.txt", ".npy"])
def test_an_unknown_suffix_is_answered_with_the_known_ones(tmp_path, name):
    with pytest.raises(FileError) as caught:
        files.write_array(tmp_path / name, GREY)
    assert all(suffix in caught.value.rule for suffix in files.PICTURE_SUFFIXES + files.ARRAY_SUFFIXES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "array", "message"),
    [
        (".png", REAL, "cannot hold float32 of shape (11, 7) as PNG without changing it"),
        (".tif", REAL.astype(np.float64), "cannot hold float64"),
        (".png", GREY.astype(np.int64), "cannot hold int64"),
        (".png", np.zeros((2, 2, 3), bool), "cannot hold bool of shape (2, 2, 3)"),
        (".png", np.zeros((2, 2, 3), np.uint16), "cannot hold uint16 of shape (2, 2, 3)"),
        (".jpg", WIDE, "cannot hold uint16"),
        (".webp", WIDE, "cannot hold uint16"),
        (".tif", np.zeros((2, 2, 3), np.float32), "cannot hold float32 of shape (2, 2, 3)"),
        (".png", GREY.astype(complex), "cannot hold complex128"),
        (".png", np.zeros(5, np.uint8), "cannot hold the shape (5,)"),
        (".png", np.zeros((0, 5), np.uint8), "cannot hold the shape (0, 5)"),
        (".png", np.zeros((2, 2, 5), np.uint8), "cannot hold the shape (2, 2, 5)"),
        (".jpg", RGBA, "cannot hold the shape (11, 7, 4): JPEG takes (height, width), (height, width, 3)"),
        (".webp", np.zeros((1, 16384), np.uint8), "cannot be written: "),
        (".jpg", np.zeros((1, 65536), np.uint8), "cannot be written: "),
        (".npy", np.array([None]), "unpickling them can run any code"),
        (".npz", np.array(["a"]), "holds <U1, not numbers"),
        (".npy", np.zeros(2, [("a", "f4")]), "holds records (1 fields), not numbers"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_and_nothing_is_written(tmp_path, suffix, array, message):
    with pytest.raises(FileError) as caught:
        files.write_array(tmp_path / f"x{suffix}", array)
    assert message in caught.value.rule
    if "without changing" in message:
        assert caught.value.repair == "twofold.files.to_picture(array, low, high), or .npy"
    assert not list(tmp_path.iterdir())


def test_text_that_is_no_unicode_is_refused(tmp_path):
    with pytest.raises(FileError, match="cannot be written: "):
        files.write_text(tmp_path / "x.json", "\ud800")
    assert not list(tmp_path.iterdir())


# --- numbers to grey levels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "low", "high", "expected"),
    [
        ([0, 1], None, None, [0, 255]),
        ([-3, 0, 3], None, None, [0, 128, 255]),
        ([[0, 51], [102, 255]], None, None, [[0, 51], [102, 255]]),
        ([0.0, 0.25, 1.0], 0, 1, [0, 64, 255]),
        ([-1.0, 0.5, 9.0], 0, 1, [0, 128, 255]),
        ([2.0, np.nan, np.inf, -np.inf, 4.0], None, None, [0, 0, 255, 0, 255]),
        ([np.nan, np.nan], None, None, [0, 0]),
        ([np.inf, -np.inf], None, None, [255, 0]),
        ([np.nan, np.inf], 0, 1, [0, 255]),
        ([5, 5], None, None, [0, 0]),
        ([0, 0], 0, None, [0, 0]),
        ([-1.7e308, 0, 1.7e308], None, None, [0, 128, 255]),
        ([True, False], None, None, [255, 0]),
        (np.array([0, 65504], np.float16), None, None, [0, 255]),
        (np.array([-128, 127], np.int8), None, None, [0, 255]),
        ([], None, None, []),
        (3.0, 0, 6, 128),
    ],
)
def test_to_picture_maps_linearly_rounds_and_clips(array, low, high, expected):
    picture = files.to_picture(array, low, high)
    assert picture.dtype == np.uint8 and picture.tolist() == expected


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (np.nan, 1), (0, np.inf)])
def test_to_picture_refuses_a_range_that_is_none(low, high):
    with pytest.raises(GeometryError, match="low must be less than high, and both finite, not"):
        files.to_picture([1.0], low, high)


@pytest.mark.parametrize("array", [[1j], ["a"], [None]])
def test_to_picture_refuses_what_is_not_real(array):
    with pytest.raises(UnsupportedError, match="a picture needs real numbers, not"):
        files.to_picture(array)


def test_the_limits_and_suffixes_can_be_asked_for():
    assert files.MAX_PIXELS == pictures.MAX_PIXELS == 50_000_000 and files.MAX_BYTES == 200_000_000
    assert files.PICTURE_SUFFIXES == (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
    assert files.ARRAY_SUFFIXES == (".npy", ".npz")
