"""Comparison page of several runs, with different logs or different settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from markupsafe import Markup

from pipeline.errors import DataError
from pipeline.evaluation.report import words
from pipeline.evaluation.report.across import Relative, relative_figure
from pipeline.evaluation.report.folder import Record, read_documents
from pipeline.evaluation.report.page import render_page
from pipeline.evaluation.report.tables import Cell, Row, Table, settings, spread
from pipeline.evaluation.report.verdict import verdict
from pipeline.evaluation.summary import OURS, RECALL, STREAM

FILE_NAME = "comparison.html"


@dataclass(frozen=True)
class Run:
    """Run of a comparison.

    Attributes:
        name: its folder's, or its whole path where names are not unique.
        metrics: `metrics.json`.
        run: `run.json`, or None.
    """

    name: str
    metrics: Record
    run: Record | None


@dataclass(frozen=True)
class Section:
    """Section of the page: a table and a note."""

    id: str
    title: str
    table: Table
    note: str


def build_comparison(folders: Sequence[Path], out: Path) -> Path:
    """Write a page that compares runs.

    Args:
        folders: of the runs, at least two.
        out: path of the page, which needs no other file; equal runs give equal bytes.

    Returns:
        `out`.

    Raises:
        DataError: a folder is given twice, or is not that of a finished run.
        OSError: a file cannot be read or written.
    """
    paths = [folder.resolve() for folder in folders]
    twice = sorted({str(folder) for folder, path in zip(folders, paths, strict=True) if paths.count(path) > 1})
    if twice:
        raise DataError(f"{twice[0]} is given twice; name each run once")
    names = [path.name for path in paths]
    unique = len(set(names)) == len(names)
    runs = [
        Run(path.name if unique else str(folder), *read_documents(folder))
        for folder, path in zip(folders, paths, strict=True)
    ]
    out.write_text(render_comparison(runs), encoding="utf-8", errors="replace")
    return out


def render_comparison(runs: Sequence[Run]) -> str:
    """Render the page of several runs."""
    return render_page(
        "compare.html",
        runs=[
            {
                "name": run.name,
                "dataset": run.metrics["dataset"],
                "protocol": run.metrics["protocol"],
                "seeds": len(run.metrics["seeds"]),
            }
            for run in runs
        ],
        verdict=[f"{run.name}: {verdict(run.metrics)[0]}" for run in runs],
        sections=_sections(runs),
        relative=_relative(runs),
        differing=_differing(runs),
    )


def _sections(runs: Sequence[Run]) -> list[Section]:
    spread = "Mean ± sample standard deviation over seeds, users with history; a dot marks the best of a run."
    joint = (
        "raie minus the other on F+T, with the simultaneous 95% interval over all strategies of the run; one that "
        "excludes zero is set bold."
    )
    cost = "Windows trained on after set-up, each pass counted, mean over seeds."
    return [
        Section("adaptation", "Adaptation: Recall@10 on F+T", _recalls(runs, STREAM), spread),
        Section("retention", "Retention: Recall@10 on S_new", _recalls(runs, "S_new"), spread),
        Section("differences", "Differences with intervals", _differences(runs), joint),
        Section("cost", "Cost: windows trained on", _costs(runs), cost),
    ]


def strategies_of(runs: Sequence[Run]) -> list[str]:
    """Strategies of all runs, by mean relative rank on the stream in the runs that have them."""
    ranks: dict[str, list[float]] = {}
    for run in runs:
        ranked = words.ranked(run.metrics, STREAM)
        for rank, name in enumerate(ranked):
            ranks.setdefault(name, []).append(rank / len(ranked))
    return sorted(ranks, key=lambda name: (fmean(ranks[name]), name))


def _recalls(runs: Sequence[Run], slice_name: str) -> Table:
    figures = [{n: row[slice_name][RECALL] for n, row in run.metrics["strategies"].items()} for run in runs]
    best = [max((f["mean"] for f in of_run.values() if f["mean"] is not None), default=None) for of_run in figures]

    def cell(name: str, number: int) -> Cell:
        figure = figures[number].get(name)
        if figure is None or figure["mean"] is None:
            return Cell("–")
        return Cell(f"{figure['mean']:.4f}", figure["mean"] == best[number], spread(figure))

    return _table(runs, cell)


def _differences(runs: Sequence[Run]) -> Table:
    found = [{r["b"]: r for r in run.metrics["comparisons"] if r["slice"] == STREAM} for run in runs]

    def cell(name: str, number: int) -> Cell:
        row = found[number].get(name)
        if row is None:
            return Cell("–")
        low, high = row.get("simultaneous_low", row["low"]), row.get("simultaneous_high", row["high"])
        interval = f"{words.signed(low)} to {words.signed(high)}"
        return Cell(words.signed(row["difference"]), low > 0 or high < 0, interval)

    return _table(runs, cell)


def _costs(runs: Sequence[Run]) -> Table:
    def cell(name: str, number: int) -> Cell:
        row = runs[number].metrics["strategies"].get(name)
        return Cell("–" if row is None else f"{fmean(row['trained_windows']):,.0f}")

    return _table(runs, cell)


def _table(runs: Sequence[Run], cell: Callable[[str, int], Cell]) -> Table:
    rows = [Row(n, n == OURS, [cell(n, i) for i in range(len(runs))]) for n in strategies_of(runs)]
    return Table([run.name for run in runs], rows)


def _relative(runs: Sequence[Run]) -> Markup | None:
    marks: list[Relative] = []
    for number, run in enumerate(runs):
        for panel in (STREAM, "S_new"):
            ours = words.mean(run.metrics, OURS, panel) if OURS in run.metrics["strategies"] else None
            if not ours:
                return None
            for name in run.metrics["strategies"]:
                mean = words.mean(run.metrics, name, panel)
                if mean is not None and name != OURS:
                    marks.append(Relative(name, number, panel, mean / ours - 1.0))
    order = [name for name in strategies_of(runs) if name != OURS]
    if not order:
        return None
    alt = "Recall@10 of each strategy relative to raie, one mark per run"
    return relative_figure("relative", alt, marks, order, [run.name for run in runs])


def _differing(runs: Sequence[Run]) -> Table:
    """Table of settings, versions and data hashes that differ between runs."""
    flat = [_flat(run.run) for run in runs]
    keys = sorted({key for of_run in flat for key in of_run})
    rows = [
        Row(key, False, [Cell(of_run.get(key, "unknown")) for of_run in flat])
        for key in keys
        if len({of_run.get(key, "unknown") for of_run in flat}) > 1
    ]
    return Table([run.name for run in runs], rows)


def _flat(run: Mapping[str, Any] | None) -> dict[str, str]:
    keys = ("config", "versions", "data_sha256", "seeds", "slices")
    flat = dict(settings({key: run[key] for key in keys if key in run})) if run else {}
    # The first bytes of a hash identify a log, and keep the table narrow.
    return {key: value[:16] if key == "data_sha256" else value for key, value in flat.items()}
