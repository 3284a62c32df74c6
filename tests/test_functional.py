"""The public functions: values against oracles, then forms, layouts, dtypes, kinds of arrays, `out` and gradients."""

from __future__ import annotations

import inspect
import itertools
import tracemalloc
import types

import ml_dtypes
import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
import twofold
from strategies import MODES, Case, cases, few
from twofold import GeometryError, UnsupportedError

BF16 = np.dtype(ml_dtypes.bfloat16)
CONVS = (twofold.conv1d, twofold.conv2d, twofold.conv3d)
TRANSPOSES = (twofold.conv_transpose1d, twofold.conv_transpose2d, twofold.conv_transpose3d)
COMPLEX = Case("conv", (6, 5), (3, 2), (2, 1), (1, 2), ((1, 0), (0, 2)), (0, 0), 2, 4, 6, 2)
COMPLEX_TRANSPOSED = Case("conv_transpose", (3, 4), (3, 2), (2, 1), (1, 2), ((1, 0), (0, 2)), (1, 0), 2, 4, 6, 2)
NAMED = {f"{stem}{rank}d": rank for stem in ("conv", "conv_transpose") for rank in (1, 2, 3)}


def run(case: Case, x, weight, bias=None, **more):
    return getattr(twofold, case.op)(x, weight, bias, **case.options, **more)


def oracle(case: Case, x, weight, bias=None):
    function = oracles.torch_conv if case.op == "conv" else oracles.torch_conv_transpose
    return function(x, weight, bias, **case.options)


