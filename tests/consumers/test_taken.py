"""The gate keeps what its users took beyond their windows, bounded, and ranks returns as the setting says."""

from pathlib import Path

import pytest

from pipeline.events.user_state import UserState
from pipeline.events.windows import History
from pipeline.streams import SqliteLog
from pipeline.streams.topics import USERS, pipeline_topics
from tests.consumers.gating import PARTITIONS, changed, gate_loop, gated, users, write
from tests.consumers.run_of_raie import the_setup

LENGTH = the_setup().calibration.contexts.shape[1]


@pytest.fixture
def log(tmp_path: Path) -> SqliteLog:
    log = SqliteLog(tmp_path / "log.sqlite", lease=1.0)
    log.create_topics(pipeline_topics(PARTITIONS))
    return log


def run(folder: Path, **sections: dict[str, object]) -> None:
    gate_loop(lambda: SqliteLog(folder / "log.sqlite", lease=1.0), folder, changed(**sections)).run()


def took(items: list[str], first: int = 0) -> list[dict[str, object]]:
    return [
        {"user_id": "ann", "item_id": item, "timestamp": 1e9 + n, "event_id": f"e{n}"}
        for n, item in enumerate(items, first)
    ]


def test_items_that_leave_the_window_are_kept_once_each_up_to_the_bound(log, tmp_path):
    items = list(the_setup().catalogue.item_ids[: LENGTH + 5])
    write(log, took([items[1], *items]))
    run(tmp_path, gate={"remembered_items": 3})
    state = users(log)["ann"]
    assert state is not None
    assert state["history"] == items[-LENGTH:]
    # The first one left twice: it counts from the second time on.
    assert state["taken"] == [items[2], items[3], items[4]]
    write(log, took([items[0]], first=100))
    run(tmp_path, gate={"remembered_items": 3})
    assert users(log)["ann"]["taken"] == [items[3], items[4], items[5]]  # type: ignore[index]


def test_a_user_of_before_starts_with_the_history(log, tmp_path):
    items = list(the_setup().catalogue.item_ids[: LENGTH + 1])
    before = UserState(History.of(items[:LENGTH], LENGTH, 0)).to_record(0)
    assert "taken" not in before
    with log.producer("before").transaction() as transaction:
        transaction.send(USERS, before, key="ann", timestamp=1.0)
    write(log, took(items[LENGTH:]))
    run(tmp_path)
    assert users(log)["ann"]["taken"] == items[:1]  # type: ignore[index]


def test_none_are_kept_where_none_are_wanted(log, tmp_path):
    write(log, took(list(the_setup().catalogue.item_ids[: LENGTH + 3])))
    run(tmp_path, gate={"remembered_items": 0})
    assert "taken" not in users(log)["ann"]  # type: ignore[operator]


@pytest.mark.parametrize("repeats", [True, False])
def test_a_return_is_ranked_live_as_in_a_replay(log, tmp_path, repeats):
    first, second = the_setup().catalogue.item_ids[:2]
    write(log, took([first, second, first, second, first]))
    run(tmp_path, windows={"repeats": repeats})
    returns = gated(log)[2:]
    assert [(g["rank"] > 0, g["model_rank"] > 0, g["popularity_rank"] > 0) for g in returns] == [(repeats,) * 3] * 3
    assert all(g["loss"] is not None for g in returns), "the model learns from a return in any case"
