"""The loop that runs every stage, on every log.

Before the process joins its group, the stage prepares what it can. One turn, always in this order:

    1. poll;
    2. compare the assignment with what is held: drop the state of revoked partitions, restore the state of new
       ones from the changelog, up to the committed offsets and never beyond;
    3. handle the batch in memory, if any partition is held: a process without one stands by and writes nothing;
    4. in one transaction: outputs, changelog records among them, and the positions of the consumer;
    5. only then the next poll.

A process that dies anywhere therefore leaves either all of a turn or nothing of it. Errors:

    PartitionLostError     the batch is dropped with everything it changed in memory; the next poll goes on
    UnavailableError       log, producer and consumer are closed and, after a pause that doubles, opened anew
    FencedError            the stage stops: a newer process of this instance has taken over
    RecordsLostError       the stage stops and names the offsets that retention took
    any other error        the stage stops
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Event

from consumers.runtime.health import LoopHealth
from consumers.runtime.stage import KillPoint, Output, Point, Stage, Turn, live_on
from consumers.runtime.tracing import UNTRACED, Tracing
from pipeline.config import ConsumerSettings
from pipeline.streams.interface import Consumer, Log, PartitionLostError, Producer, TopicPartition, UnavailableError
from pipeline.streams.topics import producer_of


@dataclass
class Member:
    """Resources of a stage on one opened log.

    Attributes:
        log: opened for this membership.
        producer: fences older producers of this instance.
        consumer: member of the group.
        held: partition -> claim under which its state was restored.
        waiting: True while positions of handled records are not committed.
    """

    log: Log
    producer: Producer
    consumer: Consumer
    held: dict[TopicPartition, int] = field(default_factory=dict)
    waiting: bool = False


class Loop:
    """Runs one stage until `stop` is set.

    Args:
        stage: the stage.
        open_log: opens the log; called again after the log was out of reach.
        instance: names this process, the same after a restart.
        settings: `consumers` of the configuration.
        max_records: most records of a turn.
        stop: ends the loop after the present turn.
        health: metrics and health of the loop.
        at: called at each point that a turn passes.
        tracing: spans of what is committed.
    """

    def __init__(
        self,
        stage: Stage,
        open_log: Callable[[], Log],
        instance: str,
        settings: ConsumerSettings,
        max_records: int,
        stop: Event,
        health: LoopHealth,
        at: KillPoint = live_on,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._stage = stage
        self._open_log = open_log
        self._instance = instance
        self._settings = settings
        self._max_records = max_records
        self._stop = stop
        self._health = health
        self._at, self._tracing = at, tracing
        self._pause = settings.backoff

    def run(self) -> None:
        """Take turns until stopped.

        Raises:
            FencedError: a newer process of this instance took over.
            RecordsLostError: records were deleted before they were read; the message names them.
            LogError: the log refuses a request.
        """
        with closing(self._stage):
            while not self._stop.is_set():
                try:
                    with self._join() as member:
                        self._take_turns(member)
                except UnavailableError as error:
                    self._health.failed(str(error), self._pause)
                    self._stop.wait(self._pause)
                    self._pause = min(2 * self._pause, self._settings.longest_backoff)

    @contextmanager
    def _join(self) -> Iterator[Member]:
        with closing(self._open_log()) as log:
            producer = log.producer(producer_of(self._stage.name, self._instance))
            self._prepare(log)
            with closing(log.consumer(self._stage.name, self._stage.topics, self._instance)) as consumer:
                member = Member(log, producer, consumer)
                try:
                    yield member
                finally:
                    self._drop(member, list(member.held))

    def _prepare(self, log: Log) -> None:
        try:
            with self._health.preparing():
                self._stage.prepare(log)
        except UnavailableError as error:
            # Such as an open transaction of a process that was killed, which only a member ends.
            self._health.said(f"{error}; state is restored once there are partitions")

    def _take_turns(self, member: Member) -> None:
        while not self._stop.is_set():
            try:
                self._turn(member)
            except PartitionLostError:
                self._start_over(member)
            self._pause = self._settings.backoff

    def _turn(self, member: Member) -> None:
        # 1. poll
        records = member.consumer.poll(self._max_records, self._settings.poll_timeout)
        self._at(Point.POLLED)
        # 2. state follows the assignment
        self._restore_assignment(member)
        self._health.polled(records, member.log, member.consumer)
        if not member.held:
            self._stage.stand_by(Turn(records, member.consumer, member.log))
            return
        # 3. handle in memory
        member.waiting |= bool(records)
        self._at(Point.HANDLING)
        with self._health.batch(records):
            outputs = self._stage.handle(Turn(records, member.consumer, member.log))
        self._at(Point.HANDLED)
        # 4. one transaction
        if outputs is not None and (outputs or member.waiting):
            self._commit(member, outputs)
        # 5. only now the next poll

    def _restore_assignment(self, member: Member) -> None:
        claims = member.consumer.claims()
        self._drop(member, [where for where, claim in member.held.items() if claims.get(where) != claim])
        came = {where: member.consumer.committed(*where) for where in claims if where not in member.held}
        if came:
            self._stage.restore(came, member.log)
            member.held.update({where: claims[where] for where in came})
            self._at(Point.RESTORED)

    def _commit(self, member: Member, outputs: Sequence[Output]) -> None:
        with self._tracing.steps(outputs) as traced, member.producer.transaction() as transaction:
            for out, traceparent in zip(outputs, traced, strict=True):
                transaction.send(
                    out.topic,
                    out.value,
                    key=out.key,
                    partition=out.partition,
                    timestamp=out.timestamp,
                    traceparent=traceparent,
                )
            self._at(Point.PUBLISHING)
            transaction.commit_offsets(member.consumer)
            self._at(Point.COMMITTING)
        member.waiting = False
        self._health.committed(outputs)
        self._at(Point.COMMITTED)

    def _start_over(self, member: Member) -> None:
        # The batch changed the state of partitions that are still held, too: all state is restored.
        self._drop(member, list(member.held))
        member.waiting = False
        for where in member.consumer.assignment:
            member.consumer.seek(*where, member.consumer.committed(*where))

    def _drop(self, member: Member, went: Collection[TopicPartition]) -> None:
        if went:
            self._stage.drop(went)
            for where in went:
                del member.held[where]
