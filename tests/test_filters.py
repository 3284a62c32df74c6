"""Named kernels against written-out tables and laws; inline kernels against literals and refusals."""

from __future__ import annotations

import time

import numpy as np
import pytest

from twofold import filters
from twofold.errors import GeometryError


def correlate(x, k):
    """Cross-correlation without padding, written out here: the kernel is not flipped."""
    rows, columns = x.shape[0] - k.shape[0] + 1, x.shape[1] - k.shape[1] + 1
    patch = [[(x[i : i + k.shape[0], j : j + k.shape[1]] * k).sum() for j in range(columns)] for i in range(rows)]
    return np.array(patch)


def conv_transpose(x, k, stride, padding):
    """The scatter: each input cell adds its multiple of the kernel; then the border is cut."""
    fine = [(n - 1) * stride + size for n, size in zip(x.shape, k.shape, strict=True)]
    y = np.zeros(fine)
    for i, j in np.ndindex(*x.shape):
        y[i * stride : i * stride + k.shape[0], j * stride : j * stride + k.shape[1]] += x[i, j] * k
    return y[padding : fine[0] - padding, padding : fine[1] - padding]


@pytest.mark.parametrize("name", filters.NAMES)
def test_every_name_is_a_fresh_square_float64_kernel(name):
    first, second = filters.kernel(name), filters.kernel(name)
    assert first.dtype == np.float64
    assert first.shape == ((4, 4) if name == "bilinear-up" else (3, 3))
    first[:] = 7
    assert (second != 7).any() and (filters.kernel(name) == second).all()


@pytest.mark.parametrize("name", ["identity", "box", "box:5", "gaussian", "gaussian:7", "gaussian:6:2", "sharpen"])
def test_averaging_kernels_keep_a_constant(name):
    assert filters.kernel(name).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", ["sobel-x", "sobel-y", "laplacian"])
def test_edge_kernels_sum_to_zero(name):
    assert filters.kernel(name).sum() == 0


def test_emboss_sums_to_one_and_rises_with_the_lower_right():
    k = filters.kernel("emboss")
    assert k.sum() == 1
    assert (correlate(np.add.outer(np.arange(5), np.arange(5)) - 4, k)[0, 0]) > -2  # the plain value there is -2


def test_sobel_x_is_positive_where_brightness_rises_to_the_right_and_sobel_y_where_it_rises_downwards():
    rising = np.tile(np.arange(5.0), (5, 1))
    assert (correlate(rising, filters.kernel("sobel-x")) == 8).all()
    assert (correlate(rising, filters.kernel("sobel-y")) == 0).all()
    assert (correlate(rising.T, filters.kernel("sobel-y")) == 8).all()
    assert (correlate(rising.T, filters.kernel("sobel-x")) == 0).all()


def test_laplacian_is_negative_on_a_bright_dot():
    dot = np.zeros((3, 3))
    dot[1, 1] = 1
    assert correlate(dot, filters.kernel("laplacian")) == [[-4]]


def test_identity_gives_the_picture_back():
    x = np.arange(20.0).reshape(4, 5)
    assert (correlate(x, filters.kernel("identity")) == x[1:-1, 1:-1]).all()


def test_sharpen_adds_the_difference_to_the_neighbours():
    x = np.array([[0, 1, 0], [2, 10, 3], [0, 4, 0]])
    assert correlate(x, filters.kernel("sharpen")) == [[10 + (4 * 10 - 1 - 2 - 3 - 4)]]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_box_is_the_mean_of_size_by_size_cells(size):
    assert (filters.kernel(f"box:{size}") == np.full((size, size), 1 / size**2)).all()


def test_gaussian_follows_its_formula():
    tap = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2))
    tap /= tap.sum()
    np.testing.assert_allclose(filters.kernel("gaussian:7:1.5"), np.outer(tap, tap), rtol=1e-13)


def test_gaussian_takes_the_sigma_of_opencv_by_default():
    # cv2.getGaussianKernel(5, 0): sigma = 0.3 * ((5 - 1) * 0.5 - 1) + 0.8 = 1.1
    assert (filters.kernel("gaussian:5") == filters.kernel("gaussian:5:1.1")).all()
    assert (filters.kernel("gaussian") == filters.kernel("gaussian:3:0.8")).all()


@pytest.mark.parametrize("sigma", ["1e-300", "1e-9", "1e300"])
@pytest.mark.parametrize("size", [1, 4, 7])
def test_gaussian_stays_finite_at_extreme_sigmas(size, sigma):
    k = filters.kernel(f"gaussian:{size}:{sigma}")
    assert np.isfinite(k).all() and k.sum() == pytest.approx(1)


