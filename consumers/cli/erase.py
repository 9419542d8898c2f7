"""`raie erase`: erasure of a user, and the question what is left of one."""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import ConfigFile, Say, Settings, configuration, say
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.streams.interface import Log

if TYPE_CHECKING:
    from consumers.erasure.inventory import Inventory

app = typer.Typer()

LEFT = 1
"""Exit code where something is left that should be gone."""

PATIENCE = 60.0
"""Seconds to wait for the gate, and for the monitor."""

User = Annotated[str, typer.Argument(metavar="USER", help="Id of the user.", show_default=False)]
By = Annotated[str, typer.Option("--by", help="Your name, for the record.")]
Check = Annotated[bool, typer.Option("--check", help="Erase nobody: show what is left of the user.")]


@app.command()
def erase(
    user: User, check: Check = False, by: By = "command line", config: ConfigFile = None, settings: Settings = None
) -> None:
    """Erase a user up to now, or show what is left of one.

    Writes the erasure to `interactions`, waits until gate and monitor have carried it out, purges an embedded log, and
    shows for each topic what is left and when it goes.

    Exit status 0: nothing is left that should be gone. 1: something is. 2: no gate took the erasure.

    Example: `raie erase ann --set log.url=sqlite:///log.sqlite`
    """
    resolved = configuration(config, settings)
    if not check:
        erase_user(user, resolved, PATIENCE, say, by)
    if show_inventory(user, resolved, typer.echo):
        raise typer.Exit(LEFT)


def erase_user(user: str, config: Config, patience: float, out: Say, by: str) -> None:
    """Erase a user up to now.

    Args:
        user: id of the user.
        config: the whole tree.
        patience: seconds to wait for the gate, and for the monitor.
        out: shows a status line.
        by: who asks for it, for the record.

    Raises:
        BadEvent: it is no user id.
        LogError: no gate took the erasure in time; it stays in the log.
    """
    from consumers.erasure.request import is_forgotten, is_taken, request, wait_until
    from pipeline.events.cells import identifier
    from pipeline.events.erasure import Erasure

    with closing(_checked_log(config)) as log:
        now = round(time.time(), 3)
        requested = request(log, Erasure(identifier(user, "user_id"), now, is_dated=False), by)
        if not wait_until(lambda: is_taken(log, requested), patience, time.monotonic, time.sleep):
            raise LogError(
                f"the erasure is in the log (interactions, offset {requested.offset}), but no gate took it within "
                f"{patience:g} s: it takes effect as soon as one runs; see `raie lag`, then `raie erase {user} --check`"
            )
        if not wait_until(lambda: is_forgotten(log), patience, time.monotonic, time.sleep):
            out(f"no monitor read the erasure within {patience:g} s: it does as soon as one runs")
        _purge(log, config)


def show_inventory(user: str, config: Config, out: Say) -> bool:
    """Show what is left of a user; return True if anything should be gone."""
    from consumers.erasure.inventory import take_inventory
    from pipeline.events.cells import identifier

    with closing(_checked_log(config)) as log:
        found = take_inventory(log, identifier(user, "user_id"), config)
    for line in _lines(user, found):
        out(line)
    return found.is_left


def _checked_log(config: Config) -> Log:
    from consumers.runtime.log_binding import check_rule
    from consumers.runtime.runner import existing_log_of

    log = existing_log_of(config)
    check_rule(log, config)
    return log


def _purge(log: Log, config: Config) -> None:
    """Purge an embedded log; a broker deletes by itself."""
    from consumers.erasure.purge import Purge
    from consumers.runtime.compaction import compact
    from pipeline.streams import SqliteLog

    if isinstance(log, SqliteLog):
        compact(log)
        Purge(config.data.columns, time.time)(log)


def _lines(user: str, found: "Inventory") -> Iterator[str]:
    yield f"{user} was not erased" if found.until is None else f"{user} was erased up to {_date(found.until)}"
    if found.until is not None and found.newer:
        yield f"{found.newer:,} records are later: of a new user of the same id"
    for one in found.remainders:
        when = "" if one.due is None or not one.records else f", {_date(one.due)}"
        goes = f"{one.goes}{when}" if found.until is not None else "after an erasure"
        yield f"{one.place:37s} {one.records:8,d}  {goes}"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "seconds")
