"""Injected items on a running server: it answers with them, refuses damaged ones, and goes back."""

from dataclasses import replace

import numpy as np
import pytest

from consumers.server.rollback import plan_rollback
from consumers.server.views.region_history import RegionHistory
from pipeline.errors import DataError
from pipeline.models.injected import InjectedItems
from pipeline.regions.injection import EVERY_REGION, Injection
from pipeline.regions.revision import Revision
from pipeline.streams.interface import Record
from pipeline.streams.topics import REGIONS
from tests.server.world import FIRSTS, TOKEN, A, Server, World, eventually, histories, item_id, serving, the_setup

NEW = "new1"
HISTORY = [item_id(row) for row in histories(FIRSTS[A], 1)[0].tolist()]


def inject(world: World, scale: float, *items: str) -> tuple[str, int]:
    """Publish and announce the next version of injected items; return its name and the revision."""
    width = the_setup().backbone.items.rows.weight.shape[1]
    vectors = np.full((len(items), width), scale, dtype=np.float32)
    before = world.bank.injection
    name = publish(world, before.version + 1, InjectedItems(items, vectors))
    injection = Injection(before.version + 1, (*before.names, name))
    world.bank = replace(world.bank, injection=injection)
    revision = Revision.of(world.bank, (), False, edit_id="e", injection=injection)
    return name, world.send(REGIONS, revision.to_record(), "0")


def publish(world: World, version: int, injected: InjectedItems) -> str:
    """Put a version of injected items into the store, without a revision; return its name."""
    return world.store.publish(
        EVERY_REGION,
        version,
        injected.to_tensors(),
        injected.to_config(),
        backbone_sha256=the_setup().backbone_sha256,
        edit_id=f"inject-{version}",
        parent=None,
        rank=0,
        targets=(),
        seed=0,
        before={},
        after={},
    ).name


def score(server: Server, item: str) -> float:
    answer = server.recommend(history=HISTORY, k=1000)
    return {i["item_id"]: float(i["score"]) for i in answer["items"]}.get(item, 0.0)


def test_an_item_is_scored_by_what_is_injected_in_every_region(world: World, server: Server) -> None:
    world.item(NEW, the_setup().catalogue.texts[0])
    eventually(lambda: score(server, NEW) > 0.0)
    moved = [score(server, NEW)]
    for scale in (1.0, -1.0):
        _, revision = inject(world, scale, NEW)
        server.served(revision)
        moved.append(score(server, NEW))
    assert len({round(each, 9) for each in moved}) == 3


def test_items_are_injected_whichever_comes_first_the_version_or_their_record(world: World, server: Server) -> None:
    _, revision = inject(world, 1.0, NEW)
    server.served(revision)
    world.item(NEW, "")
    eventually(lambda: score(server, NEW) > 0.0)
    with serving(world, instance="other") as other:
        eventually(lambda: score(other, NEW) == score(server, NEW))


def test_injected_items_that_arrive_change_and_come_back_are_those_of_a_fresh_start(
    world: World, server: Server
) -> None:
    others = [f"{NEW}-{number}" for number in range(3)]
    _, revision = inject(world, 1.0, NEW, *others)
    server.served(revision)
    world.item(NEW, "")
    world.item(others[0], "")
    eventually(lambda: score(server, others[0]) > 0.0)
    # Another item takes the row of an evicted one, which comes back in another row; a text changes.
    world.evict(NEW)
    world.item("plain", "")
    world.item(others[0], the_setup().catalogue.texts[0])
    world.arrived(NEW)
    world.item(others[1], "")
    eventually(lambda: score(server, others[1]) > 0.0)
    items = [NEW, *others, "plain"]
    found = [score(server, item) for item in items]
    assert found[3] == 0.0, "it has not arrived"
    with serving(world, instance="late") as late:
        assert found == pytest.approx([score(late, item) for item in items])


def test_a_damaged_version_is_refused_and_the_one_before_stays(world: World, server: Server) -> None:
    world.item(NEW, "")
    _, revision = inject(world, 1.0, NEW)
    server.served(revision)
    eventually(lambda: score(server, NEW) > 0.0)
    before = score(server, NEW)
    publish(world, 2, InjectedItems((NEW,), np.ones((1, 3), dtype=np.float32)))
    broken = Revision.of(world.bank, (), False, injection=Injection(2, ("r0000_v0001", "r0000_v0002")))
    server.served(world.send(REGIONS, broken.to_record(), "0"))
    assert server.service.live.refusals["wrong_tensors"] == 1
    assert score(server, NEW) == before
    assert server.service.live.view.bank.injection.names == ("r0000_v0001",)


def test_a_rollback_of_region_0_restores_the_injected_items_of_before(world: World, server: Server) -> None:
    world.item(NEW, "")
    first, revision = inject(world, 1.0, NEW)
    server.served(revision)
    eventually(lambda: score(server, NEW) > 0.0)
    before = score(server, NEW)
    server.served(inject(world, -1.0, NEW)[1])
    assert score(server, NEW) != before
    status, answer = server.ask("POST", "/admin/rollback", {"region_id": 0, "by": "ann"}, TOKEN)
    assert status == 200
    server.served(answer["revision"])
    assert score(server, NEW) == before
    injection = server.service.live.view.bank.injection
    assert (injection.version, injection.names) == (2, (first,)), "the next version is the third"


def record(offset: int, revision: Revision) -> Record:
    return Record(REGIONS, 0, offset, "0", revision.to_record(), 1.6e9)


def test_what_a_rollback_restores(world: World) -> None:
    files = world.store.arrays
    states = [Injection(1, ("r0000_v0001",)), Injection(2, ("r0000_v0001", "r0000_v0002"))]
    records = [record(i, Revision((), None, 0, injection=state)) for i, state in enumerate(states)]
    bank = RegionHistory.of(records, files).bank
    assert plan_rollback(bank, records, 0, None).injection == Injection(2, ("r0000_v0001",))
    one = RegionHistory.of(records[:1], files).bank
    assert plan_rollback(one, records[:1], 0, None).injection == Injection(1, ())
    with pytest.raises(DataError, match="never had r0000_v0009"):
        plan_rollback(bank, records, 0, "r0000_v0009")
    with pytest.raises(DataError, match="nothing to roll back"):
        plan_rollback(RegionHistory.of([], files).bank, [], 0, None)
