"""The live pipeline on what a stock client sends: no partitioner, no schema, no numbers of ours."""

from pathlib import Path

import pytest

from consumers.cli.dead_letters import replay_dead_letters
from consumers.runtime.stage import Point
from pipeline.config import Config
from pipeline.datasets.dataset import read_dataset
from pipeline.events.dead_letter import DeadLetter
from pipeline.events.item_status import ARRIVED, EVICTED
from pipeline.streams.partitioner import partition_of
from tests.broker import settings
from tests.consumers.gating import PARTITIONS, changed, events, letters
from tests.consumers.run_of_raie import the_setup
from tests.consumers.soak import without_the_log
from tests.consumers.stock_client import live, new_items, plain
from tests.consumers.test_loop import Killer, until
from tests.replay.small import dataset, write_log

STREAM = 300


@pytest.fixture
def config(kafka_url: str) -> Config:
    return changed().model_copy(update={"log": settings(url=kafka_url, partitions=PARTITIONS)})


def test_every_interaction_is_gated_and_items_nobody_announced_arrive_once(config: Config, tmp_path: Path) -> None:
    stream = events()[1][:STREAM]
    new = new_items(stream)
    announced, unannounced = new[::2], new[1::2]
    assert len(unannounced) > 5
    with live(config, tmp_path) as pipeline:
        pipeline.client.announce({item_id: {"text": dataset().items[item_id].text} for item_id in announced})
        pipeline.run()
        # Half of the records have an id of their own, the other half get one.
        sent = [plain(e, **{"event_id": e.event_id} if i % 2 else {}) for i, e in enumerate(stream)]
        pipeline.client.take(sent)
        found = pipeline.settle(STREAM)
        until(lambda: len(pipeline.statuses(ARRIVED)) >= len(unannounced))
        assert letters(pipeline.log) == []
        assert sorted((g["user_id"], g["target"], g["timestamp"]) for g in found) == sorted(
            (e.user_id, e.item_id, e.timestamp) for e in stream
        )
        assert {g["event_id"] for g in found} >= {e.event_id for e in stream[1::2]}
        seen: set[str] = set()
        for record in found:
            is_first = record["target"] in unannounced and record["target"] not in seen
            assert (record["rank"] == 0) == (record["loss"] is None) == is_first, record
            seen.add(record["target"])
        assert sorted(pipeline.statuses(ARRIVED)) == sorted(unannounced)


def test_an_item_taken_at_one_gate_becomes_a_candidate_at_the_other(config: Config, tmp_path: Path) -> None:
    stream = events()[1][:STREAM]
    halves = [[plain(e) for e in stream if partition_of(e.user_id, PARTITIONS) == p] for p in range(PARTITIONS)]
    user_of = [next(u for u in map("u{}".format, range(99)) if partition_of(u, PARTITIONS) == p) for p in (0, 1)]
    with live(config, tmp_path) as pipeline:
        pipeline.run(gates="ab")
        until(lambda: len(pipeline.gates) == 2 and all(len(g._users) == 1 for g in pipeline.gates.values()))
        owner = {next(iter(stage._users)): name for name, stage in pipeline.gates.items()}
        for partition, values in enumerate(halves):
            pipeline.client.take(values, partition)
        pipeline.settle(STREAM)
        late = stream[-1].timestamp
        pipeline.client.announce({"later": {"available_from": "when_taken"}})
        for partition in range(PARTITIONS):
            pipeline.client.take(
                [{"user_id": user_of[partition], "item_id": i, "timestamp": late} for i in ("novelty", "later")],
                partition,
            )
            last = pipeline.settle(STREAM + 2 * partition + 2)[-2:]
            assert {g["gate"] for g in last} == {owner[partition]}
            assert [g["rank"] > 0 for g in last] == [partition == 1] * 2
            until(lambda: {"novelty", "later"} <= set(pipeline.statuses(ARRIVED)))
        pipeline.client.take([{"user_id": user_of[0], "item_id": "novelty", "timestamp": late + 1}], 0)
        pipeline.settle(STREAM + 5)
        assert (
            pipeline.existing("a")
            == pipeline.existing("b")
            == set(the_setup().catalogue.item_ids) | set(pipeline.statuses(ARRIVED))
        )


