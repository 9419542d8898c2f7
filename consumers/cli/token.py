"""`raie token`: tokens for the clients of `raie serve` and `raie ingest`."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Make tokens for the clients of `raie serve` and `raie ingest`.")


@app.callback()
def group() -> None:
    """Keep `new` a command of a group, though it is the only one."""


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the client, as acts are recorded under it.")],
    roles: Annotated[
        list[str],
        typer.Option(
            "--role",
            metavar="ROLE",
            help="read (answers and the page), ingest (events, items, feedback) or admin (rollback, pin, erasure); may "
            "be repeated.",
            show_default=False,
        ),
    ],
) -> None:
    """Make a token, and show it once with the lines that the configuration needs.

    The token comes on stdout, the rest on stderr, as YAML: `2>> config.yaml` adds the lines to a file without a section
    `access`. The configuration has the token's hash alone, so the token cannot be shown again. Several tokens stand
    beside each other in `access.tokens`; a removed one is refused after the next start of the service.

    Example: `raie token new shop --role read --role ingest`
    """
    token, lines = made(name, roles)
    typer.echo(token)
    typer.echo(lines, err=True)


def made(name: str, roles: list[str]) -> tuple[str, str]:
    """Make a token; return it, and the lines that the configuration needs, as YAML with comments.

    Raises:
        ConfigError: there is no such role, or the name cannot be used.
    """
    from consumers.http.tokens import new_token, sha256_of
    from pipeline.config import load_config

    token = new_token()
    setting = f"{{{name}: {{roles: [{', '.join(roles)}], sha256: {sha256_of(token)}}}}}"
    load_config(None, [f"access.tokens={setting}"])
    lines = (
        "# The token is shown this once. Clients send it as `Authorization: Bearer TOKEN`.\n"
        "# The configuration needs these lines, beside those of other tokens:\n"
        f"access:\n  tokens:\n    {setting[1:-1]}\n"
        f"# or, for this token alone, this variable: RAIE__ACCESS__TOKENS='{setting}'"
    )
    return token, lines
