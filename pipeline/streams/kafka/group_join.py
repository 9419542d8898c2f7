"""How a member joins its group and learns that it is out: what kafka-python 3.0.12 tells, and what it keeps to itself.

The client has no public way to either of the two functions here; tests on a real broker hold them to what they say.
"""

from collections.abc import Callable, Iterable, Mapping

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka import TopicPartition as Where
from kafka.future import Future

from pipeline.streams.kafka.assignor import CooperativeRange


def keep_join(consumer: KafkaConsumer) -> None:
    """Make the next poll wait for a join that is under way, and find its answer there.

    A join that is answered between two polls is thrown away by the client, which then joins anew, so that with short
    polls a group never comes to rest; or, if new metadata was what it joined for, the client forgets that it was
    joining, and no longer beats.
    """
    coordinator = consumer._coordinator
    if coordinator._join_task is not None:
        coordinator.request_rejoin()
        if coordinator._join_task.succeeded():
            coordinator._join_task = _Answered(coordinator._join_task)


def fenced(consumer: KafkaConsumer) -> bool:
    """Tell whether a newer consumer has this one's instance.

    The client learns so from a heartbeat, writes it to its log, and goes on with what it has; this is how it shows: in
    the group, and no longer beating.
    """
    coordinator = consumer._coordinator
    return bool(coordinator.stable() and not coordinator.need_rejoin() and not coordinator._heartbeat_enabled)


class _Answered(Future):  # type: ignore[misc]
    """A future that does not look done, until one waits for it."""

    def __init__(self, answered: Future) -> None:
        super().__init__()
        self._answered = answered

    def add_callback(self, act: Callable[..., object], *args: object, **kwargs: object) -> Future:
        return self._answered.add_callback(act, *args, **kwargs)

    def add_errback(self, act: Callable[..., object], *args: object, **kwargs: object) -> Future:
        return self._answered.add_errback(act, *args, **kwargs)


class Moves(ConsumerRebalanceListener):  # type: ignore[misc]
    """Takes down which partitions went, even if they came back within the same poll."""

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self.assignor = CooperativeRange(partitions)
        self.gone: set[Where] = set()

    def on_partitions_revoked(self, revoked: Iterable[Where]) -> None:
        """Take down what goes."""
        self.gone |= set(revoked)

    def on_partitions_assigned(self, assigned: Iterable[Where]) -> None:
        """Nothing: the next poll looks at the whole assignment."""

    def on_partitions_lost(self, lost: Iterable[Where]) -> None:
        """Take down what went: the group goes on without this member."""
        self.gone |= set(lost)
        self.assignor.forget()
