"""The ledger in the log: every edit, and the outcomes of those that ended."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from consumers.runtime.malformed import readable, unreported
from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.topic_reader import value_of
from pipeline.errors import LogError
from pipeline.evaluation.ledger import ledger_record
from pipeline.events.edit import Edit, Outcome
from pipeline.events.gated import with_event_ids
from pipeline.regions.unlearned import Replacement
from pipeline.streams.interface import Log, TopicPartition
from pipeline.streams.topics import EDITS, OUTCOMES

T = TypeVar("T")


class Ledger:
    """A reader of `edits` and `outcomes`; records of other programs are passed over.

    Args:
        log: has both topics.
        partitions: number of partitions of `edits`.

    Attributes:
        edits: edits by id, in the order in which they were read.
    """

    def __init__(self, log: Log, partitions: int) -> None:
        self.edits: dict[str, Edit] = {}
        self._log = log
        self._positions: dict[TopicPartition, int] = {(EDITS, number): 0 for number in range(partitions)}
        self._positions[OUTCOMES, 0] = 0

    def poll(self) -> list[tuple[Edit, Outcome]]:
        """Return the edits that ended since the last call, in the order of their outcomes."""
        # Outcomes are read first: the edit of each of them is then in `edits` already.
        outcomes = list(self._read(OUTCOMES, 0, Outcome.from_record))
        for topic, partition in list(self._positions):
            if topic == EDITS:
                self.edits.update((edit.edit_id, edit) for edit in self._read(topic, partition, Edit.from_record))
        return [(self.edits[outcome.edit_id], outcome) for outcome in outcomes if outcome.edit_id in self.edits]

    def records(self, seed: int) -> list[dict[str, Any]]:
        """Return the lines of `ledger.jsonl` for the edits that ended since the last call."""
        return [ledger_record(seed, with_event_ids(edit, self._log), outcome) for edit, outcome in self.poll()]

    def __getitem__(self, edit_id: str) -> Edit:
        if edit_id not in self.edits:
            raise LogError(f"the log has no edit {edit_id}: `raie edits` lists those that it has")
        return self.edits[edit_id]

    def _read(self, topic: str, partition: int, parse: Callable[[Mapping[str, Any]], T]) -> Iterator[T]:
        start = self._positions[topic, partition]
        end = max(start, self._log.end_offset(topic, partition))
        self._positions[topic, partition] = end
        records = self._log.read(topic, partition, start, end)
        return readable(records, lambda record: parse(value_of(record)), unreported)


def adapters_ever_live(log: Log) -> set[str]:
    """Return all versions that any revision names and no Unlearn destroys: a rollback may restore any of them."""
    found, destroyed = set[str](), set[str]()
    for _, revision in RevisionFollower(None, None, unreported).poll(log):
        found |= {region.adapter for region in revision.regions if region.adapter}
        found |= set(revision.injection.names) if revision.injection else set()
        found |= revision.replacements
        destroyed.update(revision.destroyed)
    return found - destroyed


def destroyed_versions(log: Log) -> dict[str, Replacement | None]:
    """Return the versions that Unlearns have destroyed, and for each the one that stands for it now, or None."""
    found: dict[str, Replacement | None] = {}
    for _, revision in RevisionFollower(None, None, unreported).poll(log):
        replaced = revision.unlearned.replaced if revision.unlearned is not None else {}
        found = {old: replaced.get(by.adapter, by) if by else None for old, by in found.items()} | dict(replaced)
    return found


def arrays_ever_named(log: Log) -> set[str]:
    """Return the sha256 of all array files that any revision names: who starts reads every revision."""
    revisions = RevisionFollower(None, None, unreported).poll(log)
    files = [(one.arrays, one.unlearned.rewritten if one.unlearned else None) for _, one in revisions]
    return {file.sha256 for pair in files for file in pair if file is not None}
