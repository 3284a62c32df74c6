"""What a run measured: frozen facts, and the JSON they are kept in.

    {"schema": 1, "twofold": version, "date": ISO 8601, "training": bool,
     "machine": {"cpu", "system", "python", "numpy", "threads", "cores": pinned to, "present": cores in all,
                 "load": load average before and after, or null, "fma_gflops": {dtype: rate}, "peak_is",
                 "copy_gbs": {bytes of the working set: rate}},
     "settings": {"seconds": per peer and problem, "rounds", "timeout", "accuracy": of our own columns},
     "peers": {name: {"family", "version"}},
     "rows": [{"name", "problem", "batch", "multiplications", "bytes",
               "peers": {name: {"status", "reason", "error", "share", "samples": [seconds per call, …]}},
               "ways": [{"layout", "algorithm", "planned": bool, "status", …, "samples"}]   with --all-algorithms}]}

status is ok, wrong (then not timed), cannot, missing, failed, crashed or timeout; all but ok have a reason. error is
the worst element over the largest output, share the worst element over the bound of a direct sum (`oracle`, `verdict`);
null where they are not finite.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from twofold.errors import FileError
from twofold.geometry import Problem

__all__ = ["SCHEMA", "Measured", "Row", "Run", "Way"]

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """One peer on one problem. Samples are seconds per call; there are none unless the status is ok."""

    status: str
    reason: str = ""
    error: float | None = None
    share: float | None = None
    samples: tuple[float, ...] = ()

    @property
    def seconds(self) -> float:
        """The median of the samples.

        >>> Measured("ok", samples=(3.0, 1.0, 2.0)).seconds
        2.0
        """
        return median(self.samples)


@dataclass(frozen=True, slots=True)
class Way:
    """One of our algorithms in one layout on one problem, and whether the plan takes it."""

    layout: str
    algorithm: str
    planned: bool
    measured: Measured


@dataclass(frozen=True, slots=True)
class Row:
    """All peers on one problem, by name; and our own algorithms, if they were asked for."""

    name: str
    problem: Problem
    peers: Mapping[str, Measured]
    ways: tuple[Way, ...] = ()

    @property
    def work(self) -> int:
        """Floating point operations: two for each multiplication that the layer is made of, padding counted."""
        return 2 * self.problem.multiplications

    @property
    def traffic(self) -> int:
        """Bytes of input, weight and output, each moved once."""
        shapes = (self.problem.fine_shape, self.problem.coarse_shape, self.problem.weight_shape)
        return sum(map(math.prod, shapes)) * (8 if self.problem.dtype == "float64" else 4)


@dataclass(frozen=True, slots=True)
class Run:
    """Everything of one run. `peers` maps each name to its family and version."""

    version: str
    date: str
    training: bool
    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    peers: Mapping[str, Mapping[str, str | None]]
    rows: tuple[Row, ...] = field(default=())

    def fields(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "schema": SCHEMA,
            "twofold": self.version,
            "date": self.date,
            "training": self.training,
            "machine": dict(self.machine),
            "settings": dict(self.settings),
            "peers": {name: dict(facts) for name, facts in self.peers.items()},
            "rows": [_row_fields(row) for row in self.rows],
        }

    def json(self) -> str:
        """Return the JSON text, one row of the table per line."""
        head = {**self.fields(), "rows": None}
        rows = ",\n".join("  " + json.dumps(_row_fields(row), allow_nan=False) for row in self.rows)
        return json.dumps(head, indent=1, allow_nan=False).replace('"rows": null', f'"rows": [\n{rows}\n ]') + "\n"

    @classmethod
    def read(cls, text: str) -> Run:
        """Read what `json` wrote; raises `FileError` if it is something else."""
        try:
            fields = json.loads(text)
            if fields["schema"] != SCHEMA:
                raise FileError(f"this is a result of schema {fields['schema']}, not {SCHEMA}")
            rows = tuple(_row(row) for row in fields["rows"])
            return cls(
                fields["twofold"], fields["date"], fields["training"], fields["machine"], fields["settings"],
                fields["peers"], rows,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, FileError):
                raise
            raise FileError(
                "this is no result of twofold bench", repair="a file that 'twofold bench -o' wrote"
            ) from error


def _row_fields(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "problem": str(row.problem),
        "batch": row.problem.batch,
        "multiplications": row.problem.multiplications,
        "bytes": row.traffic,
        "peers": {name: _measured_fields(measured) for name, measured in row.peers.items()},
        **({"ways": [_way_fields(way) for way in row.ways]} if row.ways else {}),
    }


def _way_fields(way: Way) -> dict[str, Any]:
    named = {"layout": way.layout, "algorithm": way.algorithm, "planned": way.planned}
    return named | _measured_fields(way.measured)


def _measured_fields(measured: Measured) -> dict[str, Any]:
    return {
        "status": measured.status,
        "reason": measured.reason,
        "error": _finite(measured.error),
        "share": _finite(measured.share),
        "samples": [float(f"{sample:.4g}") for sample in measured.samples],
    }


def _finite(number: float | None) -> float | None:
    return float(f"{number:.3g}") if number is not None and math.isfinite(number) else None


def _row(fields: Mapping[str, Any]) -> Row:
    peers = {name: _measured(measured) for name, measured in fields["peers"].items()}
    ways = tuple(Way(way["layout"], way["algorithm"], way["planned"], _measured(way)) for way in fields.get("ways", ()))
    return Row(fields["name"], Problem.parse(fields["problem"]), peers, ways)


def _measured(fields: Mapping[str, Any]) -> Measured:
    samples = tuple(map(float, fields["samples"]))
    return Measured(fields["status"], fields["reason"], fields["error"], fields["share"], samples)