def test_where_unknown_items_are_refused_an_announcement_lets_the_dead_letter_pass(
    kafka_url: str, tmp_path: Path
) -> None:
    config = changed(items={"unknown": "refuse"}).model_copy(
        update={"log": settings(url=kafka_url, partitions=PARTITIONS)}
    )
    known, late = the_setup().catalogue.item_ids[0], events()[1][0].timestamp
    values = [{"user_id": "u1", "item_id": item_id, "timestamp": late} for item_id in ("novelty", known)]
    with live(config, tmp_path) as pipeline:
        pipeline.run()
        pipeline.client.take(values)
        assert [g["target"] for g in pipeline.settle(1)] == [known]
        until(lambda: letters(pipeline.log) != [])
        (letter,) = letters(pipeline.log)
        refused = DeadLetter.from_record(letter).record_in(pipeline.log)
        assert refused is not None and (letter["reason"], refused.value) == ("unknown_item", values[0])
        pipeline.client.announce({"novelty": {"text": "a novelty"}})
        said: list[str] = []
        replay_dead_letters(config, "unknown_item", said.append)
        assert said[0].startswith("1 replayed, 0 not")
        last = pipeline.settle(2)[-1]
        assert last["target"] == "novelty"
        assert last["rank"] >= 1
        assert len(letters(pipeline.log)) == 1


def test_ids_keep_their_case_and_lose_the_space_around_them_wherever_they_come_from(
    config: Config, tmp_path: Path
) -> None:
    ids = ["Tea", "tea", " tea ", "\ttea", "Tea\u00a0"]
    rows = [["user_id", "item_id", "timestamp"], *(["u", item_id, str(1e9 + i)] for i, item_id in enumerate(ids))]
    log = write_log(tmp_path / "log", rows, [["item_id", "text"], [" Tea", "black"], ["tea ", "green"]])
    assert {(i.item_id, i.text) for i in read_dataset(log).items.values()} == {("Tea", "black"), ("tea", "green")}
    late = events()[1][0].timestamp
    returns = config.model_copy(update={"windows": config.windows.model_copy(update={"repeats": True})})
    with live(returns, tmp_path) as pipeline:
        pipeline.client.announce({" tea ": {"text": "green"}, "key": {"item_id": "Tea ", "text": "black"}})
        pipeline.run()
        pipeline.client.take([{"user_id": "u", "item_id": i, "timestamp": late + n} for n, i in enumerate(ids)])
        found = pipeline.settle(len(ids))
        assert [g["target"] for g in found] == ["Tea", "tea", "tea", "tea", "Tea"]
        assert all(g["rank"] >= 1 for g in found)
        assert pipeline.statuses(ARRIVED) == []
        assert {"Tea", "tea"} <= pipeline.existing("g")
        pipeline.client.announce({"\ttea": None})
        pipeline.client.take([{"user_id": "u", "item_id": i, "timestamp": late + 9} for i in ("Tea", "tea")])
        assert {g["target"]: g["rank"] >= 1 for g in pipeline.settle(len(ids) + 2)[-2:]} == {"Tea": True, "tea": False}
        assert letters(pipeline.log) == []


def test_stages_that_are_killed_write_arrivals_and_evictions_once_and_gate_as_if_they_had_lived(
    kafka_url: str, tmp_path: Path
) -> None:
    # Without edits: who needs a trainer would wait for it.
    config = changed(
        consumers={"lockstep": True, "snapshot_events": 100},
        items={"most": 60},
        monitor={"expected_run": 1e9},
        edits={"min_windows": 10_000, "boundary_windows": 10_000},
    )
    deaths = {
        "m": [Killer(Point.PUBLISHING, 2), Killer(Point.COMMITTING, 2)],
        "g": [Killer(Point.COMMITTED, 2), Killer(Point.COMMITTING, 2)],
    }
    found = []
    for die in ({}, deaths):
        on_broker = config.model_copy(update={"log": settings(url=kafka_url, partitions=PARTITIONS)})
        with live(on_broker, tmp_path) as pipeline:
            pipeline.run(die=die)
            pipeline.client.take(
                plain(e, event_id=e.event_id, sequence=i, cut=i == STREAM - 1)
                for i, e in enumerate(events()[1][:STREAM])
            )
            records = pipeline.settle(STREAM)
            found.append((without_the_log(records), pipeline.statuses(ARRIVED), pipeline.statuses(EVICTED)))
            assert pipeline.deaths == [] if not die else sorted(pipeline.deaths) == ["g", "g", "m", "m"]
    lived, died = found
    assert died == lived
    assert set(lived[1]) & set(lived[2]), "some came and went"
