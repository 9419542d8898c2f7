"""Data of the control room: statistics, lag, dead letters, versions and explanations, in bounded memory."""

import json
from typing import Any

import numpy as np
import pytest

from consumers.cli.explain import explain
from consumers.runtime.lockstep import settled
from consumers.server.views import activity
from consumers.server.views.activity import Activity
from pipeline.events.edit import Edit, Evidence, Operation, Outcome
from pipeline.events.statistics import StatisticsInterval
from pipeline.regions.projection import Plane
from pipeline.regions.revision import Revision
from pipeline.streams.interface import Record
from pipeline.streams.topics import (
    CONTROL,
    DEAD_LETTERS,
    EDITS,
    INTERACTIONS,
    OUTCOMES,
    REGIONS,
    STATISTICS,
)
from tests.server.world import SETTINGS, TOKEN, A, B, Server, World, eventually, region

REASON = {"signal": "loss", "statistic": 15.5, "threshold": 13.8, "text": "the loss rose", "regions": [A]}
VALIDATION = {"metric": "log rank", "windows": 12, "before": 2.5, "after": 2.25, "error": 0.1}


def interval(at_event: int, **windows: int) -> dict[str, Any]:
    rows = [
        {
            "region_id": int(name[1:]),
            "windows": count,
            "confidence": 0.75,
            "margin": 0.5,
            "novelty": 0.4,
            "doubtful_share": 0.1,
            "signal": "loss",
            "drift_statistic": 2.5,
            "threshold": 13.8,
        }
        for name, count in windows.items()
    ]
    return StatisticsInterval(at_event, 1.6e9, rows).to_record()


def letter(offset: int, detail: str = "value must be a number") -> dict[str, Any]:
    where = {"topic": INTERACTIONS, "partition": 1, "offset": offset, "key": "ann"}
    return {"reason": "bad_value", "detail": detail, **where, "value": {"user_id": "ann"}}


def record(topic: str, value: dict[str, Any], offset: int = 0) -> Record:
    return Record(topic, 0, offset, None, value, 1.6e9)


def edit(edit_id: str, at_event: int, operation: Operation = Operation.UPDATE) -> Edit:
    windows = tuple(Evidence(f"e{i}", i, A) for i in range(at_event, at_event + 3))
    return Edit(edit_id, operation, A, None, 1, 1, REASON, windows, (), at_event, 1.6e9, 7)


def ended(world: World, asked: Edit) -> None:
    outcome = Outcome(asked.edit_id, asked.operation, A, True, "it is better", "r0004_v0002", VALIDATION, 480)
    world.send(EDITS, asked.to_record(), str(A))
    world.send(OUTCOMES, outcome.to_record(), asked.edit_id)


def test_intervals_come_as_the_monitor_wrote_them_and_only_the_new_ones_where_asked(
    world: World, server: Server
) -> None:
    written = [interval(200, r1=150, r4=50), interval(400, r1=20, r4=180)]
    for one in written:
        world.send(STATISTICS, one, "")
    eventually(lambda: len(server.ask("GET", "/statistics")[1]) == 2)
    assert server.ask("GET", "/statistics")[1] == written
    assert server.ask("GET", "/statistics?after=200")[1] == written[1:]
    assert server.ask("GET", "/statistics?after=400")[1] == []
    assert server.ask("GET", "/statistics?after=x")[0] == 422
    assert server.ask("GET", "/status")[1]["at_event"] == 400


def test_regions_say_where_they_lie_and_what_share_of_the_traffic_is_theirs(world: World, server: Server) -> None:
    before = server.ask("GET", "/regions")[1]
    assert [r["traffic"] for r in before["regions"]] == [None] * 5
    world.send(STATISTICS, interval(200, r1=150, r4=50), "")
    eventually(lambda: server.ask("GET", "/status")[1]["at_event"] == 200)
    now = server.ask("GET", "/regions")[1]
    assert {r["region_id"]: r["traffic"] for r in now["regions"]} == {1: 0.75, 2: 0.0, 3: 0.0, 4: 0.25, 5: 0.0}
    places = np.array([[r["x"], r["y"]] for r in now["regions"]])
    assert len({tuple(place) for place in places.tolist()}) == 5
    assert places.mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert 0 < now["plane_share"] <= 1
    assert next(r for r in now["regions"] if r["region_id"] == A)["opened_at"] == 10


def test_lag_is_what_the_groups_have_not_committed(world: World, server: Server) -> None:
    status, stages = server.ask("GET", "/stages")
    assert status == 200
    assert [(s["stage"], s["topic"], s["partition"]) for s in stages] == [
        ("gate", "interactions", 0),
        ("gate", "interactions", 1),
        ("monitor", "gated", 0),
        ("trainer", "edits", 0),
        ("trainer", "edits", 1),
    ]
    for _ in range(3):
        world.send(EDITS, edit("x" * 24, 5).to_record(), str(A))
    eventually(lambda: sum(s["behind"] for s in server.ask("GET", "/stages")[1]) == 3)
    behind = [s for s in server.ask("GET", "/stages")[1] if s["behind"]]
    assert [(s["stage"], s["position"], s["end"]) for s in behind] == [("trainer", 0, 3)]


def test_a_log_out_of_reach_is_said_and_not_an_empty_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.errors import LogError

    def unreachable() -> None:
        raise LogError("no broker answers")

    monkeypatch.setattr(server.service, "lags", unreachable)
    assert server.ask("GET", "/stages") == (503, {"detail": "no broker answers"})


