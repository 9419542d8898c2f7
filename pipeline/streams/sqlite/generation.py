"""An embedded log as one generation sees it, with what only an embedded log can do to its records."""

from collections.abc import Mapping

from pipeline.streams.generation import GenerationLog
from pipeline.streams.interface import Record
from pipeline.streams.sqlite.log import Amended, SqliteLog


class SqliteGeneration(GenerationLog):
    """A generation's view of an embedded log.

    Args:
        log: the whole log.
        generation: number of the generation, from 1.
    """

    def __init__(self, log: SqliteLog, generation: int) -> None:
        super().__init__(log, generation)
        self._sqlite = log

    def amend(self, topic: str, partition: int, records: Mapping[int, Amended | None]) -> int:
        """See `SqliteLog.amend`."""
        return self._sqlite.amend(self.named(topic), partition, records)

    def with_key(self, topic: str, partition: int, start: str) -> list[Record]:
        """See `SqliteLog.with_key`."""
        return list(self.records(self._sqlite.with_key(self.named(topic), partition, start)))

    def tombstones(self, topic: str, partition: int) -> list[Record]:
        """See `SqliteLog.tombstones`."""
        return list(self.records(self._sqlite.tombstones(self.named(topic), partition)))

    def vacuum(self) -> None:
        """See `SqliteLog.vacuum`."""
        self._sqlite.vacuum()
