"""What `import twofold` offers, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import twofold

FUNCTIONS = {"conv", "conv1d", "conv2d", "conv3d", "conv_transpose", "conv_transpose1d", "conv_transpose2d"}
FUNCTIONS |= {"conv_transpose3d", "accuracy", "conv_weight_gradient", "plan", "vjp"}
TYPES = {"Axis", "Geometry", "PackedWeight", "Plan", "Problem"}
ERRORS = {"FileError", "GeometryError", "TwofoldError", "UnsupportedError"}
ROOMS = {"explain", "files", "filters", "geometry"}
HEAVY = ("llvmlite", "torch", "PIL", "typer", "scipy", "dask", "rich", "triton", "onnx", "ml_dtypes", "matplotlib")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_exported_names_are_these():
    assert set(twofold.__all__) == FUNCTIONS | TYPES | ERRORS | ROOMS | {"__version__"}
    assert len(twofold.__all__) == len(set(twofold.__all__))
    assert set(dir(twofold)) == set(twofold.__all__)


@pytest.mark.parametrize("name", sorted(FUNCTIONS | TYPES | ERRORS | ROOMS))
def test_every_exported_name_loads_and_says_what_it_is(name):
    value = getattr(twofold, name)
    assert value is getattr(twofold, name)
    assert value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'twofold' has no attribute 'deconv'"):
        twofold.deconv  # noqa: B018


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert twofold.__version__ == version("twofold")


def test_importing_loads_nothing_heavy_and_neither_does_a_convolution_of_numpy_arrays():
    code = "import sys, twofold; {}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    for action in ("pass", "twofold.conv2d([[1, 2], [3, 4]], [[1]])", "twofold.Problem.parse('i5 k3')"):
        assert not set(run(code.format(action)).split()) & set(HEAVY)


def test_a_star_import_gives_the_exported_names():
    names = set(run("from twofold import *; print(*dir())").split())
    assert names >= FUNCTIONS | TYPES | ERRORS | ROOMS
    assert not {name for name in names if not name.startswith("__")} - set(twofold.__all__)


def test_errors_are_also_the_errors_of_python_that_people_catch():
    assert issubclass(twofold.GeometryError, ValueError) and issubclass(twofold.UnsupportedError, TypeError)
    assert issubclass(twofold.FileError, ValueError)
    assert all(issubclass(getattr(twofold, name), twofold.TwofoldError) for name in ERRORS)
