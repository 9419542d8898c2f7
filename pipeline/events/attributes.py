"""Values of item attributes, which records hold as text: alone, as several values, and as numbers or moments."""

import math
from ast import literal_eval

from pipeline.events.cells import iso_moment

SEPARATOR = "|"
"""Between several values of one attribute."""


NUMERIC = (*"0123456789+-. ", "inf")
"""Beginnings of texts that can be numbers or moments."""


def values_of(text: str) -> tuple[str, ...]:
    """Values of an attribute: the text itself, and the parts between `|`, or the members of a list.

    A list in a record is the text `['red', 'blue']` in the attribute.
    """
    if text.startswith("[") and text.endswith("]"):
        members = _members(text)
    elif SEPARATOR in text:
        members = [part.strip() for part in text.split(SEPARATOR)]
    else:
        return (text,)
    return tuple(dict.fromkeys((text, *members)))


def _members(text: str) -> list[str]:
    try:
        found = literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [str(member) for member in found] if isinstance(found, list) else []


def magnitude(text: str) -> float:
    """Number that a text stands for, or the seconds since 1970 of an ISO-8601 moment; NaN for other texts."""
    if not text.startswith(NUMERIC):
        # Most texts: to parse them would take most of the time that a column takes.
        return math.nan
    try:
        return float(text)
    except ValueError:
        parsed = iso_moment(text)
        return math.nan if parsed is None else parsed
