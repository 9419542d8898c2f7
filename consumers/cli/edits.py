"""`raie edits`: the edits that have ended, listed, followed or carried out again."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import ConfigFile, Root, Say, Settings, configuration
from pipeline.config import Config
from pipeline.errors import RaieError

if TYPE_CHECKING:
    from pipeline.events.edit import Edit, Outcome

app = typer.Typer(invoke_without_command=True)


@app.callback()
def show(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", help="Keep running, and show new edits as they end.")] = False,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """List every edit that has ended with its outcome, or carry one out again.

    Example: `raie edits --follow`
    """
    if context.invoked_subcommand is None:
        show_edits(configuration(config, settings), follow, typer.echo)


@app.command("rerun")
def rerun(
    edit: Annotated[str, typer.Argument(metavar="EDIT", help="Id of a published edit.")],
    root: Root,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Carry a published edit out again from the same evidence, and compare the results byte for byte.

    Example: `raie edits rerun 3f9a5c0d71b24e6688aa10f2 --root root`
    """
    rerun_edit(root, edit, configuration(config, settings), typer.echo)


def show_edits(config: Config, follow: bool, out: Say, wait: Callable[[float], None] = time.sleep) -> None:
    """Show the edits that have ended, a line each; with `follow`, new ones as they end."""
    from consumers.runtime.ledger import Ledger
    from consumers.runtime.runner import existing_log_of

    with closing(existing_log_of(config)) as log:
        ledger = Ledger(log, config.log.partitions)
        while True:
            for edit, outcome in ledger.poll():
                out(edit_line(edit, outcome))
            if not follow:
                return
            wait(config.consumers.poll_timeout)


def edit_line(edit: "Edit", outcome: "Outcome") -> str:
    """One edit in a line."""
    status = f"published {outcome.version or ''}".strip() if outcome.published else "rejected"
    regions = f"{outcome.region_id}" + (f" and {edit.other_region_id}" if edit.other_region_id is not None else "")
    windows = f"{len(edit.windows)} windows"
    return f"{edit.edit_id}  {outcome.operation:7s} region {regions}, {windows}: {status}; {outcome.detail}"


def rerun_edit(root: Path, edit_id: str, config: Config, out: Say) -> None:
    """Carry a published edit out again, and compare.

    Raises:
        RaieError: the result differs from what was published.
    """
    from consumers.runtime.generations import folder_of, read_generations
    from consumers.runtime.ledger import Ledger
    from consumers.runtime.runner import adapters_of, existing_log_of
    from consumers.trainer.rerun import rerun
    from pipeline.models.seeding import make_deterministic
    from pipeline.setup.storage import load_setup

    make_deterministic()
    with closing(existing_log_of(config)) as log:
        ledger = Ledger(log, config.log.partitions)
        ledger.poll()
        own = folder_of(root, read_generations(log).active)
        found = rerun(ledger[edit_id], load_setup(own, config.compute), config, log, adapters_of(own))
    what = f"adapter {found.version}, byte for byte" if found.version else "the same boundary, number by number"
    if not found.alike:
        raise RaieError(
            f"edit {edit_id} gave a result that differs from what was published ({what}): were settings, versions of "
            "packages, or the number of threads different?"
        )
    out(f"edit {edit_id} gives {what}, again")
