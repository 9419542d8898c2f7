"""Binding of a log: the rule that places its keyed records, and the set-up with which it was begun.

Both are in records of `control` under the key `KEY`, with a random identity of the log. Of the set-up the first
record counts, so of two processes that begin a log with different ones the second is refused; of the rule the newest
one, which a migration writes.

A log of an earlier version has no such record. If its topics have several partitions, its users lie on partitions of
another rule, and stages refuse it until it is migrated.
"""

import secrets
from collections.abc import Mapping
from typing import Any

from consumers.runtime.topic_reader import new_records
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.setup.binding import Binding, check_settings
from pipeline.streams.interface import Log, Record, Transaction
from pipeline.streams.partitioner import CURRENT
from pipeline.streams.topics import CONTROL, USERS

KEY = "log"
"""Kind, and key, of the records."""


def read_log_binding(log: Log) -> Mapping[str, Any]:
    """Return what the log records of itself: `id`, `partitioner`, `root`, `settings`, as far as it has them."""
    found: dict[str, Any] = {}
    for record in new_records(log, CONTROL, 0):
        if _is_binding(record):
            value = record.value or {}
            found = {**value, **found, "partitioner": value["partitioner"]}
    return found


def _is_binding(record: Record) -> bool:
    """True for a record that a stage wrote; other programs may have written others under its key."""
    value = record.value or {}
    types = {"kind": str, "id": str, "partitioner": str, "root": str, "settings": Mapping}
    fits = all(isinstance(value[name], kind) for name, kind in types.items() if name in value)
    return record.key == KEY and fits and value.get("kind") == KEY and "partitioner" in value


def identity_of(log: Log) -> str:
    """Return the identity of a log, "" for one that no process has begun."""
    return str(read_log_binding(log).get("id", ""))


def check_rule(log: Log, config: Config) -> None:
    """Check that the users of a log lie on the partitions of the present rule.

    Raises:
        LogError: they lie on those of another rule; the message says what to do.
    """
    partitions, rule = log.topic(USERS).partitions, read_log_binding(log).get("partitioner")
    if rule is None and partitions > 1 and any(log.end_offset(USERS, partition) for partition in range(partitions)):
        raise LogError(
            f"{config.log.url} is of an earlier version, which placed users on other partitions than Kafka's clients "
            "do: stop all stages and run `raie topics migrate` once"
        )
    if rule not in (None, CURRENT):
        raise LogError(
            f"{config.log.url} places records by {rule!r}, this version by {CURRENT!r}: use the version that wrote it"
        )


def record_rule(transaction: Transaction) -> None:
    """Add the record that a log's users lie on the partitions of the present rule."""
    transaction.send(CONTROL, {"kind": KEY, "partitioner": CURRENT}, key=KEY, timestamp=0.0)


def bind_log(log: Log, writer: str, config: Config, binding: Binding | None = None) -> None:
    """Check that a process may use a log, and record what the log does not have yet.

    Args:
        log: has the topics.
        writer: id of the process' producer.
        config: settings of the process.
        binding: set-up of the process; None for one without.

    Raises:
        ConfigError: a setting is not the one of the log's set-up.
        LogError: the log is of another set-up, or its users lie on the partitions of another rule.
    """
    check_rule(log, config)
    found = read_log_binding(log)
    wanted: dict[str, Any] = {"id": secrets.token_hex(8), "partitioner": CURRENT}
    wanted |= {"root": binding.root, "settings": binding.settings} if binding else {}
    missing = {name: value for name, value in wanted.items() if name not in found}
    if missing:
        with log.producer(writer).transaction() as transaction:
            transaction.send(CONTROL, {"kind": KEY, "partitioner": CURRENT, **missing}, key=KEY, timestamp=0.0)
        found = read_log_binding(log)
    _check_setup(found, config, binding)


def check_root(log: Log, config: Config, binding: Binding) -> None:
    """Check that a log, if it was begun with a set-up, was begun with this one.

    Raises:
        ConfigError, LogError: as `bind_log` does.
    """
    _check_setup(read_log_binding(log), config, binding)


def _check_setup(found: Mapping[str, Any], config: Config, binding: Binding | None) -> None:
    """Compare the set-up that a log records with that of a process."""
    check_settings(found.get("settings", {}), config, f"the set-up of {config.log.url}")
    if binding is not None and binding.root != found.get("root", binding.root):
        raise LogError(
            f"{config.log.url} was begun with another set-up (fingerprint {found['root'][:12]}) than that of --root "
            f"({binding.root[:12]}): name its set-up by --root, or give this one a log of its own by log.url, on a "
            "broker also by log.prefix"
        )
