"""Schema version of the records in the log.

The field `schema` of a record is its major version; a record without it has version 1. Within a major version fields
may be added, and optional ones may be left out: readers ignore unknown fields. A required field that is renamed or
changes its meaning is a new major version, which readers of the old one refuse. Version 2 names items by their ids in
`gated`, `users` and adapters; version 1 named them by catalogue rows of set-up, and is still read. Version 3 names
users by pseudonyms in `gated`, where earlier versions had user ids; these are still read, and erased under both.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import BadEvent

SCHEMA = 3
"""Major version of every record that is written, and the newest one that can be read."""


def versioned(value: Mapping[str, Any]) -> dict[str, Any]:
    """The value of a record, with its schema version added."""
    return {**value, "schema": SCHEMA}


def check_schema(value: Mapping[str, object]) -> None:
    """Check that this version of the program can read a record.

    Raises:
        BadEvent: `bad_schema`, the field is no whole number; `newer_schema`, the record has a newer major version.
    """
    schema = value.get("schema", 1)
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise BadEvent("bad_schema", f"schema must be a whole number from 1 on, not {str(schema)[:40]!r}")
    if schema > SCHEMA:
        raise BadEvent(
            "newer_schema",
            f"the record is of schema {schema}, this version of the program understands {SCHEMA}: update it, then "
            "replay the dead letters",
        )
