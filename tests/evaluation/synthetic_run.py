"""Synthetic runs: what an evaluation leaves behind, small, seeded, with known answers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.evaluation.facts import RunFacts, SliceFacts
from pipeline.evaluation.predictions import FILE_NAME, SLICES, Predictions, write_predictions
from pipeline.evaluation.segments import FILE_NAME as SEGMENTS
from pipeline.evaluation.segments import Segments, write_segments
from pipeline.evaluation.summary import EDIT_KINDS, summarise, write_summary
from pipeline.metrics.continual import MEASURES

STRATEGIES = {"raie": 0.13, "adapter_replay": 0.12, "ensemble": 0.125, "popularity_recent": 0.09, "static": 0.06}
SEEDS = (0, 1, 2)
COUNTS = {"S": 500, "S_new": 300, "F": 700, "T": 500}
T_FROM = 1.7e9


def predictions(strategies: dict[str, float] | None = None, seeds: tuple[int, ...] = SEEDS) -> Predictions:
    """2,000 interactions of 60 users; a strategy's number is about its Recall@10."""
    made = Predictions()
    for number, (name, quality) in enumerate((strategies or STRATEGIES).items()):
        for seed in seeds:
            rng = np.random.default_rng([number, seed])
            for slice_name in SLICES:
                block(made, name, seed, slice_name, quality=quality, rng=rng)
    return made


def block(
    made: Predictions, name: str, seed: int, slice_name: str, *, quality: float, rng: np.random.Generator
) -> None:
    n = COUNTS[slice_name]
    users = np.random.default_rng(SLICES.index(slice_name)).integers(0, 60, n)
    keeps = quality * (1.6 - quality * 8) if slice_name.startswith("S") else quality
    hit = rng.random(n) < max(keeps, 0.02)
    made.append(
        name,
        seed,
        slice_name,
        event_id=[f"{slice_name}{i}" for i in range(n)],
        user_id=[f"u{user}" for user in users],
        rank=np.where(hit, rng.integers(1, 11, n), rng.integers(11, 500, n)),
        cold=(users < 4) & (slice_name in ("F", "T")),
        position=np.arange(n),
        timestamp=T_FROM + np.arange(n) + 1000.0 * SLICES.index(slice_name),
        region_id=rng.integers(0, 4, n) if name == "raie" else None,
        confidence=rng.random(n) if name == "raie" else None,
    )


def segments(seeds: int) -> dict[str, Segments]:
    rng = np.random.default_rng(7)
    made = {}
    for name, n in COUNTS.items():
        occurrence = rng.integers(0, 10, n) if name in ("F", "T") else np.zeros(n, dtype=np.int64)
        known_user, setup_region = rng.random(n) < 0.5, rng.integers(1, 4, (seeds, n))
        ids = np.array([f"{name}{i}" for i in range(n)])
        made[name] = Segments(ids, np.full(n, 600), occurrence, known_user, setup_region, setup_region == 1)
    return made


def continual(strategies: list[str], seeds: int) -> dict[str, Any]:
    """Results matrices of four slices: each strategy learns the newest and loses a little of the others."""
    found = {}
    for number, name in enumerate(strategies):
        kept = 0.9 - 0.05 * number
        matrix = np.array([[0.1 * kept ** max(i - j, 0) * (0.5 if j > i else 1.0) for j in range(5)] for i in range(5)])
        measures = {key: of(matrix) for key, of in MEASURES.items()}
        spread = {key: {"mean": value, "std": 0.0, "per_seed": [value] * seeds} for key, value in measures.items()}
        found[name] = {metric: {"matrix": matrix.tolist(), **spread} for metric in ("recall@10", "ndcg@10")}
    return {"slices": 4, "windows": [300, 70, 70, 70, 70], "strategies": found}


def facts(made: Predictions) -> RunFacts:
    seeds = len(made.seeds)
    return RunFacts(
        dataset="ml-tiny",
        protocol="prequential",
        slices={name: SliceFacts(COUNTS[name], 60, 400, 0.25) for name in ("S", "F", "T")},
        trained_windows={
            name: [0 if name in ("static", "popularity_recent") else 1000 * (2 + number) + 10 * i for i in range(seeds)]
            for number, name in enumerate(made.strategies)
        },
        edits={kind: [number] * seeds for number, kind in enumerate(EDIT_KINDS)},
        regions_start=[3] * seeds,
        regions_end=[5] * seeds,
        memory_bytes={name: [10_000] * seeds for name in made.strategies},
        segments=segments(seeds),
        continual=continual(made.strategies, seeds),
    )


