"""Assignment of partitions in a Kafka group: by range as on the other logs, without revoking from a live owner.

The ranges are those of `pipeline.streams.assignment`, so partition i of two topics of equal size belongs to one member.
Kafka does not expose the order of joining; instead, owners keep their position in the order where possible, so that a
standby with an earlier name does not replace a healthy owner.

The protocol is cooperative: a partition that moves is first unassigned; its owner releases it in its own poll, and the
next round assigns it to the new owner. Partitions that stay keep their position and pause.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor, RebalanceProtocol
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription

from pipeline.streams.assignment import Member, assign_ranges
from pipeline.streams.interface import TopicPartition

VERSION = 2
"""Version of the subscription: the first that includes the generation of a member's partitions."""


def in_order(
    members: Iterable[Member], owned: Mapping[str, frozenset[TopicPartition]], partitions: Mapping[str, int]
) -> list[Member]:
    """Return the members in an order under which most partitions keep their owner.

    Args:
        members: in a deterministic order; members without partitions fill the gaps in it.
        owned: token -> the partitions that the member reads now.
        partitions: number of partitions by topic.
    """
    waiting = list(members)
    order: list[Member | None] = [None] * len(waiting)
    slots = _slots(waiting, partitions)
    kept = [(len(slot & owned[m.token]), -index, m) for index, slot in enumerate(slots) for m in waiting]
    for overlap, index, member in sorted(kept, key=lambda each: (-each[0], -each[1], each[2].token)):
        if overlap and order[-index] is None and member in waiting:
            order[-index] = member
            waiting.remove(member)
    return [member or waiting.pop(0) for member in order]


def _slots(members: list[Member], partitions: Mapping[str, int]) -> list[set[TopicPartition]]:
    """Return the partitions of each position in the order."""
    topics = tuple(sorted({topic for member in members for topic in member.topics}))
    slots = [Member(str(index), topics) for index in range(len(members))]
    owners = assign_ranges(slots, partitions)
    return [{where for where, token in owners.items() if token == slot.token} for slot in slots]


class CooperativeRange(AbstractPartitionAssignor):  # type: ignore[misc]
    """Assignor of one consumer; the leader's one decides for the group.

    Args:
        partitions: number of partitions by topic, used while the client has no metadata of a topic.
    """

    name = "raie-range"

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions
        self._owned: list[Any] = []
        self._generation = -1

    def supported_protocols(self) -> list[Any]:
        """Return the cooperative protocol: partitions that stay are not revoked in a rebalance."""
        return [RebalanceProtocol.COOPERATIVE]

    def metadata(self, topics: Iterable[str]) -> Any:
        """Return the subscription of this member, for the leader."""
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
        """Store the new assignment of this member."""
        self._owned, self._generation = list(assignment.assigned_partitions), generation

    def clear(self) -> None:
        """Drop the stored assignment: the group has removed this member."""
        self._owned, self._generation = [], -1

    def assign(self, cluster: Any, members: Iterable[Any]) -> dict[str, Any]:
        """Return the assignment of each member: its range, less the partitions that another one still owns."""
        by_token = {member.member_id: member for member in members}
        owned = _owned({token: member.metadata for token, member in by_token.items()})
        topics = sorted({topic for member in by_token.values() for topic in member.metadata.topics})
        known = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        partitions = {topic: known[topic] or self._partitions.get(topic, 0) for topic in topics}
        by_name = sorted(by_token.values(), key=lambda member: (member.group_instance_id or "", member.member_id))
        ours = [Member(member.member_id, tuple(sorted(member.metadata.topics))) for member in by_name]
        due = assign_ranges(in_order(ours, owned, partitions), partitions)
        owner = {where: token for token, held in owned.items() for where in held}
        now = {where: token for where, token in due.items() if owner.get(where, token) == token}
        return {token: _assignment(where for where, to in now.items() if to == token) for token in by_token}


def _owned(subscriptions: Mapping[str, Any]) -> dict[str, frozenset[TopicPartition]]:
    """Return the partitions of each member now; of two claims on a partition the later generation's counts."""
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
