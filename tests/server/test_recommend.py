"""Recommendations over HTTP: the adapter that answers, and the users that a change of a region affects."""

import numpy as np

from tests.server.gates import everything, gate_of, ranked
from tests.server.world import (
    FIRSTS,
    A,
    B,
    Server,
    World,
    eventually,
    histories,
    region,
    serving,
    taken,
    the_setup,
)


def scores(answer: dict) -> tuple[list[str], list[float]]:
    return [item["item_id"] for item in answer["items"]], [item["score"] for item in answer["items"]]


def same(one: dict, other: dict) -> bool:
    """Same ranking, scores within float tolerance."""
    (ids, values), (other_ids, other_values) = scores(one), scores(other)
    return ids == other_ids and bool(np.allclose(values, other_values, rtol=1e-4, atol=1e-7))


def test_dislikes_are_refused_where_the_set_up_reads_none(server: Server) -> None:
    status, answer = server.ask("POST", "/recommend", {"history": ["i1", "i2"], "disliked": [1]})
    assert status == 422 and "reads no dislikes" in str(answer)


def test_an_answer_names_the_region_and_the_version_that_made_it(server: Server) -> None:
    answer = server.recommend(user_id="a0", k=5)
    assert (answer["region_id"], answer["adapter"], answer["answered_by"]) == (A, "r0004_v0001", "adapter")
    assert answer["revision"] == 0
    assert answer["confidence"] > 0.5
    assert not answer["stood_in"]
    assert len(answer["items"]) == 5
    values = scores(answer)[1]
    assert values == sorted(values, reverse=True)
    assert abs(sum(answer["route"].values()) - 1.0) < 1e-6


def test_an_answer_has_the_title_of_each_item(server: Server) -> None:
    catalogue = the_setup().catalogue
    for item in server.recommend(user_id="a0")["items"]:
        assert item["title"] == catalogue.texts[catalogue.row_of[item["item_id"]] - 1]


def test_the_backbone_answers_for_set_up_regions(server: Server) -> None:
    answer = server.recommend(user_id="s0")
    assert answer["answered_by"] == "backbone"
    assert answer["adapter"] is None
    assert answer["region_id"] in (1, 2, 3)


def test_answers_are_those_of_the_gate_through_peft(world: World, server: Server) -> None:
    setup, gate = the_setup(), gate_of(world)
    for first in (*FIRSTS.values(), 61):
        window = histories(first, 1)
        expected = ranked(gate, window[0])
        history = [setup.catalogue.item_ids[row - 1] for row in window[0].tolist()]
        for item in server.recommend(history=history, k=20)["items"]:
            np.testing.assert_allclose(item["score"], expected[setup.catalogue.row_of[item["item_id"]]], rtol=2e-2)


def test_how_much_a_user_took_since_set_up_counts_as_it_does_for_the_gate(world: World, server: Server) -> None:
    rows, gate = histories(61, 1), gate_of(world)
    for since_setup in (0, 10):
        world.user(f"since{since_setup}", rows[0].tolist(), since_setup)
    eventually(lambda: len(server.service.users.history("since10").items) > 0)
    confidences = [server.recommend(user_id=f"since{n}")["confidence"] for n in (0, 10)]
    expected = [float(gate.score(taken(rows, n), everything()).posterior.confidence[0]) for n in (0, 10)]
    np.testing.assert_allclose(confidences, expected, rtol=1e-4)
    assert abs(expected[0] - expected[1]) > 0.01


def test_an_answer_says_on_request_who_proposed_each_item_and_why(server: Server) -> None:
    plain, explained = server.recommend(user_id="a0"), server.recommend(user_id="a0", explain=True)
    assert scores(plain) == scores(explained)
    assert all(item["sources"] is None and item["features"] is None for item in plain["items"])
    for item in explained["items"]:
        assert item["sources"] and len(item["features"]) == 5
    assert any("model" in item["sources"] for item in explained["items"])


def test_a_history_is_answered_as_the_user_who_has_it(server: Server) -> None:
    ids = the_setup().catalogue.item_ids
    history = [ids[row - 1] for row in histories(FIRSTS[A], 5)[0].tolist()]
    assert same(server.recommend(history=history), server.recommend(user_id="a0"))


def test_items_that_are_excluded_or_were_just_met_are_not_answered(server: Server) -> None:
    ids = the_setup().catalogue.item_ids
    first = scores(server.recommend(user_id="a0", k=20))[0]
    met = {ids[row - 1] for row in histories(FIRSTS[A], 5)[0].tolist()}
    assert not met & set(first)
    rest = scores(server.recommend(user_id="a0", k=20, exclude=first[:7]))[0]
    assert len(rest) == 20 and not set(rest) & {*first[:7], *met}


