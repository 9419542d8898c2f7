"""The commands of the long-running stages; `register` adds them to `raie`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pipeline.config import Config

Configure = Callable[[Path | None, list[str] | None], Config]

Root = Annotated[Path, typer.Option("--root", help="Folder that `raie setup` made.")]
Instance = Annotated[
    str, typer.Option("--instance", help="Name of this process, the same after a restart, another one than others'.")
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file with the settings that differ. [default: ./config.yaml if it is there]"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, as in `--set log.url=...`; may be repeated."),
]


def register(app: typer.Typer, configure: Configure) -> None:
    """Add the commands.

    Args:
        app: `raie`.
        configure: reads the configuration from `--config` and `--set`.
    """
    _add_stages(app, configure)
    _add_up(app, configure)
    _add_edits(app, configure)


def _say(words: str) -> None:
    typer.echo(words, err=True)


def _add_stages(app: typer.Typer, configure: Configure) -> None:
    @app.command()
    def monitor(
        root: Root, instance: Instance = "monitor-0", config: ConfigFile = None, settings: Settings = None
    ) -> None:
        """Watch what the gate records, and ask for edits. One is active, others of another name stand by."""
        from consumers.cli.stage_commands import run_monitor  # noqa: PLC0415

        run_monitor(root, instance, configure(config, settings), _say)

    @app.command()
    def train(
        root: Root, instance: Instance = "trainer-0", config: ConfigFile = None, settings: Settings = None
    ) -> None:
        """Carry edits out and publish what beats the incumbent. Several share the regions."""
        from consumers.cli.stage_commands import run_trainer  # noqa: PLC0415

        run_trainer(root, instance, configure(config, settings), _say)


def _add_up(app: typer.Typer, configure: Configure) -> None:
    @app.command()
    def up(
        root: Root,
        trainers: Annotated[int, typer.Option("--trainers", min=1, help="How many.")] = 1,
        config: ConfigFile = None,
        settings: Settings = None,
    ) -> None:
        """Run gate, monitor and trainers as processes of this machine until interrupted.

        Example: `raie up --root kept --set log.url=sqlite:///kept/log.sqlite`
        """
        from consumers.cli.stage_commands import run_up  # noqa: PLC0415

        given = ["--config", str(config)] if config else []
        given += [word for setting in settings or () for word in ("--set", setting)]
        run_up(root, trainers, configure(config, settings), given, _say)


def _add_edits(app: typer.Typer, configure: Configure) -> None:
    edits = typer.Typer(invoke_without_command=True, help="Every edit with what came of it.")
    app.add_typer(edits, name="edits")

    @edits.callback()
    def show(
        context: typer.Context,
        follow: Annotated[bool, typer.Option("--follow", help="Go on, and show new ones as they come.")] = False,
        config: ConfigFile = None,
        settings: Settings = None,
    ) -> None:
        """Every edit with what came of it."""
        from consumers.cli.stage_commands import show_edits  # noqa: PLC0415

        if context.invoked_subcommand is None:
            show_edits(configure(config, settings), follow, typer.echo)

    @edits.command("rerun")
    def again(
        edit: Annotated[str, typer.Argument(metavar="EDIT", help="Id of a published edit.")],
        root: Root,
        config: ConfigFile = None,
        settings: Settings = None,
    ) -> None:
        """Carry an edit out again from what it rests on, and compare what comes of it, byte for byte."""
        from consumers.cli.stage_commands import rerun_edit  # noqa: PLC0415

        rerun_edit(root, edit, configure(config, settings), typer.echo)

    @app.command()
    def regions(root: Root, config: ConfigFile = None, settings: Settings = None) -> None:
        """Show the regions as of the newest revision."""
        from consumers.cli.stage_commands import show_regions  # noqa: PLC0415

        show_regions(configure(config, settings), root, typer.echo)
