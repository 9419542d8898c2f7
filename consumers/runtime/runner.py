"""Runs one stage as a process, with metrics and health over HTTP, until a signal stops it."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from consumers.runtime.health import LoopHealth
from consumers.runtime.http_status import served
from consumers.runtime.loop import Loop
from consumers.runtime.stage import Stage
from pipeline.config import Config
from pipeline.streams import Log, open_existing_log, open_log
from pipeline.streams.topics import pipeline_topics
from pipeline.telemetry import Metrics, new_metrics

ADAPTERS = "adapters"
"""Folder of the adapters store in the folder of a set-up."""

Say = Callable[[str], None]
"""Function that shows one line of text."""


def adapters_of(root: Path) -> Path:
    """Path of the adapters store in the folder of a set-up."""
    return root / ADAPTERS


def log_of(config: Config) -> Log:
    """Open the log of the configuration; create its topics if they are missing."""
    return _with_topics(open_log(config.log.url, config.log), config)


def existing_log_of(config: Config) -> Log:
    """Open the log of the configuration, as `log_of` does; an embedded log without a file is refused, not created."""
    return _with_topics(open_existing_log(config.log.url, config.log), config)


def _with_topics(log: Log, config: Config) -> Log:
    try:
        log.create_topics(pipeline_topics(config.log.partitions))
    except BaseException:
        log.close()
        raise
    return log


@contextmanager
def stopped_by_signals(stop: Event) -> Iterator[None]:
    """Set an event at SIGTERM or SIGINT, so that the loop ends after the present turn."""
    before = {sign: signal.signal(sign, lambda *_: stop.set()) for sign in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def run_stage(make: Callable[[Metrics], Stage], instance: str, config: Config, most: int, say: Say) -> None:
    """Run a stage until a signal stops it.

    Args:
        make: makes the stage, given the metrics of the process.
        instance: names this process, the same after a restart.
        config: the whole tree.
        most: most records of a turn.
        say: shows a status line.
    """
    stop, metrics = Event(), new_metrics()
    with stopped_by_signals(stop):
        stage = make(metrics)
        health = LoopHealth(metrics, time.monotonic, say, config.consumers.stuck_after)
        host = config.consumers.host
        with served(metrics, health, host, config.consumers.port) as port:
            say(f"{stage.name} {instance} runs on {config.log.url}; metrics on http://{host}:{port}/metrics")
            Loop(stage, lambda: log_of(config), instance, config.consumers, most, stop, health).run()
    say(f"{stage.name} {instance} has stopped")
