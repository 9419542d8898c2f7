"""Items that arrive, change, end, are evicted and come back while a server runs."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from consumers.gate.changelog import OnlineSnapshot, snapshot_outputs
from pipeline.events.item import MAX_TEXT_LENGTH
from pipeline.events.item_status import MARK
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.streams.topics import GATED, ITEMS
from tests.server.test_follower import skipped
from tests.server.test_recommend import same, scores
from tests.server.world import (
    FIRSTS,
    A,
    Server,
    World,
    eventually,
    first_taken,
    fresh_state,
    histories,
    item_id,
    region,
    serving,
    the_setup,
)

NEW = "a new/item é"
PATH = "/items/a%20new%2Fitem%20%C3%A9"
TEXT = the_setup().catalogue.texts[0]
HISTORY = [item_id(row) for row in histories(FIRSTS[A], 1)[0].tolist()]


def listed(server: Server, name: str, **ask: object) -> bool:
    return name in scores(server.recommend(**(ask or {"history": HISTORY}), k=1000))[0]


def metric(server: Server, name: str) -> float:
    lines = server.ask("GET", "/metrics")[1].splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[-1])


def applied(server: Server, offset: int) -> None:
    """Wait until a record of items is applied."""
    eventually(lambda: server.service.items._follower.next_item > offset)


def test_an_announced_item_is_recommended_without_a_restart(world: World, server: Server) -> None:
    assert server.ask("GET", PATH)[0] == 404
    assert server.recommend(history=[NEW])["answered_by"] == "trend"
    known = server.ask("GET", "/items")[1]
    world.item(NEW, TEXT, genre="drama")
    eventually(lambda: listed(server, NEW))
    titles = {item["item_id"]: item["title"] for item in server.recommend(history=HISTORY, k=1000)["items"]}
    assert titles[NEW] == TEXT
    assert listed(server, NEW, user_id="nobody")
    assert server.recommend(history=[NEW])["answered_by"] != "trend"
    assert not listed(server, NEW, history=[NEW])
    assert not listed(server, NEW, history=HISTORY, exclude=[NEW])
    assert server.ask("GET", PATH) == (
        200,
        {
            "item_id": NEW,
            "text": TEXT,
            "attributes": {"genre": "drama"},
            "exists": True,
            "known_from": "record",
            "withdrawn": False,
            "available_from": None,
            "expires": None,
        },
    )
    now = server.ask("GET", "/items")[1]
    assert now == known | {"known": known["known"] + 1, "existing": known["existing"] + 1}
    assert metric(server, 'raie_items{state="known"}') == now["known"]
    assert metric(server, "raie_items_arrived_total") == 1
    assert {"/items", "/items/{item_id}"} <= set(server.ask("GET", "/openapi.json")[1]["paths"])


def test_another_text_changes_what_an_item_is(world: World, server: Server) -> None:
    world.item(NEW, TEXT)
    eventually(lambda: listed(server, NEW))
    before = server.recommend(history=[NEW], k=1000)
    text = next(text for text in the_setup().catalogue.texts if text != TEXT)
    world.item(NEW, text)
    eventually(lambda: server.ask("GET", PATH)[1]["text"] == text)
    after = server.recommend(history=[NEW], k=1000)
    assert not same(before, after)
    with serving(world, instance="late") as late:
        assert same(late.recommend(history=[NEW], k=1000), after)


def test_a_withdrawn_item_ends_until_its_next_record(world: World, server: Server) -> None:
    world.item(NEW, TEXT)
    eventually(lambda: listed(server, NEW))
    for name, record in ((NEW, TEXT), (item_id(50), "another text")):
        world.send(ITEMS, None, name)
        eventually(lambda name=name: not listed(server, name))  # type: ignore[misc]
        world.item(name, record)
        eventually(lambda name=name: listed(server, name))  # type: ignore[misc]
    world.send(ITEMS, None, NEW)
    eventually(lambda: not listed(server, NEW))
    found = server.ask("GET", PATH)[1]
    assert (found["withdrawn"], found["exists"], found["known_from"]) == (True, False, "record")
    assert server.ask("GET", "/items")[1]["withdrawn"] == 1
    # A tombstone of an item that nobody knows makes none.
    applied(server, world.send(ITEMS, None, "nobody's"))
    assert server.ask("GET", "/items/nobody's")[0] == 404
    # It can still be read where it was taken.
    assert server.recommend(history=[NEW])["answered_by"] != "trend"


def test_an_evicted_item_is_forgotten_and_comes_back_when_it_is_taken(world: World, server: Server) -> None:
    world.item(NEW, TEXT)
    eventually(lambda: listed(server, NEW))
    applied(server, world.evict(NEW))
    assert server.ask("GET", PATH)[0] == 404
    assert server.recommend(history=[NEW])["answered_by"] == "trend"
    assert metric(server, "raie_items_evicted_total") == 1
    world.arrived(NEW)
    eventually(lambda: listed(server, NEW))
    found = server.ask("GET", PATH)[1]
    assert (found["text"], found["known_from"]) == ("", "interaction")
    assert metric(server, 'raie_items{state="without_text"}') == 1
    applied(server, world.evict(item_id(50)))
    assert not listed(server, item_id(50))
    assert server.ask("GET", f"/items/{item_id(50)}")[0] == 404


def test_a_freed_row_keeps_nothing_of_its_former_item(world: World, server: Server) -> None:
    world.item("former", "a text that nothing else has")
    world.snapshot(fresh_state())
    for _ in range(5):
        world.gated(replace(first_taken(1), target="former"), next_item=world.log.end_offset(ITEMS, 0))
    eventually(lambda: scores(server.recommend(user_id="nobody", k=1))[0] == ["former"])
    row = server.service.items.catalogue.row_of["former"]
    applied(server, world.evict("former"))
    world.item(NEW, TEXT)
    eventually(lambda: listed(server, NEW))
    assert server.service.items.catalogue.row_of[NEW] == row
    found = dict(zip(*scores(server.recommend(user_id="nobody", k=1000)), strict=True))
    assert np.isclose(found[NEW], min(found.values()), rtol=1e-9)
    with serving(world, instance="late") as late:
        assert same(late.recommend(history=[NEW], k=100), server.recommend(history=[NEW], k=100))


def test_an_adapter_moves_an_item_that_arrives_after_it(world: World, server: Server) -> None:
    name = world.publish(A, seed=5, others=[NEW])
    server.served(world.announce(region(A, world.versions[A], name)))
    for one in ("twin", NEW):
        world.item(one, TEXT)
    eventually(lambda: listed(server, "twin") and listed(server, NEW))

    def moved() -> bool:
        found = dict(zip(*scores(server.recommend(history=HISTORY, k=1000)), strict=True))
        return not np.isclose(found["twin"], found[NEW], rtol=1e-6)

    eventually(moved)
    with serving(world, instance="late") as late:
        assert same(late.recommend(user_id="a0", k=1000), server.recommend(user_id="a0", k=1000))
    # Another item gets the row, without the move; the first one gets its move back with a row of its own.
    row = server.service.items.catalogue.row_of[NEW]
    applied(server, world.evict(NEW))
    world.item("third", TEXT)
    eventually(lambda: listed(server, "third"))
    assert server.service.items.catalogue.row_of["third"] == row
    found = dict(zip(*scores(server.recommend(history=HISTORY, k=1000)), strict=True))
    np.testing.assert_allclose(found["twin"], found["third"], rtol=1e-4)
    world.item(NEW, TEXT)
    eventually(lambda: listed(server, NEW) and moved())


def test_servers_that_read_items_in_another_order_answer_alike(tmp_path: Path) -> None:
    texts = dict(zip((f"n{i}" for i in range(40)), the_setup().catalogue.texts, strict=False))
    answers = []
    for order in (list(texts), list(reversed(texts))):
        folder = tmp_path / order[0]
        folder.mkdir()
        world = World(folder)
        world.open_both()
        with serving(world) as server:
            for gone in order[:3]:
                world.item(f"gone {gone}", "nothing")
                world.evict(f"gone {gone}")
            last = max(world.item(name, f"{texts[name]} {name}") for name in order)
            applied(server, last)
            asked = [{"history": HISTORY}, {"history": ["n7", *HISTORY[:3], "n3"]}, {"user_id": "nobody"}]
            answers.append([server.recommend(**ask, k=1000) for ask in asked])
        world.close()
    one, other = answers
    assert all(same(a, b) for a, b in zip(one, other, strict=True))
    # All new items are equally popular: only their ids can tell them apart.
    new = [name for name in scores(one[-1])[0] if name in texts]
    assert new == sorted(texts)


def test_a_thousand_announcements_of_one_item_take_one_row(world: World, server: Server) -> None:
    world.item(NEW, TEXT)
    eventually(lambda: listed(server, NEW))
    items, forward = server.service.items, server.service.live.forward
    sizes = items.catalogue.rows, len(forward.vectors), len(forward._table), forward.backbone.items.capacity
    with world.producer.transaction() as transaction:
        for i in range(1000):
            transaction.send(ITEMS, {"item_id": NEW, "text": f"{TEXT} {i % 7}"}, key=NEW, timestamp=1.6e9)
    applied(server, world.log.end_offset(ITEMS, 0) - 1)
    assert sizes == (items.catalogue.rows, len(forward.vectors), len(forward._table), forward.backbone.items.capacity)
    assert metric(server, "raie_items_arrived_total") == 1
    assert server.ask("GET", PATH)[1]["text"] == f"{TEXT} {999 % 7}"


def test_requests_are_answered_while_items_come_and_go(world: World, server: Server) -> None:
    stop, failures, answers = threading.Event(), list[object](), list[object]()

    def ask(user: str) -> None:
        while not stop.is_set():
            body = {"history": ["n1", "n17", item_id(3)], "k": 1000} if user == "history" else {"user_id": user}
            status, answer = server.ask("POST", "/recommend", body)
            (answers if status == 200 and answer["items"] else failures).append(answer)

    threads = [threading.Thread(target=ask, args=(user,)) for user in ("a0", "nobody", "history")]
    for thread in threads:
        thread.start()
    for turn in range(6):
        names = [f"n{i}" for i in range(turn, turn + 100)]
        for name in names:
            world.item(name, f"{TEXT} {name}")
        last = max(world.evict(name) for name in names[::-2])
        applied(server, last)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(answers) > 20
    assert server.service.items.catalogue.rows < len(the_setup().catalogue) + 200
    found = server.ask("GET", "/items")[1]
    with serving(world, instance="late") as late:
        assert late.ask("GET", "/items")[1] == found
        for user in ("a0", "nobody"):
            assert same(late.recommend(user_id=user, k=1000), server.recommend(user_id=user, k=1000))


@pytest.mark.parametrize("text", ["x " * (MAX_TEXT_LENGTH // 2 - 1) + "y", "🦉" * 50, "", "\u202e\u0000 text"])
def test_any_text_is_a_text(world: World, server: Server, text: str) -> None:
    world.item(NEW, text)
    eventually(lambda: listed(server, NEW))
    assert server.ask("GET", PATH)[1]["text"] == text
    assert np.isfinite(scores(server.recommend(history=[NEW], k=1000))[1]).all()


def test_a_record_that_is_no_item_is_skipped_and_counted(world: World, server: Server) -> None:
    bad = [
        {"item_id": NEW, "text": "x" * (MAX_TEXT_LENGTH + 1)},
        {"item_id": "x" * 1000, "text": "a text"},
        {"item_id": NEW, "text": "a text", "available_from": 5, "expires": 4},
    ]
    statuses = [{"item_id": NEW, "status": "evicted", "timestamp": 10**400}, {"status": "arrived", "timestamp": 1.0}]
    for value in bad:
        world.send(ITEMS, value, NEW)
    for value in statuses:
        world.send(ITEMS, value, f"{MARK}{NEW}")
    eventually(lambda: skipped(server, ITEMS) == len(bad) + len(statuses))
    assert server.ask("GET", PATH)[0] == 404
    world.item(NEW, TEXT)
    eventually(lambda: listed(server, NEW))


def test_items_begin_and_end_by_the_clock(world: World, server: Server) -> None:
    now = time.time()
    world.item("past", TEXT, available_from=1, expires=2)
    world.item("later", TEXT, available_from=now + 1e6)
    world.item("soon", TEXT, available_from=now + 1.0)
    applied(server, world.item("brief", TEXT, expires=now + 1.0))
    assert not listed(server, "past") and not listed(server, "later")
    found = server.ask("GET", "/items/later")[1]
    assert (found["exists"], found["available_from"]) == (False, now + 1e6)
    eventually(lambda: listed(server, "soon") and not listed(server, "brief"))
    assert server.ask("GET", "/items/brief")[1]["exists"] is False


def test_an_item_that_waits_for_its_first_interaction_exists_after_it(world: World, server: Server) -> None:
    applied(server, world.item(NEW, TEXT, available_from="when_taken"))
    assert not listed(server, NEW)
    assert server.ask("GET", PATH)[1]["available_from"] == "when_taken"
    world.events["gate"] = 0
    world.gated(replace(first_taken(1), target=NEW), next_item=1)
    eventually(lambda: listed(server, NEW))
    world.gated(replace(first_taken(1), target="nobody announced it"), next_item=1)
    eventually(lambda: listed(server, "nobody announced it"))


def test_an_interaction_from_before_an_eviction_brings_nothing_back(world: World, server: Server) -> None:
    world.item(NEW, TEXT)
    evicted = world.evict(NEW)
    applied(server, evicted)
    world.events["gate"] = 0
    world.gated(replace(first_taken(1), target=NEW), next_item=evicted)
    world.gated(replace(first_taken(1), target="another"), next_item=evicted)
    eventually(lambda: listed(server, "another"))
    assert server.ask("GET", PATH)[0] == 404
    world.gated(replace(first_taken(1), target=NEW), next_item=evicted + 1)
    eventually(lambda: listed(server, NEW))


def test_the_rows_of_a_trend_are_those_of_its_gate(world: World) -> None:
    """Its items go into the rows that they have here; those that are not known yet get rows."""
    online, setup = fresh_state(), len(the_setup().catalogue)
    names = ["", "third", "second", "waits"]
    online.resize(setup + len(names))
    empty = online.query_of(first_taken(1), OpenCatalogue(the_setup().catalogue, None))
    for name, times in (("second", 9), ("third", 5)):
        for _ in range(times):
            online.second_stage.count(empty, setup + 1 + names.index(name))
    world.item("first", TEXT)
    world.item("second", TEXT)
    kept = OnlineSnapshot(online.to_arrays(), 14, 0, world.log.end_offset(GATED, 0), names, ["waits"], 1.6e9, 2)
    with world.producer.transaction() as transaction:
        for out in snapshot_outputs("gate", kept, 1.6e9):
            transaction.send(out.topic, out.value, key=out.key, timestamp=out.timestamp)
    with serving(world) as server:
        answer = server.recommend(user_id="nobody", k=1000)
        order = scores(answer)[0]
        assert order.index("second") < order.index("third")
        assert "first" in scores(answer)[0] and "waits" not in scores(answer)[0]
        row_of = server.service.items.catalogue.row_of
        overall = online.overall()
        assert "waits" not in row_of
        found = dict(zip(*scores(answer), strict=True))
        expected = [overall[setup + 3], overall[setup + 2]]
        np.testing.assert_allclose([found["second"], found["third"]], expected, rtol=1e-9)
