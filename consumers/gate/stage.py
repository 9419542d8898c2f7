"""The gate stage: holds the histories of its users, and scores every interaction before anything learns from it.

    interactions ──► refused? ──► at home? ──► duplicate? ──► due? ──► window, gated ──► history
         ▲              │            │              │
         │        dead-letters       │           counted
         └───────────────────────────┘

Live, an event is scored under the newest revision. In lockstep the producer has numbered the events (`sequence`, and
`cut` where a replay ends a batch early): batches are those of the replay, one to a transaction, each after the
barrier. In both modes `gated`, `users`, snapshots of the ensemble and positions are written in one transaction.

A record that is not on its user's partition is sent on to it (`consumers.gate.repartition`).

An interaction with `past` belongs to the set-up slice: it enters the history and is not scored. One with `load` holds a
whole history of before the stream, which goes in front of what came live.

A record `{"erase": true, "user_id": ...}` of `interactions` erases, as soon as it is read, everything of the user that
stands before it on the home partition, or is not later than it in event time: the gate writes a tombstone to `users`,
and one to `gated` for the monitor; with `"unlearn": true`, also a request to unlearn. `users` remembers the time under
a digest of the user id, so that earlier events are dropped whenever they come; a later one starts a new user.

The users lie in kept tables, which `consumers.gate.checkpoints` brings up to date every ten seconds. With
`users.time_to_live` it also forgets those who were not seen for so long, by a tombstone in `users`.

`gated` and dead letters name a user by a pseudonym. Its key is in the record of `users` that is written with the user's
first event, and is erased with it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from adapters_store import AdaptersStore
from consumers.gate.checkpoints import Checkpoints
from consumers.gate.dead_letters import dead_letter
from consumers.gate.event_time_buffer import Arrival, EventTimeBuffer, batches, in_time
from consumers.gate.event_time_reached import EventTimeReached
from consumers.gate.lockstep_batches import LockstepBatches
from consumers.gate.parser import InteractionParser
from consumers.gate.remembered_events import RememberedEvents
from consumers.gate.repartition import Repartitioner
from consumers.gate.scoring import GateScoring, Taken
from consumers.gate.user_store import UserStore
from consumers.runtime.malformed import SkippedRecords, unsaid
from consumers.runtime.stage import Output, Turn
from consumers.runtime.user_tables import UserTables
from pipeline.config import Config
from pipeline.errors import BadEvent, LogError
from pipeline.events.erasure import Erasure, erasure_key
from pipeline.events.interaction import Interaction
from pipeline.events.unlearning import unlearning_request
from pipeline.events.user_state import UserState
from pipeline.models.lora.host import AdapterHost
from pipeline.models.text import reopen_text_encoder
from pipeline.recommend.event_scorer import Beginning
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Consumer, Log, Record, TopicPartition
from pipeline.streams.topics import GATED, INTERACTIONS, USERS
from pipeline.telemetry import Metrics

Touched = dict[tuple[int, str], UserState]
"""Users changed by a transaction, by partition and id."""


class GateStage:
    """Gate; see `consumers.runtime.stage.Stage`.

    Args:
        setup: result of `raie setup`.
        config: the whole tree.
        store: adapter versions.
        tables: kept tables of the users.
        instance: names this gate, the same after a restart; its snapshots are written under this name.
        metrics: of the process.
        say: shows a status line.
    """

    name = "gate"
    topics = (INTERACTIONS,)

    def __init__(
        self,
        setup: SetUp,
        config: Config,
        store: AdaptersStore,
        tables: UserTables,
        instance: str,
        metrics: Metrics,
        say: Callable[[str], None] = unsaid,
    ) -> None:
        self._skipped = SkippedRecords(metrics, say)
        known, live, standby = setup.catalogue.item_ids, config.users.time_to_live, config.users.standby
        sizes = config.windows.length, config.gate.remembered_events, config.gate.remembered_items
        users_of = lambda table: UserStore(*sizes, known, table, config.users.cached)  # noqa: E731
        self._checkpoints = Checkpoints(tables, users_of, self.name, live, self._skipped, metrics, standby=standby)
        self._setup = setup
        self._config = config
        self._store = store
        self._instance = instance
        self._metrics = metrics
        self._parser = InteractionParser(
            *(config.data.columns, setup.counting_rule(config.data), self._is_refused),
            dislikes=config.backbone.format == "examples",
        )
        cache = Path(config.items.cache).expanduser()
        self._encoder = reopen_text_encoder(setup.catalogue.encoder, config.items.text_encoder, cache)
        self._host = AdapterHost(setup.backbone, config.adapter)
        self._users: dict[int, UserStore] = {}
        self._buffers: dict[int, EventTimeBuffer[Output]] = {}
        self._others: dict[int, Repartitioner] = {}
        self._reached: dict[int, EventTimeReached] = {}
        self._beginning: Beginning | None = None
        self._is_prepared = False
        self._reset()
        # Before it joins the group: a member that counts set-up sends no heartbeat meanwhile.
        self._beginning = self._scoring.scorer.beginning()

    def prepare(self, log: Log) -> None:
        """See `Stage.prepare`: everything but the users, as after thousands of events this takes many seconds."""
        self._restore_shared(log)
        self._scoring.catch_up(log)
        self._checkpoints.prepare(log)
        self._is_prepared = True

    def stand_by(self, turn: Turn) -> None:
        """See `Stage.stand_by`: what was not prepared would hold up the polls by which the gate joins."""
        if self._is_prepared:
            self._scoring.catch_up(turn.log)
        self._checkpoints.make(turn, {}, {})

    def restore(self, came: Mapping[TopicPartition, int], log: Log) -> None:
        """See `Stage.restore`: histories from `users`; what all partitions share with the first, unless prepared."""
        if not self._users and not self._is_prepared:
            self._restore_shared(log)
        self._is_prepared = False
        self._remembered.restore(log)
        # First: where one cannot be restored, none is held.
        restored = {where: self._checkpoints.restored(log, where[1], committed) for where, committed in came.items()}
        for (_, partition), users in restored.items():
            committed = came[INTERACTIONS, partition]
            self._users[partition] = users
            done = users.ahead(committed) | users.sent_on
            self._buffers[partition] = EventTimeBuffer(committed, done, self._config.gate.horizon)
            partitions, longest = log.topic(INTERACTIONS).partitions, log.longest_record
            self._others[partition] = Repartitioner(partition, partitions, longest, users.sent_on)
            self._reached[partition] = EventTimeReached(self._config.data.columns)
            self._batches.advance(users.sequence)
        self._count_users()

    def _restore_shared(self, log: Log) -> None:
        self._reset()
        self._scoring.restore(log)
        self._remembered.restore(log)

    def drop(self, went: Collection[TopicPartition]) -> None:
        """See `Stage.drop`."""
        for _, partition in went:
            self._users[partition].table.close()
            del self._users[partition], self._buffers[partition], self._others[partition], self._reached[partition]
        self._count_users()

    def handle(self, turn: Turn) -> Sequence[Output] | None:
        """Score the events that are due."""
        self._checkpoints.make(turn, self._users, self._buffers)
        if self._config.items.unknown == "refuse" and turn.records:
            self._scoring.poll_items(turn.log)
        fresh = [r for r in turn.records if self._buffers[r.partition].is_new(r.offset)]
        for record in fresh:
            self._read(record, turn.log)
        if self._read_again(turn.consumer) or (turn.records and not fresh):
            # Held events were read again after the last commit; the next poll shows if anything follows them.
            return None
        batch: list[Arrival] | None
        if self._config.consumers.lockstep:
            batch = self._next_batch(turn)
        else:
            batch = in_time(a for buffer in self._buffers.values() for a in buffer.due(silent=not turn.records))
        outputs = self._score(batch, turn.log) if batch else []
        if batch is not None:
            outputs += [out for buffer in self._buffers.values() for out in buffer.passed()]
        # First: what a user does after an erasure is not erased.
        outputs = [*self._erasure_outputs(), *self._checkpoints.forgotten(self._users), *outputs]
        outputs += [out for p, others in self._others.items() for out in others.outputs(self._buffers[p].position)]
        if batch is None and not outputs:
            return None
        self._step_back(turn.consumer)
        return outputs

    def close(self) -> None:
        """See `Stage.close`."""
        self._checkpoints.close(self._users)

    def _reset(self) -> None:
        """Discard regions, second stage, lockstep numbers, and events whose transaction may have been lost."""
        self._remembered = RememberedEvents(self._config.gate.remembered_ids)
        self._scoring = GateScoring(
            *(self._setup, self._config, self._encoder, self._host, self._store, self._instance, self._metrics),
            self._skipped,
            self._remembered.take,
            self._beginning,
        )
        self._batches = LockstepBatches(self._config.gate.batch_size)

    # Reading.

    def _is_refused(self, item_id: str) -> bool:
        return self._config.items.unknown == "refuse" and self._scoring.is_unknown(item_id)

    def _read(self, record: Record, log: Log) -> None:
        """Put an event or a deferred action into the partition's buffer."""
        buffer = self._buffers[record.partition]
        try:
            parsed = self._parser.parse(record, buffer.read)
            sent_on = None if parsed is None else self._others[record.partition].take(record, parsed)
        except BadEvent as error:
            if self._config.consumers.lockstep:
                raise LogError(
                    f"{record.topic}/{record.partition} offset {record.offset} is refused ({error}), and lockstep "
                    "takes a log of good events only: turn consumers.lockstep off, or feed it by `raie produce`"
                ) from error
            user_id = self._parser.user_of(record)
            name = None if user_id is None else self._users[record.partition].pseudonym(user_id)
            buffer.deferred[record.offset] = dead_letter(record, error, user_id, name)
            return
        if sent_on is not None:
            self._metrics.repartitioned.labels(sent_on).inc()
            if isinstance(parsed, Arrival):
                buffer.note(parsed.event.timestamp)
        elif isinstance(parsed, Erasure):
            reached = self._reached[record.partition]
            self._erase(record, parsed if parsed.is_dated else reached.dated(parsed, record, log))
        elif parsed is not None and buffer.add(parsed) and parsed.is_scored:
            self._metrics.late.inc()

    def _erase(self, record: Record, erasure: Erasure) -> None:
        """Erase a user, with the events that were read before and still wait for their time."""
        buffer, erased = self._buffers[record.partition], self._users[record.partition].erase(erasure)
        if erased is None:
            return
        for name in erased.names:
            self._remembered.forget(name)
        # In lockstep each number is waited for: there the event time alone decides, when its turn has come.
        waiting = [] if self._config.consumers.lockstep else [*buffer.held.values()]
        for arrival in waiting:
            if arrival.event.user_id == erasure.user_id:
                buffer.handle(arrival)
                erased.kept.ahead += (arrival.offset,)
                self._metrics.erased_events.inc()

    def _erasure_outputs(self) -> list[Output]:
        """Records of the erasures since the last call."""
        outputs = []
        for partition, users in self._users.items():
            position = self._buffers[partition].position
            for erased in users.take_erased():
                user_id, at = erased.erasure.user_id, erased.erasure.timestamp
                self._metrics.erasures.labels("yes" if erased.erasure.unlearn else "no").inc()
                outputs.append(Output(USERS, None, user_id, at, partition))
                outputs.append(Output(USERS, erased.kept.to_record(position), erasure_key(user_id), at, partition))
                for name in erased.names:
                    # Before the tombstone: after it nothing under the name is evidence any more.
                    outputs += [Output(GATED, unlearning_request(), name, at, 0)] * erased.erasure.unlearn
                    outputs.append(Output(GATED, None, name, at, 0))
        if outputs:
            self._count_users()
        return outputs

    def _read_again(self, consumer: Consumer) -> bool:
        """Seek to the frontier where the last commit stepped back; return True if any partition needed it."""
        behind = [
            (INTERACTIONS, partition)
            for partition, buffer in self._buffers.items()
            if consumer.position(INTERACTIONS, partition) < buffer.frontier
        ]
        for where in behind:
            consumer.seek(*where, self._buffers[where[1]].frontier)
        return bool(behind)

    def _step_back(self, consumer: Consumer) -> None:
        """Seek to the offset to commit: the first event that is held, where a restart continues."""
        for partition, buffer in self._buffers.items():
            position = buffer.commit()
            if buffer.held:
                consumer.seek(INTERACTIONS, partition, position)

    def _next_batch(self, turn: Turn) -> list[Arrival] | None:
        """The replay's next batch; None while it is incomplete or the barrier is closed."""
        held = [a for buffer in self._buffers.values() for a in buffer.held.values()]
        for again in self._batches.repeated(held):
            self._metrics.duplicates.inc()
            self._buffers[again.partition].handle(again)
        past = in_time(a for a in held if a.sequence < 0)
        batch = self._batches.whole(held)
        partitions = [(INTERACTIONS, partition) for partition in self._buffers]
        if batch and not self._batches.is_open(turn.log):
            turn.consumer.pause(partitions)
            return None
        turn.consumer.resume(partitions)
        return past + batch if past or batch else None

    # Scoring.

    def _score(self, batch: Sequence[Arrival], log: Log) -> list[Output]:
        """Score events in the order given, and append them to the histories."""
        if any(a.is_scored for a in batch):
            self._scoring.poll(log)
        touched: Touched = {}
        gated: list[Output] = []
        for arrival in batch:
            if arrival.past:
                self._append(arrival, touched)
        for part in batches([a for a in batch if not a.past], self._config.gate.batch_size):
            gated += self._score_together(part, touched, log)
        for arrival in batch:
            self._buffers[arrival.partition].handle(arrival)
        self._count_users()
        return [*gated, *self._user_outputs(touched), *self._scoring.snapshot(gated, log)]

    def _append(self, arrival: Arrival, touched: Touched) -> bool:
        """Append an event to its user's history; return False for a duplicate, and for one of an erased user."""
        users, event = self._users[arrival.partition], arrival.event
        kept = users.erasure_before(event)
        if kept is not None:
            self._skip_erased(arrival, kept, touched)
            return False
        if arrival.loaded is not None:
            state = users.load(arrival.loaded)
            if state is None:
                self._metrics.erased_events.inc()
                return False
        elif self._is_duplicate(event, users):
            self._metrics.duplicates.inc()
            return False
        else:
            state = users.append(
                *(event.user_id, event.item_id, event.event_id, event.timestamp, arrival.sequence),
                past=arrival.past,
                disliked=arrival.disliked,
            )
            if arrival.is_scored:
                self._remembered.add(state.names(event.user_id)[-1], event.event_id)
        state.ahead += (arrival.offset,)
        touched[arrival.partition, event.user_id] = state
        self._batches.advance(arrival.sequence)
        return True

    def _is_duplicate(self, event: Interaction, users: UserStore) -> bool:
        """True for an event that was gated before."""
        state = users.get(event.user_id)
        if state is None:
            return False
        names = state.names(event.user_id)
        return state.has_seen(event.event_id) or any((name, event.event_id) in self._remembered for name in names)

    def _skip_erased(self, arrival: Arrival, kept: UserState, touched: Touched) -> None:
        """Skip an event of an erased user; its number in lockstep is handled, after a restart too."""
        self._metrics.erased_events.inc()
        if arrival.sequence > kept.sequence:
            kept.sequence = arrival.sequence
            touched[arrival.partition, erasure_key(arrival.event.user_id)] = kept
            self._batches.advance(arrival.sequence)

    def _score_together(self, arrivals: Sequence[Arrival], touched: Touched, log: Log) -> list[Output]:
        """Score one batch of the model: each window is taken before its event is appended."""
        taken: list[Taken] = []
        gated: list[Arrival] = []
        for arrival in arrivals:
            users, user_id = self._users[arrival.partition], arrival.event.user_id
            history = users.history(user_id)
            if self._append(arrival, touched) and arrival.is_scored:
                taken.append((replace(arrival.event, user_id=users.names(user_id)[-1]), history))
                gated.append(arrival)
        if not taken:
            return []
        delays = (one.written_at - one.event.timestamp for one in gated if one.written_at is not None)
        self._metrics.fresh("arrived", delays)
        self._scoring.follow(log)
        outputs = self._scoring.score(taken)
        return [
            replace(out, since=one.written_at, traceparent=one.traceparent)
            for out, one in zip(outputs, gated, strict=True)
        ]

    def _user_outputs(self, touched: Touched) -> list[Output]:
        outputs = []
        positions = {partition: buffer.position for partition, buffer in self._buffers.items()}
        for (partition, user_id), state in touched.items():
            state.ahead = state.ahead_of(positions[partition])
            outputs.append(Output(USERS, state.to_record(positions[partition]), user_id, state.timestamp, partition))
        return outputs

    def _count_users(self) -> None:
        self._metrics.users.set(sum(len(users) for users in self._users.values()))
