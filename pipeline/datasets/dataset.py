"""A dataset: the interactions and items of one log, validated, in order, with everything refused accounted for.

A new format is one file with `is_it(path)` and `read_it(path, options)`, and one line in `READERS`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.datasets.readers.generic import is_generic, read_generic
from pipeline.datasets.readers.movielens import is_double_colon, is_movielens_csv, read_double_colon, read_movielens_csv
from pipeline.datasets.readers.recbole import is_recbole, read_recbole
from pipeline.datasets.readers.rows import ReadOptions, Row, Source
from pipeline.errors import BadEvent, DataError
from pipeline.events.interaction import Interaction, Item, parse_interaction, parse_item

__all__ = ["READERS", "Dataset", "ReadOptions", "Refusal", "Refusals", "positives", "read_dataset"]

READERS: Sequence[tuple[Callable[[Path], bool], Callable[[Path, ReadOptions], Source]]] = (
    (is_recbole, read_recbole),
    (is_movielens_csv, read_movielens_csv),
    (is_double_colon, read_double_colon),
    (is_generic, read_generic),
)
"""How each format is recognised and read; the first that recognises a path reads it."""

EXAMPLES = 3
"""Refused rows kept for each reason, to be shown to a person."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row that could not be used.

    Attributes:
        reason: short, stable name of what is wrong (`bad_timestamp`, `duplicate`).
        file: name of the file, without its folder.
        line: line in that file, from 1.
        detail: what was found, for a person.
    """

    reason: str
    file: str
    line: int
    detail: str


@dataclass(frozen=True)
class Refusals:
    """Every row that could not be used.

    Attributes:
        counts: rows refused, by reason.
        examples: the first few of each reason, in file order.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Refusal, ...] = ()

    @property
    def total(self) -> int:
        """Rows refused for any reason."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Dataset:
    """One log, ready to be used.

    Attributes:
        name: that of the folder or file.
        interactions: by (timestamp, event_id), each event once. Event ids are content hashes where the log has none:
            among rows of one second the order of the file, which often is that of the item ids, tells nothing.
        items: every item of the log and of the item file, by item_id, sorted; text "" where none is known.
        refused: the rows that could not be used.
        out_of_order: accepted rows older than the row before them of the same user, in file order.
        sha256: of the interactions and items as parsed, so of the content and not of how it was written down.
        positive_from: smallest value that counts as liking in this format; None: every interaction counts.
        truth: the drifts known to be in the log (simulated ones), or None where nobody knows.
    """

    name: str
    interactions: tuple[Interaction, ...]
    items: Mapping[str, Item]
    refused: Refusals
    out_of_order: int
    sha256: str
    positive_from: float | None
    truth: list[dict[str, Any]] | None


def positives(dataset: Dataset, positive_from: float | None) -> list[Interaction]:
    """The interactions that say a user liked the item, in order.

    Args:
        dataset: the log.
        positive_from: smallest value that counts; None: every interaction counts. One without a value always does.
    """
    if positive_from is None:
        return list(dataset.interactions)
    return [event for event in dataset.interactions if event.value is None or event.value >= positive_from]


def read_dataset(path: Path, options: ReadOptions | None = None) -> Dataset:
    """Read a log, whatever its format.

    Args:
        path: a folder, or one file of interactions.
        options: which column means what, for files whose column names do not say so.

    Raises:
        DataError: no reader knows the format, a column is missing, or no row can be used.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist")
    source = _source(path, options or ReadOptions())
    refused = _Tally()
    interactions, out_of_order = _interactions(source.interactions, refused)
    if not interactions:
        raise DataError(f"no row of {path} can be used: {refused.summary() or 'there is none'}")
    items = _items(source.items, interactions, refused)
    return Dataset(
        name=path.stem if path.is_file() else path.resolve().name,
        interactions=interactions,
        items=items,
        refused=refused.done(),
        out_of_order=out_of_order,
        sha256=_content_hash(interactions, items.values()),
        positive_from=source.positive_from,
        truth=_truth(path / "truth.json") if path.is_dir() else None,
    )


def _source(path: Path, options: ReadOptions) -> Source:
    for is_it, read_it in READERS:
        if is_it(path):
            return read_it(path, options)
    found = ", ".join(sorted(f.name for f in path.iterdir())[:10]) if path.is_dir() else path.name
    raise DataError(
        f"{path} is in no known format (found: {found or 'nothing'}). Expected ratings.csv, ratings.dat, NAME.inter, "
        "or interactions.csv, .tsv, .jsonl or .parquet; docs/datasets.md describes each"
    )


class _Tally:
    """Counts refused rows as they come by."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: list[Refusal] = []

    def add(self, row: Row, reason: str, detail: str) -> None:
        self._counts[reason] += 1
        if self._counts[reason] <= EXAMPLES:
            self._examples.append(Refusal(reason, row.file, row.line, detail[:200]))

    def summary(self) -> str:
        first = {refusal.reason: refusal for refusal in reversed(self._examples)}
        return "; ".join(
            f"{count} times {reason} (first in {first[reason].file}:{first[reason].line}: {first[reason].detail})"
            for reason, count in self._counts.most_common()
        )

    def done(self) -> Refusals:
        return Refusals(dict(self._counts.most_common()), tuple(self._examples))


def _interactions(rows: Iterable[Row], refused: _Tally) -> tuple[tuple[Interaction, ...], int]:
    accepted: dict[str, Interaction] = {}
    latest: dict[str, float] = {}
    out_of_order = 0
    for row in rows:
        try:
            event = parse_interaction(_record(row))
        except BadEvent as error:
            refused.add(row, error.reason, error.detail)
            continue
        if event.event_id in accepted:
            refused.add(row, "duplicate", f"event {event.event_id!r} was there before")
            continue
        accepted[event.event_id] = event
        out_of_order += event.timestamp < latest.get(event.user_id, 0.0)
        latest[event.user_id] = event.timestamp
    return tuple(sorted(accepted.values(), key=lambda event: (event.timestamp, event.event_id))), out_of_order


def _items(rows: Iterable[Row], interactions: Iterable[Interaction], refused: _Tally) -> dict[str, Item]:
    items: dict[str, Item] = {}
    for row in rows:
        try:
            item = parse_item(_record(row))
        except BadEvent as error:
            refused.add(row, error.reason, error.detail)
            continue
        if item.item_id in items:
            refused.add(row, "duplicate_item", f"item {item.item_id!r} was there before")
        else:
            items[item.item_id] = item
    for event in interactions:
        if event.item_id not in items:
            items[event.item_id] = Item(event.item_id)
    return dict(sorted(items.items()))


def _record(row: Row) -> Mapping[str, object]:
    if isinstance(row.record, BadEvent):
        raise row.record
    return row.record


def _content_hash(interactions: Iterable[Interaction], items: Iterable[Item]) -> str:
    digest = hashlib.sha256()
    for event in interactions:
        fields = (event.event_id, event.user_id, event.item_id, event.timestamp, event.value)
        digest.update(repr(fields).encode())
    for item in items:
        digest.update(repr((item.item_id, item.text, sorted(item.attributes.items()))).encode())
    return digest.hexdigest()


def _truth(file: Path) -> list[dict[str, Any]] | None:
    if not file.is_file():
        return None
    try:
        truth = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {error}") from error
    if not isinstance(truth, list) or not all(isinstance(entry, dict) for entry in truth):
        raise DataError(f"{file} must be a list of objects, one for each drift")
    return truth
