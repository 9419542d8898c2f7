"""`raie explain`: the ledger of a run, or of the live log, in sentences."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from consumers.cli.options import ConfigFile, LogUrl, Settings, configuration
from pipeline.config import Config
from pipeline.errors import DataError

app = typer.Typer()


@app.command("explain")
def command(
    edit: Annotated[
        str | None, typer.Argument(metavar="EDIT", help="Id of an edit, or its first characters. [default: list all]")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="Folder of a replay. [default: the live log, see --log]"),
    ] = None,
    log: LogUrl = None,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Explain an edit: the alarm behind it, its evidence, its validation and its outcome.

    Example: `raie explain 3f9a --run runs/ml`
    """
    typer.echo(explain(edit, run, log, configuration(config, settings)))


def explain(edit: str | None, run: Path | None, log_url: str | None, config: Config) -> str:
    """Explain one edit, or list them all.

    Args:
        edit: its id, or the first characters of it; None lists all edits.
        run: folder of a replay; None: the log.
        log_url: the log; None: `log.url` of the configuration.
        config: section `log`.

    Raises:
        DataError: there is no ledger, or no such edit.
        LogError: the log cannot be read.
    """
    from pipeline.evaluation.explain import explained, listed

    ledger = ledger_of_run(run) if run is not None else ledger_of_log(log_url or config.log.url, config)
    if not ledger:
        raise DataError("the ledger is empty: no edit has ended yet")
    return listed(ledger) if edit is None else explained(ledger, edit)


def ledger_of_run(run: Path) -> Sequence[Mapping[str, Any]]:
    """Lines of `ledger.jsonl` in the folder of a run."""
    from pipeline.evaluation.run_folder import LEDGER

    path = run / LEDGER
    if not path.is_file():
        raise DataError(f"{path} is not there: {run} must be the folder of a `raie replay` with the strategy raie")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ledger_of_log(url: str, config: Config) -> Sequence[Mapping[str, Any]]:
    """Ledger lines of the edits in a log that have ended."""
    from consumers.runtime.generations import active_log
    from consumers.runtime.ledger import Ledger
    from pipeline.streams import open_existing_log

    with closing(active_log(open_existing_log(url, config.log))) as log:
        return Ledger(log, config.log.partitions).records(seed=0)
