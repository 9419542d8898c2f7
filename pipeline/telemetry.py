"""Prometheus metrics of a process: one object whose fields are the collectors of a registry.

Times are in seconds, counters end in `_total`. Labels are few and bounded; the one that grows is region_id, and
`retire` drops it. There are no user, item or version labels.
"""

from collections.abc import Iterable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from pipeline.build_info import PROGRAM, version_of

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Content type of the text that `Metrics.expose` returns."""

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Buckets of shares and probabilities."""

ANGLES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 3.2)
"""Buckets of angles in radians."""

BATCHES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets of processing times in seconds."""

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Buckets of batch sizes in requests."""

TRAININGS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Buckets of training times in seconds."""

WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Buckets of the times between an event and its effect, in seconds."""

Step = Literal["arrived", "gated", "decided", "trained", "published", "served", "counted"]
"""Steps from an event to its effect, each in the process that ends it:

- `arrived`: event to its record in `interactions` (gate);
- `gated`: that record to the committed record in `gated` (gate);
- `decided`: newest window of an edit in `gated` to the committed edit (monitor);
- `trained`: committed edit to the end of its training and validation (trainer);
- `published`: end of the training to the committed record in `regions` (trainer);
- `served`: that record to its regions in the answers (server);
- `counted`: record in `gated` to its counts in the answers (server)."""


def _counter(registry: CollectorRegistry, name: str, description: str, *labels: str) -> Counter:
    return Counter(f"raie_{name}", description, labels, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, description: str, *labels: str) -> Gauge:
    return Gauge(f"raie_{name}", description, labels, registry=registry)


def _histogram(
    registry: CollectorRegistry, name: str, description: str, buckets: tuple[float, ...], *labels: str
) -> Histogram:
    return Histogram(f"raie_{name}", description, labels, buckets=buckets, registry=registry)


