"""`/metrics`, `/healthz` and `/readyz` of one stage, over HTTP.

Healthy is a loop that still turns; ready is one whose partitions are restored and whose log is within reach. The
server runs in a thread of its own and only reads, so whoever asks cannot hold the loop up.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from consumers.runtime.health import Progress
from pipeline.errors import ConfigError
from pipeline.telemetry import Metrics

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"

Answer = tuple[int, str, bytes]
"""HTTP status, content type, body."""


class Status:
    """What is answered about a stage.

    Args:
        metrics: of its process.
        progress: of its loop.
        clock: the monotonic seconds that `progress` counts in.
        patience: seconds without a turn after which a loop counts as stuck.
    """

    def __init__(self, metrics: Metrics, progress: Progress, clock: Callable[[], float], patience: float) -> None:
        self._metrics = metrics
        self._progress = progress
        self._clock = clock
        self._patience = patience

    def answer(self, path: str) -> Answer:
        """Answer a GET."""
        answers = {"/metrics": self._exposed, "/healthz": self._health, "/readyz": self._readiness}
        found = answers.get(path.partition("?")[0])
        return found() if found else (404, PLAIN, b"there are /metrics, /healthz and /readyz\n")

    def _exposed(self) -> Answer:
        return 200, PROMETHEUS, self._metrics.expose()

    def _health(self) -> Answer:
        still = self._clock() - self._progress.turned
        if still > self._patience:
            return 503, PLAIN, f"no turn for {still:.0f} s, at most {self._patience:g} are usual\n".encode()
        return 200, PLAIN, b"ok\n"

    def _readiness(self) -> Answer:
        if self._progress.ready:
            return 200, PLAIN, b"ok\n"
        return 503, PLAIN, b"partitions are not restored, or the log is out of reach\n"


@contextmanager
def served(status: Status, host: str, port: int) -> Iterator[int]:
    """Answer until the block ends.

    Args:
        status: answers.
        host: address to listen on.
        port: 0 for a free one.

    Yields:
        The port.

    Raises:
        ConfigError: the port cannot be listened on.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, kind, body = status.answer(self.path)
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: a scrape every few seconds is no news."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
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
