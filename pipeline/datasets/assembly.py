"""Assembly of a log from the chunks of its tables: accepted rows as columns, refused rows counted.

Rows stay arrays from the file to the sorted log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray

from pipeline.datasets.checks import FINE, Checked, Ids, Moments, check_kinds, check_values
from pipeline.datasets.event_ids import made_ids, repeat_ids
from pipeline.datasets.readers.names import EVENT_TYPE
from pipeline.datasets.readers.rows import BoundTable
from pipeline.datasets.readers.table import Chunk, Coded, Column, Kind, Numbers, first_given
from pipeline.datasets.refusals import EXAMPLES, RefusalCounter
from pipeline.datasets.title_texts import TitleTexts
from pipeline.errors import BadEvent
from pipeline.events.cells import identifier
from pipeline.events.counting import CountingRule
from pipeline.events.interactions import Interactions, joined, packed

KINDS: dict[str, Kind] = {"timestamp": "time", "value": "number"}


@dataclass(frozen=True)
class _Accepted:
    """Accepted rows of one chunk, and the place of each in its file."""

    part: int
    file: str
    lines: Sequence[int] | NDArray[np.int64]
    rows: NDArray[np.int64]
    fields: dict[str, NDArray[Any]]

    def line(self, row: int) -> int:
        return int(self.lines[int(self.rows[row])])


class Assembly:
    """The interactions of a log, added table by table.

    Args:
        refused: counts the refused rows.
        keep_repeats: True if identical rows without an event id are events of their own.
        rule: says which kinds of event count; rows of the others are left out.

    Attributes:
        not_counted: number of rows left out.
    """

    def __init__(self, refused: RefusalCounter, keep_repeats: bool, rule: CountingRule) -> None:
        self.not_counted = 0
        self._rule = rule
        self._refused = refused
        self._keep_repeats = keep_repeats
        self._users, self._items = Ids("user_id"), Ids("item_id")
        self._titles = TitleTexts()
        self._titles_mapped = False
        self._accepted: list[_Accepted] = []
        self._parts = 0

    def add(self, bound: BoundTable) -> None:
        """Read a table and check its rows."""
        moments = Moments()
        kinds: dict[int, Kind] = dict.fromkeys(bound.text, "text")
        kinds |= {place: KINDS.get(name, "text") for name in bound.fields for place in bound.places(name)}
        self._titles_mapped |= bound.mapped_text
        for chunk in bound.table.read(kinds):
            for line, error in chunk.broken:
                self._refused.add(self._parts, bound.table.file, [line], error)
            if len(chunk.lines):
                self._check(bound, chunk, moments)
        self._parts += 1

    def _check(self, bound: BoundTable, chunk: Chunk, moments: Moments) -> None:
        columns = {name: first_given([chunk.columns[n] for n in bound.places(name)]) for name in bound.fields}
        checked = {
            "user_id": self._users.check(columns["user_id"]),
            "item_id": self._items.check(columns["item_id"]),
            "timestamp": moments.check(columns["timestamp"]),
            "value": check_values(columns["value"]) if "value" in columns else _no_values(len(chunk.lines)),
        }
        fields = {name: column.data for name, column in checked.items()}
        faults = list(checked.values())
        if "event_id" in columns:
            fields["event_id"], refused = _given_ids(columns["event_id"])
            faults.append(refused)
        kinds = check_kinds(columns[EVENT_TYPE], self._rule) if EVENT_TYPE in columns else None
        fine = self._refuse(bound.table.file, chunk, faults if kinds is None else [*faults, kinds])
        if kinds is not None:
            self.not_counted += int(np.count_nonzero(fine & (kinds.data == 0)))
            fine &= kinds.data != 0
        rows = np.flatnonzero(fine)
        if bound.text and len(rows):
            self._titles.add(fields["item_id"][rows], [_rows_of(chunk.columns[place], rows) for place in bound.text])
        kept = {name: data if len(rows) == len(fine) else data[rows] for name, data in fields.items()}
        self._accepted.append(_Accepted(self._parts, bound.table.file, chunk.lines, rows, kept))

    def _refuse(self, file: str, chunk: Chunk, checked: Sequence[Checked]) -> NDArray[np.bool_]:
        """Count the rows with a fault, each for its first one; return (n,) True where there is none."""
        fine = np.ones(len(chunk.lines), dtype=np.bool_)
        for column in checked:
            if column.faults is None:
                continue
            bad = np.flatnonzero((column.faults != FINE) & fine)
            fine[bad] = False
            faults = column.faults[bad]
            for fault in np.unique(faults).tolist():
                rows = bad[faults == fault]
                lines = [int(chunk.lines[row]) for row in rows[:EXAMPLES].tolist()]
                self._refused.add(self._parts, file, lines, column.errors[fault], len(rows) - len(lines))
        return fine

    def item_texts(self) -> tuple[dict[str, str], str]:
        """Return the texts of items from columns of the interactions, and a remark, "" where there is none."""
        texts, remark = self._titles.result(mapped=self._titles_mapped)
        ids = self._items.table()
        return {ids[code]: text for code, text in texts.items()}, remark

    def finish(self) -> tuple[Interactions, int]:
        """Return the log by (timestamp, event id), and the number of rows older than the row before of their user."""
        users = _compact(self._users.table(), self._column("user_id").astype(np.int32))
        items = _compact(self._items.table(), self._column("item_id").astype(np.int32))
        no_ids = np.zeros(len(users[1]), dtype="S1")
        events = Interactions(*users, *items, self._column("timestamp"), self._column("value"), no_ids)
        events = self._identified(events)
        return _in_order(events), _out_of_order(events)

    def _column(self, name: str) -> NDArray[Any]:
        parts = [part.fields[name] for part in self._accepted]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _identified(self, events: Interactions) -> Interactions:
        """Return the events with their ids, each id once."""
        made = made_ids(events) if any("event_id" not in part.fields for part in self._accepted) else None
        ids, is_made = self._ids(events, made)
        # Made ids are equal only where times are.
        compared = _tied(events.timestamps) if is_made.all() else np.arange(len(ids))
        first, earlier = np.ones(len(ids), dtype=np.bool_), np.zeros(len(ids), dtype=np.int64)
        first[compared], earlier[compared] = _occurrences(ids[compared])
        again = np.flatnonzero(earlier)
        if self._keep_repeats and is_made[again].any():
            kept = again[is_made[again]]
            new = repeat_ids(ids[kept], earlier[kept])
            ids = joined([ids, new[:0]])
            ids[kept] = new if ids.dtype.kind == "S" else np.char.decode(new)
            first[kept] = True
        self._refuse_duplicates(np.flatnonzero(~first), ids, is_made)
        columns = (events.user_ids, events.users, events.item_ids, events.items, events.timestamps, events.values)
        identified = Interactions(*columns, ids)
        return identified if first.all() else identified[first]

    def _ids(self, events: Interactions, made: NDArray[Any] | None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the (n,) ids, given or made, and True where they are made."""
        parts, is_made, start = [], [], 0
        for part in self._accepted:
            rows = slice(start, start + len(part.rows))
            start = rows.stop
            if "event_id" not in part.fields:
                parts.append(made[rows] if made is not None else np.zeros(0, dtype="S1"))
                is_made.append(np.ones(len(part.rows), dtype=np.bool_))
                continue
            given = part.fields["event_id"]
            absent = given == (b"" if given.dtype.kind == "S" else "")
            if absent.any():
                given = _filled(given, absent, made_ids(events[rows][absent]))
            parts.append(given)
            is_made.append(absent)
        return joined(parts), np.concatenate(is_made) if is_made else np.zeros(0, dtype=np.bool_)

    def _refuse_duplicates(self, rows: NDArray[np.int64], ids: NDArray[Any], is_made: NDArray[np.bool_]) -> None:
        starts = np.cumsum([0, *(len(part.rows) for part in self._accepted)]).tolist()
        numbers = np.searchsorted(rows, starts)
        for number, part in enumerate(self._accepted):
            inside = rows[numbers[number] : numbers[number + 1]].tolist()
            for row in inside[:EXAMPLES]:
                error = BadEvent("duplicate", _said_before(ids[row], bool(is_made[row])))
                self._refused.add(part.part, part.file, [part.line(row - starts[number])], error)
            if inside[EXAMPLES:]:
                self._refused.add(part.part, part.file, [], BadEvent("duplicate", ""), len(inside) - EXAMPLES)


