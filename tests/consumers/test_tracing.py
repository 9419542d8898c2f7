"""Traces: continued from a producer's record or a request to what follows, and absent where nobody asked for them."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="traces: no OpenTelemetry here (pip install -e '.[otel]')")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from consumers.runtime.opentelemetry_tracing import OpenTelemetryTracing
from consumers.runtime.stage import Output
from consumers.runtime.tracing import UNTRACED, tracing_of
from pipeline.config import TracingSettings
from pipeline.errors import ConfigError
from pipeline.streams.kafka.serialization import decode_record, encode_headers
from pipeline.streams.topics import EDITS, GATED

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PRODUCERS = f"00-{TRACE}-{SPAN}-01"


class Traced:
    """Tracing of a process, and the spans that it has ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = OpenTelemetryTracing(self.provider)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def traced() -> Iterator[Traced]:
    one = Traced()
    yield one
    one.provider.shutdown()


def output(topic: str = GATED, traceparent: str | None = PRODUCERS, since: float | None = 1.6e9) -> Output:
    return Output(topic, {}, "k", 0.0, since=since, traceparent=traceparent)


def header_of(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def test_a_step_continues_the_trace_of_the_record_that_it_follows_from(traced: Traced) -> None:
    with traced.tracing.steps([output(), output(EDITS)]) as written:
        assert traced.spans == []
    gated, decided = traced.spans
    assert [gated.name, decided.name] == ["gated", "decided"]
    assert list(written) == [header_of(gated), header_of(decided)]
    assert gated.parent is not None and f"{gated.parent.span_id:016x}" == SPAN
    assert str(written[0]).split("-")[1] == TRACE
    assert gated.start_time == 1_600_000_000 * 10**9


@pytest.mark.parametrize("came", [None, "", "nonsense", f"00-{'0' * 32}-{SPAN}-01"])
def test_a_step_begins_no_trace(came: str | None, traced: Traced) -> None:
    with traced.tracing.steps([output(traceparent=came)]) as written:
        pass
    assert list(written) == [None] and traced.spans == []


def test_what_a_producer_does_not_sample_is_passed_on_and_not_exported(traced: Traced) -> None:
    with traced.tracing.steps([output(traceparent=f"00-{TRACE}-{SPAN}-00")]) as (written,):
        pass
    assert traced.spans == []
    assert written is not None and written.startswith(f"00-{TRACE}-") and written.endswith("-00")


def test_a_step_that_is_not_committed_is_a_failed_span(traced: Traced) -> None:
    with pytest.raises(TimeoutError), traced.tracing.steps([output()]):
        raise TimeoutError
    assert [span.status.status_code for span in traced.spans] == [StatusCode.ERROR]


def requested(application: Any, path: str) -> None:
    """Send a GET with a trace context to an ASGI application."""
    headers = [(b"traceparent", PRODUCERS.encode())]
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "query_string": b"", "scheme": "http"}
    scope |= {
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 9),
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Any) -> None:
        pass

    asyncio.run(application(scope, receive, send))


def test_a_request_continues_its_trace_to_what_it_writes_and_a_scrape_is_no_span(traced: Traced) -> None:
    within: list[str | None] = []

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        within.append(traced.tracing.traceparent())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    requested(traced.tracing.asgi(application), "/metrics")
    assert within.pop() is None and traced.spans == []
    requested(traced.tracing.asgi(application), "/events")
    assert str(within[0]).startswith(f"00-{TRACE}-")
    assert [f"{span.get_span_context().trace_id:032x}" for span in traced.spans] == [TRACE]  # type: ignore[union-attr]
    assert traced.tracing.traceparent() is None


def message(*headers: tuple[str, bytes | None]) -> Any:
    return SimpleNamespace(partition=0, offset=0, key=b"k", value=b"{}", headers=list(headers), timestamp=5)


def test_a_record_carries_its_trace_in_a_header() -> None:
    assert decode_record(GATED, message(*encode_headers(1, 2, PRODUCERS))).traceparent == PRODUCERS
    assert encode_headers(1, 2) == encode_headers(1, 2, None) and len(encode_headers(1, 2)) == 2


@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe", b"0" * 10_000])
def test_a_header_that_is_no_trace_costs_no_record(value: bytes | None) -> None:
    assert decode_record(GATED, message(("traceparent", value))).traceparent is None


def test_without_the_setting_a_trace_is_passed_on_and_no_sdk_is_imported() -> None:
    with UNTRACED.steps([output(), output(traceparent=None)]) as written:
        assert list(written) == [PRODUCERS, None]
    program = (
        "import sys, consumers.runtime.runner, consumers.http.listening, consumers.ingest.service;"
        "from consumers.runtime.tracing import tracing_of; from pipeline.config import TracingSettings;"
        "tracing_of(TracingSettings(), 'gate', 'g').__enter__();"
        # FastAPI imports the API by itself where it is there.
        "parts = ('opentelemetry.sdk', 'opentelemetry.exporter', 'opentelemetry.instrumentation');"
        "sys.exit(any(name.startswith((*parts, 'consumers.runtime.opentelemetry')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_the_extra_the_setting_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "consumers.runtime.opentelemetry_tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(ConfigError, match=r"raie-stream\[otel\]"),
        tracing_of(TracingSettings(enabled=True), "gate", "g"),
    ):
        pass
