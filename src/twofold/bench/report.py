"""A run as tables: plain text for a terminal, Markdown for documents. Rows and words are made here, once, for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twofold.bench.figures import Figures, choices, figures, geometric_mean, means
from twofold.bench.result import Measured, Row, Run

__all__ = ["Table", "markdown", "remarks", "tables", "text"]

_FEW = 3  # samples; a median of fewer is marked


@dataclass(frozen=True, slots=True)
class Table:
    """A title, column heads and rows of words; all columns but the first are numbers, right-aligned."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(run: Run) -> list[Table]:
    """Return the table of ratios, the means, every peer's time on every row, and every algorithm's if measured."""
    what = "training step (forward and both gradients)" if run.training else "forward"
    found = [
        Table(
            f"{what}, milliseconds per call (median), ratios, percent", _HEADS, tuple(_ratios(run, r) for r in run.rows)
        ),
        Table("geometric means of the ratios", ("operation", "against torch", "against best"), _means(run)),
        Table(
            "every peer, milliseconds: median (least to most)",
            ("layer", "batch", *run.peers),
            tuple(
                (row.name, str(row.problem.batch), *(_cell(row.peers[name]) for name in run.peers)) for row in run.rows
            ),
        ),
    ]
    if any(row.ways for row in run.rows):
        found.append(Table("our algorithms, milliseconds, * the planned one", _WAYS, tuple(_ways(run))))
    return found


def remarks(run: Run) -> list[str]:
    """Return in words what was measured on what, and why a number is missing."""
    machine, settings = run.machine, run.settings
    copies = ", ".join(f"{rate:.0f} at {_mib(size)}" for size, rate in machine["copy_gbs"].items())
    peak = machine["fma_gflops"]
    lines = [
        f"{machine['cpu']}, {machine['threads']} thread{'s' * (machine['threads'] > 1)}; {run.date[:10]}; "
        f"twofold {run.version}, Python {machine['python']}, NumPy {machine['numpy']}",
        f"peak {peak['float32']:.0f} GFLOP/s in float32, {peak['float64']:.0f} in float64 ({machine['peak_is']}); "
        f"copy, read + written GB/s: {copies}",
        _load_text(run),
        f"about {settings['seconds']:g} s per peer and layer in {settings['rounds']} rounds, in turns; "
        f"~ marks a median of fewer than {_FEW} samples",
        "versions: " + ", ".join(_versions(run)),
    ]
    lines.append(f"ours with accuracy {run.settings.get('accuracy', 'strict')}")  # results of before had no other
    return lines + _choices_text(run) + _absences(run)


def text(table: Table) -> str:
    """Return the table as aligned text.

    >>> print(text(Table("times", ("layer", "ms"), (("a", "12.5"), ("long", "1")))))
    times
    layer    ms
    a      12.5
    long      1
    """
    lines = [table.heads, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.heads))]
    return "\n".join([table.title, *(_aligned(line, widths) for line in lines)])


