"""Tables over a growing catalogue: room for a quarter more items, so that a table is seldom copied."""

from collections.abc import Collection

from torch import Tensor

from pipeline.models.lora.sparse import whole_lines


def with_slack(items: int) -> int:
    """Padded number of items of a table that became too small for `items`."""
    return whole_lines(items + items // 4)


def widened(table: Tensor, items: int, slots: Collection[int], fill: float) -> Tensor:
    """Copy of a table by slot for more items; memory is taken by the slots in use only.

    Args:
        table: (slots, ..., fewer) table; its other slots are not copied.
        items: width of the copy.
        slots: slots in use.
        fill: value of their new columns.
    """
    wide = table.new_empty(*table.shape[:-1], items)
    for slot in slots:
        wide[slot, ..., : table.shape[-1]] = table[slot]
        wide[slot, ..., table.shape[-1] :] = fill
    return wide
