"""The follower skips records that cannot be read, and its end makes the server unready."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.streams import FencedError, SqliteLog
from pipeline.streams.topics import (
    CONTROL,
    DEAD_LETTERS,
    EDITS,
    FEEDBACK,
    GATED,
    ITEMS,
    OUTCOMES,
    REGIONS,
    STATISTICS,
    TREND,
    USERS,
)
from tests.server.world import TOKEN, A, Server, World, eventually, fresh_state, item_id, region, serving, the_setup

MALFORMED: dict[str, list[dict[str, Any]]] = {
    FEEDBACK: [{"x": 1}, {"request_id": "x"}],
    ITEMS: [{"text": ["no text"]}, {"item_id": ["no id"]}, {"attributes": 5}],
    USERS: [
        {"x": 1},
        {"history": "abc", "latest": {"event_id": "e", "timestamp": 1.0}, "seen": ""},
        {"history": [10**6], "latest": {"event_id": "e", "timestamp": 1.0}, "seen": ""},
        {"history": [1], "since_setup": "x", "latest": {"event_id": "e", "timestamp": 1.0}, "seen": ""},
        {"history": [1], "latest": 5, "seen": "%"},
    ],
    EDITS: [{"x": 1}, {"edit_id": "e", "windows": [], "samples": []}, {"edit_id": ["e"]}],
    OUTCOMES: [{"x": 1}, {"edit_id": "e", "published": True}, {"edit_id": "e", "operation": "no operation"}],
    REGIONS: [
        {"x": 1},
        {"regions": [{"x": 1}], "origins": None, "gate_version": 1},
        {"regions": 5, "origins": None, "gate_version": 1},
        {"regions": [], "origins": {"x": 1}, "gate_version": 1},
    ],
    STATISTICS: [{"x": 1}, {"at_event": "x", "timestamp": 1.0, "regions": []}, {"at_event": 1, "timestamp": 1.0}],
    DEAD_LETTERS: [{"x": 1}, {"reason": ["no name"]}],
    CONTROL: [{"act": "pin", "by": "x", "region_id": "x"}, {"act": "pin", "region_id": A, "adapter": 5}],
    TREND: [{"x": 1}, {"gate": "gate"}],
    GATED: [{"x": 1}, {"gate": "gate", "number": 0, "revision": 0, "user_id": []}],
}
"""Topic -> values that its readers cannot use."""

PAGES = ("/status", "/regions", f"/regions/{A}", "/edits", "/statistics", "/stages", "/dead-letters", "/metrics")


def skipped(server: Server, topic: str) -> float:
    """Records of a topic that the server skipped, from its metrics."""
    lines = server.ask("GET", "/metrics")[1].splitlines()
    start = f'raie_skipped_records_total{{topic="{topic}"}} '
    return sum(float(line.removeprefix(start)) for line in lines if line.startswith(start))


def still_follows(world: World, server: Server) -> None:
    """Assert that new records of all kinds arrive, and that every page answers."""
    name, revision = world.update(A, seed=9)
    server.served(revision)
    assert server.recommend(user_id="a0")["adapter"] == name
    best = server.recommend(user_id="s0")["items"][0]["item_id"]
    world.withdraw(the_setup().catalogue.row_of[best])
    eventually(lambda: best not in [item["item_id"] for item in server.recommend(user_id="s0")["items"]])
    for page in PAGES:
        assert server.ask("GET", page)[0] == 200, page
    assert server.ask("GET", "/readyz") == (200, {"status": "ready"})
    assert "raie_follower_up 1.0" in server.ask("GET", "/metrics")[1]


@pytest.mark.parametrize("topic", MALFORMED)
def test_malformed_records_are_skipped_counted_and_said_once(world: World, server: Server, topic: str) -> None:
    if topic == TREND:
        world.snapshot(fresh_state())
    first = MALFORMED[topic][0]
    world.send(topic, first, "a1")
    eventually(lambda: skipped(server, topic) == 1)
    for value in MALFORMED[topic][1:]:
        world.send(topic, value, "a1")
    eventually(lambda: skipped(server, topic) == len(MALFORMED[topic]))
    (said,) = [line for line in server.said if "cannot be read" in line]
    assert said.startswith(f"the record of {topic}/")
    still_follows(world, server)
    with serving(world, instance="late") as late:
        assert skipped(late, topic) == len(MALFORMED[topic])
        assert late.ask("GET", "/readyz")[0] == 200
        assert late.recommend(user_id="a0")["adapter"] == "r0004_v0002"


def test_one_batch_may_hold_good_and_bad_records(world: World) -> None:
    for topic, values in MALFORMED.items():
        for value in values:
            world.send(topic, value, "a1")
    with serving(world) as server:
        assert {topic: skipped(server, topic) for topic in MALFORMED} == {t: len(v) for t, v in MALFORMED.items()}
        still_follows(world, server)


def test_a_withdrawn_item_is_not_brought_back_by_a_record_that_cannot_be_read(world: World, server: Server) -> None:
    world.withdraw(7)
    world.send(ITEMS, {"text": 5}, item_id(7))
    eventually(lambda: skipped(server, ITEMS) == 1)
    assert not server.service.items.existing[7]


def test_later_versions_may_add_fields(world: World, server: Server) -> None:
    reason = {"signal": "loss", "statistic": 15.5, "threshold": 13.8, "text": "the loss rose", "regions": [A]}
    edit = Edit("x" * 24, Operation.UPDATE, A, None, 1, 1, reason, (), (), 900, 1.6e9, 7)
    outcome = Outcome(edit.edit_id, Operation.UPDATE, A, True, "it is better", "r0004_v0002")
    world.send(EDITS, {**edit.to_record(), "new": 1}, str(A))
    world.send(OUTCOMES, {**outcome.to_record(), "new": 1}, edit.edit_id)
    eventually(lambda: server.service.edits.published() == 1)


def test_a_rollback_passes_over_records_of_other_programs(world: World, server: Server) -> None:
    bad = world.send(REGIONS, {"x": 1}, "4")
    _, revision = world.update(A, seed=9)
    world.send(REGIONS, {"regions": 5, "origins": None, "gate_version": 1}, "4")
    server.served(revision)
    status, answer = server.ask("POST", "/admin/rollback", {"region_id": A, "by": "ann"}, TOKEN)
    assert status == 200, answer
    server.served(answer["revision"])
    assert server.recommend(user_id="a0")["adapter"] == "r0004_v0001"
    assert server.recommend(user_id="a0", revision=bad)["adapter"] == "r0004_v0001"


def test_a_rollback_refuses_a_damaged_history_in_words(world: World, server: Server) -> None:
    world.send(OUTCOMES, Outcome("e1", Operation.UPDATE, A, True, "").to_record(), "e1")
    world.send(REGIONS, {"edit_id": "e1", "regions": 5}, "4")
    _, revision = world.update(A, seed=9)
    server.served(revision)
    status, answer = server.ask("POST", "/admin/rollback", {"region_id": A, "by": "ann"}, TOKEN)
    assert status == 503
    assert "is damaged" in answer["detail"]


@pytest.mark.parametrize("damaged", [True, False])
def test_a_trial_on_a_history_with_a_bad_record_does_not_end_the_follower(
    world: World, server: Server, damaged: bool
) -> None:
    if damaged:
        world.send(OUTCOMES, Outcome("e1", Operation.UPDATE, A, True, "").to_record(), "e1")
    world.send(REGIONS, {"edit_id": "e1"}, "4")
    _, revision = world.update(A, seed=9, canary=0.4)
    server.served(revision)
    votes = [
        {"request_id": f"{i:016x}.4.-.{revision}.{revision}.{i}", "kind": "click", "item_ids": []} for i in range(1000)
    ]
    service = server.service
    service._canary = service._canary.model_copy(update={"answers": 60})
    assert server.ask("POST", "/feedback", votes)[0] == 202
    if damaged:
        eventually(lambda: any("cannot be ended" in line for line in server.said))
    else:
        eventually(lambda: not service.live.view.canaries)
    still_follows(world, server)


class Broken(SqliteLog):
    """A log whose end offsets cannot be computed any more: a defect that no caller expects."""

    broken = False

    def end_offset(self, topic: str, partition: int) -> int:
        if self.broken and threading.current_thread().name == "follower":
            raise ZeroDivisionError("a defect")
        return super().end_offset(topic, partition)


@contextmanager
def on_a_log_that_breaks(world: World) -> Iterator[Server]:
    with serving(world, opens=partial(Broken, world.log_path)) as server:
        Broken.broken = True
        try:
            yield server
        finally:
            Broken.broken = False


def test_an_unexpected_error_ends_the_thread_and_the_readiness_with_the_reason(world: World) -> None:
    with on_a_log_that_breaks(world) as server:
        world.send(FEEDBACK, {"request_id": "x", "kind": "click"}, "x")
        eventually(lambda: server.ask("GET", "/readyz")[0] == 503)
        problem = "the server no longer follows the log: ZeroDivisionError: a defect"
        assert server.ask("GET", "/readyz")[1] == {"status": problem}
        assert server.ask("GET", "/healthz")[0] == 200
        assert "raie_follower_up 0.0" in server.ask("GET", "/metrics")[1]
        assert "Traceback" in next(line for line in server.said if line.startswith(problem))
        assert server.recommend(user_id="a0")["items"]


def test_a_follower_that_stops_without_an_error_is_unready_too(server: Server) -> None:
    server.service.follower.stop()
    assert server.ask("GET", "/readyz") == (503, {"status": "the server has stopped following the log"})


def test_a_second_server_of_the_same_name_is_named_in_every_answer_of_the_first(world: World, server: Server) -> None:
    request_id = server.recommend(user_id="a0")["request_id"]
    with serving(world, instance="test") as second:
        eventually(lambda: server.ask("GET", "/readyz")[0] == 503)
        body = [{"request_id": request_id, "kind": "click", "item_ids": []}]
        answers = [
            server.ask("GET", "/readyz"),
            server.ask("POST", "/feedback", body),
            server.ask("POST", "/admin/pin", {"region_id": A, "adapter": None, "by": "ann"}, TOKEN),
            server.ask("POST", "/admin/reload", {"by": "ann"}, TOKEN),
            server.ask("POST", "/admin/rollback", {"region_id": A, "by": "ann"}, TOKEN),
        ]
        for status, answer in answers[:-1]:
            assert status == 503
            text = answer.get("detail") or answer["status"]
            assert "another server of instance test runs on this log" in text
            assert "--instance" in text
        # There is nothing to roll back to, which is found before anything is written.
        assert answers[-1][0] == 409
        assert second.ask("POST", "/feedback", body)[0] == 202
        assert second.ask("GET", "/readyz")[0] == 200


def test_the_log_says_who_is_fenced(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    first = log.producer("server-1")
    log.producer("server-1")
    with pytest.raises(FencedError), first.transaction():
        pass
    log.close()


def test_regions_of_another_kind_are_no_reason_to_stop(world: World, server: Server) -> None:
    odd = {**region(A, 2, "r0004_v0001").to_record(), "centroid": [1.0]}
    nameless = {**region(A, 2, "r0004_v0001").to_record(), "adapter": 5}
    for value in (odd, nameless):
        world.send(REGIONS, {"regions": [value], "origins": None, "gate_version": 1}, "4")
    eventually(lambda: skipped(server, REGIONS) == 2)
    still_follows(world, server)
