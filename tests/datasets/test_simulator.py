import math
from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from consumers.cli.simulate import simulate_dataset
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import SCENARIOS, Simulation, simulate, write
from pipeline.datasets.simulator.scenarios import RAMP
from pipeline.datasets.simulator.world import Parameters
from pipeline.datasets.splits import cut
from pipeline.errors import DataError

EVENTS = 6_000
LASTING = ["sudden", "gradual", "one_region", "emerging", "vanishing", "new_items"]


@cache
def simulated(scenario: str) -> Simulation:
    return simulate(scenario, seed=3, events=EVENTS)


def genre(simulation: Simulation, item_id: str) -> str:
    return simulation.items[item_id].text.split(". ")[1]


def between(simulation: Simulation, start: float, until: float) -> list:
    return [e for e in simulation.interactions if start <= e.timestamp < until]


def share(events: list, items) -> float:
    return sum(e.item_id in items for e in events) / len(events)


def favourites(simulation: Simulation, users, start: float, until: float) -> dict[str, str]:
    """Most frequent genre of each user, for users with at least five events."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for event in between(simulation, start, until):
        if event.user_id in users:
            counts[event.user_id][genre(simulation, event.item_id)] += 1
    return {u: c.most_common(1)[0][0] for u, c in counts.items() if c.total() >= 5}


def transitions(simulation: Simulation, items, start: float, until: float) -> Counter[tuple[str, str]]:
    last: dict[str, str] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for event in simulation.interactions:
        if event.item_id in items:
            if event.user_id in last and start <= event.timestamp < until:
                seen[last[event.user_id], event.item_id] += 1
            last[event.user_id] = event.item_id
    return seen


def overlap(one: Counter, other: Counter) -> float:
    """Share of the frequent transitions of one that the other has as well."""
    frequent = [pair for pair, n in one.items() if n >= 2]
    return sum(pair in other for pair in frequent) / len(frequent)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_seed_gives_the_same_bytes_and_reads_back(tmp_path, scenario):
    write(simulate(scenario, 3, EVENTS), tmp_path / "one")
    write(simulated(scenario), tmp_path / "two")
    for name in ("interactions.csv", "items.csv", "truth.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    dataset = read_dataset(tmp_path / "one")
    assert dataset.interactions == simulated(scenario).interactions
    assert dataset.items == simulated(scenario).items
    assert dataset.truth == simulated(scenario).truth
    assert (dataset.refused.total, dataset.out_of_order, len(dataset.interactions)) == (0, 0, EVENTS)


def test_another_seed_gives_another_log():
    assert simulate("quiet", 4, EVENTS).interactions != simulated("quiet").interactions


# Not vanishing: it silences users, and has more of the others' moments instead.
@pytest.mark.parametrize(
    "scenario",
    [
        "sudden",
        "gradual",
        "recurring",
        "one_region",
        "two_regions",
        "every_region",
        "emerging",
        "new_items",
        "announced",
    ],
)
def test_a_scenario_is_quiet_until_its_drift(scenario):
    start = simulated(scenario).truth[0]["from"]
    before = between(simulated("quiet"), 0, start)
    assert between(simulated(scenario), 0, start) == before
    assert simulated(scenario).interactions != simulated("quiet").interactions


@pytest.mark.parametrize("scenario", LASTING)
def test_a_drift_begins_at_sixty_percent_and_lasts(scenario):
    simulation = simulated(scenario)
    (entry,) = simulation.truth
    assert set(entry) == {"kind", "from", "until", "users", "items"}
    assert entry["kind"] == scenario
    assert len(between(simulation, 0, entry["from"])) / EVENTS == pytest.approx(0.6, abs=0.02)
    assert entry["until"] > simulation.interactions[-1].timestamp
    assert entry["from"] > cut([e.timestamp for e in simulation.interactions]).setup_until
    assert entry["users"]
    assert set(entry["items"]) <= set(simulation.items)


def test_users_come_and_go_evenly():
    ages, per_part = [], np.zeros(5)
    for seed in range(4):
        simulation = simulate("quiet", seed)
        seen: Counter[str] = Counter()
        histories = []
        for event in simulation.interactions:
            histories.append(seen[event.user_id])
            seen[event.user_id] += 1
        assert np.mean(list(seen.values())) >= 30
        ages.append((np.mean(histories[10_000:15_000]), np.mean(histories[15_000:])))
        days = np.array([e.timestamp for e in simulation.interactions])
        per_part += np.histogram(days, bins=5)[0]
        assert (np.diff(days) > 0).all()
    # A log has a few hundred users: those of one seed come and go less evenly, by chance.
    assert per_part.max() / per_part.min() < 1.25
    middle, late = np.mean(ages, axis=0)
    assert late == pytest.approx(middle, rel=0.15)


def test_nothing_drifts_in_quiet():
    simulation = simulated("quiet")
    assert simulation.truth == []
    start, middle, end = (simulation.interactions[i].timestamp for i in (0, EVENTS // 2, -1))
    users = {e.user_id for e in simulation.interactions}
    before, after = favourites(simulation, users, start, middle), favourites(simulation, users, middle, end)
    both = before.keys() & after.keys()
    assert np.mean([before[u] == after[u] for u in both]) > 0.95


def test_texts_are_unique_and_ids_tell_no_preference():
    simulation = simulated("new_items")
    assert len({item.text for item in simulation.items.values()}) == len(simulation.items)
    genres = [genre(simulation, item_id) for item_id in sorted(simulation.items)]
    assert np.mean([a == b for a, b in pairwise(genres)]) < 0.3


def test_nobody_meets_an_item_again_at_once():
    recent: dict[str, list[str]] = defaultdict(list)
    for event in simulated("quiet").interactions:
        assert event.item_id not in recent[event.user_id][-Parameters().recent :]
        recent[event.user_id].append(event.item_id)


def test_what_follows_what_can_be_learned():
    simulation = simulate("quiet", 0)
    items = {i for i in simulation.items if genre(simulation, i) == "Crime"}
    seen = transitions(simulation, items, 0, np.inf)
    by_item: dict[str, Counter[str]] = defaultdict(Counter)
    for (one, other), n in seen.items():
        by_item[one][other] += n
    likely = sum(n for c in by_item.values() for _, n in c.most_common(Parameters().successors))
    assert 0.6 < likely / seen.total() < 0.8


def test_sudden_moves_its_users_to_a_known_preference():
    simulation = simulated("sudden")
    (entry,) = simulation.truth
    old, new = ({i for i in entry["items"] if genre(simulation, i) == g} for g in ("Science Fiction", "Crime"))
    users = set(entry["users"])
    before = [e for e in between(simulation, 0, entry["from"]) if e.user_id in users]
    after = [e for e in between(simulation, entry["from"], entry["until"]) if e.user_id in users]
    assert (share(before, old) > 0.85, share(before, new) < 0.06) == (True, True)
    assert (share(after, old) < 0.06, share(after, new) > 0.85) == (True, True)


def test_gradual_moves_them_one_by_one():
    simulation = simulated("gradual")
    (entry,) = simulation.truth
    new = {i for i in entry["items"] if genre(simulation, i) == "Crime"}
    users = set(entry["users"])
    times = [e.timestamp for e in simulation.interactions]
    ramp = RAMP * (max(times) - min(times))
    cuts = [*(entry["from"] + ramp * part for part in (0, 0.5, 1)), entry["until"]]
    shares = [share([e for e in between(simulation, a, b) if e.user_id in users], new) for a, b in pairwise(cuts)]
    assert shares[0] < shares[1] < shares[2]
    assert shares[0] < 0.5
    assert shares[2] > 0.85


def test_one_region_changes_what_follows_what_in_one_preference_only():
    simulation = simulate("one_region", 3, 20_000)
    (entry,) = simulation.truth
    others = set(simulation.items) - set(entry["items"])
    for items, alike in (
        (entry["items"], False),
        (others & {i for i in others if genre(simulation, i) == "Crime"}, True),
    ):
        before = transitions(simulation, items, 0, entry["from"])
        after = transitions(simulation, items, entry["from"], entry["until"])
        assert (overlap(after, before) > 0.75) == alike
    users = set(entry["users"])
    before, after = (
        favourites(simulation, users, a, b) for a, b in ((0, entry["from"]), (entry["from"], entry["until"]))
    )
    assert all(before[u] == after[u] for u in before.keys() & after.keys())


def test_recurring_brings_the_same_regime_back():
    simulation = simulate("recurring", 3, 20_000)
    one, two = simulation.truth
    assert (one["kind"], two["kind"]) == ("recurring", "recurring")
    assert one["items"] == two["items"]
    assert one["until"] < two["from"]
    first = transitions(simulation, one["items"], one["from"], one["until"])
    second = transitions(simulation, one["items"], two["from"], two["until"])
    between_them = transitions(simulation, one["items"], one["until"], two["from"])
    assert overlap(second, first) > overlap(second, between_them) + 0.2


def test_two_regions_change_one_after_the_other_and_stay_so():
    simulation = simulate("two_regions", 3, 20_000)
    first, both = simulation.truth
    assert first["until"] == both["from"]
    a, b = set(first["items"]), set(both["items"]) - set(first["items"])
    assert ({genre(simulation, i) for i in a}, {genre(simulation, i) for i in b}) == ({"Science Fiction"}, {"Crime"})
    assert set(favourites(simulation, set(both["users"]), both["from"], both["until"]).values()) == {
        "Science Fiction",
        "Crime",
    }
    for items, first_changed, both_changed in ((a, True, True), (b, False, True)):
        before = transitions(simulation, items, 0, first["from"])
        for entry, changed in ((first, first_changed), (both, both_changed)):
            assert (overlap(transitions(simulation, items, entry["from"], entry["until"]), before) < 0.75) == changed
    then = transitions(simulation, a, first["from"], first["until"])
    assert overlap(then, transitions(simulation, a, both["from"], both["until"])) > 0.75


def test_every_region_changes_in_its_turn():
    simulation = simulated("every_region")
    assert len(simulation.truth) == Parameters().preferences
    assert [one["until"] for one in simulation.truth[:-1]] == [other["from"] for other in simulation.truth[1:]]
    for one, other in pairwise(simulation.truth):
        assert len({genre(simulation, i) for i in set(other["items"]) - set(one["items"])}) == 1
    last = simulation.truth[-1]
    assert set(last["users"]) == {e.user_id for e in between(simulation, last["from"], last["until"])}
    assert set(last["items"]) == set(simulation.items)


def test_emerging_brings_items_nobody_met_to_a_third_of_the_users():
    simulation = simulated("emerging")
    (entry,) = simulation.truth
    assert share(between(simulation, 0, entry["from"]), entry["items"]) == 0
    after = between(simulation, entry["from"], entry["until"])
    assert len(entry["users"]) / len({e.user_id for e in after}) == pytest.approx(1 / 3, abs=0.1)
    assert share([e for e in after if e.user_id in set(entry["users"])], entry["items"]) > 0.85
    assert share([e for e in after if e.user_id not in set(entry["users"])], entry["items"]) < 0.06


def test_vanishing_silences_users_and_items():
    simulation = simulated("vanishing")
    (entry,) = simulation.truth
    after = between(simulation, entry["from"], entry["until"])
    assert share(after, entry["items"]) == 0
    assert not {e.user_id for e in after} & set(entry["users"])
    before = [e for e in between(simulation, 0, entry["from"]) if e.user_id in set(entry["users"])]
    assert share(before, entry["items"]) > 0.85


def test_new_items_take_half_of_every_preference():
    simulation = simulated("new_items")
    (entry,) = simulation.truth
    assert len(entry["items"]) == 6 * 24
    assert share(between(simulation, 0, entry["from"]), entry["items"]) == 0
    after = between(simulation, entry["from"], entry["until"])
    for preference in {genre(simulation, i) for i in entry["items"]}:
        of_preference = [e for e in after if genre(simulation, e.item_id) == preference]
        assert share(of_preference, entry["items"]) == pytest.approx(0.5, abs=0.1)


def test_announced_items_exist_long_before_they_are_taken_and_half_of_them_never_are():
    simulation = simulated("announced")
    first: dict[str, float] = {}
    for event in simulation.interactions:
        first.setdefault(event.item_id, event.timestamp)
    before: set[str] = set()
    for entry in simulation.truth:
        new = set(entry["items"]) - before
        before |= new
        moments = {simulation.items[item_id].available_from for item_id in new}
        assert len(moments) == 1
        assert moments.pop() == pytest.approx(entry["from"] - 0.05 * Parameters().span, abs=1)
        assert Counter(genre(simulation, item_id) for item_id in new) == dict.fromkeys(
            {genre(simulation, i) for i in new}, 6
        )
        taken = {item_id for item_id in new if item_id in first}
        assert len(taken) == pytest.approx(18, abs=1)
        assert min(first[item_id] for item_id in taken) >= entry["from"]
        during = between(simulation, entry["from"], entry["until"])
        assert 0.2 < share(during, taken) < 0.4
    assert all(item.available_from is None for item_id, item in simulation.items.items() if item_id not in before)


def returns(simulation: Simulation) -> float:
    """Share of the interactions with one of the user's last ten items."""
    earlier: dict[str, list[str]] = defaultdict(list)
    found = 0
    for event in simulation.interactions:
        found += event.item_id in earlier[event.user_id][-10:]
        earlier[event.user_id].append(event.item_id)
    return found / len(simulation.interactions)


