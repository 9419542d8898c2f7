"""`raie replay`, `setup` and `demo` as functions of values; `consumers.cli.main` says how they are called."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.text import Text

from consumers.cli.terminal import Stages, Terminal, results, sentences
from pipeline.config import Config, load_config
from pipeline.datasets.dataset import Dataset, read_dataset
from pipeline.datasets.readers.options import read_options
from pipeline.datasets.simulator import simulate, write
from pipeline.errors import DataError
from pipeline.evaluation.replay import prepare, refuse_unknown, replay
from pipeline.evaluation.report.build import FILE_NAME as REPORT
from pipeline.evaluation.run_folder import refuse_foreign
from pipeline.models.seeding import make_deterministic
from pipeline.setup.bootstrap import set_up
from pipeline.setup.storage import refuse_existing, save_setup
from pipeline.strategies import STRATEGIES, USUAL

SETUP_SEED = 0
"""That of `raie setup`: the set-up of a replay's first seed."""

DEMO_EVENTS = 12_000
"""Enough for the drift to be seen and answered; the whole demo then takes a minute or two."""

DEMO_SETTINGS = ("items.text_encoder=hashing",)
"""Nothing has to be downloaded."""


def replay_log(
    data: Path,
    out: Path,
    strategies: Sequence[str] | None,
    seeds: int,
    config: Config,
    terminal: Terminal,
    slices: int | None = None,
) -> None:
    """`raie replay`: replay a log, write a run folder, show its figures.

    Args:
        data: the log.
        out: a new folder, or that of an earlier run.
        strategies: names, or `all` alone; None: the usual ones.
        seeds: how many.
        config: the whole tree.
        terminal: where to show it.
        slices: of the stream, after each of which every slice is scored; None: no such pass.
    """
    chosen = list(dict.fromkeys(USUAL if strategies is None else STRATEGIES if strategies == ["all"] else strategies))
    # What can be refused without reading a long log is refused first.
    refuse_unknown(chosen)
    refuse_foreign(out)
    with Stages(terminal.err) as stages:
        dataset = _read(data, config, stages)
        metrics = replay(dataset, config, chosen, seeds, out, stages, terminal.clock, slices)
    terminal.out.print(results(metrics))
    for sentence in sentences(metrics, dataset.refused, out / REPORT):
        terminal.out.print(Text(sentence), soft_wrap=True)


def set_up_log(data: Path, root: Path, config: Config, terminal: Terminal) -> None:
    """`raie setup`: make what replay and consumers start from, and keep it."""
    refuse_existing(root)
    make_deterministic()
    with Stages(terminal.err) as stages:
        plan, catalogue = prepare(_read(data, config, stages), config, stages)
        setup = set_up(config, catalogue, plan.setup, SETUP_SEED, partial(stages, "set-up"))
        save_setup(setup, root)
    recall = f"held-out Recall@10 {max(setup.recalls):.4f} after {len(setup.recalls)} epochs"
    shape = f"{len(setup.bank.live)} regions, {len(catalogue):,} items"
    terminal.out.print(Text(f"{root}: backbone {setup.backbone_sha256[:16]}, {recall}, {shape}."), soft_wrap=True)


def run_demo(out: Path, terminal: Terminal) -> None:
    """`raie demo`: simulate a log in which a new taste emerges, and replay it under the usual strategies.

    Raises:
        DataError: the folder holds something else.
    """
    log, run = out / "emerging", out / "run"
    if out.exists() and (not out.is_dir() or set(out.iterdir()) - {log, run}):
        raise DataError(f"{out} holds something else than a demo: name another folder with --out")
    write(simulate("emerging", seed=0, events=DEMO_EVENTS), log)
    replay_log(log, run, None, 1, load_config(overrides=DEMO_SETTINGS), terminal)


def _read(data: Path, config: Config, stages: Stages) -> Dataset:
    stages(f"reading {data}", 0, 0)
    return read_dataset(data, read_options(config.data))
