"""The tables of the report: cells as text, the best of each column marked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from pipeline.evaluation.report.words import RECALL, Metrics, ranked
from pipeline.evaluation.summary import LENGTHS, OURS, STREAM, K

EDITS_SHOWN = 200
"""Rows of the table of edits; the page says how many more there are."""

SPLITS = ("warm_target", "cold_target", "known_user", "new_user", "edited", "untouched")
"""Parts of the stream, in the order of the table."""

CONTINUAL = {
    "adaptation": True,
    "retention": True,
    "forgetting": False,
    "backward_transfer": True,
    "forward_transfer": True,
    "final": True,
}
"""Continual measures in the order of the table, and whether a high one is a good one."""

_NDCG = f"ndcg@{K}"
_RECALL_COLUMNS = ("F", "T", STREAM, "S_new", "S")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its text, whether it is the best of its column, and a smaller second line."""

    text: str
    best: bool = False
    spread: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: what it is about, whether that is `raie`, and its cells."""

    name: str
    ours: bool
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: titles of the columns after the first, and the rows."""

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
        """Mark the best values; where all are equal there is no best one."""
        known = [value for value in self.values if value is not None]
        best = (max if self.high_is_good else min)(known) if len(set(known)) > 1 else None
        triples = zip(self.values, self.texts, self.spreads, strict=True)
        return [Cell(text, value is not None and value == best, spread) for value, text, spread in triples]


def strategies(metrics: Metrics, timings: Mapping[str, Any] | None) -> Table:
    """Lay out every strategy, best on the stream first."""
    names = ranked(metrics, STREAM)
    rows = [metrics["strategies"][name] for name in names]
    coverage: list[float | None] = [row["coverage"] for row in rows]
    cost: list[float | None] = [fmean(row["trained_windows"]) for row in rows]
    kept = [fmean(row["kept_bytes"]) / 1e3 if "kept_bytes" in row else None for row in rows]
    seconds = [_seconds(timings, name) for name in names]
    columns = [
        *(_figures(f"{name} Recall@10", [row[name][RECALL] for row in rows]) for name in _RECALL_COLUMNS),
        _figures(f"{STREAM} NDCG@10", [row[STREAM][_NDCG] for row in rows]),
        _plain("coverage", coverage, "{:.2%}", high_is_good=True),
        _plain("trained windows", cost, "{:,.0f}", high_is_good=False),
        *([_plain("kB kept", kept, "{:,.1f}", high_is_good=False)] if any(kept) else []),
        _plain("seconds", seconds, "{:,.1f}", high_is_good=False),
    ]
    return _table(names, columns)


def lengths(metrics: Metrics) -> Table:
    """Lay out on the stream what the table of all strategies does not: other lengths, MRR, AUC."""
    names = ranked(metrics, STREAM)
    rows = [metrics["strategies"][name][STREAM] for name in names]
    wanted = [f"{metric}@{k}" for metric in ("recall", "ndcg", "mrr") for k in LENGTHS] + ["auc"]
    held = [key for key in wanted if key not in (RECALL, _NDCG) and all(key in row for row in rows)]
    titles = {key: key.replace("recall", "Recall").replace("ndcg", "NDCG").replace("mrr", "MRR") for key in held}
    columns = [_bare(titles[key].replace("auc", "AUC"), [row[key]["mean"] for row in rows]) for key in held]
    return _table(names, columns)


def parts(metrics: Metrics) -> Table | None:
    """Lay out Recall@10 on the stream by target, user and region; None where the run was not split."""
    names = ranked(metrics, STREAM)
    if "splits" not in metrics:
        return None
    split = [metrics["strategies"][name]["splits"][STREAM] for name in names]
    sizes = {name: fmean(counts) for name, counts in metrics["splits"][STREAM].items() if name != "regions"}
    columns = [
        _bare(f"{name.replace('_', ' ')} ({sizes[name]:,.0f})", [row[name][RECALL]["mean"] for row in split])
        for name in SPLITS
        if name in sizes
    ]
    return _table(names, columns)


def measures(metrics: Metrics) -> Table | None:
    """Lay out the continual measures; None where no slices were asked for."""
    if "continual" not in metrics:
        return None
    found = metrics["continual"]["strategies"]
    names = [name for name in ranked(metrics, STREAM) if name in found]
    columns = []
    for measure, high_is_good in CONTINUAL.items():
        values = [found[name][RECALL][measure] for name in names]
        column = _figures(measure.replace("_", " "), values)
        columns.append(replace(column, high_is_good=high_is_good))
    return _table(names, columns)


def cold_users(metrics: Metrics) -> Table:
    """Lay out the figures over interactions of users without history."""
    names = ranked(metrics, STREAM)
    cold = [metrics["strategies"][name]["cold"] for name in names]
    slices = [name for name in _RECALL_COLUMNS if any(row[name][RECALL]["mean"] is not None for row in cold)]
    return _table(names, [_figures(f"{name} Recall@10", [row[name][RECALL] for row in cold]) for name in slices])


def edits(ledger: Sequence[Mapping[str, Any]]) -> Table:
    """Lay out the first `EDITS_SHOWN` edits in stream order, with their reasons in words."""
    columns = ["operation", "region", "status", "reason", "windows", "cost", "validation", "version"]
    order = sorted(ledger, key=lambda edit: (edit["at_event"], edit["seed"]))[:EDITS_SHOWN]
    rows = [Row(f"{edit['at_event']:,}", False, [Cell(text) for text in _edit(edit)]) for edit in order]
    return Table(["seed", *columns], rows)


def settings(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Flatten a tree of settings into (dotted name, value) pairs, in the order of the tree."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def spread(figure: Mapping[str, Any]) -> str:
    """The spread of a figure over seeds; nothing where there is one seed, which has none."""
    return f"± {figure['std']:.4f}" if figure["std"] is not None and len(figure["per_seed"]) > 1 else ""


def _table(names: Sequence[str], columns: Sequence[_Column]) -> Table:
    by_row = zip(*(column.cells() for column in columns), strict=True)
    rows = [Row(name, name == OURS, list(cells)) for name, cells in zip(names, by_row, strict=False)]
    return Table([column.title for column in columns], rows)


def _figures(title: str, figures: Sequence[Mapping[str, Any]]) -> _Column:
    means = [row["mean"] for row in figures]
    return _Column(title, means, [_text(mean, "{:.4f}") for mean in means], [spread(row) for row in figures])


def _bare(title: str, means: list[float | None]) -> _Column:
    """Figures without their spread."""
    return _plain(title, means, "{:.4f}", high_is_good=True)


def _plain(title: str, values: list[float | None], form: str, *, high_is_good: bool) -> _Column:
    return _Column(title, values, [_text(value, form) for value in values], [""] * len(values), high_is_good)


def _seconds(timings: Mapping[str, Any] | None, name: str) -> float | None:
    if timings is None or name not in timings["strategies"]:
        return None
    # The pass slice after slice is a second replay: what keeping up takes is the first one.
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
