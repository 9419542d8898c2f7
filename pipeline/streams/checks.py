"""Checks and error messages that all logs share."""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.errors import LogError
from pipeline.streams.interface import FencedError, PartitionLostError, RecordsLostError, Topic, TopicPartition


def check_same(existing: Topic, wanted: Topic) -> None:
    """Raise LogError if an existing topic differs from the wanted one in partitions or retention."""
    if (existing.partitions, existing.kept) != (wanted.partitions, wanted.kept):
        raise LogError(
            f"topic {wanted.name} exists with partitions={existing.partitions}, kept={existing.kept!r}, not with "
            f"partitions={wanted.partitions}, kept={wanted.kept!r}. Configure the existing values, or use a new log"
        )


def differences(existing: Mapping[str, Topic], wanted: Iterable[Topic]) -> list[str]:
    """Return the wanted topics that are missing or differ in partitions or retention, one line each."""
    problems = []
    for topic in wanted:
        there = existing.get(topic.name)
        if there is None:
            problems.append(f"topic {topic.name} does not exist")
            continue
        if there.partitions != topic.partitions:
            problems.append(f"topic {topic.name} has {there.partitions} partitions, not {topic.partitions}")
        if there.kept != topic.kept:
            problems.append(f"topic {topic.name} is kept {there.kept!r}, not {topic.kept!r}")
    return problems


def check_kept(topic: str, partition: int, start: int, end: int, first_kept: int) -> None:
    """Raise RecordsLostError, with the range, if some of the offsets start <= offset < end are deleted."""
    if start < 0:
        raise LogError(f"offset {start} of {topic}/{partition} does not exist; the first is 0")
    if start < min(end, first_kept):
        last = min(end, first_kept) - 1
        raise RecordsLostError(
            f"offsets {start}..{last} of {topic}/{partition} are already deleted (the first kept is {first_kept}); "
            f"keep the records of {topic} longer"
        )


def check_all_kept(topic: str, partition: int, offsets: Sequence[int], first_kept: int) -> None:
    """Raise RecordsLostError, with their range, if some of these offsets, which are sorted, are deleted."""
    lost = [offset for offset in offsets if offset < first_kept]
    if lost:
        check_kept(topic, partition, lost[0], lost[-1] + 1, first_kept)


def foreign_consumer() -> LogError:
    """Return the error of a transaction with the positions of another log's consumer."""
    return LogError("offsets are committed with the records of the same log; this consumer is of another")


def lost_records(group: str, where: TopicPartition, position: int, first_kept: int) -> RecordsLostError:
    """Return the error of a group whose next records were deleted before it read them."""
    return RecordsLostError(
        f"group {group} lost offsets {position}..{first_kept - 1} of {where[0]}/{where[1]}: deleted before it read "
        f"them. Keep records longer. Without them gates continue from {first_kept} after `raie topics skip`"
    )


def fenced_producer(transactional_id: str) -> FencedError:
    """Return the error of a producer that a newer one of its id replaced."""
    return FencedError(f"producer {transactional_id} was replaced by a newer one of the same id; stop this process")


def fenced_consumer(group: str, instance: str) -> FencedError:
    """Return the error of a consumer that a newer one of its instance replaced."""
    return FencedError(f"consumer {instance} of group {group} was replaced by a newer one; stop this process")


def lost_partition(group: str, where: TopicPartition) -> PartitionLostError:
    """Return the error of a commit for a partition that was reassigned."""
    return PartitionLostError(
        f"group {group} reassigned {where[0]}/{where[1]} to another member; drop the batch and poll again"
    )
