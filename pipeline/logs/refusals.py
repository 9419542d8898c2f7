"""What a log refuses, in the same words whichever log it is."""

from pipeline.errors import LogError
from pipeline.logs.base import FencedError, PartitionLostError, Topic, TopicPartition


def check_same(existing: Topic, wanted: Topic) -> None:
    """Raise LogError if a topic exists in another form than is wanted now."""
    if (existing.partitions, existing.kept) != (wanted.partitions, wanted.kept):
        raise LogError(
            f"topic {wanted.name} exists with partitions={existing.partitions}, kept={existing.kept!r}; asked for were "
            f"partitions={wanted.partitions}, kept={wanted.kept!r}. Ask for what exists, or use a new log"
        )


def check_kept(topic: str, partition: int, start: int, end: int, first_kept: int) -> None:
    """Raise LogError, naming them, if some of the offsets start <= offset < end are deleted."""
    if start < 0:
        raise LogError(f"offset {start} of {topic}/{partition} does not exist; the first is 0")
    if start < min(end, first_kept):
        last = min(end, first_kept) - 1
        raise LogError(
            f"offsets {start}..{last} of {topic}/{partition} are already deleted (the first kept is {first_kept}); "
            f"keep the records of {topic} longer"
        )


def fenced_producer(transactional_id: str) -> FencedError:
    """Return the error of a producer whose id a newer one holds."""
    return FencedError(f"producer {transactional_id} was replaced by a newer one of the same id; stop this process")


def fenced_consumer(group: str, instance: str) -> FencedError:
    """Return the error of a consumer whose instance a newer one holds."""
    return FencedError(f"consumer {instance} of group {group} was replaced by a newer one; stop this process")


def lost_partition(group: str, where: TopicPartition) -> PartitionLostError:
    """Return the error of a commit for a partition that the group took away."""
    return PartitionLostError(
        f"group {group} gave {where[0]}/{where[1]} to another member; drop the batch and poll again"
    )
