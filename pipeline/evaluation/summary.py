"""`metrics.json`: every figure of a run, computed from its predictions in one place.

The published contract stands in `schema/metrics.schema.json`, in words in `docs/metrics.md`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.evaluation.alignment import Aligned, align
from pipeline.evaluation.bootstrap import RESAMPLES, paired_comparisons
from pipeline.evaluation.predictions import SLICES, Predictions
from pipeline.evaluation.segments import Segments, join
from pipeline.metrics.ranking import NOT_SCORED, Floats, mrr_at_k, ndcg_at_k, recall_at_k, sampled_auc

FILE_NAME = "metrics.json"

OURS = "raie"
"""The strategy that every other one is compared with."""

STREAM = "F+T"
"""Everything after set-up, F and T taken together."""

REPORTED: Mapping[str, tuple[str, ...]] = {name: (name,) for name in SLICES} | {STREAM: ("F", "T")}
"""Each reported slice and the slices of the predictions it is made of."""

K = 10
"""Length of the recommended list that figures are reported at."""

LENGTHS = (5, K, 20)
"""Lengths of the recommended list that figures are given at."""

METRICS: Mapping[str, Callable[[NDArray[np.int32]], Floats]] = {
    f"{name}@{k}": partial(metric, k=k)
    for name, metric in (("recall", recall_at_k), ("ndcg", ndcg_at_k), ("mrr", mrr_at_k))
    for k in LENGTHS
}

NEGATIVES = 99
"""Sampled negatives that `auc` compares a target with, as point-wise work often does."""

SPLIT_SLICES = ("S_new", STREAM)
"""Slices whose figures are split by what is known of their interactions."""

EDIT_KINDS = ("update", "expand", "add", "merge", "retire", "rejected")

SIGNIFICANT = 6
"""Significant decimals of published figures: far below any interval, and above float noise."""


@dataclass(frozen=True, slots=True)
class SliceFacts:
    """What a slice holds.

    Attributes:
        windows: interactions scored in it.
        users: distinct users among them.
        items: distinct targets among them.
        unseen_share: share of its interactions whose target does not occur in S, in [0, 1].
    """

    windows: int
    users: int
    items: int
    unseen_share: float


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run knows beside its predictions. Lists hold one entry a seed, seeds ascending.

    Attributes:
        dataset: its name.
        protocol: how it was evaluated (`prequential`, `windows`).
        slices: by name, S, F and T.
        trained_windows: by strategy, windows passed through training after set-up, passes counted.
        edits: by kind (`EDIT_KINDS`), how many `raie` made; empty lists where it did not run.
        regions_start: live regions of `raie` after set-up.
        regions_end: live regions of `raie` after the last edit.
        kept_bytes: by strategy, bytes it answers with beside the backbone after its last part.
        segments: by slice, what its interactions are split by.
        continual: results matrices and their measures, where slices were asked for.
    """

    dataset: str
    protocol: str
    slices: Mapping[str, SliceFacts]
    trained_windows: Mapping[str, Sequence[int]]
    edits: Mapping[str, Sequence[int]]
    regions_start: Sequence[int]
    regions_end: Sequence[int]
    kept_bytes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    segments: Mapping[str, Segments] = field(default_factory=dict)
    continual: Mapping[str, Any] | None = None


