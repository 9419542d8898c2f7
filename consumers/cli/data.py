"""`raie data list`, `raie data describe` and `raie simulate` as functions of values (`fetch` is one already)."""

from pathlib import Path

from rich.console import Group
from rich.table import Table

from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.describe import describe, render
from pipeline.datasets.public import KNOWN
from pipeline.datasets.readers.rows import ReadOptions
from pipeline.datasets.simulator import simulate, write
from pipeline.datasets.splits import QUANTILES
from pipeline.errors import DataError


def list_datasets() -> Table:
    """`raie data list`: the public logs that `fetch` can get, and their terms."""
    table = Table("name", "events", "checksum", "licence", "cite", title="public datasets", title_justify="left")
    for dataset in KNOWN.values():
        checksum = "on record" if dataset.sha256 else "give --sha256"
        table.add_row(dataset.name, dataset.events, checksum, dataset.licence, dataset.cite)
    return table


def describe_dataset(
    path: Path,
    options: ReadOptions | None = None,
    positive_from: float | None = None,
    quantiles: tuple[float, float] = QUANTILES,
) -> Group:
    """`raie data describe PATH`: what is in a log.

    Args:
        path: the log.
        options: which column means what.
        positive_from: smallest value that counts as liking; None: that of the format.
        quantiles: where the slices S and F end.

    Raises:
        DataError: the log cannot be read or cut.
    """
    dataset = read_dataset(path, options)
    threshold = dataset.positive_from if positive_from is None else positive_from
    return render(describe(dataset, threshold, quantiles))


def simulate_dataset(scenario: str, seed: int, events: int, out: Path) -> Table:
    """`raie simulate SCENARIO --out PATH`: write a log whose drifts are known, and say what they are.

    Raises:
        DataError: no such scenario, too few events, or the folder is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there already; name a new folder, or remove it")
    simulation = simulate(scenario, seed, events)
    write(simulation, out)
    table = Table("drift", "from", "until", "users", "items", title=f"{scenario}: {out}", title_justify="left")
    for entry in simulation.truth:
        affected = (str(len(entry["users"])), str(len(entry["items"])))
        table.add_row(entry["kind"], str(entry["from"]), str(entry["until"]), *affected)
    return table
