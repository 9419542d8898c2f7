"""Producers that know nothing of this pipeline feed a running gate: each user's history is found, and stays one."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from threading import Event, Thread

import pytest
from confluent_kafka import Producer
from kafka import KafkaProducer

from consumers.http.tokens import ANYONE
from consumers.ingest.service import IngestService
from consumers.runtime.stage import Output
from consumers.runtime.topic_reader import value_of
from consumers.runtime.tracing import Traceparents, Tracing
from pipeline.streams import Log
from pipeline.streams import open_log as open_log_at
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import GATED, INTERACTIONS, USERS, pipeline_topics
from pipeline.telemetry import new_metrics
from tests.broker import SCRIPT, settings
from tests.consumers.gating import changed, events, gate_loop, gated, letters, named, read, said, users, write
from tests.consumers.run_of_raie import the_setup
from tests.consumers.test_gate_faults import Patient
from tests.consumers.test_loop import until
from tests.consumers.test_repartition import PARTITIONS, homes

USERS_OF_A_TEST = [f"{i:04d}" for i in range(8)]
HISTORY = 3
"""Items of each user before a client comes."""

Lines = Sequence[tuple[str | None, bytes]]
"""Keys and values."""

Send = Callable[[Lines], None]
"""Function that sends records."""


@contextmanager
def kafka_python(servers: str, topic: str) -> Iterator[Send]:
    producer = KafkaProducer(bootstrap_servers=servers)

    def send(lines: Lines) -> None:
        for sent in [producer.send(topic, value, key=key and key.encode()) for key, value in lines]:
            sent.get(30)

    yield send
    producer.close()


@contextmanager
def confluent(servers: str, topic: str) -> Iterator[Send]:
    producer = Producer({"bootstrap.servers": servers})

    def send(lines: Lines) -> None:
        for key, value in lines:
            producer.produce(topic, value, key)
        assert producer.flush(30) == 0

    yield send


@contextmanager
def kcat(servers: str, topic: str) -> Iterator[Send]:
    def send(lines: Lines) -> None:
        command = ["kcat", "-P", "-b", servers, "-t", topic, "-K", "\t"]
        subprocess.run(command, input=keyed(lines), check=True, timeout=30)

    yield send


@contextmanager
def console(servers: str, topic: str) -> Iterator[Send]:
    options = ["--bootstrap-server", servers, "--topic", topic, "--timeout", "20", "--property", "parse.key=true"]
    command = [sys.executable, SCRIPT, "console-producer", *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin

    def send(lines: Lines) -> None:
        assert process.stdin
        process.stdin.write(keyed(lines))
        process.stdin.flush()

    try:
        yield send
    finally:
        process.stdin.close()
        code = process.wait(30)
    assert code == 0


def keyed(lines: Lines) -> bytes:
    """Lines of key, tabulator and value."""
    return b"".join(str(key).encode() + b"\t" + value + b"\n" for key, value in lines)


CLIENTS = {
    "kafka-python": (kafka_python, True),
    "kafka-python without keys": (kafka_python, False),
    "confluent-kafka": (confluent, True),
    "confluent-kafka without keys": (confluent, False),
    "kcat": (kcat, True),
    "Kafka's console producer": (console, True),
}
"""Client -> how it sends, and whether its records have keys."""


@contextmanager
def running_gate(url: str, folder: Path) -> Iterator[tuple[Log, str]]:
    """A gate over a log whose users have histories; yields the log and its prefix."""
    asked, stop = settings(url=url, partitions=PARTITIONS), Event()
    log = open_log_at(url, asked)
    log.create_topics(pipeline_topics(PARTITIONS))
    write(log, [before(user, n) for n in range(HISTORY) for user in USERS_OF_A_TEST])
    config = changed(consumers={"poll_timeout": 0.1})
    loop = gate_loop(lambda: open_log_at(url, asked), folder, config, stop=stop, kind=Patient)
    thread = Thread(target=loop.run)
    thread.start()
    try:
        yield log, asked.prefix
    finally:
        stop.set()
        thread.join()
        log.close()


def item(number: int) -> str:
    return the_setup().catalogue.item_ids[number]


def before(user: str, number: int) -> Mapping[str, object]:
    event = {"user_id": user, "item_id": item(number), "timestamp": 1.4e9 + number, "past": True}
    return {**event, "event_id": f"{user} {number}"}


def verbatim(user: str, event_id: str, timestamp: int = 1_500_000_000) -> bytes:
    """The record of the report, of a user."""
    return b'{"user_id":"%b","item_id":"i/1","timestamp":%d,"event_id":"%b"}' % (
        user.encode(),
        timestamp,
        event_id.encode(),
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_a_stock_producer_finds_the_histories_and_erases_them(kafka_url: str, tmp_path: Path, client: str) -> None:
    if client == "kcat" and not shutil.which("kcat"):
        pytest.skip("no kcat on the PATH (Debian: kcat)")
    connect, has_keys = CLIENTS[client]
    servers = kafka_url.removeprefix("kafka://")
    with running_gate(kafka_url, tmp_path) as (log, prefix), connect(servers, f"{prefix}{INTERACTIONS}") as send:

        def send_each(value: Callable[[str], bytes], of: Sequence[str] = USERS_OF_A_TEST) -> None:
            send([(user if has_keys else None, value(user)) for user in of])

        send_each(lambda user: verbatim(user, f"{user} e1"))
        until(lambda: len(gated(log)) >= len(USERS_OF_A_TEST))
        window = [item(n) for n in range(HISTORY)]
        assert {g["user_id"]: g["window"] for g in named(log)} == dict.fromkeys(USERS_OF_A_TEST, window)
        assert not any(g["cold"] for g in gated(log))
        assert homes(log, USERS) == {user: {partition_of(user, PARTITIONS)} for user in USERS_OF_A_TEST}
        assert {u: v["history"][-1] for u, v in users(log).items() if v} == dict.fromkeys(USERS_OF_A_TEST, "i/1")

        erased, kept = USERS_OF_A_TEST[:4], USERS_OF_A_TEST[4:]
        send_each(lambda user: json.dumps({"erase": True, "user_id": user}).encode(), erased)
        until(lambda: set(homes(log, USERS)) == set(kept))
        # Only what comes after the erasure begins the user anew.
        later = int(time.time()) + 60
        send_each(lambda user: verbatim(user, f"{user} e2", later))
        until(lambda: len(gated(log)) >= 2 * len(USERS_OF_A_TEST))
        last = {g["user_id"]: g["window"] for g in named(log)[len(USERS_OF_A_TEST) :]}
        assert last == {user: [] if user in erased else [*window, "i/1"] for user in USERS_OF_A_TEST}
        assert letters(log) == []
        assert json.dumps([dict(g) for g in gated(log)]).count(' e1"') == len(USERS_OF_A_TEST)


TRACES = [f"00-{digit * 32}-00f067aa0ba902b7-01" for digit in "12"]


class Steps(Tracing):
    """Tracing of a gate whose spans have an id that is known."""

    def steps(self, outputs: Sequence[Output]) -> AbstractContextManager[Traceparents]:
        came = [output.traceparent for output in outputs]
        return nullcontext([each and each.replace("00f067aa0ba902b7", "3" * 16) for each in came])


def test_a_trace_goes_from_a_client_and_from_ingest_to_what_the_gate_writes(kafka_url: str, tmp_path: Path) -> None:
    asked = settings(url=kafka_url, partitions=1)
    config = changed().model_copy(update={"log": asked})
    of_client, without, of_ingest = (said(event) for event in events()[1][:3])
    with closing(open_log_at(kafka_url, asked)) as log:
        log.create_topics(pipeline_topics(1))
        with closing(KafkaProducer(bootstrap_servers=kafka_url.removeprefix("kafka://"))) as producer:
            for value, headers in ((of_client, [("traceparent", TRACES[0].encode())]), (without, [])):
                producer.send(asked.prefix + INTERACTIONS, json.dumps(value).encode(), headers=headers).get(30)
        opened = open_log_at(kafka_url, asked)
        service = IngestService(opened, "i", config, new_metrics(), time.time, time.monotonic, lambda: TRACES[1])
        with closing(service):
            assert service.ingest(INTERACTIONS, [of_ingest], ANYONE) == []
        gate_loop(lambda: open_log_at(kafka_url, asked), tmp_path, config, tracing=Steps()).run()
        came = {value_of(record)["event_id"]: record.traceparent for record in read(log, GATED)}
    spans = [f"00-{digit * 32}-{'3' * 16}-01" for digit in "12"]
    assert [came[value["event_id"]] for value in (of_client, without, of_ingest)] == [spans[0], None, spans[1]]
