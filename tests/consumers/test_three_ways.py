"""A JSON object gives the same event, or the same refusal, from a file, from a Kafka client and over HTTP.

The inputs are those of producers whose times, ids and names went wrong on one of the ways.
"""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from pipeline.config import LogSettings
from pipeline.datasets.dataset import read_dataset
from pipeline.errors import DataError
from pipeline.streams import open_log
from pipeline.streams.topics import INTERACTIONS, pipeline_topics
from tests.broker import settings
from tests.consumers.gating import PARTITIONS, changed, gate_loop, letters, named
from tests.ingest.running import ingesting

CASES: tuple[tuple[dict[str, Any], tuple[str, str, float] | str], ...] = (
    ({"user_id": "a", "item_id": "i/1", "timestamp": 1_500_000_000, "event_id": "e1"}, ("a", "i/1", 1.5e9)),
    ({"user": 7.0, "item": 3, "ts": 1_500_000_000_000}, ("7", "3", 1.5e9)),
    ({"User_ID": " spaced ", "movieId": " 3 ", "event_time": "2019-10-01 00:00:00 UTC"}, ("spaced", "3", 1569888000.0)),
    ({"user_id": "b", "item_id": "i", "timestamp": "2014-04-07T10:51:09.277Z"}, ("b", "i", 1396867869.277)),
    ({"user_id": "c", "item_id": "i", "date": 20240501}, ("c", "i", 1714521600.0)),
    ({"user_id": "d", "item_id": "i", "timestamp": "1500000000.5", "rating": 5}, ("d", "i", 1500000000.5)),
    (
        {"user_id": None, "user": "f", "item_id": '"weird al" yankovic', "timestamp": 1},
        ("f", '"weird al" yankovic', 1.0),
    ),
    ({"user_id": "NA", "item_id": "i", "timestamp": 1}, "missing_user_id"),
    ({"user_id": "g", "item_id": "i", "timestamp": "soon"}, "bad_timestamp"),
    ({"user_id": "h", "item_id": True, "timestamp": 1}, "bad_item_id"),
    ({"user_id": "k", "timestamp": 1}, "missing_item_id"),
    ({"user_id": "\ud83d", "item_id": "i", "timestamp": 1}, "bad_user_id"),
    ({"user_id": "l", "item_id": "i", "timestamp": 1e30}, "bad_timestamp"),
)
"""Object -> user, item and time, or the reason of its refusal."""

EVENTS = sorted(meant for _, meant in CASES if not isinstance(meant, str))
REASONS = sorted(meant for _, meant in CASES if isinstance(meant, str))


def from_gate(log: LogSettings, folder: Path) -> tuple[list[Any], list[str]]:
    """Events that a gate makes of a log, and the reasons of its dead letters."""
    gate_loop(lambda: open_log(log.url, log), folder, changed()).run()
    with closing(open_log(log.url, log)) as opened:
        events = sorted((g["user_id"], g["target"], g["timestamp"]) for g in named(opened))
        return events, sorted(letter["reason"] for letter in letters(opened))


@pytest.mark.parametrize(("value", "meant"), CASES)
def test_a_line_of_a_file(tmp_path: Path, value: dict[str, Any], meant: tuple[str, str, float] | str) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(value))
    if isinstance(meant, str):
        with pytest.raises(DataError, match=meant if "item_id" in value else "has no column"):
            read_dataset(tmp_path / "log.jsonl")
    else:
        (event,) = read_dataset(tmp_path / "log.jsonl").interactions
        assert (event.user_id, event.item_id, event.timestamp) == meant


def test_records_of_a_kafka_client_without_keys(kafka_url: str, tmp_path: Path) -> None:
    log = settings(url=kafka_url, partitions=PARTITIONS)
    with closing(open_log(log.url, log)) as opened:
        opened.create_topics(pipeline_topics(PARTITIONS))
    producer = KafkaProducer(bootstrap_servers=kafka_url.removeprefix("kafka://"))
    for value, _ in CASES:
        producer.send(f"{log.prefix}{INTERACTIONS}", json.dumps(value).encode())
    producer.close()
    assert from_gate(log, tmp_path) == (EVENTS, REASONS)


@pytest.mark.parametrize("kind", ["sqlite", "kafka"])
def test_batches_over_http(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path / 'log.sqlite'}" if kind == "sqlite" else request.getfixturevalue("kafka_url")
    log = settings(url=url, partitions=PARTITIONS)
    with ingesting(log) as running:
        # A body with half a surrogate pair is refused as a whole.
        sent = [(value, meant) for value, meant in CASES if value.get("user_id") != "\ud83d"]
        status, answer = running.post("/events", [value for value, _ in sent])
        assert (status, answer["accepted"]) == (202, len(EVENTS))
        assert [(one["index"], one["reason"]) for one in answer["refused"]] == [
            (index, meant) for index, (_, meant) in enumerate(sent) if isinstance(meant, str)
        ]
    assert from_gate(log, tmp_path) == (EVENTS, [])
