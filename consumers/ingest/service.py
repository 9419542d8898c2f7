"""The ingest service without HTTP: batches of objects become records of the log, each batch in one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock

from consumers.http.tokens import ANYONE, Client
from consumers.ingest.gate_lag import GateLag
from consumers.producer.checks import Check, CheckedRecord, Topic, checker
from pipeline.config import Config
from pipeline.errors import BadEvent, LogError
from pipeline.events.control import ERASE, ControlAct
from pipeline.events.dead_letter import MAX_DETAIL
from pipeline.streams.interface import FencedError, Log, Producer, UnavailableError
from pipeline.streams.topics import CONTROL, INTERACTIONS
from pipeline.telemetry import Metrics

WAITING = 16
"""Most batches that wait for their turn to be written; the threads of further ones would block those of `/healthz`."""


class Busy(Exception):
    """The gate is too far behind, or too many batches wait: nothing was written, and the batch may be sent later."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record of a batch that was not written.

    Attributes:
        index: its place in the batch, from 0.
        reason: short name of the fault, as in dead letters.
        detail: the fault in a sentence.
    """

    index: int
    reason: str
    detail: str


class IngestService:
    """Writes batches into the log.

    Args:
        log: has the topics; the service closes it.
        instance: names this service, the same after a restart.
        config: sections `data`, `ingest` and `log`.
        metrics: of the process.
        wall_clock: seconds since 1970.
        clock: monotonic seconds.
        traceparent: returns the trace context of the present request, or None.
    """

    def __init__(
        self,
        log: Log,
        instance: str,
        config: Config,
        metrics: Metrics,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
        traceparent: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.metrics = metrics
        self._traceparent = traceparent
        self._log, self._instance, self._wall_clock, self._clock = log, instance, wall_clock, clock
        topics: tuple[Topic, ...] = ("interactions", "items")
        self._checks: dict[Topic, Check] = {topic: checker(topic, config.data) for topic in topics}
        self._lag = GateLag(log, config.log.partitions, clock)
        self._max_lag = config.ingest.max_lag
        self._writing, self._places = Lock(), BoundedSemaphore(WAITING)
        self._producer: Producer | None = None
        self._fenced: FencedError | None = None
        # An older service of this instance may write no more from here on.
        self._write([], ANYONE)

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def ingest(self, topic: Topic, batch: Sequence[object], client: Client) -> list[Refusal]:
        """Write the good records of a batch in one transaction; return the refusals of the others.

        Erasures need the role `admin`, and are written to `control` with the name of the token, without the user.

        Raises:
            Busy: nothing was written, because the pipeline is behind.
            LogError: the log cannot be written to; if it is an `UnavailableError` the batch may have been written.
        """
        if topic == INTERACTIONS and self._is_behind():
            raise Busy(f"the gate has more than {self._max_lag:,} records to read (ingest.max_lag)")
        if not self._places.acquire(blocking=False):
            raise Busy(f"{WAITING} batches are waiting to be written")
        try:
            return self._ingest(topic, batch, client)
        finally:
            self._places.release()

    def stuck(self) -> str | None:
        """See `consumers.runtime.health.Health`: a service that answers is healthy."""
        return None

    def unready(self) -> str | None:
        """See `consumers.runtime.health.Health`: it is ready while it may write and the log can be read."""
        if self._fenced:
            return self.advised(self._fenced)
        lag = self._lag.records()
        return str(lag) if isinstance(lag, LogError) else None

    def gauge(self) -> None:
        """See `consumers.http.health.Service`; every metric is up to date."""

    def advised(self, error: LogError) -> str:
        """Message of an error of the log, with what to do about it."""
        if isinstance(error, FencedError):
            return (
                f"another ingest service of instance {self._instance} runs on this log ({error}): give each one a name "
                "of its own with --instance, and restart this one"
            )
        return f"{error}; send the batch again: events that were written are recognised by their ids"

    def _is_behind(self) -> bool:
        """Return True if the lag is known to be beyond the bound; a log that cannot be read may still be written."""
        lag = self._lag.records()
        return isinstance(lag, int) and lag > self._max_lag

    def _ingest(self, topic: Topic, batch: Sequence[object], client: Client) -> list[Refusal]:
        began, now = self._clock(), self._wall_clock()
        good: list[CheckedRecord] = []
        refused: list[Refusal] = []
        for index, value in enumerate(batch):
            try:
                good.append(_allowed(self._checks[topic](value, now), client))
            except BadEvent as error:
                refused.append(Refusal(index, error.reason, error.detail[:MAX_DETAIL]))
        if good:
            self._write(good, client)
        self.metrics.ingested.labels(topic).inc(len(good))
        for refusal in refused:
            self.metrics.ingest_refused.labels(refusal.reason).inc()
        self.metrics.ingest_seconds.observe(self._clock() - began)
        return refused

    def _write(self, records: Sequence[CheckedRecord], client: Client) -> None:
        erasures = sum(record.erases for record in records)
        with self._writing:
            if self._fenced:
                raise self._fenced
            # After a commit of unknown outcome a new producer commits or aborts it.
            self._producer = self._producer or self._log.producer(f"ingest-{self._instance}")
            try:
                traceparent = self._traceparent()
                with self._producer.transaction() as transaction:
                    for record in records:
                        record.send(transaction, traceparent)
                    if erasures:
                        act = self._act_of(erasures, client)
                        transaction.send(CONTROL, act.to_record(), key=ERASE, timestamp=self._wall_clock())
            except UnavailableError:
                self._producer = None
                raise
            except FencedError as error:
                self._fenced = error
                raise

    def _act_of(self, erasures: int, client: Client) -> ControlAct:
        return ControlAct(ERASE, f"ingest {self._instance}", token=client.token, details={"users": erasures})


def _allowed(record: CheckedRecord, client: Client) -> CheckedRecord:
    """Return the record; raises `BadEvent` for an erasure by a client that may not erase."""
    if record.erases and "admin" not in client.roles:
        raise BadEvent("not_allowed", "an erasure needs a token with the role admin")
    return record
