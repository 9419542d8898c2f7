"""A server whose best items an index finds answers as one that scores all items."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config
from pipeline.recommend.model_scores import FoundScores
from pipeline.retrieval import item_index
from tests.server.world import FIRSTS, LENGTH, SETTINGS, A, B, Server, World, eventually, histories, serving

INDEXED = SETTINGS.model_copy(update={"ranking": SETTINGS.ranking.model_copy(update={"exact_items": 0})})
USERS = ("a0", "b0", "s0")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # All cells are looked at, so that nothing is missed.
    monkeypatch.setattr(item_index, "RECALL", 1.0)
    monkeypatch.setattr(item_index, "BEST", 10**6)
    world = World(tmp_path)
    world.open_both()
    for user, first in zip(USERS, (FIRSTS[A], FIRSTS[B], 61), strict=True):
        world.user(user, histories(first, 1)[0].tolist(), since_setup=0 if user == "s0" else LENGTH)
    yield world
    world.close()


def answers(server: Server) -> list[dict[str, Any]]:
    eventually(lambda: len(server.service.users) == len(USERS))
    return [server.recommend(user_id=user, k=20) for user in USERS]


def by_both(world: World) -> Iterator[tuple[Config, list[dict[str, Any]]]]:
    for settings in (SETTINGS, INDEXED):
        with serving(world, settings=settings) as server:
            yield settings, answers(server)


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert [item["item_id"] for item in one["items"]] == [item["item_id"] for item in other["items"]]
    assert one["route"] == pytest.approx(other["route"], rel=1e-3)
    assert (one["region_id"], one["answered_by"]) == (other["region_id"], other["answered_by"])


def test_answers_are_those_of_a_server_that_scores_all_items(world: World) -> None:
    (_, exact), (_, found) = by_both(world)
    assert {answer["answered_by"] for answer in exact} == {"adapter", "backbone"}
    for one, other in zip(exact, found, strict=True):
        same(one, other)


def test_items_that_come_and_go_are_found_and_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    before = FoundScores.experts
    monkeypatch.setattr(FoundScores, "experts", lambda self: used.append(1) or before(self))
    with serving(world, settings=INDEXED) as server:
        first = answers(server)
        gone = first[0]["items"][0]["item_id"]
        world.send("items", None, gone)
        world.item("new", "like the others")
        eventually(lambda: server.service.items.catalogue.exists("new"))
        eventually(lambda: not server.service.items.catalogue.exists(gone))
        listed = [item["item_id"] for item in server.recommend(user_id="a0", k=500)["items"]]
    assert used
    assert "new" in listed
    assert gone not in listed
