"""The command line: `raie --help` says what there is.

Whatever a person can put right ends with one message on stderr and exit code 2; an interrupt with 130.
"""

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from adapters_store.errors import StoreError
from consumers.cli.adapters import app as adapters_app
from consumers.cli.gate import register as register_gate
from consumers.cli.stages import register as register_consumers
from pipeline.build_info import PROGRAM, version_of
from pipeline.config import Config, load_config
from pipeline.errors import RaieError

if TYPE_CHECKING:
    from consumers.cli.terminal import Terminal

WRONG, INTERRUPTED = 2, 130
"""Exit codes."""

DEFAULT_CONFIG = Path("config.yaml")

STRATEGIES = (
    "static, popularity, popularity_recent, sequential_rules, finetune, lora, lora_replay, raie_k1, ensemble, "
    "ensemble_trend, raie_no_trend, raie"
)
FURTHER = (
    "popularity_window, finetune_replay, retrain, lora_frozen_replay, lora_rows, lora_lwf, lsat, mole, ebpr, nearest, "
    "ensemble_25, ensemble_75, finetune_trend, lora_replay_trend, raie_k1_trend, raie_taste, raie_centroids, "
    "raie_global_trend, raie_no_eras, raie_hard, raie_no_expand, raie_no_add, raie_replay, raie_frozen_rows, raie_one, "
    "raie_scheduled"
)
SCENARIOS = "quiet, sudden, gradual, recurring, one_region, two_regions, every_region, emerging, vanishing, new_items"
"""Spelled out: to look them up would load torch, and help would take seconds."""


class PlainErrors(TyperGroup):
    """Says in one message what went wrong and what to do; a traceback is for defects alone."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (RaieError, StoreError, OSError) as error:
            typer.echo(f"raie: {error}", err=True)
            raise typer.Exit(WRONG) from None
        except KeyboardInterrupt:
            typer.echo("raie: interrupted; run the same command again to start over", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="raie",
    cls=PlainErrors,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Keep a recommender up to date while the log flows: replay a log, and see what each strategy makes of it.",
    epilog="Start with `raie demo`. Settings: config.yaml holds each with its default and meaning.",
)
data_app = typer.Typer(no_args_is_help=True, help="Public logs, and what is in a log before anything is trained.")
app.add_typer(data_app, name="data")
app.add_typer(adapters_app, name="adapters")

topics_app = typer.Typer(no_args_is_help=True, help="The topics of the log that the stages share: `log.url`.")
app.add_typer(topics_app, name="topics")

Data = Annotated[
    Path, typer.Option("--data", help="The log: a folder or file, see docs/datasets.md.", show_default=False)
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file with the settings that differ. [default: ./config.yaml if it is there]"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, as in `--set gate.floor=0.2`; may be repeated."),
]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and end.", is_eager=True)] = False,
) -> None:
    """Keep a recommender up to date while the log flows."""
    if version:
        typer.echo(f"{PROGRAM} {version_of(PROGRAM)}")
        raise typer.Exit


@app.command()
def replay(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="New folder for the run; an earlier run in it is replaced.")],
    strategies: Annotated[
        str | None,
        typer.Option(
            "--strategies",
            metavar="A,B,...",
            help=f"`all`, or some of: {STRATEGIES} (these by default), {FURTHER}.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many: 0, 1, ... N-1.")] = 1,
    slices: Annotated[
        int | None,
        typer.Option("--slices", min=1, help="Also score every slice after each of so many; takes twice as long."),
    ] = None,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Replay a log in event time under one or more strategies, on equal terms.

    Every interaction is scored before anything learns from it. OUT then holds report.html, metrics.json,
    predictions.parquet and the ledger of edits; the same log, settings and seeds give the same bytes.

    For example:

    `raie replay --data ml-latest-small --out runs/ml`

    `raie replay --data orders.csv --out runs/orders --strategies static,lora_replay,raie --seeds 3
    --set data.columns.user_id=buyer`
    """
    from consumers.cli.replay import replay_log  # noqa: PLC0415

    chosen = None if strategies is None else [name.strip() for name in strategies.split(",") if name.strip()]
    replay_log(data, out, chosen, seeds, _config(config, settings), _terminal(), slices)


