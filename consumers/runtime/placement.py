"""Placement of interactions: the partitioner of the newest records, and how many are not on their user's partition."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.errors import BadEvent
from pipeline.events.cells import identifier
from pipeline.streams.codec import encode_key
from pipeline.streams.interface import Log, Record
from pipeline.streams.partitioner import PARTITIONERS, partition_of
from pipeline.streams.topics import INTERACTIONS

SAMPLE = 200
"""Newest offsets of a partition that are read."""

SURE = 0.95
"""Share of the keys that a partitioner must place as they are, to be named as the one in use."""


@dataclass(frozen=True)
class Placement:
    """Newest records of one partition of `interactions`.

    Attributes:
        partition: the partition.
        records: records read.
        at_home: those on the partition of their user.
        keys_are_users: those whose key is their user id.
        unreadable: those without a user id.
        keyless: those without a key.
        placed: partitioner -> records with a key that it places on this partition.
    """

    partition: int
    records: int
    at_home: int
    keys_are_users: int
    unreadable: int
    keyless: int
    placed: Mapping[str, int]

    @property
    def partitioner(self) -> str | None:
        """Name of the partitioner that places the keys as they are; None without keys, or if it is none known."""
        keyed = self.records - self.keyless
        name, count = max(self.placed.items(), key=lambda entry: entry[1])
        return name if keyed and count >= SURE * keyed else None


def placements(log: Log) -> Iterator[Placement]:
    """Read the newest records of each partition of `interactions`."""
    partitions = log.topic(INTERACTIONS).partitions
    for partition in range(partitions):
        end = log.end_offset(INTERACTIONS, partition)
        start = max(log.start_offset(INTERACTIONS, partition), end - SAMPLE)
        yield _placement(partition, partitions, list(log.read(INTERACTIONS, partition, start, end)))


def _placement(partition: int, partitions: int, records: list[Record]) -> Placement:
    placed = dict.fromkeys(PARTITIONERS, 0)
    counts: Counter[str] = Counter()
    for record in records:
        user_id, key = _user_of(record), encode_key(record.key)
        counts["unreadable"] += user_id is None
        counts["at_home"] += user_id is not None and partition_of(user_id, partitions) == partition
        counts["keys_are_users"] += bool(key) and user_id == record.key
        counts["keyless"] += not key
        for name, place in PARTITIONERS.items():
            placed[name] += key is not None and key != b"" and place(key, partitions) == partition
    return Placement(
        partition,
        len(records),
        counts["at_home"],
        counts["keys_are_users"],
        counts["unreadable"],
        counts["keyless"],
        placed,
    )


def _user_of(record: Record) -> str | None:
    """Return the user of an interaction or erasure; None where it cannot be read."""
    if record.value is None:
        return None
    try:
        return identifier(record.value.get("user_id"), "user_id")
    except BadEvent:
        return None
