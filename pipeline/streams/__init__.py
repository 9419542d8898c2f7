"""The log between the stages: its interface, and `open_log` for the log of a URL.

A new kind of log is one module or folder with a function `open_log(url, settings)`, and one line in `KINDS`.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from pipeline.config import LogSettings
from pipeline.errors import LogError
from pipeline.streams.generation import GenerationLog
from pipeline.streams.interface import (
    Consumer,
    FencedError,
    LastingLog,
    Log,
    PartitionLostError,
    Producer,
    Record,
    RecordsLostError,
    Topic,
    TopicPartition,
    Transaction,
    UnavailableError,
)
from pipeline.streams.memory import MemoryLog
from pipeline.streams.sqlite.log import SqliteLog, path_of

__all__ = [
    "Consumer",
    "FencedError",
    "GenerationLog",
    "LastingLog",
    "Log",
    "MemoryLog",
    "PartitionLostError",
    "Producer",
    "Record",
    "RecordsLostError",
    "SqliteLog",
    "Topic",
    "TopicPartition",
    "Transaction",
    "UnavailableError",
    "open_existing_log",
    "open_log",
    "path_of",
    "restore_log",
]

DEFAULTS = LogSettings()


class Kind(NamedTuple):
    """A kind of log: an example of its URL, the module that opens it, and the one that makes it of a saved log."""

    example: str
    module: str
    restored_by: str | None = None


KINDS: Mapping[str, Kind] = {
    "sqlite": Kind("sqlite:///PATH", "pipeline.streams.sqlite.log", "pipeline.streams.sqlite.saved"),
    "kafka": Kind("kafka://HOST:PORT", "pipeline.streams.kafka.log", "pipeline.streams.kafka.restoring"),
    "memory": Kind("memory:", "pipeline.streams.memory"),
}
"""Kinds of logs by URL scheme.

Modules are imported on use: that of kafka takes a fifth of a second, which users of other logs need not wait for."""


def open_log(url: str, settings: LogSettings = DEFAULTS) -> Log:
    """Open a log.

    Args:
        url: `sqlite:///relative/path` or `sqlite:////absolute/path` for a file shared by the processes of one
            machine; `kafka://host:port[,host:port]` for a broker; `memory:` for one that ends with the process.
        settings: settings of a broker; their own `url` is ignored.

    Raises:
        LogError: if the URL names no log, or the log cannot be opened.
    """
    scheme, colon, _ = url.partition(":")
    if not colon or scheme not in KINDS:
        *first, last = (kind.example for kind in KINDS.values())
        raise LogError(f"{url!r} names no log; use {', '.join(first)} or {last}")
    log: Log = import_module(KINDS[scheme].module).open_log(url, settings)
    return log


def restore_log(saved: Path, url: str, settings: LogSettings = DEFAULTS) -> None:
    """Make a log of a saved one, under the same offsets.

    Args:
        saved: file that `save` of a log wrote.
        url: of a log that does not exist yet; of either kind, whatever kind was saved.
        settings: settings of a broker.

    Raises:
        LogError: the log exists, or cannot be written.
    """
    kind = KINDS.get(url.partition(":")[0])
    if kind is None or kind.restored_by is None:
        raise LogError(f"{url!r} names no log that lasts; use sqlite:///PATH or kafka://HOST:PORT")
    import_module(kind.restored_by).restore(saved, url, settings)


def open_existing_log(url: str, settings: LogSettings = DEFAULTS) -> Log:
    """Open a log to read it: an embedded log without a file is refused, where `open_log` would create one.

    Raises:
        LogError: if there is no such file, the URL names no log, or the log cannot be opened.
    """
    path = path_of(url)
    if path is not None and not path.is_file():
        raise LogError(
            f"there is no log at {path} (log.url is {url}): start the command in the folder of the log, or name the "
            "log with `--set log.url=sqlite:///PATH`"
        )
    return open_log(url, settings)
