"""JSON Schemas of record types: properties from the fields of a dataclass, descriptions from its docstring."""

import inspect
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

from numpy import ndarray

Schema = dict[str, Any]

_NAMES = re.compile(r"    (?P<names>\w+(?:, \w+)*): (?P<text>.*)")
_PLAIN = {str: "string", bytes: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schema_of(kind: type, keys: Mapping[str, str] | None = None, shapes: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of a dataclass as a JSON object; further properties are allowed.

    Args:
        kind: the dataclass.
        keys: field -> its key in the record, where they differ.
        shapes: key -> schema of its value, where the record's form is not that of the field's type.
    """
    keys, shapes, hints, texts = keys or {}, shapes or {}, get_type_hints(kind), descriptions(kind)
    properties, required = {}, []
    for field in fields(kind):
        key = keys.get(field.name, field.name)
        shape = shapes[key] if key in shapes else _of(hints[field.name])
        properties[key] = {"description": texts.get(field.name, ""), **shape}
        if _is_required(field):
            required.append(key)
    title = (inspect.getdoc(kind) or "").split("\n")[0]
    return {"type": "object", "description": title, "properties": properties, "required": required}


def descriptions(kind: type) -> dict[str, str]:
    """Return the text of each attribute in the docstring of a class."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.split("\n"):
        entry = _NAMES.fullmatch(line)
        if entry is not None:
            names = entry["names"].split(", ")
            found |= dict.fromkeys(names, entry["text"])
        elif line.startswith("        "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        elif line.strip():
            break
    return found


def _is_required(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _of(hint: Any) -> Schema:
    """Return the schema of a type."""
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if get_origin(hint) in (Union, types.UnionType):
        return _union([_of(argument) for argument in get_args(hint)])
    if get_origin(hint) is not None:
        return _of_container(get_origin(hint), get_args(hint))
    if issubclass(hint, StrEnum):
        return {"type": "string", "enum": [str(member) for member in hint]}
    return schema_of(hint)


def _of_container(origin: Any, arguments: Sequence[Any]) -> Schema:
    if issubclass(origin, ndarray):
        return {"type": "array"}
    if issubclass(origin, Mapping):
        return {"type": "object"}
    return {"type": "array", "items": _of(arguments[0])}


def _union(several: Sequence[Schema]) -> Schema:
    if all(set(one) == {"type"} for one in several):
        return {"type": [one["type"] for one in several]}
    return {"anyOf": list(several)}
