"""Twofold: convolution and its transpose, computed fast, computed exactly, and shown.

    conv, conv_transpose, conv_weight_gradient     any number of spatial axes
    conv1d … conv_transpose3d                      with the signatures of torch.nn.functional
    vjp                                            the gradients, for NumPy users
    accuracy                                       how exact results are to be, inside a `with`
    plan                                           how a problem is computed on this machine, and calls of it
    explain                                        what happens, step by step, with your own numbers
    Problem, Geometry, Axis                        the integers behind it

>>> import twofold as tf
>>> tf.conv2d([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 2], [3, 4]])
array([[37, 47],
       [67, 77]])
>>> tf.conv_transpose2d([[0, 1], [2, 3]], [[0, 1], [2, 3]])
array([[ 0,  0,  1],
       [ 0,  4,  6],
       [ 4, 12,  9]])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public names and where they live; each is loaded when first asked for, so that the import stays light.
_HOMES = {
    "accuracy": "accuracies",
    **dict.fromkeys(("FileError", "GeometryError", "TwofoldError", "UnsupportedError"), "errors"),
    **dict.fromkeys(("Axis", "Geometry", "Problem"), "geometry"),
    **dict.fromkeys(("conv", "conv1d", "conv2d", "conv3d"), "functional"),
    **dict.fromkeys(("conv_transpose", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), "functional"),
    **dict.fromkeys(("conv_weight_gradient", "vjp"), "functional"),
    **dict.fromkeys(("PackedWeight", "Plan", "plan"), "engine.plan"),
}
_ROOMS = ("explain", "files", "filters", "geometry")

__all__ = [*_HOMES, *_ROOMS, "__version__"]

if TYPE_CHECKING:
    from twofold import explain as explain
    from twofold import files as files
    from twofold import filters as filters
    from twofold.accuracies import accuracy as accuracy
    from twofold.engine.plan import PackedWeight as PackedWeight
    from twofold.engine.plan import Plan as Plan
    from twofold.engine.plan import plan as plan
    from twofold.errors import FileError as FileError
    from twofold.errors import GeometryError as GeometryError
    from twofold.errors import TwofoldError as TwofoldError
    from twofold.errors import UnsupportedError as UnsupportedError
    from twofold.functional import conv as conv
    from twofold.functional import conv1d as conv1d
    from twofold.functional import conv2d as conv2d
    from twofold.functional import conv3d as conv3d
    from twofold.functional import conv_transpose as conv_transpose
    from twofold.functional import conv_transpose1d as conv_transpose1d
    from twofold.functional import conv_transpose2d as conv_transpose2d
    from twofold.functional import conv_transpose3d as conv_transpose3d
    from twofold.functional import conv_weight_gradient as conv_weight_gradient
    from twofold.functional import vjp as vjp
    from twofold.geometry import Axis as Axis
    from twofold.geometry import Geometry as Geometry
    from twofold.geometry import Problem as Problem


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"twofold.{_HOMES[name]}"), name)
    elif name in _ROOMS:
        value = import_module(f"twofold.{name}")
    else:
        raise AttributeError(f"module 'twofold' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
