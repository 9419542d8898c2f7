"""`raie adapters`: the adapter versions of a store, listed, compared, verified or rolled back."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="List, compare and verify adapter versions, or roll a region back.")

Store = Annotated[
    str,
    typer.Option("--adapters", metavar="URL", help="Adapters store: a folder or a URL.", show_default=False),
]
Name = Annotated[str, typer.Argument(metavar="VERSION", help="Name of a version: r0003_v0007.", show_default=False)]


@app.command("list")
def list_versions(
    adapters: Store,
    region_id: Annotated[int | None, typer.Option("--region", min=0, help="Only versions of this region.")] = None,
) -> None:
    """List versions with their parent, edit, validation and size.

    Example: `raie adapters list --adapters root/adapters`
    """
    from consumers.cli.adapter_report import listing

    typer.echo(listing(adapters, region_id))


@app.command()
def show(adapters: Store, version: Name) -> None:
    """Show the manifest of a version, as JSON.

    Example: `raie adapters show --adapters root/adapters r0003_v0007`
    """
    from consumers.cli.adapter_report import manifest

    typer.echo(manifest(adapters, version))


@app.command()
def diff(adapters: Store, one: Name, other: Name) -> None:
    """Compare two versions tensor by tensor: the norm of each, and of their difference.

    Example: `raie adapters diff --adapters root/adapters r0003_v0006 r0003_v0007`
    """
    from consumers.cli.adapter_report import difference

    typer.echo(difference(adapters, one, other))


@app.command()
def verify(
    adapters: Store,
    versions: Annotated[
        list[str] | None, typer.Argument(metavar="[VERSION]...", help="Names of versions. [default: all]")
    ] = None,
) -> None:
    """Check every file of versions against its hash; exit code 2 if one is damaged.

    Example: `raie adapters verify --adapters root/adapters`
    """
    from consumers.cli.adapter_report import check

    report, sound = check(adapters, versions or [])
    typer.echo(report)
    if not sound:
        raise typer.Exit(2)


@app.command()
def rollback(
    adapters: Store,
    log: Annotated[
        str, typer.Option("--log", metavar="URL", help="Log: sqlite:///PATH or kafka://HOST:PORT.", show_default=False)
    ],
    region_id: Annotated[
        int, typer.Argument(metavar="REGION", min=0, help="Live region; 0: injected items.", show_default=False)
    ],
    to: Annotated[
        str | None, typer.Option("--to", metavar="VERSION", help="Version to restore. [default: the previous one]")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Your name, for the record.")] = "command line",
) -> None:
    """Restore an older version of a region as a new revision; running servers load it at once.

    Example: `raie adapters rollback 7 --adapters root/adapters --log sqlite:///log.sqlite`
    """
    from consumers.cli.adapter_report import roll_region_back

    typer.echo(roll_region_back(adapters, log, region_id, to, by))
