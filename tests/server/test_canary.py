"""Canary trials: the users of a new version, the counts of their clicks, and one decision."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from adapters_store import AdaptersStore, Manifest
from consumers.server.canary_controller import current_trial, end_trial
from consumers.server.feedback import Tally
from consumers.server.known_versions import KnownVersions
from consumers.server.views.region_history import RegionHistory
from pipeline.events.feedback import Feedback
from pipeline.events.request_id import parse_request_id
from pipeline.recommend.ab_test import Rate, Trial, Verdict
from pipeline.recommend.canary import Canary
from pipeline.regions.region import Status
from pipeline.streams import open_log
from pipeline.streams.topics import CONTROL, FEEDBACK, REGIONS
from tests.broker import settings
from tests.replay.small import config
from tests.server.test_recommend import same
from tests.server.world import FIRSTS, TOKEN, A, B, Server, World, eventually, histories, item_id, region, serving

OLD, NEW = "r0004_v0001", "r0004_v0002"
USERS = [f"u{i}" for i in range(24)]
SHARE = 0.4
QUICK = config("trend.half_lives=[20, 100]", "trend.shrinkage=5", "log.partitions=2", "canary.answers=60")
"""Settings of these tests, with sixty answers as the least for a verdict."""


@pytest.fixture
def world(world: World) -> World:
    """More users of region A."""
    for user, history in zip(USERS, histories(FIRSTS[A], len(USERS)).tolist(), strict=True):
        world.user(user, history)
    return world


def canary_of(revision: int, adapter: str = NEW) -> Canary:
    return Canary(A, adapter, OLD, 0.8, SHARE, revision)


def told(server: Server, users: Iterable[str] = USERS) -> dict[str, str]:
    """User -> version that answers."""
    return {user: server.recommend(user_id=user)["adapter"] for user in users}


def expected(adapter: str = NEW) -> dict[str, str]:
    canary = canary_of(0, adapter)
    return {user: adapter if canary.reaches(user) else OLD for user in USERS}


def click(server: Server, clicked: Iterable[str], times: int = 1) -> None:
    """Let every user request and see a recommendation so many times; users of these versions click."""
    chosen = set(clicked)
    for _ in range(times):
        answers = [server.recommend(user_id=user) for user in USERS]
        kinds = [(answer, "click" if answer["adapter"] in chosen else "impression") for answer in answers]
        body = [{"request_id": a["request_id"], "kind": kind, "item_ids": []} for a, kind in kinds]
        assert server.ask("POST", "/feedback", body)[0] == 202


def acts(world: World) -> list[dict]:
    return [
        dict(record.value or {}) for record in world.log.read(CONTROL, 0, 0, world.log.acknowledged_end(CONTROL, 0))
    ]


def shown(server: Server) -> dict[str, int]:
    """Version -> impressions in the trial, from the server."""
    canary = server.ask("GET", f"/regions/{A}")[1]["canary"]
    return {canary[role]: canary["trial"][rate]["shown"] for role, rate in ROLES.items()}


ROLES = {"adapter": "tried", "incumbent": "incumbent"}


def test_some_users_get_the_new_version_and_all_others_the_one_before(world: World, server: Server) -> None:
    before = {user: server.recommend(user_id=user) for user in USERS}
    assert {answer["canary"] for answer in before.values()} == {None}
    name, revision = world.update(A, seed=9, canary=SHARE)
    assert name == NEW
    server.served(revision)
    assert told(server) == expected()
    assert 0 < list(expected().values()).count(NEW) < len(USERS)
    shown_canary = server.ask("GET", f"/regions/{A}")[1]["canary"]
    assert list(shown_canary) == ["region_id", "adapter", "incumbent", "trust", "share", "since", "trial"]
    assert shown_canary["trial"]["difference"] is None
    for user, adapter in expected().items():
        answer = server.recommend(user_id=user)
        assert same(answer, before[user]) is (adapter == OLD)
        assert (answer["revision"], answer["canary"]) == (revision, revision)
        found = parse_request_id(answer["request_id"])
        assert found is not None
        assert (found.adapter, found.canary, found.bucket) == (adapter, revision, canary_of(revision).bucket(user))
    assert server.recommend(user_id="b0")["canary"] is None
    with serving(world, instance="other") as other:
        assert told(other) == expected()


def test_who_asks_with_a_history_is_told_apart_by_it(world: World, server: Server) -> None:
    _, revision = world.update(A, seed=9, canary=SHARE)
    server.served(revision)
    asked = [[item_id(row) for row in window] for window in histories(FIRSTS[A], 40).tolist()]
    adapters = [server.recommend(history=history)["adapter"] for history in asked]
    assert set(adapters) == {OLD, NEW}
    assert adapters == [server.recommend(history=history)["adapter"] for history in asked]


def test_a_version_that_is_clicked_more_is_everybodys(world: World, server: Server) -> None:
    _, revision = world.update(A, seed=9, canary=SHARE)
    server.served(revision)
    click(server, [NEW], times=2)
    eventually(lambda: set(told(server).values()) == {NEW})
    assert server.service.live.view.revision == revision + 1
    assert server.service.live.view.canaries == {}
    (record,) = world.log.read(REGIONS, 0, revision + 1, revision + 2)
    assert record.value is not None
    assert (record.value["regions"], record.value["passed"]) == ([], NEW)
    (act,) = acts(world)
    assert (act["act"], act["by"], act["region_id"], act["adapter"]) == ("pass", "server test", A, NEW)
    assert act["canary"]["verdict"] == "better"
    assert act["canary"]["tried"]["clicked"] == act["canary"]["tried"]["shown"] > 0
    assert act["canary"]["incumbent"]["clicked"] == 0 < act["canary"]["incumbent"]["shown"]


def test_a_version_that_is_clicked_less_is_rolled_back_and_a_record_says_why(world: World, server: Server) -> None:
    before = server.recommend(user_id="u0")
    _, revision = world.update(A, seed=9, canary=SHARE)
    server.served(revision)
    click(server, [OLD], times=2)
    eventually(lambda: server.service.live.view.revision == revision + 1)
    assert set(told(server).values()) == {OLD}
    assert same(server.recommend(user_id="u0"), before)
    (act,) = acts(world)
    assert (act["act"], act["from"], act["to"]) == ("rollback", NEW, OLD)
    assert act["canary"]["verdict"] == "worse"
    assert act["canary"]["evidence"] > 3.0
    found = server.ask("GET", f"/regions/{A}")[1]
    assert (found["version"], found["adapter"], found["canary"]) == (3, OLD, None)
    assert server.ask("GET", "/versions")[1][str(A)][0]["rollback_of"] == NEW
    assert told(server, ["b0"]) == {"b0": "r0005_v0001"}


def test_a_canary_goes_its_way_over_a_broker(kafka_url: str, tmp_path: Path) -> None:
    opens = partial(open_log, kafka_url, settings())
    world = World(tmp_path, opens)
    world.open_both()
    for user, history in zip(USERS, histories(FIRSTS[A], len(USERS)).tolist(), strict=True):
        world.user(user, history)
    with serving(world, opens=opens) as server:
        assert set(told(server).values()) == {OLD}
        _, revision = world.update(A, seed=9, canary=SHARE)
        server.served(revision)
        assert told(server) == expected()
        click(server, [OLD], times=2)
        eventually(lambda: set(told(server).values()) == {OLD})
    with serving(world, instance="later", opens=opens) as later:
        assert set(told(later).values()) == {OLD}
        (act,) = acts(world)
        assert (act["act"], act["from"], act["to"]) == ("rollback", NEW, OLD)
        assert act["canary"]["verdict"] == "worse"
    world.close()


def test_versions_that_are_clicked_alike_are_decided_by_their_number(world: World) -> None:
    with serving(world, settings=QUICK) as server:
        _, revision = world.update(A, seed=9, canary=SHARE)
        server.served(revision)
        click(server, [OLD, NEW], times=2)
        eventually(lambda: sum(shown(server).values()) == 48)
        assert set(told(server).values()) == {OLD, NEW}
        click(server, [OLD, NEW])
        eventually(lambda: set(told(server).values()) == {NEW})
        (act,) = acts(world)
        assert act["canary"]["verdict"] == "alike"
        assert act["canary"]["tried"]["shown"] + act["canary"]["incumbent"]["shown"] == 72


def test_a_restart_in_the_middle_goes_on_with_the_clicks_before_it(world: World) -> None:
    with serving(world, settings=QUICK) as server:
        _, revision = world.update(A, seed=9, canary=SHARE)
        server.served(revision)
        click(server, [OLD, NEW], times=2)
        eventually(lambda: sum(shown(server).values()) == 48)
        before = shown(server)
    assert acts(world) == []
    with serving(world, settings=QUICK) as server:
        assert shown(server) == before
        assert told(server) == expected()
        click(server, [OLD, NEW])
        eventually(lambda: set(told(server).values()) == {NEW})
    (act,) = acts(world)
    assert act["canary"]["tried"]["shown"] + act["canary"]["incumbent"]["shown"] == 72


def test_what_was_clicked_while_no_server_ran_is_decided_at_the_start(world: World) -> None:
    with serving(world) as server:
        _, revision = world.update(A, seed=9, canary=SHARE)
        server.served(revision)
        ids = [server.recommend(user_id=user)["request_id"] for user in USERS * 2]
    for request_id in ids:
        kind = "click" if OLD in request_id else "impression"
        world.send(FEEDBACK, {"request_id": request_id, "kind": kind, "item_ids": []}, request_id)
    with serving(world) as server:
        eventually(lambda: set(told(server).values()) == {OLD})
    assert [act["act"] for act in acts(world)] == ["rollback"]


def test_of_several_servers_one_decides(world: World, server: Server) -> None:
    with serving(world, instance="one") as one, serving(world, instance="two") as two:
        servers = [server, one, two]
        for seed, (clicked, left) in enumerate([(OLD, OLD), (NEW, "r0004_v0003")]):
            _, revision = world.update(A, seed=20 + seed, canary=SHARE)
            for each in servers:
                each.served(revision)
            newest = f"r0004_v000{2 + seed}"
            click(one, [clicked if clicked == OLD else newest], times=2)
            for each in servers:
                eventually(lambda each=each, left=left: set(told(each).values()) == {left})
        assert [act["act"] for act in acts(world)] == ["rollback", "pass"]
        assert world.log.end_offset(REGIONS, 0) == 5


class Meanwhile(AdaptersStore):
    """A store in which something happens while a version is verified."""

    happens: Callable[[], None]

    def verify(self, name: str) -> Manifest:
        self.happens()
        return super().verify(name)


@pytest.mark.parametrize("verdict", Verdict)
def test_who_is_overtaken_while_it_decides_writes_nothing(world: World, verdict: Verdict) -> None:
    _, revision = world.update(A, seed=9, canary=SHARE)
    canary, trial = canary_of(revision), Trial(Rate(20, 1), Rate(30, 9), 3.5)
    slow = Meanwhile(world.folder / "adapters")
    # The slow one decides that the version is worse, as only then the store is asked.
    slow.happens = lambda: end_trial(world.log, world.store, canary, trial, verdict, "quick", 1.6e9)
    end_trial(world.log, slow, canary, trial, Verdict.WORSE, "slow", 1.6e9)
    assert [act["by"] for act in acts(world)] == ["quick"]
    assert world.log.end_offset(REGIONS, 0) == revision + 2
    end_trial(world.log, world.store, canary, trial, verdict, "late", 1.6e9)
    assert [act["by"] for act in acts(world)] == ["quick"]


def test_a_version_that_comes_meanwhile_is_tried_in_place_of_the_first(world: World, server: Server) -> None:
    _, first = world.update(A, seed=9, canary=SHARE)
    server.served(first)
    click(server, [])
    newest, second = world.update(A, seed=10, canary=SHARE)
    server.served(second)
    assert told(server) == expected(newest)
    assert shown(server) == {newest: 0, OLD: 0}
    click(server, [OLD], times=2)
    eventually(lambda: set(told(server).values()) == {OLD})
    (act,) = acts(world)
    assert (act["from"], act["to"]) == (newest, OLD)


def test_a_version_for_everybody_and_a_rollback_end_a_trial(world: World, server: Server) -> None:
    _, revision = world.update(A, seed=9, canary=SHARE)
    server.served(revision)
    newest, revision = world.update(A, seed=10)
    server.served(revision)
    assert set(told(server).values()) == {newest}
    _, revision = world.update(A, seed=11, canary=SHARE)
    server.served(revision)
    assert len(set(told(server).values())) == 2
    status, answer = server.ask("POST", "/admin/rollback", {"region_id": A, "to": OLD, "by": "ann"}, TOKEN)
    assert status == 200
    server.served(answer["revision"])
    assert set(told(server).values()) == {OLD}


def test_a_region_that_is_pinned_is_on_no_trial_until_it_is_let_go(world: World, server: Server) -> None:
    def pin(adapter: str | None) -> None:
        assert server.ask("POST", "/admin/pin", {"region_id": A, "adapter": adapter, "by": "ann"}, TOKEN)[0] == 202
        eventually(lambda: server.service.live.pins == ({} if adapter is None else {A: adapter}))

    _, revision = world.update(A, seed=9, canary=SHARE)
    server.served(revision)
    pin(NEW)
    assert set(told(server).values()) == {NEW}
    click(server, [])
    pin(None)
    eventually(lambda: told(server) == expected())
    assert shown(server) == {NEW: 0, OLD: 0}


@pytest.mark.parametrize(("damaged", "answers"), [(NEW, OLD), (OLD, NEW)])
def test_where_one_of_the_two_is_damaged_the_other_is_everybodys(world: World, damaged: str, answers: str) -> None:
    world.update(A, seed=9, canary=SHARE)
    shutil.rmtree(world.folder / "adapters" / damaged)
    with serving(world) as server:
        assert set(told(server).values()) == {answers}
        assert server.recommend(user_id="u0")["canary"] is None
        assert dict(server.service.live.refusals) == {"missing": 1}


def test_without_a_way_back_the_new_version_stays_on_trial(world: World, server: Server) -> None:
    _, revision = world.update(A, seed=9, canary=SHARE)
    server.served(revision)
    shutil.rmtree(world.folder / "adapters" / OLD)
    click(server, [OLD], times=2)
    eventually(lambda: any("cannot be restored" in said for said in server.said))
    assert told(server) == expected()
    assert acts(world) == []
    assert server.ask("GET", "/readyz")[0] == 200


def test_an_older_revision_is_on_the_trial_that_it_was_on(world: World, server: Server) -> None:
    _, revision = world.update(A, seed=9, canary=SHARE)
    _, newest = world.update(A, seed=10)
    server.served(newest)
    then = {user: server.recommend(user_id=user, revision=revision)["adapter"] for user in USERS}
    assert then == expected()


# --- what the log says ---------------------------------------------------------------------------------------


def logged(world: World) -> RegionHistory:
    return RegionHistory.of(world.log.read(REGIONS, 0, 0, world.log.end_offset(REGIONS, 0)), world.store.arrays)


def test_a_first_version_has_nobody_to_be_tried_against(world: World) -> None:
    world.announce(region(6, 1, "r0006_v0001"), canary=SHARE)
    assert logged(world).canaries == {}


def test_a_trial_goes_on_while_boundaries_move_and_ends_with_its_region(world: World) -> None:
    _, revision = world.update(A, seed=9, canary=SHARE)
    assert logged(world).canaries == {A: canary_of(revision)}
    world.announce(region(A, 3, NEW), region(B, 2, "r0005_v0001"), moved=True, canary=SHARE)
    assert logged(world).canaries == {A: canary_of(revision)}
    world.announce(replace(region(A, 4, NEW), status=Status.MERGED))
    assert logged(world).canaries == {}


def test_what_passes_is_the_version_that_is_named(world: World) -> None:
    world.update(A, seed=9, canary=SHARE)
    newest, revision = world.update(A, seed=10, canary=SHARE)
    nothing = {"regions": [], "origins": None, "gate_version": 1}
    world.send(REGIONS, {**nothing, "passed": NEW}, str(A))
    assert logged(world).canaries == {A: canary_of(revision, newest)}
    world.send(REGIONS, {**nothing, "passed": newest}, str(A))
    assert logged(world).canaries == {}
    assert logged(world).bank[A].adapter == newest


def test_only_answers_of_the_trial_count_for_it(world: World) -> None:
    _, revision = world.update(A, seed=9, canary=SHARE)
    known = KnownVersions((), world.store.arrays)
    known.poll(world.log)
    tally, canary = Tally(known), canary_of(revision)
    for i, (adapter, part) in enumerate(OF_ONE_TRIAL):
        tally.add(Feedback(f"{i:016}.4.{adapter}.1{part}", "click"))
    found = current_trial(canary, tally)
    assert (found.tried, found.incumbent) == (Rate(1, 1), Rate(2, 2))
    assert found.verdict(0.05, 4) is None
    assert found.verdict(0.05, 3) is Verdict.ALIKE
    assert tally.of_region(A)[OLD]["shown"] == 4


OF_ONE_TRIAL = [
    *((NEW, ".1.3"), (OLD, ".1.1000"), (OLD, ".1.1023")),
    *((OLD, ".0.1000"), (OLD, ""), (NEW, ""), ("r0004_v0001", ".1.1024")),
]
"""Version and trial of answers; the first three belong to the trial that started with revision 1."""
