"""Item ids in records of any schema version."""

from collections.abc import Sequence


def item_ids(values: Sequence[str | int], setup_items: Sequence[str]) -> list[str]:
    """Return the ids of items in a record; row 0, the padding, is left out.

    Args:
        values: ids, or the catalogue rows that records of schema 1 hold.
        setup_items: ids of the items of set-up by row, from 1.

    Raises:
        ValueError: a row is not one of set-up.
    """
    found = []
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= len(setup_items):
            raise ValueError(f"{str(value)[:40]!r} is neither an item id nor a catalogue row of set-up")
        elif value > 0:
            found.append(setup_items[value - 1])
    return found
