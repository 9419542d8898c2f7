"""Opening of a service over a set-up and a log."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from consumers.runtime.generations import folder_of, log_in, read_generations
from consumers.runtime.runner import adapters_of, binding_of, bound_log
from consumers.runtime.user_tables import UserTables
from consumers.server.service import Edges, Service
from pipeline.config import Config
from pipeline.setup.storage import load_setup
from pipeline.streams.interface import Log
from pipeline.telemetry import Metrics, new_metrics


def open_service(
    root: Path,
    adapters: str | None,
    tables: UserTables,
    instance: str,
    config: Config,
    edges: Edges,
    metrics: Metrics | None = None,
) -> Service:
    """Open a service, which sees the log by the generation of the set-up.

    Args:
        root: folder of the set-up.
        adapters: root of the adapters store; None: `adapters` below `root`.
        tables: kept tables of the users.
        instance: names the service, the same after a restart, different from others'.
        config: the whole tree.
        edges: log, clock and status lines.
        metrics: of the process; None: new ones.

    Raises:
        RaieError: the set-up, the log or the adapters cannot be used.
    """
    setup, binding = load_setup(root, config.compute), binding_of(root, config)
    with closing(bound_log(edges.open_log(), config, f"server-{instance}", binding)) as log:
        number = log.generation
    own = replace(edges, open_log=lambda: log_in(edges.open_log(), number))
    return Service(setup, config, adapters or adapters_of(root), tables, instance, own, metrics or new_metrics())


def active_root(root: Path, open_log: Callable[[], Log]) -> Path:
    """Folder of the set-up that answers, given that of any generation."""
    with closing(open_log()) as log:
        return folder_of(root, read_generations(log).active)
