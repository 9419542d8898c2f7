"""What each command of `raie` does, as functions of values; `pipeline.cli` says how they are called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipeline.config import Config, load_config
from pipeline.datasets.base import Dataset, ReadOptions, read_dataset
from pipeline.datasets.commands import describe_dataset
from pipeline.datasets.fetch import fetch
from pipeline.datasets.simulator import simulate, write
from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.replay import make_deterministic, prepare, refuse_unknown, replay
from pipeline.evaluation.report import build_report
from pipeline.evaluation.report.build import FILE_NAME as REPORT
from pipeline.evaluation.results import Clock
from pipeline.evaluation.run_folder import refuse_foreign
from pipeline.setup import set_up
from pipeline.setup_files import refuse_existing, save_setup
from pipeline.strategies import STRATEGIES
from pipeline.terminal import Stages, results, sentences

SETUP_SEED = 0
"""That of `raie setup`: the set-up of a replay's first seed."""

DEMO_EVENTS = 12_000
"""Enough for the drift to be seen and answered; the whole demo then takes a minute or two."""

DEMO_SETTINGS = ("items.text_encoder=hashing",)
"""Nothing has to be downloaded."""


@dataclass(frozen=True)
class Terminal:
    """Where commands write, and the clock on their wall.

    Attributes:
        out: results.
        err: progress.
        clock: seconds from some fixed moment on.
    """

    out: Console
    err: Console
    clock: Clock


def read_options(columns: Mapping[str, str]) -> ReadOptions:
    """Turn `data.columns` into the columns of a reader.

    Args:
        columns: our name -> the file's; `text` may list several, separated by commas.

    Raises:
        ConfigError: there is no such name of ours.
    """
    known = [field.name for field in fields(ReadOptions)]
    problems = [f"data.columns.{name}: there is no such column; there are: {', '.join(known)}" for name in columns]
    unknown = [problem for name, problem in zip(columns, problems, strict=True) if name not in known]
    if unknown:
        raise ConfigError(unknown)
    named = {name: column for name, column in columns.items() if name != "text"}
    text = tuple(column.strip() for column in columns.get("text", "").split(",") if column.strip())
    return ReadOptions(**named, text=text)


def replay_log(
    data: Path, out: Path, strategies: Sequence[str] | None, seeds: int, config: Config, terminal: Terminal
) -> None:
    """`raie replay`: replay a log, write a run folder, show its figures.

    Args:
        data: the log.
        out: a new folder, or that of an earlier run.
        strategies: names; None: all of them.
        seeds: how many.
        config: the whole tree.
        terminal: where to show it.
    """
    chosen = list(dict.fromkeys(STRATEGIES if strategies is None else strategies))
    # What can be refused without reading a long log is refused first.
    refuse_unknown(chosen)
    refuse_foreign(out)
    with Stages(terminal.err) as stages:
        dataset = _read(data, config, stages)
        metrics = replay(dataset, config, chosen, seeds, out, stages, terminal.clock)
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
    """`raie demo`: simulate a log in which a new taste emerges, and replay it under every strategy.

    Raises:
        DataError: the folder holds something else.
    """
    log, run = out / "emerging", out / "run"
    if out.exists() and (not out.is_dir() or set(out.iterdir()) - {log, run}):
        raise DataError(f"{out} holds something else than a demo: name another folder with --out")
    write(simulate("emerging", seed=0, events=DEMO_EVENTS), log)
    replay_log(log, run, None, 1, load_config(overrides=DEMO_SETTINGS), terminal)


def describe_log(data: Path, config: Config, terminal: Terminal) -> None:
    """`raie data describe`: what is in a log, before anything is trained."""
    quantiles = (config.data.finetune_from, config.data.test_from)
    options = read_options(config.data.columns)
    terminal.out.print(describe_dataset(data, options, config.data.positive_from, quantiles))


def fetch_log(name: str, out: Path, sha256: str | None, terminal: Terminal) -> None:
    """`raie data fetch`: download a public log, checked before it is opened."""
    with Stages(terminal.err) as stages:
        folder = fetch(name, out, sha256, progress=lambda done: stages(f"downloading {name}", done, 0))
    terminal.out.print(Text(f"{folder} is ready: raie data describe {folder}"), soft_wrap=True)


def report_run(folder: Path, terminal: Terminal) -> None:
    """`raie report`: build the page of a run anew."""
    terminal.out.print(Text(f"Report: {build_report(folder)}"), soft_wrap=True)


def _read(data: Path, config: Config, stages: Stages) -> Dataset:
    stages(f"reading {data}", 0, 0)
    return read_dataset(data, read_options(config.data.columns))
