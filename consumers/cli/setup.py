"""`raie setup`: the backbone, regions and calibration that the live pipeline starts from."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import SEED, ConfigFile, Data, Items, Settings, configuration, terminal
from consumers.cli.replay import read_data

if TYPE_CHECKING:
    from consumers.cli.terminal import Terminal
    from pipeline.config import Config
    from pipeline.models.backbones.base import Backbone
    from pipeline.models.placement import Placement

app = typer.Typer()


@app.command()
def setup(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="New folder to write to.")],
    items: Items = None,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Train the backbone and find the regions on the first part of a log, and write both to a folder.

    The folder is the --root of every command of the live pipeline; each file in it is hashed. After an interruption,
    the same command goes on from the last whole epoch.

    Example: `raie setup --data ml-latest-small --out root`
    """
    set_up_log(data, out, configuration(config, settings, items), terminal())


def show_memory(
    backbone: "Backbone", placement: "Placement", answers: int, config: "Config", terminal: "Terminal"
) -> None:
    """Show what memory the training needs; raises ConfigError where it does not fit."""
    from rich.text import Text

    from consumers.runtime.available_memory import available_memory
    from pipeline.setup.memory import check_memory

    terminal.err.print(Text(check_memory(backbone, config, placement, available_memory, answers)), soft_wrap=True)


def set_up_log(data: Path, root: Path, config: "Config", terminal: "Terminal") -> None:
    """Make a set-up from a log and save it.

    Raises:
        DataError: the folder is not empty, or the log cannot be read or cut.
    """
    from rich.text import Text

    from consumers.cli.terminal import Stages
    from pipeline.datasets.dataset import threshold_of
    from pipeline.evaluation.replay import prepare
    from pipeline.events.counting import CountingRule
    from pipeline.models.seeding import make_deterministic
    from pipeline.setup.artifacts import TrainingLog
    from pipeline.setup.bootstrap import set_up
    from pipeline.setup.storage import TRAINING, refuse_existing, save_setup

    refuse_existing(root)
    make_deterministic()
    with Stages(terminal.err) as stages:
        dataset = read_data(data, config, stages, terminal.out)
        plan, catalogue = prepare(dataset, config, stages)
        if (root / TRAINING).exists():
            terminal.err.print(Text(f"{root / TRAINING}: going on from the checkpoint of an interrupted set-up"))
        on_built = partial(show_memory, config=config, terminal=terminal)
        setup = set_up(config, catalogue, plan.setup, SEED, partial(stages, "set-up"), root / TRAINING, on_built)
        rule = CountingRule(threshold_of(dataset, config.data.positive_from), config.data.event_types)
        save_setup(replace(setup, log=TrainingLog(dataset.sha256, plan.slices.setup_until, rule)), root)
    recall = f"held-out Recall@10 {max(setup.recalls):.4f} after {len(setup.recalls)} epochs"
    shape = f"{len(setup.bank.live)} regions, {len(catalogue):,} items"
    terminal.out.print(Text(f"{root}: backbone {setup.backbone_sha256[:16]}, {recall}, {shape}."), soft_wrap=True)
