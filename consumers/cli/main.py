"""The program `raie`: one module a command group, assembled here.

Errors that a person can fix end with one message on stderr and exit code 2 (4: another process took the place on the
log), an interrupt with exit code 130. A new
command is a module with a `typer.Typer` named `app`, and its name in `COMMANDS` or `GROUPS`.
"""

import os
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from adapters_store.errors import StoreError
from pipeline.build_info import PROGRAM, version_of
from pipeline.errors import RaieError

WRONG, INTERRUPTED = 2, 130
"""Exit codes."""

COMMANDS = (
    "demo",
    "simulate",
    "replay",
    "report",
    "explain",
    "setup",
    "produce",
    "ingest",
    "gate",
    "monitor",
    "train",
    "up",
    "serve",
    "recommend",
    "lag",
    "erase",
    "backup",
    "restore",
    "retention",
    "acts",
    "regions",
)
"""Modules of one command each, in the order of `raie --help`."""

GROUPS = ("refresh", "data", "topics", "events", "histories", "edits", "adapters", "dead_letters", "token")
"""Modules of several commands under the module's name."""


class PlainErrors(TyperGroup):
    """Shows an expected error as one message; a traceback is for defects alone."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (RaieError, StoreError, OSError) as error:
            typer.echo(f"raie: {error}", err=True)
            raise typer.Exit(getattr(error, "exit_status", WRONG)) from None
        except KeyboardInterrupt:
            typer.echo("raie: interrupted; run the same command again", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="raie",
    cls=PlainErrors,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Keep a recommender up to date while interactions stream in: replay a recorded log, or run the live pipeline.",
    epilog="Start with `raie demo`. Every setting is in config.yaml, with its default and meaning.",
)
for name in COMMANDS:
    app.add_typer(import_module(f"consumers.cli.{name}").app)
for name in GROUPS:
    app.add_typer(import_module(f"consumers.cli.{name}").app, name=name.replace("_", "-"))


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    """Keep a recommender up to date while interactions stream in."""
    if version:
        typer.echo(f"{PROGRAM} {version_of(PROGRAM)}")
        raise typer.Exit


def main() -> None:
    """Run `raie` with the arguments of the process."""
    # cuBLAS reads it when it starts, and gives the same sums twice only then; nothing else reads it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    app(prog_name="raie")


if __name__ == "__main__":
    main()
