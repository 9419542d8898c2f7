"""Knowledge of a server about its items, one by one and in numbers."""

from dataclasses import dataclass

from pipeline.models.open_catalogue import OpenCatalogue


@dataclass(frozen=True)
class ItemCounts:
    """Numbers of items.

    Attributes:
        known: items of set-up, of the log, and withdrawn ones, until they are evicted.
        existing: those that may be recommended.
        withdrawn: those that a tombstone withdrew.
        without_text: those that only their id and their users tell apart.
    """

    known: int
    existing: int
    withdrawn: int
    without_text: int


def is_known(catalogue: OpenCatalogue, item_id: str) -> bool:
    """True for an item of set-up or of the log that was neither evicted nor withdrawn before it began."""
    is_ended = item_id in catalogue.row_of and catalogue.is_withdrawn(item_id)
    return is_ended or catalogue.exists(item_id) or catalogue.has_record(item_id)


def known_from(catalogue: OpenCatalogue, item_id: str) -> str:
    """Origin of a known item: `record`, `set-up`, or `interaction` for one that nobody announced."""
    if catalogue.has_record(item_id):
        return "record"
    if item_id in catalogue.setup.row_of:
        return "set-up"
    return "record" if catalogue.is_withdrawn(item_id) else "interaction"


def counts_of(catalogue: OpenCatalogue) -> ItemCounts:
    """Count the items of a catalogue, which another thread may change meanwhile."""
    known = [item_id for item_id in catalogue.named() if is_known(catalogue, item_id)]
    items = [catalogue.item(item_id) for item_id in known]
    return ItemCounts(
        len(known),
        sum(map(catalogue.exists, known)),
        sum(map(catalogue.is_withdrawn, known)),
        sum(item is None or not item.text for item in items),
    )
