"""`raie recommend`: answers for many users, written to a file."""

import os
import socket
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import ConfigFile, LogUrl, Root, Settings, configuration, say, terminal
from pipeline.config import Config

if TYPE_CHECKING:
    from consumers.cli.terminal import Stages
    from consumers.server.http.recommend import OptionsBody
    from consumers.server.service import Service

app = typer.Typer()

ALL, STDIN = "all", "-"
"""Values of `--users` that name no file."""

SHOWN = 10
"""Most problems of a request that are shown."""


@app.command("recommend")
def command(
    root: Root,
    users: Annotated[
        str,
        typer.Option(
            "--users",
            metavar="FILE|all",
            help="File with the id of a user in each line (`-`: standard input), or `all` users of the log.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="File to write; it is there once it is complete, or stays as it was.", show_default=False
        ),
    ],
    request: Annotated[
        str,
        typer.Option(
            "--request",
            metavar="JSON|@FILE",
            help="Options of each answer, as in the body of `POST /recommend`: k, filter, at_most, exclude and others.",
        ),
    ] = "{}",
    log: LogUrl = None,
    adapters: Annotated[
        str | None, typer.Option("--adapters", help="Adapters store: a folder or a URL. [default: ROOT/adapters]")
    ] = None,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Recommend items to many users, and write a line of JSON for each: for letters, caches and tables.

    Reads the log up to its end, and answers all users from that one state, as `raie serve` would answer them. It needs
    no server, and disturbs none. A line is an answer of `POST /recommend` with the user's id. Its request id counts in
    feedback. A user whom the log does not know gets what is popular.

    Example: `raie recommend --root root --users all --out answers.jsonl --request '{"k": 20}'`
    """
    from consumers.cli.terminal import Stages

    # It reads all users itself, and asks no server.
    alone = ["server.peers=[]", "server.place=null"]
    resolved = configuration(config, [*(settings or ()), *([] if log is None else [f"log.url={log}"]), *alone])
    with Stages(terminal().err) as stages:
        recommend(root, users, out, request, adapters, resolved, stages)


def recommend(
    root: Path, users: str, out: Path, request: str, adapters: str | None, config: Config, progress: "Stages"
) -> None:
    """Write answers for users; arguments are those of the command.

    Raises:
        RaieError: the set-up, the log, the users or the request cannot be used.
    """
    from consumers.runtime.user_tables import UserTables
    from consumers.server.answers_file import catch_up, write_answers
    from consumers.server.opening import active_root, open_service
    from consumers.server.service import Edges
    from pipeline.streams import open_existing_log

    options = parse_options(request)
    edges = Edges(partial(open_existing_log, config.log.url, config.log), time.time, say)
    # Beside any server and any other run.
    instance = f"recommend-{socket.gethostname()}-{os.getpid()}"
    root = active_root(root, edges.open_log)
    progress(f"loading {root}", 0, 0)
    with closing(open_service(root, adapters, UserTables(None), instance, config, edges)) as service:
        progress(f"reading {config.log.url}", 0, 0)
        catch_up(service)
        named = users_of(users, service)
        counts = write_answers(service, named, options, out, config.server.batch_size, progress)
        revision = service.live.view.revision if options.revision is None else options.revision
    by = ", ".join(f"{number:,} by {name}" for name, number in sorted(counts.items()))
    typer.echo(f"{len(named):,} answers written to {out}, as of revision {revision} ({by or 'no user'})")


def users_of(users: str, service: "Service") -> list[str]:
    """Ids of the users of `--users`."""
    from consumers.server.answers_file import users_in

    if users == ALL:
        return service.users.ids()
    if users == STDIN:
        return users_in(sys.stdin, "standard input")
    with Path(users).open(encoding="utf-8") as file:
        return users_in(file, users)


def parse_options(request: str) -> "OptionsBody":
    """Parse a `--request`: JSON, or `@` and the path of a file with it.

    Raises:
        DataError: it is no JSON object with the options of an answer.
    """
    import json

    from pydantic import ValidationError

    from consumers.http.bodies import parse_json
    from consumers.server.http.recommend import OptionsBody
    from pipeline.errors import DataError

    text = Path(request[1:]).read_bytes() if request.startswith("@") else request.encode("utf-8", "surrogateescape")
    try:
        return OptionsBody.model_validate(parse_json(text))
    except json.JSONDecodeError as error:
        raise DataError(f"--request is no JSON: {error}") from None
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:SHOWN]]
        raise DataError("--request has problems:\n" + "\n".join(f"  - {problem}" for problem in problems)) from None