def test_bilinear_up_is_the_outer_product_of_one_three_three_one():
    tap = np.array([1, 3, 3, 1]) / 4
    assert (filters.kernel("bilinear-up") == np.outer(tap, tap)).all()


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_bilinear_up_enlarges_by_its_factor_and_keeps_constants_and_slopes(factor):
    k = filters.kernel(f"bilinear-up:{factor}")
    flat = conv_transpose(np.ones((6, 7)), k, factor, factor // 2)
    assert flat.shape == (6 * factor, 7 * factor)
    inner = (slice(factor, -factor), slice(factor, -factor))
    np.testing.assert_allclose(flat[inner], 1, rtol=1e-13)
    slope = conv_transpose(np.tile(np.arange(7.0), (6, 1)), k, factor, factor // 2)[inner]
    # The centre of output cell i lies at (i + 1/2) / factor - 1/2 input cells.
    centres = (np.arange(7 * factor) + 0.5) / factor - 0.5
    np.testing.assert_allclose(slope, np.tile(centres[factor:-factor], (4 * factor, 1)), rtol=1e-13)


def test_names_may_be_written_in_capitals_and_with_spaces_around():
    assert (filters.kernel(" Sobel-X ") == filters.kernel("sobel-x")).all()


@pytest.mark.parametrize(
    ("name", "repair"),
    [("sobelx", "sobel-x"), ("gausian", "gaussian"), ("bilinear", "bilinear-up"), ("zzzz", "one of these"), ("", None)],
)
def test_an_unknown_name_is_answered_with_the_names_and_the_closest(name, repair):
    with pytest.raises(GeometryError) as caught:
        filters.kernel(name)
    assert all(known in caught.value.rule for known in filters.NAMES)
    assert repair is None or caught.value.repair == repair


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("box:0", "from 1 to 1001, not '0' in 'box:0'"),
        ("box:-3", "not '-3'"),
        ("box:", "not ''"),
        ("box:x", "not 'x'"),
        ("box:2.5", "not '2.5'"),
        ("box:1002", "from 1 to 1001, not '1002'"),
        ("box:" + "9" * 5000, "from 1 to 1001"),
        ("box:3:3", "too many parts"),
        ("sobel-x:3", "too many parts"),
        ("gaussian:3:0", "sigma must be a finite number above 0, not '0'"),
        ("gaussian:3:-1", "not '-1'"),
        ("gaussian:3:nan", "not 'nan'"),
        ("gaussian:3:inf", "not 'inf'"),
        ("gaussian:3:x", "not 'x'"),
        ("bilinear-up:0", "factor must be a whole number from 1 to 500"),
        ("bilinear-up:501", "factor must be a whole number from 1 to 500"),
    ],
)
def test_a_size_that_cannot_be_is_refused_with_its_number(name, message):
    with pytest.raises(GeometryError) as caught:
        filters.kernel(name)
    assert message in caught.value.rule
    assert len(str(caught.value)) < 400


INT, FLOAT = np.int64, np.float64


@pytest.mark.parametrize(
    ("text", "expected", "dtype"),
    [
        ("1 2; 3 4", [[1, 2], [3, 4]], INT),
        ("1,2;3,4", [[1, 2], [3, 4]], INT),
        (" 1 , 2 ;\n 3\t4 ", [[1, 2], [3, 4]], INT),
        ("1 2 3", [[1, 2, 3]], INT),
        ("7", [[7]], INT),
        ("1;2", [[1], [2]], INT),
        ("-1 +2", [[-1, 2]], INT),
        ("9223372036854775807 -9223372036854775808", [[2**63 - 1, -(2**63)]], INT),
        ("0" * 5000 + "1", [[1]], INT),
        ("1 2.", [[1, 2]], FLOAT),
        (".5 1e3 -2E-1", [[0.5, 1000, -0.2]], FLOAT),
        ("nan inf -inf Infinity", [[np.nan, np.inf, -np.inf, np.inf]], FLOAT),
        ("1 2; 3 4 | 5 6; 7 8", [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], INT),
        ("1 | 2.5", [[[1]], [[2.5]]], FLOAT),
    ],
)
def test_an_inline_kernel_reads_as_written(text, expected, dtype):
    array = filters.parse_kernel(text)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, np.array(expected, dtype))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty kernel: 0 numbers"),
        (" \n", "an empty kernel: 0 numbers"),
        ("1 2;", "row 2 is empty"),
        (";", "row 1 is empty"),
        ("|", "slice 1, row 1 is empty"),
        ("1 2; 3", "row 2 has 1 number, but row 1 has 2"),
        ("1; 2 3", "row 2 has 2 numbers, but row 1 has 1"),
        ("1 2 | 3", "slice 2, row 1 has 1 number, but row 1 has 2"),
        ("1 2 | 3 4; 5 6", "slice 2 has 2 rows, but slice 1 has 1"),
        ("1 x", "row 1, number 2 is not a number: 'x'"),
        ("1,,2", "row 1, number 2 is not a number: ''"),
        ("1,2,", "row 1, number 3 is not a number: ''"),
        ("1_000", "not a number"),
        ("0x10", "not a number"),
        ("1 2; 3 __import__('os')", "row 2, number 2 is not a number"),
        ("٣", "not a number"),
        ("1j", "not a number"),
        ("1e999", "row 1, number 1 is beyond float64: '1e999'"),
        ("9223372036854775808", "does not fit in int64"),
        ("-9223372036854775809", "does not fit in int64"),
        ("9" * 99, "does not fit in int64"),
        ("9" * 9999, "beyond float64: '99999"),
        ("1 " * 600_000, "1200000 characters, more than 1000000"),
    ],
)
def test_an_inline_kernel_that_is_none_is_refused_with_row_and_numbers(text, message):
    with pytest.raises(GeometryError) as caught:
        filters.parse_kernel(text)
    assert message in caught.value.rule
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["9" * 999_000 + "x", " " * 999_000 + "x", "." * 999_000, "1" + "," * 999_000])
def test_no_text_takes_long_to_refuse(text):
    start = time.monotonic()
    with pytest.raises(GeometryError):
        filters.parse_kernel(text)
    assert time.monotonic() - start < 5