@app.command()
def setup(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="New folder for what was made.")],
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Make backbone, regions, gate and calibration from the first part of a log, and keep them with hashes.

    Example: `raie setup --data ml-latest-small --out root`
    """
    from consumers.cli.replay import set_up_log  # noqa: PLC0415

    set_up_log(data, out, _config(config, settings), _terminal())


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the log and the run.")] = Path("runs/demo"),
) -> None:
    """Simulate a log in which a new taste emerges, and replay it under the usual strategies. Needs no download."""
    from consumers.cli.replay import run_demo  # noqa: PLC0415

    run_demo(out, _terminal())


@app.command()
def simulate(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help=f"One of: {SCENARIOS}.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for the log.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything drawn.")] = 0,
    events: Annotated[int, typer.Option("--events", help="How many interactions.")] = 20_000,
) -> None:
    """Write a log whose drifts are known, and say what they are.

    Example: `raie simulate emerging --out runs/emerging --events 6000`
    """
    from consumers.cli.data import simulate_dataset  # noqa: PLC0415

    _terminal().out.print(simulate_dataset(scenario, seed, events, out))


@app.command()
def serve(
    root: Annotated[Path, typer.Option("--root", help="Folder that `raie setup` made.", show_default=False)],
    log: Annotated[str | None, typer.Option("--log", metavar="URL", help="The log. [default: log.url]")] = None,
    adapters: Annotated[
        str | None, typer.Option("--adapters", help="Where adapter versions are. [default: ROOT/adapters]")
    ] = None,
    instance: Annotated[str, typer.Option("--instance", help="Names this server, the same after a restart.")] = "1",
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Answer recommendations over HTTP, from the log as it is at that moment.

    Administrative calls exist only where the environment variable RAIE_ADMIN_TOKEN holds a token.

    Example: `raie serve --root root --log sqlite:///log.sqlite --set server.port=8080`
    """
    from consumers.cli.serve import serve as run  # noqa: PLC0415

    token = os.environ.get("RAIE_ADMIN_TOKEN") or None
    run(root, log, adapters, instance, token, _config(config, settings), partial(typer.echo, err=True))


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs.")],
    out: Annotated[Path, typer.Option("--out", help="Page to write, where several runs are compared.")] = Path(
        "comparison.html"
    ),
) -> None:
    """Build the report of a run anew from the files in its folder, or one page that compares several runs.

    Examples: `raie report runs/ml`

    `raie report runs/ml runs/mt --out comparison.html`
    """
    from pipeline.evaluation.report import build_comparison, build_report  # noqa: PLC0415

    page = build_report(folders[0]) if len(folders) == 1 else build_comparison(folders, out)
    typer.echo(f"Report: {page}")


@app.command()
def explain(
    edit: Annotated[
        str | None, typer.Argument(metavar="EDIT", help="Its id, or how that begins. [default: list them all]")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="Folder of a replay. [default: the log]")
    ] = None,
    log: Annotated[
        str | None, typer.Option("--log", metavar="URL", help="sqlite:///PATH or kafka://HOST. [default: log.url]")
    ] = None,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Say why an edit was made, on what evidence, what judged it, and what came of it.

    Example: `raie explain 3f9a --run runs/ml`
    """
    from consumers.cli.explain import explain as said  # noqa: PLC0415

    typer.echo(said(edit, run, log, _config(config, settings)))


@data_app.command("list")
def list_logs() -> None:
    """List the public logs that `fetch` can get, and their terms."""
    from consumers.cli.data import list_datasets  # noqa: PLC0415

    _terminal().out.print(list_datasets())


@data_app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="One of `raie data list`.")],
    out: Annotated[Path, typer.Option("--out", help="Folder below which a folder of that name is made.")] = Path(
        "data"
    ),
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="What the archive must hash to, if not as on record.")
    ] = None,
) -> None:
    """Download a public log; it is checked before it is opened.

    Example: `raie data fetch ml-latest-small`
    """
    from consumers.cli.terminal import Stages  # noqa: PLC0415
    from pipeline.datasets import download  # noqa: PLC0415

    with Stages(_terminal().err) as stages:
        folder = download.fetch(name, out, sha256, progress=lambda done: stages(f"downloading {name}", done, 0))
    typer.echo(f"{folder} is ready: raie data describe {folder}")


@data_app.command("describe")
def describe(
    data: Annotated[Path, typer.Argument(metavar="PATH", help="A folder or file.")],
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Say what is in a log, what of it is refused, and how it would be cut.

    Example: `raie data describe orders.csv --set data.columns.user_id=buyer`
    """
    from consumers.cli.data import describe_dataset  # noqa: PLC0415
    from pipeline.datasets.readers.options import read_options  # noqa: PLC0415

    asked = _config(config, settings).data
    quantiles = (asked.finetune_from, asked.test_from)
    _terminal().out.print(describe_dataset(data, read_options(asked), asked.positive_from, quantiles))


@topics_app.command("create")
def create_topics(config: ConfigFile = None, settings: Settings = None) -> None:
    """Create the topics that are missing. Those that exist stay as they are, and are checked.

    Example: `raie topics create --set log.url=kafka://localhost:9092`
    """
    from consumers.cli.topics import create_topics as create  # noqa: PLC0415

    typer.echo(create(_config(config, settings)))


@topics_app.command("check")
def check_topics(config: ConfigFile = None, settings: Settings = None) -> None:
    """Say whether partitions, retention, compaction and copies are as the pipeline needs them.

    Example: `raie topics check --set log.url=kafka://localhost:9092`
    """
    from consumers.cli.topics import check_topics as check  # noqa: PLC0415

    typer.echo(check(_config(config, settings)))


def main() -> None:
    """Entry point of `raie`."""
    app(prog_name="raie")


def _config(file: Path | None, settings: list[str] | None) -> Config:
    """The file, overridden by the environment, overridden by `--set`."""
    default = DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None
    return load_config(file or default, settings or (), os.environ)


def _terminal() -> "Terminal":
    from rich.console import Console  # noqa: PLC0415

    from consumers.cli.terminal import Terminal  # noqa: PLC0415

    # A pipe or file has no width: a table in it shall not be squeezed into 80 columns.
    width = None if sys.stdout.isatty() else 120
    return Terminal(Console(width=width), Console(stderr=True), time.perf_counter)


register_consumers(app, _config)
register_gate(app, _config)

if __name__ == "__main__":
    main()
