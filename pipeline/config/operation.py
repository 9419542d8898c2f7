"""The sections of a running pipeline: stages, server, canary and the log between them."""

from typing import Literal

from pydantic import Field

from pipeline.config.section import Section


class ConsumerSettings(Section):
    """How the long-running stages take their turns."""

    poll_timeout: float = Field(0.5, gt=0, le=60, description="seconds that a poll waits for the first record")
    backoff: float = Field(0.5, gt=0, description="seconds before a log that was out of reach is opened anew")
    longest_backoff: float = Field(30.0, gt=0, description="seconds up to which that pause doubles")
    lockstep: bool = Field(
        False,
        description=(
            "whether gate, monitor and trainers wait for each other, so that the ledger is that of a replay; takes "
            "one gate"
        ),
    )
    snapshot_events: int = Field(
        20_000,
        ge=1,
        description="events after which monitor and gates write their state down; a restart looks at these anew",
    )
    statistics_events: int = Field(
        200,
        ge=1,
        description="events after which the monitor tells the log how each region does: what the server's page draws",
    )
    host: str = Field("127.0.0.1", description="address of /metrics, /healthz and /readyz of a stage")
    port: int = Field(0, ge=0, le=65535, description="port of these; 0: a free one, which the process names")
    stuck_after: float = Field(60.0, gt=0, description="seconds without a turn after which /healthz says so")


class ServerSettings(Section):
    """How `raie serve` answers."""

    host: str = Field("127.0.0.1", description="address to listen on; others than this machine's own need a proxy")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0: a free one")
    batch_size: int = Field(256, ge=1, description="most requests answered in one batch")
    waiting: int = Field(4096, ge=1, description="requests that may wait; one more is answered 503")
    adapter_memory: int = Field(
        512, ge=1, description="MB for adapters that are ready to answer; beyond, the least recently used make room"
    )


class CanarySettings(Section):
    """A new version of a region for some of its users first, until their clicks have said enough."""

    share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of users who are answered by it first; 0: everybody at once. Trainers read it",
    )
    error: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="chance, at most, that one that is clicked as often as the one before is taken for better or worse",
    )
    answers: int = Field(
        10_000, ge=1, description="shown answers of both versions after which one that is not worse is everybody's"
    )


class LogSettings(Section):
    """The log between the stages, and how a Kafka broker is talked to."""

    url: str = Field(
        "sqlite:///raie/log.sqlite",
        description=(
            "`sqlite:///relative/path` or `sqlite:////absolute/path`: a file shared by the processes of one machine; "
            "`kafka://host:port[,host:port]`: a broker"
        ),
    )
    partitions: int = Field(
        8,
        ge=1,
        le=10_000,
        description="how far gates and trainers can spread: partitions of topics that are shared out",
    )
    retention_days: float = Field(
        90.0,
        gt=0,
        description=(
            "Kafka: days for which interactions, gated, feedback and dead-letters are kept; longer than the oldest "
            "window that an edit may train on"
        ),
    )
    prefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Kafka: put before the names of topics, groups and producers; tells pipelines on one broker apart",
    )
    replication_factor: int = Field(1, ge=1, description="Kafka: copies of each partition; 3 where nodes may be lost")
    max_record_bytes: int = Field(
        1_048_576, ge=1024, description="Kafka: longest record, key and frame included; at most the broker's limit"
    )
    commit_seconds: float = Field(
        30.0, gt=0, description="Kafka: how long a transaction may take to be written and committed"
    )
    close_seconds: float = Field(5.0, gt=0, description="Kafka: how long a producer or consumer may take to let go")
    session_seconds: float = Field(
        10.0,
        gt=0,
        description="Kafka: silence of a consumer after which its partitions go to others; a broker's least is 6",
    )
    poll_seconds: float = Field(
        300.0, gt=0, description="Kafka: time between two polls of a consumer after which its partitions go to others"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Kafka: how the connection is secured"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="Kafka: how a user proves itself, for SASL_PLAINTEXT and SASL_SSL"
    )
    sasl_username: str | None = Field(None, description="Kafka: name of the user")
    sasl_password: str | None = Field(
        None, repr=False, description="Kafka: its password; best given as RAIE__LOG__SASL_PASSWORD, not in a file"
    )
    ssl_cafile: str | None = Field(None, description="Kafka: PEM file of the authorities that brokers are trusted by")
    ssl_certfile: str | None = Field(None, description="Kafka: PEM file of the client's certificate")
    ssl_keyfile: str | None = Field(None, description="Kafka: PEM file of the client's key")