def _compact(table: NDArray[np.object_], codes: NDArray[np.int32]) -> tuple[NDArray[np.object_], NDArray[np.int32]]:
    """Return table and codes without the ids that no row uses."""
    used = np.bincount(codes, minlength=len(table)) > 0
    if used.all():
        return table, codes
    return table[used], (np.cumsum(used) - 1).astype(np.int32)[codes]


def _rows_of(column: Column, rows: NDArray[np.int64]) -> Column:
    if isinstance(column, Numbers):
        return Numbers(column.values[rows], column.empty[rows])
    return Coded(column.codes[rows], column.cells)


def _said_before(event_id: bytes | str, is_made: bool) -> str:
    text = event_id.decode() if isinstance(event_id, bytes) else event_id
    hint = "; the row is identical: --set data.repeats=keep keeps such rows as events of their own" if is_made else ""
    return f"event {text!r} was there before{hint}"


def _no_values(number: int) -> Checked:
    return Checked(np.full(number, np.nan))


def _given_ids(column: Column) -> tuple[NDArray[Any], Checked]:
    """Return the (n,) ids of a column, "" where a cell is empty, and the check of the column."""
    if isinstance(column, Numbers):
        column = Coded(np.arange(len(column.values)), column.rows())
    texts: list[str] = []
    errors: list[BadEvent] = []
    faults = np.full(len(column.cells), FINE, dtype=np.int32)
    for place, cell in enumerate(column.cells):
        try:
            texts.append(identifier(cell, "event_id"))
        except BadEvent as error:
            texts.append("")
            if error.reason == "missing_event_id":
                continue
            faults[place] = len(errors)
            errors.append(error)
    ids = packed(texts)[column.codes]
    return ids, Checked(np.zeros(0), faults[column.codes], errors)


