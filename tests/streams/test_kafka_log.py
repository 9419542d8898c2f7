"""Log on a broker, beyond the laws: outages, rebalances, foreign bytes, stamps, existing topics."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError, RequestTimedOutError

from consumers.cli.topics import check_topics, create_topics
from pipeline.config import load_config
from pipeline.errors import LogError
from pipeline.streams import Log, PartitionLostError, Record, UnavailableError, open_log
from pipeline.streams.assignment import Member
from pipeline.streams.codec import UNREADABLE
from pipeline.streams.interface import OversizeError
from pipeline.streams.kafka.assignor import in_order
from pipeline.streams.kafka.config import milliseconds, parse_url
from pipeline.streams.kafka.errors import translated
from pipeline.streams.kafka.log import KafkaLog
from pipeline.streams.kafka.reader import WAIT
from tests.broker import Broker, settings
from tests.streams.conftest import TOPICS
from tests.streams.test_laws import drain, everything, numbers, rebalance, write

EVENTS = 2000


@pytest.fixture
def kafka(kafka_url: str) -> Iterator[KafkaLog]:
    with closing(KafkaLog(kafka_url, settings())) as log:
        log.create_topics(TOPICS)
        yield log


def relay(log: Log, end: int) -> int:
    """Move what is in `one` to `many`, starting over whenever the log does not answer; return how often it did."""
    restarts = 0
    while True:
        try:
            producer = log.producer("relay")
            with closing(log.consumer("relay", ["one"], "a")) as consumer:
                while ("one", 0) not in consumer.assignment or consumer.position("one", 0) < end:
                    move(producer, consumer.poll(50, 0.2), consumer)
                return restarts
        except (UnavailableError, PartitionLostError):
            restarts += 1


def move(producer: object, records: list[Record], consumer: object) -> None:
    if not records:
        return
    with producer.transaction() as transaction:  # type: ignore[attr-defined]
        for record in records:
            transaction.send("many", record.value, partition=0, timestamp=record.timestamp)
        transaction.commit_offsets(consumer)


def test_a_broker_that_goes_and_comes_back_loses_nothing_and_doubles_nothing(broker: Broker) -> None:
    changed = settings(commit_seconds=5.0, close_seconds=1.0)
    with closing(open_log(broker.start(), changed)) as log, ThreadPoolExecutor(1) as pool:
        log.create_topics(TOPICS)
        write(log, "one", range(EVENTS))
        end = log.end_offset("one", 0)
        moving = pool.submit(relay, log, end)
        time.sleep(1.0)
        broker.kill()
        time.sleep(1.0)
        broker.start()
        moving.result(timeout=240)
        assert numbers(everything(log, "many")) == list(range(EVENTS))


def test_a_commit_without_a_broker_ends_within_its_deadline_and_is_settled_by_the_next_producer(broker: Broker) -> None:
    changed = settings(commit_seconds=4.0, close_seconds=1.0)
    with closing(open_log(broker.start(), changed)) as log:
        log.create_topics(TOPICS)
        write(log, "one", [0])
        producer = log.producer("p")
        with producer.transaction() as transaction:
            transaction.send("one", {"n": 1}, timestamp=0.0)
        broker.stop()
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="open a new producer"), producer.transaction() as transaction:
            for number in range(100):
                transaction.send("one", {"n": 2 + number}, timestamp=0.0)
        assert time.monotonic() - started < 30
        with pytest.raises(UnavailableError), producer.transaction() as transaction:
            transaction.send("one", {"n": -1}, timestamp=0.0)
        broker.start()
        with log.producer("p").transaction() as transaction:
            transaction.send("one", {"n": -2}, timestamp=0.0)
        assert numbers(everything(log, "one")) == [0, 1, -2]


def test_a_pause_and_a_position_survive_those_who_join_and_leave(kafka: KafkaLog) -> None:
    for partition in range(4):
        write(kafka, "many", range(10), partition=partition)
    worker = kafka.consumer("g", ["many"], "a")
    rebalance([4], worker)
    for where in worker.assignment:
        worker.seek(*where, 3)
    worker.pause(worker.assignment)
    for _ in range(2):
        other = kafka.consumer("g", ["many"], "b")
        rebalance([2, 2], worker, other)
        assert worker.assignment == [("many", 0), ("many", 1)]
        assert [worker.position(*where) for where in worker.assignment] == [3, 3]
        assert worker.poll(10, 0.3) == []
        other.close()
        deadline = time.monotonic() + 20
        while len(worker.assignment) < 4 and time.monotonic() < deadline:
            # What went and came back starts anew, and is not paused.
            assert {record.partition for record in worker.poll(10, 0.05)} <= {2, 3}
    worker.resume([("many", 0)])
    assert numbers(r for r in drain(worker) if r.partition == 0) == [3, 4, 5, 6, 7, 8, 9]


def test_a_read_that_finds_nothing_but_a_marker_ends_and_leaves_no_fetch_behind_that_waits(kafka: KafkaLog) -> None:
    write(kafka, "one", [0])
    for _ in range(10):
        assert list(kafka.read("one", 0, 1, kafka.end_offset("one", 0))) == []
    # One client did all of it. It asks for what comes next, of its own accord, and while the broker holds that request
    # back (half a second, by default) nothing else is answered on the connection.
    (reader,) = kafka._readers._idle
    assert reader.config["fetch_max_wait_ms"] <= milliseconds(WAIT)


def test_the_acknowledged_end_waits_for_what_another_process_is_committing(kafka: KafkaLog, kafka_url: str) -> None:
    write(kafka, "one", [0])
    other = KafkaProducer(bootstrap_servers=kafka_url.removeprefix("kafka://"), transactional_id=settings().prefix)
    other.init_transactions()
    other.begin_transaction()
    offset = other.send(kafka._connection.named("one"), b'{"n":1}').get(20).offset
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(kafka.acknowledged_end, "one", 0)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.5)
        assert kafka.end_offset("one", 0) <= offset, "what is not committed is never shown"
        other.commit_transaction()
        assert waiting.result(timeout=20) > offset
    other.close()
    assert numbers(everything(kafka, "one")) == [0, 1]


def test_the_acknowledged_end_of_a_transaction_that_stays_open_is_out_of_reach(kafka_url: str) -> None:
    with closing(KafkaLog(kafka_url, settings(commit_seconds=1.0))) as log:
        log.create_topics(TOPICS)
        other = KafkaProducer(bootstrap_servers=kafka_url.removeprefix("kafka://"), transactional_id=settings().prefix)
        other.init_transactions()
        other.begin_transaction()
        other.send(log._connection.named("one"), b'{"n":1}').get(20)
        with pytest.raises(UnavailableError, match=r"offset 0 of .*one/0 is written but not visible"):
            log.acknowledged_end("one", 0)
        other.abort_transaction()
        other.close()
        assert log.acknowledged_end("one", 0) == log.end_offset("one", 0)


def test_a_restart_of_an_instance_moves_no_partition(kafka: KafkaLog) -> None:
    crashed, other = kafka.consumer("g", ["many"], "a"), kafka.consumer("g", ["many"], "b")
    rebalance([2, 2], crashed, other)
    claims, held = other.claims(), crashed.assignment
    restarted = kafka.consumer("g", ["many"], "a")
    rebalance([2, 2], restarted, other)
    assert restarted.assignment == held
    assert other.claims() == claims, "what the others hold is never taken from them"


def test_a_partition_that_moved_on_cannot_be_committed_by_its_last_owner(kafka: KafkaLog) -> None:
    write(kafka, "one", range(3))
    silent = kafka.consumer("g", ["one"], "a")
    drain(silent)
    silent._consumer._coordinator._disable_heartbeat()  # neither polls nor beats, as a process that hangs
    other = kafka.consumer("g", ["one"], "b")
    assert numbers(rebalance([1], other) + drain(other)) == [0, 1, 2]
    with pytest.raises(PartitionLostError, match="one/0"), kafka.producer("p").transaction() as transaction:
        transaction.send("many", {"n": 1}, partition=0, timestamp=0.0)
        transaction.commit_offsets(silent)
    assert everything(kafka, "many") == []


def test_an_oversize_record_is_refused_with_a_stub_for_the_dead_letters(kafka_url: str) -> None:
    with closing(open_log(kafka_url, settings(max_record_bytes=2000))) as log:
        log.create_topics(TOPICS)
        with log.producer("p").transaction() as transaction:
            transaction.send("one", {"text": "a" * 1800}, timestamp=0.0)
            with pytest.raises(OversizeError, match=r"topic one, key 'k': .* more than the 2,000") as refused:
                transaction.send("one", {"text": "a" * 2000}, key="k", timestamp=0.0)
            transaction.send("short", refused.value.stub, key="k", timestamp=0.0)
        (stub,) = everything(log, "short")
        assert stub.value is not None
        assert (stub.value[UNREADABLE], stub.value["bytes"]) == ("oversize", 2011)
        assert len(everything(log, "one")) == 1


def test_foreign_bytes_come_as_stubs_and_skewed_stamps_as_they_are(kafka: KafkaLog, kafka_url: str) -> None:
    foreign = KafkaProducer(bootstrap_servers=kafka_url.removeprefix("kafka://"))
    foreign.send(kafka._connection.named("one"), b'{"x": NaN}', key=b"\xff").get(20)
    foreign.close()
    with kafka.producer("p").transaction() as transaction:
        for stamp in (0.0, 4_070_908_800.0, 9e14):
            transaction.send("one", {}, timestamp=stamp)
        transaction.send("one", None, timestamp=0.5)
    first, *rest = everything(kafka, "one")
    assert first.value is not None
    assert first.value[UNREADABLE] == "bad_json"
    assert first.timestamp > 1.6e9
    assert first.written_at == first.timestamp, "a stock client writes no header: the broker's stamp stands in"
    assert [record.timestamp for record in rest] == [0.0, 4_070_908_800.0, 9e14, 0.5]
    assert rest[-1].value is None


def test_topics_that_would_lose_records_are_named(kafka_url: str) -> None:
    prefix = settings().prefix
    overrides = [f"log.url={kafka_url}", f"log.prefix={prefix}"]
    with pytest.raises(LogError, match="topic interactions does not exist"):
        check_topics(load_config(None, overrides))
    created = create_topics(load_config(None, overrides))
    assert check_topics(load_config(None, overrides)) == f"{created}\ninteractions: no records"
    with pytest.raises(LogError) as refused:
        check_topics(load_config(None, [*overrides, "log.partitions=4", "log.retention_days=400"]))
    for problem in ("topic edits has 8 partitions, not 4", "topic gated keeps records for 90 days, less than"):
        assert problem in str(refused.value)
    with pytest.raises(LogError, match="regions has 1 copies, fewer than 3"):
        check_topics(load_config(None, [*overrides, "log.replication_factor=3"]))


def test_the_embedded_log_has_its_topics_checked_alike(tmp_path: object) -> None:
    config = load_config(None, [f"log.url=sqlite:///{tmp_path}/log.sqlite"])
    with pytest.raises(LogError, match="there is no log at"):
        check_topics(config)
    open_log(config.log.url).close()
    with pytest.raises(LogError, match="topic gated does not exist"):
        check_topics(config)
    assert "15 topics are as the pipeline needs them" in create_topics(config)
    with pytest.raises(LogError, match="interactions exists with partitions=8"):
        create_topics(load_config(None, [f"log.url={config.log.url}", "log.partitions=2"]))


@pytest.mark.parametrize("url", ["kafka://", "kafka://host", "kafka://host:port", "kafka://a:1,b", "kafka://:9092"])
def test_a_url_that_names_no_broker_says_how_to(url: str) -> None:
    with pytest.raises(LogError, match=r"kafka://host:port\[,host:port\]"):
        parse_url(url, settings())


def test_an_attempt_that_finds_no_broker_leaves_nothing_running() -> None:
    before, changed = set(threading.enumerate()), settings(commit_seconds=0.5)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="is it running"):
            open_log("kafka://127.0.0.1:1", changed)
    assert set(threading.enumerate()) <= before


def test_a_transactional_request_that_nobody_answered_may_be_tried_again() -> None:
    unanswered = f"Could not execute transactional request for unknown reasons: {RequestTimedOutError('after 5 s')}"
    with pytest.raises(UnavailableError, match="is it running"), translated("producer p"):
        raise KafkaError(unanswered)
    with pytest.raises(LogError, match="producer p: KafkaError: no such state") as refused, translated("producer p"):
        raise KafkaError("no such state")
    assert not isinstance(refused.value, UnavailableError)


def test_how_to_prove_ourselves_is_passed_through() -> None:
    changed = settings(
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="raie",
        sasl_password="secret",
        ssl_cafile="ca.pem",
        ssl_certfile="us.pem",
        ssl_keyfile="us.key",
    )
    there = parse_url("kafka://a:1,b:2", changed)
    for client in (there.client(), there.reader(), there.producer("p")):
        assert client["bootstrap_servers"] == ["a:1", "b:2"]
        assert (client["security_protocol"], client["sasl_mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
        assert (client["sasl_plain_username"], client["sasl_plain_password"]) == ("raie", "secret")
        assert (client["ssl_cafile"], client["ssl_certfile"], client["ssl_keyfile"]) == ("ca.pem", "us.pem", "us.key")
    assert "secret" not in repr(changed)


def test_who_owns_keeps_its_place_and_the_rest_fill_the_gaps() -> None:
    a, b, c = (Member(name, ("t",)) for name in "abc")
    four = {"t": 4}
    second = frozenset({("t", 2), ("t", 3)})
    assert in_order([a, b], {"a": frozenset(), "b": second}, four) == [a, b]
    assert in_order([a, b], {"a": second, "b": frozenset()}, four) == [b, a]
    assert in_order([a, b], {"b": frozenset({("t", 0)})} | {"a": frozenset()}, {"t": 1}) == [b, a]
    assert in_order([a, b, c], dict.fromkeys("abc", frozenset()), four) == [a, b, c]
