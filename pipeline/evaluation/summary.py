"""Computation of `metrics.json`: every figure of a run, from its predictions.

The document is specified by `schema/metrics.schema.json` and described in `docs/metrics.md`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.evaluation.alignment import Aligned, align
from pipeline.evaluation.bootstrap import RESAMPLES, paired_comparisons
from pipeline.evaluation.facts import RunFacts
from pipeline.evaluation.predictions import SLICES, Predictions
from pipeline.evaluation.segments import Segments, join
from pipeline.metrics.ranking import LIST_LENGTH, NOT_SCORED, Floats, mrr_at_k, ndcg_at_k, recall_at_k, sampled_auc

FILE_NAME = "metrics.json"

OURS = "raie"
"""Strategy that all others are compared with."""

STREAM = "F+T"
"""Slice of everything after set-up: F and T together."""

REPORTED: Mapping[str, tuple[str, ...]] = {name: (name,) for name in SLICES} | {STREAM: ("F", "T")}
"""Reported slices, and the slices of the predictions in each."""

LENGTHS = (5, LIST_LENGTH, 20)
"""List lengths of the metrics."""

RECALL = f"recall@{LIST_LENGTH}"
"""Metric of comparisons, segments and rankings of strategies."""

METRICS: Mapping[str, Callable[[NDArray[np.int32]], Floats]] = {
    f"{name}@{k}": partial(metric, k=k)
    for name, metric in (("recall", recall_at_k), ("ndcg", ndcg_at_k), ("mrr", mrr_at_k))
    for k in LENGTHS
}
"""Metrics of ranks, by name; a new one is one row here."""

NEGATIVES = 99
"""Sampled negatives of `auc`, a common number in point-wise evaluations."""

SPLIT_SLICES = ("S_new", STREAM)
"""Slices with figures by segment."""

LEAST_USERS = 2
"""Fewest users of a comparison: its interval describes the variation over users."""

EDIT_KINDS = ("update", "expand", "add", "merge", "retire", "inject", "rejected")

SIGNIFICANT = 6
"""Significant digits of published figures: finer than any interval, and coarser than float noise."""


def summarise(predictions: Predictions, facts: RunFacts, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Compute `metrics.json` from the predictions of a run.

    Args:
        predictions: of all strategies and seeds, on the same interactions.
        facts: of the run.
        resamples: of the bootstrap of the comparisons.

    Returns:
        The document, with figures rounded to `SIGNIFICANT` digits.

    Raises:
        DataError: strategies have predictions for different interactions, or facts are missing.
    """
    _check(facts, predictions)
    aligned = {name: align(predictions, slices) for name, slices in REPORTED.items()}
    warm = {name: rows.where(~rows.cold) for name, rows in aligned.items()}
    known = _warm_segments(facts, aligned)
    document = {
        "dataset": facts.dataset,
        "protocol": facts.protocol,
        "seeds": predictions.seeds,
        "slices": {name: facts.sizes(name) for name in facts.slices},
        "strategies": {
            name: _strategy(facts, name, number, aligned, known) for number, name in enumerate(predictions.strategies)
        },
        "comparisons": [row for name, rows in warm.items() for row in _comparisons(name, rows, resamples)],
        "edits": {kind: list(facts.edits[kind]) for kind in EDIT_KINDS},
        "regions": {"start": list(facts.regions_start), "end": list(facts.regions_end)},
    }
    if known:
        document["splits"] = {name: _split_sizes(known[name]) for name in SPLIT_SLICES}
    if facts.continual is not None:
        document["continual"] = dict(facts.continual)
    rounded: dict[str, Any] = _rounded(document)
    return rounded