def _filled(ids: NDArray[Any], where: NDArray[np.bool_], new: NDArray[Any]) -> NDArray[Any]:
    """Return ids with new ones in some places."""
    if ids.dtype.kind == "S":
        ids = ids.astype(f"S{max(ids.dtype.itemsize, new.dtype.itemsize)}")
        ids[where] = new
    else:
        ids[where] = np.char.decode(new).astype(np.object_)
    return ids


def _occurrences(ids: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return (n,) True at the first occurrence of each id, and (n,) how often it occurred before."""
    n = len(ids)
    if ids.dtype.kind == "S":
        width = pyarrow.binary(ids.dtype.itemsize)
        texts = pyarrow.Array.from_buffers(width, n, [None, pyarrow.py_buffer(np.ascontiguousarray(ids))])
    else:
        texts = pyarrow.array(ids, pyarrow.large_string())
    codes = texts.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    place = np.empty(n, dtype=np.int64)
    place[codes[::-1]] = np.arange(n - 1, -1, -1)
    first = place[codes] == np.arange(n)
    earlier = np.zeros(n, dtype=np.int64)
    if not first.all():
        order = np.argsort(codes, kind="stable")
        _, starts, counts = np.unique(codes[order], return_index=True, return_counts=True)
        earlier[order] = np.arange(n) - np.repeat(starts, counts)
    return first, earlier


def _tied(times: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows, ascending, whose time is that of another row."""
    is_sorted = bool((times[1:] >= times[:-1]).all())
    order = np.arange(len(times)) if is_sorted else np.argsort(times, kind="stable")
    same = np.zeros(len(times) + 1, dtype=np.bool_)
    same[1:-1] = times[order[1:]] == times[order[:-1]]
    return np.sort(order[same[1:] | same[:-1]])


def _in_order(events: Interactions) -> Interactions:
    """Return the events by (timestamp, event id)."""
    if not (events.timestamps[1:] >= events.timestamps[:-1]).all():
        events = events[np.argsort(events.timestamps, kind="stable")]
    tied = _tied(events.timestamps)
    if not len(tied):
        return events
    order = np.arange(len(events))
    _, ranks = np.unique(events.event_ids[tied], return_inverse=True)
    order[tied] = tied[np.lexsort((ranks, events.timestamps[tied]))]
    return events[order]


def _out_of_order(events: Interactions) -> int:
    """Return the number of events that are older than the event before them of the same user."""
    times = events.timestamps
    if (times[1:] >= times[:-1]).all():
        return 0
    order = np.argsort(events.users, kind="stable")
    users, times = events.users[order], times[order]
    return int(((users[1:] == users[:-1]) & (times[1:] < times[:-1])).sum())
