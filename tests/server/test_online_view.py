"""Online counts of a server: those of a gate, as fresh as `gated`."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from consumers.gate.changelog import OnlineSnapshot, snapshot_outputs
from consumers.server.views import online as online_view
from pipeline.events.gated import GatedEvent
from pipeline.events.windows import Windows, no_earlier
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.recommend.event_scorer import EventScorer
from pipeline.recommend.online_state import OnlineState
from pipeline.streams.topics import TREND
from tests.replay.small import config
from tests.server.gates import everything, gate_of, ranked
from tests.server.world import (
    FIRSTS,
    LENGTH,
    SETTINGS,
    A,
    Server,
    World,
    eventually,
    first_taken,
    fresh_state,
    histories,
    histories_of,
    serving,
    taken,
    the_setup,
)

RISING = 90
"""Row of an item that everybody takes."""
OFF = config("trend.half_lives=[]")
WEIGHTS = "network.weights"


def events(n: int, seed: int, rising: float = 0.5) -> Windows:
    """Windows of everybody, many followed by the item that rises."""
    rng = np.random.default_rng(seed)
    contexts = np.concatenate([histories(first, n) for first in (*FIRSTS.values(), 61)])[rng.permutation(3 * n)[:n]]
    targets = np.where(rng.random(n) < rising, RISING, rng.integers(1, len(the_setup().catalogue) + 1, size=n))
    names = np.array([f"{seed}-{i}" for i in range(n)])
    times = np.arange(n, dtype=np.float64)
    return Windows(contexts, targets, names, names, times, np.full(n, LENGTH), np.arange(n), no_earlier(n))


def answers_of(server: Server, scorer: EventScorer, history: np.ndarray) -> None:
    """The server answers a history as the gate would."""
    catalogue = the_setup().catalogue
    answer = server.recommend(history=[catalogue.item_ids[row - 1] for row in history.tolist()], k=1000)
    found = {catalogue.row_of[item["item_id"]]: item["score"] for item in answer["items"]}
    assert len(found) == len(catalogue) - len(set(history.tolist()))
    if scorer.online is None:
        expected = dict(enumerate(scorer.score(taken(history[None]), everything()).scores.probabilities[0].tolist()))
    else:
        expected = ranked(scorer, history)
    expected_scores = [expected.get(row, 0.0) for row in found]
    np.testing.assert_allclose(list(found.values()), expected_scores, rtol=2e-2, atol=1e-5)


def handled(scorer: EventScorer, windows: Windows) -> list[GatedEvent]:
    return scorer.handle(windows, everything(), histories_of(windows))


def same_rows() -> np.ndarray:
    return np.arange(len(the_setup().catalogue) + 1)


def windows() -> list[np.ndarray]:
    return [histories(first, 3)[2] for first in (*FIRSTS.values(), 61)]


def counted(server: Server, n: int) -> None:
    eventually(lambda: server.service.online.events == n)


def learned(online: OnlineState) -> dict[str, np.ndarray]:
    """What only the gate learns, and the server has from the last snapshot."""
    return {name: array for name, array in online.to_arrays().items() if name.startswith("network.")}


def count(online: OnlineState, row: int) -> None:
    """Count an event as a server does."""
    query = online.query_of(first_taken(row), OpenCatalogue(the_setup().catalogue, None))
    online.second_stage.count(query, row)


@contextmanager
def after(world: World, scorer: EventScorer, n: int) -> Iterator[Server]:
    """A server that began when a gate had written its trend down after n events."""
    assert scorer.online is not None
    handled(scorer, events(n, seed=1))
    world.snapshot(scorer.online)
    with serving(world) as server:
        counted(server, n)
        yield server


def test_a_known_user_is_answered_as_the_gate_would(world: World) -> None:
    scorer = gate_of(world)
    with after(world, scorer, 300) as server:
        for history in windows():
            answers_of(server, scorer, history)
        assert scorer.online is not None
        assert np.abs(scorer.online.to_arrays()["eras"]).max() > 0.1, "and a correction by the origin prior"
        answer = server.recommend(user_id="a0")
        assert (answer["region_id"], answer["answered_by"]) == (A, "adapter")
        assert server.recommend(user_id="s0")["answered_by"] == "backbone"


def test_counts_follow_between_snapshots_and_weights_do_not(world: World) -> None:
    scorer = gate_of(world)
    with after(world, scorer, 200) as server:
        assert scorer.online is not None
        weights = learned(scorer.online)
        before = server.recommend(user_id="nobody", k=1000)
        for record in handled(scorer, events(60, seed=2)):
            world.gated(record)
        counted(server, 260)
        now = scorer.online.to_arrays()
        assert not np.allclose(now[WEIGHTS], weights[WEIGHTS]), "the gate has learned"
        scorer.online.restore(now | weights, same_rows())
        for history in windows():
            answers_of(server, scorer, history)
        assert server.recommend(user_id="nobody", k=1000) != before
        # The next snapshot brings the weights, and nothing else: to count everything anew stalls answers.
        scorer.online.restore(now, same_rows())
        state = server.service.online._online
        world.snapshot(scorer.online)
        eventually(lambda: np.array_equal(server.service.online._online.to_arrays()[WEIGHTS], now[WEIGHTS]))  # type: ignore[union-attr]
        assert server.service.online._online is state
        for history in windows():
            answers_of(server, scorer, history)


def test_a_server_that_starts_later_counts_every_event_once(world: World) -> None:
    """Whatever topic it reads first: what the snapshot holds is not counted again, what follows is."""
    scorer = gate_of(world)
    assert scorer.online is not None
    world.snapshot(scorer.online)
    for record in handled(scorer, events(40, seed=4)):
        world.gated(record)
    kept = learned(scorer.online)
    world.snapshot(scorer.online)
    for record in handled(scorer, events(30, seed=5)):
        world.gated(record)
    scorer.online.restore(scorer.online.to_arrays() | kept, same_rows())
    with serving(world, instance="later") as server:
        counted(server, 70)
        for history in windows():
            answers_of(server, scorer, history)


def test_what_other_gates_wrote_before_a_snapshot_is_not_counted_again(world: World) -> None:
    catalogue, state = OpenCatalogue(the_setup().catalogue, None), fresh_state()
    world.snapshot(fresh_state(), "two")
    world.gated(first_taken(8), "two")
    state.count_elsewhere(first_taken(8), catalogue)
    world.snapshot(state, "one")
    world.gated(first_taken(9), "one")
    count(state, 9)
    with serving(world, instance="later") as server:
        counted(server, 1)
        np.testing.assert_array_equal(server.service.online.overall(), state.overall())


def test_an_unknown_user_is_answered_by_the_shortest_half_life(world: World) -> None:
    scorer = gate_of(world)
    with after(world, scorer, 100) as server:
        assert scorer.online is not None
        expected = scorer.online.overall()
        answer = server.recommend(user_id="nobody", k=1000)
        assert answer["answered_by"] == "trend"
        row_of = the_setup().catalogue.row_of
        assert [row_of[answer["items"][0]["item_id"]]] == [RISING] == [int(expected.argmax())]
        for item in answer["items"]:
            np.testing.assert_allclose(item["score"], expected[row_of[item["item_id"]]], rtol=1e-6)


def test_a_withdrawn_item_stays_out_however_it_trends(world: World) -> None:
    scorer = gate_of(world)
    with after(world, scorer, 100) as server:
        item = the_setup().catalogue.item_ids[RISING - 1]
        world.withdraw(RISING)
        eventually(lambda: not server.service.items.existing[RISING])
        for user in ("a0", "b0", "s0", "nobody"):
            assert item not in [i["item_id"] for i in server.recommend(user_id=user, k=1000)["items"]]


def test_of_several_gates_one_is_followed_and_the_events_of_all_are_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online_view, "SILENT", 4)
    catalogue, expected = OpenCatalogue(the_setup().catalogue, None), fresh_state()
    with serving(world) as server:
        world.snapshot(fresh_state(), "one")
        eventually(lambda: server.service.online.gate == "one")
        world.snapshot(fresh_state(), "two")
        for row, gate in ((8, "one"), (9, "two"), (9, "two")):
            world.gated(first_taken(row), gate)
        # The state of gate two, which counts the same events.
        expected.count_elsewhere(first_taken(8), catalogue)
        for _ in range(2):
            count(expected, 9)
        eventually(lambda: np.array_equal(server.service.online.overall(), expected.overall()))
        assert (server.service.online.gate, server.service.online.events) == ("one", 1)
        world.snapshot(expected, "two")
        world.gated(first_taken(9), "two")
        count(expected, 9)
        eventually(lambda: np.array_equal(server.service.online.overall(), expected.overall()))
        assert server.service.online.gate == "one", "it was heard three records ago"
        world.gated(first_taken(9), "two")
        count(expected, 9)
        world.snapshot(expected, "two")
        eventually(lambda: server.service.online.gate == "two")
        # It may have taken over the snapshot before, and count what came since.
        eventually(lambda: np.array_equal(server.service.online.overall(), expected.overall()))


@pytest.mark.parametrize("bad", ["damaged", "of other half-lives"])
def test_a_snapshot_that_cannot_be_used_leaves_the_trend_as_it_was(world: World, bad: str) -> None:
    with serving(world) as server:
        for _ in range(5):
            world.taken(77)
        counted(server, 5)
        before = server.service.online.overall().copy()
        online = fresh_state(config("trend.half_lives=[30]") if bad != "damaged" else SETTINGS)
        for out in snapshot_outputs("gate", OnlineSnapshot(online.to_arrays(), 9, 0, 0), 1.6e9):
            value = dict(out.value or {})
            if bad == "damaged":
                value["data"] = base64.b85encode(b"something else").decode("ascii")
            world.send(TREND, value, out.key or "")
        eventually(lambda: any("the trend stays as it was" in said for said in server.said))
        np.testing.assert_array_equal(server.service.online.overall(), before)
        world.taken(78)
        counted(server, 6)
        assert server.ask("GET", "/readyz")[0] == 200


def test_a_server_that_finds_no_snapshot_that_it_can_use_ranks_as_a_gate_that_starts(world: World) -> None:
    other = fresh_state(config("trend.half_lives=[30]"))
    for out in snapshot_outputs("gate", OnlineSnapshot(other.to_arrays(), 9, 0, 0), 1.6e9):
        world.send(TREND, out.value, out.key or "")
    scorer = gate_of(world)
    with serving(world) as server:
        assert any("the trend stays as it was" in said for said in server.said)
        for history in windows():
            answers_of(server, scorer, history)


def test_without_half_lives_the_model_answers_alone(world: World) -> None:
    scorer = gate_of(world)
    assert scorer.online is not None
    handled(scorer, events(100, seed=1))
    world.snapshot(scorer.online)
    alone = gate_of(world, OFF)
    with serving(world, settings=OFF) as server:
        for history in windows():
            answers_of(server, alone, history)
        unknown = server.recommend(user_id="nobody", k=5)
        assert unknown["answered_by"] == "trend"
        ids = [the_setup().catalogue.row_of[item["item_id"]] for item in unknown["items"]]
        usual = the_setup().counts
        assert [usual[row] for row in ids] == sorted(usual[1:], reverse=True)[:5]
