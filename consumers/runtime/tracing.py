"""Traces: a step that follows from a traced record is a span of its trace, and its record carries the trace on.

By default nothing of OpenTelemetry is imported here, and the trace context of a record is passed on as it came.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from consumers.runtime.stage import Output
from pipeline.config import TracingSettings
from pipeline.errors import ConfigError

Traceparents = Sequence[str | None]
"""W3C trace context of each record of a transaction, or None."""


class Tracing:
    """Tracing of a process that takes no part in traces."""

    def steps(self, outputs: Sequence[Output]) -> AbstractContextManager[Traceparents]:
        """Enclose the transaction of some records; return the trace context to write with each of them."""
        return nullcontext([output.traceparent for output in outputs])

    def traceparent(self) -> str | None:
        """Return the trace context of the present request, or None."""
        return None

    def asgi(self, application: Any) -> Any:
        """Return an application whose requests are spans."""
        return application


UNTRACED = Tracing()
"""Tracing of a process that was asked for none."""


@contextmanager
def tracing_of(settings: TracingSettings, stage: str, instance: str) -> Iterator[Tracing]:
    """Trace a process until the block ends; what is not exported by then is exported at its end.

    Args:
        settings: section `tracing`.
        stage: stage or service of the process, `service.name` of its spans beside the program.
        instance: its name, `service.instance.id`.

    Raises:
        ConfigError: traces are asked for, and OpenTelemetry is not installed.
    """
    if not settings.enabled:
        yield UNTRACED
        return
    try:
        from consumers.runtime.opentelemetry_tracing import opened  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ConfigError(
            [f"tracing.enabled is true, and {error.name} is not installed: pip install 'raie-stream[otel]'"]
        ) from error
    with opened(stage, instance) as tracing:
        yield tracing
