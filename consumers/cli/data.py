"""`raie data`: public logs to download, and a description of any log before anything is trained."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import ConfigFile, Items, Settings, configuration, terminal

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

    from pipeline.datasets.readers.rows import ReadOptions

app = typer.Typer(no_args_is_help=True, help="Download public logs, and describe a log before anything is trained.")


@app.command("list")
def list_logs() -> None:
    """List the public logs that `raie data fetch` can download, with licence and citation.

    Example: `raie data list`
    """
    terminal().out.print(list_datasets())


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name from `raie data list`.")],
    out: Annotated[Path, typer.Option("--out", help="Parent folder; a folder NAME is made in it.")] = Path("data"),
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="HEX", help="Expected hash of the archive, where it differs from ours."),
    ] = None,
) -> None:
    """Download a public log; its hash is checked before it is unpacked.

    Example: `raie data fetch ml-latest-small`
    """
    from consumers.cli.terminal import Stages
    from pipeline.datasets import download

    with Stages(terminal().err) as stages:
        folder = download.fetch(name, out, sha256, progress=lambda done: stages(f"downloading {name}", done, 0))
    typer.echo(f"{folder} is ready: raie data describe {folder}")


@app.command()
def describe(
    data: Annotated[Path, typer.Argument(metavar="PATH", help="Folder or file of a log.")],
    items: Items = None,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Describe a log: its size, the rows that cannot be used, and the slices a replay would cut it into.

    Example: `raie data describe orders.csv --set data.columns.user_id=buyer`
    """
    from pipeline.datasets.readers.options import options_of

    section = configuration(config, settings, items).data
    quantiles = (section.finetune_from, section.test_from)
    out = terminal().out
    out.print(describe_dataset(data, options_of(section), section.positive_from, quantiles, out))


def list_datasets() -> "Table":
    """Table of the public logs and their terms."""
    from rich.table import Table

    from pipeline.datasets.public import KNOWN

    table = Table("name", "events", "checksum", "licence", "cite", title="public datasets", title_justify="left")
    for dataset in KNOWN.values():
        checksum = "on record" if dataset.sha256 else "give --sha256"
        table.add_row(dataset.name, dataset.events, checksum, dataset.licence, dataset.cite)
    return table


def describe_dataset(
    path: Path,
    options: "ReadOptions | None" = None,
    positive_from: float | None = None,
    quantiles: tuple[float, float] | None = None,
    out: "Console | None" = None,
) -> "Group":
    """Description of a log.

    Args:
        path: the log.
        options: meaning of its columns.
        positive_from: least value of a positive interaction; None: that of the format.
        quantiles: ends of the slices S and F; None: the usual ones.
        out: where the use of the columns is shown, also of a log that cannot be cut.

    Raises:
        DataError: the log cannot be read or cut.
    """
    from pipeline.datasets.dataset import read_dataset, threshold_of
    from pipeline.datasets.describe import describe, render, render_columns
    from pipeline.datasets.splits import QUANTILES

    dataset = read_dataset(path, options)
    threshold = threshold_of(dataset, positive_from)
    if out is not None:
        out.print(render_columns(dataset.columns))
    return render(describe(dataset, threshold, quantiles or QUANTILES))
