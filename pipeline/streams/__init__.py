"""The log and its kinds: `open_log` turns a URL into one."""

from pathlib import Path

from pipeline.config import LogSettings
from pipeline.errors import LogError
from pipeline.streams.interface import (
    Consumer,
    FencedError,
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
from pipeline.streams.sqlite.log import LocalLog

__all__ = [
    "Consumer",
    "FencedError",
    "LocalLog",
    "Log",
    "MemoryLog",
    "PartitionLostError",
    "Producer",
    "Record",
    "RecordsLostError",
    "Topic",
    "TopicPartition",
    "Transaction",
    "UnavailableError",
    "open_log",
    "path_of",
]

DEFAULTS = LogSettings()


def open_log(url: str, settings: LogSettings = DEFAULTS) -> Log:
    """Open a log.

    Args:
        url: `sqlite:///relative/path` or `sqlite:////absolute/path` for a file shared by the processes of one
            machine; `kafka://host:port[,host:port]` for a broker; `memory:` for one that ends with the process.
        settings: how a broker is talked to; its own `url` is not looked at.

    Raises:
        LogError: if the URL names no log, or the log cannot be opened.
    """
    if url == "memory:":
        return MemoryLog()
    path = path_of(url)
    if path:
        return LocalLog(path)
    if url.startswith("kafka://"):
        # A fifth of a second to import, which those who need no broker do not pay.
        from pipeline.streams.kafka.log import KafkaLog  # noqa: PLC0415

        return KafkaLog(url, settings)
    raise LogError(f"{url!r} names no log; use sqlite:///PATH, kafka://HOST:PORT or memory:")


def path_of(url: str) -> Path | None:
    """Where the file of an embedded log is; None for every other URL."""
    path = url.removeprefix("sqlite:///")
    return None if path in ("", url) else Path(path).expanduser()
