"""Administrative calls need the token; feedback is joined by request id; edits have their reasons."""

import pytest

from consumers.server.feedback import Tally
from consumers.server.known_versions import KnownVersions
from pipeline.events.edit import Edit, Evidence, Operation, Outcome
from pipeline.events.feedback import Feedback
from pipeline.events.request_id import parse_request_id
from pipeline.streams.topics import CONTROL, EDITS, FEEDBACK, OUTCOMES
from tests.server.world import TOKEN, A, Server, World, eventually, serving

ACTS = {
    "/admin/rollback": {"region_id": A, "by": "ann"},
    "/admin/pin": {"region_id": A, "adapter": None, "by": "ann"},
    "/admin/reload": {"by": "ann"},
}


@pytest.mark.parametrize("path", ACTS)
def test_an_administrative_call_needs_the_token(world: World, server: Server, path: str) -> None:
    for token in (None, "", "wrong", TOKEN + "x"):
        assert server.ask("POST", path, ACTS[path], token)[0] == 401
    assert world.log.end_offset(CONTROL, 0) == 0


@pytest.mark.parametrize("path", ACTS)
def test_without_a_token_there_are_no_administrative_calls(world: World, path: str) -> None:
    with serving(world, token=None) as server:
        assert server.ask("POST", path, ACTS[path], "")[0] == 404


def test_a_pinned_region_stays_at_its_version_on_every_server_until_it_is_let_go(world: World, server: Server) -> None:
    def pin(adapter: str | None) -> int:
        return server.ask("POST", "/admin/pin", {"region_id": A, "adapter": adapter, "by": "ann"}, TOKEN)[0]

    assert pin("r0004_v0001") == 202
    eventually(lambda: server.service.live.pins == {A: "r0004_v0001"})
    name, revision = world.update(A, seed=3)
    server.served(revision)
    assert server.recommend(user_id="a0")["adapter"] == "r0004_v0001"
    with serving(world, instance="other") as other:
        eventually(lambda: other.recommend(user_id="a0")["adapter"] == "r0004_v0001")
    assert pin("r0004_v0009") == 409
    assert pin("r0005_v0001") == 422
    assert pin(None) == 202
    eventually(lambda: server.recommend(user_id="a0")["adapter"] == name)
    acts = [record.value["adapter"] for record in world.log.read(CONTROL, 0, 0, 10) if record.value]
    assert acts == ["r0004_v0001", None]


def test_feedback_is_joined_to_what_answered(world: World, server: Server) -> None:
    answers = [server.recommend(user_id="a0") for _ in range(4)]
    for i, answer in enumerate(answers):
        items = [item["item_id"] for item in answer["items"]]
        body = [{"request_id": answer["request_id"], "kind": "impression", "item_ids": items}]
        if i == 0:
            body.append({"request_id": answer["request_id"], "kind": "click", "item_ids": items[:1]})
        assert server.ask("POST", "/feedback", body)[0] == 202
    records = [r.value for p in range(2) for r in world.log.read(FEEDBACK, p, 0, world.log.end_offset(FEEDBACK, p))]
    assert len(records) == 5
    assert all((r["region_id"], r["adapter"], r["revision"]) == (A, "r0004_v0001", 0) for r in records if r)
    rates = {"r0004_v0001": {"shown": 4, "clicked": 1, "hit_rate": 0.25}}
    eventually(lambda: server.ask("GET", f"/regions/{A}")[1]["hit_rates"] == rates)
    assert 'raie_online_hit_rate{region_id="4"} 0.25' in server.ask("GET", "/metrics")[1]


def test_feedback_on_nothing_of_ours_is_refused_whole(world: World, server: Server) -> None:
    good = {"request_id": server.recommend(user_id="a0")["request_id"], "kind": "click", "item_ids": []}
    for rest in (".4.r4_v1.0", ".4.r0004_v0001.0 ", ".4.r0004_v0001.0.1", ".4.r0004_v0001.0.1.1024", "x"):
        request_id = "0" * 16 + rest
        assert server.ask("POST", "/feedback", [good, {**good, "request_id": request_id}])[0] == 422
    assert [world.log.end_offset(FEEDBACK, p) for p in range(2)] == [0, 0]


