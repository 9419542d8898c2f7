"""`raie monitor`: the monitor stage as a process."""

from logging import Logger
from pathlib import Path

import typer

from consumers.cli.options import SEED, ConfigFile, Instance, Root, Settings, configuration
from pipeline.config import Config

app = typer.Typer()

MOST_GATED = 1_000
"""Most records of `gated` that the monitor reads in one step."""


@app.command()
def monitor(root: Root, instance: Instance = "monitor-0", config: ConfigFile = None, settings: Settings = None) -> None:
    """Run a monitor: test each region for drift, and request edits in topic `edits`.

    One monitor is active; others of different names wait to take over from it.

    Example: `raie monitor --root root`
    """
    from consumers.runtime.process_log import process_log

    resolved = configuration(config, settings)
    with process_log(resolved.logging, "monitor", instance) as logger:
        run_monitor(root, instance, resolved, logger)


def run_monitor(root: Path, instance: str, config: Config, logger: Logger) -> None:
    """Run a monitor until it is stopped by a signal."""
    from adapters_store import AdaptersStore
    from consumers.monitor.stage import MonitorStage
    from consumers.runtime.runner import adapters_of, run_stage
    from pipeline.setup.storage import load_setup

    setup, store = load_setup(root), AdaptersStore(adapters_of(root))
    run_stage(
        lambda metrics: MonitorStage(setup, config, store, SEED, metrics, logger.warning),
        root,
        instance,
        config,
        MOST_GATED,
        logger,
    )
