"""The log and its kinds: `open_log` turns a URL into one."""

from pathlib import Path

from pipeline.errors import LogError
from pipeline.logs.base import (
    Consumer,
    FencedError,
    Log,
    PartitionLostError,
    Producer,
    Record,
    Topic,
    TopicPartition,
    Transaction,
)
from pipeline.logs.local import LocalLog
from pipeline.logs.memory import MemoryLog

__all__ = [
    "Consumer",
    "FencedError",
    "LocalLog",
    "Log",
    "MemoryLog",
    "PartitionLostError",
    "Producer",
    "Record",
    "Topic",
    "TopicPartition",
    "Transaction",
    "open_log",
]


def open_log(url: str) -> Log:
    """Open a log.

    Args:
        url: `sqlite:///relative/path` or `sqlite:////absolute/path` for a file shared by the processes of one
            machine; `memory:` for one that ends with the process.

    Raises:
        LogError: if the URL names no log, or the log cannot be opened.
    """
    if url == "memory:":
        return MemoryLog()
    path = url.removeprefix("sqlite:///")
    if path not in ("", url):
        return LocalLog(Path(path).expanduser())
    if url.startswith("kafka://"):
        raise LogError(f"{url}: this version has no Kafka log yet; use sqlite:///PATH")
    raise LogError(f"{url!r} names no log; use sqlite:///PATH or memory:")
