"""Items that an adapter moves: named by id in its configuration, and by row in a process."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters_store.errors import AdapterRefused
from pipeline.events.item_ids import item_ids
from pipeline.events.windows import PADDING

ROWS = "base_model.model.items.rows.token_adapter.trainable_tokens_delta"
"""Name of the tensor that holds an adapter's own item rows."""

Tensors = Mapping[str, NDArray[Any]]


class MovedRows(NamedTuple):
    """Tensors of an adapter for the items that a process knows.

    Attributes:
        tensors: with one item row for each of `rows`.
        rows: catalogue rows that it moves.
        missing: ids of the moved items without a row here.
    """

    tensors: Tensors
    rows: list[int]
    missing: set[str]


def moved_items(name: str, config: Mapping[str, object], setup_items: Sequence[str]) -> list[str]:
    """Ids of the items for which an adapter version has rows of its own, "" for padding.

    Args:
        name: of the version.
        config: its configuration; versions of schema 1 list rows.
        setup_items: ids of the items of set-up by row, from 1.

    Raises:
        AdapterRefused: `bad_config`, the configuration does not list them.
    """
    listed = config.get("items", config.get("rows"))
    if not isinstance(listed, list):
        raise AdapterRefused("bad_config", f"{name}: its configuration does not list the items whose rows it moves")
    try:
        return [item_ids([item], setup_items)[0] if item not in (PADDING, "") else "" for item in listed]
    except ValueError as error:
        raise AdapterRefused("bad_config", f"{name}: {error}") from None


def known_rows(tensors: Tensors, items: Sequence[str], row_of: Mapping[str, int]) -> MovedRows:
    """Select the rows of the items that a process knows.

    Args:
        tensors: of an adapter, by peft's names.
        items: as `moved_items` gave them.
        row_of: catalogue row of every item, by id.
    """
    rows = [row_of.get(item, PADDING) for item in items]
    kept = [place for place, (item, row) in enumerate(zip(items, rows, strict=True)) if row != PADDING or not item]
    missing = {item for item, row in zip(items, rows, strict=True) if item and row == PADDING}
    own = np.asarray(tensors.get(ROWS, ()))
    if not missing or len(own) != len(items):
        # Tensors that do not fit the list are refused by their shapes.
        return MovedRows(tensors, rows, missing)
    if not kept:
        # An adapter has at least one row: that of padding, which no window reads.
        return MovedRows({**tensors, ROWS: np.zeros((1, own.shape[1]), own.dtype)}, [PADDING], missing)
    return MovedRows({**tensors, ROWS: own[kept]}, [rows[place] for place in kept], missing)
