"""Gain from regions where the truth is known: replays of simulated streams, `raie` beside the baselines.

`recurring`: a preference changes, turns back, and changes the same way again. Recall@10 of its users over the first
events after each turn, by strategy.

`one_region`: one preference changes, the others stay. Recall@10 after the last edit on set-up windows of the users of
the others (S, in sample, and S_new, held out), and of the users of the drifted preference in T.

`two_regions`: one preference changes, and later another; `every_region`: one after the other, until none is as in
set-up. Recall@10 of everybody, of the users of what has changed by then, and of the others. A second region helps if
`raie` beats `raie_one`; alarms help if it beats `raie_scheduled`. A second region needs enough windows: 36,000 events.

Streams are the unit: each is a simulated log of its own, and the 95% intervals of the differences to `raie` are
bootstraps over streams. `trained_windows` is what a strategy passed through training. Prints one JSON object.

    python -m benchmarks.known_drift recurring --streams 30
    python -m benchmarks.known_drift two_regions --events 36000 --strategies raie_one,raie_scheduled,raie
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.config import Config, load_config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import simulate
from pipeline.datasets.simulator.simulate import write
from pipeline.evaluation.replay import replay

SETTINGS = (
    "setup.learning_rate=3e-3",
    "setup.max_epochs=60",
    "backbone.hidden_size=32",
    "items.text_encoder=hashing",
)
"""A simulated catalogue is small. Set-up goes on until it has learned: beside an unfinished backbone whoever replays
set-up wins, whatever drifts."""

STRATEGIES = (
    "static",
    "popularity",
    "popularity_recent",
    "sequential_rules",
    "finetune",
    "lora",
    "lora_replay",
    "raie_k1",
    "ensemble",
    "lora_replay_ranked",
    "raie_k1_ranked",
    "ensemble_ranked",
    "raie_no_trend",
    "raie",
)

Array = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]
Measure = Callable[[Columns, Sequence[Mapping[str, Any]], argparse.Namespace], dict[str, float]]


def main() -> None:
    """Replay, and print what was found."""
    options = _arguments()
    config = load_config(overrides=SETTINGS)
    measure = MEASURES[options.scenario]
    found = []
    for seed in range(options.first, options.first + options.streams):
        found.append(_stream(options, config, seed, measure))
        print(f"stream {seed}: {json.dumps(found[-1])}", file=sys.stderr, flush=True)
    print(json.dumps(_report(options, found), indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=list(MEASURES))
    parser.add_argument("--streams", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="seed of the first stream")
    parser.add_argument("--events", type=int, default=12_000, help="interactions of a stream")
    parser.add_argument("--after", type=int, default=200, help="recurring: scored events after a turn")
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    return parser.parse_args()


def _stream(options: argparse.Namespace, config: Config, seed: int, measure: Measure) -> dict[str, dict[str, float]]:
    """Measures and cost by strategy in one stream."""
    names = options.strategies.split(",")
    simulation = simulate(options.scenario, seed, options.events)
    with tempfile.TemporaryDirectory() as folder:
        log, run = Path(folder) / "log", Path(folder) / "run"
        write(simulation, log)
        replay(read_dataset(log), config, names, 1, run, lambda *_: None, time.perf_counter)
        table = pq.read_table(run / "predictions.parquet")
        rows = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["strategies"]
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    return {
        name: measure(
            {key: values[columns["strategy"] == name] for key, values in columns.items()}, simulation.truth, options
        )
        | {"trained_windows": float(rows[name]["trained_windows"][0])}
        for name in names
    }


def _recurring(scored: Columns, truth: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> dict[str, float]:
    """Recall@10 of the drifting users after each turn, and of everybody."""
    stream = np.isin(scored["slice"], ("F", "T")) & ~scored["cold"]
    users = {user for drift in truth for user in drift["users"]}
    theirs = stream & np.isin(scored["user_id"], list(users))
    (away, back), (again, home) = [(d["from"], d["until"]) for d in sorted(truth, key=lambda d: float(d["from"]))]
    found = {
        name: _first(scored, theirs & (scored["timestamp"] >= moment), options.after)
        for name, moment in (("away", away), ("back", back), ("again", again), ("home", home))
    }
    everybody = [
        _first(scored, stream & (scored["timestamp"] >= moment), options.after) for moment in (back, again, home)
    ]
    returns = [found[name] for name in ("back", "again", "home")]
    return found | {
        "returns": float(np.mean(returns)),
        "returns_of_all": float(np.mean(everybody)),
        "F+T": _hits(scored, stream),
    }


def _one_region(scored: Columns, truth: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> dict[str, float]:  # noqa: ARG001
    """Recall@10 where nothing drifted, and where something did."""
    theirs = np.isin(scored["user_id"], [user for drift in truth for user in drift["users"]])
    warm = ~scored["cold"]
    return {
        "untouched S": _hits(scored, (scored["slice"] == "S") & warm & ~theirs),
        "untouched S_new": _hits(scored, (scored["slice"] == "S_new") & warm & ~theirs),
        "untouched T": _hits(scored, (scored["slice"] == "T") & warm & ~theirs),
        "drifted T": _hits(scored, (scored["slice"] == "T") & warm & theirs),
        "F+T": _hits(scored, np.isin(scored["slice"], ("F", "T")) & warm),
    }


def _successive(scored: Columns, truth: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> dict[str, float]:  # noqa: ARG001
    """Recall@10 since the first change: of who has changed by then, and of who has not."""
    warm, stream = ~scored["cold"], np.isin(scored["slice"], ("F", "T"))
    changed, since = np.zeros_like(warm), np.zeros_like(warm)
    for stretch in truth:
        during = (stretch["from"] <= scored["timestamp"]) & (scored["timestamp"] < stretch["until"])
        since |= during
        changed |= during & np.isin(scored["user_id"], stretch["users"])
    return {
        "changed": _hits(scored, stream & warm & changed),
        "untouched": _hits(scored, stream & warm & since & ~changed),
        "S_new": _hits(scored, (scored["slice"] == "S_new") & warm),
        "F+T": _hits(scored, stream & warm),
    }


def _first(scored: Columns, mask: NDArray[np.bool_], events: int) -> float:
    chosen = np.flatnonzero(mask)
    order = np.lexsort((scored["position"][chosen], scored["timestamp"][chosen]))
    return float((scored["rank"][chosen[order[:events]]] <= 10).mean())


def _hits(scored: Columns, mask: NDArray[np.bool_]) -> float:
    return float((scored["rank"][mask] <= 10).mean())


def _report(options: argparse.Namespace, found: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    names = list(found[0])
    measures = list(found[0][names[0]])
    values = {m: {n: np.array([stream[n][m] for stream in found]) for n in names} for m in measures}
    return {
        "settings": {key: str(value) for key, value in vars(options).items()} | {"config": list(SETTINGS)},
        "means": {m: {n: round(float(v.mean()), 4) for n, v in values[m].items()} for m in measures},
        "raie_minus": {
            m: {n: difference(values[m]["raie"], v) for n, v in values[m].items() if n != "raie"} for m in measures
        },
    }


def difference(ours: Array, theirs: Array) -> dict[str, float]:
    """Mean difference over streams, with its 95% bootstrap interval."""
    differences = ours - theirs
    drawn = np.random.default_rng(0).integers(len(differences), size=(10_000, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), (2.5, 97.5))
    return {
        "difference": round(float(differences.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


MEASURES: Mapping[str, Measure] = {
    "recurring": _recurring,
    "one_region": _one_region,
    "two_regions": _successive,
    "every_region": _successive,
}


if __name__ == "__main__":
    main()
