"""`raie backup`: a whole pipeline as a folder or a file, while it runs."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import ConfigFile, Root, Settings, configuration

if TYPE_CHECKING:
    from consumers.backup.archive import Manifest

app = typer.Typer()

To = Annotated[
    Path,
    typer.Option("--to", help="New folder, or new file if its name ends in `.zip`.", show_default=False),
]


@app.command()
def backup(root: Root, to: To, config: ConfigFile = None, settings: Settings = None) -> None:
    """Back up set-up, log and adapters of a pipeline, while it runs.

    The backup is of one moment: restored, every stage goes on exactly once from there. Settings are not in it: keep
    `config.yaml` with it. It holds what the log holds of every user, and users who are erased later stay in it.

    Exit status 0: it is complete and was checked. 2: there is none; the message names what is in the way.

    Example: `raie backup --root root --to backups/monday.zip --set log.url=sqlite:///log.sqlite`
    """
    from consumers.backup.archive import opened
    from consumers.backup.backup import back_up

    left_out = back_up(root, configuration(config, settings), to, time.time())
    with opened(to) as archive:
        archive.verify()
        for line in described(archive.manifest, to):
            typer.echo(line)
    for version in left_out:
        typer.echo(f"left out: {version}, which is not in force")
    typer.echo(f"check it at any time with `raie restore --from {to} --check`")


def described(manifest: "Manifest", path: Path) -> Iterator[str]:
    """Describe a backup, line by line."""
    yield f"{path}: {manifest.source} as of {datetime.fromtimestamp(manifest.made_at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    log = manifest.files["log.sqlite"].bytes
    yield f"log {_size(log)}, set-up and adapters {_size(manifest.size - log)}, {len(manifest.files)} files"
    versions = sorted({Path(name).parts[2] for name in manifest.files if Path(name).match("root/adapters/r*/*")})
    numbers = sorted({int(Path(name).parts[2]) for name in manifest.files if Path(name).match("root/generations/*/*")})
    if numbers:
        yield f"with generation{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))} of `raie refresh`"
    yield f"{len(versions)} adapter versions{': ' if versions else ''}{', '.join(versions)}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
