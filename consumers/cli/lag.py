"""`raie lag`: the lag of each stage."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import ConfigFile, Say, Settings, configuration
from pipeline.config import Config

if TYPE_CHECKING:
    from consumers.runtime.lag import Lag
    from pipeline.streams import GenerationLog

app = typer.Typer()

BEHIND = 1
"""Exit code where a stage did not catch up in time."""

POLL = 0.5
"""Seconds between two looks."""


@app.command()
def lag(
    wait: Annotated[
        int | None,
        typer.Option("--wait", min=0, help="Wait until no stage has more records than this to read."),
    ] = None,
    patience: Annotated[float, typer.Option("--patience", min=0, help="With --wait: seconds to wait.")] = 600.0,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Show the lag of each stage: the records it has still to read, by partition.

    Beside the generation that answers, that of one in the shadow (`raie refresh`) is shown, too. With --wait it is
    shown once all stages have caught up; exit status 1: one has not within --patience. Where events flow, a few are
    always unread: wait for what comes in some seconds, not for 0.

    Example: `raie lag --set log.url=sqlite:///log.sqlite`

    Example: `raie lag --wait 100`
    """
    if not show_lag(configuration(config, settings), typer.echo, wait, patience):
        raise typer.Exit(BEHIND)


def show_lag(
    config: Config,
    out: Say,
    wait: int | None = None,
    patience: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Show committed position, end and lag of each stage and partition, a line each.

    Args:
        config: names the log.
        out: shows a line.
        wait: records that a stage may have to read before anything is shown; None: any number.
        patience: seconds to wait for that.
        sleep: waits.
        clock: monotonic seconds.

    Returns:
        False where a stage has more to read after so many seconds.
    """
    from consumers.runtime.runner import existing_log_of

    with closing(existing_log_of(config)) as log:
        deadline = clock() + patience
        while True:
            found = list(_lags(log, config.log.partitions))
            has_caught_up = wait is None or max(_unread(found).values()) <= wait
            if has_caught_up or clock() >= deadline:
                break
            sleep(POLL)
    several = len({generation for generation, _ in found}) > 1
    for generation, lag in found:
        which = f"generation {generation} " if several else ""
        where = f"{which}{lag.stage:8s} {lag.topic}/{lag.partition}"
        out(f"{where}: {lag.behind:,} behind, at {lag.position:,} of {lag.end:,}")
    return has_caught_up


def _lags(log: "GenerationLog", partitions: int) -> "Iterator[tuple[int, Lag]]":
    from consumers.runtime.generations import running_logs
    from consumers.runtime.lag import lags

    for own in running_logs(log):
        yield from ((own.generation, lag) for lag in lags(own, partitions))


def _unread(found: "list[tuple[int, Lag]]") -> dict[tuple[int, str], int]:
    """Records that each stage has to read, in all partitions."""
    unread: dict[tuple[int, str], int] = {}
    for generation, lag in found:
        unread[generation, lag.stage] = unread.get((generation, lag.stage), 0) + lag.behind
    return unread
