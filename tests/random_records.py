"""Random and malformed records for any topic: bytes, JSON of any shape, and good records with a fault."""

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from pipeline.streams import Log

ODD: tuple[Any, ...] = (None, True, -1, 0, 1e308, 10**30, "", " ", "x" * 300, "\ud800", "\0", [], [[]], {}, {"a": [1]})
FIELDS = ("event_id", "user_id", "item_id", "timestamp", "value", "schema", "erase", "load", "past", "sequence", "kind")
FIELDS = (*FIELDS, "act", "by", "region_id", "adapter", "request_id", "item_ids", "revision", "attributes", "expires")


def value(rng: Random, good: Mapping[str, object]) -> bytes | None:
    """Return one value; None is a tombstone."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(60))
    if kind == 1:
        return rng.choice(
            (b"{", b"[1]", b"NaN", b"null", b'{"a": 1e999}', b"\0\0\0\0\1{}", b"Obj\1", b'"\xff"', b"{" * 5000)
        )
    if kind == 2:
        return None
    if kind == 3:
        return json.dumps({rng.choice(FIELDS): rng.choice(ODD) for _ in range(rng.randrange(6))}).encode()
    fault = {rng.choice((*good, *FIELDS)): rng.choice(ODD)}
    return json.dumps({**good, **fault}).encode()


def flood(log: Log, topic: str, good: Sequence[Mapping[str, object]], count: int, rng: Random) -> None:
    """Write so many records into a topic, under keys of every kind."""
    producer = log.producer("flood")
    with producer.transaction() as transaction:
        for _ in range(count):
            key = rng.choice(("u1", "", "\x1f", "log", "x" * 200, "é"))
            partition = rng.randrange(log.topic(topic).partitions)
            transaction.send(topic, value(rng, rng.choice(good)), key=key, partition=partition, timestamp=1.0)
