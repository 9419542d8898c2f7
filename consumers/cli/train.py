"""`raie train`: the trainer stage as a process."""

import time
from logging import Logger
from pathlib import Path

import typer

from consumers.cli.options import ConfigFile, Instance, Root, Settings, configuration
from pipeline.config import Config
from pipeline.streams.interface import Log

app = typer.Typer()


@app.command()
def train(root: Root, instance: Instance = "trainer-0", config: ConfigFile = None, settings: Settings = None) -> None:
    """Run a trainer: carry out edits, and publish an adapter that beats the incumbent on held-out windows.

    Several trainers of different names share the regions.

    Example: `raie train --root root --instance trainer-0`
    """
    from consumers.runtime.process_log import process_log

    resolved = configuration(config, settings)
    with process_log(resolved.logging, "trainer", instance) as logger:
        run_trainer(root, instance, resolved, logger)


def run_trainer(root: Path, instance: str, config: Config, logger: Logger) -> None:
    """Run a trainer until it is stopped by a signal; it removes adapter versions and arrays that no revision needs."""
    from adapters_store import AdaptersStore
    from consumers.refresh.pruning import GenerationPruner
    from consumers.retention.pruner import Pruner
    from consumers.runtime.runner import adapters_of, run_stage
    from consumers.trainer.child_process import TrainingChild
    from consumers.trainer.orphans import collect_orphans
    from consumers.trainer.stage import TrainerStage
    from pipeline.setup.storage import check_placement
    from pipeline.telemetry import Metrics

    # The process that trains would be refused, again and again.
    check_placement(root, config.compute)
    store = AdaptersStore(adapters_of(root))

    def sweep(log: Log) -> None:
        for name in collect_orphans(log, store):
            logger.info(f"removed {name}: no revision needs it")

    def make(metrics: Metrics) -> TrainerStage:
        start = {"root": str(root), "adapters": str(adapters_of(root)), "config": config.model_dump(mode="json")}
        pruner = Pruner(store, config, metrics, logger.info, time.monotonic, time.time)
        generations = GenerationPruner(root, config, time.monotonic, time.time, logger.info)

        def upkeep(log: Log) -> None:
            pruner(log)
            generations(log)

        return TrainerStage(TrainingChild(start), metrics, say=logger.warning, upkeep=upkeep, sweep=sweep)

    run_stage(make, root, instance, config, 1, logger)
