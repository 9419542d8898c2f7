"""`raie up`: gates, monitors, trainers and services as processes of this machine."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from logging import Logger
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import ConfigFile, Root, Say, Settings, configuration
from pipeline.config import Config
from pipeline.errors import RaieError

if TYPE_CHECKING:
    from consumers.cli.processes import Numbers

app = typer.Typer()

REFRESH = ("refresh", "run", "--if-due")
"""A refresh by schedule; started again, it goes on."""


@app.command()
def up(
    root: Root,
    gates: Annotated[
        int, typer.Option("--gates", min=1, help="Number of gates, which share the users; at most log.partitions.")
    ] = 1,
    trainers: Annotated[int, typer.Option("--trainers", min=1, help="Number of trainers.")] = 1,
    servers: Annotated[
        int,
        typer.Option(
            "--servers", min=0, help="Number of servers, which share the users; on server.port and the ports after it."
        ),
    ] = 0,
    monitors: Annotated[
        int, typer.Option("--monitors", min=1, help="Number of monitors: one works, and the others stand by.")
    ] = 1,
    ingest: Annotated[bool, typer.Option("--ingest", help="Run `raie ingest` beside them.")] = False,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Run gates, monitors, trainers and servers on this machine until interrupted; restart those that die.

    Several gates share the partitions of `interactions`, several servers those of `users`: each answers for all users,
    and asks the server that has a user (docs/guides/live.md).

    It follows the generations of the log (`raie refresh`): the stages of one in the shadow run beside those of the one
    that answers, and a switch ends those of the one before. With `refresh.every_days` or `refresh.when_rejected` it
    also begins refreshes itself.

    Example: `raie up --root root --gates 2 --servers 2 --set log.url=sqlite:///log.sqlite`
    """
    from consumers.cli.processes import Numbers
    from consumers.runtime.process_log import process_log

    options = ["--config", str(config)] if config else []
    options += [word for setting in settings or () for word in ("--set", setting)]

    resolved = configuration(config, settings)
    with process_log(resolved.logging, "up", "up") as logger:
        run_up(root, Numbers(gates, trainers, servers, int(ingest), monitors), resolved, options, logger)


def run_up(root: Path, numbers: "Numbers", config: Config, options: Sequence[str], logger: Logger) -> None:
    """Run all stages and services as processes of this machine.

    Args:
        root: of the set-up.
        numbers: of processes.
        config: the whole tree.
        options: `--config` and `--set`, as they were given.
        logger: shows status lines.
    """
    from consumers.cli.processes import RAIE, check_numbers, environment_of, services_of, stages_of
    from consumers.erasure.purge import Purges
    from consumers.http.exposure import check_exposure
    from consumers.refresh.schedule import Schedule
    from consumers.runtime.compaction import Compaction
    from consumers.runtime.generations import folder_of
    from consumers.runtime.runner import stopped_by_signals
    from consumers.runtime.running_generations import RunningGenerations
    from consumers.runtime.supervisor import Supervisor
    from pipeline.streams import open_log, path_of

    if not root.is_dir():
        raise RaieError(f"{root} is no folder: make it with `raie setup --data PATH --out {root}`")
    check_numbers(numbers, config)
    # Or the process would be refused, and started again, for ever.
    if numbers.ingests:
        check_exposure("ingest", config.ingest.host, config.access, os.environ)
    if numbers.servers:
        check_exposure("server", config.server.host, config.access, os.environ)
    stop, changes, path = Event(), _Changes(logger.info), path_of(config.log.url)
    purge = Purges(config.data.columns, time.time)
    compaction = Compaction(path, time.monotonic, logger.warning, purge) if path else None
    open_the_log = partial(open_log, config.log.url, config.log)
    schedule = Schedule(root, config.refresh, time.time)
    clocks = time.monotonic, time.time
    running = RunningGenerations(open_the_log, config, *clocks, logger.warning, schedule.is_due)
    supervisor = Supervisor({}, time.monotonic, environment_of(numbers, config, os.cpu_count() or 1))

    def look(states: Mapping[str, str]) -> None:
        changes(states)
        if compaction:
            compaction()
        commands = services_of(root, numbers, config, options)
        for one in running():
            commands |= stages_of(folder_of(root, one), one.number, numbers, options)
        if running.refresh_is_due:
            commands["refresh-0"] = [*RAIE, *REFRESH, "--root", str(root), *options]
        supervisor.keep(commands)

    with stopped_by_signals(stop), closing(running):
        supervisor.run(stop, look)
    logger.info("all stages have stopped")


class _Changes:
    """Shows the state of a process whenever it changes."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._shown: dict[str, str] = {}

    def __call__(self, states: Mapping[str, str]) -> None:
        for name, state in states.items():
            # The seconds until a restart change all the time.
            lasting = state.split(", starts")[0]
            if self._shown.get(name) != lasting:
                self._say(f"{name:12s} {state}")
            self._shown[name] = lasting