def markdown(run: Run) -> str:
    """Return the whole report as a Markdown page."""
    title = f"# twofold bench: {run.machine['cpu']}, {run.date[:10]}"
    parts = [title, "\n".join(f"- {_escaped(line)}" for line in remarks(run))]
    for table in tables(run):
        rule = "|".join(["---", *["---:"] * (len(table.heads) - 1)])
        lines = [f"| {' | '.join(map(_escaped, line))} |" for line in (table.heads, *table.rows)]
        lines.insert(1, f"|{rule}|")
        parts += [f"## {table.title.capitalize()}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


_HEADS = (
    "layer", "batch", "twofold", "packed once", "torch", "best peer", "against torch", "against best", "of peak",
    "of limit",
)  # fmt: skip


_WAYS = ("layer", "batch", "layout", "planned", "best", "planned / best", "each")


def _ways(run: Run) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for row in run.rows:
        wrong = [f"{way.algorithm} {_status(way.measured)}" for way in row.ways if way.measured.status != "ok"]
        for choice in choices(row):
            each = [
                f"{name}{'*' * (name == choice.planned)} {1e3 * seconds:.3g}"
                for name, seconds in choice.seconds.items()
            ]
            ratio = f"{choice.ratio:.2f}"
            shown = (row.name, str(row.problem.batch), choice.layout, choice.planned, choice.best, ratio)
            lines.append((*shown, ", ".join(each + wrong)))
        if not choices(row):
            lines.append((row.name, str(row.problem.batch), "-", "-", "-", "-", ", ".join(wrong)))
    return lines


def _choices_text(run: Run) -> list[str]:
    every = [choice.ratio for row in run.rows for choice in choices(row)]
    if not every:
        return []
    near = sum(ratio <= 1.05 for ratio in every)
    return [
        f"the planned algorithm is within 5 % of the best on {near} of {len(every)} layers and layouts; "
        f"geometric mean of planned / best {geometric_mean(every):.3f}, worst {max(every):.2f}"
    ]


def _ratios(run: Run, row: Row) -> tuple[str, ...]:
    found: Figures = figures(run, row)
    return (
        row.name,
        str(row.problem.batch),
        _family(run, row, "twofold"),
        _family(run, row, "twofold-packed"),
        _named(row, found.torch, "torch") if found.torch else _family(run, row, "torch"),
        _named(row, found.peer),
        _times(found.against_torch),
        _times(found.against_best),
        _percent(found.of_peak),
        f"{_percent(found.of_limit)} {found.limit}" if found.of_limit is not None else "-",
    )


def _family(run: Run, row: Row, family: str) -> str:
    # The better form of a family; where none was timed, what is the matter with the first.
    every = [row.peers[name] for name, facts in run.peers.items() if facts["family"] == family]
    timed = [measured for measured in every if measured.status == "ok"]
    if any(measured.status == "wrong" for measured in every):
        return "WRONG"
    if timed:
        return _milliseconds(min(timed, key=lambda measured: measured.seconds))
    return _status(every[0]) if every else "-"


def _named(row: Row, name: str | None, but: str = "") -> str:
    if name is None:
        return "-"
    return _milliseconds(row.peers[name]) + (f" {name}" if name != but else "")


def _cell(measured: Measured) -> str:
    if measured.status != "ok":
        return _status(measured)
    least, most = min(measured.samples) * 1e3, max(measured.samples) * 1e3
    return f"{_milliseconds(measured)} ({least:.3g} to {most:.3g})"


def _status(measured: Measured) -> str:
    if measured.reason.startswith("not yet"):
        return "not yet"
    return "WRONG" if measured.status == "wrong" else measured.status


def _milliseconds(measured: Measured) -> str:
    milliseconds = measured.seconds * 1e3
    digits = f"{milliseconds:.0f}" if milliseconds >= 1000 else f"{milliseconds:.3g}"
    return ("~" if len(measured.samples) < _FEW else "") + digits


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.0f} %" if part >= 0.1 else f"{100 * part:.2g} %"


def _means(run: Run) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            mean.op,
            f"{_times(mean.against_torch)} ({mean.torch_rows} layers)",
            f"{_times(mean.against_best)} ({mean.best_rows} layers)",
        )
        for mean in means(run)
    )


def _versions(run: Run) -> list[str]:
    families = {str(facts["family"]): facts["version"] for facts in run.peers.values()}
    return [f"{family} {version}" for family, version in families.items() if version and family != "twofold-packed"]


def _load_text(run: Run) -> str:
    load = run.machine["load"]
    if load is None:
        return "how busy the machine was is not known"
    before, after = load
    return f"load average {before:.1f} before and {after:.1f} after, on {run.machine['present']} cores; ours adds 1"


def _absences(run: Run) -> list[str]:
    # One line per peer and reason, with the layers it holds for unless it holds for all.
    lines = []
    for name in run.peers:
        where: dict[str, list[str]] = {}
        for row in run.rows:
            measured = row.peers[name]
            if measured.status != "ok":
                word = {"wrong": "WRONG: ", "crashed": "crashed: ", "timeout": "timeout: ", "failed": "failed: "}.get(
                    measured.status, ""
                )
                where.setdefault(word + measured.reason, []).append(f"{row.name} (batch {row.problem.batch})")
        for reason, layers in where.items():
            held = "" if len(layers) == len(run.rows) else f" [{', '.join(layers)}]"
            lines.append(f"{name}: {reason}{held}")
    return lines


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        word.ljust(width) if i == 0 else word.rjust(width)
        for i, (word, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


def _escaped(word: str) -> str:
    return word.replace("|", "\\|").replace("<", "&lt;").replace("~", "\\~").replace("*", "\\*").replace("\n", " ")


def _mib(size: str) -> str:
    return f"{int(size) >> 20} MiB"
