"""Problems and their strings: what is printed parses back, and nothing else parses."""

from __future__ import annotations

import itertools
import math
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import cases
from twofold.errors import GeometryError
from twofold.geometry import Axis, Geometry, Problem

DTYPES = {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16", "c64": "complex64", "bool": "bool"}
DTYPES |= {"c128": "complex128", "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64"}
DTYPES |= {"uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64"}


def described(case, **more) -> Problem:
    options = case.options
    return Problem.of(
        case.op,
        case.in_size,
        case.kernel_size,
        in_channels=case.in_channels,
        out_channels=case.out_channels,
        batch=case.batch,
        **options,
        **more,
    )


@given(
    cases(max_rank=4),
    st.sampled_from(sorted(DTYPES.values())),
    st.sampled_from(["channels_first", "channels_last"]),
)
def test_a_problem_is_what_its_string_parses_to(case, dtype, layout):
    problem = described(case, dtype=dtype, layout=layout)
    assert Problem.parse(str(problem)) == problem
    gradient = problem.weight_gradient()
    assert Problem.parse(str(gradient)) == gradient


@given(cases(max_rank=4))
def test_a_problem_has_the_sizes_that_counting_gives(case):
    problem = described(case)
    assert problem.out_size == case.out_size and problem.in_size == case.in_size
    assert problem.result_shape == case.y_shape
    assert problem.weight_shape == case.weight_shape
    assert (problem.in_channels, problem.out_channels) == (case.in_channels, case.out_channels)
    coarse = case.out_size if case.op == "conv" else case.in_size
    assert problem.multiplications == case.batch * math.prod(coarse) * math.prod(case.weight_shape)
    if case.op == "conv_transpose":
        assert problem.output_padding == case.output_padding
        assert described(replace_extra(case), output_size=case.out_size).out_size == case.out_size


def replace_extra(case):
    return replace(case, output_padding=(0,) * case.rank)


@given(cases(max_rank=3))
def test_the_adjoint_exchanges_the_two_sides_and_keeps_the_weight(case):
    problem = described(case)
    other = problem.adjoint()
    assert {problem.op, other.op} == {"conv", "conv_transpose"}
    assert (other.fine_shape, other.coarse_shape) == (problem.fine_shape, problem.coarse_shape)
    assert (other.weight_shape, other.flip, other.padding_mode) == (
        problem.weight_shape,
        problem.flip,
        problem.padding_mode,
    )
    gradient = problem.weight_gradient()
    assert gradient.op == "conv_weight_gradient" and gradient.result_shape == problem.weight_shape


TEXTS = [  # what is written, and what is printed
    ("i5 k3", "conv n1 ci1 co1 i5 k3 f32"),
    ("conv k3x3 i5", "conv n1 ci1 co1 i5x5 k3x3 f32"),
    ("int8 s2 k3 i5x6 n2 p1:2x0:1", "conv n2 ci1 co1 i5x6 k3x3 s2x2 p1:2x0:1 int8"),
    ("conv i7x8 k3x3 s2 same", "conv n1 ci1 co1 i7x8 k3x3 s2x2 p1x0:1 f32"),
    ("conv i7x8 k3 s2 same_lower", "conv n1 ci1 co1 i7x8 k3x3 s2x2 p1x1:0 f32"),
    ("i7 k3 d2 causal reflect flip nhwc f16", "conv n1 ci1 co1 i7 k3 p4:0 d2 reflect flip nhwc f16"),
    ("i7 k3 valid zeros", "conv n1 ci1 co1 i7 k3 f32"),
    ("i7 k3 o5", "conv n1 ci1 co1 i7 k3 f32"),
    ("conv_transpose i4 k3 s2 p1 o8", "conv_transpose n1 ci1 co1 i4 k3 s2 p1 op1 f32"),
    ("conv_transpose i4 k3 s2 causal", "conv_transpose n1 ci1 co1 i4 k3 s2 p0:1 f32"),
    ("conv_transpose i4 k2 d3 op2", "conv_transpose n1 ci1 co1 i4 k2 d3 op2 f32"),
    (
        "conv_transpose n1 ci256 co128 i16x16 k4x4 s2x2 p1x1 f32",
        "conv_transpose n1 ci256 co128 i16x16 k4x4 s2x2 p1x1 f32",
    ),
    ("conv_weight_gradient ci3 co8 i28x28 k5x5", "conv_weight_gradient n1 ci3 co8 i28x28 k5x5 f32"),
    ("conv_weight_gradient i8 k2 d3 o3", "conv_weight_gradient n1 ci1 co1 i8 k2 d3 o3 f32"),
    ("i0 k3 p2 n0 ci0", "conv n0 ci0 co1 i0 k3 p2 f32"),
    ("\t i5\n k3  ", "conv n1 ci1 co1 i5 k3 f32"),
    ("ci4 co6 g2 i5 k3", "conv n1 ci4 co6 i5 k3 g2 f32"),
]


@pytest.mark.parametrize(("text", "printed"), TEXTS)
def test_a_string_prints_in_its_one_form(text, printed):
    assert str(Problem.parse(text)) == printed
    assert str(Problem.parse(printed)) == printed


@pytest.mark.parametrize(("word", "name"), DTYPES.items())
def test_every_dtype_has_a_word(word, name):
    assert Problem.parse(f"i5 k3 {word}").dtype == name


def test_fields_may_stand_in_any_order():
    fields = ["n2", "ci2", "i5x5", "k3", "s2", "p1", "f64"]
    expected = "conv n2 ci2 co1 i5x5 k3x3 s2x2 p1x1 f64"
    for order in itertools.islice(itertools.permutations(fields), 0, None, 97):
        assert str(Problem.parse(" ".join(order))) == expected


REFUSALS = [
    ("", "a problem needs i (input size), which is missing in ''\n  try i3x3"),
    ("   ", "a problem needs i (input size), which is missing"),
    ("conv", "a problem needs i (input size)"),
    ("conv i5", "a problem needs k (kernel_size), which is missing in 'conv i5'\n  try k3x3"),
    ("i5 k3 z1", "'z1' is no field of a problem: n ci co i k s p d op o g with numbers such as i5x5, or a word"),
    ("i5 k3 refect", "'refect' is no field of a problem: n ci co i k s p d op o g with numbers"),
    ("i5 k3 " + "y" * 100, "'" + "y" * 37 + "...' is no field of a problem"),
    ("i5 k3 conv", "the operation 'conv' must come first in a problem"),
    ("i5 k3 i5", "i appears twice in a problem, the second time as 'i5'\n  try one of them"),
    ("i5 k3 f32 f64", "dtype appears twice in a problem, the second time as 'f64'"),
    ("i5 k3 same valid", "padding appears twice in a problem, the second time as 'valid'"),
    ("i5 k3 reflect zeros", "mode appears twice in a problem"),
    ("i5 k3 flip flip", "flip appears twice in a problem"),
    ("i5 k3 nhwc nhwc", "nhwc appears twice in a problem"),
    ("i5 k3 p1 same", "p and 'same' both choose the padding\n  try only one of them"),
    ("i5 k3 s1:2", "only padding takes a before:after pair, not s1:2\n  try p1:2"),
    ("i5x5 k3x3x3", "i has 2 entries, but the problem has 3 spatial axes\n  try i5"),
    ("i5 k3 n2x2", "n is one number, not 2\n  try n2"),
    ("i5 k3 o4", "output size 4 is not what a convolution gives: floor((5 + 0 - 1*(3-1) - 1)/1) + 1 = 3"),
    ("i5 k3 op1", "output_padding belongs to conv_transpose, not to conv\n  try output_padding=0"),
    ("i2 k3", "kernel does not fit"),
    ("i5 k0", "kernel_size must be at least 1, not 0"),
    ("i5 k3 s0", "stride must be at least 1, not 0"),
    ("i5 k3 d0", "dilation must be at least 1, not 0"),
    ("i5 k3 g0", "groups must be at least 1, not 0"),
    ("i5 k3 ci3 g2", "groups 2 must divide the channels"),
    ("i5 k3 n-1", "batch must be at least 0, not -1"),
    ("i-5 k3", "input size must be at least 0, not -5"),
    ("i5 k3 p-1", "padding must be at least 0, not -1"),
    ("conv_transpose i0 k3", "input size must be at least 1, not 0"),
    ("conv_transpose i4 k3 s2 op2", "output_padding 2 must be smaller than stride 2 or dilation 1"),
    ("conv_transpose i4 k3 s2 o99", "output size 99 is out of reach"),
    ("conv_transpose i4 k3 s2 o9 op1", "output_padding and output_size both choose the output size"),
    ("conv_transpose i4 k3 p9", "padding swallows the output"),
    ("conv_weight_gradient i8 k3 o2", "grad_y has 2 cells, but floor((8 + 0 - 1*(3-1) - 1)/1) + 1 = 6"),
    ("i1 k3 p2 reflect", "padding_mode 'reflect' needs at least 2 cells to pad from, not 1"),
    ("i0 k3 p2 circular", "padding_mode 'circular' needs at least 1 cells to pad from, not 0"),
    ("i٥ k3", "'i٥' is no field of a problem"),
    ("i５ k3", "'i５' is no field of a problem"),
    ("i5² k3", "'i5²' is no field of a problem"),
    ("i5.0 k3", "'i5.0' is no field of a problem"),
    ("i5e2 k3", "'i5e2' is no field of a problem"),
    ("i+5 k3", "'i+5' is no field of a problem"),
    ("i5_0 k3", "'i5_0' is no field of a problem"),
    ("i5x k3", "'i5x' is no field of a problem"),
    ("i5,k3", "'i5,k3' is no field of a problem"),
    ("I5 k3", "'I5' is no field of a problem"),
    ("i5 k3 p1:2:3", "'p1:2:3' is no field of a problem"),
    ("i5\x00 k3", "'i5\\x00' is no field of a problem"),
    ("i5 k" + "9" * 1001, "k has more than 1000 digits, which is no size"),
    ("i5 k3 " + "y" * 100_000, "a problem has at most 100000 characters, not 100006"),
]


@pytest.mark.parametrize(("text", "message"), REFUSALS)
def test_the_parser_refuses_in_a_sentence(text, message):
    with pytest.raises(GeometryError) as caught:
        Problem.parse(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", [None, 5, 5.0, b"i5 k3", ["i5", "k3"], object()])
def test_only_a_string_is_parsed(value):
    with pytest.raises(GeometryError, match=f"a problem is a string, not {type(value).__name__}"):
        Problem.parse(value)


@given(st.text(max_size=60) | st.from_regex(r"[a-z0-9:x\- ]{0,40}", fullmatch=True))
def test_any_text_is_a_problem_or_refused(text):
    try:
        problem = Problem.parse(text)
    except GeometryError as error:
        assert error.rule
    else:
        assert Problem.parse(str(problem)) == problem


@given(cases(max_rank=2), st.data())
def test_a_printed_problem_with_one_character_changed_is_a_problem_or_refused(case, data):
    text = str(described(case))
    place = data.draw(st.integers(0, len(text) - 1))
    try:
        problem = Problem.parse(text[:place] + data.draw(st.sampled_from("019-:x spz")) + text[place + 1 :])
    except GeometryError:
        return
    assert Problem.parse(str(problem)) == problem


def test_sizes_beyond_any_machine_are_exact():
    n = 2**200
    problem = Problem.parse(f"conv i{n} k3 s2 p1")
    assert problem.out_size == (2**199,)
    assert problem.multiplications == 3 * 2**199
    assert Problem.parse(str(problem)) == problem
    assert problem.sums == f"width: floor(({n} + 2*1 - 1*(3-1) - 1)/2) + 1 = {2**199}"


def test_sums_have_a_line_per_axis():
    problem = Problem.parse("conv_transpose i4x1 k3 s2 p1 op1x0")
    assert problem.sums.splitlines() == [
        "height: (4-1)*2 - 2*1 + 1*(3-1) + 1 + 1 = 8",
        "width: (1-1)*2 - 2*1 + 1*(3-1) + 0 + 1 = 1",
    ]


def test_a_problem_is_checked_at_birth_and_cannot_be_changed():
    layer = Geometry((Axis(3),))
    problem = Problem("conv", layer, (5,), (3,))
    with pytest.raises(FrozenInstanceError):
        problem.batch = 2
    for wrong, message in [
        ({"op": "convolve"}, "operation must be 'conv', 'conv_transpose' or 'conv_weight_gradient', not 'convolve'"),
        ({"coarse_size": (4,)}, "a convolution of (5,) has no output (4,)"),
        ({"fine_size": (5, 5)}, "1 axes, but sizes (5, 5) and (3,)"),
        ({"batch": -1}, "batch must be at least 0, not -1"),
        ({"flip": 1}, "flip must be True or False, not 1"),
        (
            {"padding_mode": "mirror"},
            "padding_mode must be 'zeros', 'reflect', 'replicate' or 'circular', not 'mirror'",
        ),
        ({"dtype": "float8"}, "dtype must be 'float32', 'float64'"),
        ({"layout": "NHWC"}, "layout must be 'channels_first' or 'channels_last', not 'NHWC'"),
    ]:
        with pytest.raises(GeometryError) as caught:
            replace(problem, **wrong)
        assert str(caught.value).startswith(message)


def test_problems_are_keys():
    texts = [printed for _, printed in TEXTS]
    assert {Problem.parse(text): text for text in texts} == {Problem.parse(text): text for text in reversed(texts)}


def test_the_string_of_an_adjoint_with_an_unread_right_edge_parses_back():
    adjoint = Problem.parse("conv_transpose i3 k3 d3 op2").adjoint()
    assert str(adjoint) == "conv n1 ci1 co1 i11 k3 p0:-2 d3 f32"
    assert Problem.parse(str(adjoint)) == adjoint


def test_an_image_of_padding_alone_has_no_adjoint():
    with pytest.raises(GeometryError, match="a transposed convolution cannot give 0 cells"):
        Problem.parse("conv i7x0 k3x1 s3 d4 p1:2").adjoint()
