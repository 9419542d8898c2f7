"""Running one stage as a process: what `raie monitor` and `raie train` do."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from consumers.runtime.health import Progress
from consumers.runtime.http_status import Status, served
from consumers.runtime.loop import Loop
from consumers.runtime.stage import Stage
from pipeline.config import Config
from pipeline.streams import Log, open_log
from pipeline.streams.topics import pipeline_topics
from pipeline.telemetry import Metrics, new_metrics

ADAPTERS = "adapters"
"""Folder of the adapter versions, under the root of the set-up."""

Say = Callable[[str], None]


def adapters_of(root: Path) -> Path:
    """Where the versions of a root's regions are."""
    return root / ADAPTERS


def log_of(config: Config) -> Log:
    """Open the log of the configuration, its topics there."""
    log = open_log(config.log.url, config.log)
    try:
        log.create_topics(pipeline_topics(config.log.partitions))
    except BaseException:
        log.close()
        raise
    return log


@contextmanager
def stopped_by_signals(stop: Event) -> Iterator[None]:
    """SIGTERM and SIGINT ask for an end after the turn that is under way."""
    before = {sign: signal.signal(sign, lambda *_: stop.set()) for sign in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def run_stage(make: Callable[[Metrics], Stage], instance: str, config: Config, most: int, say: Say) -> None:
    """Run a stage until it is told to stop.

    Args:
        make: makes the stage.
        instance: names this process, the same after a restart.
        config: the whole tree.
        most: most records of a turn.
        say: where a person is told how it goes.
    """
    stop, metrics = Event(), new_metrics()
    with stopped_by_signals(stop):
        stage = make(metrics)
        progress = Progress(metrics, time.monotonic, say)
        status = Status(metrics, progress, time.monotonic, config.consumers.stuck_after)
        host = config.consumers.host
        with served(status, host, config.consumers.port) as port:
            say(f"{stage.name} {instance} runs on {config.log.url}; metrics on http://{host}:{port}/metrics")
            Loop(stage, lambda: log_of(config), instance, config.consumers, most, stop, progress).run()
    say(f"{stage.name} {instance} has stopped")
