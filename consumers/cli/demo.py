"""`raie demo`: a simulated log with one drift, replayed under ten of the usual strategies."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import terminal
from consumers.cli.replay import replay_log
from pipeline.config import load_config
from pipeline.errors import DataError

if TYPE_CHECKING:
    from consumers.cli.terminal import Terminal

app = typer.Typer()

DEMO_EVENTS = 12_000
"""Interactions of the demo: enough for the drift to be detected and adapted to, in a minute or two."""

DEMO_STRATEGIES = (
    "static",
    "popularity_recent",
    "sequential_rules",
    "finetune",
    "lora_replay",
    "raie_k1_ranked",
    "ranker",
    "finetune_ranked",
    "raie_no_trend",
    "raie",
)
"""Strategies of the demo: some of the usual ones, as each with a second stage takes a quarter of a minute."""

DEMO_SETTINGS = ("items.text_encoder=hashing",)
"""Settings of the demo: no model has to be downloaded."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the log and the run.")] = Path("runs/demo"),
) -> None:
    """Simulate a log in which a new group of users appears, and replay it under ten strategies.

    Needs no data and no download, and takes a minute or two.

    Example: `raie demo --out runs/demo`
    """
    run_demo(out, terminal())


def run_demo(out: Path, terminal: "Terminal") -> None:
    """Simulate the log and replay it.

    Raises:
        DataError: the folder holds something else.
    """
    from pipeline.datasets.simulator import simulate, write

    log, run = out / "emerging", out / "run"
    if out.exists() and (not out.is_dir() or set(out.iterdir()) - {log, run}):
        raise DataError(f"{out} holds something else than a demo: name another folder with --out")
    write(simulate("emerging", seed=0, events=DEMO_EVENTS), log)
    replay_log(log, run, DEMO_STRATEGIES, 1, load_config(overrides=DEMO_SETTINGS), terminal)
