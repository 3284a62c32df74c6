"""What the planner hands to compiled code: tables of 64-bit numbers, each field named once, here.

    LAUNCH   one call: the arrays, their strides, the counters by which threads share the jobs
    NOW      one job in one thread: where its inputs, weights, results and scratch memory begin
    JOB      a line of the job table: a region of the output, its patch of the input, its part of the program
    ENTRY    a line of a program: one micro-kernel on one tile, or one store of finished pixels

Offsets and pitches are in bytes, counts in cells.
"""

from __future__ import annotations

from twofold.engine.emit import Function, Value

__all__ = ["ENTRY", "JOB", "LAUNCH", "NOW", "Record"]


class Record:
    """Named fields of 8 bytes each."""

    def __init__(self, *fields: str) -> None:
        self.fields = fields
        self.index = {field: i for i, field in enumerate(fields)}
        self.bytes = 8 * len(fields)

    def offset(self, field: str) -> int:
        """Return where a field begins."""
        return 8 * self.index[field]

    def line(self, **fields: int) -> tuple[int, ...]:
        """Return a line of a table; fields that are not given are zero."""
        assert fields.keys() <= self.index.keys()
        return tuple([fields.get(field, 0) for field in self.fields])

    def get(self, f: Function, record: Value, field: str, type_: str = "i64") -> Value:
        """Write the load of a field."""
        return f.load(type_, record + self.offset(field), 8)

    def put(self, f: Function, record: Value, field: str, value: Value) -> None:
        """Write the store of a field."""
        f.store(value, record + self.offset(field), 8)


_AXES = ("d", "h", "w")

LAUNCH = Record(
    "x", "y", "weights", "bias", "residual", "scratch",
    "next", "slots",  # counters that threads add to
    "chunk", "count",  # jobs taken at a time; jobs in all
    "scratch_bytes", "patch", "rows",  # per thread; where in it the patch and the row buffer begin
    "jobs", "per_block", "images", "batch",  # the job table, its length, images of a block of jobs, images in all
    "program", "pack",  # the entries; the function that packs a patch
    "y_image",  # bytes of one image of y
    "x_n", "x_c", *(f"x_{a}" for a in _AXES),  # strides of x
    *(f"size_{a}" for a in _AXES), *(f"step_{a}" for a in _AXES),  # of x in cells; cells between neighbours of a plane
    *(f"planes_{a}" for a in _AXES), *(f"residues_{a}" for a in _AXES),  # how many planes; their residues
    *(f"room_{a}" for a in _AXES),  # cells of a plane in the patch
    "pixel", "line", "slab", "block", "image",  # pitches of the patch: a pixel, a line, all lines of a depth, …
    "slope",  # of LeakyReLU, as the bits of a double
    "marks",  # a byte for each image, set where transforms met a number that is not finite
)  # fmt: skip

NOW = Record(
    "patch", "rows", "y", "residual", "weights", "bias", "images", "blocks", "last", "block", "slope",
    "x",  # the cell at which the patch begins, for kernels that read the input in place
    "raw",  # weights that are not packed yet, for programs that pack them
    "marks",  # of the first image of the job
)  # fmt: skip

JOB = Record(
    "image", "group", "first_d", "first_h", "first_w", "y", "weights", "bias", "start", "stop", "packs",
    "blocks", "last",  # input channel blocks, and the channels of the last one
)  # fmt: skip

ENTRY = Record(
    "op", "image", "taps", "count", "src", "src_row", "weights", "weights_block", "bias", "base", "dst", "pitch",
    "dst_row", "pixels", "lanes", "step",
)  # fmt: skip
