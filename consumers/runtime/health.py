"""How a stage gets on: what its metrics, `/healthz` and `/readyz` say of the loop."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from consumers.runtime.stage import Output
from pipeline.streams.interface import Consumer, Log, Record, TopicPartition
from pipeline.streams.topics import DEAD_LETTERS
from pipeline.telemetry import Metrics


class Progress:
    """Watches one loop.

    Args:
        metrics: where it is counted.
        clock: monotonic seconds.
        say: where a person is told of what went wrong.
        interval: seconds between two looks at ends and positions, which ask the log.

    Attributes:
        ready: whether the last turn had its partitions restored, and the log within reach.
        turned: when the last turn began, on that clock.
    """

    def __init__(
        self, metrics: Metrics, clock: Callable[[], float], say: Callable[[str], None], interval: float = 1.0
    ) -> None:
        self.ready = False
        self.turned = clock()
        self._metrics = metrics
        self._clock = clock
        self._say = say
        self._interval = interval
        self._looked = clock() - interval
        self._stood: dict[TopicPartition, tuple[int, float]] = {}

    def polled(self, records: Sequence[Record], log: Log, consumer: Consumer) -> None:
        """A poll came back, and state follows the assignment."""
        self.ready = True
        self.turned = self._clock()
        for topic, count in Counter(record.topic for record in records).items():
            self._metrics.events.labels(topic).inc(count)
        if self.turned - self._looked >= self._interval:
            self._looked = self.turned
            self._look(log, consumer)

    @contextmanager
    def batch(self, records: Sequence[Record]) -> Iterator[None]:
        """Time the handling of records; a turn without any is not counted."""
        began = self._clock()
        yield
        if records:
            self._metrics.batch_seconds.observe(self._clock() - began)

    def committed(self, outputs: Sequence[Output]) -> None:
        """A transaction is in the log."""
        for output in outputs:
            if output.topic == DEAD_LETTERS:
                self._metrics.dead_letters.labels(output.key).inc()

    def failed(self, message: str, pause: float) -> None:
        """The log is out of reach; the next attempt follows after so many seconds."""
        self.ready = False
        self._metrics.reopened.inc()
        self._say(f"{message}; trying again in {pause:g} s")

    def _look(self, log: Log, consumer: Consumer) -> None:
        assigned = consumer.assignment
        for where in set(self._stood) - set(assigned):
            del self._stood[where]
            self._metrics.forget_partition(*where)
        for where in assigned:
            position = consumer.position(*where)
            lag = max(0, log.end_offset(*where) - position)
            stood, since = self._stood.get(where, (position, self.turned))
            if lag == 0 or stood != position:
                since = self.turned
            self._stood[where] = (position, since)
            self._metrics.lag.labels(*where).set(lag)
            self._metrics.stalled_seconds.labels(*where).set(self.turned - since)
