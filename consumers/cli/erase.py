"""`raie erase`: erasure of a user, and the question what is left of one."""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import ConfigFile, Say, Settings, configuration, say
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.streams.interface import Log

if TYPE_CHECKING:
    from consumers.erasure.inventory import Inventory
    from consumers.erasure.request import Requested

app = typer.Typer()

LEFT = 1
"""Exit code where something is left that should be gone."""

PATIENCE = 60.0
"""Seconds to wait for the gate, and for the monitor."""

TRAINER_PATIENCE = 600.0
"""Seconds to wait for a trainer that ends no edit; it may load a model, or carry out an edit that came before."""

User = Annotated[str, typer.Argument(metavar="USER", help="Id of the user.", show_default=False)]
By = Annotated[str, typer.Option("--by", help="Your name, for the record.")]
Check = Annotated[bool, typer.Option("--check", help="Erase nobody: show what is left of the user.")]
Unlearn = Annotated[
    bool, typer.Option("--unlearn", help="Also train anew, without the user, what has learned from the user.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With --unlearn: erase nobody, show what it would cost.")]


@app.command()
def erase(
    user: User,
    check: Check = False,
    unlearn: Unlearn = False,
    dry_run: DryRun = False,
    by: By = "command line",
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Erase a user up to now, or show what is left of one.

    Writes the erasure to `interactions`, waits until gate and monitor have carried it out, purges an embedded log, and
    shows for each topic what is left and when it goes.

    With --unlearn the published edits are carried out again without the user's windows, from the first that rests on
    one; their versions are trained anew and judged, and the old ones destroyed. What that costs is shown first, and
    --dry-run ends there. It belongs to the erasure: afterwards nobody can tell which windows were the user's.

    Exit status 0: nothing is left that should be gone. 1: something is, or the unlearning goes on. 2: no gate took the
    erasure.

    Example: `raie erase ann --set log.url=sqlite:///log.sqlite`

    Example: `raie erase ann --unlearn --dry-run`
    """
    resolved = configuration(config, settings)
    if dry_run and (check or not unlearn):
        raise typer.BadParameter("--dry-run shows the cost of --unlearn, and nothing else has one")
    if check:
        is_done = True
    elif unlearn:
        is_done = unlearn_user(user, resolved, dry_run, typer.echo, by)
    else:
        is_done = True
        erase_user(user, resolved, PATIENCE, say, by)
    if not dry_run and (show_inventory(user, resolved, typer.echo) or not is_done):
        raise typer.Exit(LEFT)


def unlearn_user(user: str, config: Config, dry_run: bool, out: Say, by: str) -> bool:
    """Show what unlearning a user costs; unless it is a dry run, erase the user and wait for the unlearning.

    Args:
        user: id of the user.
        config: the whole tree.
        dry_run: True to erase nobody.
        out: shows a line of the answer.
        by: who asks for it, for the record.

    Returns:
        False where the unlearning is not carried out, or not yet.

    Raises:
        BadEvent: it is no user id.
        LogError: the user was erased before, so that the windows cannot be found; or as `erase_user`.
    """
    from consumers.cli.unlearning_report import cost_line, residue_lines, result_lines
    from consumers.erasure.request import erasure_in, wait_until
    from consumers.erasure.unlearning import cost_of
    from consumers.erasure.unlearning_progress import UnlearningProgress
    from consumers.runtime.generations import active_log
    from pipeline.events.cells import identifier

    with closing(_checked_log(config)) as log:
        progress = UnlearningProgress(log, identifier(user, "user_id"))
        if not progress.names and erasure_in(log, user) is not None:
            raise LogError(
                f"{user} was erased before, and the key that linked windows to {user} went with that: what was learned "
                "of them stays until a new set-up (`raie setup`)"
            )
        cost = cost_of(log, progress.names)
        out(cost_line(user, cost))
        if dry_run:
            return True
        requested = erase_user(user, config, PATIENCE, say, by, unlearn=True)
        out("waiting for the trainer; without this command it goes on as well")
        patience = max(TRAINER_PATIENCE, 2 * (cost.seconds or 0.0))
        is_answered = partial(progress.is_done, requested)
        answered = wait_until(is_answered, patience, time.monotonic, time.sleep, progress.ended)
        results = list(progress.results())
        for one, edits in results:
            where = f"generation {one.generation}: " if len(results) > 1 else ""
            for line in result_lines(one, edits.values()):
                out(where + line)
        if answered:
            _purge(log, config)
        else:
            out(f"the unlearning goes on, or no trainer runs: no edit ended in {patience:.0f} s; see `raie edits`")
        for line in residue_lines(active_log(log), config, time.time()):
            out(line)
        return answered and all(outcome.published for _, edits in results for _, outcome in edits.values())


def erase_user(user: str, config: Config, patience: float, out: Say, by: str, *, unlearn: bool = False) -> "Requested":
    """Erase a user up to now, in every generation that runs; a refresh may be switched to in the meantime.

    Args:
        user: id of the user.
        config: the whole tree.
        patience: seconds to wait for the gate, and for the monitor.
        out: shows a status line.
        by: who asks for it, for the record.
        unlearn: True to have the user unlearned, too.

    Returns:
        The erasure in the log.

    Raises:
        BadEvent: it is no user id.
        LogError: no gate took the erasure in time; it stays in the log.
    """
    from consumers.erasure.request import is_forgotten, is_taken, request, wait_until
    from consumers.runtime.generations import active_log, running_logs
    from pipeline.events.cells import identifier
    from pipeline.events.erasure import Erasure

    with closing(_checked_log(config)) as log:
        now = round(time.time(), 3)
        requested = request(log, Erasure(identifier(user, "user_id"), now, is_dated=False, unlearn=unlearn), by)
        if not wait_until(lambda: is_taken(active_log(log), requested), patience, time.monotonic, time.sleep):
            raise LogError(
                f"the erasure is in the log (interactions, offset {requested.offset}), but no gate took it within "
                f"{patience:g} s: it takes effect as soon as one runs; see `raie lag`, then `raie erase {user} --check`"
            )
        has_passed = lambda: all(is_taken(one, requested) for one in running_logs(log))  # noqa: E731
        if not wait_until(has_passed, patience, time.monotonic, time.sleep):
            out(f"the gate in the shadow has not read the erasure within {patience:g} s: it does once it has caught up")
        if not wait_until(lambda: is_forgotten(active_log(log)), patience, time.monotonic, time.sleep):
            out(f"no monitor read the erasure within {patience:g} s: it does as soon as one runs")
        _purge(log, config)
        return requested


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
    from consumers.erasure.purge import Purges
    from consumers.runtime.compaction import compact
    from consumers.runtime.generations import whole
    from pipeline.streams import SqliteLog

    if isinstance(found := whole(log), SqliteLog):
        compact(found)
        Purges(config.data.columns, time.time)(found)


def _lines(user: str, found: "Inventory") -> Iterator[str]:
    yield f"{user} was not erased" if found.until is None else f"{user} was erased up to {_date(found.until)}"
    if found.until is not None and found.newer:
        yield f"{found.newer:,} records are later: of a new user of the same id"
    for one in found.remainders:
        when = "" if one.due is None else f", {_date(one.due)}"
        goes = f"{one.goes}{when}" if found.until is not None else "after an erasure"
        yield f"{one.place:37s} {one.records:8,d}  {goes if one.records else 'nothing left'}"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "seconds")
