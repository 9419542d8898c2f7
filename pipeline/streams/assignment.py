"""Who of a consumer group reads which partition: pure functions over the group's state.

The share is by range and topic: members in order of joining, partitions in order of number. So partition
i of two topics of equal size lands on the same member (a gate owns `interactions` and `users` of the same
users), and of a topic with one partition the member that joined first stays the owner while others stand by.

Nobody is ever pushed off a partition: its owner lets go in its own next poll, after it committed what it
had read, and only then does the next owner claim it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.streams.interface import TopicPartition


@dataclass(frozen=True, slots=True)
class Member:
    """One live consumer: a token unique to it, and the topics it reads."""

    token: str
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moves:
    """What a member does next: partitions to let go, and free ones to claim."""

    release: tuple[TopicPartition, ...]
    claim: tuple[TopicPartition, ...]


def share(members: Sequence[Member], partitions: Mapping[str, int]) -> dict[TopicPartition, str]:
    """Return the token of the member each partition should belong to.

    Args:
        members: in order of joining.
        partitions: number of partitions by topic.
    """
    owners: dict[TopicPartition, str] = {}
    for topic, count in partitions.items():
        readers = [member.token for member in members if topic in member.topics][:count]
        owners |= {(topic, number): readers[number * len(readers) // count] for number in range(count) if readers}
    return owners


def moves(
    me: str, members: Sequence[Member], owners: Mapping[TopicPartition, str], partitions: Mapping[str, int]
) -> Moves:
    """Return what the member `me` lets go and claims, given who owns what now."""
    wanted = {where for where, token in share(members, partitions).items() if token == me}
    live = {member.token for member in members}
    release = sorted(where for where, token in owners.items() if token == me and where not in wanted)
    claim = sorted(where for where in wanted if owners.get(where) not in live)
    return Moves(tuple(release), tuple(claim))
