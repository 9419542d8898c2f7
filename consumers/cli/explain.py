"""`raie explain`: the ledger of a run, or of the log that the stages share, in sentences."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from consumers.runtime.ledger import Ledger
from pipeline.config import Config
from pipeline.errors import DataError
from pipeline.evaluation.explain import explained, listed
from pipeline.evaluation.run_folder import LEDGER
from pipeline.streams import open_log


def explain(edit: str | None, run: Path | None, log_url: str | None, config: Config) -> str:
    """Explain an edit, or list them all.

    Args:
        edit: its id, or how that begins; None lists them.
        run: folder of a replay; None: the log.
        log_url: the log; None: `log.url` of the configuration.
        config: section `log`.

    Raises:
        DataError: there is no ledger, or no such edit.
        LogError: the log cannot be read.
    """
    ledger = ledger_of_run(run) if run is not None else ledger_of_log(log_url or config.log.url, config)
    if not ledger:
        raise DataError("the ledger is empty: nothing was edited yet")
    return listed(ledger) if edit is None else explained(ledger, edit)


def ledger_of_run(run: Path) -> Sequence[Mapping[str, Any]]:
    """The lines of `ledger.jsonl`."""
    path = run / LEDGER
    if not path.is_file():
        raise DataError(f"{path} is not there: {run} must be the folder of a `raie replay` with the strategy raie")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ledger_of_log(url: str, config: Config) -> Sequence[Mapping[str, Any]]:
    """The edits that ended, as the log has them."""
    with closing(open_log(url, config.log)) as log:
        return Ledger(log, config.log.partitions).records(seed=0)
