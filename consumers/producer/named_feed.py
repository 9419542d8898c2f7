"""A feed with a name: its position is recorded with its records, so that it goes on where it stopped."""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import DataError
from pipeline.events.feed_position import FeedPosition
from pipeline.streams.interface import Log, Transaction
from pipeline.streams.topics import FEEDS


class NamedFeed:
    """Writes the records of one feed, each transaction with the position behind them.

    Args:
        log: has the topics.
        name: name of the feed. An older process that writes it is stopped at its next transaction.
        source: facts of the source that decide its records; see `FeedPosition`.

    Attributes:
        done: newest position.

    Raises:
        DataError: the feed was begun with another source.
    """

    def __init__(self, log: Log, name: str, source: Mapping[str, Any]) -> None:
        # Before the position is read: whoever wrote the feed until now can move it no more.
        self._producer = log.producer(f"feed-{name}")
        found = position_of(log, name)
        if found is not None and found.differences(source):
            raise DataError(
                f"feed {name} was begun with other data or settings ({', '.join(found.differences(source))}): use the "
                "same ones, or write everything as another feed with --feed NAME"
            )
        self.done = found or FeedPosition(name, source)

    def write(self, send: Callable[[Transaction], None], position: int, line: int = 0) -> None:
        """Write records in one transaction with the position after them."""
        done = self.done.at(position, line)
        with self._producer.transaction() as transaction:
            send(transaction)
            transaction.send(FEEDS, done.to_record(), key=done.name, timestamp=0.0)
        self.done = done


def position_of(log: Log, name: str) -> FeedPosition | None:
    """Return the newest position of a feed, None for one that never began.

    Raises:
        DataError: a program that knows no feeds has written it.
    """
    found = None
    for record in log.read(FEEDS, 0, log.start_offset(FEEDS, 0), log.end_offset(FEEDS, 0)):
        if record.key == name and record.value is not None:
            found = record.value
    try:
        return None if found is None else FeedPosition.from_record(found)
    except (KeyError, TypeError) as error:
        raise DataError(f"the position of feed {name} cannot be read ({error!r}): use another --feed NAME") from None
