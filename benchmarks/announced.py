"""Items that are announced long before they are taken, half of them never: what injections bring there.

Simulated streams of the scenario `announced` (docs/datasets.md), replayed by `static` and `raie`, each with and without
injections. Recall@10 on F and T, users with history, by what a target was: known in S, the first interaction with a
new item, which exists already, the 2nd to 5th, later ones.

Streams are the unit: each is a log of its own with a set-up of its own, and the 95% intervals of the differences are
bootstraps over streams. Prints one JSON object.

    python -m benchmarks.announced --streams 10
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.known_drift import SETTINGS, difference
from benchmarks.targets import finite, median_rank, read_scored, recall
from pipeline.config import Config, load_config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import simulate, write
from pipeline.editing import injection
from pipeline.evaluation.replay import replay

STRATEGIES = ("static", "static_inject", "raie_no_inject", "raie")

PAIRS = (("static_inject", "static"), ("raie", "raie_no_inject"))
"""Compared: with injections, and without."""


def main(arguments: list[str] | None = None) -> None:
    """Replay, and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="seed of the first stream")
    parser.add_argument("--events", type=int, default=12_000, help="interactions of a stream")
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--set", dest="settings", action="append", default=[], help="setting, as for `raie`")
    parser.add_argument("--place", type=int, default=injection.PLACE, help="place that a window wants for its item")
    parser.add_argument("--pseudo", type=float, default=injection.PSEUDO, help="weight of all pseudo-contexts")
    given = parser.parse_args(arguments)
    injection.PLACE, injection.PSEUDO = given.place, given.pseudo
    config = load_config(overrides=(*SETTINGS, *given.settings))
    found = []
    for seed in range(given.first, given.first + given.streams):
        found.append(measured(seed, given.events, given.strategies.split(","), config))
        print(f"stream {seed}: {json.dumps(found[-1])}", file=sys.stderr, flush=True)
    print(json.dumps(report(found) | {"options": vars(given), "settings": SETTINGS}, indent=2))


def measured(seed: int, events: int, strategies: Sequence[str], config: Config) -> dict[str, Any]:
    """Return Recall@10 by strategy and target in one stream, and sizes."""
    simulation = simulate("announced", seed, events)
    taken = {event.item_id for event in simulation.interactions}
    announced = [item for item in simulation.items.values() if item.available_from is not None]
    with TemporaryDirectory() as folder:
        log, run = Path(folder) / "log", Path(folder) / "run"
        write(simulation, log)
        replay(read_dataset(log), config, strategies, 1, run, lambda *_: None, time.perf_counter)
        scored = read_scored(run)
        rows = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["strategies"]
    return {
        "announced": len(announced),
        "never_taken": sum(item.item_id not in taken for item in announced),
        "interactions": {target: int(mask.sum()) for target, mask in scored.targets.items()},
        "trained_windows": {name: rows[name]["trained_windows"][0] for name in strategies},
        "recall": {name: recall(scored, name) for name in strategies},
        "median_rank": {name: median_rank(scored, name) for name in strategies},
    }


def report(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return means over streams, and differences with their intervals."""
    targets, strategies = list(found[0]["interactions"]), list(found[0]["recall"])
    values, ranks = (
        {n: {t: np.array([stream[measure][n][t] for stream in found]) for t in targets} for n in strategies}
        for measure in ("recall", "median_rank")
    )
    sizes = {name: [stream[name] for stream in found] for name in ("announced", "never_taken")}
    return {
        "streams": len(found),
        "sizes": {name: float(np.mean(size)) for name, size in sizes.items()},
        "interactions": {t: float(np.mean([stream["interactions"][t] for stream in found])) for t in targets},
        "recall": {n: {t: round(float(v.mean()), 4) for t, v in of.items()} for n, of in values.items()},
        "median_rank": {n: {t: finite(float(np.median(v))) for t, v in of.items()} for n, of in ranks.items()},
        "trained_windows": {n: float(np.mean([stream["trained_windows"][n] for stream in found])) for n in strategies},
        "differences": {
            f"{one} - {other}": {t: difference(values[one][t], values[other][t]) for t in targets}
            for one, other in PAIRS
            if {one, other} <= values.keys()
        },
    }


if __name__ == "__main__":
    main()
