"""The harness behind `twofold bench`: our operations held against other libraries, on the same cores in one run.

    suite     the layers it is about, and any problem by its string
    peers/    one module per library: how it is called at its best
    case      what a peer is given and gives back;  onnx_model  a layer for those that read that format
    worker    the process a peer runs in;  process  the same seen from outside: answers, crashes, timeouts
    oracle    what is right, by torch in float64;  verdict  whether a result is
    machine   peak and bandwidth, measured in the same run
    race      one run, in turns
    result    what was measured, and its JSON;  figures  ratios and means;  report  tables

Importing it loads NumPy only; each peer is imported in its own process.
"""

from twofold.bench.peers import choose
from twofold.bench.race import Settings, race
from twofold.bench.report import markdown, remarks, tables, text
from twofold.bench.result import Run
from twofold.bench.suite import Entry, problems, suite

__all__ = [
    "Entry",
    "Run",
    "Settings",
    "choose",
    "markdown",
    "problems",
    "race",
    "remarks",
    "suite",
    "tables",
    "text",
]
