"""`raie gate`: the gate stage as a process."""

from logging import Logger
from pathlib import Path

import typer

from consumers.cli.options import ConfigFile, Instance, Root, Settings, configuration
from pipeline.config import Config

app = typer.Typer()


@app.command()
def gate(root: Root, instance: Instance = "gate-0", config: ConfigFile = None, settings: Settings = None) -> None:
    """Run a gate: score each interaction, assign it to a region, and record both in topic `gated`.

    Several gates of different names share the users.

    Example: `raie gate --root root --instance gate-0`
    """
    from consumers.runtime.process_log import process_log

    resolved = configuration(config, settings)
    with process_log(resolved.logging, "gate", instance) as logger:
        run_gate(root, instance, resolved, logger)


def run_gate(root: Path, instance: str, config: Config, logger: Logger) -> None:
    """Run a gate until it is stopped by a signal."""
    from adapters_store import AdaptersStore
    from consumers.gate.stage import GateStage
    from consumers.runtime.runner import adapters_of, run_stage, user_tables_of
    from pipeline.models.seeding import make_deterministic
    from pipeline.setup.storage import load_setup

    make_deterministic()
    setup, store = load_setup(root, config.compute), AdaptersStore(adapters_of(root))
    most = config.gate.batch_size if config.consumers.lockstep else config.gate.transaction_events
    tables = user_tables_of(root, config, f"gate-{instance}", logger.info)
    run_stage(
        lambda metrics: GateStage(setup, config, store, tables, instance, metrics, logger.warning),
        root,
        instance,
        config,
        most,
        logger,
    )
