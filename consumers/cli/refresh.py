"""`raie refresh`: a new set-up beside the running pipeline, its judgement, the switch to it, and the way back."""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import SEED, ConfigFile, Root, Settings, configuration, say, terminal
from pipeline.config import Config

if TYPE_CHECKING:
    from consumers.cli.terminal import Terminal
    from consumers.refresh.switching import Operator
    from pipeline.events.generation import Generation
    from pipeline.events.split import Split
    from pipeline.setup.judgement import Judgement
    from pipeline.streams import GenerationLog

app = typer.Typer(
    no_args_is_help=True,
    help="Replace the set-up of a running pipeline by one from the newest interactions, if it is better (and back).",
)

REFUSED = 1
"""Exit code where a judgement refused the new set-up."""

By = Annotated[str, typer.Option("--by", help="Your name, for the record.")]
Patience = Annotated[float, typer.Option("--patience", min=0, help="Seconds to wait for the gate.")]
NAME = "command line"


@app.command()
def run(
    root: Root,
    by: By = NAME,
    if_due: Annotated[
        bool, typer.Option("--if-due", help="Only if refresh.every_days or refresh.when_rejected say so.")
    ] = False,
    hours: Annotated[float, typer.Option("--hours", min=0, help="Hours to wait for enough events.")] = 24.0,
    patience: Patience = 600.0,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Do all of it while `raie up` runs: prepare, wait until both set-ups have scored enough events, judge, switch.

    The running pipeline answers as before until the new set-up has passed. Interrupted, the same command goes on.
    `raie up` calls it with --if-due; so may a timer of yours.

    Exit status 0: switched. 1: the new set-up was refused, with its numbers. 2: neither; the message says why.

    Example: `raie refresh run --root root --set log.url=sqlite:///log.sqlite`
    """
    from consumers.refresh.schedule import SCHEDULE, Schedule
    from consumers.refresh.switching import switch, wait_for_events
    from consumers.runtime.generations import read_generations
    from consumers.runtime.runner import existing_log_of

    by = SCHEDULE if if_due else by
    resolved, operator = configuration(config, settings), _operator(by)
    with closing(existing_log_of(resolved)) as log:
        if if_due and not Schedule(root, resolved.refresh, time.time).is_due(log, read_generations(log)):
            typer.echo("no refresh is due")
            return
        new = read_generations(log).shadow or _prepared(root, resolved, by, terminal())
        wait_for_events(log, new, resolved.refresh, 3600 * hours, operator)
        found = switch(log, resolved.refresh, patience, operator)
        _tell(found, new, log)


@app.command()
def prepare(root: Root, by: By = NAME, config: ConfigFile = None, settings: Settings = None) -> None:
    """Make a set-up from the newest interactions, and let its stages run in the shadow of the present one.

    Copies users and positions of the gate, trains on the `refresh.learn_events` interactions before them, and writes
    the set-up to ROOT/generations/N. `raie up` then runs its stages beside the others, on topics of their own.
    Interrupted, the same command goes on from the last whole epoch.

    Example: `raie refresh prepare --root root --set refresh.begin_from=backbone`
    """
    new = _prepared(root, configuration(config, settings), by, terminal())
    typer.echo(f"generation {new.number} runs in the shadow: see `raie refresh status`, then `raie refresh switch`")


@app.command()
def status(config: ConfigFile = None, settings: Settings = None) -> None:
    """Show all generations, and how the one in the shadow compares so far; change nothing.

    Example: `raie refresh status --set log.url=sqlite:///log.sqlite`
    """
    from consumers.runtime.runner import existing_log_of

    resolved = configuration(config, settings)
    with closing(existing_log_of(resolved)) as log:
        for line in described(log, resolved):
            typer.echo(line)


@app.command()
def switch(
    force: Annotated[bool, typer.Option("--force", help="Switch at once, without a judgement.")] = False,
    to: Annotated[
        int | None, typer.Option("--to", help="With --force: the generation, also one that stands by.")
    ] = None,
    by: By = NAME,
    patience: Patience = 60.0,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Judge the set-up in the shadow on the events that both have scored; switch to it if it is better for sure.

    A judgement is made once: a set-up that does not pass is refused and its stages end, as if it had never been. With
    --force an operator decides instead; the numbers are recorded all the same.

    Exit status 0: switched. 1: refused, with its numbers. 2: neither; the message says why.

    Example: `raie refresh switch --by ann`
    """
    from consumers.refresh.switching import switch as switch_to
    from consumers.refresh.switching import switch_by_force
    from consumers.runtime.generations import read_generations
    from consumers.runtime.runner import existing_log_of

    if to is not None and not force:
        raise typer.BadParameter("--to names a generation without a judgement: add --force")
    resolved, operator = configuration(config, settings), _operator(by)
    with closing(existing_log_of(resolved)) as log:
        if force:
            active = switch_by_force(log, to, resolved.refresh, operator)
            typer.echo(f"generation {active.number} answers, by force; `raie refresh rollback` goes back")
            return
        new = read_generations(log).shadow
        found = switch_to(log, resolved.refresh, patience, operator)
        assert new is not None
        _tell(found, new, log)


@app.command()
def split(
    share: Annotated[
        float,
        typer.Option("--share", min=0, max=1, help="Share of the users; 0 ends it.", show_default=False),
    ],
    to: Annotated[
        int | None, typer.Option("--to", help="Generation that answers them; default: the one in the shadow.")
    ] = None,
    by: By = NAME,
    patience: Patience = 600.0,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Let a share of the users be answered by another generation (A/B), and compare what they click.

    Users are drawn by a hash of their ids, the same on every server and after every restart. Where the share grows,
    users are added and none changes sides; --share 0 ends it and shows the outcome, and so does a switch. Both
    generations need their stages: `raie up` runs them. One that stands by runs again first.

    `raie refresh status` and the control room show the outcome so far. It is of the feedback on answers (`POST
    /feedback`), and counted anew with each change of the share.

    Example: `raie refresh split --share 0.5 --by ann`
    """
    from consumers.refresh.splitting import end_split
    from consumers.refresh.splitting import split as split_users
    from consumers.runtime.runner import existing_log_of

    if not share and to is not None:
        raise typer.BadParameter("--share 0 ends the split that is under way, whichever it is: leave --to out")
    with closing(existing_log_of(configuration(config, settings))) as log:
        if share:
            typer.echo(_split_line(split_users(log, share, to, patience, _operator(by))))
            typer.echo("servers load it first: `GET /split` has the split once one answers by it")
        else:
            typer.echo(str(end_split(log, _operator(by))))
            typer.echo(f"generation {log.generation} answers all users")


@app.command()
def stop(by: By = NAME, config: ConfigFile = None, settings: Settings = None) -> None:
    """Give up a set-up that is prepared or runs in the shadow: its stages end, and it stands by until it is pruned.

    Example: `raie refresh stop`
    """
    from consumers.refresh.switching import give_up
    from consumers.runtime.generations import read_generations
    from consumers.runtime.runner import existing_log_of
    from pipeline.errors import LogError
    from pipeline.events.generation import State

    with closing(existing_log_of(configuration(config, settings))) as log:
        found = [one for one in read_generations(log).kept if one.state in (State.PREPARING, State.SHADOW)]
        if not found:
            raise LogError("no generation is prepared or runs in the shadow")
        for one in found:
            give_up(log, one.number, {}, _operator(by))
            typer.echo(f"generation {one.number} was given up")


@app.command()
def rollback(
    now: Annotated[bool, typer.Option("--now", help="Switch before its gate has read what came since.")] = False,
    by: By = NAME,
    patience: Patience = 600.0,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Go back to the generation that answered before.

    Its stages run again from where they stood; the switch comes once its gate has read what came since. With --now it
    comes first: answers are the old ones at once, from histories that catch up.

    Example: `raie refresh rollback --by ann`
    """
    from consumers.refresh.switching import roll_back
    from consumers.runtime.runner import existing_log_of

    with closing(existing_log_of(configuration(config, settings))) as log:
        active = roll_back(log, patience, now, _operator(by))
    typer.echo(f"generation {active.number} answers again")


@app.command()
def prune(
    root: Root,
    days: Annotated[float, typer.Option("--days", min=0, help="Keep those that stand by for less.")] = 0.0,
    by: By = NAME,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Remove topics and files of generations that stand by; nothing goes back to them afterwards.

    A trainer does so, too, after `refresh.kept_days`.

    Example: `raie refresh prune --root root --days 1`
    """
    from consumers.refresh.pruning import prune as prune_generations
    from consumers.runtime.runner import existing_log_of

    resolved = configuration(config, settings)
    with closing(existing_log_of(resolved)) as log:
        pruned = prune_generations(log, root, resolved, by, time.time(), days)
    for number in pruned:
        typer.echo(f"generation {number} was removed")
    if not pruned:
        typer.echo("no generation has stood by for long enough")


def described(log: "GenerationLog", config: Config) -> Iterator[str]:
    """Describe the generations of a log, line by line."""
    from consumers.refresh.shadow import behind, judgement
    from consumers.runtime.generations import read_generations
    from consumers.runtime.split_counts import read_outcome

    generations = read_generations(log)
    for one in generations.all.values():
        learned = f", set up on {sum(one.ends) - sum(one.starts):,} interactions" if one.ends else ""
        yield f"generation {one.number}: {one.state}{_since(one)}{learned}"
    if generations.split is not None:
        yield _split_line(generations.split)
        yield f"clicks since: {read_outcome(log, generations.split)}"
    new = generations.shadow
    if new is not None:
        found = judgement(log, generations, new, config.refresh)
        yield f"in the shadow: {found}"
        yield f"judged from {config.refresh.judged_events:,} events on; its gate is {behind(log, new.number):,} behind"


def _since(one: "Generation") -> str:
    return f" since {datetime.fromtimestamp(one.since, UTC).isoformat(' ', 'seconds')}" if one.since else ""


def _split_line(found: "Split") -> str:
    others = "" if found.share == 1.0 else f", generation {found.beside} all others"
    return f"generation {found.generation} answers {found.share:.1%} of the users{others}; `--share 0` ends it"


def _tell(found: "Judgement", new: "Generation", log: "GenerationLog") -> None:
    """Show the outcome of a judgement; raises Exit where it refused."""
    typer.echo(str(found))
    if found.passed:
        typer.echo(f"generation {new.number} answers; `raie refresh rollback` goes back")
        return
    typer.echo(f"generation {new.number} was refused, generation {log.generation} answers as before")
    raise typer.Exit(REFUSED)


def _prepared(root: Path, config: Config, by: str, terminal: "Terminal") -> "Generation":
    from consumers.cli.setup import show_memory
    from consumers.cli.terminal import Stages
    from consumers.refresh.preparation import Inputs, prepare_generation

    with Stages(terminal.err) as stages:
        on_built = partial(show_memory, config=config, terminal=terminal)
        return prepare_generation(Inputs(root, config, by, SEED, time.time, time.monotonic, stages, on_built))


def _operator(by: str) -> "Operator":
    from consumers.refresh.switching import Operator

    return Operator(by, time.time, time.monotonic, time.sleep, say)
