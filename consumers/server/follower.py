"""Follower of the log: one thread polls it and keeps the server's views up to date."""

import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Event, Thread

from adapters_store.errors import StoreError
from consumers.runtime.malformed import OnSkipped, described, readable
from consumers.server.views import activity, edits, items, users
from consumers.server.views.activity import Activity
from consumers.server.views.edits import Edits
from consumers.server.views.freshness import Freshness
from consumers.server.views.items import ServedItems
from consumers.server.views.online import ServedOnlineState, Taken
from consumers.server.views.regions import ServedRegions
from consumers.server.views.users import Users
from pipeline.errors import RaieError
from pipeline.events.control import PIN, RELOAD, ControlAct
from pipeline.streams.interface import Consumer, FencedError, Log, Record, TopicPartition, UnavailableError
from pipeline.streams.topics import CONTROL, FEEDBACK, REGIONS, USERS

POLL = 0.05
"""Seconds that a poll waits: a new revision is served about that much later."""

BACKLOG, MOST = 2_000, 200
"""Most records of a poll, before and after everything that was there at the start is read: from then on new items and
revisions wait for no more than these."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the log is opened again; doubled each time, up to the longest."""

Open = Callable[[], Log]


@dataclass(frozen=True)
class Views:
    """Views of the log that a server answers from.

    Attributes:
        items: items.
        users: histories of users.
        edits: edits and outcomes.
        live: regions and adapters.
        online: origin prior and second stage of a gate.
        activity: recent activity.
        freshness: times of the newest steps.
    """

    items: ServedItems
    users: Users
    edits: Edits
    live: ServedRegions
    online: ServedOnlineState
    activity: Activity
    freshness: Freshness


@dataclass(frozen=True)
class Reactions:
    """Functions called by the follower.

    Attributes:
        before_feedback: called with the log before the first record of `feedback` of a poll.
        on_feedback: called with each record of `feedback`.
        on_caught_up_feedback: called once the log is read, and then after each poll with feedback.
        on_refused: called with each refusal of an adapter.
        on_skipped: called with each record that cannot be read, and the error.
        say: shows a status line.
    """

    before_feedback: Callable[[Log], None]
    on_feedback: Callable[[Record], None]
    on_caught_up_feedback: Callable[[], None]
    on_refused: Callable[[StoreError], None]
    on_skipped: OnSkipped
    say: Callable[[str], None]


