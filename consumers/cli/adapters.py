"""`raie adapters`: what versions there are, whether they are sound, and the way back to an older one."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Adapter versions: list, compare and verify them, or roll back.")

Store = Annotated[str, typer.Option("--adapters", metavar="URL", help="Root of the store.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="VERSION", help="As in r0003_v0007.", show_default=False)]


@app.command("list")
def list_versions(
    adapters: Store,
    region_id: Annotated[int | None, typer.Option("--region", min=0, help="Of this region alone.")] = None,
) -> None:
    """List versions with what they came from, what judged them, and their size.

    Example: `raie adapters list --adapters root/adapters`
    """
    from consumers.cli.adapters_commands import listing  # noqa: PLC0415

    typer.echo(listing(adapters, region_id))


@app.command()
def show(adapters: Store, version: Name) -> None:
    """Show the manifest of a version, as JSON."""
    from consumers.cli.adapters_commands import manifest  # noqa: PLC0415

    typer.echo(manifest(adapters, version))


@app.command()
def diff(adapters: Store, one: Name, other: Name) -> None:
    """Say by how much two versions differ, tensor by tensor."""
    from consumers.cli.adapters_commands import difference  # noqa: PLC0415

    typer.echo(difference(adapters, one, other))


@app.command()
def verify(
    adapters: Store,
    versions: Annotated[list[str] | None, typer.Argument(metavar="[VERSION]...", help="All, if none is named.")] = None,
) -> None:
    """Check every byte of versions; exit code 2 if one is refused."""
    from consumers.cli.adapters_commands import check  # noqa: PLC0415

    report, sound = check(adapters, versions or [])
    typer.echo(report)
    if not sound:
        raise typer.Exit(2)


@app.command()
def rollback(
    adapters: Store,
    log: Annotated[str, typer.Option("--log", metavar="URL", help="The log: sqlite:///PATH.", show_default=False)],
    region_id: Annotated[int, typer.Argument(metavar="REGION", min=0, help="A live region.", show_default=False)],
    to: Annotated[str | None, typer.Option("--to", metavar="VERSION", help="[default: the one before]")] = None,
    by: Annotated[str, typer.Option("--by", help="Who asks, for the record.")] = "command line",
) -> None:
    """Republish an older version of a region as a new revision: servers take it up at once.

    Example: `raie adapters rollback 7 --adapters root/adapters --log sqlite:///log.sqlite`
    """
    from consumers.cli.adapters_commands import put_back  # noqa: PLC0415

    typer.echo(put_back(adapters, log, region_id, to, by))
