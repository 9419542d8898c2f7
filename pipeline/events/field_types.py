"""Check of a record that was read: each field against the type that its dataclass names.

JSON of another program may hold anything. What a stage takes into its state is therefore checked before it changes
anything: ids are text that can be encoded, whole numbers fit 64 bits, others are at most `LARGEST`, so that the squares
of thousands can be summed, and a `timestamp` can be that of a record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import partial
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from pipeline.streams.codec import MAX_TIMESTAMP

T = TypeVar("T")

LARGEST = 1e12
"""Largest number, whatever its sign."""

Holds = Callable[[Any], bool]
"""Function that says whether a value is of a type."""


def checked(record: T) -> T:
    """Return a record whose fields have the types of its dataclass.

    Raises:
        TypeError: one has not; the message names it.
    """
    for name, holds in _checks(type(record)):
        value = getattr(record, name)
        if not holds(value):
            raise TypeError(f"{name} of {type(record).__name__} cannot be {str(value)[:40]!r}")
    return record


def time_of(value: object) -> float | None:
    """Return a value as the time of a record in seconds; None where it is none."""
    return float(value) if isinstance(value, int | float) and _is_moment(value) else None


def places_of(record: Mapping[str, Any], name: str, items: Sequence[Any]) -> tuple[int, ...]:
    """Return the places in a list that a field of a record names, none where it is missing.

    Raises:
        ValueError: they are not ascending places of the list.
    """
    places = record.get(name, ())
    if not _are_all(_is_whole, places) or list(places) != sorted({*places} & {*range(len(items))}):
        raise ValueError(f"{name} must be ascending places among {len(items)} items, not {str(places)[:40]!r}")
    return tuple(places)


def _checks(kind: Any) -> Sequence[tuple[str, Holds]]:
    if kind not in _OF_KIND:
        hints = {**get_type_hints(kind), "timestamp": _MOMENT}
        _OF_KIND[kind] = [(field.name, _check_of(hints[field.name])) for field in fields(kind)]
    return _OF_KIND[kind]


def _check_of(hint: Any) -> Holds:
    """Return the check of a type."""
    if hint is Any:
        return lambda _: True
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return partial(_is_any_of, [_check_of(one) for one in arguments])
    if origin is not None:
        return _check_of_container(origin, arguments)
    if is_dataclass(hint):
        return partial(_is_record, hint)
    if not issubclass(hint, StrEnum):
        raise NotImplementedError(f"no check is known for {hint}")
    return lambda value: isinstance(value, hint)


def _check_of_container(origin: type, arguments: Sequence[Any]) -> Holds:
    if issubclass(origin, np.ndarray):
        return lambda value: isinstance(value, np.ndarray) and bool(np.isfinite(value).all())
    if issubclass(origin, Mapping):
        return lambda value: isinstance(value, Mapping)
    if origin is tuple and ... not in arguments:
        return partial(_are_in_order, [_check_of(one) for one in arguments])
    return partial(_are_all, _check_of(arguments[0]))


def _is_any_of(checks: list[Holds], value: Any) -> bool:
    return any(holds(value) for holds in checks)


def _are_all(holds: Holds, value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(holds, value))


def _are_in_order(checks: list[Holds], value: Any) -> bool:
    same_length = isinstance(value, list | tuple) and len(value) == len(checks)
    return same_length and all(holds(one) for holds, one in zip(checks, value, strict=True))


def _is_record(kind: Any, value: Any) -> bool:
    return isinstance(value, kind) and all(holds(getattr(value, name)) for name, holds in _checks(kind))


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        # A lone surrogate is legal in JSON.
        return False
    return True


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_number(value: Any) -> bool:
    # NaN is in no range.
    return (_is_whole(value) or isinstance(value, float)) and -LARGEST <= value <= LARGEST


def _is_moment(value: Any) -> bool:
    return (_is_whole(value) or isinstance(value, float)) and 0 <= value < MAX_TIMESTAMP


_OF_KIND: dict[Any, Sequence[tuple[str, Holds]]] = {}
"""Checks of the fields of a dataclass, made once."""

_MOMENT = "moment"

_PLAIN: Mapping[Any, Holds] = {
    _MOMENT: _is_moment,
    str: _is_text,
    int: _is_whole,
    float: _is_number,
    bool: lambda value: isinstance(value, bool),
    bytes: lambda value: isinstance(value, bytes),
    NoneType: lambda value: value is None,
}
