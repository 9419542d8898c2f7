"""Following the log: one thread polls, and brings what the server knows up to date."""

from collections.abc import Callable, Sequence
from contextlib import closing
from threading import Event, Thread
from typing import Any

from adapters_store.errors import StoreError
from consumers.server.views import activity, users_items
from consumers.server.views.activity import History
from consumers.server.views.online import ServedOnlineEnsemble
from consumers.server.views.regions import Live
from consumers.server.views.users_items import Knowledge
from pipeline.errors import LogError
from pipeline.streams.interface import Log, Record, TopicPartition, UnavailableError
from pipeline.streams.topics import CONTROL, FEEDBACK, REGIONS

POLL = 0.05
"""Seconds that a poll waits: a publication is served about that much later."""

MOST = 2_000
"""Records of a poll."""

Open = Callable[[], Log]


class Follower:
    """Follows the log in a thread. Nothing is ever committed: the view is made anew at every start.

    Args:
        open_log: opens the log; again after it was out of reach.
        instance: names this server; each reads everything.
        known: users, items, edits and outcomes.
        live: regions and adapters.
        online: online counts.
        past: what happened of late.
        on_feedback: takes records of `feedback`.
        judge: ends the trials whose clicks have said enough; asked once all is known, and with all feedback since.
        on_refused: told why adapters were refused.
        say: told in words when the log is out of reach.

    Attributes:
        caught_up: set once everything that was in the log at the start is known.
        failed: why following ended for good, or None.
    """

    def __init__(
        self,
        open_log: Open,
        instance: str,
        known: Knowledge,
        live: Live,
        online: ServedOnlineEnsemble,
        past: History,
        on_feedback: Callable[[Record], None],
        judge: Callable[[], None],
        on_refused: Callable[[StoreError], None],
        say: Callable[[str], None],
    ) -> None:
        self.caught_up = Event()
        self.failed: LogError | None = None
        self._open, self._group = open_log, f"server-{instance}"
        self._instance = instance
        self._known, self._live, self._online, self._past = known, live, online, past
        self._on_feedback, self._judge, self._on_refused, self._say = on_feedback, judge, on_refused, say
        self._positions: dict[TopicPartition, int] = {}
        self._stop = Event()
        self._thread = Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End after the poll in progress."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        pause = 0.5
        while not self._stop.is_set():
            try:
                with closing(self._open()) as log:
                    self._follow(log)
            except UnavailableError as error:
                # What is known goes on answering; nothing is lost but freshness.
                self._say(f"{error}; trying again in {pause:g} s")
                self._stop.wait(pause)
                pause = min(2 * pause, 30.0)
            except LogError as error:
                self.failed = error
                self._say(f"the server no longer follows the log: {error}")
                return

    def _follow(self, log: Log) -> None:
        topics = (*users_items.TOPICS, *activity.TOPICS, *self._online.topics, FEEDBACK)
        with closing(log.consumer(self._group, topics, self._instance)) as consumer:
            while not self._stop.is_set():
                records = consumer.poll(MOST, POLL)
                # Opened anew, the log is read from its start again: counts must not count twice.
                self.take([r for r in records if r.offset >= self._positions.get((r.topic, r.partition), 0)], log)
                for record in records:
                    where = (record.topic, record.partition)
                    self._positions[where] = max(self._positions.get(where, 0), record.offset + 1)
                heard = any(record.topic == FEEDBACK for record in records)
                if not self.caught_up.is_set() and consumer.assignment and consumer.lag() == 0:
                    self.caught_up.set()
                    heard = True
                if heard and self.caught_up.is_set():
                    self._judge()

    def take(self, records: Sequence[Record], log: Log) -> None:
        """Take records in: of each topic in its order."""
        revisions = [record for record in records if record.topic == REGIONS]
        for record in records:
            if record.topic in users_items.TOPICS:
                self._known.apply(record)
            elif record.topic in activity.TOPICS:
                self._past.apply(record)
            elif record.topic == FEEDBACK:
                self._on_feedback(record)
        if revisions:
            self._report(self._live.apply(revisions))
        self._online.apply(records, log)
        for record in records:
            if record.topic == CONTROL and record.value is not None:
                self._control(record.value)

    def _control(self, act: Any) -> None:
        # Other records of `control` are words between the stages.
        if act.get("act") == "pin":
            self._report(self._live.pin(int(act["region_id"]), act["adapter"]))
        elif act.get("act") == "reload":
            self._report(self._live.reload())

    def _report(self, refused: Sequence[StoreError]) -> None:
        for refusal in refused:
            self._on_refused(refusal)
