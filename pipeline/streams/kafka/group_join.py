"""Join and fencing of a group member, through private state of kafka-python 3.0.12.

The client has no public interface for `keep_join` and `fenced`; tests on a real broker verify both.
"""

from collections.abc import Callable, Iterable, Mapping

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka import TopicPartition as Where
from kafka.future import Future

from pipeline.streams.kafka.assignor import CooperativeRange


def keep_join(consumer: KafkaConsumer) -> None:
    """Make the next poll wait for a join in progress and use its answer.

    The client discards a join that is answered between two polls and joins again, so with short polls a group never
    becomes stable; if new metadata caused the join, the client even stops its heartbeat.
    """
    coordinator = consumer._coordinator
    if coordinator._join_task is not None:
        coordinator.request_rejoin()
        if coordinator._join_task.succeeded():
            coordinator._join_task = _Answered(coordinator._join_task)


def fenced(consumer: KafkaConsumer) -> bool:
    """Return True if a newer consumer has this one's instance.

    The client only logs the error of the heartbeat and continues; the visible effect is a member of a stable group
    without a heartbeat.
    """
    coordinator = consumer._coordinator
    return bool(coordinator.stable() and not coordinator.need_rejoin() and not coordinator._heartbeat_enabled)


class _Answered(Future):  # type: ignore[misc]
    """A future that reports itself as pending until a caller waits for it."""

    def __init__(self, answered: Future) -> None:
        super().__init__()
        self._answered = answered

    def add_callback(self, act: Callable[..., object], *args: object, **kwargs: object) -> Future:
        return self._answered.add_callback(act, *args, **kwargs)

    def add_errback(self, act: Callable[..., object], *args: object, **kwargs: object) -> Future:
        return self._answered.add_errback(act, *args, **kwargs)


class RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Records the revoked partitions, even if they are assigned again within the same poll."""

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self.assignor = CooperativeRange(partitions)
        self.revoked: set[Where] = set()

    def on_partitions_revoked(self, revoked: Iterable[Where]) -> None:
        """Record the revoked partitions."""
        self.revoked |= set(revoked)

    def on_partitions_assigned(self, assigned: Iterable[Where]) -> None:
        """Do nothing: the next poll reads the whole assignment."""

    def on_partitions_lost(self, lost: Iterable[Where]) -> None:
        """Record the lost partitions: the group has removed this member."""
        self.revoked |= set(lost)
        self.assignor.clear()
