"""Table of the pipeline's topics."""

from collections.abc import Iterable

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
GENERATIONS = "generations"

FIRST = 1
"""Number of the generation that a log is begun with; its topics have the names above."""

SHARED = frozenset({INTERACTIONS, ITEMS, FEEDS, GENERATIONS})
"""Topics that all generations of the pipeline have together; each has the others for itself."""

OWN_KEY = "\x1f"
"""First character of a key under which the pipeline writes into a shared topic for itself; no id begins with it,
because ids have no white space at their ends."""

GROUPS = {"gate": (INTERACTIONS,), "monitor": (GATED,), "trainer": (EDITS,)}
"""Consumer groups whose committed offsets are the state of the pipeline, and what they read.

The group of a server commits nothing: it reads the whole log when it starts."""


def name_in(generation: int, name: str) -> str:
    """Name on the log of a topic, group or producer of a generation."""
    return name if generation == FIRST or name in SHARED else f"{name}.{generation}"


def topic_of(name: str) -> str:
    """Name of the topic that a topic on the log is, whatever generation it is of."""
    front, _, number = name.rpartition(".")
    return front if number.isdecimal() else name


def generation_of(name: str) -> int:
    """Number of the generation of a topic or group on the log."""
    return int(name.removeprefix(topic_of(name))[1:] or FIRST)


def producer_of(group: str, instance: str) -> str:
    """Id of the producer of a group's member: `gate-a` in `gate`, `gate-a.2` in `gate.2`."""
    return name_in(generation_of(group), f"{topic_of(group)}-{instance}")


def instance_of(producer: str, group: str) -> str | None:
    """Instance that has a producer by its id, were it a member of a group; None for an id that none has."""
    front, end = producer_of(group, "\n").split("\n")
    is_like = producer.startswith(front) and producer.endswith(end)
    return producer.removeprefix(front).removesuffix(end) if is_like else None


def groups_of(topics: Iterable[str]) -> dict[str, set[str]]:
    """Groups of the generations that have topics on the log, and what they read."""
    numbers = {FIRST, *map(generation_of, topics)}
    return {
        name_in(number, group): {name_in(number, topic) for topic in read}
        for number in sorted(numbers)
        for group, read in GROUPS.items()
    }


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
        Topic(GENERATIONS, 1, "forever", key="number of the generation"),
    )


NAMES = frozenset(topic.name for topic in pipeline_topics())
"""Names of the topics in the first generation."""
