"""A dataset: validated interactions and items of one log, in order of time, with counts of its refused rows."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.datasets.readers.registry import open_source
from pipeline.datasets.readers.rows import ReadOptions, Row
from pipeline.datasets.refusals import RefusalCounter, Refusals
from pipeline.errors import BadEvent, DataError
from pipeline.events.interaction import Interaction, Item, parse_interaction, parse_item


@dataclass(frozen=True)
class Dataset:
    """One validated log.

    Attributes:
        name: name of the folder or file.
        interactions: by (timestamp, event_id), each event once. Event ids are content hashes where the log has none,
            so rows of one second are not in file order, which often is the order of the item ids.
        items: every item of the log and of the item file, by item_id, sorted; text "" where there is none.
        refused: the refused rows.
        out_of_order: number of accepted rows older than the row before them of the same user, in file order.
        sha256: hash of the parsed interactions and items; it does not depend on the file format.
        positive_from: smallest value of a positive interaction in this format; None: every interaction is positive.
        truth: known drifts of a simulated log; None for any other log.
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
    """Return the positive interactions, in order.

    Args:
        dataset: the log.
        positive_from: smallest value of a positive interaction; None: every interaction is positive. An interaction
            without a value always is.
    """
    if positive_from is None:
        return list(dataset.interactions)
    return [event for event in dataset.interactions if event.value is None or event.value >= positive_from]


def read_dataset(path: Path, options: ReadOptions | None = None) -> Dataset:
    """Read a log in any supported format.

    Args:
        path: a folder, or one file of interactions.
        options: columns by meaning, for files whose column names do not show it.

    Raises:
        DataError: no reader recognises the format, a column is missing, or no row can be used.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist")
    source = open_source(path, options or ReadOptions())
    refused = RefusalCounter()
    interactions, out_of_order = _interactions(source.interactions, refused)
    if not interactions:
        raise DataError(f"no row of {path} can be used: {refused.summary() or 'there is none'}")
    items = _items(source.items, interactions, refused)
    return Dataset(
        name=path.stem if path.is_file() else path.resolve().name,
        interactions=interactions,
        items=items,
        refused=refused.result(),
        out_of_order=out_of_order,
        sha256=_content_hash(interactions, items.values()),
        positive_from=source.positive_from,
        truth=_truth(path / "truth.json") if path.is_dir() else None,
    )


def _interactions(rows: Iterable[Row], refused: RefusalCounter) -> tuple[tuple[Interaction, ...], int]:
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


def _items(rows: Iterable[Row], interactions: Iterable[Interaction], refused: RefusalCounter) -> dict[str, Item]:
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
