"""Recall@10 of a replay by what a target was, and differences between strategies with intervals.

    raie replay --data PATH --out RUN --seeds 3 --strategies static,static_inject,raie_no_inject,raie
    python -m benchmarks.targets RUN --pairs static_inject-static,raie-raie_no_inject

Reads a run folder: interactions of F and T of users with history, whose targets are known in S, the first interaction
with an item that S lacks, the 2nd to 5th, or later ones. Differences are means over seeds with 95% intervals, paired
bootstraps over users, as in the report. `median_rank` is over interactions and seeds; a target that was not scored
counts as the last, and null says that half of them were not. Prints one JSON object.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.evaluation import predictions, segments
from pipeline.evaluation.bootstrap import paired_comparisons
from pipeline.evaluation.segment_masks import SINCE_SETUP
from pipeline.metrics.ranking import LIST_LENGTH

Flags = NDArray[np.bool_]


class Scored(NamedTuple):
    """Interactions of F and T of users with history.

    Attributes:
        users: (n,) user of each interaction.
        targets: (n,) masks by what the target was.
        ranks: (seeds, n) rank of the target by strategy, infinite where it was not scored; one row without seeds.
    """

    users: NDArray[np.str_]
    targets: Mapping[str, Flags]
    ranks: Mapping[str, NDArray[np.float64]]

    def hits(self, name: str, target: str) -> Flags:
        """(seeds, m) True where a strategy had the target in its list."""
        return self.ranks[name][:, self.targets[target]] <= LIST_LENGTH


def main(arguments: list[str] | None = None) -> None:
    """Read a run folder, and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder that `raie replay` wrote")
    parser.add_argument("--pairs", default="", help="strategies to compare: A-B,C-D; A less B")
    given = parser.parse_args(arguments)
    pairs = [tuple(pair.split("-", 1)) for pair in given.pairs.split(",") if pair]
    print(json.dumps(report(read_scored(given.run), pairs), indent=2))


def read_scored(run: Path) -> Scored:
    """Read the ranks of every strategy of a run folder."""
    found = predictions.read_predictions(run / predictions.FILE_NAME)
    occurrence = _occurrence(run / segments.FILE_NAME)
    ranks: dict[str, NDArray[np.float64]] = {}
    for name in found.strategies:
        blocks = [_stream(found, name, seed) for seed in found.seeds if found.get(name, seed, "F") is not None]
        ranks[name] = np.stack([np.where(block["rank"] > 0, block["rank"], np.inf) for block in blocks])
        cold, users = blocks[0]["cold"].astype(bool), blocks[0]["user_id"].astype(str)
    masks = {target: mask[~cold] for target, mask in by_target(occurrence).items()}
    return Scored(users[~cold], masks, {name: of[:, ~cold] for name, of in ranks.items()})


def by_target(occurrence: NDArray[np.int64]) -> dict[str, Flags]:
    """(n,) masks by what a target was, from its (n,) `occurrence` (see `Segments`)."""
    return {
        "all": occurrence >= 0,
        "known": occurrence == 0,
        "first": occurrence == 1,
        "2nd to 5th": (occurrence > 1) & (occurrence <= segments.FEW),
        "later": occurrence > segments.FEW,
    }


def report(scored: Scored, pairs: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return Recall@10 by strategy and target, and differences of pairs."""
    return {
        "interactions": {target: int(mask.sum()) for target, mask in scored.targets.items()},
        "recall": {name: recall(scored, name) for name in scored.ranks},
        "median_rank": {n: {t: finite(rank) for t, rank in median_rank(scored, n).items()} for n in scored.ranks},
        "differences": {f"{one} - {other}": _differences(scored, one, other) for one, other in pairs},
    }


def recall(scored: Scored, name: str) -> dict[str, float]:
    """Return Recall@10 of a strategy by target, the mean over seeds."""
    return {t: round(float(scored.hits(name, t).mean()), 5) for t, mask in scored.targets.items() if mask.any()}


def median_rank(scored: Scored, name: str) -> dict[str, float]:
    """Return the median rank of a strategy by target, infinite where half of them were not scored."""
    ranks = scored.ranks[name]
    return {t: float(np.median(ranks[:, mask])) for t, mask in scored.targets.items() if mask.any()}


def finite(value: float) -> float | None:
    """Return None for infinity, which JSON lacks."""
    return value if np.isfinite(value) else None


def _differences(scored: Scored, one: str, other: str) -> dict[str, dict[str, float]]:
    found = {}
    for target, mask in scored.targets.items():
        if mask.any():
            compared = paired_comparisons(scored.hits(one, target), [scored.hits(other, target)], scored.users[mask])[0]
            found[target] = {name: round(getattr(compared, name), 5) for name in ("difference", "low", "high")}
    return found


def _stream(found: predictions.Predictions, name: str, seed: int) -> dict[str, NDArray[Any]]:
    """Columns of F and T, in event order."""
    blocks = [found.get(name, seed, part) for part in SINCE_SETUP]
    ordered = [block.by_position() for block in blocks if block is not None]
    return {column: np.concatenate([getattr(b, column) for b in ordered]) for column in ("rank", "cold", "user_id")}


def _occurrence(path: Path) -> NDArray[np.int64]:
    """Occurrence of every target of F and T, in event order; the same for all seeds."""
    table = pq.read_table(path, columns=["seed", "slice", "position", "occurrence"])
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    parts = []
    for part in SINCE_SETUP:
        rows = np.flatnonzero((columns["slice"] == part) & (columns["seed"] == columns["seed"].min()))
        parts.append(columns["occurrence"][rows[np.argsort(columns["position"][rows])]])
    return np.concatenate(parts).astype(np.int64)


if __name__ == "__main__":
    main()
