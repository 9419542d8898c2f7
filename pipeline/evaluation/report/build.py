"""Building `report.html` from the files of a run folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.evaluation.alignment import Aligned, align
from pipeline.evaluation.bootstrap import PERCENTILES, resampled_means
from pipeline.evaluation.edit_effect import LEAST, SPAN, estimate_effects
from pipeline.evaluation.predictions import Predictions
from pipeline.evaluation.report import drift, edit_effects, forest, lines, scatter, slices, tables, words
from pipeline.evaluation.report.folder import Record, RunFolder, read_folder
from pipeline.evaluation.report.lines import Line
from pipeline.evaluation.report.page import render_page
from pipeline.evaluation.report.scatter import Point
from pipeline.evaluation.report.verdict import verdict
from pipeline.evaluation.summary import OURS, RECALL, REPORTED, STREAM
from pipeline.metrics.ranking import LIST_LENGTH

FILE_NAME = "report.html"

LINES_SHOWN = 12
"""Maximum number of strategies with a line or label in a figure: the best ones and `raie`."""


def build_report(folder: Path) -> Path:
    """Write the report of a run into its folder.

    The page includes its style, figures and tables. Equal files give equal bytes.

    Args:
        folder: with `metrics.json` and `predictions.parquet`; sections of other files that are missing state that.

    Returns:
        Path of the page.

    Raises:
        DataError: the metrics or predictions are missing, or a file is invalid.
        OSError: a file cannot be read or written.
    """
    page = render(read_folder(folder))
    path = folder / FILE_NAME
    path.write_text(page, encoding="utf-8", errors="replace")
    return path


def render(run: RunFolder) -> str:
    """Render the page of a run."""
    return render_page(
        "page.html",
        metrics=run.metrics,
        verdict=verdict(run.metrics),
        strategies=tables.strategies(run.metrics, run.timings),
        timings=run.timings,
        lengths=tables.lengths(run.metrics),
        cold=tables.cold_users(run.metrics),
        targets=tables.segments(run.metrics, tables.TARGETS),
        segments=tables.segments(run.metrics, tables.SPLITS),
        measures=tables.measures(run.metrics),
        forgetting=_forgetting(run.metrics),
        **_quality_figures(run),
        **_drift_figures(run),
        edits=tables.edits(run.ledger or []),
        more_edits=max(0, len(run.ledger or []) - tables.EDITS_SHOWN),
        edit_effects=_edit_effects(run),
        span=SPAN,
        least=LEAST,
        **_reproduction(run.run),
    )


def _reproduction(run: Record | None) -> dict[str, Any]:
    """Inputs of the run: data, versions, configuration."""
    trees = {name: list(tables.settings(run[name])) if run else [] for name in ("config", "versions")}
    return {"run": run, **trees}


def _quality_figures(run: RunFolder) -> dict[str, Any]:
    width = _rolling_width(len(_warm(run.predictions, STREAM)))
    return {
        "tradeoff": _tradeoff(run),
        "cost": _cost(run),
        "stream": _stream(run, width),
        "width": width,
        "few_lines": len(run.metrics["strategies"]) > LINES_SHOWN,
        "forest": _forest(run.metrics),
        "few_slices": len(run.metrics["strategies"]) > LINES_SHOWN,
    }


def _drift_figures(run: RunFolder) -> dict[str, Any]:
    seed = run.metrics["seeds"][0]
    statistics = [row for row in run.statistics or [] if row["seed"] == seed]
    published = _published(run)
    gate_alt = "Gate confidence and drift statistic of each region over the stream"
    map_alt = "Windows and region centroids projected to two dimensions"
    line_alt = "Edits by region over the stream"
    ledger = [edit for edit in run.ledger or [] if edit["seed"] == seed]
    return {
        "seed": seed,
        "gate": drift.gate_and_detector("gate", gate_alt, statistics, published) if statistics else None,
        "more_regions": len({row["region_id"] for row in statistics}) - len(drift.busiest(statistics)),
        "map": drift.region_map("map", map_alt, run.regions) if run.regions else None,
        "time_line": drift.time_line("time-line", line_alt, ledger) if ledger else None,
        "has_ledger": run.ledger is not None,
    }


def _edit_effects(run: RunFolder) -> tables.Table | None:
    """Table of edit effects; None if none can be estimated."""
    hits = edit_effects.stream_hits(run)
    published = sorted(_published(run), key=lambda edit: edit["at_event"])[: tables.EDITS_SHOWN]
    return edit_effects.table(*estimate_effects(hits, published)) if hits and published else None


def _tradeoff(run: RunFolder) -> Markup | None:
    adapted, retained = _ends(run.predictions, STREAM), _ends(run.predictions, "S_new")
    points = []
    for name in run.metrics["strategies"]:
        x, y = words.mean(run.metrics, name, "S_new"), words.mean(run.metrics, name, STREAM)
        if x is not None and y is not None:
            points.append(Point(name, x, y, retained.get(name), adapted.get(name)))
    if not points:
        return None
    alt = "Recall@10 on S_new against Recall@10 on F+T, one point per strategy"
    return scatter.scatter(
        "tradeoff", alt, points, "retention: Recall@10 on S_new", "adaptation: Recall@10 on F+T", _shown(run.metrics)
    )


def _cost(run: RunFolder) -> Markup | None:
    adapted = _ends(run.predictions, STREAM)
    points = []
    for name, row in run.metrics["strategies"].items():
        y = words.mean(run.metrics, name, STREAM)
        if y is not None:
            points.append(Point(name, float(np.mean(row["trained_windows"])), y, None, adapted.get(name)))
    if not points:
        return None
    alt = "Windows trained on against Recall@10 on F+T, one point per strategy"
    return scatter.scatter(
        "cost", alt, points, "windows trained on after set-up", "Recall@10 on F+T", _shown(run.metrics)
    )


def _stream(run: RunFolder, width: int) -> Markup | None:
    rows = align(run.predictions, REPORTED[STREAM])
    warm = ~rows.cold
    if not warm.any():
        return None
    at = np.flatnonzero(warm).astype(np.float64)
    hits = dict(zip(rows.strategies, rows.mean_hits(LIST_LENGTH)[:, warm], strict=True))
    order = _shown(run.metrics)
    drawn = [Line(name, *lines.rolling(hits[name], at, width)) for name in order]
    boundary = len(align(run.predictions, ("F",)))
    alt = "Rolling Recall@10 of each strategy over the stream"
    return lines.stream("stream", alt, drawn, boundary, len(rows), _published(run))


def _forest(metrics: Record) -> Markup | None:
    order = words.ranked(metrics, STREAM)
    groups = []
    few = (STREAM, "S_new")
    for name in few if len(order) > LINES_SHOWN else (STREAM, "F", "T", "S_new", "S"):
        rows = [row for row in metrics["comparisons"] if row["slice"] == name]
        if rows:
            groups.append((name, sorted(rows, key=lambda row: order.index(row["b"]))))
    alt = "Difference in Recall@10 between raie and each other strategy, with intervals"
    return forest.forest("forest", alt, groups) if groups else None


def _forgetting(metrics: Record) -> Markup | None:
    """Figure of retention and forgetting after each slice."""
    if "continual" not in metrics:
        return None
    found = metrics["continual"]["strategies"]
    matrices = {name: np.array(found[name][RECALL]["matrix"]) for name in _shown(metrics) if name in found}
    alt = "Recall@10 on S_new, and forgetting, after each slice"
    return slices.retention_and_forgetting("forgetting", alt, matrices)


def _shown(metrics: Record) -> list[str]:
    """Strategies with a line or label in a figure: the best on the stream, and `raie`."""
    order = words.ranked(metrics, STREAM)
    ours = [name for name in order if name == OURS]
    others = [name for name in order if name != OURS][: LINES_SHOWN - len(ours)]
    return [name for name in order if name in (*ours, *others)]


def _published(run: RunFolder) -> list[Record]:
    """Published edits of the first seed, which figures over the stream mark."""
    seed = run.metrics["seeds"][0]
    return [edit for edit in run.ledger or [] if edit["seed"] == seed and edit["status"] == "published"]


def _ends(predictions: Predictions, slice_name: str) -> Mapping[str, tuple[float, float]]:
    """Bootstrapped 95% interval of every strategy's Recall@10 on a slice, users with history."""
    rows = _warm(predictions, slice_name)
    if not len(rows):
        return {}
    means = resampled_means(rows.mean_hits(LIST_LENGTH).T, rows.user)
    low, high = np.percentile(means, PERCENTILES, axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(rows.strategies)}


def _warm(predictions: Predictions, slice_name: str) -> Aligned:
    rows = align(predictions, REPORTED[slice_name])
    return rows.where(~rows.cold)


def _rolling_width(interactions: int) -> int:
    """Window of the rolling hit rate: a twentieth of the stream, at least 50 interactions if available."""
    return max(1, min(interactions, max(50, interactions // 20)))
