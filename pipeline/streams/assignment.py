"""Assignment of partitions to the members of a consumer group: pure functions of the group's state.

Partitions are assigned by range and topic: members in order of joining, partitions in order of number. So partition i
of two topics of equal size belongs to the same member (a gate owns `interactions` and `users` of the same users), and
the only partition of a topic stays with the member that joined first while others stand by.

Partitions are never revoked from a live owner: it releases them in its own next poll, after it committed its batch,
and only then does the next owner claim them.
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
    """Next steps of a member: partitions to release, and free ones to claim."""

    release: tuple[TopicPartition, ...]
    claim: tuple[TopicPartition, ...]


def assign_ranges(members: Sequence[Member], partitions: Mapping[str, int]) -> dict[TopicPartition, str]:
    """Return the token of the member that each partition should belong to.

    Args:
        members: in order of joining.
        partitions: number of partitions by topic.
    """
    owners: dict[TopicPartition, str] = {}
    for topic, count in partitions.items():
        readers = [member.token for member in members if topic in member.topics][:count]
        owners |= {(topic, number): readers[number * len(readers) // count] for number in range(count) if readers}
    return owners


def plan_moves(
    me: str, members: Sequence[Member], owners: Mapping[TopicPartition, str], partitions: Mapping[str, int]
) -> Moves:
    """Return the partitions that the member `me` releases and claims, given the current owners."""
    wanted = {where for where, token in assign_ranges(members, partitions).items() if token == me}
    live = {member.token for member in members}
    release = sorted(where for where, token in owners.items() if token == me and where not in wanted)
    claim = sorted(where for where in wanted if owners.get(where) not in live)
    return Moves(tuple(release), tuple(claim))
