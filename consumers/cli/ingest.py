"""`raie ingest`: the HTTP service that writes events and items into the log."""

import os
import time
from contextlib import closing

import typer

from consumers.cli.options import ConfigFile, Instance, Settings, configuration
from pipeline.config import Config
from pipeline.errors import ConfigError

app = typer.Typer()


@app.command("ingest")
def command(instance: Instance = "ingest-0", config: ConfigFile = None, settings: Settings = None) -> None:
    """Take batches of events and items over HTTP (`POST /events`, `POST /items`), and write them into the log.

    Without `access.tokens` this machine alone is answered. With tokens (`raie token new`) both calls need one with the
    role ingest, and records that erase users one with ingest and admin. docs/security.md explains tokens, limits, TLS
    and proxies.

    Example: `raie ingest --set log.url=sqlite:///log.sqlite --set ingest.port=8081`
    """
    from consumers.http.exposure import check_exposure

    resolved = configuration(config, settings)
    check_exposure("ingest", resolved.ingest.host, resolved.access, os.environ)
    ingest(instance, resolved)


def ingest(instance: str, config: Config) -> None:
    """Serve until interrupted.

    Args:
        instance: names this service, the same after a restart.
        config: sections `ingest`, `access`, `data` and `log`.

    Raises:
        RaieError: the log cannot be used.
        ConfigError: the address cannot be listened on, or the stages run in lockstep.
    """
    from consumers.http.listening import access_line, listen, run_http
    from consumers.ingest.http.app import make_app
    from consumers.ingest.service import IngestService
    from consumers.runtime.process_log import process_log
    from consumers.runtime.runner import bound_log_of
    from consumers.runtime.tracing import tracing_of
    from pipeline.telemetry import new_metrics

    if config.consumers.lockstep:
        raise ConfigError(["consumers.lockstep is on, which takes events of `raie produce` alone: turn it off"])
    with (
        closing(listen(config.ingest.host, config.ingest.port, "ingest")) as listening,
        process_log(config.logging, "ingest", instance) as logger,
        tracing_of(config.tracing, "ingest", instance) as tracing,
    ):
        host, port = listening.getsockname()[:2]
        log = bound_log_of(config, f"ingest-{instance}")
        with closing(
            IngestService(log, instance, config, new_metrics(), time.time, time.monotonic, tracing.traceparent)
        ) as service:
            application = make_app(service, config.access, config.ingest)
            run_http(
                tracing.asgi(application),
                listening,
                config.access,
                lambda: logger.info(access_line(host, port, config.access)),
            )
