"""The driver: what every thread runs. It takes jobs off a counter, packs the patch of each and runs its program."""

from __future__ import annotations

from twofold.engine.emit import Function, Module, Value
from twofold.engine.records import ENTRY, JOB, LAUNCH, NOW

__all__ = ["NAME", "emit"]

NAME = "work"
_KEPT = ("block", "slope")  # that are the same for every job


def emit(module: Module) -> None:
    """Write `void work(launch)`, which may be called on any number of threads at once."""
    f = module.function(NAME, launch="ptr")
    slot = _add(f, "slots", f.constant(1))
    scratch = LAUNCH.get(f, f.launch, "scratch", "ptr") + slot * LAUNCH.get(f, f.launch, "scratch_bytes")
    now = f.stack(NOW.bytes)
    for field in ("patch", "rows"):
        NOW.put(f, now, field, scratch + LAUNCH.get(f, f.launch, field))
    for field in _KEPT:
        NOW.put(f, now, field, LAUNCH.get(f, f.launch, field))
    chunk, count = LAUNCH.get(f, f.launch, "chunk"), LAUNCH.get(f, f.launch, "count")
    first = _add(f, "next", chunk)
    with f.forever(first) as (taken, again):
        f.return_unless(f.compare("slt", taken, count))
        with f.loop(f.least(taken + chunk, count), start=taken) as number:
            _job(f, now, number.index)
        again(_add(f, "next", chunk))


def _add(f: Function, field: str, number: Value) -> Value:
    at = f.launch + LAUNCH.offset(field)
    return f.let("i64", f"atomicrmw add ptr {at.text}, i64 {number.text} monotonic")


def _job(f: Function, now: Value, number: Value) -> None:
    per_block, images = LAUNCH.get(f, f.launch, "per_block"), LAUNCH.get(f, f.launch, "images")
    block, line = number // per_block, number % per_block
    job = LAUNCH.get(f, f.launch, "jobs", "ptr") + line * JOB.bytes
    image = f.least(block * images, LAUNCH.get(f, f.launch, "batch") - images)  # the last block reaches back
    group = JOB.get(f, job, "group")
    x = LAUNCH.get(f, f.launch, "x", "ptr") + image * LAUNCH.get(f, f.launch, "x_n")
    x = x + group * LAUNCH.get(f, f.launch, "x_c")
    corner = x
    for axis in "dhw":
        cell = JOB.get(f, job, f"first_{axis}") * LAUNCH.get(f, f.launch, f"step_{axis}")
        corner = corner + cell * LAUNCH.get(f, f.launch, f"x_{axis}")
    NOW.put(f, now, "x", corner)
    from_y = image * LAUNCH.get(f, f.launch, "y_image") + JOB.get(f, job, "y")
    for field in ("y", "residual"):
        NOW.put(f, now, field, LAUNCH.get(f, f.launch, field, "ptr") + from_y)
    for field in ("weights", "bias"):
        NOW.put(f, now, field, LAUNCH.get(f, f.launch, field, "ptr") + JOB.get(f, job, field))
    NOW.put(f, now, "raw", NOW.get(f, now, "weights", "ptr"))
    for field in ("blocks", "last"):
        NOW.put(f, now, field, JOB.get(f, job, field))
    NOW.put(f, now, "images", images)
    NOW.put(f, now, "marks", LAUNCH.get(f, f.launch, "marks", "ptr") + image)
    with f.when(f.compare("ne", JOB.get(f, job, "packs"), 0)):
        f.call(LAUNCH.get(f, f.launch, "pack", "ptr"), f.launch, now, job, x)
    program = LAUNCH.get(f, f.launch, "program", "ptr")
    with f.loop(JOB.get(f, job, "stop"), start=JOB.get(f, job, "start")) as at:
        entry = program + at.index * ENTRY.bytes
        f.call(ENTRY.get(f, entry, "op", "ptr"), now, entry)
