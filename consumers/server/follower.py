"""Follower of the log: one thread polls it and keeps the server's views up to date."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Event, Thread

from adapters_store.errors import StoreError
from consumers.server.views import activity, edits, users_items
from consumers.server.views.activity import Activity
from consumers.server.views.edits import Edits
from consumers.server.views.online import ServedOnlineEnsemble
from consumers.server.views.regions import Live
from consumers.server.views.users_items import UsersItems
from pipeline.errors import LogError
from pipeline.events.control import PIN, RELOAD, ControlAct
from pipeline.streams.interface import Log, Record, TopicPartition, UnavailableError
from pipeline.streams.topics import CONTROL, FEEDBACK, REGIONS

POLL = 0.05
"""Seconds that a poll waits: a new revision is served about that much later."""

MOST = 2_000
"""Most records of a poll."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the log is opened again; doubled each time, up to the longest."""

Open = Callable[[], Log]


@dataclass(frozen=True)
class Views:
    """Views of the log that a server answers from.

    Attributes:
        users_items: users and items.
        edits: edits and outcomes.
        live: regions and adapters.
        online: online ensemble of a gate.
        activity: recent activity.
    """

    users_items: UsersItems
    edits: Edits
    live: Live
    online: ServedOnlineEnsemble
    activity: Activity


@dataclass(frozen=True)
class Reactions:
    """Functions called by the follower.

    Attributes:
        on_feedback: called with each record of `feedback`.
        on_caught_up_feedback: called once the log is read, and then after each poll with feedback.
        on_refused: called with each refusal of an adapter.
        say: shows a status line.
    """

    on_feedback: Callable[[Record], None]
    on_caught_up_feedback: Callable[[], None]
    on_refused: Callable[[StoreError], None]
    say: Callable[[str], None]


class Follower:
    """Polls the log in a thread. It commits no offsets: the views are built from the whole log at every start.

    Args:
        open_log: opens the log; called again after it was out of reach.
        instance: names this server; each server reads all partitions.
        views: views to keep up to date.
        reactions: functions to call.

    Attributes:
        caught_up: set once everything that was in the log at the start is read.
        failed: error that ended the thread for good, or None.
    """

    def __init__(self, open_log: Open, instance: str, views: Views, reactions: Reactions) -> None:
        self.caught_up = Event()
        self.failed: LogError | None = None
        self._open, self._instance = open_log, instance
        self._views, self._reactions = views, reactions
        self._positions: dict[TopicPartition, int] = {}
        self._stop = Event()
        self._thread = Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the present poll."""
        self._stop.set()
        self._thread.join()

    def apply(self, records: Sequence[Record], log: Log) -> None:
        """Apply records to the views, each topic's in order."""
        revisions = [record for record in records if record.topic == REGIONS]
        for record in records:
            self._apply_one(record)
        if revisions:
            self._report(self._views.live.apply(revisions))
        self._views.online.apply(records, log)
        for record in records:
            if record.topic == CONTROL and record.value is not None:
                self._apply_control(ControlAct.from_record(record.value))

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            try:
                with closing(self._open()) as log:
                    self._poll_until_stopped(log)
            except UnavailableError as error:
                # The server goes on answering from its views.
                self._reactions.say(f"{error}; trying again in {pause:g} s")
                self._stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            except LogError as error:
                self.failed = error
                self._reactions.say(f"the server no longer follows the log: {error}")
                return

    def _poll_until_stopped(self, log: Log) -> None:
        topics = (*users_items.TOPICS, *edits.TOPICS, *activity.TOPICS, *self._views.online.topics, FEEDBACK)
        with closing(log.consumer(f"server-{self._instance}", topics, self._instance)) as consumer:
            while not self._stop.is_set():
                records = consumer.poll(MOST, POLL)
                # A log that is opened again is read from its start: nothing may be counted twice.
                self.apply([r for r in records if r.offset >= self._positions.get((r.topic, r.partition), 0)], log)
                for record in records:
                    where = (record.topic, record.partition)
                    self._positions[where] = max(self._positions.get(where, 0), record.offset + 1)
                new_feedback = any(record.topic == FEEDBACK for record in records)
                if not self.caught_up.is_set() and consumer.assignment and consumer.lag() == 0:
                    self.caught_up.set()
                    new_feedback = True
                if new_feedback and self.caught_up.is_set():
                    self._reactions.on_caught_up_feedback()

    def _apply_one(self, record: Record) -> None:
        if record.topic in users_items.TOPICS:
            self._views.users_items.apply(record)
        elif record.topic in edits.TOPICS:
            self._views.edits.apply(record)
        elif record.topic in activity.TOPICS:
            self._views.activity.apply(record)
        elif record.topic == FEEDBACK:
            self._reactions.on_feedback(record)

    def _apply_control(self, act: ControlAct | None) -> None:
        if act is None:
            return
        if act.act == PIN and act.region_id is not None:
            self._report(self._views.live.pin(act.region_id, act.adapter))
        elif act.act == RELOAD:
            self._report(self._views.live.reload())

    def _report(self, refused: Sequence[StoreError]) -> None:
        for refusal in refused:
            self._reactions.on_refused(refusal)
