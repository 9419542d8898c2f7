"""`raie serve`: the service behind uvicorn, until it is told to stop."""

import socket
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import uvicorn

from consumers.server.http.app import make_app
from consumers.server.service import Edges, Service
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.setup.storage import load_setup
from pipeline.streams import open_log
from pipeline.streams.topics import pipeline_topics
from pipeline.telemetry import new_metrics


def serve(
    root: Path,
    log_url: str | None,
    adapters: str | None,
    instance: str,
    token: str | None,
    config: Config,
    say: Callable[[str], None],
) -> None:
    """Serve until interrupted.

    Args:
        root: folder of `raie setup`.
        log_url: as `open_log` takes it; None: `log.url` of the configuration.
        adapters: root of the adapters store; None: `adapters` below `root`.
        instance: names this server, the same after a restart.
        token: of the administrator, or None for no administrative calls.
        config: the whole tree.
        say: where a person is told.

    Raises:
        RaieError: something of it cannot be used.
        ConfigError: the address cannot be listened on.
    """
    listening = listen(config.server.host, config.server.port)
    setup = load_setup(root)
    edges = Edges(partial(open_log, log_url or config.log.url, config.log), time.time, say)
    with closing(edges.open_log()) as log:
        log.create_topics(pipeline_topics(config.log.partitions))
    service = Service(setup, config, adapters or root / "adapters", instance, edges, new_metrics())
    host, port = listening.getsockname()[:2]
    say(f"http://{host}:{port} (/docs describes the calls); administrative calls are {'on' if token else 'off'}")
    app = make_app(service, token)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """Bind an address.

    Raises:
        ConfigError: it cannot be bound; says what to change.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError([f"server.host {host}, server.port {port}: cannot listen there ({error.strerror})"]) from None
    return listening
