"""`raie topics`: the pipeline's topics on the log of the configuration, and the placement of what is in them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import typer

from consumers.cli.options import ConfigFile, Settings, configuration
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.streams import Log, open_existing_log, open_log
from pipeline.streams.interface import Topic
from pipeline.streams.topics import CONTROL, USERS, pipeline_topics

if TYPE_CHECKING:
    from consumers.runtime.placement import Placement

app = typer.Typer(no_args_is_help=True, help="Create, check or migrate the topics of the log (setting `log.url`).")

CLIENTS = {
    "murmur2": "murmur2, as by Java clients, kafka-python and this program",
    "crc32": "CRC32, as by librdkafka: confluent-kafka, kcat",
    "blake2b": "blake2b, as by earlier versions of this program",
}
"""Partitioner -> the clients that use it."""

SESSIONS = 2
"""Sessions (`log.session_seconds`) to wait for the membership of a gate that was killed to end."""


@app.command("create")
def create(config: ConfigFile = None, settings: Settings = None) -> None:
    """Create the topics that are missing, and check those that exist.

    Example: `raie topics create --set log.url=kafka://localhost:9092`
    """
    typer.echo(create_topics(configuration(config, settings)))


@app.command("check")
def check(config: ConfigFile = None, settings: Settings = None) -> None:
    """Check the topics and the placement of interactions; change nothing.

    Of every topic: partitions, retention, compaction and replicas. Of the newest 200 records of each partition of
    `interactions`: how many are on the partition of their user (murmur2 of the user id), and which partitioner explains
    their place. A gate sends the others on, each once, so any producer can feed the pipeline.

    Exit status 0: stages can run. 2: the log is not as they need it; the message says what to do.

    Example: `raie topics check --set log.url=kafka://localhost:9092`
    """
    typer.echo(check_topics(configuration(config, settings)))


@app.command("skip")
def skip(config: ConfigFile = None, settings: Settings = None) -> None:
    """Move the gates past interactions that retention deleted before a gate had read them.

    A gate stops at such a gap and names it; nothing is skipped silently. Stop all stages first. Shows the offsets that
    are lost, by partition; without any it changes nothing.

    Example: `raie topics skip --set log.url=kafka://localhost:9092`
    """
    typer.echo(skip_lost_interactions(configuration(config, settings)))


@app.command("migrate")
def migrate(config: ConfigFile = None, settings: Settings = None) -> None:
    """Move the users of a log of an earlier version to the partitions of this one.

    Earlier versions placed keyed records by blake2b, this one by murmur2, as Kafka's clients do. Stop all stages first.
    Interrupted, it is run again; on a migrated log it changes nothing. Interactions that wait to be read stay where
    they are: a gate sends them on.

    Example: `raie topics migrate --set log.url=kafka://localhost:9092`
    """
    typer.echo(migrate_topics(configuration(config, settings)))


def create_topics(config: Config) -> str:
    """Create the topics that are missing; return a sentence for the terminal.

    Raises:
        LogError: a topic exists with other properties, or the log cannot be reached or is of an earlier version.
    """
    from consumers.runtime.generations import create_active_topics, kept_logs
    from consumers.runtime.log_binding import bind_log

    topics = pipeline_topics(config.log.partitions)
    with closing(create_active_topics(open_log(config.log.url, config.log), config.log.partitions)) as log:
        for own in kept_logs(log):
            own.create_topics(topics)
        bind_log(log, "topics-create", config)
        return _checked(log, topics, config)


def check_topics(config: Config) -> str:
    """Check the topics without changing them; return lines for the terminal, with the placement of interactions.

    Raises:
        LogError: lists every topic that is missing or would lose records, or says that users must be migrated.
    """
    from consumers.runtime.generations import active_log
    from consumers.runtime.log_binding import check_rule
    from consumers.runtime.placement import placements

    topics = pipeline_topics(config.log.partitions)
    with closing(active_log(open_existing_log(config.log.url, config.log))) as log:
        # First, because a log of an earlier version may lack newer topics, too, which every stage creates.
        if not log.problems(topic for topic in topics if topic.name in (USERS, CONTROL)):
            check_rule(log, config)
        checked = _checked(log, topics, config)
        return "\n".join([checked, *_described(list(placements(log)), config)])


def migrate_topics(config: Config) -> str:
    """Migrate the users; return a sentence for the terminal.

    Raises:
        LogError: a gate is running, or the topics are not as the pipeline needs them.
    """
    from consumers.gate.migration import migrate_users
    from consumers.runtime.runner import existing_log_of

    with closing(existing_log_of(config)) as log:
        done = migrate_users(log, SESSIONS * config.log.session_seconds, time.monotonic)
    several = f", {done.merged:,} of these from several states" if done.merged else ""
    return f"{config.log.url}: {done.moved:,} of {done.users:,} users moved to the partition of their key{several}"


def skip_lost_interactions(config: Config) -> str:
    """Move the gates past what is deleted; return lines for the terminal.

    Raises:
        LogError: a gate is running, or the topics are not as the pipeline needs them.
    """
    from consumers.gate.skip_lost import skip_lost
    from consumers.runtime.runner import existing_log_of

    with closing(existing_log_of(config)) as log:
        lost = skip_lost(log, SESSIONS * config.log.session_seconds, time.monotonic)
    gaps = [f"interactions/{one.partition}: offsets {one.start}..{one.end - 1} are lost" for one in lost]
    return "\n".join([*gaps, "gates go on behind them" if lost else f"{config.log.url}: no gate has lost records"])


def _checked(log: Log, topics: tuple[Topic, ...], config: Config) -> str:
    from consumers.runtime.generations import kept_logs

    kept = kept_logs(log)
    problems = list(dict.fromkeys(problem for own in kept for problem in own.problems(topics)))
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise LogError(
            f"{config.log.url}: not all topics are as the pipeline needs them:\n{listed}\n"
            f"`raie topics create` creates those that are missing; those that exist are changed with the broker's tools"
        )
    several = f" of {len(kept)} generations" if len(kept) > 1 else ""
    return f"{config.log.url}: {len(topics)} topics{several} are as the pipeline needs them"


def _described(found: "Sequence[Placement]", config: Config) -> Iterator[str]:
    """Describe the newest interactions of each partition, and what happens to them."""
    records = sum(placement.records for placement in found)
    if not records:
        yield "interactions: no records"
        return
    yield f"interactions, the newest {records:,} records:"
    for placement in found:
        yield f"  partition {placement.partition}: {_of_partition(placement)}"
    unreadable = sum(placement.unreadable for placement in found)
    elsewhere = records - unreadable - sum(placement.at_home for placement in found)
    if unreadable:
        yield f"{unreadable:,} name no user: gates refuse them (`raie dead-letters list`)"
    if not elsewhere:
        yield (
            "all others are on the partition of their user" if unreadable else "all are on the partition of their user"
        )
        return
    yield (
        f"{elsewhere:,} are not on the partition of their user: gates send them on, each once, as a second record, and "
        "count them in raie_repartitioned_total. Events of one user that come on several partitions are put in order "
        f"of event time where they arrive within gate.horizon ({config.gate.horizon:g} s) of each other"
    )


def _of_partition(placement: "Placement") -> str:
    if not placement.records:
        return "no records"
    keyed = placement.records - placement.keyless
    parts = [f"{placement.records:,} records, {placement.at_home:,} on the partition of their user"]
    if placement.keyless:
        parts.append(f"{placement.keyless:,} without a key")
    if keyed:
        by = placement.partitioner
        parts.append(f"{keyed:,} placed by {CLIENTS[by]}" if by else f"{keyed:,} placed by no known partitioner")
    if placement.keys_are_users < keyed:
        parts.append(f"{keyed - placement.keys_are_users:,} with a key that is not the user id")
    return "; ".join(parts)
