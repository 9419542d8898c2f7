"""RAIE and its rivals over a language model, and over `sasrec` on the same data. One JSON object.

    make llm
    python -m benchmarks.llm_table --data ml-latest-small --out runs/llm [--layers 4] [--interactions 16000] [--seeds 3]

Replays the first `--interactions` of a log, in event time, once over each backbone: the first `--layers` layers of
SmolLM2-135M, and `sasrec` with default settings. Strategies, protocol and metrics are those of `raie replay`; the run
folders stay, with their reports. By backbone and strategy: means and standard deviations over seeds, windows trained
on, and `raie` less each other row with its 95% interval (paired bootstrap over users). `published` counts the edits of
`raie` by seed. `claims` is false where a seed published fewer than three: then the rows say nothing about edits.
The table of what is complete is in `table.json` under `--out`, written after each strategy of the first seed and after
each seed, so that a run of hours that is killed has rows to show.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.config import load_config
from pipeline.datasets.dataset import Dataset, read_dataset
from pipeline.datasets.readers.options import options_of
from pipeline.evaluation.replay import replay
from pipeline.evaluation.summary import EDIT_KINDS, RECALL, STREAM
from pipeline.strategies import OF_LANGUAGE_MODELS

STRATEGIES = (
    "static",
    "lora",
    "lora_replay",
    "lora_lwf",
    "lsat",
    "mole",
    "ebpr",
    "raie_k1",
    "ensemble",
    "ensemble_ranked",
    "ranker",
    "raie_no_trend",
    "raie",
    "recicl",
)
"""Rows; those that need a language model are left out over `sasrec`."""

REPORTED = (STREAM, "T", "S_new")
"""Slices of the table."""

LEAST_EDITS = 3
"""Edits that a seed must have published for a claim about them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Replay over each backbone, and print the table."""
    options = _arguments(arguments)
    given = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    found: dict[str, Any] = {}
    for name in options.backbones.split(","):
        _rows_of(name, options, partial(_keep, {"settings": given, "backbones": found}, name, time.perf_counter()))
    print(json.dumps({"settings": given, "backbones": found}, indent=2))


def _rows_of(name: str, options: argparse.Namespace, keep: Callable[[Path, dict[str, Any]], None]) -> None:
    """Replay over one backbone; `keep` receives the file of the table, and the metrics so far."""
    config = load_config(overrides=(*backbones(options.layers)[name], *options.set))
    dataset = first(read_dataset(options.data, options_of(config.data)), options.interactions)
    left_out = frozenset() if config.backbone.kind == "causal_lm" else OF_LANGUAGE_MODELS
    names = [strategy for strategy in options.strategies.split(",") if strategy not in left_out]
    run, kept = options.out / name, partial(keep, options.out / "table.json")
    kept(replay(dataset, config, names, options.seeds, run, _progress, time.perf_counter, so_far=kept))


def _keep(document: dict[str, Any], name: str, began: float, path: Path, metrics: dict[str, Any]) -> None:
    """Put the rows of a backbone into the document, and write it, atomically."""
    document["backbones"][name] = {**table(metrics), "seconds": round(time.perf_counter() - began)}
    draft = path.with_name(f".{path.name}")
    draft.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="interaction log, as of raie replay")
    parser.add_argument("--out", type=Path, required=True, help="a run folder for each backbone is written into it")
    parser.add_argument("--backbones", default=",".join(backbones(1)), help="those of the table, in this order")
    parser.add_argument("--layers", type=int, default=4, help="first layers of the language model that are kept")
    parser.add_argument("--interactions", type=int, default=16_000, help="first interactions of the log")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--strategies", default=",".join(STRATEGIES), help="in this order")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="a setting, of both backbones")
    return parser.parse_args(arguments)


def backbones(layers: int) -> dict[str, tuple[str, ...]]:
    """Return the settings of each backbone."""
    return {
        "sasrec": (),
        "smollm2": ("backbone.kind=causal_lm", "backbone.model=smollm2-135m", f"backbone.layers={layers}"),
    }


def first(dataset: Dataset, interactions: int) -> Dataset:
    """Return the log with its first interactions alone, under a name that says so."""
    if interactions >= len(dataset.interactions):
        return dataset
    return replace(
        dataset, interactions=dataset.interactions[:interactions], name=f"{dataset.name}, first {interactions:,}"
    )


def table(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of one backbone from a run's `metrics.json`."""
    edits = {kind: metrics["edits"][kind] for kind in EDIT_KINDS}
    published = [sum(of) for of in zip(*(counts for kind, counts in edits.items() if kind != "rejected"), strict=True)]
    rows = {
        name: {
            **{part: {key: figures[part][RECALL][key] for key in ("mean", "std")} for part in REPORTED},
            "trained_windows": figures["trained_windows"],
        }
        for name, figures in metrics["strategies"].items()
    }
    for compared in metrics["comparisons"]:
        if compared["slice"] in REPORTED:
            interval = {key: compared[key] for key in ("difference", "low", "high")}
            rows[compared["b"]][f"raie less it, {compared['slice']}"] = interval
    return {
        "stream": metrics["slices"],
        "published": published,
        "edits": edits,
        "claims": bool(published) and min(published) >= LEAST_EDITS,
        "rows": rows,
    }


def _progress(stage: str, done: int, steps: int) -> None:
    if steps and done == steps:
        print(stage, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
