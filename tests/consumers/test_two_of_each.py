"""Live mode with two of each stage, which die at random, while every event comes one to three times.

RAIE_SOAK=1 makes it long and tries it on a broker, too, which goes away meanwhile, as `make soak` does.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import pytest
from confluent_kafka import Producer

from adapters_store import AdaptersStore
from consumers.producer.feed import Feed
from consumers.runtime.ledger import Ledger, adapters_ever_live
from consumers.runtime.runner import adapters_of, log_of
from consumers.runtime.topic_reader import new_records, value_of
from consumers.trainer.orphans import collect_orphans
from consumers.trainer.rerun import rerun
from pipeline.config import Config, LogSettings
from pipeline.models.seeding import make_deterministic
from pipeline.setup.storage import load_setup
from pipeline.streams.topics import EDITS, GATED, INTERACTIONS, REGIONS
from tests.broker import Broker, settings
from tests.consumers.gating import changed, read, said, write
from tests.consumers.soak import PARTITIONS, Driver, cluster_in, prepare, quiet, wait_for_commits

LONG = bool(os.environ.get("RAIE_SOAK"))

EVENTS, RATE, KILLS = (6_000, 60.0, 30) if LONG else (1_200, 60.0, 8)
"""Events of the data set, half of them the stream; events a second, so that edits are made beside them; deaths."""

AWAY = 20.0
"""Seconds without a broker, from the moment at which half of the stream is gated."""

WORKERS = tuple((stage, f"{stage[0]}{number}") for stage in ("gate", "monitor", "trainer") for number in range(2))

TOGETHER = 20
"""Events that are sent together, in any order."""

Deliver = Callable[[list[dict[str, Any]]], None]


def deliveries(feed: Feed) -> Iterator[list[dict[str, Any]]]:
    """The stream in parts, each event one to three times."""
    rng = Random(5)
    for start in range(0, len(feed.stream), TOGETHER):
        part = [said(event) for event in feed.stream[start : start + TOGETHER] for _ in range(rng.randint(1, 3))]
        rng.shuffle(part)
        yield part


def send(feed: Feed, deliver: Deliver) -> None:
    """Deliver the stream at its rate."""
    began = time.monotonic()
    for number, part in enumerate(deliveries(feed)):
        time.sleep(max(0.0, began + number * TOGETHER / RATE - time.monotonic()))
        deliver(part)


def run(folder: Path, feed: Feed, deliver: Deliver, halfway: Callable[[], None] = quiet) -> None:
    """Run all stages until everything that is sent has come to its end."""
    driver = Driver(folder, len(feed.stream), Random(1), KILLS, kill_every=1.5, workers=WORKERS, halfway=halfway)
    sending = Thread(target=send, args=(feed, deliver))
    sending.start()
    driver.run(limit=500)
    sending.join()


def check(folder: Path, config: Config, feed: Feed) -> None:
    """Check that nothing was lost or doubled, and that every published edit can be carried out again."""
    make_deterministic()
    adapters = adapters_of(folder / "root")
    with closing(log_of(config)) as log:
        wait_for_commits(log)
        gated = Counter(record.value["event_id"] for record in read(log, GATED) if record.value)
        assert gated == Counter(event.event_id for event in feed.stream)
        edits = (r for partition in range(log.topic(EDITS).partitions) for r in read(log, EDITS, partition))
        ledger = Ledger(log, config.log.partitions).poll()
        assert Counter(edit.edit_id for edit, _ in ledger) == Counter(value_of(r)["edit_id"] for r in edits)
        published = [edit for edit, outcome in ledger if outcome.published]
        assert published
        revisions = [value_of(record)["edit_id"] for record in new_records(log, REGIONS, 0)]
        assert Counter(revisions) == Counter(edit.edit_id for edit in published)
        store = AdaptersStore(adapters)
        collect_orphans(log, store)
        assert set(store.names()) == adapters_ever_live(log)
        for edit in published:
            assert rerun(edit, load_setup(folder / "root"), config, log, adapters).alike, edit


def away(broker: Broker) -> None:
    """Take the broker away for a while."""
    broker.kill()
    time.sleep(AWAY)
    broker.start()


def on_the_embedded_log(folder: Path) -> None:
    """Run and check with our own producer."""
    config = changed().model_copy(
        update={"log": LogSettings(url=f"sqlite:///{folder / 'log.sqlite'}", partitions=PARTITIONS)}
    )
    feed = prepare(folder, EVENTS, config)
    with closing(log_of(config)) as log:
        run(folder, feed, lambda part: write(log, part))
    check(folder, config, feed)


def beside_a_broker_that_goes_away(folder: Path) -> None:
    """Run and check with a stock client and a broker that is away for a while."""
    with cluster_in(folder / "kafka", 1) as broker:
        config = changed().model_copy(update={"log": settings(url=broker.start(), partitions=PARTITIONS)})
        feed = prepare(folder, EVENTS, config)
        servers, topic = config.log.url.removeprefix("kafka://"), f"{config.log.prefix}{INTERACTIONS}"
        client = Producer({"bootstrap.servers": servers, "enable.idempotence": True})

        def deliver(part: list[dict[str, Any]]) -> None:
            for event in part:
                client.produce(topic, json.dumps(event).encode(), str(event["user_id"]))
            client.poll(0.0)

        run(folder, feed, deliver, halfway=lambda: Thread(target=away, args=(broker,)).start())
        assert client.flush(60) == 0
        check(folder, config, feed)


@pytest.mark.parametrize("form", [on_the_embedded_log, *([beside_a_broker_that_goes_away] if LONG else [])])
def test_two_of_each_stage_that_die_and_take_over_lose_and_double_nothing(
    tmp_path: Path, form: Callable[[Path], None]
) -> None:
    form(tmp_path)
