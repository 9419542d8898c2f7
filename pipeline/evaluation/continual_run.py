"""Continual run: every slice is scored after each slice learned, for the results matrix of `metrics.continual`.

The stream is cut into equal slices. A share of the windows of each is held out: they are never observed or learned,
and scored after every slice. Slice 0 is set-up, with S_new as its held-out windows. The run is a separate pass over
the stream: figures of the stream itself come from a strategy that observes every event.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import ReplaySettings
from pipeline.errors import DataError
from pipeline.evaluation.protocols import Plan
from pipeline.events.windows import Ids, Windows
from pipeline.metrics.continual import MEASURES, Matrix
from pipeline.metrics.ranking import LIST_LENGTH, Floats, ndcg_at_k, recall_at_k
from pipeline.strategies.base import Strategy

FILE_NAME = "slices.parquet"

HELD_OUT_SEED = 0
"""Seed of the held-out windows, the same for all seeds of a run."""

METRICS: Mapping[str, Callable[[Ids, int], Floats]] = {
    f"recall@{LIST_LENGTH}": recall_at_k,
    f"ndcg@{LIST_LENGTH}": ndcg_at_k,
}
"""Metrics of the results matrices, by name."""

SCHEMA = pa.schema(
    [
        pa.field("strategy", pa.string(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("after", pa.int32(), nullable=False),
        pa.field("slice", pa.int32(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class SlicePlan:
    """Training and test windows of each slice.

    Attributes:
        learned: for each slice of the stream, its update intervals, in event order.
        held_out: test windows, with a history: of set-up (S_new), then of each slice of the stream.
    """

    learned: Sequence[Sequence[Windows]]
    held_out: Sequence[Windows]


def plan_slices(plan: Plan, number: int, settings: ReplaySettings) -> SlicePlan:
    """Cut the stream of a replay into slices.

    Args:
        plan: of the replay.
        number: of slices of the stream.
        settings: `parts` (update intervals of the whole stream), and `slice_held_out`.

    Raises:
        DataError: a slice would have no held-out window.
    """
    stream = plan.stream
    held = np.random.default_rng(HELD_OUT_SEED).random(len(stream)) < settings.slice_held_out
    held &= ~stream.cold
    learned, held_out = [], [plan.scored["S_new"]]
    for rows in np.array_split(np.arange(len(stream)), number):
        intervals = np.array_split(rows[~held[rows]], max(1, round(settings.parts / number)))
        learned.append([stream[interval] for interval in intervals if len(interval)])
        held_out.append(stream[rows[held[rows]]])
    empty = [str(j) for j, windows in enumerate(held_out) if not len(windows)]
    if empty:
        raise DataError(
            f"{number} slices of {len(stream)} interactions leave slice {', '.join(empty)} without a held-out window: "
            "take fewer with --slices, or raise replay.slice_held_out"
        )
    return SlicePlan(learned, held_out)


def slice_ranks(strategy: Strategy, plan: SlicePlan, progress: Callable[[int, int], None]) -> list[list[Ids]]:
    """Run a new strategy through all slices.

    Returns:
        Ranks of the held-out windows of each slice, before the first and after each slice that is learned; what exists
        then is what they are scored over.
    """
    slices = plan.learned
    position = int(slices[0][0].positions[0])
    rows = [_score_all(strategy, plan, position)]
    for done, intervals in enumerate(slices):
        progress(done, len(slices))
        for interval in intervals:
            strategy.observe(interval)
            strategy.learn()
            position = int(interval.positions[-1]) + 1
        rows.append(_score_all(strategy, plan, position))
    progress(len(slices), len(slices))
    return rows


def _score_all(strategy: Strategy, plan: SlicePlan, position: int) -> list[Ids]:
    """Ranks of every held-out window, asked at a position of the log."""
    return [strategy.score(windows.at(position)).ranks for windows in plan.held_out]


class ContinualResults:
    """Ranks of held-out windows, by strategy, seed, slice learned last and slice scored."""

    def __init__(self, plan: SlicePlan) -> None:
        self._plan = plan
        self._ranks: dict[tuple[str, int], Sequence[Sequence[Ids]]] = {}

    def add(self, strategy: str, seed: int, ranks: Sequence[Sequence[Ids]]) -> None:
        """Record what `slice_ranks` returned."""
        self._ranks[strategy, seed] = ranks

    def document(self) -> dict[str, Any]:
        """Section `continual` of `metrics.json`."""
        strategies = sorted({name for name, _ in self._ranks})
        return {
            "slices": len(self._plan.learned),
            "windows": [len(windows) for windows in self._plan.held_out],
            "strategies": {name: {metric: self._figures(name, metric) for metric in METRICS} for name in strategies},
        }

    def write(self, path: Path) -> None:
        """Write `slices.parquet`: every rank, by strategy, seed and slices."""
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            for (strategy, seed), rows in sorted(self._ranks.items()):
                for after, row in enumerate(rows):
                    for number, ranks in enumerate(row):
                        writer.write_table(self._table(strategy, seed, after, number, ranks))

    def _matrices(self, strategy: str, metric: str) -> list[Matrix]:
        """One results matrix per seed."""
        metric_of = METRICS[metric]
        found = [rows for (name, _), rows in sorted(self._ranks.items()) if name == strategy]
        return [np.array([[metric_of(ranks, LIST_LENGTH).mean() for ranks in row] for row in rows]) for rows in found]

    def _figures(self, strategy: str, metric: str) -> dict[str, Any]:
        matrices = self._matrices(strategy, metric)
        measures = {name: _over_seeds([measure(matrix) for matrix in matrices]) for name, measure in MEASURES.items()}
        return {"matrix": np.mean(matrices, axis=0).tolist(), **measures}

    def _table(self, strategy: str, seed: int, after: int, number: int, ranks: Ids) -> pa.Table:
        windows = self._plan.held_out[number]
        keys = {"strategy": strategy, "seed": seed, "after": after, "slice": number}
        columns: dict[str, Any] = {name: [value] * len(ranks) for name, value in keys.items()}
        columns |= {"event_id": windows.event_ids.tolist(), "user_id": windows.users.tolist(), "rank": ranks}
        return pa.Table.from_arrays([pa.array(columns[f.name], type=f.type) for f in SCHEMA], schema=SCHEMA)


def _over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and sample standard deviation; None if a seed has no value."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return {"mean": None, "std": None, "per_seed": list(values)}
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return {"mean": float(np.mean(known)), "std": spread, "per_seed": known}
