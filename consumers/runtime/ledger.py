"""The ledger as the log has it: every edit asked for, and what came of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.topic_reader import value_of
from pipeline.errors import LogError
from pipeline.evaluation.ledger import ledger_record
from pipeline.events.edit import Edit, Outcome
from pipeline.streams.interface import Log, TopicPartition
from pipeline.streams.topics import EDITS, OUTCOMES


class Ledger:
    """Follows `edits` and `outcomes`.

    Args:
        log: where they are.
        partitions: of `edits`.

    Attributes:
        asked: edits by id, in the order in which they were read.
    """

    def __init__(self, log: Log, partitions: int) -> None:
        self.asked: dict[str, Edit] = {}
        self._log = log
        self._positions: dict[TopicPartition, int] = {(EDITS, number): 0 for number in range(partitions)}
        self._positions[OUTCOMES, 0] = 0

    def fresh(self) -> list[tuple[Edit, Outcome]]:
        """Edits that ended since the last call, in the order of their outcomes."""
        # The end of `outcomes` is looked up first: whatever an outcome before it is of is in `edits` then.
        ended = list(self._read(OUTCOMES, 0))
        for topic, partition in list(self._positions):
            if topic == EDITS:
                edits = (Edit.from_record(value) for value in self._read(topic, partition))
                self.asked.update((edit.edit_id, edit) for edit in edits)
        outcomes = [Outcome.from_record(value) for value in ended]
        return [(self[outcome.edit_id], outcome) for outcome in outcomes]

    def records(self, seed: int) -> list[dict[str, Any]]:
        """The lines of `ledger.jsonl` for what ended since the last call."""
        return [ledger_record(seed, edit, outcome) for edit, outcome in self.fresh()]

    def __getitem__(self, edit_id: str) -> Edit:
        if edit_id not in self.asked:
            raise LogError(f"the log has no edit {edit_id}: `raie edits` lists those that it has")
        return self.asked[edit_id]

    def _read(self, topic: str, partition: int) -> Iterator[Mapping[str, Any]]:
        start = self._positions[topic, partition]
        for record in self._log.read(topic, partition, start, max(start, self._log.end_offset(topic, partition))):
            self._positions[topic, partition] = record.offset + 1
            yield value_of(record)


def adapters_ever_live(log: Log) -> set[str]:
    """Names of all adapter versions that a revision names: a rollback may want any of them."""
    found: set[str] = set()
    for _, revision in RevisionFollower().poll(log):
        found |= {region.adapter for region in revision.regions if region.adapter}
    return found
