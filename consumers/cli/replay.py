"""`raie replay`: a recorded log, replayed in event time under one or more strategies."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import ConfigFile, Data, Items, Settings, configuration, terminal
from pipeline.strategies import DEFAULT, FURTHER, OF_LANGUAGE_MODELS

if TYPE_CHECKING:
    from rich.console import Console

    from consumers.cli.terminal import Stages, Terminal
    from pipeline.config import Config
    from pipeline.datasets.dataset import Dataset

app = typer.Typer()

WORKER = "consumers.runtime.replay_worker"
"""Module of the processes that share a replay."""

FEW_RETURNS = 0.01
"""Share of returns to items of the window below which nothing is said of them."""


@app.command()
def replay(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; an earlier run in it is replaced.")],
    strategies: Annotated[
        str | None,
        typer.Option(
            "--strategies",
            metavar="A,B,...",
            help=f"`all`, or a list of: {', '.join(DEFAULT)} (the default), {', '.join(FURTHER)}.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Number of seeds: 0, 1, ... N-1.")] = 1,
    slices: Annotated[
        int | None,
        typer.Option(
            "--slices",
            min=1,
            help="Cut the stream into N slices and score all of them after each, for the metrics of continual "
            "learning; takes twice as long.",
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            "--processes",
            min=1,
            help="Processes that share seeds and strategies, and the processor's cores. Each of them reads the log and "
            "has its own models: memory grows with their number.",
        ),
    ] = 1,
    items: Items = None,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Replay a log in event time under one or more strategies, on equal terms.

    Each interaction is scored before anything learns from it. The run folder then holds report.html, metrics.json,
    predictions.parquet and ledger.jsonl; the same log, settings and seeds give the same bytes.

    Example: `raie replay --data ml-latest-small --out runs/ml`

    With own columns, own strategies and three seeds: `raie replay --data orders.csv --out runs/orders
    --strategies static,lora_replay,raie --seeds 3 --set data.columns.user_id=buyer`

    On a machine with many cores: `raie replay --data ml-latest-small --out runs/ml --seeds 3 --processes 8`
    """
    chosen = None if strategies is None else [name.strip() for name in strategies.split(",") if name.strip()]
    replay_log(data, out, chosen, seeds, configuration(config, settings, items), terminal(), slices, processes)


def replay_log(
    data: Path,
    out: Path,
    strategies: Sequence[str] | None,
    seeds: int,
    config: "Config",
    terminal: "Terminal",
    slices: int | None = None,
    processes: int = 1,
) -> None:
    """Replay a log, write a run folder, show its figures.

    Args:
        data: the log.
        out: a new folder, or that of an earlier run.
        strategies: names, or `all` alone; None: the usual ones.
        seeds: number of seeds.
        config: the whole tree.
        terminal: for progress and results.
        slices: slices of the stream for the continual-learning pass; None: no such pass.
        processes: that share seeds and strategies.
    """
    from rich.text import Text

    from consumers.cli.terminal import Stages, results, sentences
    from pipeline.evaluation.replay import refuse_unknown, replay
    from pipeline.evaluation.replay_processes import Parallel
    from pipeline.evaluation.report.build import FILE_NAME as REPORT
    from pipeline.evaluation.run_folder import refuse_foreign

    chosen = _chosen(strategies, config.backbone.kind)
    # Checks that do not need the log come first: reading a long one takes minutes.
    refuse_unknown(chosen, config)
    refuse_foreign(out)
    with Stages(terminal.err) as stages:
        dataset = read_data(data, config, stages, terminal.out)
        parallel = Parallel(processes, data, (sys.executable, "-m", WORKER)) if processes > 1 else None
        metrics = replay(dataset, config, chosen, seeds, out, stages, terminal.clock, slices=slices, parallel=parallel)
    terminal.out.print(results(metrics))
    for sentence in sentences(metrics, dataset.refused, out / REPORT):
        terminal.out.print(Text(sentence), soft_wrap=True)


def _on_returns(dataset: "Dataset", config: "Config") -> list[str]:
    """Sentence on returns to items of the window that count as misses; none where they are few."""
    from pipeline.datasets.dataset import positives, threshold_of
    from pipeline.datasets.returns import share_of_returns

    counted = positives(dataset, threshold_of(dataset, config.data.positive_from))
    share = share_of_returns(counted, config.windows.length) if len(counted) else 0.0
    if config.windows.repeats or share < FEW_RETURNS:
        return []
    what = f"{share:.1%} of the interactions return to an item of the window, and count as misses"
    return [f"{what}: set windows.repeats=true, for replay and the live pipeline, if such items may be recommended."]


def read_data(data: Path, config: "Config", stages: "Stages", out: "Console") -> "Dataset":
    """Read a log as the configuration says, as a stage of the progress display; show columns and returns."""
    from rich.text import Text

    from pipeline.datasets.dataset import read_dataset
    from pipeline.datasets.describe import render_columns
    from pipeline.datasets.readers.options import options_of

    stages(f"reading {data}", 0, 0)
    dataset = read_dataset(data, options_of(config.data))
    out.print(render_columns(dataset.columns))
    for sentence in _on_returns(dataset, config):
        out.print(Text(sentence), soft_wrap=True)
    return dataset


def _chosen(strategies: Sequence[str] | None, backbone: str) -> list[str]:
    everything = [name for name in (*DEFAULT, *FURTHER) if name not in OF_LANGUAGE_MODELS or backbone == "causal_lm"]
    return list(dict.fromkeys(DEFAULT if strategies is None else everything if strategies == ["all"] else strategies))
