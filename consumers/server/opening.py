"""Opening of a service over a set-up and a log."""

from contextlib import closing
from pathlib import Path

from consumers.runtime.log_binding import bind_log
from consumers.runtime.runner import adapters_of, binding_of
from consumers.runtime.user_tables import UserTables
from consumers.server.service import Edges, Service
from pipeline.config import Config
from pipeline.setup.storage import load_setup
from pipeline.streams.topics import pipeline_topics
from pipeline.telemetry import new_metrics


def open_service(
    root: Path, adapters: str | None, tables: UserTables, instance: str, config: Config, edges: Edges
) -> Service:
    """Open a service.

    Args:
        root: folder of `raie setup`.
        adapters: root of the adapters store; None: `adapters` below `root`.
        tables: kept tables of the users.
        instance: names the service, the same after a restart, different from others'.
        config: the whole tree.
        edges: log, clock and status lines.

    Raises:
        RaieError: the set-up, the log or the adapters cannot be used.
    """
    setup, binding = load_setup(root, config.compute), binding_of(root, config)
    with closing(edges.open_log()) as log:
        log.create_topics(pipeline_topics(config.log.partitions))
        bind_log(log, f"server-{instance}", config, binding)
    return Service(setup, config, adapters or adapters_of(root), tables, instance, edges, new_metrics())
