"""Who of a Kafka group reads which partition: by range like the other logs, and never taken from a live owner.

The share is that of `pipeline.streams.assignment`, so partition i of two topics of equal size lands on one member.
Kafka does not tell the order of joining; in its place, whoever owns a partition keeps its place in the order where it
can, so a standby with an earlier name does not take over from a healthy owner.

The protocol is the cooperative one: a partition that is to move is given to nobody at first; its owner lets go in
its own poll, and only the round after that gives it to the next. What stays keeps its position and its pause.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor, RebalanceProtocol
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription

from pipeline.streams.assignment import Member, share
from pipeline.streams.interface import TopicPartition

VERSION = 2
"""Of the subscription: the first that tells of which generation a member's partitions are."""


def in_order(
    members: Iterable[Member], owned: Mapping[str, frozenset[TopicPartition]], partitions: Mapping[str, int]
) -> list[Member]:
    """Return the members in the order in which they share, so that most partitions stay where they are.

    Args:
        members: in any order that all who ask agree on, new ones take places in it.
        owned: token -> the partitions that the member reads now.
        partitions: number of partitions by topic.
    """
    waiting = list(members)
    order: list[Member | None] = [None] * len(waiting)
    slots = _slots(waiting, partitions)
    kept = [(len(slot & owned[m.token]), -place, m) for place, slot in enumerate(slots) for m in waiting]
    for overlap, place, member in sorted(kept, key=lambda each: (-each[0], -each[1], each[2].token)):
        if overlap and order[-place] is None and member in waiting:
            order[-place] = member
            waiting.remove(member)
    return [member or waiting.pop(0) for member in order]


def _slots(members: list[Member], partitions: Mapping[str, int]) -> list[set[TopicPartition]]:
    """What each place in the order gets, whoever is there."""
    topics = tuple(sorted({topic for member in members for topic in member.topics}))
    places = [Member(str(place), topics) for place in range(len(members))]
    owners = share(places, partitions)
    return [{where for where, token in owners.items() if token == place.token} for place in places]


class CooperativeRange(AbstractPartitionAssignor):  # type: ignore[misc]
    """The assignor of one consumer; the leader's decides for all.

    Args:
        partitions: number of partitions by topic. The client may ask for an assignment before it has looked them up.
    """

    name = "raie-range"

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions
        self._owned: list[Any] = []
        self._generation = -1

    def supported_protocols(self) -> list[Any]:
        """Say that partitions which stay are not given up in a rebalance."""
        return [RebalanceProtocol.COOPERATIVE]

    def metadata(self, topics: Iterable[str]) -> Any:
        """Return what the leader is told of this member."""
        return ConsumerProtocolSubscription(
            version=VERSION,
            topics=sorted(topics),
            user_data=b"",
            owned_partitions=[
                ConsumerProtocolSubscription.TopicPartition(topic=topic, partitions=sorted(numbers))
                for topic, numbers in self._owned
            ],
            generation_id=self._generation,
        )

    def on_assignment(self, assignment: Any, generation: int) -> None:
        """Remember what this member reads from now on."""
        self._owned, self._generation = list(assignment.assigned_partitions), generation

    def forget(self) -> None:
        """Claim nothing: the group went on without this member."""
        self._owned, self._generation = [], -1

    def assign(self, cluster: Any, members: Iterable[Any]) -> dict[str, Any]:
        """Return what each member reads: its share, less what another one still has."""
        told = {member.member_id: member for member in members}
        owned = _owned({token: member.metadata for token, member in told.items()})
        topics = sorted({topic for member in told.values() for topic in member.metadata.topics})
        known = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        partitions = {topic: known[topic] or self._partitions.get(topic, 0) for topic in topics}
        by_name = sorted(told.values(), key=lambda member: (member.group_instance_id or "", member.member_id))
        ours = [Member(member.member_id, tuple(sorted(member.metadata.topics))) for member in by_name]
        due = share(in_order(ours, owned, partitions), partitions)
        owner = {where: token for token, held in owned.items() for where in held}
        now = {where: token for where, token in due.items() if owner.get(where, token) == token}
        return {token: _assignment(where for where, to in now.items() if to == token) for token in told}


def _owned(subscriptions: Mapping[str, Any]) -> dict[str, frozenset[TopicPartition]]:
    """What each member reads now; of two that claim a partition, the one of the later generation."""
    claims: dict[TopicPartition, tuple[int, str]] = {}
    for token, subscription in subscriptions.items():
        for claim in subscription.owned_partitions or ():
            for number in claim.partitions:
                where = (claim.topic, number)
                claims[where] = max(claims.get(where, (-1, "")), (subscription.generation_id, token))
    return {token: frozenset(w for w, (_, owner) in claims.items() if owner == token) for token in subscriptions}


def _assignment(partitions: Iterable[TopicPartition]) -> Any:
    by_topic: dict[str, list[int]] = {}
    for topic, number in sorted(partitions):
        by_topic.setdefault(topic, []).append(number)
    return ConsumerProtocolAssignment(VERSION, sorted(by_topic.items()), b"")
