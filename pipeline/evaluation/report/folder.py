"""Reading a run folder for the report. Only metrics and predictions are required."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.evaluation import predictions, segments, summary
from pipeline.evaluation.predictions import Predictions, read_predictions
from pipeline.evaluation.segments import read_setup_regions
from pipeline.events.windows import Ids

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Content of a run folder; None stands for a missing file.

    Attributes:
        metrics: `metrics.json`.
        predictions: `predictions.parquet`.
        timings: `timings.json`, seconds by strategy and phase.
        ledger: `ledger.jsonl`, one record per edit, in the order of the file.
        statistics: rows of `statistics.parquet`, one per region and interval.
        regions: rows of `regions.parquet`, centroids and windows in two dimensions.
        run: `run.json`, inputs of the run.
        setup_regions: of `traits.parquet`, the set-up region of each window by seed and slice, in slice order.
    """

    metrics: Record
    predictions: Predictions
    timings: Record | None
    ledger: list[Record] | None
    statistics: list[Record] | None
    regions: list[Record] | None
    run: Record | None
    setup_regions: Mapping[tuple[int, str], Ids] | None


def read_folder(folder: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        DataError: the metrics or predictions are missing, or a file is invalid.
        OSError: a file cannot be read.
    """
    missing = [name for name in (summary.FILE_NAME, predictions.FILE_NAME) if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder} is not a finished run: it has no {' and no '.join(missing)}")
    return RunFolder(
        metrics=_json(folder / summary.FILE_NAME) or {},
        predictions=read_predictions(folder / predictions.FILE_NAME),
        timings=_json(folder / "timings.json"),
        ledger=_json_lines(folder / "ledger.jsonl"),
        statistics=_rows(folder / "statistics.parquet"),
        regions=_rows(folder / "regions.parquet"),
        run=_json(folder / "run.json"),
        setup_regions=read_setup_regions(folder / segments.FILE_NAME)
        if (folder / segments.FILE_NAME).is_file()
        else None,
    )


def read_documents(folder: Path) -> tuple[Record, Record | None]:
    """Read the metrics of a run, and `run.json` if it exists.

    Raises:
        DataError: the metrics are missing, or a file is invalid.
        OSError: a file cannot be read.
    """
    metrics = _json(folder / summary.FILE_NAME)
    if metrics is None:
        raise DataError(f"{folder} is not a finished run: it has no {summary.FILE_NAME}")
    return metrics, _json(folder / "run.json")


def _json(path: Path) -> Record | None:
    if not path.is_file():
        return None
    return _parsed(path.read_text(encoding="utf-8"), path.name)


def _json_lines(path: Path) -> list[Record] | None:
    if not path.is_file():
        return None
    # splitlines() would also split at the line separators that Unicode allows inside a JSON string.
    lines = enumerate(path.read_text(encoding="utf-8").split("\n"), start=1)
    return [_parsed(line, f"{path.name}, line {number}") for number, line in lines if line.strip()]


def _parsed(text: str, where: str) -> Record:
    try:
        record = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"{where} is not a JSON object")
    return record


def _rows(path: Path) -> list[Record] | None:
    if not path.is_file():
        return None
    rows: list[Record] = pq.read_table(path).to_pylist()
    return rows
