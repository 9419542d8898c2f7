"""Open transactions of group members that are gone, ended by the member that takes over.

A process that is killed in its transaction leaves it open. Whoever reads what it wrote, and whoever takes over its
partitions, waits until it times out and the broker looks for such transactions, which it does every ten seconds. A
newer process of its instance ends it at once; where none comes, the member that is given partitions does, by beginning
the next epoch of its producer.

Ended are transactions that wrote into the group's own topics, of instances that are no members right before. One that
came back meanwhile has no transaction yet: it needs partitions for one, and this member has not agreed to any move.
Where the broker cannot tell (before Kafka 3.0, or without the rights to ask), the timeout does it as before.
"""

from collections.abc import Iterator
from contextlib import closing, suppress

from kafka import KafkaAdminClient
from kafka.admin import TransactionDescription, TransactionState
from kafka.errors import KafkaError
from kafka.protocol.producer.transaction import InitProducerIdRequest

from pipeline.streams.kafka.config import Connection, make_client, milliseconds
from pipeline.streams.topics import NAMES, SHARED, generation_of, instance_of, topic_of

SECONDS = 3.0
"""Seconds that a request waits for an answer: a node that died with the process must not hold up its successor."""


class AbandonedTransactions:
    """Open transactions of one group's former members.

    Args:
        connection: the broker.
        group: the group; the producer of each member is named by `producer_of`.
        instance: this member; nothing is ended unless the broker counts it to the group.
    """

    def __init__(self, connection: Connection, group: str, instance: str) -> None:
        self._connection, self._group, self._instance = connection, group, instance

    def end(self) -> None:
        """End them."""
        # A client of its own: it keeps for good who coordinates a group, and that moves when a node dies.
        short = {"request_timeout_ms": milliseconds(SECONDS), "bootstrap_timeout_ms": milliseconds(SECONDS)}
        with suppress(KafkaError), closing(make_client(KafkaAdminClient, self._connection.client() | short)) as admin:
            for transactional_id, instance, found in self.open_in(admin):
                if instance not in self._members(admin):
                    admin._manager.run(fence, admin, transactional_id, found)

    def open_in(self, admin: KafkaAdminClient) -> Iterator[tuple[str, str, TransactionDescription]]:
        """Id, instance and description of each."""
        members, prefix = self._members(admin), self._connection.settings.prefix
        if self._instance not in members:
            return
        for transactional_id in _ongoing(admin):
            instance = instance_of(transactional_id.removeprefix(prefix), self._group)
            if not transactional_id.startswith(prefix) or instance is None or instance in members:
                continue
            with suppress(KafkaError):
                found = admin.describe_transactions([transactional_id])[transactional_id]
                if self._is_own(found):
                    yield transactional_id, instance, found

    def _members(self, admin: KafkaAdminClient) -> set[str]:
        """Instances that are members."""
        group = self._connection.named(self._group)
        return {one["group_instance_id"] for one in admin.describe_groups([group])[group]["members"]}

    def _is_own(self, found: TransactionDescription) -> bool:
        """True for a transaction that wrote into topics of the group's generation.

        Of two generations the ids can be the same, by the names of their instances, and those of other programs may
        look alike; their topics never do.
        """
        prefix = self._connection.settings.prefix
        names = {one.topic.removeprefix(prefix) for one in found.topic_partitions if one.topic.startswith(prefix)}
        own = [name for name in names - SHARED if topic_of(name) in NAMES]
        return any(generation_of(name) == generation_of(self._group) for name in own)


def _ongoing(admin: KafkaAdminClient) -> list[str]:
    """Transactional ids of the open transactions, as far as their brokers answer."""
    found: list[str] = []
    for broker in admin.describe_cluster()["brokers"]:
        with suppress(KafkaError):
            states = [TransactionState.ONGOING.value]
            listed = admin.list_transactions(broker_ids=[broker["broker_id"]], state_filters=states)
            found += [one.transactional_id for of_broker in listed.values() for one in of_broker]
    return found


async def fence(admin: KafkaAdminClient, transactional_id: str, found: TransactionDescription) -> None:
    """Begin the next epoch of a producer, which aborts its transaction; the answer does not matter."""
    request = InitProducerIdRequest(
        transactional_id=transactional_id,
        transaction_timeout_ms=found.transaction_timeout_ms,
        producer_id=found.producer_id,
        producer_epoch=found.producer_epoch,
        min_version=3,
    )
    await admin._manager.send(request, node_id=found.coordinator_id)