def test_a_withdrawn_item_is_never_recommended(world: World, server: Server) -> None:
    best = scores(server.recommend(user_id="a0"))[0][0]
    row = the_setup().catalogue.row_of[best]
    world.withdraw(row)
    eventually(lambda: not server.service.items.existing[row])
    for user in ("a0", "a1", "b0", "s0", "nobody"):
        assert best not in scores(server.recommend(user_id=user, k=1000))[0]


def test_an_unknown_user_is_answered_from_the_trend_and_told_so(world: World, server: Server) -> None:
    usual = server.recommend(user_id="nobody", k=3)
    assert (usual["answered_by"], usual["region_id"], usual["adapter"]) == ("trend", None, None)
    for _ in range(5):
        world.taken(77)
    item = the_setup().catalogue.item_ids[76]
    eventually(lambda: scores(server.recommend(user_id="nobody", k=3))[0][0] == item)
    assert server.recommend(history=["no such item"])["answered_by"] == "trend"


def test_an_erased_user_leaves_nothing(world: World, server: Server) -> None:
    assert server.recommend(user_id="a0")["answered_by"] == "adapter"
    users = len(server.service.users)
    world.erase("a0")
    eventually(lambda: len(server.service.users) == users - 1)
    assert server.recommend(user_id="a0")["answered_by"] == "trend"
    with serving(world, instance="again") as again:
        assert again.recommend(user_id="a0")["answered_by"] == "trend"
        assert len(again.service.users) == users - 1
        assert "raie_skipped_records_total{" not in again.service.metrics.expose().decode()


def test_an_update_of_one_region_changes_no_answer_of_those_whose_route_lacks_it(world: World, server: Server) -> None:
    users = [f"{kind}{i}" for kind in "abs" for i in range(3)]
    before = {user: server.recommend(user_id=user, k=50) for user in users}
    _, revision = world.update(A, seed=99)
    server.served(revision)
    after = {user: server.recommend(user_id=user, k=50) for user in users}
    moved = {user for user in users if str(A) in before[user]["route"]}
    assert {"a0", "a1", "a2"} <= moved < set(users)
    assert all(same(before[user], after[user]) for user in users if user not in moved)
    assert not any(same(before[user], after[user]) for user in ("a0", "a1", "a2"))
    assert after["a0"]["adapter"] == "r0004_v0002"
    assert {answer["revision"] for answer in after.values()} == {revision}


def test_an_older_revision_is_answered_as_it_was(world: World, server: Server) -> None:
    before = server.recommend(user_id="a0")
    for seed in range(3):
        _, revision = world.update(A, seed=40 + seed)
    server.served(revision)
    assert not same(server.recommend(user_id="a0"), before)
    then = server.recommend(user_id="a0", revision=0)
    assert same(then, before)
    assert (then["revision"], then["adapter"]) == (0, "r0004_v0001")
    assert server.recommend(user_id="a0", revision=-1)["answered_by"] == "backbone"
    status, answer = server.ask("POST", "/recommend", {"user_id": "a0", "revision": revision + 1})
    assert status == 404
    assert str(revision) in answer["detail"]


def test_what_is_not_asked_properly_is_refused(server: Server) -> None:
    for body in ({}, {"user_id": "a", "history": []}, {"user_id": "a", "k": 0}, {"user_id": "a", "typo": 1}):
        assert server.ask("POST", "/recommend", body)[0] == 422


def test_regions_say_what_answers_for_them(world: World, server: Server) -> None:
    status, found = server.ask("GET", "/regions")
    assert status == 200
    assert [r["region_id"] for r in found["regions"]] == [1, 2, 3, A, B]
    status, one = server.ask("GET", f"/regions/{A}")
    assert (one["adapter"], one["versions"]) == ("r0004_v0001", ["r0004_v0001"])
    assert one["manifest"]["edit_id"] == "edit-4-1"
    assert server.ask("GET", "/regions/77")[0] == 404
    world.announce(region(B, 1, "r0005_v0001"), region(A, 1, "r0004_v0001", adapter_weight=0.3))
    eventually(lambda: server.ask("GET", f"/regions/{A}")[1]["trust"] == 0.3)


def test_health_readiness_metrics_and_the_description_are_there(server: Server) -> None:
    server.recommend(user_id="a0")
    assert server.ask("GET", "/healthz")[0] == 200
    assert server.ask("GET", "/readyz") == (200, {"status": "ready"})
    text = server.ask("GET", "/metrics")[1]
    assert 'raie_recommendations_total{answered_by="adapter"} 1.0' in text
    assert "raie_revision 0.0" in text
    paths = server.ask("GET", "/openapi.json")[1]["paths"]
    assert {"/recommend", "/regions", "/edits/{edit_id}", "/feedback", "/admin/rollback"} <= set(paths)
