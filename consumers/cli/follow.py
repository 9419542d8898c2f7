"""The part of `raie produce` that follows JSON lines."""

import hashlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from logging import Logger
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from pipeline.config import Config

if TYPE_CHECKING:
    from consumers.producer.checks import Topic
    from consumers.producer.line_source import LineSource
    from consumers.producer.line_writer import Commit
    from pipeline.streams import Log


def follow(file: str, topic: "Topic", feed: str | None, config: Config, logger: Logger) -> None:
    """Write JSON lines into the log until a pipe ends or a signal comes.

    Args:
        file: a growing file, or `-` for standard input.
        topic: topic of the records.
        feed: name under which the position in a file is kept; None: its path.
        config: sections `data` and `log`.
        logger: shows status lines.

    Raises:
        DataError: the file is not the one in which the feed has a position.
    """
    from consumers.producer.checks import checker
    from consumers.producer.line_writer import LineWriter
    from consumers.runtime.runner import bound_log_of, stopped_by_signals

    stop = Event()
    with (
        stopped_by_signals(stop),
        closing(bound_log_of(config, "produce-log")) as log,
        _opened(file, topic, feed, log, stop) as (source, commit),
    ):
        write = LineWriter(checker(topic, config.data), commit, logger.warning, time.time)
        source.follow(write, stop)
    logger.info(f"{write.written:,} records written to {config.log.url}; {write.refusals:,} lines refused")


@contextmanager
def _opened(
    file: str, topic: "Topic", feed: str | None, log: "Log", stop: Event
) -> Iterator[tuple["LineSource", "Commit"]]:
    """Open a source of lines, and what writes them."""
    from consumers.producer.line_source import LineSource
    from consumers.producer.line_writer import to_log

    if file == "-" or not Path(file).is_file():
        descriptor = sys.stdin.fileno() if file == "-" else os.open(file, os.O_RDONLY)
        producer = log.producer(f"pipe-{socket.gethostname()}-{os.getpid()}")
        yield LineSource(descriptor, ends=True), to_log(producer)
        return
    with _opened_file(Path(file), topic, feed, log, stop) as opened:
        yield opened


@contextmanager
def _opened_file(
    path: Path, topic: "Topic", feed: str | None, log: "Log", stop: Event
) -> Iterator[tuple["LineSource", "Commit"]]:
    """Open a file at the position of its feed."""
    from consumers.producer.line_source import LineSource, check_length, first_line
    from consumers.producer.line_writer import to_feed
    from consumers.producer.named_feed import NamedFeed

    begin = hashlib.sha256(first_line(path, stop)).hexdigest()
    named = NamedFeed(log, feed or str(path.resolve()), {"topic": topic, "first line": begin})
    check_length(path, named.done.position)
    with path.open("rb", buffering=0) as opened:
        opened.seek(named.done.position)
        source = LineSource(opened.fileno(), named.done.position, named.done.line, ends=False)
        yield source, to_feed(named)
