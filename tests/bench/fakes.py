"""Peers that misbehave, each by its name: what the harness must survive. Imported in the worker's process."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from twofold.bench.case import Cannot, Prepared, guest
from twofold.bench.peers import ours


def prepare(case):
    if case.variant == "dies-loading":
        os.abort()
    if case.variant == "absent":
        guest("no_such_peer", "no-such-peer")
    if case.variant == "unwilling":
        raise Cannot("does not do this")
    if case.variant == "faulty":
        raise ValueError("first line\nsecond line")
    right = ours.prepare(_as_ours(case))
    calls = {
        "right": right.call,
        "sleeps-once": right.call if case.transposed else lambda: time.sleep(60),
        "dies": lambda: (print("last words", file=sys.stderr, flush=True), os._exit(3)),
        "dies-later": _after(3, right.call, lambda: os._exit(4)),
        "chatty": lambda: (print("{not json"), os.write(1, b"noise\n"), right.call())[2],
    }
    if case.variant.startswith("wrong"):
        return Prepared(_counted(right.call), lambda y: (_spoiled(right.arrays(y)[0], case.variant),))
    return Prepared(calls[case.variant], right.arrays)


def _counted(call):
    # Leaves a mark per call, for the test that a wrong peer is not timed.
    def run():
        with Path(os.environ["FAKE_CALLS"]).open("a") as file:
            file.write("x")
        return call()

    return run


def _after(calls, first, then):
    seen = []

    def run():
        seen.append(1)
        return first() if len(seen) < calls else then()

    return run


def _spoiled(y, variant):
    y = y.copy()
    if variant == "wrong-by-one":
        y.flat[5] += 0.01
    if variant == "wrong-nan":
        y.flat[5] = np.nan
    if variant == "wrong-shape":
        return y[:, :1]
    if variant == "wrong-bf16":  # what a silent lower precision does
        y = (y.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    return y


def _as_ours(case):
    from dataclasses import replace

    return replace(case, variant="twofold")