@pytest.mark.parametrize("shape", ["stationary", "sessions", "news"])
def test_a_shape_has_no_drift(shape):
    assert simulated(shape).truth == []
    assert len({item.text for item in simulated(shape).items.values()}) == len(simulated(shape).items)


def test_a_stationary_log_is_dense():
    dense, quiet = (simulated(name) for name in ("stationary", "quiet"))
    assert len(dense.items) < len(quiet.items) / 2
    users = [len({e.user_id for e in simulation.interactions}) for simulation in (dense, quiet)]
    assert users[0] < users[1] / 3
    assert returns(dense) == 0.0


def test_users_come_in_sessions_and_return_to_items():
    simulation, last, near = simulated("sessions"), {}, 0
    for event in simulation.interactions:
        near += event.timestamp - last.get(event.user_id, -math.inf) < 1_800
        last[event.user_id] = event.timestamp
    # Five of six events of a session follow another one, and few others do.
    assert near / EVENTS == pytest.approx(5 / 6, abs=0.04)
    assert 0.25 < returns(simulation) < 0.45


def test_news_live_for_a_day_and_fade():
    simulation, day = simulated("news"), 86_400.0
    ages = []
    for event in simulation.interactions:
        item = simulation.items[event.item_id]
        assert item.available_from <= event.timestamp < item.expires
        assert item.expires - item.available_from <= day + 1
        if item.available_from > simulation.interactions[0].timestamp:
            ages.append((event.timestamp - item.available_from) / day)
    assert np.mean(np.array(ages) < 0.5) > 0.6
    assert len({e.item_id for e in simulation.interactions}) > EVENTS / 4
    assert returns(simulation) == 0.0


def test_what_cannot_be_simulated_is_refused():
    with pytest.raises(DataError, match="quiet, sudden, gradual"):
        simulate("violent", 0)
    with pytest.raises(DataError, match="at least 1000 events"):
        simulate("quiet", 0, 10)


def test_the_command_writes_a_new_folder_only(tmp_path):
    table = simulate_dataset("sudden", 0, 1_000, tmp_path / "log")
    assert table.row_count == 1
    assert read_dataset(tmp_path / "log").name == "log"
    with pytest.raises(DataError, match="is there already"):
        simulate_dataset("sudden", 0, 1_000, tmp_path / "log")
