"""Sections of a running pipeline: stages, server, canary and the log between them."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from pipeline.config.section import Section


class ConsumerSettings(Section):
    """Loop of the long-running stages."""

    poll_timeout: float = Field(0.5, gt=0, le=60, description="seconds that a poll waits for the first record")
    backoff: float = Field(0.5, gt=0, description="seconds before an unavailable log is opened again")
    longest_backoff: float = Field(30.0, gt=0, description="seconds up to which that pause doubles")
    lockstep: bool = Field(
        False,
        description=(
            "gate, monitor and trainers wait for each other, so that the ledger equals that of a replay; needs exactly "
            "one gate"
        ),
    )
    snapshot_events: int = Field(
        20_000,
        ge=1,
        description="events between two snapshots of monitor and gates; a restart processes those since the last again",
    )
    statistics_events: int = Field(
        200,
        ge=1,
        description="events between two records of region statistics, which the server's page plots",
    )
    host: str = Field("127.0.0.1", description="address of /metrics, /healthz and /readyz of a stage")
    port: int = Field(0, ge=0, le=65535, description="port of these; 0: a free one, which the process prints")
    stuck_after: float = Field(60.0, gt=0, description="seconds without a turn after which /healthz reports a failure")


class UserSettings(Section):
    """Users of gates and servers: histories in files, the recently used in memory."""

    folder: str = Field(
        "",
        description=(
            "folder of the files, on a local disk, of no other pipeline; empty: `users` in ROOT. They are built from "
            "the log and may be removed while nothing runs"
        ),
    )
    cached: int = Field(
        100_000,
        ge=0,
        description="users whose histories a process keeps in memory, about 1 kB each; others are read from its files",
    )
    standby: bool = Field(
        False,
        description=(
            "gates also keep files of the users of partitions that other gates have: who takes one over reads what is "
            "new, not all of `users`. Each gate then reads all of `users`, and has the disk for it"
        ),
    )
    time_to_live: float | None = Field(
        None,
        gt=0,
        description=(
            "seconds of event time without an interaction after which a user is forgotten, as a new one is known; "
            "longer than anything that is sent again; empty: never. Not with consumers.lockstep"
        ),
    )


ServerUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+$")]
"""Base URL of a server, without a path."""


class ServerSettings(Section):
    """HTTP server of `raie serve`."""

    host: str = Field(
        "127.0.0.1", description="address to listen on; one that other machines reach needs `access.tokens`"
    )
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0: a free one")
    batch_size: int = Field(256, ge=1, description="maximum number of requests scored in one batch")
    waiting: int = Field(4096, ge=1, description="maximum number of waiting requests; further ones are answered 503")
    max_body: int = Field(
        1_000_000, ge=1000, description="bytes of the largest body of a request; larger ones are answered 413"
    )
    adapter_memory: int = Field(
        512, ge=1, description="MB of memory for loaded adapters; beyond it the least recently used are evicted"
    )
    peers: list[ServerUrl] = Field(
        [],
        description=(
            "base URLs, as http://10.0.0.1:8080, of all servers that share the users, the same list in each: a server "
            "holds the users of its partitions of the log, and asks the others for theirs; empty: it holds all users"
        ),
    )
    place: int | None = Field(None, ge=0, description="place of this server in `peers`, from 0")


class IngestSettings(Section):
    """HTTP service of `raie ingest`."""

    host: str = Field(
        "127.0.0.1",
        description="address to listen on; one that other machines reach needs `access.tokens`",
    )
    port: int = Field(8081, ge=0, le=65535, description="port to listen on; 0: a free one")
    max_body: int = Field(
        1_000_000, ge=1000, description="bytes of the largest body of a request; larger ones are answered 413"
    )
    max_batch: int = Field(5_000, ge=1, description="records of the largest batch; larger ones are answered 413")
    max_lag: int = Field(
        1_000_000,
        ge=0,
        description="records that the gates may be behind; beyond it events are answered 429 with Retry-After",
    )


class CanarySettings(Section):
    """Canary release: some users receive a new adapter version first, until the test of their clicks ends."""

    share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of users who receive a new version first; 0: all users at once. Read by trainers",
    )
    error: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="maximum probability that a version with an unchanged click rate is found better or worse",
    )
    answers: int = Field(
        10_000, ge=1, description="shown answers of both versions after which a version that is not worse is released"
    )


class RetentionSettings(Section):
    """Removal of what a running pipeline has outlived. By default it keeps everything; see docs/guides/retention.md.

    Nothing goes that is in force, pinned or on trial, or that an edit under way, a snapshot or a restart still needs.
    """

    every: float = Field(
        600.0, gt=0, description="seconds between two rounds of removal, by the trainer that has partition 0 of `edits`"
    )
    version_days: float | None = Field(
        None,
        ge=0,
        description=(
            "days for which an adapter version is kept after it went out of force; longer, while an edit can be "
            "carried out again that needs it; null: for ever"
        ),
    )
    versions: int = Field(
        2, ge=0, description="newest versions of each region out of force that are kept however old they are"
    )
    orphan_hours: float | None = Field(
        None,
        ge=0,
        description=(
            "hours after which a trainer removes versions and array files that no revision names and none ever will; "
            "null: none by age. A trainer that starts, or has unlearned a user, removes all of them whatever this says"
        ),
    )
    snapshot_hours: float = Field(
        1.0, ge=0, description="hours for which a gate keeps the file of a snapshot after the next one took its place"
    )
    gated_days: float | None = Field(
        None,
        ge=0,
        description=(
            "days for which records of `gated` are kept after they were written; edits whose windows are gone cannot "
            "be carried out again; null: on the embedded log for ever, on Kafka `log.retention_days`"
        ),
    )
    gated_records: int | None = Field(
        None, ge=0, description="offsets of `gated` that are kept, the newest; null: any number"
    )
    interaction_days: float | None = Field(
        None, ge=0, description="the same as `gated_days` for `interactions` that every gate has read"
    )
    dead_letter_days: float | None = Field(None, ge=0, description="the same as `gated_days` for `dead-letters`")
    dead_letter_records: int | None = Field(None, ge=0, description="the same as `gated_records` for `dead-letters`")


class RefreshSettings(Section):
    """A new set-up from the newest interactions, beside the running pipeline; see docs/guides/refresh.md."""

    learn_events: int = Field(
        1_000_000, ge=1, description="newest interactions of the log that a new set-up learns from, at most"
    )
    begin_from: Literal["scratch", "backbone", "distilled"] = Field(
        "scratch",
        description=(
            "weights that its training begins with: new ones, or those of the present `backbone`; `distilled`: those, "
            "and its loss keeps to what backbone and adapters answer together"
        ),
    )
    judged_events: int = Field(
        2_000, ge=2, description="events, learned by neither set-up, that both must have scored before one is chosen"
    )
    least_gain: float = Field(
        0.0,
        description=(
            "Recall@10 by which the new set-up must be better for sure (95% interval); a negative one allows a loss"
        ),
    )
    every_days: float | None = Field(
        None, gt=0, description="days after which `raie up` refreshes by itself; null: never for their age"
    )
    when_rejected: float | None = Field(
        None,
        gt=0,
        le=1,
        description=(
            "share of rejected edits among those since the last refresh, at least `after_edits`, from which on `raie "
            "up` refreshes by itself: edits no longer pay; null: never for that"
        ),
    )
    after_edits: int = Field(50, ge=1, description="see `when_rejected`")
    linger: float = Field(
        60.0,
        ge=0,
        description=(
            "seconds for which `raie up` keeps the stages of the generation before after a switch: servers answer "
            "from it until they have loaded the new one"
        ),
    )
    kept_days: float | None = Field(
        7.0,
        ge=0,
        description=(
            "days for which a trainer keeps a generation that stands by, for a rollback; null: until `raie refresh "
            "prune`"
        ),
    )
    every_events: int = Field(12_500, ge=1, description="replay: events between a set-up and the next refresh")


class LoggingSettings(Section):
    """Status lines of stages, services, `raie up` and `raie produce --follow`, on stderr (docs/guides/watching.md)."""

    format: Literal["text", "json"] = Field(
        "text", description="`text`: for a person; `json`: one object a line, for a collector of logs"
    )
    level: Literal["info", "warning", "error"] = Field("info", description="least severe lines that are shown")


class TracingSettings(Section):
    """Traces over OpenTelemetry (docs/guides/watching.md); exporter and sampler are set by its own OTEL_* variables."""

    enabled: bool = Field(
        False,
        description="true: continue the traces of producers and requests; needs the extra `otel`",
    )


class LogSettings(Section):
    """Log between the stages, and the connection to a Kafka broker."""

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
        description="partitions of the topics that gates and trainers share: the maximum number of each",
    )
    retention_days: float = Field(
        90.0,
        gt=0,
        description=(
            "Kafka: days for which interactions, gated, feedback and dead-letters are kept; must exceed the age of the "
            "oldest window that an edit may train on"
        ),
    )
    prefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Kafka: prefix of the names of topics, groups and producers; separates pipelines on one broker",
    )
    replication_factor: int = Field(1, ge=1, description="Kafka: copies of each partition; 3 to survive lost nodes")
    max_record_bytes: int = Field(
        1_048_576, ge=1024, description="Kafka: longest record, key and frame included; at most the broker's limit"
    )
    commit_seconds: float = Field(30.0, gt=0, description="Kafka: seconds to write and commit a transaction")
    close_seconds: float = Field(5.0, gt=0, description="Kafka: seconds to close a producer or consumer")
    session_seconds: float = Field(
        8.0,
        gt=0,
        description=(
            "Kafka: seconds without a heartbeat after which a consumer's partitions go to others; brokers require at "
            "least 6"
        ),
    )
    poll_seconds: float = Field(
        300.0, gt=0, description="Kafka: seconds between two polls after which a consumer's partitions go to others"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Kafka: security protocol of the connection"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="Kafka: authentication mechanism, for SASL_PLAINTEXT and SASL_SSL"
    )
    sasl_username: str | None = Field(None, description="Kafka: user name")
    sasl_password: str | None = Field(
        None, repr=False, description="Kafka: password; better set as RAIE__LOG__SASL_PASSWORD than in a file"
    )
    ssl_cafile: str | None = Field(None, description="Kafka: PEM file of the certificate authorities of the brokers")
    ssl_certfile: str | None = Field(None, description="Kafka: PEM file of the client's certificate")
    ssl_keyfile: str | None = Field(None, description="Kafka: PEM file of the client's key")
