"""Versions of the records that travel in the log, in one place.

A record says in `schema` which major version it is of; one that says nothing is of the first. Within a major version
fields may be added, and optional ones may be left out: readers ignore what they do not know. A required field that
is renamed or changes its meaning is a new major version, which readers of the old one refuse.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import BadEvent

SCHEMA = 1
"""Major version of every record that is written here, and the newest that is understood."""


def versioned(value: Mapping[str, Any]) -> dict[str, Any]:
    """A record's value with its version."""
    return {**value, "schema": SCHEMA}


def check_schema(value: Mapping[str, object]) -> None:
    """See to it that a record can be understood.

    Raises:
        BadEvent: `bad_schema`, it does not say a whole number; `newer_schema`, it is of a newer major version.
    """
    schema = value.get("schema", SCHEMA)
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise BadEvent("bad_schema", f"schema must be a whole number from 1 on, not {str(schema)[:40]!r}")
    if schema > SCHEMA:
        raise BadEvent(
            "newer_schema",
            f"the record is of schema {schema}, this version of the program understands {SCHEMA}: update it, then "
            "replay the dead letters",
        )
