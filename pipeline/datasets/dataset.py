"""A dataset: validated interactions and items of one log, in order of time, with counts of its refused rows."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.assembly import Assembly
from pipeline.datasets.event_ids import content_hash
from pipeline.datasets.readers.columns import TEXT_OF_ITEM
from pipeline.datasets.readers.files import OPENERS, plain_files
from pipeline.datasets.readers.registry import open_source
from pipeline.datasets.readers.rows import ColumnUse, ReadOptions, Row
from pipeline.datasets.refusals import RefusalCounter, Refusals
from pipeline.errors import BadEvent, DataError
from pipeline.events.counting import CountingRule
from pipeline.events.interactions import Interactions
from pipeline.events.item import Item, parse_item

ITEM_PART = 1 << 30
"""Place of the items among the parts of a log: behind every file of interactions."""


@dataclass(frozen=True)
class Dataset:
    """One validated log.

    Attributes:
        name: name of the folder or file.
        interactions: by (timestamp, event_id), each event once. Event ids are content hashes where the log has none,
            so rows of one second are not in file order, which often is the order of the item ids.
        items: every item of the log and of the item file, by item_id, sorted; text "" where there is none.
        columns: the use of the columns of each file.
        refused: the refused rows.
        not_counted: number of rows left out because their kind of event does not count.
        out_of_order: number of accepted rows older than the row before them of the same user, in file order.
        positive_from: smallest value of a positive interaction in this format; None: every interaction is positive.
        truth: known drifts of a simulated log; None for any other log.
    """

    name: str
    interactions: Interactions
    items: Mapping[str, Item]
    columns: tuple[ColumnUse, ...]
    refused: Refusals
    not_counted: int
    out_of_order: int
    positive_from: float | None
    truth: list[dict[str, Any]] | None

    @cached_property
    def sha256(self) -> str:
        """Hash of the parsed interactions and items; it does not depend on the file format."""
        return content_hash(self.interactions, self.items.values())


def threshold_of(dataset: Dataset, setting: float | None) -> float | None:
    """Return the smallest value of a positive interaction: that of the settings, else that of the format."""
    return dataset.positive_from if setting is None else setting


def positives(dataset: Dataset, positive_from: float | None) -> Interactions:
    """Return the positive interactions, in order.

    Args:
        dataset: the log.
        positive_from: smallest value of a positive interaction; None: every interaction is positive. An interaction
            without a value always is.
    """
    return dataset.interactions if positive_from is None else dataset.interactions[is_positive(dataset, positive_from)]


def is_positive(dataset: Dataset, positive_from: float | None) -> NDArray[np.bool_]:
    """(n,) True for the interactions that `positives` returns; the others are dislikes."""
    values = dataset.interactions.values
    return np.isnan(values) | (values >= (-np.inf if positive_from is None else positive_from))


def read_dataset(path: Path, options: ReadOptions | None = None) -> Dataset:
    """Read a log in any supported format.

    Args:
        path: a folder, or one file of interactions.
        options: columns by meaning, for files whose column names do not show it, and further choices.

    Raises:
        DataError: no reader recognises the format, a column is missing or doubtful, or no row can be used.
    """
    options = options or ReadOptions()
    for needed in (path, options.items):
        if needed is not None and not needed.exists():
            raise DataError(f"{needed} does not exist")
    with ExitStack() as stack:
        plain = stack.enter_context(plain_files(path))
        if options.items is not None:
            options = replace(options, items=stack.enter_context(plain_files(options.items)))
        return _read(path, plain, options)


def _read(path: Path, plain: Path, options: ReadOptions) -> Dataset:
    source = open_source(plain, options)
    refused = RefusalCounter()
    assembly = Assembly(refused, options.keep_repeats, CountingRule(event_types=options.event_types))
    for bound in source.interactions:
        assembly.add(bound)
    interactions, out_of_order = assembly.finish()
    if not len(interactions):
        uses = "; ".join(f"{column} is the {meaning}" for column, meaning in source.uses[0].taken)
        kinds = f" ({assembly.not_counted} rows are of a kind that does not count)" if assembly.not_counted else ""
        why = refused.summary() or "there is none"
        raise DataError(f"no row of {path} can be used: {why}{kinds}. As read, {uses}")
    texts, remark = assembly.item_texts()
    first, *rest = source.uses
    first = _with_remark(first, remark, is_text=bool(texts)) if remark else first
    items = _items(source.items, texts, refused)
    return Dataset(
        name=_name(path),
        interactions=interactions,
        items=_complete(items, interactions),
        columns=(first, *rest),
        refused=refused.result(),
        not_counted=assembly.not_counted,
        out_of_order=out_of_order,
        positive_from=source.positive_from(interactions),
        truth=_truth(plain / "truth.json") if plain.is_dir() else None,
    )


def _with_remark(use: ColumnUse, remark: str, *, is_text: bool) -> ColumnUse:
    """Return the use of the columns with a remark on those of the item's text, which are ignored if they are none."""
    texts = () if is_text else tuple(column for column, meaning in use.taken if meaning == TEXT_OF_ITEM)
    taken = tuple(pair for pair in use.taken if pair[0] not in texts)
    return replace(use, taken=taken, ignored=(*use.ignored, *texts), notes=(*use.notes, remark))


def _name(path: Path) -> str:
    if path.is_dir():
        return path.resolve().name
    return Path(path.stem).stem if path.suffix.lower() in OPENERS else path.stem


def _items(rows: Iterable[Row] | None, texts: Mapping[str, str], refused: RefusalCounter) -> dict[str, Item]:
    if rows is None:
        return {item_id: Item(item_id, text) for item_id, text in texts.items()}
    items: dict[str, Item] = {}
    for row in rows:
        try:
            item = parse_item(_record(row))
            if item.item_id in items:
                raise BadEvent("duplicate_item", f"item {item.item_id!r} was there before")
            items[item.item_id] = item
        except BadEvent as error:
            refused.add(ITEM_PART, row.file, [row.line], error)
    return items


def _complete(items: dict[str, Item], interactions: Interactions) -> dict[str, Item]:
    """Return the items with those that only interactions name, by id."""
    named: Sequence[str] = interactions.item_ids.tolist()
    items |= {item_id: Item(item_id) for item_id in named if item_id not in items}
    return dict(sorted(items.items()))


def _record(row: Row) -> Mapping[str, object]:
    if isinstance(row.record, BadEvent):
        raise row.record
    return row.record


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
