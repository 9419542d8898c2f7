"""Feedback on answers that no server gave changes nothing and takes no memory."""

import pytest

from consumers.server.feedback import Tally
from consumers.server.known_versions import KnownVersions
from pipeline.events.feedback import Feedback
from pipeline.streams.topics import CONTROL, FEEDBACK
from tests.server.world import A, B, Server, World, eventually, serving

OLD, NEW = "r0004_v0001", "r0004_v0002"


def tally_of(world: World) -> Tally:
    known = KnownVersions([1, 2, 3], world.store.arrays)
    known.poll(world.log)
    return Tally(known)


def tables(tally: Tally) -> tuple[int, ...]:
    return len(tally.rates), len(tally._trials), len(tally._firsts)


def test_invented_trials_leave_all_tables_empty(world: World) -> None:
    world.update(A, seed=9, canary=0.4)
    tally = tally_of(world)
    for i in range(100_000):
        assert not tally.add(Feedback(f"{i:016x}.4.r0004_v0001.{i + 2}.{i + 2}.{i % 1024}", "click"))
    assert tables(tally) == (0, 0, 0)


def test_trials_that_are_not_under_way_take_no_memory(world: World) -> None:
    world.update(A, seed=9, canary=0.4)
    tally = tally_of(world)
    for i in range(20_000):
        tally.add(Feedback(f"{i:016x}.4.{OLD}.1.{i + 2}.{i % 1024}", "click"))
    assert len(tally._trials) == 0
    assert len(tally.rates) == 1


@pytest.mark.parametrize(
    "origin", ["9.-.0", "9.r0009_v0001.0", "4.r0004_v0009.0", "4.r0005_v0001.0", "5.r0004_v0001.0", "4.r0004_v0001.1"]
)
def test_an_invented_region_version_or_revision_is_ignored(world: World, origin: str) -> None:
    tally = tally_of(world)
    assert not tally.add(Feedback(f"{0:016x}.{origin}", "click"))
    assert tables(tally) == (0, 0, 0)


@pytest.mark.parametrize("origin", ["4.r0004_v0001.0", "4.-.0", "5.r0005_v0001.0", "1.-.-1", "-.-.0"])
def test_what_a_server_can_have_answered_counts(world: World, origin: str) -> None:
    assert tally_of(world).add(Feedback(f"{0:016x}.{origin}", "click"))


def test_a_version_that_only_a_pin_made_answer_counts(world: World) -> None:
    name = world.publish(A, seed=9)
    assert not tally_of(world).add(Feedback(f"{0:016x}.4.{name}.0", "click"))
    world.send(CONTROL, {"act": "pin", "by": "ann", "region_id": A, "adapter": name}, str(A))
    assert tally_of(world).add(Feedback(f"{0:016x}.4.{name}.0", "click"))


def test_answers_of_another_generation_change_no_rate(world: World) -> None:
    tally = tally_of(world)
    assert tally.add(Feedback(f"{0:016x}.4.r0004_v0001.0.g2", "click"))
    assert tables(tally) == (0, 0, 0)


def test_counts_of_a_trial_that_ended_are_dropped(world: World) -> None:
    _, first = world.update(A, seed=9, canary=0.4)
    known = KnownVersions((), world.store.arrays)
    known.poll(world.log)
    tally = Tally(known)
    tally.add(Feedback(f"{0:016x}.4.{NEW}.{first}.{first}.3", "click"))
    _, second = world.update(A, seed=10, canary=0.4)
    known.poll(world.log)
    tally.add(Feedback(f"{1:016x}.4.{NEW}.{second}.{second}.3", "click"))
    assert list(tally._trials) == [(A, second)]


def test_a_server_ignores_and_counts_it_and_a_late_one_agrees(world: World, server: Server) -> None:
    invented = [
        {"request_id": f"{i:016x}.4.r0004_v0001.0.{i + 7}.5", "kind": "click", "item_ids": []} for i in range(3)
    ]
    invented += [{"request_id": f"{9:016x}.4.r0004_v0777.0", "kind": "click", "item_ids": []}]
    answered = {"request_id": server.recommend(user_id="b0")["request_id"], "kind": "click", "item_ids": []}
    assert server.ask("POST", "/feedback", [*invented, answered])[0] == 202
    eventually(lambda: server.service.tally.of_region(B) != {})
    eventually(lambda: "raie_ignored_feedback_total 1.0" in server.ask("GET", "/metrics")[1])
    assert server.service.tally._trials == {}
    assert sum(world.log.end_offset(FEEDBACK, partition) for partition in range(2)) == 5
    with serving(world, instance="late") as late:
        eventually(lambda: late.service.tally.rates == server.service.tally.rates)