def run_folder(folder: Path, *, name: str = "raie", text: str = "because", edits: int = 40) -> Path:
    """Write every file of a run; `name` stands in for `static`, `text` in the reasons of edits."""
    folder.mkdir(parents=True, exist_ok=True)
    strategies = {name if name != "raie" and old == "static" else old: quality for old, quality in STRATEGIES.items()}
    made = predictions(strategies)
    write_predictions(made, folder / FILE_NAME)
    write_summary(summarise(made, facts(made), resamples=200), folder / "metrics.json")
    write_segments(segments(len(SEEDS)), SEEDS, folder / SEGMENTS)
    seconds = {strategy: {"setup": 12.5, "train": 30.25, "score": 5.0} for strategy in strategies}
    _json(folder / "timings.json", {"total_seconds": 240.5, "strategies": seconds})
    ledger = [edit(number, text) for number in range(edits)]
    (folder / "ledger.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in ledger), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(statistics()), folder / "statistics.parquet")
    pq.write_table(pa.Table.from_pylist(regions()), folder / "regions.parquet")
    _json(folder / "run.json", run(text))
    return folder


def edit(number: int, text: str = "because") -> dict[str, Any]:
    kind = ("update", "update", "expand", "add", "merge", "retire")[number % 6]
    rejected = number % 7 == 3
    gain = {"metric": "recall@10", "before": 0.1, "after": 0.11 - 0.02 * rejected, "windows": 120}
    return {
        "seed": number // 6 % 2,
        "edit_id": f"e{number:04d}",
        "operation": kind,
        "status": "rejected" if rejected else "published",
        "region_id": number % 3 + 2,
        "other_region_id": 1 if kind in ("expand", "merge") else None,
        "reason": {"signal": "confidence_fell", "text": f"Region {3 + number % 2}: {text}.", "before": 0.6},
        "windows": [f"F{i}" for i in range(number)],
        "at_event": 20 * (number + 1),
        "timestamp": T_FROM + number,
        "cost": {"windows": 10 * number},
        "validation": gain if kind in ("update", "add") else None,
        "version": None if rejected else f"r{3 + number % 2:04d}_v{number:04d}",
    }


def statistics() -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    rows = []
    for region in range(5):
        confidence = 0.8 - 0.08 * region + np.cumsum(rng.normal(0, 0.01, 30))
        evidence = np.cumsum(rng.normal(0.15, 0.3, 30)).clip(-1) % 5
        for i in range(8 if region > 2 else 0, 30):
            row = {"seed": 0, "region_id": region, "origin": "since" if region > 2 else "set-up", "at_event": 40 * i}
            row |= {"timestamp": T_FROM + i, "windows": 10 + i, "confidence": float(confidence[i]), "margin": 0.3}
            row |= {"novelty": 0.5, "doubtful_share": 0.1, "drift_statistic": float(evidence[i]), "threshold": 4.6}
            rows.append(row)
    return rows


def regions() -> list[dict[str, Any]]:
    rng = np.random.default_rng(6)
    rows: list[dict[str, Any]] = []
    for region in range(5):
        centre = np.array([np.cos(region * 1.3), np.sin(region * 1.3)]) * 2
        since = region > 2
        common = {"region_id": region, "origin": "since" if since else "set-up", "status": "live"}
        common |= {"windows": 100, "radius": 0.5, "opened_at_event": 300 * region if since else None}
        rows.append({"kind": "centroid", **common, "x": float(centre[0]), "y": float(centre[1])})
        for x, y in rng.normal(centre, 0.45, (60, 2)):
            rows.append({"kind": "window", **common, "x": float(x), "y": float(y)})
    return rows


def run(note: str) -> dict[str, Any]:
    return {
        "config": {"regions": {"k": 3, "note": note}, "training": {"rate": 0.001, "passes": 2}},
        "versions": {"raie-stream": "0.1.0", "torch": "2.4.0"},
        "data_sha256": "ab" * 32,
        "finetune_from": T_FROM,
        "test_from": T_FROM + 3000,
        "length": 4000,
    }


def _json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")