def same(a, b) -> bool:
    """Equal in dtype, shape and every value, NaN included."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


# -- values -----------------------------------------------------------------------------------------------------------


def test_the_anchor_examples():
    x, k, z = [[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 2], [3, 4]], [[0, 1], [2, 3]]
    assert twofold.conv2d(x, k).tolist() == [[37, 47], [67, 77]]
    assert twofold.conv2d(x, k, flip=True).tolist() == [[23, 33], [53, 63]]
    assert twofold.conv_transpose2d(z, z).tolist() == [[0, 0, 1], [0, 4, 6], [4, 12, 9]]
    assert twofold.conv_transpose2d(z, z, stride=2).tolist() == [
        [0, 0, 0, 1],
        [0, 0, 2, 3],
        [0, 2, 0, 3],
        [4, 6, 6, 9],
    ]
    assert twofold.conv1d([1, 2, 3, 4], [1, 10]).tolist() == [21, 32, 43]


@given(cases(max_rank=3))
def test_the_functions_equal_torch(case):
    x, weight, bias = case.arrays
    assert same(run(case, x, weight, bias), oracle(case, x, weight, bias).numpy())
    with_rank = getattr(twofold, f"{case.op}{case.rank}d")
    assert same(with_rank(x, weight, bias, **case.options), oracle(case, x, weight, bias).numpy())


@given(cases(max_rank=3, modes=("zeros",), flips=False))
def test_symmetric_padding_equals_torchs_own(case):
    pads = tuple(min(pair) for pair in case.padding)
    if case.op == "conv":
        sizes = zip(case.in_size, case.kernel_size, case.dilation, pads, strict=True)
        if any(n + 2 * p < d * (k - 1) + 1 for n, k, d, p in sizes):
            return
    x, weight, bias = case.arrays
    stem = f"{case.op}{case.rank}d"
    more = {"output_padding": case.output_padding} if case.op == "conv_transpose" else {}
    more |= {"stride": case.stride, "padding": pads, "dilation": case.dilation, "groups": case.groups}
    expected = getattr(torch.nn.functional, stem)(*(torch.as_tensor(array) for array in (x, weight, bias)), **more)
    assert same(getattr(twofold, stem)(x, weight, bias, **more), expected.numpy())


@few(30)
@given(cases(max_rank=4))
def test_exact_integers_of_rank_four_equal_a_loop(case):
    x, weight, bias = (array.astype(np.int16) for array in case.arrays)
    assert (run(case, x, weight, bias) == oracles.brute(case, x, weight, bias)).all()


@given(cases(max_rank=3))
def test_the_weight_gradient_equals_torchs_autograd(case):
    x, weight, _ = case.arrays
    grad_y = case.integers(*case.y_shape, salt=4)
    leaf = torch.as_tensor(weight).requires_grad_()
    if case.op == "conv":
        y = oracle(case, x, leaf)
    else:  # a transposed layer is bilinear: its weight gradient is that of the convolution with exchanged arrays
        options = {name: value for name, value in case.options.items() if name != "output_padding"}
        y = oracles.torch_conv(grad_y, leaf, **options)[(..., *(slice(0, n) for n in case.in_size))]
    (expected,) = torch.autograd.grad(y, leaf, torch.as_tensor(grad_y if case.op == "conv" else x))
    sides = (x, grad_y) if case.op == "conv" else (grad_y, x)
    options = {name: value for name, value in case.options.items() if name != "output_padding"}
    assert same(twofold.conv_weight_gradient(*sides, case.kernel_size, **options), expected.numpy())


@pytest.mark.parametrize("case", [COMPLEX, COMPLEX_TRANSPOSED], ids=lambda case: case.op)
def test_the_complex_weight_gradient_conjugates_as_torchs_autograd_does(case):
    arrays = [case.integers(*shape, salt=i) for i, shape in enumerate((case.x_shape, case.weight_shape, case.y_shape))]
    x, weight, grad_y = (a + 1j * case.integers(*a.shape, salt=9 + i) for i, a in enumerate(arrays))
    leaf = torch.as_tensor(weight).requires_grad_()
    (expected,) = torch.autograd.grad(oracle(case, x, leaf), leaf, torch.as_tensor(grad_y))
    options = {name: value for name, value in case.options.items() if name != "output_padding"}
    sides = (x, grad_y) if case.op == "conv" else (grad_y, x)
    ours = twofold.conv_weight_gradient(*sides, case.kernel_size, **options)
    assert same(ours if case.op == "conv" else ours.conj(), expected.numpy())


@pytest.mark.parametrize(
    ("ours", "scipys"), [("zeros", "constant"), ("reflect", "mirror"), ("replicate", "nearest"), ("circular", "wrap")]
)
def test_same_padding_equals_scipy_ndimage_where_the_modes_coincide(ours, scipys):
    rng = np.random.default_rng(0)
    for shape, kernel in [((7,), (3,)), ((8, 5), (5, 3)), ((4, 5, 6), (3, 3, 1))]:
        x, k = rng.integers(-9, 9, shape).astype(float), rng.integers(-9, 9, kernel).astype(float)
        function = getattr(twofold, f"conv{len(shape)}d")
        assert same(function(x, k, padding="same", padding_mode=ours), scipy.ndimage.correlate(x, k, mode=scipys))
        flipped = function(x, k, padding="same", padding_mode=ours, flip=True)
        assert same(flipped, scipy.ndimage.convolve(x, k, mode=scipys))


# -- signatures and forms ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", CONVS)
def test_conv_has_torchs_parameters_in_torchs_order(function):
    names = ["input", "weight", "bias", "stride", "padding", "dilation", "groups"]
    parameters = list(inspect.signature(function).parameters.values())
    assert [p.name for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD] == names
    # torch's functions are built in and tell no signature, but their documentation begins with it.
    text = getattr(torch.nn.functional, function.__name__).__doc__
    head = text[text.index("(") + 1 : text.index(")")]
    assert [part.split("=")[0].strip() for part in head.split(",")] == names


@pytest.mark.parametrize("function", TRANSPOSES)
def test_conv_transpose_has_torchs_parameters_in_torchs_order(function):
    names = ["input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"]
    parameters = list(inspect.signature(function).parameters.values())
    assert [p.name for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD] == names
    text = getattr(torch.nn.functional, function.__name__).__doc__
    head = text[text.index("(") + 1 : text.index(")")]
    assert [part.split("=")[0].strip() for part in head.split(",")] == names


def test_positional_calls_mean_what_they_mean_in_torch():
    case = Case("conv", (9,), (3,), (2,), (2,), ((1, 1),), (0,), 1, 4, 4, 2)
    x, weight, bias = (torch.as_tensor(array) for array in case.arrays)
    assert torch.equal(
        twofold.conv1d(x, weight, bias, 2, 1, 2, 2), torch.nn.functional.conv1d(x, weight, bias, 2, 1, 2, 2)
    )
    ours = twofold.conv_transpose1d(x, weight, bias, 2, 1, 1, 2, 3)
    assert torch.equal(ours, torch.nn.functional.conv_transpose1d(x, weight, bias, 2, 1, 1, 2, 3))


@pytest.mark.parametrize("name", ["conv", "conv_transpose"])
def test_the_functions_of_any_rank_take_options_by_keyword_only(name):
    parameters = inspect.signature(getattr(twofold, name)).parameters.values()
    assert [p.name for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD] == ["x", "weight", "bias"]
    with pytest.raises(TypeError):
        getattr(twofold, name)(np.ones((1, 1, 5)), np.ones((1, 1, 3)), None, 2)


@pytest.mark.parametrize("name", ["conv", "conv_weight_gradient", *NAMED])
def test_an_unknown_option_is_refused_by_name(name):
    more = (3,) if name == "conv_weight_gradient" else ()
    with pytest.raises(TypeError, match=f"{name}.* got an unexpected keyword argument 'strides'"):
        getattr(twofold, name)(np.ones((1, 1, 5)), np.ones((1, 1, 3)), *more, strides=2)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_textbook_unbatched_and_batched_forms_hold_the_same_numbers(rank):
    rng = np.random.default_rng(rank)
    x, k = rng.integers(-9, 9, (4, 5, 3)[:rank]), rng.integers(-9, 9, (2, 3, 2)[:rank])
    for function in (CONVS[rank - 1], TRANSPOSES[rank - 1]):
        textbook = function(x, k, stride=2, padding=1)
        assert textbook.ndim == rank
        assert same(function(x[None], k[None, None], stride=2, padding=1), textbook[None])
        assert same(function(x[None, None], k[None, None], stride=2, padding=1), textbook[None, None])
        assert same(function(x, k, 5, 2, 1), textbook + 5)
        assert same(function(x, k, [5], 2, 1), textbook + 5)
        assert same(function(x.tolist(), k.tolist(), stride=2, padding=1), textbook)


def test_the_functions_of_any_rank_have_no_textbook_form():
    for function in (twofold.conv, twofold.conv_transpose):
        with pytest.raises(GeometryError, match=r"weight has 2 axes(.|\n)*try weight\[None, None\], or conv1d"):
            function(np.ones((3, 3)), np.ones((2, 2)))


@given(cases(max_rank=3))
def test_channels_last_is_a_turned_array_and_the_weight_keeps_its_layout(case):
    x, weight, bias = case.arrays
    y = run(case, np.moveaxis(x, 1, -1), weight, bias, layout="channels_last")
    assert same(np.moveaxis(y, -1, 1), run(case, x, weight, bias))
    y = run(case, np.moveaxis(x[0], 0, -1), weight, bias, layout="channels_last")
    assert same(np.moveaxis(y, -1, 0), run(case, x[0], weight, bias))


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_the_weight_gradient_takes_both_layouts_and_forms(layout):
    case = Case("conv", (6, 5), (3, 2), (2, 1), (1, 2), ((1, 0), (0, 2)), (0, 0), 2, 4, 6, 2)
    x, grad_y = case.arrays[0], case.integers(*case.y_shape, salt=4)
    expected = oracles.brute_weight_gradient(case, x, grad_y).astype(float)
    options = {name: value for name, value in case.options.items() if name != "output_padding"}
    last = layout == "channels_last"
    arrays = [np.moveaxis(array, 1, -1) if last else array for array in (x, grad_y)]
    assert same(twofold.conv_weight_gradient(*arrays, (3, 2), layout=layout, **options), expected)
    parts = [twofold.conv_weight_gradient(*(a[i] for a in arrays), (3, 2), layout=layout, **options) for i in range(2)]
    assert same(parts[0] + parts[1], expected)


# -- dtypes -----------------------------------------------------------------------------------------------------------

INTEGERS = [np.dtype(f"{kind}int{bits}") for kind in ("", "u") for bits in (8, 16, 32, 64)]
FLOATS = [np.dtype(name) for name in ("float16", "float32", "float64", "complex64", "complex128")] + [BF16]
CASE = Case("conv", (7, 6), (3, 2), (2, 1), (1, 2), ((1, 2), (0, 1)), (0, 0), 2, 4, 6, 2, seed=3)
TRANSPOSED = Case("conv_transpose", (4, 3), (3, 2), (2, 3), (1, 2), ((1, 0), (0, 1)), (1, 2), 2, 4, 6, 2, seed=3)


def natural(case: Case, dtype) -> list[np.ndarray]:
    """Arrays of non-negative integers up to 9, or of booleans."""
    high = 1 if dtype == np.bool_ else 9
    shapes = (case.x_shape, case.weight_shape, (case.out_channels,))
    return [case.integers(*shape, salt=i, low=0, high=high).astype(dtype) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("case", [CASE, TRANSPOSED], ids=lambda case: case.op)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_floats_keep_their_dtype(case, dtype):
    arrays = natural(case, dtype)
    expected = oracle(case, *(array.astype(np.float64) for array in natural(case, np.float64))).numpy()
    y = run(case, *arrays)
    assert y.dtype == dtype
    assert (y == expected.astype(dtype)).all()  # of bfloat16 this is the exact sum, rounded once


@pytest.mark.parametrize("case", [CASE, TRANSPOSED], ids=lambda case: case.op)
@pytest.mark.parametrize("dtype", [*INTEGERS, np.dtype(bool)], ids=str)
def test_integers_and_booleans_are_summed_exactly_and_returned_as_int64(case, dtype):
    arrays = natural(case, dtype)
    expected = oracle(case, *(array.astype(np.float64) for array in arrays)).numpy()
    y = run(case, *arrays)
    assert y.dtype == np.int64 and (y == expected).all()


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_the_extremes_of_every_integer_dtype_are_exact(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = np.array([[[low, high, high, low]]], dtype)
    weight = np.array([[[high, low]]], dtype)
    expected = [int(a) * high + int(b) * low for a, b in itertools.pairwise(x[0, 0])]
    if all(-(2**63) <= number < 2**63 for number in expected):
        assert twofold.conv(x, weight)[0, 0].tolist() == expected
    else:
        with pytest.raises(OverflowError, match="which int64 does not hold"):
            twofold.conv(x, weight)
        y = twofold.conv(x, weight, out_dtype=np.float64)
        assert y[0, 0].tolist() == [float(number) for number in expected]


def test_sums_that_pass_int64_on_the_way_but_not_at_the_end_are_exact():
    x = np.array([[[2**62, 2**62, 2**62, -(2**62), -(2**62), -(2**62)]]])
    assert twofold.conv(x, np.ones((1, 1, 6), np.int64)).tolist() == [[[0]]]
    assert twofold.conv_transpose(x[..., :1], np.array([[[1]]]), [2**62 - 1]).tolist() == [[[2**63 - 1]]]
    grad = twofold.conv_weight_gradient(x, np.ones((1, 1, 6), np.int64), 1)
    assert grad.tolist() == [[[0]]]


@pytest.mark.parametrize("operation", [twofold.conv, twofold.conv_transpose])
def test_the_limits_of_int64_are_reached_and_not_passed(operation):
    x, one = np.array([[[2**62]]]), np.array([[[2]]])
    assert operation(x, one, [-1]).tolist() == [[[2**63 - 1]]]
    assert operation(-x, one).tolist() == [[[-(2**63)]]]
    for refused in [(x, one), (-x, one, [-1])]:
        with pytest.raises(OverflowError, match=r"reaches -?9223372036854775\d+, which int64 does not hold"):
            operation(*refused)
    unsigned = operation(np.array([[[2**63]]], np.uint64), np.array([[[1]]]), [2**63 - 1], out_dtype=np.uint64)
    assert unsigned.tolist() == [[[2**64 - 1]]] and unsigned.dtype == np.uint64


def test_a_fold_that_adds_many_cells_into_one_counts_them_before_it_trusts_int64():
    x = np.full((1, 1, 21), 2**59)
    with pytest.raises(OverflowError, match="which int64 does not hold"):
        twofold.conv_transpose(x, np.ones((1, 1, 1), int), padding=10, padding_mode="replicate")
    with pytest.raises(OverflowError, match="which int64 does not hold"):
        twofold.conv_weight_gradient(x, np.ones((1, 1, 21), int), 1)


@pytest.mark.parametrize("operation", [twofold.conv, twofold.conv_transpose])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32], ids=str)
def test_a_narrow_integer_out_dtype_holds_the_result_or_refuses_it(operation, dtype):
    limits = np.iinfo(dtype)
    for edge in (limits.min, limits.max):
        y = operation(np.array([[[edge]]]), np.array([[[1]]]), out_dtype=dtype)
        assert y.dtype == dtype and y.tolist() == [[[edge]]]
        beyond = edge + (1 if edge > 0 else -1)
        with pytest.raises(OverflowError, match=f"reaches {beyond}, which {np.dtype(dtype)} does not hold"):
            operation(np.array([[[beyond]]]), np.array([[[1]]]), out_dtype=dtype)


@pytest.mark.parametrize("case", [CASE, TRANSPOSED], ids=lambda case: case.op)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_twelve_bit_integers_are_exact_so_that_no_lower_precision_hides(case, dtype):
    arrays = [case.integers(*s, salt=i, low=-1000, high=1000) for i, s in enumerate((case.x_shape, case.weight_shape))]
    exact = oracles.brute(case, *(array.astype(np.int64) for array in arrays)).astype(np.float64)
    assert np.abs(exact).max() < 2**24  # what float32 still holds exactly
    assert np.abs(exact).max() > 2**20
    assert (run(case, *(array.astype(dtype) for array in arrays)) == exact).all()


def test_float16_and_bfloat16_are_summed_in_float32_and_rounded_once():
    ones = np.ones((1, 1, 4096), np.float16)
    assert twofold.conv(ones, ones).item() == 4096  # a float16 sum stops at 2048
    assert twofold.conv_transpose(np.ones((1, 4096, 1), np.float16), np.ones((4096, 1, 1), np.float16)).item() == 4096
    ones = np.ones((1, 1, 512), BF16)
    assert float(twofold.conv(ones, ones).item()) == 512  # a bfloat16 sum stops at 256
    ones = torch.ones(1, 1, 512, dtype=torch.bfloat16)
    assert twofold.conv(ones, ones).item() == 512
    x = np.array([[[60000, 60000, -60000]]], np.float16)
    assert twofold.conv(x, np.ones((1, 1, 3), np.float16)).item() == 60000
    assert twofold.conv(x, np.ones((1, 1, 2), np.float16)).tolist() == [[[np.inf, 0]]]


def test_out_dtype_widens_before_the_sum_is_made():
    x = np.full((1, 1, 2), 60000, np.float16)
    y = twofold.conv(x, np.ones((1, 1, 2), np.float16), out_dtype=np.float32)
    assert y.dtype == np.float32 and y.item() == 120000
    x = np.array([[[2**24, 1]]], np.float32)
    y = twofold.conv(x, np.ones((1, 1, 2), np.float32), out_dtype=np.float64)
    assert y.dtype == np.float64 and y.item() == 2**24 + 1
    y = twofold.conv(np.ones((1, 1, 2), np.int8), np.ones((1, 1, 2), np.int8), out_dtype=np.complex128)
    assert y.dtype == np.complex128 and y.item() == 2


@pytest.mark.parametrize(
    ("dtype", "out_dtype"),
    [
        (np.complex64, np.float64),
        (np.complex64, np.int64),
        (np.float32, np.int64),
        (np.float16, np.uint8),
        (np.int8, np.bool_),
        (np.float64, np.bool_),
    ],
    ids=str,
)
def test_an_out_dtype_that_loses_fraction_or_imaginary_part_is_refused(dtype, out_dtype):
    with pytest.raises(UnsupportedError, match=r"out_dtype \w+ cannot hold a \w+ result"):
        twofold.conv(np.ones((1, 1, 3), dtype), np.ones((1, 1, 3), dtype), out_dtype=out_dtype)


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ("float32", "float64", "float64"),
        ("float16", "float32", "float32"),
        ("int8", "float32", "float32"),
        ("int32", "float32", "float64"),
        ("float64", "complex64", "complex128"),
        ("int64", "uint64", "int64"),
        ("bool", "uint8", "int64"),
        ("bool", "float16", "float16"),
    ],
)
def test_mixed_numpy_dtypes_promote_as_numpy_does_but_integers_stay_exact(first, second, result):
    x, weight = np.ones((1, 1, 3), first), np.ones((1, 1, 2), second)
    for y in (twofold.conv(x, weight), twofold.conv(weight.repeat(2, 2), x), twofold.conv_transpose(x, weight)):
        assert y.dtype == np.dtype(result)
    assert twofold.conv(x, weight).tolist() == [[[2, 2]]]


def test_float16_and_bfloat16_together_have_no_dtype():
    with pytest.raises(UnsupportedError, match=r"dtypes float16 and bfloat16 have no common dtype"):
        twofold.conv(np.ones((1, 1, 3), np.float16), np.ones((1, 1, 3), BF16))


@pytest.mark.parametrize("case", [CASE, TRANSPOSED], ids=lambda case: case.op)
def test_complex_numbers_are_transposed_and_not_conjugated(case):
    real, imaginary = (
        [case.integers(*s, salt=salt + i) for i, s in enumerate((case.x_shape, case.weight_shape))] for salt in (1, 5)
    )
    x, weight = (a + 1j * b for a, b in zip(real, imaginary, strict=True))
    y = run(case, x, weight)
    assert (y.real == run(case, x.real, weight.real) - run(case, x.imag, weight.imag)).all()
    assert (y.imag == run(case, x.real, weight.imag) + run(case, x.imag, weight.real)).all()
    assert (y == oracle(case, x, weight).numpy()).all()


@pytest.mark.parametrize("case", [CASE, TRANSPOSED], ids=lambda case: case.op)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_reach_exactly_the_windows_that_contain_them(case, value):
    x, weight, bias = np.ones(case.x_shape), np.ones(case.weight_shape), np.zeros(case.out_channels)
    for place in [(0, 0, 0, 0), (1, 3, 2, 1), (0, 1, *(n - 1 for n in case.in_size))]:
        marked = x.copy()
        marked[place] = value
        shadow = np.zeros_like(x)
        shadow[place] = 1
        reached = oracle(case, shadow, weight).numpy() != 0
        y, clean = run(case, marked, weight, bias), run(case, x, weight, bias)
        assert reached.any() or case.op == "conv"
        assert (np.isnan(y) if np.isnan(value) else y == value)[reached].all()
        assert (y == clean)[~reached].all()


@given(cases(max_rank=2), st.integers(0, 10**6))
def test_one_nan_reaches_exactly_the_windows_that_contain_it_in_drawn_problems(case, place):
    x, weight = np.ones(case.x_shape), np.ones(case.weight_shape)
    shadow = np.zeros(x.size)
    shadow[place % x.size] = 1
    shadow = shadow.reshape(x.shape)
    reached = oracle(case, shadow, weight).numpy() != 0
    assert (np.isnan(run(case, np.where(shadow, np.nan, x), weight)) == reached).all()


# -- arrays of NumPy --------------------------------------------------------------------------------------------------


def disguises(array: np.ndarray) -> dict[str, np.ndarray]:
    """The same numbers in other memory."""
    wide = np.zeros(tuple(2 * n for n in array.shape), array.dtype)
    every_other = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    every_other[...] = array
    backwards = np.ascontiguousarray(np.flip(array))
    frozen = array.copy()
    frozen.flags.writeable = False
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype) if array.size else array.ravel()
    raw[...] = array.ravel()
    return {
        "non-contiguous": every_other,
        "negative strides": np.flip(backwards),
        "Fortran order": np.asfortranarray(array),
        "big-endian": array.astype(array.dtype.newbyteorder(">")),
        "read-only": frozen,
        "unaligned": raw.reshape(array.shape),
        "subclass": array.view(type("Sub", (np.ndarray,), {})),
    }


@pytest.mark.parametrize("case", [CASE, TRANSPOSED], ids=lambda case: case.op)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int16", "complex128"])
@pytest.mark.parametrize("disguise", list(disguises(np.ones(1))))
def test_any_memory_gives_the_same_numbers_and_stays_unchanged(case, dtype, disguise):
    arrays = [array.astype(dtype) for array in case.arrays]
    disguised = [disguises(array)[disguise] for array in arrays]
    before = [array.tobytes() for array in disguised]
    y = run(case, *disguised)
    assert type(y) is np.ndarray and y.dtype.isnative
    assert same(y, run(case, *arrays))
    assert [array.tobytes() for array in disguised] == before


@pytest.mark.parametrize("case", [CASE, TRANSPOSED], ids=lambda case: case.op)
def test_a_broadcast_array_is_an_array(case):
    x, weight = np.broadcast_to(2.0, case.x_shape), np.broadcast_to(3.0, case.weight_shape)
    assert same(run(case, x, weight), run(case, x.copy(), weight.copy()))


@pytest.mark.parametrize("case", [CASE, TRANSPOSED], ids=lambda case: case.op)
def test_the_result_is_new_memory(case):
    x, weight, bias = case.arrays
    y = run(case, x, weight, bias)
    assert y.flags.writeable and y.flags.c_contiguous
    assert not any(np.shares_memory(y, array) for array in (x, weight, bias))
    identity = twofold.conv(x, np.eye(4).reshape(4, 4, 1, 1))
    assert not np.shares_memory(identity, x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ma.masked_array(np.ones((1, 1, 5)), np.eye(5)[None, :1] > 0), r"x is a masked array.*\n.*\n  try x.filled"),
        (np.full((1, 1, 5), None), "x has dtype object, which holds no numbers"),
        (np.array([[["a", "b"]]]), "x has dtype <U1, which holds no numbers"),
        (np.array([[[b"a", b"b"]]]), r"x has dtype \|S1, which holds no numbers"),
        (np.zeros((1, 1, 5), "M8[s]"), r"x has dtype datetime64\[s\], which holds no numbers"),
        (np.zeros((1, 1, 5), [("a", int)]), "x has dtype .*, which holds no numbers"),
        (np.zeros((1, 1, 5), np.longdouble), "dtype (float128|longdouble) is not supported"),
        (np.zeros((1, 1, 5), ml_dtypes.float8_e4m3fn), "float8_e4m3fn"),
        (np.zeros((1, 1, 5), ml_dtypes.int4), "int4"),
        ([[[1, 2], [3]]], "x is not a rectangular array"),
        ([[["a"]]], "x has dtype <U1, which holds no numbers"),
        ([[[10**30]]], "x has dtype object, which holds no numbers"),
        ([[[10**400, 1.5]]], "x "),
        ([[[torch.ones((), requires_grad=True)]]], "x does not become an array"),
        (np.float64(3), "x has 0 axes, but .batch, channels, .size. has 3, or 2 without batch"),
        (5, "x has 0 axes"),
        (np.ones(5), "x has 1 axes"),
        (np.ones((1, 1, 1, 5)), "x has 4 axes"),
        ("text", "x must be a NumPy array, a torch tensor or speak DLPack, not str"),
        (None, "x"),
        ({1: 2}, "x must be a NumPy array, a torch tensor or speak DLPack, not dict"),
        (range(5), "x must be a NumPy array, a torch tensor or speak DLPack, not range"),
        (object(), "x must be a NumPy array, a torch tensor or speak DLPack, not object"),
        (np.ones((1, 2, 5)), "x has 2 channels, but a weight of shape .1, 1, 1. takes 1"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_array_of_numbers_is_refused(x, message):
    with pytest.raises((GeometryError, UnsupportedError), match=message):
        twofold.conv(x, np.ones((1, 1, 1)))


def test_empty_batches_channels_and_images():
    weight = np.ones((6, 4, 3, 3))
    assert twofold.conv(np.zeros((0, 4, 5, 5)), weight).shape == (0, 6, 3, 3)
    assert twofold.conv_transpose(np.zeros((0, 6, 5, 5)), weight).shape == (0, 4, 7, 7)
    assert (
        twofold.conv_weight_gradient(np.zeros((0, 4, 5, 5)), np.zeros((0, 6, 3, 3)), 3).tolist()
        == np.zeros((6, 4, 3, 3)).tolist()
    )
    bias = np.arange(6.0)
    y = twofold.conv(np.zeros((2, 0, 5, 5)), np.zeros((6, 0, 3, 3)), bias)
    assert y.shape == (2, 6, 3, 3) and (y == bias.reshape(-1, 1, 1)).all()
    y = twofold.conv_transpose(np.zeros((2, 0, 5, 5)), np.zeros((0, 6, 3, 3)), bias)
    assert y.shape == (2, 6, 7, 7) and (y == bias.reshape(-1, 1, 1)).all()
    assert twofold.conv(np.zeros((2, 4, 5, 5)), np.zeros((0, 4, 3, 3))).shape == (2, 0, 3, 3)
    integers = twofold.conv(
        np.zeros((1, 0, 5), int), np.zeros((2, 0, 3), int), np.array([2**64 - 1, 0], np.uint64), out_dtype="u8"
    )
    assert integers[0, 0].tolist() == [2**64 - 1] * 3
    y = twofold.conv(np.zeros((1, 1, 0)), np.ones((1, 1, 2)), [7.0], padding=1)
    assert y.tolist() == [[[7.0]]]
    with pytest.raises(GeometryError, match="kernel does not fit"):
        twofold.conv(np.zeros((1, 1, 0)), np.ones((1, 1, 2)))
    with pytest.raises(GeometryError, match="input size must be at least 1, not 0"):
        twofold.conv_transpose(np.zeros((1, 1, 0)), np.ones((1, 1, 2)))
    with pytest.raises(GeometryError, match="kernel_size must be at least 1, not 0"):
        twofold.conv(np.zeros((1, 1, 3)), np.ones((1, 1, 0)))


# -- memory -----------------------------------------------------------------------------------------------------------

THIN = (1, 1, 2**40)


@pytest.mark.parametrize(
    "call",
    [
        lambda: twofold.conv(np.ones((1, 1, 5)), np.ones((1, 1, 3)), padding=2**50),
        lambda: twofold.conv(np.ones((1, 1, 5)), np.ones((1, 1, 3)), padding=2**300),
        lambda: twofold.conv(
            np.ones((1, 1, 5)), np.ones((1, 1, 3)), padding=2**60, stride=2**60, padding_mode="reflect"
        ),
        lambda: twofold.conv_transpose(np.ones((1, 1, 2)), np.ones((1, 1, 3)), stride=2**50),
        lambda: twofold.conv_transpose(np.ones((1, 1, 2)), np.ones((1, 1, 3)), dilation=2**300),
        lambda: twofold.conv_transpose(np.ones((1, 1, 1)), np.ones((1, 1, 1)), stride=2**51, output_padding=2**50),
        lambda: twofold.conv(np.broadcast_to(1.0, THIN), np.ones((1, 1, 3))),
        lambda: twofold.conv(np.broadcast_to(np.int8(1), THIN), np.ones((1, 1, 3), np.int8)),
        lambda: twofold.conv(np.broadcast_to(np.int8(1), THIN), np.ones((1, 1, 3), np.int8), stride=2**40 - 3),
        lambda: twofold.conv_transpose(np.broadcast_to(1.0, THIN), np.ones((1, 1, 3))),
        lambda: twofold.conv(np.ones((1, 1, 3)), np.broadcast_to(1.0, (2**40, 1, 3))),
        lambda: twofold.conv_weight_gradient(np.broadcast_to(1.0, THIN), np.ones((1, 1, 1)), 2**40),
        lambda: twofold.conv(torch.ones(1, 1, 1).expand(THIN), torch.ones(1, 1, 3)),
        lambda: twofold.conv(torch.ones(1, 1, 1).bfloat16().expand(THIN), torch.ones(1, 1, 3).bfloat16()),
        lambda: twofold.conv(np.zeros((0, 1, 5)), np.ones((1, 1, 3)), padding=2**70),
        lambda: twofold.conv(np.zeros((0, 1, 5, 5)), np.ones((1, 1, 3, 3)), padding=2**40),
        lambda: twofold.conv_transpose(np.zeros((1, 1, 2, 2)), np.ones((1, 0, 3, 3)), stride=2**70),
        lambda: twofold.conv(np.zeros((1, 1, *[2] * 5)), np.ones((1, 1, *[2] * 5)), padding=10**999),
    ],
)
def test_a_request_beyond_memory_is_refused_with_its_bytes_before_anything_is_allocated(call):
    tracemalloc.start()
    try:
        with pytest.raises(GeometryError, match=r"needs [\d,]{14,} bytes, but this machine gives|needs more than 10"):
            call()
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_the_bytes_in_the_message_are_those_of_the_result():
    with pytest.raises(GeometryError) as caught:
        twofold.conv_transpose(np.ones((1, 1, 2)), np.ones((1, 1, 1)), stride=2**60)
    assert f"a result of shape (1, 1, {2**60 + 1}) needs {8 * (2**60 + 1):,} bytes" in caught.value.rule
    assert caught.value.call == f"conv_transpose(x (1, 1, 2), weight (1, 1, 1), stride={2**60})"


# -- out --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [CASE, TRANSPOSED], ids=lambda case: case.op)
def test_out_is_written_and_returned(case):
    x, weight, bias = case.arrays
    expected = run(case, x, weight, bias)
    for out in (np.empty(case.y_shape), np.asfortranarray(np.empty(case.y_shape)), np.flip(np.empty(case.y_shape))):
        assert run(case, x, weight, bias, out=out) is out
        assert same(out, expected)
    out = torch.empty(case.y_shape, dtype=torch.float64)
    assert run(case, *map(torch.as_tensor, (x, weight, bias)), out=out) is out
    assert same(out.numpy(), expected)


def test_out_of_another_precision_needs_out_dtype():
    x, weight = np.ones((1, 1, 3), np.float32), np.ones((1, 1, 3), np.float32)
    out = np.zeros((1, 1, 1))
    assert twofold.conv(x, weight, out=out, out_dtype=np.float64) is out and out.item() == 3
    narrow, wide = torch.ones(1, 1, 3, dtype=torch.bfloat16), torch.zeros(1, 1, 1)
    assert twofold.conv(narrow, narrow, out=wide, out_dtype=torch.float32).item() == 3
    rounded = torch.zeros(1, 1, 1, dtype=torch.bfloat16)
    assert twofold.conv(narrow, narrow, out=rounded).item() == 3
    assert twofold.conv(narrow.float(), narrow.float(), out=rounded, out_dtype=torch.bfloat16).item() == 3
    with pytest.raises(UnsupportedError, match=r"out has dtype torch.bfloat16, but the result has torch.float32"):
        twofold.conv(narrow.float(), narrow.float(), out=rounded)


def frozen(array):
    array.flags.writeable = False
    return array


X, W = np.arange(5.0).reshape(1, 1, 5), np.ones((1, 1, 3))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.full((1, 1, 4), 9.0), r"out has shape \(1, 1, 4\), but the result has \(1, 1, 3\)"),
        (np.full((1, 3), 9.0), r"out has shape \(1, 3\), but the result has \(1, 1, 3\)"),
        (np.full((1, 1, 3), 9, np.float32), "out has dtype float32, but the result has float64"),
        (np.full((1, 1, 3), 9, np.int64), "out has dtype int64, but the result has float64"),
        (frozen(np.full((1, 1, 3), 9.0)), "out is read-only"),
        (X[:, :, :3], "out overlaps x in memory"),
        (X[:, :, ::2], "out overlaps x in memory"),
        (W, "out overlaps weight in memory"),
        (np.lib.stride_tricks.as_strided(np.full(1, 9.0), (1, 1, 3), (8, 8, 0)), "out writes several results to one"),
        (np.lib.stride_tricks.as_strided(np.full(2, 9.0), (1, 1, 3), (8, 8, 4)), "out writes several results to one"),
        (torch.full((1, 1, 3), 9.0, dtype=torch.float64), "out is of another kind than x"),
        ([9, 9, 9], "out must be a NumPy array, not list"),
        (9, "out must be a NumPy array, not int"),
        ("out", "out must be a NumPy array"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_unfit_out_is_refused_and_stays_as_it_was(out, message):
    before = (repr(out), X.tolist(), W.tolist())
    with pytest.raises((GeometryError, UnsupportedError), match=message):
        twofold.conv(X, W, out=out)
    assert (repr(out), X.tolist(), W.tolist()) == before


def test_an_unfit_torch_out_is_refused_and_stays_as_it_was():
    x, weight = torch.arange(5.0).reshape(1, 1, 5), torch.ones(1, 1, 3)
    outs = [
        (torch.full((1, 1, 4), 9.0), "out has shape"),
        (
            torch.full((1, 1, 3), 9.0, dtype=torch.float64),
            "out has dtype torch.float64, but the result has torch.float32",
        ),
        (x[:, :, :3], "out overlaps x"),
        (weight, "out overlaps weight"),
        (torch.full((1, 1, 1), 9.0).expand(1, 1, 3), "out writes several results to one place"),
        (torch.full((1, 1, 3), 9.0, requires_grad=True), "out requires grad"),
        (torch.empty(1, 1, 3, device="meta"), "out is not a dense torch tensor with values"),
        (np.full((1, 1, 3), 9, np.float32), "out is of another kind than x"),
    ]
    for out, message in outs:
        before = (repr(out), x.tolist(), weight.tolist())
        with pytest.raises((GeometryError, UnsupportedError), match=message):
            twofold.conv(x, weight, out=out)
        assert (repr(out), x.tolist(), weight.tolist()) == before


def test_an_error_leaves_out_unchanged():
    out = np.full((1, 1, 3), 9)
    with pytest.raises(OverflowError):
        twofold.conv(np.full((1, 1, 5), 2**62), np.ones((1, 1, 3), int), out=out)
    assert out.tolist() == [[[9, 9, 9]]]
    y = np.full((1, 1, 3), 9.0)
    with pytest.raises(UnsupportedError, match="vjp returns new arrays and takes no out="):
        twofold.vjp(twofold.conv, np.ones((1, 1, 5)), W, out=y)
    assert y.tolist() == [[[9, 9, 9]]]


# -- torch ------------------------------------------------------------------------------------------------------------

TORCH_FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128]
TORCH_INTEGERS = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool]


@pytest.mark.parametrize("case", [CASE, TRANSPOSED], ids=lambda case: case.op)
@pytest.mark.parametrize("dtype", [*TORCH_FLOATS, *TORCH_INTEGERS], ids=str)
def test_torch_in_is_torch_out_of_the_same_numbers(case, dtype):
    high = np.bool_ if dtype == torch.bool else np.float64
    arrays = natural(case, high)
    tensors = [torch.as_tensor(array).to(dtype) for array in arrays]
    expected = oracle(case, *(array.astype(np.float64) for array in arrays))
    y = run(case, *tensors)
    assert isinstance(y, torch.Tensor)
    assert y.dtype == (dtype if dtype in TORCH_FLOATS else torch.int64)
    assert torch.equal(y, expected.to(y.dtype))


@pytest.mark.parametrize("out_dtype", [torch.bfloat16, torch.float16, torch.float32, torch.complex128])
def test_a_torch_out_dtype_is_a_torch_dtype(out_dtype):
    x, weight = torch.full((1, 1, 4), 3.0), torch.ones(1, 1, 2)
    y = twofold.conv(x, weight, out_dtype=out_dtype)
    assert y.dtype == out_dtype and y.tolist() == [[[6, 6, 6]]]
    with pytest.raises(UnsupportedError, match=r"out_dtype must be a torch dtype, not <class 'numpy.float32'>"):
        twofold.conv(x, weight, out_dtype=np.float32)
    with pytest.raises(UnsupportedError):
        twofold.conv(x, weight, out_dtype=torch.quint8)


@pytest.mark.parametrize("case", [CASE, TRANSPOSED], ids=lambda case: case.op)
def test_the_memory_format_of_x_is_that_of_the_result(case):
    x, weight, bias = (torch.as_tensor(array) for array in case.arrays)
    last = x.contiguous(memory_format=torch.channels_last)
    y = run(case, last, weight, bias)
    assert torch.equal(y, run(case, x, weight, bias))
    assert y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()
    assert run(case, x, weight, bias).is_contiguous()
    deep = torch.ones(2, 3, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    y = twofold.conv3d(deep, torch.ones(2, 3, 2, 2, 2))
    assert y.is_contiguous(memory_format=torch.channels_last_3d) and not y.is_contiguous()


def test_tensors_that_require_grad_are_refused_except_under_no_grad():
    x, weight = torch.ones(1, 1, 5), torch.ones(1, 1, 3, requires_grad=True)
    with pytest.raises(
        UnsupportedError, match=r"weight requires grad, and gradients of torch tensors are not recorded"
    ):
        twofold.conv(x, weight)
    with torch.no_grad():
        y = twofold.conv(x, weight)
    assert y.tolist() == [[[3, 3, 3]]] and not y.requires_grad
    with torch.inference_mode():
        assert twofold.conv(x, torch.nn.Parameter(torch.ones(1, 1, 3))).tolist() == [[[3, 3, 3]]]


def test_a_window_that_overlaps_itself_is_no_out_but_turned_and_spread_arrays_are():
    windows = np.lib.stride_tricks.as_strided(np.zeros(4), (1, 2, 3), (8, 8, 8))
    weight = np.array([[[1.0, 1, 1]], [[2.0, 2, 2]]])
    with pytest.raises(UnsupportedError, match="out writes several results to one place"):
        twofold.conv(X, weight, out=windows)
    for out in (np.zeros((1, 3, 2)).swapaxes(1, 2), np.zeros((3, 4, 5))[::2, ::2, ::-2][:1], np.zeros((3, 2, 1)).T):
        assert twofold.conv(X, weight, out=out).tolist() == [[[3, 6, 9], [6, 12, 18]]]


def test_transforms_and_fake_tensors_are_refused():
    x, weight = torch.ones(1, 1, 5), torch.ones(1, 1, 3)
    with pytest.raises(UnsupportedError, match=r"x is inside a torch\.func transform"):
        torch.func.vmap(lambda image: twofold.conv(image, weight))(x[None])
    with pytest.raises(UnsupportedError, match=r"x is inside a torch\.func transform"):
        torch.func.grad(lambda image: twofold.conv(image, weight).sum())(x)
    with torch._subclasses.FakeTensorMode(), pytest.raises(UnsupportedError, match="x is not a dense torch tensor"):
        twofold.conv(torch.ones(1, 1, 5), torch.ones(1, 1, 3))


def test_lazy_conjugates_and_negatives_and_views_are_what_they_mean():
    x = torch.tensor([[[1 + 2j, 3 - 1j]]])
    one = torch.ones(1, 1, 1, dtype=torch.complex64)
    assert torch.equal(twofold.conv(x.conj(), one), x.conj().resolve_conj())
    assert torch.equal(twofold.conv(x.conj().imag, torch.ones(1, 1, 1)), x.conj().imag)
    grown = torch.arange(12.0).reshape(3, 4).t()[None, None, 1]
    assert torch.equal(twofold.conv(grown, torch.ones(1, 1, 1)), grown)
    narrow = torch.tensor([2.0]).bfloat16().expand(1, 1, 5)
    assert twofold.conv(narrow, narrow).item() == 20


def test_torch_tensors_must_agree_in_dtype_and_kind():
    x, weight = torch.ones(1, 1, 5), torch.ones(1, 1, 3)
    with pytest.raises(
        UnsupportedError, match=r"must agree in dtype, but x is torch.float32 and weight is torch.float64"
    ):
        twofold.conv(x, weight.double())
    with pytest.raises(UnsupportedError, match=r"x is torch.float32 and bias is torch.int64(.|\n)*try bias.to"):
        twofold.conv(x, weight, torch.ones(1, dtype=torch.int64))
    with pytest.raises(UnsupportedError, match=r"x is a torch.Tensor but weight is a numpy.ndarray"):
        twofold.conv(x, weight.numpy())
    with pytest.raises(UnsupportedError, match=r"x is a list but bias is a torch.Tensor"):
        twofold.conv([[[1.0]]], [[[1.0]]], torch.ones(1))


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (lambda: torch.ones(1, 1, 5, device="meta"), "device meta"),
        (lambda: torch.ones(1, 1, 5).to_sparse(), "layout torch.sparse_coo"),
        (lambda: torch.quantize_per_tensor(torch.ones(1, 1, 5), 0.1, 0, torch.quint8), "dtype torch.quint8"),
        (lambda: torch.nested.nested_tensor([torch.ones(1, 5)], layout=torch.jagged), "layout torch.jagged"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*(quantiz|prototype|deprecated)")
def test_tensors_without_dense_values_are_refused(tensor, words):
    with pytest.raises(UnsupportedError, match=f"x is not a dense torch tensor with values .*{words}"):
        twofold.conv(tensor(), tensor())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex32])
@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_torch_dtypes_that_no_sum_is_made_in_are_refused(dtype):
    with pytest.raises(UnsupportedError, match="x is a torch tensor that NumPy cannot hold"):
        twofold.conv(torch.ones(1, 1, 5).to(dtype), torch.ones(1, 1, 3).to(dtype))


# -- DLPack -----------------------------------------------------------------------------------------------------------


class Foreign:
    """An array of another library: speaks DLPack and the array API, and nothing else."""

    def __init__(self, array):
        self.array = np.asarray(array)

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __array_namespace__(self, api_version=None):
        return types.SimpleNamespace(from_dlpack=lambda other: Foreign(np.from_dlpack(other)))


class Mute(Foreign):
    """An array whose library takes nothing back."""

    __array_namespace__ = None


@pytest.mark.parametrize("case", [CASE, TRANSPOSED], ids=lambda case: case.op)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32"])
def test_arrays_of_other_libraries_come_and_go_through_dlpack(case, dtype):
    arrays = [array.astype(dtype) for array in case.arrays]
    y = run(case, *map(Foreign, arrays))
    assert type(y) is Foreign
    assert same(y.array, run(case, *arrays))


def test_an_array_that_does_not_come_or_go_through_dlpack_is_refused():
    weight = Foreign(np.ones((1, 1, 3)))
    x = Foreign(np.array([[["a"]]]))
    with pytest.raises(UnsupportedError, match=r"x .*Foreign. does not come through DLPack"):
        twofold.conv(x, weight)
    with pytest.raises(UnsupportedError, match="out= takes NumPy arrays and torch tensors only"):
        twofold.conv(Foreign(np.ones((1, 1, 5))), weight, out=Foreign(np.ones((1, 1, 3))))
    with pytest.raises(UnsupportedError, match=r"x is a .*Foreign but weight is a numpy.ndarray"):
        twofold.conv(Foreign(np.ones((1, 1, 5))), np.ones((1, 1, 3)))


# -- gradients --------------------------------------------------------------------------------------------------------


def complex_case_arrays(case: Case, dtype: str):
    arrays = list(case.arrays)
    if dtype == "complex128":
        arrays = [array + 1j * case.integers(*array.shape, salt=11 + i) for i, array in enumerate(arrays)]
    grad = case.integers(*case.y_shape, salt=21)
    return arrays, grad + (1j * case.integers(*case.y_shape, salt=22) if dtype == "complex128" else 0)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@given(case=cases(max_rank=3))
def test_vjp_equals_torchs_autograd(dtype, case):
    arrays, grad = complex_case_arrays(case, dtype)
    leaves = [torch.as_tensor(array).requires_grad_() for array in arrays]
    if case.op == "conv_transpose" and case.padding_mode != "zeros":
        # The oracle is itself a gradient: of <transpose(x, w), g> = <x, conv(g, w)>, which torch differentiates.
        options = {name: value for name, value in case.options.items() if name != "output_padding"}
        z = oracles.torch_conv(torch.as_tensor(grad).conj(), leaves[1], **options)
        z = z[(..., *(slice(0, n) for n in case.in_size))]
        scalar = (z * leaves[0]).sum().real
        channels = tuple(i for i in range(grad.ndim) if i != 1)
        expected = [*torch.autograd.grad(scalar, leaves[:2]), torch.as_tensor(grad.sum(channels))]
    else:
        expected = torch.autograd.grad(oracle(case, *leaves), leaves, torch.as_tensor(grad))
    operation = getattr(twofold, f"{case.op}{case.rank}d")
    y, back = twofold.vjp(operation, *arrays, **case.options)
    assert (y == run(case, *arrays)).all()
    for ours, torchs in zip(back(grad), expected, strict=True):
        assert same(ours, torchs.resolve_conj().numpy())
    assert twofold.vjp(operation, *arrays[:2], **case.options)[1](grad)[2] is None


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_vjp_of_every_form_and_layout_gives_gradients_of_the_shapes_of_the_arguments(rank):
    for op in ("conv", "conv_transpose"):
        pads, zero = ((1, 0),) * rank, (0,) * rank
        case = Case(op, (4, 3, 5)[:rank], (2,) * rank, (2,) * rank, (1,) * rank, pads, zero, 2, 4, 6, 2)
        x, weight, bias = case.arrays
        grad = case.integers(*case.y_shape, salt=4)
        operation = getattr(twofold, f"{op}{rank}d")
        expected = twofold.vjp(operation, x, weight, bias, **case.options)[1](grad)
        last = (np.moveaxis(a, 1, -1) for a in (x, grad))
        turned_x, turned_grad = last
        ours = twofold.vjp(operation, turned_x, weight, bias, **case.options, layout="channels_last")[1](turned_grad)
        assert same(np.moveaxis(ours[0], -1, 1), expected[0])
        assert same(ours[1], expected[1]) and same(ours[2], expected[2])
        parts = [twofold.vjp(operation, x[i], weight, bias, **case.options)[1](grad[i]) for i in range(2)]
        assert same(np.stack([part[0] for part in parts]), expected[0])
        assert same(parts[0][1] + parts[1][1], expected[1]) and same(parts[0][2] + parts[1][2], expected[2])
        image, kernel = x[0, 0], weight[0, 0]
        y, back = twofold.vjp(operation, image, kernel, 1.0, stride=2)
        boxed, boxed_back = twofold.vjp(operation, image[None, None], kernel[None, None], np.ones(1), stride=2)
        for ours, theirs, like in zip(back(y), boxed_back(boxed), (image, kernel, np.ones(1)), strict=True):
            assert (ours.ravel() == theirs.ravel()).all() and ours.size == like.size
        assert back(y)[0].shape == image.shape and back(y)[1].shape == kernel.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_vjp_of_torch_tensors_gives_torch_tensors_of_ys_dtype(dtype):
    x, weight, bias = torch.ones(1, 2, 5, dtype=dtype), torch.ones(3, 2, 3, dtype=dtype), torch.ones(3, dtype=dtype)
    y, back = twofold.vjp(twofold.conv, x, weight, bias)
    gradients = back(torch.ones_like(y))
    assert [gradient.shape for gradient in gradients] == [x.shape, weight.shape, bias.shape]
    assert all(gradient.dtype == dtype for gradient in gradients)
    assert gradients[0].tolist() == [[[3, 6, 9, 6, 3]] * 2]


@pytest.mark.parametrize("out_dtype", [np.float16, np.float64, np.complex64])
def test_vjp_gives_gradients_of_ys_dtype(out_dtype):
    x, weight, bias = np.ones((1, 1, 5), np.float32), np.ones((1, 1, 3), np.float32), np.ones(1, np.float32)
    y, back = twofold.vjp(twofold.conv, x, weight, bias, out_dtype=out_dtype)
    assert y.dtype == out_dtype
    assert all(gradient.dtype == out_dtype for gradient in back(np.ones_like(y)))


def test_vjp_of_an_image_of_padding_alone_is_empty_where_the_image_is():
    y, back = twofold.vjp(twofold.conv, np.zeros((1, 1, 0)), np.ones((1, 1, 2)), padding=1)
    grad_x, grad_weight, _ = back(np.ones_like(y))
    assert grad_x.shape == (1, 1, 0) and grad_weight.tolist() == [[[0, 0]]]


def test_vjp_copies_what_it_will_read_again_unless_told_not_to():
    x, weight = np.arange(1.0, 10).reshape(1, 1, 9), np.array([[[1.0, 2, 3]]])
    for copy in (True, False):
        image, kernel = x.copy(), weight.copy()
        y, back = twofold.vjp(twofold.conv, image, kernel, copy=copy)
        image += 1
        kernel *= 2
        grad_x, grad_weight, _ = back(np.ones_like(y))
        seen, factor = (x, 1) if copy else (x + 1, 2)
        expected = twofold.vjp(twofold.conv, seen, weight * factor)[1](np.ones_like(y))
        assert np.array_equal(grad_x, expected[0]) and np.array_equal(grad_weight, expected[1])


def test_vjp_of_an_empty_batch_is_zero_for_the_weight():
    _, back = twofold.vjp(twofold.conv_transpose, np.zeros((0, 1, 3)), np.ones((1, 1, 2)), np.ones(1))
    grad_x, grad_weight, grad_bias = back(np.zeros((0, 1, 4)))
    assert grad_x.shape == (0, 1, 3) and grad_weight.tolist() == [[[0, 0]]] and grad_bias.tolist() == [0]


def test_what_vjp_cannot_carry_back_is_refused():
    x, weight = np.ones((1, 1, 5), np.float32), np.ones((1, 1, 3), np.float32)
    for operation in (twofold.conv_weight_gradient, np.convolve, None, "conv", [], 3):
        with pytest.raises(UnsupportedError, match="vjp takes one of conv, conv1d, conv2d, conv3d, conv_transpose"):
            twofold.vjp(operation, x, weight)
    _, back = twofold.vjp(twofold.conv, x, weight)
    with pytest.raises(GeometryError, match=r"grad_y has shape \(1, 1, 4\), but y has \(1, 1, 3\)"):
        back(np.ones((1, 1, 4), np.float32))
    with pytest.raises(UnsupportedError, match=r"grad_y is float64, but y is float32"):
        back(np.ones((1, 1, 3)))
    with pytest.raises(UnsupportedError, match="grad_y must be a NumPy array, a torch tensor"):
        back(None)
    with pytest.raises(UnsupportedError, match="grad_y is of another kind than x"):
        back(torch.ones(1, 1, 3))
    _, back = twofold.vjp(twofold.conv, torch.ones(1, 1, 5), torch.ones(1, 1, 3))
    with pytest.raises(UnsupportedError, match="grad_y is of another kind than x"):
        back(np.ones((1, 1, 3), np.float32))


def test_integer_gradients_are_exact_or_refused():
    x, weight, bias = np.full((1, 1, 3), 2**60), np.ones((1, 1, 1), int), np.zeros(1, int)
    y, back = twofold.vjp(twofold.conv, x, weight, bias)
    assert back(np.ones_like(y))[1].tolist() == [[[3 * 2**60]]]
    with pytest.raises(OverflowError, match="which int64 does not hold"):
        back(y)


@pytest.mark.parametrize("mode", MODES)
def test_an_error_names_the_call_the_axis_and_the_repair(mode):
    with pytest.raises(GeometryError) as caught:
        twofold.conv(np.ones((1, 1, 5)), np.ones((1, 1, 3)), dilation=4, padding_mode=mode)
    written = "" if mode == "zeros" else f", padding_mode='{mode}'"
    assert str(caught.value) == (
        "kernel does not fit: (kernel_size 3 - 1) * dilation 4 + 1 = 9 cells, but input 5 + padding 0 + 0 = 5\n"
        f"  in conv(x (1, 1, 5), weight (1, 1, 3), dilation=4{written}), axis width\n"
        "  try padding=2, or dilation at most 2"
    )


def test_a_big_endian_out_is_written_in_its_own_order():
    out = np.full((1, 1, 3), 9, ">f8")
    assert twofold.conv(X, W, out=out) is out
    assert out.dtype.str == ">f8"
    assert np.array_equal(out, twofold.conv(X, W))


def test_what_the_caller_changes_after_vjp_does_not_reach_the_gradients():
    x, weight = X.copy(), W.copy()
    y, back = twofold.vjp(twofold.conv, x, weight)
    before = back(np.ones_like(y))
    x[...], weight[...] = 77, 88
    after = back(np.ones_like(y))
    assert all(np.array_equal(a, b) for a, b in zip(before[:2], after[:2], strict=True))


def test_an_unknown_keyword_is_refused_with_the_nearest():
    with pytest.raises(
        TypeError, match=r"conv\(\) got an unexpected keyword argument 'strides'; did you mean 'stride'\?"
    ):
        twofold.conv(X, W, strides=2)


def test_an_error_names_out_by_its_shape():
    with pytest.raises(GeometryError, match=r"in conv\(x \(1, 1, 5\), weight \(1, 1, 3\), out \(7,\)\)"):
        twofold.conv(X, W, out=np.zeros(7))
