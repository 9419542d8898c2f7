"""Table of the pipeline's topics."""

from pipeline.streams.interface import Topic

INTERACTIONS = "interactions"
ITEMS = "items"
GATED = "gated"
USERS = "users"
TREND = "trend"
EDITS = "edits"
OUTCOMES = "outcomes"
REGIONS = "regions"
FEEDBACK = "feedback"
CONTROL = "control"
FEEDS = "feeds"
MONITOR = "monitor"
STATISTICS = "statistics"
DEAD_LETTERS = "dead-letters"

GROUPS = {"gate": (INTERACTIONS,), "monitor": (GATED,), "trainer": (EDITS,)}
"""Consumer groups whose committed offsets are the state of the pipeline, and what they read.

The group of a server commits nothing: it reads the whole log when it starts."""


def pipeline_topics(partitions: int = 8, gated_partitions: int = 1) -> tuple[Topic, ...]:
    """Return the pipeline's topics.

    Args:
        partitions: partitions of `interactions`, `users` (equal, so that one gate owns a user's events and their
            changelog), `edits` and `feedback`: the maximum number of gates and of trainers.
        gated_partitions: partitions of `gated`; more than 1 only if several monitors share the stream.
    """
    return (
        Topic(INTERACTIONS, partitions, "while needed", key="user_id"),
        Topic(ITEMS, 1, "compacted", key="item_id"),
        # Kept longer than the longest training window: an edit refers to its windows by offset.
        Topic(GATED, gated_partitions, "while needed", key="pseudonym of the user"),
        Topic(USERS, partitions, "compacted", key="user_id"),
        Topic(TREND, 1, "compacted", key="gate instance"),
        Topic(EDITS, partitions, "forever", key="region_id, or gate for boundaries"),
        Topic(OUTCOMES, 1, "forever", key="edit_id"),
        # One partition, never compacted: the offset of a record is its revision.
        Topic(REGIONS, 1, "forever", key="region_id, or gate for its parameters"),
        Topic(FEEDBACK, partitions, "while needed", key="request_id"),
        Topic(CONTROL, 1, "forever", key="subject of the act"),
        Topic(FEEDS, 1, "compacted", key="name of the feed"),
        # The monitor's changelog: a snapshot in chunks, and the steps since.
        Topic(MONITOR, 1, "compacted", key="part of the state"),
        Topic(STATISTICS, 1, "while needed", key="none: an interval of all regions"),
        Topic(DEAD_LETTERS, 1, "while needed", key="reason"),
    )
