"""Builds `report.html` from a run folder: reads the files, computes what is shown, writes one page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.evaluation.alignment import Aligned, align
from pipeline.evaluation.bootstrap import PERCENTILES, resampled_means
from pipeline.evaluation.edit_effect import AROUND, LEAST, weigh
from pipeline.evaluation.predictions import Predictions
from pipeline.evaluation.report import drift, edit_effects, quality, slices, tables, words
from pipeline.evaluation.report.folder import Record, RunFolder, read_folder
from pipeline.evaluation.report.page import render_page
from pipeline.evaluation.report.quality import Line, Point
from pipeline.evaluation.summary import OURS, REPORTED, STREAM, K

FILE_NAME = "report.html"

LINES_SHOWN = 12
"""Strategies in a figure of lines, the best and `raie`; with more of them their labels hide one another."""


def build_report(folder: Path) -> Path:
    """Write the report of a run into its folder.

    The page stands alone: style, figures and tables are inside it. Equal files give equal bytes.

    Args:
        folder: holds `metrics.json` and `predictions.parquet`; sections of other files that are not
            there say so in a line.

    Returns:
        Path of the page.

    Raises:
        DataError: if the metrics or predictions are missing, or a file is not what its name says.
        OSError: if a file cannot be read or written.
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
        headline=words.headline(run.metrics),
        strategies=tables.strategies(run.metrics, run.timings),
        timings=run.timings,
        lengths=tables.lengths(run.metrics),
        cold=tables.cold_users(run.metrics),
        parts=tables.parts(run.metrics),
        measures=tables.measures(run.metrics),
        forgetting=_forgetting(run.metrics),
        **_quality_figures(run),
        **_drift_figures(run),
        edits=tables.edits(run.ledger or []),
        more_edits=max(0, len(run.ledger or []) - tables.EDITS_SHOWN),
        edit_effects=_payoffs(run),
        around=AROUND,
        least=LEAST,
        run=run.run,
        config=list(tables.settings(run.run["config"])) if run.run else [],
        versions=list(tables.settings(run.run["versions"])) if run.run else [],
    )


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


def _payoffs(run: RunFolder) -> tables.Table | None:
    """What came of each edit; None where it cannot be told."""
    scored = edit_effects.scored_stream(run)
    published = sorted(_published(run), key=lambda edit: edit["at_event"])[: tables.EDITS_SHOWN]
    return edit_effects.table(*weigh(scored, published)) if scored and published else None


def _tradeoff(run: RunFolder) -> Markup | None:
    adapted, retained = _ends(run.predictions, STREAM), _ends(run.predictions, "S_new")
    points = []
    for name in run.metrics["strategies"]:
        x, y = words.mean(run.metrics, name, "S_new"), words.mean(run.metrics, name, STREAM)
        if x is not None and y is not None:
            points.append(Point(name, x, y, retained.get(name), adapted.get(name)))
    if not points:
        return None
    alt = "Recall@10 on S_new against Recall@10 on F+T, a point a strategy"
    return quality.scatter(
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
    alt = "Windows trained on against Recall@10 on F+T, a point a strategy"
    return quality.scatter(
        "cost", alt, points, "windows trained on after set-up", "Recall@10 on F+T", _shown(run.metrics)
    )


def _stream(run: RunFolder, width: int) -> Markup | None:
    rows = align(run.predictions, REPORTED[STREAM])
    warm = ~rows.cold
    if not warm.any():
        return None
    at = np.flatnonzero(warm).astype(np.float64)
    hits = dict(zip(rows.strategies, rows.mean_hits(K)[:, warm], strict=True))
    order = _shown(run.metrics)
    lines = [Line(name, *quality.rolling(hits[name], at, width)) for name in order]
    boundary = len(align(run.predictions, ("F",)))
    alt = "Rolling Recall@10 of each strategy over the stream"
    return quality.stream("stream", alt, lines, boundary, len(rows), _published(run))


def _forest(metrics: Record) -> Markup | None:
    order = words.ranked(metrics, STREAM)
    groups = []
    few = (STREAM, "S_new")
    for name in few if len(order) > LINES_SHOWN else (STREAM, "F", "T", "S_new", "S"):
        rows = [row for row in metrics["comparisons"] if row["slice"] == name]
        if rows:
            groups.append((name, sorted(rows, key=lambda row: order.index(row["b"]))))
    alt = "Difference in Recall@10 between raie and each other strategy, with intervals"
    return quality.forest("forest", alt, groups) if groups else None


def _forgetting(metrics: Record) -> Markup | None:
    """Draw what was kept of set-up, and what was lost of all slices, after each slice."""
    if "continual" not in metrics:
        return None
    found = metrics["continual"]["strategies"]
    matrices = {name: np.array(found[name][words.RECALL]["matrix"]) for name in _shown(metrics) if name in found}
    alt = "Recall@10 on S_new, and forgetting, after each slice"
    return slices.kept_and_lost("forgetting", alt, matrices)


def _shown(metrics: Record) -> list[str]:
    """Pick the strategies that a figure of lines has room for: the best on the stream, and `raie`."""
    order = words.ranked(metrics, STREAM)
    ours = [name for name in order if name == OURS]
    others = [name for name in order if name != OURS][: LINES_SHOWN - len(ours)]
    return [name for name in order if name in (*ours, *others)]


def _published(run: RunFolder) -> list[Record]:
    """Take the published edits of the first seed: what the figures over the stream mark."""
    seed = run.metrics["seeds"][0]
    return [edit for edit in run.ledger or [] if edit["seed"] == seed and edit["status"] == "published"]


def _ends(predictions: Predictions, slice_name: str) -> Mapping[str, tuple[float, float]]:
    """Bootstrap the 95% interval of every strategy's Recall@10 on a slice, users with history."""
    rows = _warm(predictions, slice_name)
    if not len(rows):
        return {}
    means = resampled_means(rows.mean_hits(K).T, rows.user)
    low, high = np.percentile(means, PERCENTILES, axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(rows.strategies)}


def _warm(predictions: Predictions, slice_name: str) -> Aligned:
    rows = align(predictions, REPORTED[slice_name])
    return rows.where(~rows.cold)


def _rolling_width(interactions: int) -> int:
    """A twentieth of the stream, at least 50 interactions where there are as many: smooth, and still local."""
    return max(1, min(interactions, max(50, interactions // 20)))
