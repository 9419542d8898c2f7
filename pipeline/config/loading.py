"""Loading of the configuration: file, then environment (`RAIE__GATE__FLOOR=0.1`), then `--set gate.floor=0.1`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.config.consistency import unreachable
from pipeline.config.settings import Config
from pipeline.errors import ConfigError

ENVIRONMENT_PREFIX = "RAIE__"


def load_config(
    path: Path | None = None, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Config:
    """Read and validate the configuration.

    Args:
        path: a YAML file, or None for the defaults.
        overrides: `section.field=value` each, as given to `--set`.
        environment: variables; those named `RAIE__SECTION__FIELD` are read.

    Raises:
        ConfigError: lists every problem at once.
    """
    tree = _read(path) if path else {}
    problems: list[str] = []
    for source, key, value in _assignments(overrides, environment or {}, problems):
        _assign(tree, source, key, value, problems)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(problems + [_explain(e) for e in error.errors()]) from None
    problems += unreachable(config)
    if problems:
        raise ConfigError(problems)
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path} is not UTF-8: {error}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{path} is not valid YAML: {error}"]) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{path} must hold sections with fields, not a {type(tree).__name__}"])
    # YAML reads a section whose lines are all commented out as null: it has its defaults.
    return {name: section for name, section in tree.items() if section is not None}


def _assignments(
    overrides: Sequence[str], environment: Mapping[str, str], problems: list[str]
) -> list[tuple[str, list[str], str]]:
    found = [
        (name, name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"), value)
        for name, value in sorted(environment.items())
        if name.startswith(ENVIRONMENT_PREFIX)
    ]
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            problems.append(f"--set {override}: write it as section.field=value")
        else:
            found.append((f"--set {override}", key.strip().split("."), value))
    return found


def _assign(tree: dict[str, Any], source: str, key: list[str], value: str, problems: list[str]) -> None:
    node: Any = tree
    for part in key[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            problems.append(f"{source}: {part} is a field, not a section")
            return
    try:
        node[key[-1]] = yaml.safe_load(value)
    except yaml.YAMLError:
        node[key[-1]] = value
    # YAML 1.1 reads 1e-3 as a string; pydantic turns such strings into numbers.


def _explain(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{where}: there is no such setting (see config.yaml for all of them)"
    # A token or password in the wrong place must not reach a terminal or a log.
    shown = "" if error["loc"][0] == "access" or "password" in where else f" (it is {error['input']!r})"
    return f"{where}: {error['msg']}{shown}"
