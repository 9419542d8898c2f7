"""The folder of a run: which files belong to it, and when an earlier run may be replaced."""

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
"""Every file of a run; `run.json` is written first and removed last: it says whose folder this is."""


def refuse_foreign(out: Path) -> None:
    """See to it that a folder may become that of a run: it is new, empty, or an earlier run's.

    Raises:
        DataError: it is none of these; nothing was changed.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise DataError(f"{out} is not a folder: name a new one with --out")
    if out.exists() and any(out.iterdir()) and not _is_run(out):
        raise DataError(
            f"{out} holds files that no earlier run left there: name a new or empty folder with --out "
            "(nothing was changed)"
        )


def claim(out: Path, run: Mapping[str, Any]) -> None:
    """Make a folder that of a new run; what an earlier run left is removed, and nothing else.

    Args:
        out: the folder.
        run: the content of `run.json`.

    Raises:
        DataError: the folder is somebody else's.
        OSError: it cannot be written.
    """
    refuse_foreign(out)
    out.mkdir(parents=True, exist_ok=True)
    if (out / STATE).is_symlink():
        raise DataError(f"{out / STATE} is a link, which no run makes: remove it")
    if (out / STATE).is_dir():
        shutil.rmtree(out / STATE)
    for name in FILES:
        (out / name).unlink(missing_ok=True)
    write_json(out / RUN, {"program": PROGRAM, **run})


@contextmanager
def scratch(out: Path) -> Iterator[Path]:
    """A folder for what a run needs for a while; `claim` removes that of a run that was killed."""
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
