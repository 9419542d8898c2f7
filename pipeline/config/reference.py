"""Generator of `config.yaml`: every setting with its description, type, bounds and default.

`python -m pipeline.config.reference > config.yaml` regenerates the file.
"""

import sys
import textwrap
from collections.abc import Iterator
from typing import Annotated, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from pipeline.config.loading import ENVIRONMENT_PREFIX
from pipeline.config.section import Section
from pipeline.config.settings import Config

WIDTH = 110

HEADER = f"""\
Every setting with its default. This file is generated from `pipeline/config`, and a test compares the two.
Pass a file of your own with --config; it needs only the settings that differ. An environment variable overrides the
file ({ENVIRONMENT_PREFIX}GATE__FLOOR=0.2), and --set overrides both (--set gate.floor=0.2). Unknown keys are refused.
"""

_GLUE = "\N{NO-BREAK SPACE}"
"""Separator inside a type, so that a line is not broken there."""

PLURALS: dict[object, str] = {float: "numbers", str: "texts"}

BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def render_defaults() -> str:
    """Return the text of `config.yaml`: loading it gives the defaults."""
    lines = [*_comment(HEADER, ""), ""]
    for name, field in Config.model_fields.items():
        section = field.default
        if isinstance(section, Section):
            lines += [*_comment(type(section).__doc__ or "", ""), f"{name}:", *_fields(type(section), "  "), ""]
        else:
            lines += [*_field(name, field, ""), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _fields(section: type[Section], indent: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield from _field(name, field, indent)


def _field(name: str, field: FieldInfo, indent: str) -> Iterator[str]:
    yield from _comment(f"{field.description} [{_type(field).replace(' ', _GLUE)}]", indent)
    yield f"{indent}{name}: {_value(field.get_default(call_default_factory=True))}"


def _value(default: object) -> str:
    """Return a default as YAML in one line, without the document end marker of a scalar."""
    return yaml.safe_dump(default, default_flow_style=True).split("\n")[0]


def _comment(text: str, indent: str) -> list[str]:
    prefix = f"{indent}# "
    lines = textwrap.wrap(text.strip(), WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False)
    return [line.replace(_GLUE, " ") for line in lines]


def _type(field: FieldInfo) -> str:
    """Return the type and bounds of a field: `number > 0 and < 1`, `sasrec | bert4rec | causal_lm`."""
    bounds = [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in BOUNDS.items()
        if hasattr(rule, name)
    ]
    return " ".join([_name(field.annotation), " and ".join(bounds)]).strip()


def _name(annotation: object) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if get_origin(annotation) is list:
        return f"list of {PLURALS[_plain(get_args(annotation)[0])]}"
    if get_origin(annotation) is dict:
        value = get_args(annotation)[1]
        is_section = isinstance(value, type) and issubclass(value, Section)
        return f"mapping of text to {'fields' if is_section else _name(value)}"
    if parts := get_args(annotation):
        return " or ".join(map(_name, parts))
    names = {bool: "true | false", int: "whole number", float: "number", str: "text", type(None): "null"}
    return names[annotation]  # type: ignore[index]


def _plain(annotation: object) -> object:
    """Return a type without its annotations."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


if __name__ == "__main__":
    sys.stdout.write(render_defaults())
