"""Options that several commands share, and the edges of the program: configuration, terminal, messages.

Nothing here imports torch: `raie --help` loads every command module.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.config import Config, load_config

if TYPE_CHECKING:
    from consumers.cli.terminal import Terminal
    from consumers.producer.checks import Topic

DEFAULT_CONFIG = Path("config.yaml")
"""Read from the working folder when `--config` is not given."""

SEED = 0
"""Seed of `raie setup` and of the monitor: that of a replay's first seed, so both start from the same set-up."""

Say = Callable[[str], None]
"""Function that shows one line of text."""

Data = Annotated[
    Path,
    typer.Option(
        "--data", help="Interaction log: a folder or a file; formats are in docs/datasets.md.", show_default=False
    ),
]
OptionalData = Annotated[
    Path | None,
    typer.Option("--data", help="Interaction log: a folder or a file; formats are in docs/datasets.md."),
]
Items = Annotated[
    Path | None,
    typer.Option("--items", help="File of items. [default: setting data.items, else the one beside the interactions]"),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file with settings. [default: ./config.yaml if there is one]"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one setting, as in `--set gate.floor=0.2`; may be repeated."
    ),
]
Root = Annotated[Path, typer.Option("--root", help="Folder that `raie setup` wrote.", show_default=False)]
Instance = Annotated[
    str,
    typer.Option(
        "--instance", help="Name of this process: the same after a restart, different from those running beside it."
    ),
]
LogUrl = Annotated[
    str | None,
    typer.Option(
        "--log",
        metavar="URL",
        help="Log of the pipeline: sqlite:///PATH or kafka://HOST:PORT. [default: log.url]",
    ),
]


def configuration(file: Path | None, settings: list[str] | None, items: Path | None = None) -> Config:
    """Read the settings: the file, overridden by the environment, overridden by `--set` and `--items`."""
    default = DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None
    named = [] if items is None else [f"data.items={json.dumps(str(items))}"]
    return load_config(file or default, [*(settings or ()), *named], os.environ)


def known_topic(name: str) -> "Topic":
    """Return the topic of a `--topic` option, or refuse it."""
    if name not in ("interactions", "items"):
        raise typer.BadParameter(f"--topic is interactions or items, not {name}")
    return "items" if name == "items" else "interactions"


def say(text: str) -> None:
    """Show a status line, on stderr."""
    typer.echo(text, err=True)


def terminal() -> "Terminal":
    """Open stdout for results and stderr for progress."""
    from rich.console import Console

    from consumers.cli.terminal import Terminal

    # A pipe or file has no width: a table in it must not be squeezed into 80 columns.
    width = None if sys.stdout.isatty() else 120
    return Terminal(Console(width=width), Console(stderr=True), time.perf_counter)
