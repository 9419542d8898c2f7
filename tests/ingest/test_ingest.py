"""Events and items over HTTP: durable before the answer, refused one by one, and never more than the pipeline takes."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import LogSettings
from pipeline.streams import Log, UnavailableError
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import INTERACTIONS, ITEMS
from tests.broker import settings
from tests.consumers.gating import read
from tests.ingest.running import Running, ingesting
from tests.tokens import access_of

PARTITIONS = 2


def event(number: int, **more: object) -> dict[str, object]:
    return {"event_id": f"e{number}", "user": f"u{number % 5}", "item": "i1", "ts": "2026-12-01T08:00:00Z", **more}


@pytest.fixture
def sqlite(tmp_path: Path) -> LogSettings:
    return LogSettings(url=f"sqlite:///{tmp_path / 'log.sqlite'}", partitions=PARTITIONS)


@pytest.fixture
def running(sqlite: LogSettings) -> Iterator[Running]:
    with ingesting(sqlite) as running:
        yield running


def written(log: Log) -> list[dict[str, object]]:
    return [dict(r.value or {}) for p in range(PARTITIONS) for r in read(log, INTERACTIONS, p)]


@pytest.mark.parametrize("kind", ["sqlite", "kafka"])
def test_what_is_answered_202_is_in_the_log_as_it_was_sent(
    kind: str, sqlite: LogSettings, request: pytest.FixtureRequest
) -> None:
    kafka = kind == "kafka"
    log = settings(url=request.getfixturevalue("kafka_url"), partitions=PARTITIONS) if kafka else sqlite
    with ingesting(log) as running:
        batch = [event(n) for n in range(20)]
        assert running.post("/events", batch) == (202, {"accepted": 20, "refused": []})
        assert running.post("/events", {"events": batch[:1]})[0] == 202
        assert running.post("/items", [{"item_id": "i9", "title": "Heat"}]) == (202, {"accepted": 1, "refused": []})
        assert sorted(str(v["event_id"]) for v in written(running.log)) == sorted([f"e{n}" for n in range(20)] + ["e0"])
        for partition in range(PARTITIONS):
            for record in read(running.log, INTERACTIONS, partition):
                assert record.key == record.value["user"] and partition_of(record.key, PARTITIONS) == partition
                assert record.timestamp == 1796112000.0
        (item,) = read(running.log, ITEMS)
        assert (item.key, item.value) == ("i9", {"item_id": "i9", "title": "Heat"})


def test_refused_records_are_listed_and_the_others_written(running: Running) -> None:
    batch = [event(0), 7, event(1, ts="soon"), {"user": "u", "ts": 1}, event(2)]
    status, answer = running.post("/events", batch)
    assert (status, answer["accepted"]) == (202, 2)
    assert [(one["index"], one["reason"]) for one in answer["refused"]] == [
        (1, "not_an_object"),
        (2, "bad_timestamp"),
        (3, "missing_item_id"),
    ]
    assert all(one["detail"] for one in answer["refused"])
    assert sorted(str(v["event_id"]) for v in written(running.log)) == ["e0", "e2"]
    assert 'raie_ingested_total{topic="interactions"} 2.0' in running.metrics()
    assert 'raie_ingest_refused_total{reason="bad_timestamp"} 1.0' in running.metrics()


def test_a_batch_without_a_good_record_is_422(running: Running) -> None:
    status, answer = running.post("/events", [{"a": 1}])
    assert (status, answer["accepted"], answer["refused"][0]["reason"]) == (422, 0, "missing_user_id")
    assert running.post("/items", [{"text": "no id"}])[0] == 422


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"7", b"[]", b'{"events": []}', b'{"events": 1}', b'{"events": [1], "x": 2}', b"[NaN]"),
        *(b"[1e999]", b'["\\ud83d"]', b"\xff", b'[{"user": "a"}', b"[" * 20_000 + b"]" * 20_000),
    ],
)
def test_a_malformed_body_is_422_and_writes_nothing(running: Running, body: bytes) -> None:
    status, answer = running.post("/events", body)
    assert status == 422
    assert "detail" in answer and len(json.dumps(answer)) < 2000
    assert written(running.log) == []


def test_a_record_that_no_log_takes_is_refused_alone(sqlite: LogSettings) -> None:
    with ingesting(sqlite, max_body=3_000_000) as running:
        status, answer = running.post("/events", [event(0, note="é" * 300_000), event(1)])
        assert (status, answer["accepted"], answer["refused"][0]["reason"]) == (202, 1, "oversize")


def test_what_is_too_large_is_413(sqlite: LogSettings) -> None:
    with ingesting(sqlite, max_batch=3, max_body=1000) as running:
        assert running.post("/events", [event(n) for n in range(4)])[0] == 413
        status, answer = running.post("/events", b" " * 1001)
        assert (status, "ingest.max_body" in answer["detail"]) == (413, True)
        assert running.post("/events", [event(n) for n in range(3)])[0] == 202


def test_events_wait_while_the_gate_is_behind_and_items_do_not(sqlite: LogSettings) -> None:
    with ingesting(sqlite, max_lag=2) as running:
        assert running.post("/events", [event(n) for n in range(3)])[0] == 202
        running.service._lag._read = None
        status, headers, _ = running.ask("POST", "/events", json.dumps([event(9)]).encode())
        assert (status, headers["retry-after"]) == (429, "5")
        assert len(written(running.log)) == 3
        assert running.post("/items", [{"item_id": "i1"}])[0] == 202
        assert "raie_ingest_busy_total 1.0" in running.metrics()
        with running.log.producer("gate").transaction() as transaction:
            consumer = running.log.consumer("gate", [INTERACTIONS], "g")
            while len(consumer.poll(10, 0.2)):
                pass
            transaction.commit_offsets(consumer)
        running.service._lag._read = None
        assert running.post("/events", [event(9)])[0] == 202


def test_a_token_is_required_where_one_is_configured(sqlite: LogSettings) -> None:
    with ingesting(sqlite, access_of("secret")) as running:
        for path in ("/events", "/items"):
            assert running.post(path, [event(0)])[0] == 401
            assert running.post(path, [event(0, item_id="i")], "other")[0] == 401
        assert running.post("/events", [event(0)], "secret")[0] == 202
        assert running.ask("GET", "/healthz")[0] == running.ask("GET", "/metrics")[0] == 200


def test_after_a_commit_of_unknown_outcome_the_next_batch_is_written(sqlite: LogSettings) -> None:
    with ingesting(sqlite) as running:

        class Lost:
            def transaction(self) -> None:
                raise UnavailableError("no answer")

        running.service._producer = Lost()  # type: ignore[assignment]
        status, answer = running.post("/events", [event(0)])
        assert status == 503 and "send the batch again" in answer["detail"]
        assert running.post("/events", [event(0)])[0] == 202


def test_a_newer_service_of_the_name_takes_over(sqlite: LogSettings) -> None:
    with ingesting(sqlite) as older, ingesting(sqlite) as newer:
        assert newer.post("/events", [event(0)])[0] == 202
        assert older.ask("GET", "/readyz")[0] == 200
        status, answer = older.post("/events", [event(1)])
        assert status == 503 and "--instance" in answer["detail"]
        assert older.ask("GET", "/readyz")[0] == 503
        assert newer.post("/events", [event(1)])[0] == 202


def test_a_slow_body_holds_up_nobody(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as slow:
        slow.sendall(
            b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n["
        )
        assert running.post("/events", [event(0)])[0] == 202
        assert running.ask("GET", "/readyz")[0] == 200