def test_of_one_request_the_first_impression_and_the_first_click_count(world: World) -> None:
    known = KnownVersions((), world.store.arrays)
    known.poll(world.log)
    tally = Tally(known)
    one, other = ("0" * 15 + f"{i}.4.r0004_v0001.0" for i in range(2))
    for request_id, kind in [(one, "click"), (one, "impression"), (one, "click"), (other, "impression")] * 2:
        tally.add(Feedback(request_id, kind))
    assert tally.of_region(4) == {"r0004_v0001": {"shown": 2, "clicked": 1, "hit_rate": 0.5}}
    assert tally.of_region(5) == {}


@pytest.mark.parametrize("region", ["-", "4"])
@pytest.mark.parametrize("adapter", ["-", "r0004_v0001"])
@pytest.mark.parametrize("trial", ["", ".7.1023"])
def test_a_request_id_says_what_answered(region: str, adapter: str, trial: str) -> None:
    found = parse_request_id(f"{'f' * 16}.{region}.{adapter}.-1{trial}")
    assert found is not None
    assert (found.region_id, found.adapter, found.revision, found.canary, found.bucket) == (
        None if region == "-" else 4,
        None if adapter == "-" else adapter,
        -1,
        7 if trial else None,
        1023 if trial else 0,
    )


def test_an_edit_says_why_it_fired_and_what_came_of_it(world: World, server: Server) -> None:
    evidence = tuple(Evidence(f"e{i}", 10 * i, A) for i in range(3, 8))
    reason = {"signal": "loss", "statistic": 15.5, "threshold": 13.8, "text": "the loss rose", "regions": [A]}
    edit = Edit("x" * 24, Operation.UPDATE, A, None, 1, 1, reason, evidence, (), 900, 1.6e9, 7)
    validation = {"metric": "log rank", "windows": 12, "before": 2.5, "after": 2.25}
    outcome = Outcome(edit.edit_id, Operation.UPDATE, A, True, "it is better", "r0004_v0002", validation, 480)
    world.send(EDITS, edit.to_record(), str(A))
    eventually(lambda: len(server.ask("GET", "/edits")[1]) == 1)
    assert server.ask("GET", "/edits")[1][0]["published"] is None
    world.send(OUTCOMES, outcome.to_record(), edit.edit_id)
    eventually(lambda: server.ask("GET", "/edits")[1][0]["published"] is True)
    assert server.ask("GET", "/edits")[1][0]["why"] == "the loss rose"
    assert server.ask("GET", "/edits?region_id=5")[1] == []
    found = server.ask("GET", f"/edits/{edit.edit_id}")[1]
    assert (found["reason"]["statistic"], found["reason"]["threshold"]) == (15.5, 13.8)
    assert found["windows"] == {"count": 5, "first_offset": 30, "last_offset": 70}
    assert found["outcome"]["validation"] == validation
    assert server.ask("GET", "/edits/nothing")[0] == 404
    assert server.ask("GET", f"/regions/{A}")[1]["edits"] == [edit.edit_id]


def test_a_server_started_late_knows_what_one_started_early_knows(world: World, server: Server) -> None:
    for seed in range(3):
        _, revision = world.update(A, seed=seed)
    world.erase("a1")
    server.served(revision)
    with serving(world, instance="late") as late:
        for user in ("a0", "a1", "b0", "s0"):
            one, other = (s.recommend(user_id=user) for s in (server, late))
            assert [i["item_id"] for i in one["items"]] == [i["item_id"] for i in other["items"]]
            assert (one["adapter"], one["revision"]) == (other["adapter"], other["revision"])


@pytest.mark.parametrize("path", ACTS)
def test_an_act_is_recorded_with_the_name_of_its_token(world: World, server: Server, path: str) -> None:
    world.update(A, seed=3)
    assert server.ask("POST", path, ACTS[path], TOKEN)[0] in (200, 202)
    (record,) = world.log.read(CONTROL, 0, 0, 10)
    assert record.value is not None
    assert (record.value["by"], record.value["token"]) == ("ann", "test")
    assert TOKEN not in str(record.value)
