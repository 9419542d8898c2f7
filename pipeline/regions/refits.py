"""Edits that fit the classifier of origins anew."""

from collections.abc import Iterable

from pipeline.events.edit import MOVES_BOUNDARIES, Operation
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Origin


def refits_classifier(operation: Operation, touched: Iterable[int], bank: RegionBank) -> bool:
    """Return whether an edit fits the classifier of origins anew.

    The classifier tells set-up from each stream region: it is refitted where one of these is opened, moved or ended.
    The boundaries between set-up regions are no part of it.

    Args:
        operation: of the edit.
        touched: ids of the regions that it touches; see `Edit.touched`.
        bank: the regions, ended ones included.
    """
    regions = map(bank.find, touched)
    of_stream = any(region is not None and region.origin is Origin.STREAM for region in regions)
    return operation is Operation.ADD or (operation in MOVES_BOUNDARIES and of_stream)
