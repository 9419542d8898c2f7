"""Tables of the report: cells as text, with the best of each column marked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from pipeline.evaluation.report.words import Metrics, ranked
from pipeline.evaluation.summary import METRICS, OURS, RECALL, STREAM
from pipeline.metrics.continual import LOWER_IS_BETTER, MEASURES
from pipeline.metrics.ranking import LIST_LENGTH

EDITS_SHOWN = 200
"""Maximum number of rows of the table of edits."""

TARGETS = {
    "warm_target": "known in S",
    "cold_target": "new since S",
    "target_first": "new: first interaction",
    "target_2_to_5": "new: 2nd to 5th",
    "target_later": "new: later",
}
"""Segments of the stream by target, in the order of their table, with its titles."""

SPLITS = {name: name.replace("_", " ") for name in ("known_user", "new_user", "edited", "untouched")}
"""Segments of the stream by user and set-up region, in the order of their table, with its titles."""

_NDCG = f"ndcg@{LIST_LENGTH}"
_TITLES = {"recall": "Recall", "ndcg": "NDCG", "mrr": "MRR", "auc": "AUC"}
_RECALL_COLUMNS = ("F", "T", STREAM, "S_new", "S")


@dataclass(frozen=True, slots=True)
class Cell:
    """Cell of a table: its text, a mark for the best of a column, and a smaller second line."""

    text: str
    best: bool = False
    spread: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Row of a table: its name, a mark for `raie`, and its cells."""

    name: str
    ours: bool
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """Table: titles of the columns after the first, and rows."""

    columns: list[str]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    values: list[float | None]
    texts: list[str]
    spreads: list[str]
    high_is_good: bool = True

    def cells(self) -> list[Cell]:
        """Cells with the best values marked, unless all are equal."""
        known = [value for value in self.values if value is not None]
        best = (max if self.high_is_good else min)(known) if len(set(known)) > 1 else None
        triples = zip(self.values, self.texts, self.spreads, strict=True)
        return [Cell(text, value is not None and value == best, spread) for value, text, spread in triples]


def strategies(metrics: Metrics, timings: Mapping[str, Any] | None) -> Table:
    """Table of all strategies, best on the stream first."""
    names = ranked(metrics, STREAM)
    rows = [metrics["strategies"][name] for name in names]
    coverage: list[float | None] = [row["coverage"] for row in rows]
    cost: list[float | None] = [fmean(row["trained_windows"]) for row in rows]
    memory = [fmean(row["kept_bytes"]) / 1e3 if "kept_bytes" in row else None for row in rows]
    seconds = [_seconds(timings, name) for name in names]
    columns = [
        *(_figures(f"{name} Recall@10", [row[name][RECALL] for row in rows]) for name in _RECALL_COLUMNS),
        _figures(f"{STREAM} NDCG@10", [row[STREAM][_NDCG] for row in rows]),
        _plain("coverage", coverage, "{:.2%}", high_is_good=True),
        _plain("trained windows", cost, "{:,.0f}", high_is_good=False),
        *([_plain("memory, kB", memory, "{:,.1f}", high_is_good=False)] if any(memory) else []),
        _plain("seconds", seconds, "{:,.1f}", high_is_good=False),
    ]
    return _table(names, columns)


def lengths(metrics: Metrics) -> Table:
    """Table of further metrics on the stream: other list lengths, MRR, AUC."""
    names = ranked(metrics, STREAM)
    rows = [metrics["strategies"][name][STREAM] for name in names]
    keys = [key for key in (*METRICS, "auc") if key not in (RECALL, _NDCG) and all(key in row for row in rows)]
    columns = [_bare(_metric_title(key), [row[key]["mean"] for row in rows]) for key in keys]
    return _table(names, columns)


def segments(metrics: Metrics, titles: Mapping[str, str]) -> Table | None:
    """Table of Recall@10 on the stream by segment; None for a run without segments.

    Args:
        metrics: of the run.
        titles: of the columns, by segment; those that the run lacks are left out.
    """
    names = ranked(metrics, STREAM)
    if "splits" not in metrics:
        return None
    split = [metrics["strategies"][name]["splits"][STREAM] for name in names]
    sizes = {name: fmean(counts) for name, counts in metrics["splits"][STREAM].items() if name != "regions"}
    columns = [
        _bare(f"{title} ({sizes[name]:,.0f})", [row[name][RECALL]["mean"] for row in split])
        for name, title in titles.items()
        if name in sizes
    ]
    return _table(names, columns)