def test_dead_letters_are_counted_and_named_without_what_they_hold(world: World, server: Server) -> None:
    for offset in range(3):
        world.send(DEAD_LETTERS, letter(offset, "value must be a number, not 'ann'"), "bad_value")
    world.send(CONTROL, {"kind": "replayed", "offsets": [0, 1]}, "replayed")
    eventually(lambda: server.ask("GET", "/dead-letters")[1]["replayed"] == 2)
    eventually(lambda: server.ask("GET", "/dead-letters")[1]["count"] == 3)
    found = server.ask("GET", "/dead-letters")[1]
    assert found["reasons"] == {"bad_value": 3}
    assert [one["offset"] for one in found["newest"]] == [2, 1, 0]
    assert (found["newest"][0]["topic"], found["newest"][0]["partition"]) == (INTERACTIONS, 1)
    assert "ann" not in json.dumps(found)


def test_words_between_the_stages_do_not_stop_the_server(world: World, server: Server) -> None:
    between = settled(5, 1.6e9)
    world.send(CONTROL, between.value, str(between.key))
    _, revision = world.update(A, seed=3)
    server.served(revision)
    assert server.ask("GET", "/readyz")[0] == 200


def test_versions_are_what_a_region_can_be_rolled_back_to(world: World, server: Server) -> None:
    name, revision = world.update(A, seed=3)
    server.served(revision)
    found = server.ask("GET", "/versions")[1]
    assert [one["adapter"] for one in found[str(A)]] == [name, "r0004_v0001"]
    assert [one["adapter"] for one in found[str(B)]] == ["r0005_v0001"]
    body = {"region_id": A, "to": found[str(A)][1]["adapter"], "by": "ann"}
    status, answer = server.ask("POST", "/admin/rollback", body, TOKEN)
    assert status == 200
    server.served(answer["revision"])
    newest = server.ask("GET", "/versions")[1][str(A)][0]
    assert (newest["adapter"], newest["rollback_of"], newest["revision"]) == ("r0004_v0001", name, answer["revision"])


@pytest.mark.parametrize("token", [TOKEN, None])
def test_the_status_says_whether_there_are_administrative_calls(world: World, token: str | None) -> None:
    from tests.server.world import serving

    with serving(world, token=token) as server:
        found = server.ask("GET", "/status")[1]
    assert found["administration"] is (token is not None)
    assert (found["status"], found["users"], found["revision"]) == ("ready", 13, 0)


def test_an_edit_is_explained_as_the_command_explains_it(world: World, server: Server) -> None:
    for number, at_event in enumerate((900, 1_000, 1_000)):
        ended(world, edit(f"{number}" * 24, at_event))
    eventually(lambda: server.ask("GET", "/status")[1]["published"] == 3)
    said = explain("2" * 24, None, f"sqlite:///{world.log_path}", SETTINGS)
    assert "decided at the same event" in said and "windows: 3, from event e1000 to e1002" in said
    assert server.ask("GET", f"/edits/{'2' * 24}/explanation") == (200, said)


def test_an_edit_under_way_is_not_explained_yet(world: World, server: Server) -> None:
    asked = edit("x" * 24, 900)
    world.send(EDITS, asked.to_record(), str(A))
    eventually(lambda: len(server.ask("GET", "/edits")[1]) == 1)
    assert server.ask("GET", f"/edits/{asked.edit_id}/explanation")[0] == 404
    assert server.ask("GET", "/edits/nothing/explanation")[0] == 404


def test_a_list_of_edits_has_what_its_line_needs(world: World, server: Server) -> None:
    ended(world, edit("x" * 24, 900))
    eventually(lambda: server.ask("GET", "/status")[1]["published"] == 1)
    (line,) = server.ask("GET", "/edits")[1]
    assert (line["statistic"], line["threshold"], line["windows"]) == (15.5, 13.8, 3)
    assert (line["validation"], line["detail"], line["trained_windows"]) == (VALIDATION, "it is better", 480)


def test_memory_is_bounded_however_long_the_log_is() -> None:
    past = Activity()
    for i in range(activity.INTERVALS + 20):
        past.apply(record(STATISTICS, interval(i, r1=1), i))
    for i in range(activity.LETTERS + 20):
        past.apply(record(DEAD_LETTERS, letter(i), i))
    for i in range(activity.VERSIONS + 20):
        past.apply(record(REGIONS, Revision((region(A, i, f"r0004_v{i:04d}"),), None, 0).to_record(), i))
    assert [i.at_event for i in past.intervals()] == list(range(20, activity.INTERVALS + 20))
    assert len(past.letters()) == activity.LETTERS
    assert past.refused.total() == activity.LETTERS + 20
    assert len(past.versions()[A]) == activity.VERSIONS


def test_traffic_is_that_of_the_newest_events() -> None:
    past = Activity()
    assert past.traffic() == {}
    past.apply(record(STATISTICS, interval(1, r1=activity.TRAFFIC)))
    past.apply(record(STATISTICS, interval(2, r2=activity.TRAFFIC)))
    assert past.traffic() == {2: 1.0}


def test_a_revision_without_another_adapter_is_no_version() -> None:
    past = Activity()
    for offset, adapter in enumerate(["r0004_v0001", "r0004_v0001", None, "r0004_v0002"]):
        past.apply(record(REGIONS, Revision((region(A, 1, adapter),), None, 0).to_record(), offset))
    assert [(one["adapter"], one["revision"]) for one in past.versions()[A]] == [("r0004_v0002", 3), ("r0004_v0001", 0)]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_plane_takes_any_number_of_vectors(count: int) -> None:
    vectors = np.random.default_rng(count).normal(size=(count, 5))
    plane = Plane(vectors)
    flat = plane.project(vectors)
    assert flat.shape == (count, 2)
    assert plane.share == pytest.approx(1.0) if count <= 3 else plane.share < 1.0
    assert np.var(flat, axis=0)[0] >= np.var(flat, axis=0)[1] - 1e-12
