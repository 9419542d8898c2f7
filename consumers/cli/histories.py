"""`raie histories`: what users took before the live stream, for the gate."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import typer

from consumers.cli.options import ConfigFile, Data, Items, Root, Settings, configuration, terminal
from pipeline.config import Config

app = typer.Typer(no_args_is_help=True, help="Give the gate the histories of the users that set-up learned from.")


@app.callback()
def group() -> None:
    """Keep `load` a command of the group although it is the only one."""


@app.command()
def load(data: Data, root: Root, items: Items = None, config: ConfigFile = None, settings: Settings = None) -> None:
    """Write the histories of the log that a set-up learned from into the log of the live pipeline.

    Before or while the gate runs, and as often as you like: loading them again changes nothing.

    Example: `raie histories load --data orders.csv --root root --set log.url=sqlite:///log.sqlite`
    """
    from consumers.cli.terminal import Stages

    resolved = configuration(config, settings, items)
    with Stages(terminal().err) as stages:
        count = load_histories(data, root, resolved, stages)
    typer.echo(f"{count:,} histories written to {resolved.log.url}")


def load_histories(data: Path, root: Path, config: Config, progress: Callable[[str, int, int], None]) -> int:
    """Write the histories of a set-up's users; return their number.

    Raises:
        DataError: the log is not the one that set-up learned from, or an earlier version wrote the set-up.
    """
    from consumers.producer.histories import histories_of, write_histories
    from consumers.runtime.runner import bound_log_of
    from pipeline.datasets.dataset import read_dataset
    from pipeline.datasets.readers.options import options_of
    from pipeline.setup.binding import read_binding
    from pipeline.setup.storage import read_training_log

    learned = read_training_log(root)
    progress(f"reading {data}", 0, 0)
    dataset = read_dataset(data, replace(options_of(config.data), event_types=learned.rule.event_types))
    histories = list(histories_of(dataset, learned, config))
    with closing(bound_log_of(config, "produce-histories", read_binding(root))) as log:
        write_histories(histories, log, progress)
    return len(histories)
