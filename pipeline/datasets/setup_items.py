"""Items that set-up knows: those taken in its slice of a log, and those available before its end."""

import numpy as np

from pipeline.datasets.dataset import Dataset
from pipeline.datasets.splits import Slices
from pipeline.events.interactions import Interactions
from pipeline.events.item import Item


def setup_items(dataset: Dataset, events: Interactions, slices: Slices) -> list[str]:
    """Ids of the items that set-up knows, sorted.

    Args:
        dataset: the log.
        events: its counted interactions in S.
        slices: its cuts.
    """
    taken = set(events.item_ids[np.unique(events.items)].tolist())
    announced = {item.item_id for item in dataset.items.values() if _is_there(item, slices.setup_until)}
    return sorted(taken | announced)


def _is_there(item: Item, moment: float) -> bool:
    begun = item.available_from is not None and item.available_from <= moment
    return begun and (item.expires is None or item.expires > moment)