class Follower:
    """Polls the log in a thread. It commits no offsets: the views are built from the whole log at every start.

    The users alone have kept tables, and are read from where these end.

    A record that cannot be read changes no view: it is skipped and counted, and the rest is followed. Any other error
    ends the thread, and the server is not ready from then on.

    Args:
        open_log: opens the log; called again after it was out of reach.
        instance: names this server; each server reads all partitions.
        views: views to keep up to date.
        reactions: functions to call.

    Attributes:
        caught_up: set once everything that was in the log at the start is read.
    """

    def __init__(self, open_log: Open, instance: str, views: Views, reactions: Reactions) -> None:
        self.caught_up = Event()
        self._failure: str | None = None
        self._open, self._instance = open_log, instance
        self._views, self._reactions = views, reactions
        self._positions: dict[TopicPartition, int] = {}
        self._stop = Event()
        self._thread = Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def ended(self) -> str | None:
        """Reason for which the thread has ended, or None where it runs or was not started."""
        if self._thread.ident is None or self._thread.is_alive():
            return None
        return self._failure or "the server has stopped following the log"

    def stop(self) -> None:
        """Stop after the present poll."""
        self._stop.set()
        self._thread.join()

    def apply(self, records: Sequence[Record], log: Log) -> None:
        """Apply records to the views, each topic's in order; those that cannot be read are skipped."""
        skip = self._reactions.on_skipped
        if any(record.topic == FEEDBACK for record in records):
            self._reactions.before_feedback(log)
        # First: the others name items.
        self._report(self._views.items.apply([record for record in records if record.topic in items.TOPICS]))
        applied = list(readable(records, self._apply_one, skip))
        revisions = [record for record in applied if record.topic == REGIONS]
        refused = self._views.live.apply(revisions, skip) if revisions else []
        self._report(refused)
        self._views.online.apply(applied, log, self._take, skip)
        controls = [record for record in applied if record.topic == CONTROL]
        for act in readable(controls, _act_of, skip):
            self._apply_control(act)
        self._note_freshness(applied, refused=bool(refused))

    def _note_freshness(self, applied: Sequence[Record], refused: bool) -> None:
        """Note what is in force now; a revision whose adapter was refused is not."""
        freshness = self._views.freshness
        freshness.read(applied)
        if self.caught_up.is_set():
            freshness.counted(applied, self._views.online.gate)
            if not refused:
                freshness.served(applied)

    def _run(self) -> None:
        try:
            self._follow()
        except Exception as error:
            # A thread has no caller: its end must show in the server's readiness, whatever the cause.
            expected = isinstance(error, RaieError)
            reason = advised(error, self._instance) if expected else described(error)
            self._failure = f"the server no longer follows the log: {reason}"
            self._reactions.say(self._failure if expected else f"{self._failure}\n{traceback.format_exc()}")

    def _follow(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            try:
                with closing(self._open()) as log:
                    self._poll_until_stopped(log)
            except UnavailableError as error:
                # The server goes on answering from its views.
                self._reactions.say(f"{error}; trying again in {pause:g} s")
                self._stop.wait(pause)
                self._report(self._views.items.apply([]))
                pause = min(2 * pause, LONGEST_PAUSE)

    def _poll_until_stopped(self, log: Log) -> None:
        topics = (*items.TOPICS, *users.TOPICS, *edits.TOPICS, *activity.TOPICS, *self._views.online.topics, FEEDBACK)
        self._follow_users(log)
        with closing(log.consumer(f"server-{self._instance}", topics, self._instance)) as consumer:
            while not self._stop.is_set():
                records = consumer.poll(MOST if self.caught_up.is_set() else BACKLOG, POLL)
                # A log that is opened again is read from its start: nothing may be counted twice.
                self.apply([r for r in records if r.offset >= self._positions.get((r.topic, r.partition), 0)], log)
                for record in records:
                    where = (record.topic, record.partition)
                    self._positions[where] = max(self._positions.get(where, 0), record.offset + 1)
                self._read_own_users(consumer)
                read = {p: consumer.position(topic, p) for topic, p in consumer.assignment if topic == USERS}
                self._views.users.checkpoint(log, read)
                new_feedback = any(record.topic == FEEDBACK for record in records)
                if not self.caught_up.is_set() and consumer.assignment and consumer.lag() == 0:
                    self.caught_up.set()
                    new_feedback = True
                if new_feedback and self.caught_up.is_set():
                    self._reactions.on_caught_up_feedback()

    def _follow_users(self, log: Log) -> None:
        """Open the tables of users; where one was thrown away, the server is not ready until it is read again."""
        for partition, position in self._views.users.follow(log).items():
            if position < self._positions.get((USERS, partition), 0):
                self.caught_up.clear()
            self._positions[USERS, partition] = position

    def _read_own_users(self, consumer: Consumer) -> None:
        """Read the partitions of users that are of this server, each from where its table ends, and no others."""
        for topic, partition in consumer.assignment:
            kept = self._positions.get((topic, partition), 0)
            if topic == USERS and partition not in self._views.users.own:
                consumer.pause([(topic, partition)])
            elif topic == USERS and consumer.position(topic, partition) < kept:
                consumer.seek(topic, partition, kept)

    def _apply_one(self, record: Record) -> Record:
        if record.topic in users.TOPICS:
            self._views.users.apply(record)
        elif record.topic in edits.TOPICS:
            self._views.edits.apply(record)
        elif record.topic in activity.TOPICS:
            self._views.activity.apply(record)
        elif record.topic == FEEDBACK:
            self._reactions.on_feedback(record)
        return record

    def _apply_control(self, act: ControlAct | None) -> None:
        if act is None:
            return
        if act.act == PIN and act.region_id is not None:
            self._report(self._views.live.pin(act.region_id, act.adapter))
        elif act.act == RELOAD:
            self._report(self._views.live.reload(self._reactions.on_skipped))

    def _take(self, taken: Iterable[Taken]) -> None:
        self._report(self._views.items.take(taken))

    def _report(self, refused: Sequence[StoreError]) -> None:
        for refusal in refused:
            self._reactions.on_refused(refusal)


def advised(error: Exception, instance: str) -> str:
    """Message of an error of the log; where another server took over, with the way to run both."""
    if not isinstance(error, FencedError):
        return str(error)
    return (
        f"another server of instance {instance} runs on this log ({error}): give each server a name of its own with "
        "--instance, and restart this one"
    )


def _act_of(record: Record) -> ControlAct | None:
    return None if record.value is None else ControlAct.from_record(record.value)
