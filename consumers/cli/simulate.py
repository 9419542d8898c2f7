"""`raie simulate`: synthetic logs with known drifts."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import terminal
from pipeline.errors import DataError

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer()

# Spelled out: to look them up would load numpy and more.
SCENARIOS = (
    "quiet, sudden, gradual, recurring, one_region, two_regions, every_region, emerging, vanishing, new_items, "
    "announced, stationary, sessions, news"
)
"""Names of the scenarios."""


@app.command()
def simulate(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help=f"One of: {SCENARIOS}.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for the log.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything drawn.")] = 0,
    events: Annotated[int, typer.Option("--events", help="Number of interactions.")] = 20_000,
) -> None:
    """Write a synthetic log whose drifts are known, and list them.

    `stationary` (dense), `sessions` (users return to items; replay it with `windows.repeats=true`) and `news` (items
    live for a day) have no drift: they differ in how items and users behave.

    Example: `raie simulate emerging --out runs/emerging --events 6000`
    """
    terminal().out.print(simulate_dataset(scenario, seed, events, out))


def simulate_dataset(scenario: str, seed: int, events: int, out: Path) -> "Table":
    """Write a simulated log, and return its drifts as a table.

    Raises:
        DataError: no such scenario, too few events, or the folder is not empty.
    """
    from rich.table import Table

    from pipeline.datasets.simulator import simulate, write

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there already; name a new folder, or remove it")
    simulation = simulate(scenario, seed, events)
    write(simulation, out)
    table = Table("drift", "from", "until", "users", "items", title=f"{scenario}: {out}", title_justify="left")
    for entry in simulation.truth:
        affected = (str(len(entry["users"])), str(len(entry["items"])))
        table.add_row(entry["kind"], _date(entry["from"]), _date(entry["until"]), *affected)
    return table


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
