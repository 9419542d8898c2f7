"""An event that is sent again is gated once, within `gate.remembered_ids`; one never gated is no duplicate."""

from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from pipeline.config import Config
from pipeline.streams import SqliteLog
from pipeline.streams.topics import INTERACTIONS
from pipeline.telemetry import Metrics
from tests.consumers.gating import OpenLog, changed, count, events, fill, gate_loop, gated, letters, named, said, write

ONE_USER = [{**said(e), "user_id": "one"} for e in events()[1][:100]]
"""More events of one user than the user's own memory holds."""


@pytest.fixture
def open_log(tmp_path: Path) -> OpenLog:
    return lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0)


def gate(open_log: OpenLog, folder: Path, config: Config) -> Metrics:
    metrics = Metrics(CollectorRegistry())
    gate_loop(open_log, folder, config, metrics=metrics).run()
    return metrics


def test_a_batch_sent_again_is_gated_once_also_after_a_restart(open_log: OpenLog, tmp_path: Path) -> None:
    config = changed()
    assert config.gate.remembered_events < len(ONE_USER) < config.gate.remembered_ids
    fill(open_log(), ONE_USER + ONE_USER)
    assert count(gate(open_log, tmp_path, config), "duplicates_total") == len(ONE_USER)
    write(open_log(), ONE_USER)
    assert count(gate(open_log, tmp_path, config), "duplicates_total") == len(ONE_USER)
    assert [g["event_id"] for g in gated(open_log())] == [e["event_id"] for e in ONE_USER]


def test_an_id_of_another_user_is_another_event(open_log: OpenLog, tmp_path: Path) -> None:
    fill(open_log(), [{**ONE_USER[0], "user_id": user} for user in ("one", "two")])
    gate(open_log, tmp_path, changed())
    assert Counter(g["user_id"] for g in named(open_log())) == {"one": 1, "two": 1}


def test_beyond_the_span_only_the_newest_of_each_user_are_known(open_log: OpenLog, tmp_path: Path) -> None:
    config = changed(gate={"remembered_ids": 40})
    fill(open_log(), ONE_USER)
    gate(open_log, tmp_path, config)
    write(open_log(), ONE_USER[-40:])
    gate(open_log, tmp_path, config)
    assert len(gated(open_log())) == len(ONE_USER)
    write(open_log(), ONE_USER[:1])
    gate(open_log, tmp_path, config)
    assert len(gated(open_log())) == len(ONE_USER) + 1


def test_an_event_that_was_refused_is_gated_when_it_comes_again(open_log: OpenLog, tmp_path: Path) -> None:
    strange = {**ONE_USER[0], "item_id": "nobody announced it"}
    fill(open_log(), [strange])
    gate(open_log, tmp_path, changed(items={"unknown": "refuse"}))
    assert [letter["reason"] for letter in letters(open_log())] == ["unknown_item"]
    with open_log().producer("again").transaction() as transaction:
        transaction.send(INTERACTIONS, strange, key="one", timestamp=1.0)
    gate(open_log, tmp_path, changed())
    assert [g["event_id"] for g in gated(open_log())] == [strange["event_id"]]