class Metrics:
    """Collectors of a process.

    Args:
        registry: a registry without collectors of this class: one per process, and per test.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.build = _gauge(registry, "build_info", "1, labelled with the version of the program", "version")
        self.build.labels(version_of(PROGRAM)).set(1)
        self.generation = _gauge(registry, "generation", "Generation of the set-up that the process uses")
        self._add_loop(registry)
        self._add_gate(registry)
        self._add_revisions(registry)
        self._add_edits(registry)
        self.freshness_seconds = _histogram(
            registry, "freshness_seconds", "Time of a step from an event to its effect", WAITS, "step"
        )
        self._add_retention(registry)
        self._add_ingest(registry)
        self._add_server(registry)
        self.refused_requests = _counter(
            registry,
            "refused_requests",
            "Requests refused: of unknown clients, without the role, or beyond a limit",
            "reason",
        )
        self._of_region = (
            *(self.gate_confidence, self.gate_margin, self.gate_novelty, self.region_version),
            *(self.separabilities, self.share, self.since_share, self.targets),
        )
        self._signals: set[tuple[int, str]] = set()

    def _add_loop(self, registry: CollectorRegistry) -> None:
        self.events = _counter(registry, "events", "Records read", "topic")
        self.lag = _gauge(registry, "lag", "Records between position and end", "topic", "partition")
        self.stalled_seconds = _gauge(
            registry, "stalled_seconds", "Seconds without progress of a lagging partition", "topic", "partition"
        )
        self.batch_seconds = _histogram(registry, "batch_seconds", "Processing time of a batch of records", BATCHES)
        self.reopened = _counter(registry, "log_reopened", "Reconnections to an unavailable log")
        self.dead_letters = _counter(registry, "dead_letters", "Records refused", "reason")
        self.skipped_records = _counter(
            registry, "skipped_records", "Records of other programs, skipped because they cannot be read", "topic"
        )

    def _add_gate(self, registry: CollectorRegistry) -> None:
        self.duplicates = _counter(registry, "duplicates", "Events with an id already processed")
        self.forgotten_users = _counter(registry, "forgotten_users", "Users forgotten by users.time_to_live")
        self.late = _counter(registry, "late", "Events later than the allowed lateness")
        self.erased_events = _counter(registry, "erased_events", "Events dropped as their user was erased after them")
        self.erasures = _counter(registry, "erasures", "Users erased, with or without an Unlearn", "unlearn")
        self.repartitioned = _counter(
            registry, "repartitioned", "Records sent on to the partition of their user", "reason"
        )
        self.followed = _counter(registry, "followed", "Events of other gates that this gate has counted")
        self.users = _gauge(registry, "users", "Users with a history in this gate")
        self.gate_confidence = _histogram(registry, "gate_confidence", "Top posterior", SHARES, "region_id")
        self.gate_margin = _histogram(registry, "gate_margin", "Top posterior minus second", SHARES, "region_id")
        self.gate_novelty = _histogram(
            registry, "gate_novelty_radians", "Angle to the centroid of the top region", ANGLES, "region_id"
        )
        self.targets = _counter(registry, "targets", "Interactions scored before they were learned", "region_id")
        self.hits = _counter(
            registry,
            "hits",
            "Interactions whose item was among the first ten, by answer or popularity",
            "region_id",
            "by",
        )

    def _add_revisions(self, registry: CollectorRegistry) -> None:
        self.revision = _gauge(registry, "revision", "Offset in `regions` of the revision in force; -1: as set up")
        self.gate_version = _gauge(registry, "gate_version", "Version of the region boundaries in force")
        self.region_version = _gauge(registry, "region_version", "Live adapter version of a region", "region_id")
        self.refused_adapters = _counter(
            registry, "refused_adapters", "Revisions not applied because their adapter or arrays were refused", "reason"
        )

    def _add_edits(self, registry: CollectorRegistry) -> None:
        self.drift_statistic = _gauge(
            registry, "drift_statistic", "Drift statistic of a region's detector", "region_id", "signal"
        )
        self.separabilities = _gauge(
            registry,
            "region_told_apart",
            "Separability of newer windows from set-up windows, as an AUC; 0.5: none",
            "region_id",
        )
        self.share = _gauge(registry, "region_share", "Share of a region in the newest visits", "region_id")
        self.since_share = _gauge(
            registry, "region_since_share", "Share of stream origin in the visits of a set-up region", "region_id"
        )
        self.edits = _counter(registry, "edits", "Edits applied or rejected", "operation", "outcome")
        self.training_seconds = _histogram(registry, "training_seconds", "Time to apply an edit", TRAININGS)

    def _add_retention(self, registry: CollectorRegistry) -> None:
        self.pruned = _counter(
            registry,
            "pruned",
            "Versions, orphans, snapshot files, and records of topics that retention removed (of a topic: offsets)",
            "what",
        )
        self.held = _gauge(
            registry,
            "retention_held",
            "Versions, and offsets of topics, beyond their limits that something still needs",
            "what",
        )

    def _add_ingest(self, registry: CollectorRegistry) -> None:
        self.ingested = _counter(registry, "ingested", "Records written by the ingest service", "topic")
        self.ingest_refused = _counter(registry, "ingest_refused", "Records refused by the ingest service", "reason")
        self.ingest_busy = _counter(
            registry, "ingest_busy", "Batches that the ingest service refused because the pipeline is behind"
        )
        self.ingest_seconds = _histogram(registry, "ingest_seconds", "Time to check and write a batch", BATCHES)

    def _add_server(self, registry: CollectorRegistry) -> None:
        self.recommendations = _counter(registry, "recommendations", "Requests answered", "answered_by")
        self.stood_in = _counter(
            registry, "backbone_stood_in", "Answers of the backbone in place of an adapter that is not loaded"
        )
        self.items = _gauge(
            registry, "items", "Items of a server: known, existing, withdrawn, and known ones without a text", "state"
        )
        self.items_arrived = _counter(registry, "items_arrived", "Items that a server came to know since it started")
        self.items_evicted = _counter(registry, "items_evicted", "Items that a server forgot since it started")
        self.request_seconds = _histogram(registry, "request_seconds", "Time to answer a request", BATCHES)
        self.batch_requests = _histogram(registry, "batch_requests", "Requests answered in one batch", SIZES)
        self.passed_on = _counter(
            registry, "passed_on", "Requests passed on to the server that has the user", "outcome"
        )
        self.overloaded = _counter(registry, "overloaded", "Requests refused because of a full queue")
        self.adapters_registered = _gauge(registry, "adapters_registered", "Adapters in memory")
        self.adapters_active = _gauge(registry, "adapters_active", "Adapters in a slot")
        self.adapter_bytes = _gauge(registry, "adapter_bytes", "Memory of adapters, slots included")
        self.adapter_evictions = _gauge(registry, "adapter_evictions", "Evictions of adapters from slots so far")
        self.follower_up = _gauge(registry, "follower_up", "1 while a server follows the log, 0 otherwise")
        self.ignored_feedback = _counter(
            registry, "ignored_feedback", "Records of feedback on answers that no server gave"
        )
        self.hit_rate = _gauge(
            registry, "online_hit_rate", "Click rate of shown requests, of a region's live version", "region_id"
        )

    def fresh(self, step: Step, seconds: Iterable[float]) -> None:
        """Observe times of a step; one below 0, which takes the clocks of two machines, counts as 0."""
        collector = self.freshness_seconds.labels(step)
        for each in seconds:
            collector.observe(max(0.0, each))

    def drift(self, region_id: int, signal: str, statistic: float) -> None:
        """Set the statistic of one detector."""
        self._signals.add((region_id, signal))
        self.drift_statistic.labels(region_id, signal).set(statistic)

    def retire(self, region_id: int) -> None:
        """Drop every label of a region that is no longer live."""
        for collector in self._of_region:
            collector.remove(region_id)
        for by in ("answer", "popularity"):
            self.hits.remove(region_id, by)
        for labels in {labels for labels in self._signals if labels[0] == region_id}:
            self._signals.remove(labels)
            self.drift_statistic.remove(*labels)

    def forget_partition(self, topic: str, partition: int) -> None:
        """Drop the labels of a partition that is no longer assigned to this process."""
        self.lag.remove(topic, partition)
        self.stalled_seconds.remove(topic, partition)

    def expose(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


def new_metrics() -> Metrics:
    """Return the metrics of a process, in a new registry."""
    return Metrics(CollectorRegistry())
