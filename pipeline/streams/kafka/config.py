"""Translation of the log's settings to those of kafka-python's clients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from kafka.net.compat import KafkaNetClient

from pipeline.config import LogSettings
from pipeline.errors import LogError

C = TypeVar("C")
"""A client class of kafka-python."""

REQUEST_SECONDS = 30.0
"""Maximum seconds that one request waits for its answer; `log.commit_seconds` may be shorter."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A broker and the settings of the connection.

    Attributes:
        servers: `host:port` each; one available server is enough.
        settings: the log's settings.
    """

    servers: tuple[str, ...]
    settings: LogSettings

    def named(self, name: str) -> str:
        """Return the name of a topic, group or producer with the configured prefix."""
        return self.settings.prefix + name

    def client(self) -> dict[str, Any]:
        """Return the settings of every client."""
        settings = self.settings
        return {
            "bootstrap_servers": list(self.servers),
            "client_id": "raie",
            "request_timeout_ms": milliseconds(min(REQUEST_SECONDS, settings.commit_seconds)),
            "bootstrap_timeout_ms": milliseconds(settings.commit_seconds),
            "reconnect_backoff_max_ms": 1000,
            "retry_backoff_ms": 20,
            "security_protocol": settings.security_protocol,
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": settings.sasl_password,
            "ssl_cafile": settings.ssl_cafile,
            "ssl_certfile": settings.ssl_certfile,
            "ssl_keyfile": settings.ssl_keyfile,
        }

    def reader(self) -> dict[str, Any]:
        """Return the settings of a reading client: committed records only, no automatic offsets."""
        return self.client() | {
            "isolation_level": "read_committed",
            "auto_offset_reset": "none",
            "enable_auto_commit": False,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }

    def member(self, group: str, instance: str) -> dict[str, Any]:
        """Return the additional settings of a group member."""
        session = self.settings.session_seconds
        return {
            "group_id": self.named(group),
            "group_instance_id": instance,
            "session_timeout_ms": milliseconds(session),
            # A rebalance, or a newer instance, is noticed within a twentieth of a session.
            "heartbeat_interval_ms": milliseconds(session / 20),
            "max_poll_interval_ms": milliseconds(self.settings.poll_seconds),
        }

    def producer(self, transactional_id: str) -> dict[str, Any]:
        """Return the settings of a transactional producer."""
        deadline = milliseconds(self.settings.commit_seconds)
        # Full batches are sent at once, the rest when the transaction is flushed, which takes less than this. Without a
        # linger time the client sends a request for every few records.
        linger = deadline // 10
        client = self.client()
        return client | {
            "request_timeout_ms": min(client["request_timeout_ms"], deadline - linger),
            "transactional_id": self.named(transactional_id),
            "enable_idempotence": True,
            "acks": "all",
            "linger_ms": linger,
            "batch_size": 256 * 1024,
            "max_request_size": self.settings.max_record_bytes,
            "max_block_ms": deadline,
            "delivery_timeout_ms": deadline,
            # An open transaction of a dead producer blocks readers for this time, unless its id is used again.
            "transaction_timeout_ms": deadline,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }


def make_client(kind: Callable[..., C], settings: dict[str, Any]) -> C:
    """Create a client of kafka-python.

    Its constructor connects to a broker; if that fails it leaves a thread and sockets open, so a stage that waits hours
    for its broker would run out of them. They are closed here.
    """
    opened: list[KafkaNetClient] = []

    def open_network(**arguments: Any) -> KafkaNetClient:
        opened.append(KafkaNetClient(**arguments))
        return opened[-1]

    try:
        return kind(**settings, kafka_client=open_network)
    except BaseException:
        for network in opened:
            network.close()
        raise


def parse_url(url: str, settings: LogSettings) -> Connection:
    """Parse a `kafka://` URL.

    Raises:
        LogError: if it names no broker.
    """
    servers = tuple(part for part in url.removeprefix("kafka://").rstrip("/").split(",") if part)
    for server in servers:
        host, colon, port = server.rpartition(":")
        if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65_536):
            raise LogError(f"{url}: {server!r} is no broker; write kafka://host:port[,host:port]")
    if not servers:
        raise LogError(f"{url} names no broker; write kafka://host:port[,host:port]")
    return Connection(servers, settings)


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds, at least one."""
    return max(1, round(seconds * 1000))
