"""Binding of a log to a set-up: the set-up's fingerprint, and the settings that were fixed when it was made.

Read from the files' heads alone, so that a process without the backbone can check them, too.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from pipeline.config import Config
from pipeline.errors import ConfigError, DataError

BACKBONE_RECORD, LANGUAGE_MODEL = "backbone/backbone.json", "causal_lm_"
"""File that names the kind of the backbone, and the front of a kind that ends with its format."""

MANIFEST, ARRAYS = "manifest.json", "arrays.safetensors"
"""Files of a stored set-up with the hashes of all others, and with its arrays (`pipeline.setup.storage`)."""

WINDOWS_LENGTH = "windows.length"
"""Setting that every process of a log shares with the set-up: the backbone's windows have this length."""

BACKBONE_FORMAT = "backbone.format"
"""Likewise: what the backbone's windows are read as. A set-up that does not say so reads items."""


@dataclass(frozen=True)
class Binding:
    """A set-up, as the log records it.

    Attributes:
        root: sha256 over the hashes of the set-up's files.
        settings: setting -> its value when the set-up was made.
    """

    root: str
    settings: Mapping[str, object]


def read_binding(root: Path) -> Binding:
    """Read the binding of a stored set-up.

    Raises:
        DataError: it cannot be read.
    """
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        with safe_open(root / ARRAYS, framework="numpy") as arrays:
            length = arrays.get_slice("newest.contexts").get_shape()[1]
        kind = str(json.loads((root / BACKBONE_RECORD).read_text(encoding="utf-8"))["kind"])
        read_as = kind.removeprefix(LANGUAGE_MODEL) if kind.startswith(LANGUAGE_MODEL) else "items"
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(
            f"{root} is no complete set-up ({error}): restore it, or make one with "
            f"`raie setup --data PATH --out {root}`"
        ) from error
    content = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    formats = {} if read_as == "items" else {BACKBONE_FORMAT: read_as}
    return Binding(hashlib.sha256(content.encode()).hexdigest(), {WINDOWS_LENGTH: length, **formats})


def check_settings(settings: Mapping[str, object], config: Config, origin: str) -> None:
    """Check that a configuration has the settings of a set-up.

    Args:
        settings: setting -> value when the set-up was made; empty before there is one.
        config: the whole tree.
        origin: place where these are recorded, for the message.

    Raises:
        ConfigError: names each setting that differs.
    """
    settings = {BACKBONE_FORMAT: "items", **settings} if settings else {}
    here = {name: _value(config, name) for name in settings}
    problems = [
        f"{name}: {here[name]} here, and {origin} was made with {made}; set {name}={made}, or run `raie setup` again"
        for name, made in settings.items()
        if here[name] != made
    ]
    if problems:
        raise ConfigError(problems)


def _value(config: Config, name: str) -> object:
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part, None)
    return found
