"""The gate stage: owns the histories of its users, and scores every interaction before anything learns from it.

    interactions ──► refused? ──► duplicate? ──► its time come? ──► window, gated ──► history
                        │              │
                  dead-letters      counted

Live, what came is gated with the revision of that moment. In lockstep the producer has numbered the events
(`sequence`, and `cut` where a replay ends a batch early): batches are those of the replay, one to a transaction,
each after the barrier. Either way `gated`, `users`, the trend's snapshots and the positions are of one transaction.

An interaction that says `past` was learned from by set-up: it makes history and is not gated. A record
`{"erase": true, "user_id": ...}` of `interactions` erases the user.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from adapters_store import AdaptersStore
from consumers.gate.dead_letters import dead_letter
from consumers.gate.event_time_buffer import Arrival, EventTimeBuffer, in_time
from consumers.gate.parser import Erasure, Reader
from consumers.gate.scoring import Gating
from consumers.gate.user_store import Users, UserState
from consumers.runtime.lockstep import Barrier
from consumers.runtime.stage import Output, Turn
from pipeline.config import Config
from pipeline.errors import BadEvent, LogError
from pipeline.events.windows import History, Windows
from pipeline.models.lora.host import AdapterHost
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Consumer, Log, Record, TopicPartition
from pipeline.streams.topics import INTERACTIONS, USERS
from pipeline.telemetry import Metrics

Act = Output | Erasure
"""What takes effect once everything before it is handled: a dead letter, or the end of a user."""

Touched = dict[tuple[int, str], UserState]
"""Users whose history a transaction changes, by partition and id."""


class GateStage:
    """See `consumers.runtime.stage.Stage`.

    Args:
        setup: what everything starts from.
        config: the whole tree.
        store: adapter versions.
        instance: names this gate, the same after a restart: its trend is kept under it.
        metrics: where it is counted.
    """

    name = "gate"
    topics = (INTERACTIONS,)

    def __init__(self, setup: SetUp, config: Config, store: AdaptersStore, instance: str, metrics: Metrics) -> None:
        self._setup = setup
        self._config = config
        self._store = store
        self._instance = instance
        self._metrics = metrics
        self._reader = Reader(setup.catalogue.row_of, config.data.positive_from)
        self._host = AdapterHost(setup.backbone, config.adapter)
        self._users: dict[int, Users] = {}
        self._arrivals: dict[int, EventTimeBuffer[Act]] = {}
        self._next = 0
        self._begin()

    def restore(self, came: Mapping[TopicPartition, int], log: Log) -> None:
        """See `Stage.restore`: histories from `users`; the trend, which is of all partitions, with the first."""
        if not self._users:
            self._begin()
            self._gating.restore(log)
        for (_, partition), committed in came.items():
            users = Users(self._config.windows.length, self._config.gate.remembered_events)
            users.restore(log.read(USERS, partition, 0, log.end_offset(USERS, partition)), committed)
            done = {offset for user in users for offset in user.ahead if offset >= committed}
            self._users[partition] = users
            self._arrivals[partition] = EventTimeBuffer(committed, done, self._config.gate.horizon)
            self._next = max(self._next, *(user.sequence + 1 for user in users), 0)
        self._count_users()

    def drop(self, went: Collection[TopicPartition]) -> None:
        """See `Stage.drop`."""
        for _, partition in went:
            del self._users[partition], self._arrivals[partition]
        self._count_users()

    def handle(self, turn: Turn) -> Sequence[Output] | None:
        """Gate what is due."""
        fresh = [r for r in turn.records if self._arrivals[r.partition].is_new(r.offset)]
        for record in fresh:
            self._take(record)
        if self._read_again(turn.consumer) or (turn.records and not fresh):
            # What waits was read once more after the last commit; whether anything follows it, the next poll says.
            return None
        if self._config.consumers.lockstep:
            batch = self._next_batch(turn)
            if batch is None:
                return None
        else:
            batch = in_time(a for arrivals in self._arrivals.values() for a in arrivals.due(silent=not turn.records))
        outputs = self._gate(batch, turn.log) if batch else []
        outputs += [
            out for p, arrivals in self._arrivals.items() for act in arrivals.passed() for out in self._do(p, act)
        ]
        self._step_back(turn.consumer)
        return outputs

    def close(self) -> None:
        """See `Stage.close`; there is nothing to let go of."""

    def _begin(self) -> None:
        """Forget regions and trend."""
        self._gating = Gating(self._setup, self._config, self._host, self._store, self._instance, self._metrics)
        self._barrier = Barrier()
        self._next = 0

    # What is read.

    def _take(self, record: Record) -> None:
        """Let an event wait for its time, or an act for its turn."""
        arrivals = self._arrivals[record.partition]
        try:
            read = self._reader.read(record, arrivals.read)
        except BadEvent as error:
            if self._config.consumers.lockstep:
                raise LogError(
                    f"{record.topic}/{record.partition} offset {record.offset} is refused ({error}), and lockstep "
                    "takes a log of good events only: turn consumers.lockstep off, or feed it by `raie produce`"
                ) from error
            arrivals.deferred[record.offset] = dead_letter(record, error)
            return
        if isinstance(read, Erasure):
            arrivals.deferred[record.offset] = read
        elif read is not None and arrivals.add(read):
            self._metrics.late.inc()

    def _do(self, partition: int, act: Act) -> list[Output]:
        """What to write of a refusal, or an erasure, which takes effect now."""
        if isinstance(act, Output):
            return [act]
        position, users = self._arrivals[partition].position, self._users[partition]
        if users.get(act.user_id) is None:
            return []
        left = users.erase(act.user_id, position)
        self._count_users()
        value = None if left is None else left.to_record(position)
        return [Output(USERS, value, act.user_id, act.timestamp, partition)]

    def _read_again(self, consumer: Consumer) -> bool:
        """Go on where reading stopped before the last commit stepped back; say whether that was needed."""
        deferred = [
            (INTERACTIONS, partition)
            for partition, arrivals in self._arrivals.items()
            if consumer.position(INTERACTIONS, partition) < arrivals.frontier
        ]
        for where in deferred:
            consumer.seek(*where, self._arrivals[where[1]].frontier)
        return bool(deferred)

    def _step_back(self, consumer: Consumer) -> None:
        """Stand where a restart has to continue: at the first event that still waits."""
        for partition, arrivals in self._arrivals.items():
            if arrivals.held:
                consumer.seek(INTERACTIONS, partition, arrivals.commit())
            else:
                arrivals.commit()

    def _next_batch(self, turn: Turn) -> list[Arrival] | None:
        """The replay's next batch; None while there is none, or it is not its turn yet."""
        held = [a for arrivals in self._arrivals.values() for a in arrivals.held.values()]
        for again in [a for a in held if 0 <= a.sequence < self._next]:
            self._metrics.duplicates.inc()
            self._arrivals[again.partition].handle(again)
        past = in_time(a for a in held if a.sequence < 0)
        batch = self._whole_batch({a.sequence: a for a in held})
        partitions = [(INTERACTIONS, partition) for partition in self._arrivals]
        if batch and not self._barrier.is_open(turn.log):
            turn.consumer.pause(partitions)
            return None
        turn.consumer.resume(partitions)
        return past + batch if past or batch else None

    def _whole_batch(self, numbered: Mapping[int, Arrival]) -> list[Arrival]:
        """The events that a replay gates together next; none while one of them is not here."""
        batch: list[Arrival] = []
        while len(batch) < self._config.gate.batch_size:
            arrival = numbered.get(self._next + len(batch))
            if arrival is None:
                return []
            batch.append(arrival)
            if arrival.cut:
                break
        return batch

    # What is written.

    def _gate(self, batch: Sequence[Arrival], log: Log) -> list[Output]:
        """Gate events in the order given, and bring histories up to date."""
        if not all(a.past for a in batch):
            self._gating.follow(log)
        touched: Touched = {}
        gated: list[Output] = []
        size = self._config.gate.batch_size
        past = [a for a in batch if a.past]
        for a in past:
            self._append(a, touched)
        now = [a for a in batch if not a.past]
        for start in range(0, len(now), size):
            gated += self._gate_together(now[start : start + size], touched)
        for arrival in batch:
            self._arrivals[arrival.partition].handle(arrival)
        self._count_users()
        return [*gated, *self._user_outputs(touched), *self._gating.snapshot(gated, log)]

    def _append(self, arrival: Arrival, touched: Touched) -> bool:
        """Put an event at the end of its user's history, unless it was there before."""
        users, event = self._users[arrival.partition], arrival.event
        state = users.get(event.user_id)
        if state is not None and state.has_seen(event.event_id):
            self._metrics.duplicates.inc()
            return False
        state = users.append(
            event.user_id, arrival.row, event.event_id, event.timestamp, arrival.sequence, past=arrival.past
        )
        state.ahead += (arrival.offset,)
        touched[arrival.partition, event.user_id] = state
        self._next = max(self._next, arrival.sequence + 1)
        return True

    def _gate_together(self, arrivals: Sequence[Arrival], touched: Touched) -> list[Output]:
        """Gate one step of the model: windows are taken before their events are in the histories."""
        scored: list[tuple[Arrival, History]] = []
        for arrival in arrivals:
            history = self._users[arrival.partition].history(arrival.event.user_id)
            if self._append(arrival, touched):
                scored.append((arrival, history))
        return self._gating.gate(_windows(scored)) if scored else []

    def _user_outputs(self, touched: Touched) -> list[Output]:
        outputs = []
        positions = {partition: arrivals.position for partition, arrivals in self._arrivals.items()}
        for (partition, user_id), state in touched.items():
            value = state.to_record(positions[partition])
            state.ahead = tuple(value.get("ahead", ()))
            outputs.append(Output(USERS, value, user_id, state.timestamp, partition))
        return outputs

    def _count_users(self) -> None:
        self._metrics.users.set(sum(len(users) for users in self._users.values()))


def _windows(scored: Sequence[tuple[Arrival, History]]) -> Windows:
    return Windows(
        np.array([history.rows for _, history in scored], dtype=np.int64),
        np.array([a.row for a, _ in scored], dtype=np.int64),
        np.array([a.event.user_id for a, _ in scored], dtype=np.str_),
        np.array([a.event.event_id for a, _ in scored], dtype=np.str_),
        np.array([a.event.timestamp for a, _ in scored], dtype=np.float64),
        np.array([history.since_setup for _, history in scored], dtype=np.int64),
    )