def canonical_json(document: Mapping[str, Any]) -> str:
    """JSON text that is equal for equal documents: sorted keys, no NaN, one final newline."""
    return json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_summary(document: Mapping[str, Any], path: Path) -> None:
    """Write `metrics.json`; equal documents give equal bytes.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_text(canonical_json(document), encoding="utf-8")


def metrics_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `metrics.json`."""
    text = (files("pipeline.evaluation") / "schema" / "metrics.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _check(facts: RunFacts, predictions: Predictions) -> None:
    missing = [name for name in predictions.strategies if name not in facts.trained_windows]
    missing += [kind for kind in EDIT_KINDS if kind not in facts.edits]
    missing += [name for name in ("S", "F", "T") if name not in facts.slices]
    if missing:
        raise DataError(f"facts of the run are missing: {', '.join(missing)}")
    wrong = [name for name in predictions.strategies if len(facts.trained_windows[name]) != len(predictions.seeds)]
    if wrong:
        raise DataError(f"trained_windows needs one number for each of {len(predictions.seeds)} seeds, for {wrong}")


def _warm_segments(facts: RunFacts, aligned: Mapping[str, Aligned]) -> dict[str, Segments]:
    """Segments of the interactions of users with a history, by reported slice; empty without segments.

    Raises:
        DataError: the segments of a slice are not of its interactions.
    """
    found = {}
    for name, slices in REPORTED.items():
        known = [facts.segments[part] for part in slices if part in facts.segments]
        if not known:
            continue
        segments = join(known)
        if len(segments.event_ids) != len(aligned[name]):
            raise DataError(
                f"there are segments of {len(segments.event_ids)} interactions of slice {name}, and predictions of "
                f"{len(aligned[name])}"
            )
        found[name] = segments.where(~aligned[name].cold)
    return found


def _strategy(
    facts: RunFacts, name: str, number: int, aligned: Mapping[str, Aligned], known: Mapping[str, Segments]
) -> dict[str, Any]:
    """Figures of one strategy."""
    warm = {slice_name: rows.where(~rows.cold) for slice_name, rows in aligned.items()}
    figures: dict[str, Any] = {
        slice_name: _figures(rows, number) | _auc(rows, number, known.get(slice_name))
        for slice_name, rows in warm.items()
    }
    figures["cold"] = {slice_name: _figures(rows.where(rows.cold), number) for slice_name, rows in aligned.items()}
    figures["coverage"] = _coverage(aligned, number)
    figures["trained_windows"] = list(facts.trained_windows[name])
    if name in facts.memory_bytes:
        figures["kept_bytes"] = list(facts.memory_bytes[name])
    if known:
        figures["splits"] = {s: _split(warm[s], number, known[s]) for s in SPLIT_SLICES}
    return figures


def _figures(rows: Aligned, strategy: int) -> dict[str, Any]:
    return {name: _over_seeds(metric(rows.ranks[strategy])) for name, metric in METRICS.items()}


def _auc(rows: Aligned, strategy: int, segments: Segments | None) -> dict[str, Any]:
    if segments is None:
        return {}
    return {"auc": _over_seeds(sampled_auc(rows.ranks[strategy], segments.candidates, NEGATIVES, seed=0))}


def _split(rows: Aligned, strategy: int, segments: Segments) -> dict[str, Any]:
    """Recall by segment of a slice, and by set-up region of the window, per seed."""
    hits = recall_at_k(rows.ranks[strategy], LIST_LENGTH)
    by_segment = {name: _over_masks(hits, masks) for name, masks in segments.splits().items()}
    regions = [
        {str(region): float(of_seed[setup_region == region].mean()) for region in np.unique(setup_region)}
        for of_seed, setup_region in zip(hits, segments.setup_region, strict=True)
    ]
    return {name: {RECALL: figure} for name, figure in by_segment.items()} | {"regions": regions}


def _split_sizes(segments: Segments) -> dict[str, Any]:
    """Windows in each segment of a slice, and in each set-up region, per seed."""
    regions = [
        {str(region): int(count) for region, count in zip(*np.unique(setup_region, return_counts=True), strict=True)}
        for setup_region in segments.setup_region
    ]
    return {name: masks.sum(axis=1).tolist() for name, masks in segments.splits().items()} | {"regions": regions}


def _over_masks(values: Floats, masks: NDArray[np.bool_]) -> dict[str, Any]:
    """Average (seeds, n) values over the rows of each seed; null if a seed has none."""
    if not masks.any(axis=1).all():
        return {"mean": None, "std": None, "per_seed": [None] * len(values)}
    return _spread([float(row[mask].mean()) for row, mask in zip(values, masks, strict=True)])


def _spread(per_seed: Sequence[float]) -> dict[str, Any]:
    spread = float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else 0.0
    return {"mean": float(np.mean(per_seed)), "std": spread, "per_seed": list(per_seed)}


def _over_seeds(values: Floats) -> dict[str, Any]:
    """Average (seeds, n) values: mean and sample standard deviation over the seeds' own means."""
    if values.shape[1] == 0:
        return {"mean": None, "std": None, "per_seed": [None] * len(values)}
    return _spread(values.mean(axis=1).tolist())


def _coverage(aligned: Mapping[str, Aligned], strategy: int) -> float | None:
    ranks = [aligned[name].ranks[strategy].ravel() for name in SLICES]
    requested = sum(part.size for part in ranks)
    return sum(np.count_nonzero(part != NOT_SCORED) for part in ranks) / requested if requested else None


def _comparisons(slice_name: str, rows: Aligned, resamples: int) -> list[dict[str, Any]]:
    """Compare `raie` with every other strategy; one user alone says nothing of others, so there is no interval."""
    others = [name for name in rows.strategies if name != OURS]
    if OURS not in rows.strategies or not others or len(np.unique(rows.user)) < LEAST_USERS:
        return []
    hits = dict(zip(rows.strategies, rows.mean_hits(LIST_LENGTH), strict=True))
    intervals = paired_comparisons(hits[OURS], [hits[name] for name in others], rows.user, resamples=resamples)
    return [
        {"a": OURS, "b": name, "slice": slice_name, "metric": RECALL} | interval._asdict()
        for name, interval in zip(others, intervals, strict=True)
    ]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT}g}")
    return value
