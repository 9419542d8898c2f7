"""The commands around the gate; `register` adds them to `raie`."""

from pathlib import Path
from typing import Annotated

import typer

from consumers.cli.stages import ConfigFile, Configure, Instance, Root, Settings
from pipeline.config import Config

Reason = Annotated[str | None, typer.Option("--reason", help="Only those that were refused for this.")]


def register(app: typer.Typer, configure: Configure) -> None:
    """Add the commands.

    Args:
        app: `raie`.
        configure: reads the configuration from `--config` and `--set`.
    """
    _add_gate(app, configure)
    _add_produce(app, configure)
    _add_dead_letters(app, configure)


def _say(words: str) -> None:
    typer.echo(words, err=True)


def _add_gate(app: typer.Typer, configure: Configure) -> None:
    @app.command()
    def gate(root: Root, instance: Instance = "gate-0", config: ConfigFile = None, settings: Settings = None) -> None:
        """Score each interaction before anything learns from it, and say where it belongs. Several share the users."""
        from consumers.cli.gate_commands import run_gate  # noqa: PLC0415

        run_gate(root, instance, configure(config, settings), _say)

    @app.command()
    def lag(config: ConfigFile = None, settings: Settings = None) -> None:
        """Show how far each stage is behind."""
        from consumers.cli.gate_commands import show_lag  # noqa: PLC0415

        show_lag(configure(config, settings), typer.echo)


def _add_produce(app: typer.Typer, configure: Configure) -> None:
    @app.command()
    def produce(
        data: Annotated[Path, typer.Option("--data", help="The log: a folder or file, see docs/datasets.md.")],
        speed: Annotated[
            float | None, typer.Option("--speed", min=1e-9, help="Seconds of event time that pass in one of ours.")
        ] = None,
        rate: Annotated[float | None, typer.Option("--rate", min=1e-9, help="Interactions a second.")] = None,
        config: ConfigFile = None,
        settings: Settings = None,
    ) -> None:
        """Feed a log into the pipeline: items, histories as of set-up, then what came after the set-up slice.

        As fast as it goes, unless --speed or --rate says otherwise.

        Example: `raie produce --data ml-latest-small --rate 200 --set log.url=sqlite:///kept/log.sqlite`
        """
        if speed is not None and rate is not None:
            raise typer.BadParameter("give --speed or --rate, not both")
        _feed(data, configure(config, settings), speed, rate)


def _feed(data: Path, config: Config, speed: float | None, rate: float | None) -> None:
    from rich.console import Console  # noqa: PLC0415

    from consumers.cli.gate_commands import produce as feed  # noqa: PLC0415
    from consumers.cli.terminal import Stages  # noqa: PLC0415

    with Stages(Console(stderr=True)) as stages:
        count = feed(data, config, speed, rate, stages)
    typer.echo(f"{count:,} interactions written to {config.log.url}")


def _add_dead_letters(app: typer.Typer, configure: Configure) -> None:
    letters = typer.Typer(no_args_is_help=True, help="Records that were refused.")
    app.add_typer(letters, name="dead-letters")

    @letters.command("list")
    def show(reason: Reason = None, config: ConfigFile = None, settings: Settings = None) -> None:
        """Show what was refused, why, and from where."""
        from consumers.cli.gate_commands import list_dead_letters  # noqa: PLC0415

        list_dead_letters(configure(config, settings), reason, typer.echo)

    @letters.command("replay")
    def again(reason: Reason = None, config: ConfigFile = None, settings: Settings = None) -> None:
        """Write what was refused where it came from, each once: after what was wrong is put right."""
        from consumers.cli.gate_commands import replay_dead_letters  # noqa: PLC0415

        replay_dead_letters(configure(config, settings), reason, typer.echo)
