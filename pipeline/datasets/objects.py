"""JSON objects from outside as interactions and items: one meaning in files, in the log and over HTTP.

A key stands for a field by the names of `pipeline.datasets.readers.names`, as in a file of JSON lines; a key whose
value is null is left out. Objects that the pipeline itself writes carry `schema` and use the names of the fields.
"""

from collections.abc import Mapping

from pipeline.datasets.readers.item_fields import ItemFields
from pipeline.datasets.readers.names import FIELDS, MEANINGS, RANKS, plain
from pipeline.datasets.readers.rows import ReadOptions
from pipeline.errors import BadEvent
from pipeline.events.interaction import Interaction, parse_interaction
from pipeline.events.item import Item, parse_item


class InteractionFields:
    """Values of the fields of one interaction.

    Args:
        record: the object.
        columns: field -> key, where names do not show it (`data.columns`); not used for an object with `schema`.
    """

    def __init__(self, record: Mapping[str, object], columns: Mapping[str, str]) -> None:
        self._record = record
        self._mapped = {} if "schema" in record else columns
        self._keys: dict[str, tuple[int, list[str]]] = {}
        named = set(self._mapped.values())
        for key, value in record.items():
            ranked = RANKS.get(plain(key)) if value is not None and key not in named else None
            if ranked is not None:
                self._add(key, *ranked)

    def value(self, name: str) -> object:
        """Return the value of a field, None where the object lacks it.

        Raises:
            BadEvent: `ambiguous_<field>`, two keys can be the field.
        """
        if name in self._mapped:
            return self._record.get(self._mapped[name])
        _, keys = self._keys.get(name, (0, []))
        if len(keys) > 1:
            several = " and ".join(repr(key[:40]) for key in keys)
            detail = f"{several} can each be the {MEANINGS[name]}: send one of them as {name}"
            raise BadEvent(f"ambiguous_{name}", detail)
        return self._record[keys[0]] if keys else None

    def interaction(self) -> Interaction:
        """Parse the interaction.

        Raises:
            BadEvent: `ambiguous_<field>`, or a reason of `parse_interaction`.
        """
        return parse_interaction({name: self.value(name) for name in FIELDS})

    def _add(self, key: str, name: str, rank: int) -> None:
        known, keys = self._keys.get(name, (rank, []))
        if rank <= known:
            self._keys[name] = rank, [*keys, key] if rank == known else [key]


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
