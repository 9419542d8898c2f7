"""Files of `raie` alone: ledger, statistics by region, and region map."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.events.edit import Edit, Operation, Outcome

REJECTED = "rejected"

STATISTICS_SCHEMA = pa.schema(
    [
        ("seed", pa.int32()),
        ("region_id", pa.int32()),
        ("origin", pa.string()),
        ("at_event", pa.int64()),
        ("timestamp", pa.float64()),
        ("windows", pa.int64()),
        ("confidence", pa.float64()),
        ("margin", pa.float64()),
        ("novelty", pa.float64()),
        ("recall", pa.float64()),
        ("popularity_recall", pa.float64()),
        ("doubtful_share", pa.float64()),
        ("drift_statistic", pa.float64()),
        ("threshold", pa.float64()),
        ("told_apart", pa.float64()),
        ("share", pa.float64()),
        ("since_share", pa.float64()),
    ]
)
REGIONS_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("region_id", pa.int32()),
        ("origin", pa.string()),
        ("status", pa.string()),
        ("windows", pa.int64()),
        ("radius", pa.float64()),
        ("opened_at_event", pa.int64()),
        ("x", pa.float64()),
        ("y", pa.float64()),
    ]
)


def ledger_record(seed: int, edit: Edit, outcome: Outcome) -> dict[str, Any]:
    """Ledger line of an edit and its outcome, windows by event id.

    Operation and region are those of the outcome: an Add is published as an Update if the parent's update does as well.
    """
    return {
        "seed": seed,
        "edit_id": edit.edit_id,
        "operation": str(outcome.operation),
        "status": "published" if outcome.published else REJECTED,
        "region_id": outcome.region_id,
        "other_region_id": edit.other_region_id,
        "reason": dict(edit.reason),
        "detail": outcome.detail,
        "windows": [e.event_id for e in edit.windows],
        "at_event": edit.at_event,
        "timestamp": edit.timestamp,
        "cost": {"windows": outcome.trained_windows},
        "validation": outcome.validation,
        "moved_windows": outcome.moved_windows,
        "version": outcome.version,
    }


def edit_counts(ledger: Iterable[tuple[Edit, Outcome]]) -> dict[str, int]:
    """Number of published edits by operation, and of rejected edits; in a replay nobody is unlearned."""
    operations = [str(operation) for operation in Operation if operation is not Operation.UNLEARN]
    counts = dict.fromkeys([*operations, REJECTED], 0)
    for _, outcome in ledger:
        # An Add may be published as an Update of the parent.
        counts[str(outcome.operation) if outcome.published else REJECTED] += 1
    return counts


def write_ledger(records: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write `ledger.jsonl`, one edit per line; equal records give equal bytes."""
    lines = (json.dumps(record, sort_keys=True, ensure_ascii=False, allow_nan=False) for record in records)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, path: Path) -> None:
    """Write rows as Parquet."""
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), path, compression="zstd")
