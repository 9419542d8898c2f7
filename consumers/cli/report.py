"""`raie report`: HTML pages from finished runs."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs of `raie replay`.")],
    out: Annotated[Path, typer.Option("--out", help="Page that compares several runs.")] = Path("comparison.html"),
) -> None:
    """Build the report of a run again from its files, or one page that compares several runs.

    Example: `raie report runs/ml`

    With two runs: `raie report runs/ml runs/mt --out comparison.html`
    """
    from pipeline.evaluation.report import build_comparison, build_report

    page = build_report(folders[0]) if len(folders) == 1 else build_comparison(folders, out)
    typer.echo(f"Report: {page}")
