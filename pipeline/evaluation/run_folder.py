"""Folder of a run: its files, and the conditions for replacing an earlier run."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.build_info import PROGRAM
from pipeline.errors import DataError
from pipeline.evaluation import continual_run, predictions, segments, summary
from pipeline.evaluation.report.build import FILE_NAME as REPORT

RUN, TIMINGS, LEDGER = "run.json", "timings.json", "ledger.jsonl"
STATISTICS, REGIONS, STATE = "statistics.parquet", "regions.parquet", "state"
FILES = (
    summary.FILE_NAME,
    predictions.FILE_NAME,
    segments.FILE_NAME,
    continual_run.FILE_NAME,
    TIMINGS,
    LEDGER,
    STATISTICS,
    REGIONS,
    REPORT,
    RUN,
)
"""Files of a run. `run.json` is written first and removed last: it marks the folder as that of a run."""


def refuse_foreign(out: Path) -> None:
    """Check that a folder is new, empty, or that of an earlier run.

    Raises:
        DataError: it is none of these.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise DataError(f"{out} is not a folder: name a new one with --out")
    if out.exists() and any(out.iterdir()) and not _is_run(out):
        raise DataError(
            f"{out} holds files that are not those of an earlier run: name a new or empty folder with --out "
            "(nothing was changed)"
        )


def claim(out: Path, run: Mapping[str, Any]) -> None:
    """Prepare the folder of a new run; the files of an earlier run are removed, and no others.

    Args:
        out: the folder.
        run: the content of `run.json`.

    Raises:
        DataError: the folder holds other files.
        OSError: it cannot be written.
    """
    refuse_foreign(out)
    out.mkdir(parents=True, exist_ok=True)
    if (out / STATE).is_symlink():
        raise DataError(f"{out / STATE} is a link, which is not part of a run: remove it")
    if (out / STATE).is_dir():
        shutil.rmtree(out / STATE)
    for name in FILES:
        (out / name).unlink(missing_ok=True)
    write_json(out / RUN, {"program": PROGRAM, **run})


@contextmanager
def scratch(out: Path) -> Iterator[Path]:
    """Temporary folder inside a run folder; `claim` removes that of a killed run."""
    state = out / STATE
    state.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=state) as folder:
        yield Path(folder)
    if not any(state.iterdir()):
        state.rmdir()


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document; equal documents give equal bytes."""
    path.write_text(summary.canonical_json(document), encoding="utf-8")


def _is_run(out: Path) -> bool:
    try:
        content = json.loads((out / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("program") == PROGRAM
