"""Throughput of `POST /events` beside a bare transactional producer of the same records on the same broker.

Batches of 500 records, one transaction each. Producer, service and client run in one process, the client over a
kept-alive connection. `ratios.http` is the records per second of the service over those of the
producer, the median of repeats that take turns.
"""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from itertools import count
from statistics import median
from typing import Any

import uvicorn
from kafka import KafkaProducer

from consumers.http.listening import listen
from consumers.ingest.http.app import make_app
from consumers.ingest.service import IngestService
from consumers.runtime.runner import log_of
from pipeline.config import Config, LogSettings
from pipeline.streams.topics import INTERACTIONS
from pipeline.telemetry import new_metrics

BATCH = 500
"""Records of a batch and of a transaction."""

USERS, ITEMS = 5_000, 2_000

Batches = Sequence[Sequence[dict[str, object]]]


def measured(url: str, records: int, repeats: int) -> dict[str, Any]:
    """Measure on new topics of a broker."""
    config = Config(log=LogSettings(url=url, prefix=f"ingest-{time.time_ns()}-"))
    with serving(config) as port, closing(HTTPConnection("127.0.0.1", port)) as client, bare(config) as producer:
        numbers = count()
        runs = [
            {
                "bare": rate_of(lambda batch: produce(producer, config, batch), batches(records, next(numbers))),
                "http": rate_of(lambda batch: post(client, batch), batches(records, next(numbers))),
            }
            for _ in range(repeats)
        ]
    return summary(runs) | {"records": records, "batch": BATCH}


def batches(records: int, run: int) -> Batches:
    """Return records of one run, in batches."""
    made = [
        {"event_id": f"{run}-{n}", "user_id": f"u{n % USERS}", "item_id": f"i{n % ITEMS}", "timestamp": 1.7e9 + n}
        for n in range(records)
    ]
    return [made[start : start + BATCH] for start in range(0, records, BATCH)]


def produce(producer: KafkaProducer, config: Config, batch: Sequence[dict[str, object]]) -> None:
    """Write a batch as a producer does that checks nothing."""
    producer.begin_transaction()
    for record in batch:
        value, key = json.dumps(record).encode(), str(record["user_id"]).encode()
        producer.send(f"{config.log.prefix}{INTERACTIONS}", value, key=key)
    producer.flush()
    producer.commit_transaction()


def post(client: HTTPConnection, batch: Sequence[dict[str, object]]) -> None:
    """Write a batch over HTTP."""
    client.request("POST", "/events", json.dumps(batch).encode(), {"Content-Type": "application/json"})
    response = client.getresponse()
    answer = json.loads(response.read())
    if (response.status, answer.get("accepted")) != (202, len(batch)):
        raise SystemExit(f"a batch was answered {response.status}: {answer}")


def rate_of(write: Any, made: Batches) -> float:
    """Return records per second."""
    began = time.perf_counter()
    for batch in made:
        write(batch)
    return sum(map(len, made)) / (time.perf_counter() - began)


def summary(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return the medians, and their ratio by run."""
    ratios = sorted(run["http"] / run["bare"] for run in runs)
    return {
        "records_per_second": {name: round(median(run[name] for run in runs)) for name in ("bare", "http")},
        "ratios": {"http": round(median(ratios), 3), "lowest": round(ratios[0], 3), "highest": round(ratios[-1], 3)},
    }


@contextmanager
def bare(config: Config) -> Iterator[KafkaProducer]:
    """Open a producer of kafka-python with transactions; it fills its requests as the service's does."""
    address = config.log.url.removeprefix("kafka://").split(",")
    full = {"linger_ms": 3000, "batch_size": 256 * 1024}
    producer = KafkaProducer(bootstrap_servers=address, transactional_id=f"{config.log.prefix}bare", **full)
    producer.init_transactions()
    yield producer
    producer.close()


@contextmanager
def serving(config: Config) -> Iterator[int]:
    """Run the service; yield its port."""
    log, listening = log_of(config), listen("127.0.0.1", 0, "ingest")
    with closing(IngestService(log, "bench", config, new_metrics(), time.time, time.monotonic)) as service:
        application = make_app(service, config.access, config.ingest)
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()
    listening.close()
