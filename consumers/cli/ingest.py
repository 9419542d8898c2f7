"""`raie ingest`: the HTTP service that writes events and items into the log."""

import os
import time
from contextlib import closing

import typer

from consumers.cli.options import ConfigFile, Instance, Say, Settings, configuration, say
from pipeline.config import Config
from pipeline.errors import ConfigError

app = typer.Typer()


@app.command("ingest")
def command(instance: Instance = "ingest-0", config: ConfigFile = None, settings: Settings = None) -> None:
    """Take batches of events and items over HTTP (`POST /events`, `POST /items`), and write them into the log.

    With the environment variable RAIE_INGEST_TOKEN both calls need this bearer token.

    Example: `raie ingest --set log.url=sqlite:///log.sqlite --set ingest.port=8081`
    """
    ingest(instance, os.environ.get("RAIE_INGEST_TOKEN") or None, configuration(config, settings), say)


def ingest(instance: str, token: str | None, config: Config, say: Say) -> None:
    """Serve until interrupted.

    Args:
        instance: names this service, the same after a restart.
        token: required by both calls; None: no token.
        config: sections `ingest`, `data` and `log`.
        say: shows a status line.

    Raises:
        RaieError: the log cannot be used.
        ConfigError: the address cannot be listened on, or the stages run in lockstep.
    """
    from consumers.http.listening import listen, run_http
    from consumers.ingest.http.app import make_app
    from consumers.ingest.service import IngestService
    from consumers.runtime.runner import bound_log_of
    from pipeline.telemetry import new_metrics

    if config.consumers.lockstep:
        raise ConfigError(["consumers.lockstep is on, which takes events of `raie produce` alone: turn it off"])
    with closing(listen(config.ingest.host, config.ingest.port, "ingest")) as listening:
        host, port = listening.getsockname()[:2]
        log = bound_log_of(config, f"ingest-{instance}")
        with closing(IngestService(log, instance, config, new_metrics(), time.time, time.monotonic)) as service:
            application = make_app(service, token, config.ingest)
            access = "with a token" if token else "open to everyone who reaches it"
            run_http(application, listening, lambda: say(f"http://{host}:{port} (/docs: the API); {access}"))
