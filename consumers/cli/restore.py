"""`raie restore`: a backup as a pipeline again, or checked alone."""

from pathlib import Path
from typing import Annotated

import typer

from consumers.cli.backup import described
from consumers.cli.options import ConfigFile, Settings, configuration

app = typer.Typer()

From = Annotated[Path, typer.Option("--from", help="Folder or file that `raie backup` wrote.", show_default=False)]
NewRoot = Annotated[
    Path | None, typer.Option("--root", help="New folder for the set-up and the adapters.", show_default=False)
]
Check = Annotated[bool, typer.Option("--check", help="Restore nothing: check every file of the backup.")]


@app.command()
def restore(
    source: From, root: NewRoot = None, check: Check = False, config: ConfigFile = None, settings: Settings = None
) -> None:
    """Restore a backup into a new folder and a new log, or only check it.

    `log.url` names the log, which must not exist yet. It may be of the other kind: a backup of an embedded log can go
    to a Kafka broker, and back. Every record keeps its offset. On Kafka the topics are created under `log.prefix`.

    Before anything is written, every file is compared with its sha256 in the backup.

    Exit status 0: it is restored, or undamaged. 2: it is not; the message names each damaged file.

    Example: `raie restore --from backups/monday.zip --root root2 --set log.url=sqlite:///log2.sqlite`
    """
    from consumers.backup.archive import opened
    from consumers.backup.restore import restore as restore_to

    if root is None and not check:
        raise typer.BadParameter("name a new folder by --root, or give --check")
    with opened(source) as archive:
        if root is None:
            archive.verify()
        else:
            resolved = configuration(config, settings)
            restore_to(archive, root, resolved)
        for line in described(archive.manifest, source):
            typer.echo(line)
    if root is None:
        typer.echo("every file is undamaged")
    else:
        typer.echo(f"restored to {root} and {resolved.log.url}: start the stages with `raie up --root {root}`")
