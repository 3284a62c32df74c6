"""The error tree: what was wrong, where, and the change that repairs it.

    TwofoldError
    ├── GeometryError     (ValueError)   sizes or parameters that no convolution can have, or that do not fit in memory
    ├── UnsupportedError  (TypeError)    an array, dtype or option that this library does not take
    └── FileError         (ValueError)   a file that cannot be read or written safely

Integer results that fit no 64-bit integer raise Python's own `OverflowError`.

An error is raised deep, where the rule is known, and enriched once at the public door, where the call is known:

    GeometryError: kernel does not fit: (kernel_size 3 - 1) * dilation 4 + 1 = 9 cells, but input 5 + padding 0 + 0 = 5
      in conv(x (1, 1, 5), weight (1, 1, 3), dilation=4), axis width
      try padding=2, or dilation at most 2
"""

from __future__ import annotations

__all__ = ["FileError", "GeometryError", "TwofoldError", "UnsupportedError"]


class TwofoldError(Exception):
    """Everything this library refuses. `rule` holds the numbers, `repair` what to type instead.

    >>> error = GeometryError("stride must be at least 1, not 0", axis="width", repair="stride=1")
    >>> error.call = "conv(x (1, 1, 5), weight (1, 1, 3), stride=0)"
    >>> print(error)
    stride must be at least 1, not 0
      in conv(x (1, 1, 5), weight (1, 1, 3), stride=0), axis width
      try stride=1
    >>> print(error.sentence)
    stride must be at least 1, not 0 (axis width); try stride=1
    """

    def __init__(self, rule: str, *, axis: str | None = None, repair: str | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.axis = axis
        self.repair = repair
        self.call: str | None = None  # written by the public door: the call as the user would recognise it

    def __str__(self) -> str:
        place = [f"in {self.call}"] if self.call else []
        place += [f"axis {self.axis}"] if self.axis else []
        lines = [self.rule]
        lines += ["  " + ", ".join(place)] if place else []
        lines += [f"  try {self.repair}"] if self.repair else []
        return "\n".join(lines)

    @property
    def sentence(self) -> str:
        """The same on one line and without the call, for the command line and the page."""
        axis = f" (axis {self.axis})" if self.axis else ""
        repair = f"; try {self.repair}" if self.repair else ""
        return f"{self.rule}{axis}{repair}"

    def __reduce__(self) -> tuple[object, ...]:
        # An exception with keyword arguments does not survive pickling (worker processes) by itself.
        return _rebuild, (type(self), self.rule, self.axis, self.repair, self.call)


class GeometryError(TwofoldError, ValueError):
    """No such convolution exists: a size, a parameter or a shape breaks a rule, or the result exceeds memory."""


class UnsupportedError(TwofoldError, TypeError):
    """The array, dtype or option is not one this library takes."""


class FileError(TwofoldError, ValueError):
    """The file cannot be read or written safely."""


def _rebuild(
    kind: type[TwofoldError], rule: str, axis: str | None, repair: str | None, call: str | None
) -> TwofoldError:
    error = kind(rule, axis=axis, repair=repair)
    error.call = call
    return error
