"""Runs one stage as a process, with metrics and health over HTTP, until a signal stops it."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import Logger
from pathlib import Path
from threading import Event
from urllib.parse import quote

from consumers.runtime.generations import base_of, create_active_topics, create_topics, number_of, read_generations
from consumers.runtime.health import LoopHealth
from consumers.runtime.http_status import served
from consumers.runtime.log_binding import bind_log
from consumers.runtime.loop import Loop
from consumers.runtime.stage import Stage
from consumers.runtime.tracing import tracing_of
from consumers.runtime.user_tables import UserTables
from pipeline.config import Config
from pipeline.setup.binding import Binding, check_settings, read_binding
from pipeline.streams import GenerationLog, Log, open_existing_log, open_log
from pipeline.streams.topics import producer_of
from pipeline.telemetry import Metrics, new_metrics

ADAPTERS = "adapters"
"""Folder of the adapters store in the folder of a set-up."""

USERS = "users"
"""Folder of kept tables of users in the folder of a set-up."""

Say = Callable[[str], None]
"""Function that shows one line of text."""


def adapters_of(root: Path) -> Path:
    """Path of the adapters store in the folder of a set-up."""
    return root / ADAPTERS


def user_tables_of(root: Path, config: Config, process: str, say: Say) -> UserTables:
    """Kept tables of the users of a process, by its name among all that have the folder of the set-up."""
    return UserTables(user_folder_of(root, config) / quote(process, safe=""), say)


def user_folder_of(root: Path, config: Config) -> Path:
    """Folder of the kept tables of a generation's processes; that of the first may have those of later ones, too."""
    if not config.users.folder:
        return root / USERS
    # Of each generation its own: stages of the same names run at once.
    return Path(config.users.folder).expanduser() / root.relative_to(base_of(root))


def log_of(config: Config) -> GenerationLog:
    """Open the log of the configuration as the generation sees it that answers; create its topics if they are missing.

    It stays with this generation, also when another one is switched to.
    """
    return _with_topics(open_log(config.log.url, config.log), config)


def existing_log_of(config: Config) -> GenerationLog:
    """Open the log of the configuration, as `log_of` does; an embedded log without a file is refused, not created."""
    return _with_topics(open_existing_log(config.log.url, config.log), config)


def bound_log_of(config: Config, writer: str, binding: Binding | None = None) -> GenerationLog:
    """Open the log of the configuration, and check that this process may use it.

    Args:
        config: the whole tree.
        writer: id of the process' producer.
        binding: set-up of the process, whose generation the log is seen by; None for one without, which sees it by
            the one that answers.

    Raises:
        RaieError: see `bind_log`; or the generation was pruned.
    """
    return bound_log(open_log(config.log.url, config.log), config, writer, binding)


def bound_log(log: Log, config: Config, writer: str, binding: Binding | None = None) -> GenerationLog:
    """Do what `bound_log_of` does with an open log, which is closed where that fails."""
    with _closed_on_error(log):
        own = create_active_topics(log, config.log.partitions)
        if binding is not None:
            number = number_of(read_generations(log), binding.root)
            own = own if number == own.generation else create_topics(log, number, config.log.partitions)
        bind_log(own, writer, config, binding)
    return own


def _with_topics(log: Log, config: Config) -> GenerationLog:
    with _closed_on_error(log):
        return create_active_topics(log, config.log.partitions)


@contextmanager
def _closed_on_error(log: Log) -> Iterator[None]:
    try:
        yield
    except BaseException:
        log.close()
        raise


@contextmanager
def stopped_by_signals(stop: Event) -> Iterator[None]:
    """Set an event at SIGTERM or SIGINT, so that the loop ends after the present turn."""
    before = {sign: signal.signal(sign, lambda *_: stop.set()) for sign in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def binding_of(root: Path, config: Config) -> Binding:
    """Read the binding of a set-up.

    Raises:
        ConfigError: the configuration does not fit the set-up.
        DataError: the folder is no set-up.
    """
    binding = read_binding(root)
    check_settings(binding.settings, config, f"the set-up in {root}")
    return binding


def run_stage(
    make: Callable[[Metrics], Stage], root: Path, instance: str, config: Config, most: int, logger: Logger
) -> None:
    """Run a stage until a signal stops it.

    Args:
        make: makes the stage, given the metrics of the process.
        root: folder of the set-up.
        instance: names this process, the same after a restart.
        config: the whole tree.
        most: most records of a turn.
        logger: shows status lines.
    """
    stop, metrics, binding = Event(), new_metrics(), binding_of(root, config)
    with stopped_by_signals(stop):
        stage = make(metrics)
        health = LoopHealth(metrics, time.monotonic, logger.warning, config.consumers.stuck_after)
        host = config.consumers.host
        with served(metrics, health, host, config.consumers.port) as port:
            logger.info(f"{stage.name} {instance} runs on {config.log.url}; metrics on http://{host}:{port}/metrics")

            def opened() -> GenerationLog:
                log = bound_log_of(config, producer_of(stage.name, instance), binding)
                metrics.generation.set(log.generation)
                return log

            with tracing_of(config.tracing, stage.name, instance) as tracing:
                Loop(stage, opened, instance, config.consumers, most, stop, health, tracing=tracing).run()
    logger.info(f"{stage.name} {instance} has stopped")
