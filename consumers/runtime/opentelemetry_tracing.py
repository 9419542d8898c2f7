"""Traces by OpenTelemetry; imported only where `tracing.enabled` asks for it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from consumers.runtime.freshness import ENDS
from consumers.runtime.stage import Output
from consumers.runtime.tracing import Traceparents, Tracing
from pipeline.build_info import PROGRAM, version_of

UNWATCHED = "/healthz,/readyz,/metrics"
"""Paths whose requests are no spans: a scrape comes every few seconds."""

_CONTEXT = TraceContextTextMapPropagator()


class OpenTelemetryTracing(Tracing):
    """Spans of a process. Stages continue traces and begin none; a request without one begins one.

    Args:
        provider: of the process.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(PROGRAM, version_of(PROGRAM))

    @contextmanager
    def steps(self, outputs: Sequence[Output]) -> Iterator[Traceparents]:
        """See `Tracing`; a span reaches from the record that is followed to the commit of what follows from it."""
        spans = [self._begun(output) for output in outputs]
        try:
            yield [None if span is None else _traceparent(span) for span in spans]
        except BaseException as error:
            for span in filter(None, spans):
                span.set_status(Status(StatusCode.ERROR, f"not committed: {type(error).__name__}"))
            raise
        finally:
            for span in filter(None, spans):
                span.end()

    def traceparent(self) -> str | None:
        """See `Tracing`."""
        carrier: dict[str, str] = {}
        _CONTEXT.inject(carrier)
        return carrier.get("traceparent")

    def asgi(self, application: Any) -> Any:
        """See `Tracing`; the span of a request continues the trace of its header `traceparent`."""
        return OpenTelemetryMiddleware(
            application, excluded_urls=UNWATCHED, tracer_provider=self._provider, exclude_spans=["receive", "send"]
        )

    def _begun(self, output: Output) -> Span | None:
        if output.traceparent is None:
            return None
        parent = _CONTEXT.extract({"traceparent": output.traceparent})
        if not get_current_span(parent).get_span_context().is_valid:
            return None
        began = time.time() if output.since is None else output.since
        span: Span = self._tracer.start_span(
            ENDS.get(output.topic, output.topic),
            parent,
            SpanKind.PRODUCER,
            {"messaging.destination.name": output.topic},
            start_time=int(began * 1e9),
        )
        return span


@contextmanager
def opened(stage: str, instance: str) -> Iterator[OpenTelemetryTracing]:
    """Trace a process; the exporter sends OTLP over HTTP, and its environment variables say where to."""
    named = {"service.namespace": "raie", "service.name": f"raie-{stage}", "service.instance.id": instance}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield OpenTelemetryTracing(provider)
    finally:
        provider.shutdown()


def _traceparent(span: Span) -> str | None:
    carrier: dict[str, str] = {}
    _CONTEXT.inject(carrier, set_span_in_context(span))
    return carrier.get("traceparent")
