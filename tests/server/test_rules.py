"""Rules of lists: filters, allow lists, quotas and ties, with all items scored and with an index."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.server.http import recommend
from pipeline.retrieval import item_index, retriever
from tests.server.test_large_catalogue import INDEXED
from tests.server.test_recommend import scores
from tests.server.world import (
    FIRSTS,
    LENGTH,
    SETTINGS,
    A,
    B,
    Server,
    World,
    eventually,
    first_taken,
    histories,
    item_id,
    serving,
    the_setup,
)

BRANDS = ("acme", "umbra", "zeta")
USERS = ("a0", "b0", "s0", "nobody")
ITEMS = len(the_setup().catalogue)
TAKEN_IN = first_taken(1).region_id
"""Region of all events."""


def attributes_of(row: int) -> dict[str, Any]:
    """Attributes of the item in a row; every tenth lacks a brand."""
    return {"price": row / 2, "in_stock": row % 7 != 0, **({"brand": BRANDS[row % 3]} if row % 10 else {})}


def row_of(listed: str) -> int:
    return the_setup().catalogue.row_of[listed]


@pytest.fixture(scope="module", params=[SETTINGS, INDEXED], ids=["exact", "index"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose items have attributes; the index finds 16 items at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retriever, "FOUND", 16)
        patch.setattr(retriever, "COMPARED", 16)
        patch.setattr(item_index, "RECALL", 0.2)
        world = World(Path(tmp_path_factory.mktemp("world")))
        world.open_both()
        for user, first in zip(USERS, (FIRSTS[A], FIRSTS[B], 61), strict=False):
            world.user(user, histories(first, 1)[0].tolist(), since_setup=0 if user == "s0" else LENGTH)
        with world.producer.transaction() as transaction:
            for row, text in enumerate(the_setup().catalogue.texts, start=1):
                value = {"item_id": item_id(row), "text": text, "attributes": attributes_of(row)}
                transaction.send("items", value, key=item_id(row), timestamp=1.6e9)
        for row in (30, 31, 31, 32, 32, 32):
            world.taken(row)
        with serving(world, settings=request.param) as shop:
            eventually(lambda: len(shop.service.users) == 3 and shop.service.online.events == 6)
            yield shop
        world.close()


def listed(shop: Server, user: str, **options: Any) -> list[str]:
    return scores(shop.recommend(user_id=user, **options))[0]


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({"brand": "acme"}, lambda a: a.get("brand") == "acme"),
    ({"brand": ["acme", "umbra"], "price": {"min": 40, "max": 120.5}},
     lambda a: a.get("brand") in ("acme", "umbra") and 40 <= a["price"] <= 120.5),
    ({"brand": {"none_of": ["acme"]}, "in_stock": True}, lambda a: a.get("brand") != "acme" and a["in_stock"]),
    ({"price": [7, 7.5, 60], "expires": {"min": "2090-01-01"}}, lambda a: a["price"] in (7, 7.5, 60)),
]  # fmt: skip


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("number", range(len(FILTERS)))
def test_a_filtered_list_holds_what_fulfils_the_filter_and_all_of_it_where_enough_is_asked(
    shop: Server, user: str, number: int
) -> None:
    conditions, fulfils = FILTERS[number]
    expected = {item_id(row) for row in range(1, ITEMS + 1) if fulfils(attributes_of(row))}
    found = listed(shop, user, filter=conditions, exclude="nothing", k=1000)
    assert len(found) == len(set(found))
    assert set(found) == expected
    short = listed(shop, user, filter=conditions, exclude="nothing", k=5)
    assert len(short) == min(5, len(expected))
    assert short == found[: len(short)]


def test_a_filtered_list_is_that_of_a_catalogue_with_nothing_else(shop: Server, request: pytest.FixtureRequest) -> None:
    """Scores and explanations included: candidates are what the filter admits."""
    kept = [item_id(row) for row in range(1, ITEMS + 1) if attributes_of(row).get("brand") == "zeta"]
    others = [item_id(row) for row in range(1, ITEMS + 1) if item_id(row) not in kept]
    for user in USERS:
        options = {"user_id": user, "k": 10, "explain": user != "nobody"}
        filtered = shop.recommend(**options, filter={"brand": "zeta"})
        assert filtered["items"] == shop.recommend(**options, only_items=[*kept, "no such item"])["items"]
        if request.node.callspec.params["shop"] is SETTINGS:
            assert filtered["items"] == shop.recommend(**options, exclude_items=others)["items"]
        if user != "nobody":
            assert all(item["sources"] and len(item["features"]) == 5 for item in filtered["items"])


def test_deny_beats_allow_and_nothing_allowed_is_an_empty_list(shop: Server) -> None:
    allowed = [item_id(row) for row in range(1, 9)]
    for user in USERS:
        found = listed(shop, user, only_items=allowed, exclude_items=allowed[:3], exclude="nothing")
        assert set(found) == set(allowed[3:])
        assert listed(shop, user, only_items=["no such item"]) == []
        assert listed(shop, user, only_items=[]) == []
        assert listed(shop, user, filter={"price": {"min": 1e6}}) == []


def test_at_most_n_items_have_the_same_value_and_the_list_is_as_long_as_it_can_be(shop: Server) -> None:
    for user in USERS:
        plain = listed(shop, user, k=30)
        found = listed(shop, user, k=30, at_most={"brand": 2})
        counts = Counter(attributes_of(row_of(one)).get("brand") for one in found)
        assert all(counts[brand] == 2 for brand in BRANDS)
        assert len(found) == 30 and counts[None] == 24
        # The order is that of the plain list.
        both = [one for one in plain if one in set(found)]
        assert [one for one in found if one in set(plain)] == both
        assert found[0] == plain[0]
        two = listed(shop, user, k=10, at_most={"brand": 1, "in_stock": 4}, filter={"brand": list(BRANDS)})
        assert len(two) == 3 and {attributes_of(row_of(one))["brand"] for one in two} == set(BRANDS)


def test_a_seed_draws_the_order_of_equal_items_alone(shop: Server) -> None:
    items, values = scores(shop.recommend(user_id="nobody", k=ITEMS))
    by_seed = [scores(shop.recommend(user_id="nobody", k=ITEMS, seed=seed)) for seed in (1, 1, 2)]
    assert all(other == values for _, other in by_seed)
    assert by_seed[0][0] == by_seed[1][0] != by_seed[2][0]
    assert all(sorted(other) == sorted(items) and other != items for other, _ in by_seed)
    known = [listed(shop, "a0", k=20, seed=seed) for seed in (1, 2)]
    assert known[0] == known[1] == listed(shop, "a0", k=20)


def test_several_users_are_answered_as_each_of_them_alone(shop: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.service, "_most", 2)
    options = {"k": 5, "filter": {"brand": "acme"}, "at_most": {"in_stock": 3}, "explain": True}
    status, found = shop.ask("POST", "/recommend/users", {"user_ids": [*USERS, "a0"], **options})
    assert status == 200
    assert [one["user_id"] for one in found["answers"]] == [*USERS, "a0"]
    for one in found["answers"]:
        alone = shop.recommend(user_id=one["user_id"], **options)
        assert scores(one)[0] == scores(alone)[0]
        assert scores(one)[1] == pytest.approx(scores(alone)[1], rel=1e-4)
        assert {**one, "request_id": "", "items": [], "confidence": 0, "route": {}} == {
            **{**alone, "request_id": "", "items": [], "confidence": 0, "route": {}}, "user_id": one["user_id"]
        }  # fmt: skip
    assert len({one["request_id"] for one in found["answers"]}) == len(USERS) + 1


def of_list(shop: Server, path: str, **body: Any) -> list[str]:
    status, found = shop.ask("POST", path, body)
    assert status == 200, found
    values = [one["score"] for one in found["items"]]
    assert values == sorted(values, reverse=True)
    return [one["item_id"] for one in found["items"]]


def test_trending_items_are_those_taken_most_of_late_by_all_or_in_a_region(shop: Server) -> None:
    assert of_list(shop, "/trending", k=3) == [item_id(row) for row in (32, 31, 30)]
    of_region = of_list(shop, "/trending", k=ITEMS, region_id=TAKEN_IN)
    assert of_region[:3] == [item_id(row) for row in (32, 31, 30)]
    # What a region has not taken follows in the order of all users; the opened region has taken nothing yet.
    assert len(of_region) == ITEMS
    assert of_list(shop, "/trending", k=9, region_id=A) == of_list(shop, "/trending", k=9)
    brand = attributes_of(31)["brand"]
    assert of_list(shop, "/trending", k=3, region_id=TAKEN_IN, filter={"brand": brand})[0] == item_id(31)


def test_the_newest_items_are_those_taken_first_or_known_last(shop: Server) -> None:
    everything = of_list(shop, "/newest", k=1000)
    assert len(everything) == ITEMS
    assert of_list(shop, "/newest", k=1000, region_id=A) == []
    of_region = of_list(shop, "/newest", k=1000, region_id=TAKEN_IN, exclude_items=[item_id(31)])
    assert sorted(of_region) == [item_id(30), item_id(32)]
    assert of_region == [one for one in everything if one in of_region]


def test_similar_items_are_of_the_same_users_or_have_texts_alike(shop: Server) -> None:
    status, found = shop.ask("POST", "/similar", {"item_id": item_id(31), "k": 8})
    assert status == 200 and len(found["items"]) == 8
    assert item_id(31) not in [one["item_id"] for one in found["items"]]
    assert {source for one in found["items"] for source in one["sources"]} == {"neighbours", "text"}
    values = [one["score"] for one in found["items"]]
    assert values == sorted(values, reverse=True)
    one_brand = shop.ask("POST", "/similar", {"item_id": item_id(31), "k": 8, "filter": {"brand": "acme"}})[1]
    assert {attributes_of(row_of(one["item_id"]))["brand"] for one in one_brand["items"]} == {"acme"}


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/recommend", {"filter": {"prize": 3}}, 422, "no item has an attribute 'prize': they have brand, in_stock"),
        ("/recommend", {"at_most": {"prize": 3}}, 422, "no item has an attribute 'prize'"),
        ("/recommend", {"filter": {"price": {"min": "cheap"}}}, 422, "min must be a number, or a moment such as"),
        ("/recommend", {"filter": {"price": {}}}, 422, "a condition needs any_of, none_of, min or max"),
        ("/recommend", {"filter": {"price": {"from": 3}}}, 422, "extra_forbidden"),
        ("/recommend", {"filter": {"price": None}}, 422, "a condition is a value, a list of values, or an object"),
        ("/recommend", {"at_most": {"brand": 0}}, 422, "greater than or equal to 1"),
        ("/recommend", {"seed": -1}, 422, "greater than or equal to 0"),
        ("/recommend/users", {"user_ids": []}, 422, "at least 1 item"),
        ("/recommend/users", {"user_ids": ["a0"], "filter": {"prize": 3}}, 422, "no item has an attribute 'prize'"),
        ("/recommend/users", {"user_ids": ["a0"], "revision": 99}, 404, "revision 99 is not there yet"),
        ("/similar", {"item_id": "no such item"}, 404, "no such item"),
        ("/similar", {"item_id": "x", "user_id": "a0"}, 422, "extra_forbidden"),
        ("/trending", {"region_id": 77}, 404, "there is no live region 77"),
        ("/newest", {"filter": {"prize": 3}}, 422, "no item has an attribute 'prize'"),
    ],
)
def test_what_cannot_be_answered_says_why(shop: Server, path: str, body: dict, status: int, says: str) -> None:
    body = {"user_id": "a0", **body} if path == "/recommend" else body
    found, answer = shop.ask("POST", path, body)
    assert found == status
    assert says in str(answer["detail"])


def test_too_many_users_are_refused(shop: Server) -> None:
    users = [f"u{number}" for number in range(recommend.MOST_USERS + 1)]
    assert shop.ask("POST", "/recommend/users", {"user_ids": users})[0] == 422


def test_filters_follow_records_and_hold_whatever_a_canary_or_a_moment_does(world: World, server: Server) -> None:
    catalogue = the_setup().catalogue
    users = [f"a{number}" for number in range(5)]
    for row in range(41, 61):
        world.item(item_id(row), catalogue.texts[row - 1], attributes={"brand": "acme"})
    eventually(lambda: server.service.items.catalogue.has_record(item_id(60)))
    _, revision = world.update(A, seed=99, canary=0.4)
    server.served(revision)
    versions = {user: server.recommend(user_id=user, filter={"brand": "acme"}, k=50) for user in users}
    assert {user: answer["adapter"] for user, answer in versions.items()} == {
        user: server.recommend(user_id=user)["adapter"] for user in users
    }
    assert len({answer["adapter"] for answer in versions.values()}) == 2
    expected = {item_id(row) for row in range(41, 61)}
    assert all(set(scores(answer)[0]) == expected for answer in versions.values())
    world.item(item_id(41), catalogue.texts[40], attributes={"brand": "umbra"})
    world.item(item_id(42), catalogue.texts[41], attributes={"brand": "acme"}, expires="2001-01-01")
    world.item("late", "out next century", attributes={"brand": "acme"}, available_from="2100-01-01")
    world.item("now", "out now", attributes={"brand": "acme"}, available_from="2001-01-01")
    eventually(lambda: server.service.items.catalogue.exists("now"))
    found = scores(server.recommend(user_id="a0", filter={"brand": "acme"}, k=50))[0]
    assert set(found) == expected - {item_id(41), item_id(42)} | {"now"}
