"""Live mode with two of each stage, which die at random, while every event comes one to three times.

RAIE_SOAK=1 makes it long and tries it on a broker, too, as `make soak` does.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Thread

import pytest

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
from pipeline.streams.topics import EDITS, GATED, REGIONS
from tests.consumers.gating import changed, read, said, write
from tests.consumers.soak import Driver, prepare, wait_for_commits

LONG = bool(os.environ.get("RAIE_SOAK"))
KINDS = ["sqlite", *(["kafka"] if LONG else [])]

EVENTS, RATE, KILLS = (6_000, 60.0, 30) if LONG else (1_200, 60.0, 8)
"""Events of the data set, half of them the stream; events a second, so that edits are made beside them; deaths."""

WORKERS = tuple((stage, f"{stage[0]}{number}") for stage in ("gate", "monitor", "trainer") for number in range(2))

TOGETHER = 20
"""Events that are sent together, in any order."""


def deliveries(feed: Feed) -> Iterator[list[dict[str, object]]]:
    """The stream in parts, each event one to three times."""
    rng = Random(5)
    for start in range(0, len(feed.stream), TOGETHER):
        part = [said(event) for event in feed.stream[start : start + TOGETHER] for _ in range(rng.randint(1, 3))]
        rng.shuffle(part)
        yield part


def send(feed: Feed, config: Config) -> None:
    """Write the stream at its rate."""
    began = time.monotonic()
    with closing(log_of(config)) as log:
        for number, part in enumerate(deliveries(feed)):
            time.sleep(max(0.0, began + number * TOGETHER / RATE - time.monotonic()))
            write(log, part)


@pytest.mark.parametrize("log_settings", KINDS, indirect=True)
def test_two_of_each_stage_that_die_and_take_over_lose_and_double_nothing(
    tmp_path: Path, log_settings: LogSettings
) -> None:
    config = changed().model_copy(update={"log": log_settings})
    feed = prepare(tmp_path, EVENTS, config)
    driver = Driver(tmp_path, len(feed.stream), Random(1), KILLS, kill_every=1.5, workers=WORKERS)
    sending = Thread(target=send, args=(feed, config))
    sending.start()
    driver.run(limit=600)
    sending.join()
    make_deterministic()
    adapters = adapters_of(tmp_path / "root")
    with closing(log_of(config)) as log:
        wait_for_commits(log)
        assert Counter(r.value["event_id"] for r in read(log, GATED) if r.value) == Counter(
            event.event_id for event in feed.stream
        )
        edits = (r for partition in range(log.topic(EDITS).partitions) for r in read(log, EDITS, partition))
        decided = [value_of(record)["edit_id"] for record in edits]
        ledger = Ledger(log, config.log.partitions).poll()
        assert Counter(edit.edit_id for edit, _ in ledger) == Counter(decided)
        published = [edit for edit, outcome in ledger if outcome.published]
        assert published
        revisions = [value_of(record)["edit_id"] for record in new_records(log, REGIONS, 0)]
        assert Counter(revisions) == Counter(edit.edit_id for edit in published)
        store = AdaptersStore(adapters)
        collect_orphans(log, store)
        assert set(store.names()) == adapters_ever_live(log)
        for edit in published:
            assert rerun(edit, load_setup(tmp_path / "root"), config, log, adapters).alike, edit
