"""Lockstep on what a stock client sends: the results are those of a replay, and a flood of items harms nobody else.

RAIE_SOAK=1 runs the flood, as `make soak` does.
"""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import numpy as np

from consumers.producer.feed import Feed, feed_of
from consumers.runtime.ledger import Ledger
from consumers.runtime.runner import log_of
from pipeline.config import Config
from pipeline.datasets.dataset import Dataset, read_dataset
from pipeline.evaluation.replay import prepare as prepare_replay
from pipeline.evaluation.replay import replay
from pipeline.evaluation.run_folder import STATE
from pipeline.events.edit import Operation
from pipeline.events.interaction import Interaction
from pipeline.events.item_status import ARRIVED, EVICTED
from pipeline.setup.bootstrap import set_up
from pipeline.setup.storage import load_setup, save_setup
from pipeline.streams import SqliteLog
from tests.broker import settings
from tests.consumers.gating import Json, changed
from tests.consumers.soak import PARTITIONS, Driver, gated_of, left, one_thread, quiet, verify, wait_for_commits
from tests.consumers.stock_client import StockClient, plain, statuses
from tests.replay.small import emerging, rows_of, write_log

EVENTS = 1_000
WORKERS = (("gate", "g"), ("monitor", "m"), ("trainer", "t0"))
OTHERS, FLOOD = 90, 25
"""Events of the usual users, of which about every fourth brings an item, and new items that a bot takes beside each."""


def on_broker(url: str, **sections: Json) -> Config:
    config = changed(consumers={"lockstep": True}, **sections)
    return config.model_copy(update={"log": settings(url=url, partitions=PARTITIONS)})


def prepare(folder: Path, dataset: Dataset, config: Config) -> StockClient:
    """Replay a log, and write the set-up of the workers and the topics."""
    with one_thread():
        replay(dataset, config, ["raie"], 1, folder / "replay", quiet, time.monotonic)
        plan, catalogue = prepare_replay(dataset, config, quiet)
        save_setup(set_up(config, catalogue, plan.setup, seed=0), folder / "root")
    (folder / "config.json").write_text(config.model_dump_json())
    log_of(config).close()
    return StockClient(config.log)


def replayed(folder: Path) -> list[Json]:
    with closing(SqliteLog(folder / "replay" / STATE / "seed0" / "raie" / "log.sqlite")) as log:
        return gated_of(log)


def in_step(event: Interaction, **more: object) -> Json:
    return plain(event, event_id=event.event_id, **more)


def send(client: StockClient, feed: Feed) -> None:
    """Send everything, each item before its first interaction and without a moment."""
    client.announce({item.item_id: {"text": item.text} for item in feed.items})
    client.take(in_step(event, past=True) for event in feed.past)
    for number, event in enumerate(feed.stream):
        client.announce({item.item_id: {"text": item.text} for item in feed.arrivals.get(number, ())})
        client.take([in_step(event, sequence=number, cut=number in feed.cuts)])


def test_in_lockstep_edits_outcomes_and_adapters_are_those_of_the_replay(kafka_url: str, tmp_path: Path) -> None:
    # Far fewer than the items of the log: most come, go and come back.
    config, dataset = on_broker(kafka_url, items={"most": 60}), read_dataset(emerging(EVENTS))
    client, feed = prepare(tmp_path, dataset, config), feed_of(dataset, config)
    send(client, feed)
    Driver(tmp_path, len(feed.stream), Random(0), workers=WORKERS).run(limit=200)
    found = left(tmp_path)
    assert found.outcomes
    verify(found, tmp_path / "replay")


def short_log(folder: Path) -> tuple[Dataset, float]:
    """A log whose stream is short, and the share of its events before the stream."""
    first, *rows = rows_of(emerging(EVENTS))
    half = EVENTS // 2
    rows = sorted(rows, key=lambda row: int(row[2]))[: half + OTHERS]
    log = write_log(folder, [first, *rows], rows_of(emerging(EVENTS), "items.csv"))
    return read_dataset(log), (half - 0.5) / len(rows)


def flooded(feed: Feed) -> Iterator[Json]:
    """The stream, with a bot that takes nothing but new items."""
    number, last = 0, (FLOOD + 1) * len(feed.stream) - 1
    for place, event in enumerate(feed.stream):
        yield in_step(event, sequence=number)
        for junk in range(FLOOD):
            number += 1
            bot = {"user_id": "bot", "item_id": f"junk {place}-{junk}", "timestamp": event.timestamp}
            yield {**bot, "event_id": f"~{number:06d}", "sequence": number, "cut": number == last}
        number += 1


def recall(gated: list[Json]) -> float:
    return float(np.mean([0 < g["rank"] <= 10 for g in gated if g["user_id"] != "bot"]))


if os.environ.get("RAIE_SOAK"):

    def test_a_flood_of_new_items_is_bounded_and_hides_nothing_from_others(kafka_url: str, tmp_path: Path) -> None:
        dataset, share = short_log(tmp_path / "log")
        # Two thirds of the flood: what others take comes back before everything else is newer.
        most, max_regions = 1_500, 5
        config = on_broker(
            kafka_url,
            items={"most": most},
            edits={"max_regions": max_regions},
            data={"finetune_from": share, "test_from": 0.97},
        )
        client, feed = prepare(tmp_path, dataset, config), feed_of(dataset, config)
        client.announce({item.item_id: {"text": item.text} for item in dataset.items.values()})
        client.take(in_step(event, past=True) for event in feed.past)
        client.take(flooded(feed))
        Driver(tmp_path, (FLOOD + 1) * OTHERS, Random(0), workers=WORKERS).run(limit=200)
        setup = load_setup(tmp_path / "root")
        with closing(log_of(config)) as log:
            wait_for_commits(log)
            gated, ledger = gated_of(log), Ledger(log, PARTITIONS).poll()
            arrived, evicted = statuses(log, ARRIVED), statuses(log, EVICTED)
        adds = [edit for edit, outcome in ledger if outcome.published and outcome.operation is Operation.ADD]
        assert len(setup.bank.live) + len(adds) <= max_regions
        announced = {g["target"] for g in gated if g["user_id"] != "bot"} - set(setup.catalogue.item_ids)
        assert len(arrived) >= FLOOD * OTHERS
        assert len(setup.catalogue) + len(announced) + len(arrived) - len(evicted) == most
        assert recall(replayed(tmp_path)) > 0.1
        assert recall(gated) >= 0.9 * recall(replayed(tmp_path))