def measures(metrics: Metrics) -> Table | None:
    """Table of the continual measures; None for a run without a continual run."""
    if "continual" not in metrics:
        return None
    found = metrics["continual"]["strategies"]
    names = [name for name in ranked(metrics, STREAM) if name in found]
    columns = []
    for measure in MEASURES:
        values = [found[name][RECALL][measure] for name in names]
        column = _figures(measure.replace("_", " "), values)
        columns.append(replace(column, high_is_good=measure not in LOWER_IS_BETTER))
    return _table(names, columns)


def cold_users(metrics: Metrics) -> Table:
    """Table of figures over interactions of users without history."""
    names = ranked(metrics, STREAM)
    cold = [metrics["strategies"][name]["cold"] for name in names]
    slices = [name for name in _RECALL_COLUMNS if any(row[name][RECALL]["mean"] is not None for row in cold)]
    return _table(names, [_figures(f"{name} Recall@10", [row[name][RECALL] for row in cold]) for name in slices])


def edits(ledger: Sequence[Mapping[str, Any]]) -> Table:
    """Table of the first `EDITS_SHOWN` edits in stream order, with their reasons in words."""
    columns = ["operation", "region", "status", "reason", "windows", "cost", "validation", "version"]
    order = sorted(ledger, key=lambda edit: (edit["at_event"], edit["seed"]))[:EDITS_SHOWN]
    rows = [Row(f"{edit['at_event']:,}", False, [Cell(text) for text in _edit(edit)]) for edit in order]
    return Table(["seed", *columns], rows)


def settings(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Settings as (dotted name, value) pairs, in the order of the tree."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def spread(figure: Mapping[str, Any]) -> str:
    """Spread of a figure over seeds; empty with a single seed."""
    return f"± {figure['std']:.4f}" if figure["std"] is not None and len(figure["per_seed"]) > 1 else ""


def _table(names: Sequence[str], columns: Sequence[_Column]) -> Table:
    by_row = zip(*(column.cells() for column in columns), strict=True)
    rows = [Row(name, name == OURS, list(cells)) for name, cells in zip(names, by_row, strict=False)]
    return Table([column.title for column in columns], rows)


def _figures(title: str, figures: Sequence[Mapping[str, Any]]) -> _Column:
    means = [row["mean"] for row in figures]
    return _Column(title, means, [_text(mean, "{:.4f}") for mean in means], [spread(row) for row in figures])


def _bare(title: str, means: list[float | None]) -> _Column:
    """Column of figures without spread."""
    return _plain(title, means, "{:.4f}", high_is_good=True)


def _plain(title: str, values: list[float | None], form: str, *, high_is_good: bool) -> _Column:
    return _Column(title, values, [_text(value, form) for value in values], [""] * len(values), high_is_good)


def _metric_title(key: str) -> str:
    """Title of a metric: `ndcg@5` to `NDCG@5`."""
    name, at, length = key.partition("@")
    return f"{_TITLES.get(name, name)}{at}{length}"


def _seconds(timings: Mapping[str, Any] | None, name: str) -> float | None:
    if timings is None or name not in timings["strategies"]:
        return None
    # The continual run is a second replay, and no part of the cost of the first one.
    return float(sum(seconds for phase, seconds in timings["strategies"][name].items() if phase != "slices"))


def _edit(edit: Mapping[str, Any]) -> list[str]:
    region = str(edit["region_id"])
    if edit["other_region_id"] is not None:
        region += f" and {edit['other_region_id']}"
    validation = edit["validation"]
    checked = f"{validation['metric']} {validation['before']:.4f} → {validation['after']:.4f}" if validation else "–"
    windows, cost = f"{len(edit['windows']):,}", f"{edit['cost']['windows']:,}"
    words = (str(edit["seed"]), edit["operation"], region, edit["status"], edit["reason"]["text"])
    return [*words, windows, cost, checked, edit["version"] or "–"]


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value).replace("-", "\N{MINUS SIGN}")
