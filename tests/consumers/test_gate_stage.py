"""The gate stage: each event is scored once and in order, wherever the process is killed."""

from pathlib import Path

import pytest

from consumers.runtime.stage import Point
from pipeline.streams import SqliteLog
from pipeline.streams.topics import TREND
from tests.consumers.gating import (
    BATCH,
    OpenLog,
    changed,
    events,
    fill,
    gate_loop,
    gated,
    named,
    read,
    said,
    users,
    write,
)
from tests.consumers.test_loop import Killed, Killer
from tests.replay.small import plan

STREAM = 260
"""Events of a test: four full batches and one partial."""


@pytest.fixture
def open_log(tmp_path: Path) -> OpenLog:
    return lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0)


def stream() -> list[dict[str, object]]:
    return [said(e) for e in events()[1][:STREAM]]


def test_windows_are_those_of_the_replay_and_histories_survive_a_restart(open_log: OpenLog, tmp_path: Path) -> None:
    fill(open_log(), stream()[:100], partitions=1)
    gate_loop(open_log, tmp_path, changed()).run()
    write(open_log(), stream()[100:])
    gate_loop(open_log, tmp_path, changed()).run()
    expected = plan().stream[slice(0, STREAM)]
    found = gated(open_log())
    assert [g["event_id"] for g in found] == expected.event_ids.tolist()
    ids = ["", *plan().timeline.item_ids]
    assert [g["window"] for g in found] == [[ids[row] for row in context if row] for context in expected.contexts]
    assert [g["since_setup"] for g in found] == expected.since_setup.tolist()
    assert sum(g["since_setup"] < len(g["window"]) for g in found) > 0, "some users have a past"
    assert [g["target"] for g in found] == [ids[row] for row in expected.targets]
    last = {
        str(u): [*c[1:], t]
        for u, c, t in zip(expected.users, expected.contexts.tolist(), expected.targets, strict=True)
    }
    histories = {user: value["history"] for user, value in users(open_log()).items() if value}
    assert {user: histories[user] for user in last} == {
        user: [ids[r] for r in rows if r] for user, rows in last.items()
    }


@pytest.mark.parametrize("point", [p for p in Point if p not in (Point.SAVING, Point.RESTORED)])
def test_killed_anywhere_it_writes_the_bytes_of_an_unkilled_gate(
    open_log: OpenLog, tmp_path: Path, reference: bytes, point: Point
) -> None:
    fill(open_log(), stream(), partitions=1)
    for passing in (3, 1, 2):
        with pytest.raises(Killed):
            gate_loop(open_log, tmp_path, changed(), at=Killer(point, passing), most=BATCH).run()
    gate_loop(open_log, tmp_path, changed()).run()
    assert repr(named(open_log())).encode() == reference
    assert len(read(open_log(), TREND)) >= 2


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("unkilled")
    log = SqliteLog(folder / "log.sqlite")
    fill(log, stream(), partitions=1)
    gate_loop(lambda: SqliteLog(folder / "log.sqlite"), folder, changed()).run()
    assert len(gated(log)) == STREAM
    return repr(named(log)).encode()
