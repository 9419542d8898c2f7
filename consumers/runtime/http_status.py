"""`/metrics`, `/healthz` and `/readyz` of a stage, over HTTP.

The server runs in a thread of its own and only reads, so a request cannot delay the loop.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from consumers.runtime.health import Health, probe
from pipeline.errors import ConfigError
from pipeline.telemetry import Metrics

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"

Response = tuple[int, str, bytes]
"""HTTP status, content type, body."""


def respond(path: str, metrics: Metrics, health: Health) -> Response:
    """Response of a stage to a GET of a path."""
    path = path.partition("?")[0]
    if path == "/metrics":
        return 200, PROMETHEUS, metrics.expose()
    if path in ("/healthz", "/readyz"):
        code, problem = probe(path, health)
        return code, PLAIN, f"{problem or 'ok'}\n".encode()
    return 404, PLAIN, b"there are /metrics, /healthz and /readyz\n"


@contextmanager
def served(metrics: Metrics, health: Health, host: str, port: int) -> Iterator[int]:
    """Serve metrics and health until the block ends.

    Args:
        metrics: of the process.
        health: of its loop.
        host: address to listen on.
        port: 0 for a free one.

    Yields:
        The port.

    Raises:
        ConfigError: the port cannot be listened on.
    """
    try:
        server = ThreadingHTTPServer((host, port), _handler(metrics, health))
    except OSError as error:
        raise ConfigError([f"consumers.port {port} on {host} cannot be listened on ({error}); set another"]) from error
    thread = Thread(target=server.serve_forever, args=(0.1,), name="status", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(metrics: Metrics, health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, kind, body = respond(self.path, metrics, health)
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Write no access log: a scrape comes every few seconds."""

    return Handler