def summarise(predictions: Predictions, facts: RunFacts, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Compute `metrics.json` from the predictions of a run.

    Args:
        predictions: of all strategies and seeds; all were asked about the same interactions.
        facts: what the predictions do not know.
        resamples: of the bootstrap behind the comparisons.

    Returns:
        The document, its figures rounded to `SIGNIFICANT` decimals.

    Raises:
        DataError: if strategies were asked about different interactions, or facts are missing.
    """
    _check(facts, predictions)
    aligned = {name: align(predictions, parts) for name, parts in REPORTED.items()}
    warm = {name: rows.where(~rows.cold) for name, rows in aligned.items()}
    cold = {name: rows.where(rows.cold) for name, rows in aligned.items()}
    segments = {name: join([facts.segments[part] for part in parts]) for name, parts in _asked(facts).items()}
    _check_traits(segments, aligned)
    known = {name: segments[name].where(~aligned[name].cold) for name in segments}
    document = {
        "dataset": facts.dataset,
        "protocol": facts.protocol,
        "seeds": predictions.seeds,
        "slices": {name: asdict(slice_facts) for name, slice_facts in facts.slices.items()},
        "strategies": {
            name: {
                slice_name: _figures(rows, number) | _auc(rows, number, known.get(slice_name))
                for slice_name, rows in warm.items()
            }
            | {"cold": {slice_name: _figures(rows, number) for slice_name, rows in cold.items()}}
            | {"coverage": _coverage(aligned, number), "trained_windows": list(facts.trained_windows[name])}
            | ({"kept_bytes": list(facts.kept_bytes[name])} if name in facts.kept_bytes else {})
            | ({"splits": {s: _split(warm[s], number, known[s]) for s in SPLIT_SLICES}} if known else {})
            for number, name in enumerate(predictions.strategies)
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
    """Write a document so that equal documents are equal text: sorted keys, no NaN, one final newline."""
    return json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_summary(document: Mapping[str, Any], path: Path) -> None:
    """Write `metrics.json`; equal documents always give the same bytes.

    Raises:
        OSError: if the file cannot be written.
    """
    path.write_text(canonical_json(document), encoding="utf-8")


def metrics_schema() -> dict[str, Any]:
    """Read the JSON Schema (draft 2020-12) of `metrics.json`."""
    text = (files("pipeline.evaluation") / "schema" / "metrics.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _check(facts: RunFacts, predictions: Predictions) -> None:
    missing = [name for name in predictions.strategies if name not in facts.trained_windows]
    missing += [kind for kind in EDIT_KINDS if kind not in facts.edits]
    missing += [name for name in ("S", "F", "T") if name not in facts.slices]
    if missing:
        raise DataError(f"the run does not say enough of: {', '.join(missing)}")
    wrong = [name for name in predictions.strategies if len(facts.trained_windows[name]) != len(predictions.seeds)]
    if wrong:
        raise DataError(f"trained_windows needs one number for each of {len(predictions.seeds)} seeds: {wrong}")


def _check_traits(segments: Mapping[str, Segments], aligned: Mapping[str, Aligned]) -> None:
    for name, known in segments.items():
        if len(known.event_ids) != len(aligned[name]):
            raise DataError(
                f"there are traits of {len(known.event_ids)} interactions of slice {name}, and {len(aligned[name])} "
                "were asked about"
            )


def _figures(rows: Aligned, strategy: int) -> dict[str, Any]:
    return {name: _over_seeds(metric(rows.ranks[strategy])) for name, metric in METRICS.items()}


def _asked(facts: RunFacts) -> Mapping[str, Sequence[str]]:
    """Reported slices whose traits are known, and the slices that they are made of and that were asked about."""
    asked = {name: [part for part in parts if part in facts.segments] for name, parts in REPORTED.items()}
    return {name: parts for name, parts in asked.items() if parts}


def _auc(rows: Aligned, strategy: int, segments: Segments | None) -> dict[str, Any]:
    if segments is None:
        return {}
    return {"auc": _over_seeds(sampled_auc(rows.ranks[strategy], segments.candidates, NEGATIVES, seed=0))}


def _split(rows: Aligned, strategy: int, segments: Segments) -> dict[str, Any]:
    """Recall of the parts of a slice: by trait, and by the taste of the window, a seed."""
    hits = recall_at_k(rows.ranks[strategy], K)
    by_trait = {name: _over_masks(hits, masks) for name, masks in segments.splits().items()}
    regions = [
        {str(region): float(of_seed[setup_region == region].mean()) for region in np.unique(setup_region)}
        for of_seed, setup_region in zip(hits, segments.setup_region, strict=True)
    ]
    return {name: {f"recall@{K}": figure} for name, figure in by_trait.items()} | {"regions": regions}


def _split_sizes(segments: Segments) -> dict[str, Any]:
    """How many windows the parts of a slice hold, a seed."""
    regions = [
        {str(region): int(count) for region, count in zip(*np.unique(setup_region, return_counts=True), strict=True)}
        for setup_region in segments.setup_region
    ]
    return {name: masks.sum(axis=1).tolist() for name, masks in segments.splits().items()} | {"regions": regions}


def _over_masks(values: Floats, masks: NDArray[np.bool_]) -> dict[str, Any]:
    """Average (seeds, n) values over rows that may differ from seed to seed; null where one has none."""
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
    asked = sum(part.size for part in ranks)
    return sum(np.count_nonzero(part != NOT_SCORED) for part in ranks) / asked if asked else None


def _comparisons(slice_name: str, rows: Aligned, resamples: int) -> list[dict[str, Any]]:
    others = [name for name in rows.strategies if name != OURS]
    if OURS not in rows.strategies or not others or not len(rows):
        return []
    hits = dict(zip(rows.strategies, rows.mean_hits(K), strict=True))
    intervals = paired_comparisons(hits[OURS], [hits[name] for name in others], rows.user, resamples=resamples)
    return [
        {"a": OURS, "b": name, "slice": slice_name, "metric": f"recall@{K}"} | interval._asdict()
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
