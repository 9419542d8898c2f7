"""JSON objects from outside as interactions and items: one meaning in files, in the log and over HTTP.

A key stands for a field by the names of `pipeline.datasets.readers.names`, as in a file of JSON lines; a key whose
value is null is left out. Objects that the pipeline itself writes carry `schema` and use the names of the fields.
"""

from collections.abc import Mapping

from pipeline.datasets.readers.item_fields import ItemFields
from pipeline.datasets.readers.names import FIELDS, MEANINGS, candidates, plain
from pipeline.datasets.readers.rows import ReadOptions
from pipeline.errors import BadEvent
from pipeline.events.interaction import Interaction, parse_interaction
from pipeline.events.item import Item, parse_item


def interaction_of(record: Mapping[str, object], columns: Mapping[str, str]) -> Interaction:
    """Parse one interaction.

    Args:
        record: the object.
        columns: field -> key, where names do not show it (`data.columns`); not used for an object with `schema`.

    Raises:
        BadEvent: `ambiguous_<field>`, or a reason of `parse_interaction`.
    """
    return parse_interaction({name: field_of(record, name, columns) for name in FIELDS})


def field_of(record: Mapping[str, object], name: str, columns: Mapping[str, str]) -> object:
    """Return the value of one field of an interaction, None where the object lacks it.

    Args:
        record: the object.
        name: the field.
        columns: as in `interaction_of`.

    Raises:
        BadEvent: `ambiguous_<field>`, two keys can be the field.
    """
    mapped = {} if "schema" in record else columns
    if name in mapped:
        return record.get(mapped[name])
    keys = [key for key, value in record.items() if value is not None and key not in mapped.values()]
    places = next(candidates(dict(enumerate(map(plain, keys))), name), None)
    if places is None:
        return None
    if len(places) > 1:
        named = " and ".join(repr(keys[place][:40]) for place in places)
        raise BadEvent(f"ambiguous_{name}", f"{named} can each be the {MEANINGS[name]}: send one of them as {name}")
    return record[keys[places[0]]]


def item_of(record: Mapping[str, object], key: str | None = None) -> Item:
    """Parse one item.

    Args:
        record: the object.
        key: key of its record in the log, the item's id where the object has none.

    Raises:
        BadEvent: a reason of `parse_item`.
    """
    given = {name: value for name, value in record.items() if value is not None}
    fields = ItemFields.of_object(tuple(given), ReadOptions()).object_record(tuple(given.values()))
    return parse_item({**fields, "item_id": key if fields["item_id"] is None else fields["item_id"]})
