"""`raie up`: gate, monitor and trainers as processes of this machine."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from logging import Logger
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from consumers.cli.options import ConfigFile, Root, Say, Settings, configuration
from pipeline.config import Config
from pipeline.errors import RaieError
from pipeline.streams.topics import name_in

app = typer.Typer()

RAIE = (sys.executable, "-m", "consumers.cli.main")
"""Start of a command line of this program."""

REFRESH = ("refresh", "run", "--if-due")
"""A refresh by schedule; started again, it goes on."""


@app.command()
def up(
    root: Root,
    trainers: Annotated[int, typer.Option("--trainers", min=1, help="Number of trainers.")] = 1,
    ingest: Annotated[bool, typer.Option("--ingest", help="Run `raie ingest` beside them.")] = False,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Run one gate, one monitor and the trainers on this machine until interrupted; restart those that die.

    It follows the generations of the log (`raie refresh`): the stages of one in the shadow run beside those of the one
    that answers, and a switch ends those of the one before. With `refresh.every_days` or `refresh.when_rejected` it
    also begins refreshes itself.

    Example: `raie up --root root --set log.url=sqlite:///log.sqlite`
    """
    options = ["--config", str(config)] if config else []
    options += [word for setting in settings or () for word in ("--set", setting)]
    from consumers.runtime.process_log import process_log

    resolved = configuration(config, settings)
    with process_log(resolved.logging, "up", "up") as logger:
        run_up(root, trainers, ingest, resolved, options, logger)


def run_up(root: Path, trainers: int, ingest: bool, config: Config, options: Sequence[str], logger: Logger) -> None:
    """Run all stages as processes of this machine.

    Args:
        root: of the set-up.
        trainers: number of trainers.
        ingest: True to run the ingest service beside them.
        config: the whole tree.
        options: `--config` and `--set`, as they were given.
        logger: shows status lines.
    """
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
    if ingest:
        # Or the process would be refused, and started again, for ever.
        check_exposure("ingest", config.ingest.host, config.access, os.environ)
    stop, changes, path = Event(), _Changes(logger.info), path_of(config.log.url)
    purge = Purges(config.data.columns, time.time)
    compaction = Compaction(path, time.monotonic, logger.warning, purge) if path else None
    open_the_log = partial(open_log, config.log.url, config.log)
    schedule = Schedule(root, config.refresh, time.time)
    clocks = time.monotonic, time.time
    running = RunningGenerations(open_the_log, config, *clocks, logger.warning, schedule.is_due)
    supervisor = Supervisor({}, time.monotonic)

    def look(states: Mapping[str, str]) -> None:
        changes(states)
        if compaction:
            compaction()
        commands = _ingest(options) if ingest else {}
        for one in running():
            commands |= _stages(folder_of(root, one), one.number, trainers, options)
        if running.refresh_is_due:
            commands["refresh-0"] = [*RAIE, *REFRESH, "--root", str(root), *options]
        supervisor.keep(commands)

    with stopped_by_signals(stop), closing(running):
        supervisor.run(stop, look)
    logger.info("all stages have stopped")


def _stages(root: Path, generation: int, trainers: int, options: Sequence[str]) -> dict[str, list[str]]:
    """Command line of each stage of a generation, by name; the instance names are the same in each of them."""
    stages = [("gate", "gate-0"), ("monitor", "monitor-0"), *(("train", f"trainer-{i}") for i in range(trainers))]
    return {
        name_in(generation, name): [*RAIE, stage, "--root", str(root), "--instance", name, *options]
        for stage, name in stages
    }


def _ingest(options: Sequence[str]) -> dict[str, list[str]]:
    return {"ingest-0": [*RAIE, "ingest", *options]}


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
