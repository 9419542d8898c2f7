"""Purge of erased users from an embedded log, whose topics no broker deletes by age.

    interactions   records that a gate has handled: deleted
    gated          tombstones and requests to unlearn: deleted, as their time is that of the erasure, which stays in
                   `users`;
                   a user id becomes a random pseudonym: edits refer to windows by offset, and need them
    dead-letters   key, value and detail are dropped; the reason stays
    users          tombstones older than `TOMBSTONE`: deleted
    monitor        chunks of earlier snapshots: deleted

Records of `gated` and `dead-letters` from schema 3 on hold no user id, but a pseudonym. Its key goes with the states of
the user, by compaction, which comes first.

Only what no restart reads again is changed: in `gated` nothing, while the monitor has erasures still to read, or a
request to unlearn is not answered.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from consumers.erasure.request import is_forgotten
from consumers.erasure.traces import ErasedUsers, Trace, traces_of_topics
from consumers.erasure.unlearning import Answers
from consumers.monitor.changelog import read_newest
from consumers.runtime.generations import log_in, read_generations, running_logs
from pipeline.events.dead_letter import DeadLetter
from pipeline.events.erasure import ERASURES, erased_until, erasure_key
from pipeline.events.generation import State
from pipeline.events.unlearning import is_event, is_unlearning_request
from pipeline.streams import Record, SqliteLog
from pipeline.streams.sqlite.generation import SqliteGeneration
from pipeline.streams.sqlite.log import Amended
from pipeline.streams.topics import DEAD_LETTERS, GATED, INTERACTIONS, MONITOR, USERS

TOMBSTONE = 3600.0
"""Seconds for which a tombstone of `users` stays, so that servers that follow the log read it."""


class Purges:
    """Removes what erased users have left in an embedded log, generation by generation.

    Of one that stands by nothing is changed: its gate has not read the erasures since it ended, and reads them first
    where its stages run again. Its topics go when it is pruned.

    Args:
        columns: see `Purge`.
        clock: likewise.
    """

    def __init__(self, columns: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._make = partial(Purge, columns, clock)
        self._purges: dict[int, Purge] = {}

    def __call__(self, log: SqliteLog) -> int:
        """Purge a log; return the number of records that were deleted or changed."""
        numbers = [one.number for one in read_generations(log).running]
        return sum(self._purges.setdefault(n, self._make())(SqliteGeneration(log, n)) for n in numbers)


class Purge:
    """Removes what erased users have left in one generation. It reads each record once, and again after an erasure.

    Args:
        columns: field -> key of a record of `interactions` (`data.columns`).
        clock: seconds since 1970.
        pseudonym: returns a new one at each call.
    """

    def __init__(
        self,
        columns: Mapping[str, str],
        clock: Callable[[], float],
        pseudonym: Callable[[], str] = lambda: f"erased-{secrets.token_hex(8)}",
    ) -> None:
        self._traces = traces_of_topics(columns)
        self._clock = clock
        self._pseudonyms: defaultdict[str, str] = defaultdict(pseudonym)
        self._erased = ErasedUsers({})
        self._positions: dict[tuple[str, int], int] = {}
        self._owes_vacuum = False

    def __call__(self, log: SqliteGeneration) -> int:
        """Purge a log; return the number of records that were deleted or changed."""
        erased = _read_erased(log)
        if not erased.until:
            return 0
        if erased != self._erased:
            self._erased = erased
            self._positions.clear()
            self._pseudonyms.clear()
        # Until it is done: what was deleted before an error is still in the file.
        owed, self._owes_vacuum = self._owes_vacuum, True
        done = self._purge_interactions(log) + self._purge_gated(log) + self._purge_letters(log)
        done += self._purge_tombstones(log) + _purge_chunks(log)
        if done or owed:
            log.vacuum()
        self._owes_vacuum = False
        return done

    def _purge_interactions(self, log: SqliteGeneration) -> int:
        done, partitions = 0, range(log.topic(INTERACTIONS).partitions)
        # Before the generations: a fork that begins afterwards takes over what gates have read by now.
        ends = [min(own.committed("gate", INTERACTIONS, p) for own in running_logs(log)) for p in partitions]
        generations = read_generations(log)
        is_forking = any(one.state is State.PREPARING and not one.is_forked for one in generations.all.values())
        kept = [log_in(log, one.number) for one in generations.kept if one.is_forked]
        for p, end in enumerate(ends):
            # A gate that stands by must still read that the user was erased, and so must one of a fork under way: its
            # users may be those of before.
            read = 0 if is_forking else min(own.committed("gate", INTERACTIONS, p) for own in kept)
            needed = [r.offset for r in log.read(INTERACTIONS, p, *_between(log, p, read, end)) if _erases(r)]
            done += self._amend(log, INTERACTIONS, p, end, lambda *_: None, spared=needed)
        return done

    def _purge_gated(self, log: SqliteGeneration) -> int:
        # Before the question: what the monitor has not read by now stays as it is.
        read = log.committed("monitor", GATED, 0)
        is_due = is_forgotten(log) and self._is_unlearned(log, log.acknowledged_end(GATED, 0))
        return self._amend(log, GATED, 0, read, self._anonymous) if is_due else 0

    def _is_unlearned(self, log: SqliteGeneration, end: int) -> bool:
        """Return whether every request to unlearn before an offset that no earlier call has read is answered."""
        start = max(self._positions.get((GATED, 0), 0), log.start_offset(GATED, 0))
        requests = {r.offset for r in log.read(GATED, 0, start, max(start, end)) if is_unlearning_request(r)}
        return not requests or requests <= Answers(log)().keys()

    def _purge_letters(self, log: SqliteGeneration) -> int:
        return self._amend(log, DEAD_LETTERS, 0, log.end_offset(DEAD_LETTERS, 0), _emptied)

    def _purge_tombstones(self, log: SqliteGeneration) -> int:
        done, until = 0, self._clock() - TOMBSTONE
        for partition in range(log.topic(USERS).partitions):
            old = [r.offset for r in log.tombstones(USERS, partition) if (r.written_at or 0.0) <= until]
            done += log.amend(USERS, partition, dict.fromkeys(old))
        return done

    def _amend(
        self,
        log: SqliteGeneration,
        topic: str,
        partition: int,
        end: int,
        change: Callable[[Record, Trace], Amended | None],
        spared: Sequence[int] = (),
    ) -> int:
        """Change the records of erased users before an offset that no earlier call has read, but for some offsets."""
        where, trace_of = (topic, partition), self._traces[topic]
        start = max(self._positions.get(where, 0), log.start_offset(*where))
        found = ((record, trace_of(record)) for record in log.read(*where, start, max(start, end)))
        amended = {r.offset: change(r, trace) for r, trace in found if trace and self._is_erased(r, trace)}
        done = log.amend(*where, {offset: new for offset, new in amended.items() if offset not in spared})
        # What is spared is looked at again.
        self._positions[where] = min([max(start, end), *spared])
        return done

    def _is_erased(self, record: Record, trace: Trace) -> bool:
        """True for a record of an erased user; of `gated` each that is no event is of one, whatever its pseudonym."""
        return self._erased.covers(trace) or (record.topic == GATED and not is_event(record))

    def _anonymous(self, record: Record, trace: Trace) -> Amended | None:
        if record.value is None or not is_event(record):
            return None
        name = self._pseudonyms[erasure_key(trace.user_id)]
        return name, {**record.value, "user_id": name}


def _between(log: SqliteGeneration, partition: int, start: int, end: int) -> tuple[int, int]:
    first = max(start, log.start_offset(INTERACTIONS, partition))
    return first, max(first, end)


def _erases(record: Record) -> bool:
    return record.value is not None and record.value.get("erase") is True


def _read_erased(log: SqliteGeneration) -> ErasedUsers:
    """Read which users were erased, and until when; the newest record of a user counts."""
    records = [r for p in range(log.topic(USERS).partitions) for r in log.with_key(USERS, p, ERASURES)]
    found = {str(record.key): erased_until(record.value) for record in records}
    return ErasedUsers({key: until for key, until in found.items() if until is not None})


def _emptied(record: Record, _: Trace) -> Amended:
    letter = replace(DeadLetter.from_record(record.value or {}), key=None, value=None, detail="")
    return record.key, letter.to_record()


def _purge_chunks(log: SqliteGeneration) -> int:
    newest = read_newest(log).number
    # Meanwhile the monitor may write the next one, whose chunks are not of an earlier one.
    records = log.read(MONITOR, 0, log.start_offset(MONITOR, 0), log.end_offset(MONITOR, 0))
    chunks = [(r.offset, r.value.get("snapshot")) for r in records if r.value and r.value.get("kind") == "chunk"]
    earlier = [offset for offset, number in chunks if isinstance(number, int) and number < newest]
    return log.amend(MONITOR, 0, dict.fromkeys(earlier))
