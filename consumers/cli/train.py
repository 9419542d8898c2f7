"""`raie train`: the trainer stage as a process."""

import time
from contextlib import closing
from pathlib import Path

import typer

from consumers.cli.options import ConfigFile, Instance, Root, Say, Settings, configuration, say
from pipeline.config import Config

app = typer.Typer()


@app.command()
def train(root: Root, instance: Instance = "trainer-0", config: ConfigFile = None, settings: Settings = None) -> None:
    """Run a trainer: carry out edits, and publish an adapter that beats the incumbent on held-out windows.

    Several trainers of different names share the regions.

    Example: `raie train --root root --instance trainer-0`
    """
    run_trainer(root, instance, configuration(config, settings), say)


def run_trainer(root: Path, instance: str, config: Config, say: Say) -> None:
    """Remove adapter versions and arrays that no revision uses, then run a trainer until it is stopped by a signal."""
    from adapters_store import AdaptersStore
    from consumers.retention.pruner import Pruner
    from consumers.runtime.runner import adapters_of, binding_of, bound_log_of, run_stage
    from consumers.trainer.child_process import TrainingChild
    from consumers.trainer.orphans import collect_orphans
    from consumers.trainer.stage import TrainerStage
    from pipeline.setup.storage import check_placement
    from pipeline.telemetry import Metrics

    # The process that trains would be refused, again and again.
    check_placement(root, config.compute)
    # Versions that another log published are no orphans.
    with closing(bound_log_of(config, f"trainer-{instance}", binding_of(root, config))) as log:
        for name in collect_orphans(log, AdaptersStore(adapters_of(root))):
            say(f"removed {name}: its edit ended without publishing it")
    start = {"root": str(root), "adapters": str(adapters_of(root)), "config": config.model_dump(mode="json")}

    def stage(metrics: Metrics) -> TrainerStage:
        upkeep = Pruner(AdaptersStore(adapters_of(root)), config, metrics, say, time.monotonic, time.time)
        return TrainerStage(TrainingChild(start), metrics, say=say, upkeep=upkeep)

    run_stage(stage, root, instance, config, 1, say)
