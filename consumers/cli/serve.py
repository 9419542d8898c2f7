"""`raie serve`: the HTTP server, run by uvicorn."""

import os
import socket
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from consumers.cli.options import ConfigFile, LogUrl, Root, Settings, configuration
from pipeline.config import Config

app = typer.Typer()


@app.command("serve")
def command(
    root: Root,
    log: LogUrl = None,
    adapters: Annotated[
        str | None, typer.Option("--adapters", help="Adapters store: a folder or a URL. [default: ROOT/adapters]")
    ] = None,
    instance: Annotated[
        str | None,
        typer.Option(
            "--instance",
            help="Name of this server: the same after a restart, different from others'. [default: HOST-PORT]",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Serve recommendations and the control room (a live web page) over HTTP, from the current state of the log.

    Without `access.tokens` this machine alone is answered, and there are no administrative calls (rollback, pin,
    reload). With tokens (`raie token new`) every call needs one: role read for answers and the page, ingest for
    feedback, admin for administrative calls. docs/security.md explains tokens, limits, TLS and proxies.

    With `server.peers` it holds a share of the users, and passes requests for others on to the server that has them.

    It answers from the generation that the log names, and opens another one beside it when that is switched to
    (`raie refresh`), without losing a request. `--adapters` is of the first generation: others have theirs in
    ROOT/generations/N/adapters.

    Example: `raie serve --root root --log sqlite:///log.sqlite --set server.port=8080`
    """
    from consumers.http.exposure import check_exposure
    from consumers.server.peers import Peers

    resolved = configuration(config, settings)
    check_exposure("server", resolved.server.host, resolved.access, os.environ)
    Peers.of(resolved.server, resolved.log.partitions)
    serve(root, log, adapters, instance, resolved)


def serve(
    root: Path,
    log_url: str | None,
    adapters: str | None,
    instance: str | None,
    config: Config,
) -> None:
    """Serve until interrupted.

    Args:
        root: folder of `raie setup`.
        log_url: URL of the log; None: `log.url` of the configuration.
        adapters: root of the adapters store; None: `adapters` below `root`.
        instance: names this server, the same after a restart; None: name of the machine and port.
        config: the whole tree.

    Raises:
        RaieError: the set-up, the log or the adapters cannot be used.
        ConfigError: the address cannot be listened on.
    """
    from consumers.http.listening import access_line, listen, run_http
    from consumers.runtime.generations import base_of
    from consumers.runtime.process_log import process_log
    from consumers.runtime.runner import user_tables_of
    from consumers.runtime.tracing import tracing_of
    from consumers.server.http.app import make_app
    from consumers.server.opening import active_root, open_service
    from consumers.server.service import Edges, Service
    from consumers.server.succession import Succession
    from pipeline.streams import open_log
    from pipeline.telemetry import new_metrics

    with (
        closing(listen(config.server.host, config.server.port, "server")) as listening,
        process_log(config.logging, "server", name := instance or _name_at(listening)) as logger,
        tracing_of(config.tracing, "server", name) as tracing,
    ):
        edges = Edges(partial(open_log, log_url or config.log.url, config.log), time.time, logger.warning)
        host, port = listening.getsockname()[:2]
        metrics = new_metrics()

        def opened(of: Path) -> Service:
            tables = user_tables_of(of, config, f"server-{name}", logger.info)
            # Another generation has its adapters below its own set-up.
            return open_service(of, adapters if of == first else None, tables, name, config, edges, metrics)

        first, present = base_of(root), active_root(root, edges.open_log)
        succession = Succession(present, edges.open_log, opened, logger.info)
        logger.info(f"loading {present}")
        application = make_app(opened(present), config.access, config.server.max_body, succession)
        run_http(
            tracing.asgi(application),
            listening,
            config.access,
            lambda: logger.info(access_line(host, port, config.access)),
        )


def _name_at(listening: socket.socket) -> str:
    """Name of a server without one: no two listen on one port of a machine, and a restarted one listens on the same."""
    return f"{socket.gethostname()}-{listening.getsockname()[1]}"
