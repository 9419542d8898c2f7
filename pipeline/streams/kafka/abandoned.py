"""Open transactions of group members that are gone, ended by the member that takes over.

A process that is killed in its transaction leaves it open. Whoever reads what it wrote, and whoever takes over its
partitions, waits until it times out and the broker looks for such transactions, which it does every ten seconds. A
newer process of its instance ends it at once; where none comes, the member that is given partitions does.

Only the transaction that was seen is ended: the broker is told id and epoch of its producer, and refuses where a newer
process has begun in the meantime. Where it cannot tell (before Kafka 3.0, or without the rights to ask), the timeout
does it as before.
"""

from collections.abc import Iterator
from contextlib import suppress

from kafka import KafkaAdminClient
from kafka.admin import TransactionDescription, TransactionState
from kafka.errors import KafkaError
from kafka.protocol.producer.transaction import InitProducerIdRequest

from pipeline.streams.kafka.config import Connection
from pipeline.streams.topics import SHARED, generation_of, instance_of

INTERNAL = "__"
"""First characters of the topics that a broker keeps for itself."""


class AbandonedTransactions:
    """Open transactions of one group's former members.

    Args:
        connection: the broker.
        admin: client of the broker.
        group: the group; the producer of each member is named by `producer_of`.
        instance: this member; nothing is ended unless the broker counts it to the group.
    """

    def __init__(self, connection: Connection, admin: KafkaAdminClient, group: str, instance: str) -> None:
        self._connection, self._admin = connection, admin
        self._group, self._instance = group, instance

    def end(self) -> None:
        """End them."""
        with suppress(KafkaError):
            for transactional_id, found in self._open():
                self._admin._manager.run(self._fence, transactional_id, found)

    def _open(self) -> Iterator[tuple[str, TransactionDescription]]:
        """Id and description of each."""
        group, prefix = self._connection.named(self._group), self._connection.settings.prefix
        members = {one["group_instance_id"] for one in self._admin.describe_groups([group])[group]["members"]}
        if self._instance not in members:
            return
        listed = self._admin.list_transactions(state_filters=[TransactionState.ONGOING.value])
        ids = {one.transactional_id for of_broker in listed.values() for one in of_broker}
        ids = {one for one in ids if one.startswith(prefix)}
        gone = [one for one in ids if instance_of(one.removeprefix(prefix), self._group) not in {None, *members}]
        for transactional_id, found in self._admin.describe_transactions(gone).items():
            topics = {where.topic.removeprefix(prefix) for where in found.topic_partitions}
            # Of two generations the ids can be the same, by the names of their instances; their topics never are.
            own = [one for one in topics - SHARED if not one.startswith(INTERNAL)]
            if any(generation_of(one) == generation_of(self._group) for one in own):
                yield transactional_id, found

    async def _fence(self, transactional_id: str, found: TransactionDescription) -> None:
        """Begin the epoch after that of a producer, which aborts its transaction; the answer does not matter."""
        request = InitProducerIdRequest(
            transactional_id=transactional_id,
            transaction_timeout_ms=found.transaction_timeout_ms,
            producer_id=found.producer_id,
            producer_epoch=found.producer_epoch,
            min_version=3,
        )
        await self._admin._manager.send(request, node_id=found.coordinator_id)
