"""`metrics.json`: every figure of a run, computed from its predictions in one place.

The published contract stands in `schema/metrics.schema.json`, in words in `docs/metrics.md`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.evaluation.alignment import Aligned, align
from pipeline.evaluation.bootstrap import RESAMPLES, paired_bootstraps
from pipeline.evaluation.predictions import SLICES, Predictions
from pipeline.evaluation.ranking import NOT_SCORED, Floats, ndcg_at_k, recall_at_k

FILE_NAME = "metrics.json"

OURS = "raie"
"""The strategy that every other one is compared with."""

STREAM = "F+T"
"""Everything after set-up, F and T taken together."""

REPORTED: Mapping[str, tuple[str, ...]] = {name: (name,) for name in SLICES} | {STREAM: ("F", "T")}
"""Each reported slice and the slices of the predictions it is made of."""

K = 10
"""Length of the recommended list that figures are reported at."""

METRICS: Mapping[str, Callable[[NDArray[np.int32], int], Floats]] = {
    f"recall@{K}": recall_at_k,
    f"ndcg@{K}": ndcg_at_k,
}

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
    """

    dataset: str
    protocol: str
    slices: Mapping[str, SliceFacts]
    trained_windows: Mapping[str, Sequence[int]]
    edits: Mapping[str, Sequence[int]]
    regions_start: Sequence[int]
    regions_end: Sequence[int]


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
    document = {
        "dataset": facts.dataset,
        "protocol": facts.protocol,
        "seeds": predictions.seeds,
        "slices": {name: asdict(slice_facts) for name, slice_facts in facts.slices.items()},
        "strategies": {
            name: {slice_name: _figures(rows, number) for slice_name, rows in warm.items()}
            | {"cold": {slice_name: _figures(rows, number) for slice_name, rows in cold.items()}}
            | {"coverage": _coverage(aligned, number), "trained_windows": list(facts.trained_windows[name])}
            for number, name in enumerate(predictions.strategies)
        },
        "comparisons": [row for name, rows in warm.items() for row in _comparisons(name, rows, resamples)],
        "edits": {kind: list(facts.edits[kind]) for kind in EDIT_KINDS},
        "regions": {"start": list(facts.regions_start), "end": list(facts.regions_end)},
    }
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


def _figures(rows: Aligned, strategy: int) -> dict[str, Any]:
    return {name: _over_seeds(metric(rows.ranks[strategy], K)) for name, metric in METRICS.items()}


def _over_seeds(values: Floats) -> dict[str, Any]:
    """Average (seeds, n) values: mean and sample standard deviation over the seeds' own means."""
    if values.shape[1] == 0:
        return {"mean": None, "std": None, "per_seed": [None] * len(values)}
    per_seed = values.mean(axis=1)
    spread = float(per_seed.std(ddof=1)) if len(per_seed) > 1 else 0.0
    return {"mean": float(per_seed.mean()), "std": spread, "per_seed": per_seed.tolist()}


def _coverage(aligned: Mapping[str, Aligned], strategy: int) -> float | None:
    ranks = [aligned[name].ranks[strategy].ravel() for name in SLICES]
    asked = sum(part.size for part in ranks)
    return sum(np.count_nonzero(part != NOT_SCORED) for part in ranks) / asked if asked else None


def _comparisons(slice_name: str, rows: Aligned, resamples: int) -> list[dict[str, Any]]:
    others = [name for name in rows.strategies if name != OURS]
    if OURS not in rows.strategies or not others or not len(rows):
        return []
    hits = dict(zip(rows.strategies, rows.mean_hits(K), strict=True))
    intervals = paired_bootstraps(hits[OURS], [hits[name] for name in others], rows.user, resamples=resamples)
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
