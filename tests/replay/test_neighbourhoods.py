"""`ease`, `item_knn`, `v_sknn` and `stan` on a small log, against plain loops over its events.

That later events change no earlier answer is tested with all strategies in `test_honesty`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import exp, sqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.config import load_config
from pipeline.errors import ConfigError
from pipeline.events.interaction import Interaction
from pipeline.events.item import Item
from pipeline.events.windows import Histories, Windows, preceding_windows
from pipeline.models.catalogue import make_catalogue
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.baselines.ease import Ease
from pipeline.strategies.baselines.item_knn import ItemKnn
from pipeline.strategies.baselines.stan import DAY, Stan
from pipeline.strategies.baselines.v_sknn import VSknn
from pipeline.strategies.common.event_counter import ALL
from pipeline.strategies.common.history_counter import HistoryCounter
from pipeline.strategies.timeline import Stream, Timeline

USERS, ITEMS, LENGTH, SETUP, EVENTS = 14, 16, 3, 90, 160

Event = tuple[str, int, float]
"""User, catalogue row and seconds."""


class FewItemKnn(ItemKnn):
    neighbours = 4
    shrinkage = 2.0


class FewVSknn(VSknn):
    neighbours = 3
    sampled = 6


class FewStan(Stan):
    neighbours = 3
    sampled = 6


class LightEase(Ease):
    penalty = 3.0


class Log:
    """Random events in which users take items again, some items appear late, and the first one expires."""

    def __init__(self, *overrides: str) -> None:
        rng = np.random.default_rng(5)
        rows = np.minimum(rng.geometric(0.15, EVENTS), ITEMS).tolist()
        users = rng.integers(0, USERS, EVENTS).tolist()
        times = np.cumsum(rng.exponential(DAY, EVENTS)).tolist()
        made = zip(users, rows, times, strict=True)
        events = [Interaction(str(n), f"u{u}", f"i{r:02}", t) for n, (u, r, t) in enumerate(made)]
        self.items = {e.item_id: Item(e.item_id) for e in events} | {"i01": Item("i01", expires=times[SETUP + 40])}
        setup_ids = sorted({e.item_id for e in events[:SETUP]})
        after = events[SETUP:]
        taken, of_users = [e.item_id for e in after], [e.user_id for e in after]
        stream = Stream(SETUP, np.array(times[SETUP:]), taken, [EVENTS - SETUP - 1], of_users)
        self.config = load_config(overrides=(f"windows.length={LENGTH}", *overrides))
        repeats = self.config.windows.repeats
        self.timeline = Timeline(self.items, setup_ids, stream, self.config.items, repeats=repeats)
        histories, rows_of = Histories(LENGTH, 256), self.timeline.row_of
        self.setup = preceding_windows(events[:SETUP], rows_of, histories, since_setup=False)
        self.stream = preceding_windows(events[SETUP:], rows_of, histories, since_setup=True, first=SETUP)
        self.events: list[Event] = [(e.user_id, rows_of[e.item_id], e.timestamp) for e in events]

    def context(self, folder: Path) -> StrategyContext:
        counts = np.bincount(self.setup.targets, minlength=self.timeline.setup_items + 1)
        catalogue = make_catalogue(self.timeline.item_ids, self.items, None)
        setup: Any = SimpleNamespace(counts=counts)
        return StrategyContext(
            setup, self.config, self.setup, 0, folder, self.timeline, self.items, catalogue, encoder=None
        )


LOG = Log()


def histories(events: Sequence[Event]) -> dict[str, list[int]]:
    """Distinct items of each user, by when they were last taken."""
    found: dict[str, list[int]] = {}
    for user, item, _ in events:
        found[user] = [i for i in found.get(user, []) if i != item] + [item]
    return found


def plain_item_knn(events: Sequence[Event], history: list[int], user: str) -> dict[int, float]:
    del user
    taken = {u: set(h) for u, h in histories(events).items()}
    users = {i: {u for u, h in taken.items() if i in h} for h in taken.values() for i in h}
    scores: dict[int, float] = {}
    for i in history:
        similar = {
            j: len(users[i] & users[j]) / sqrt((len(users[i]) + 2.0) * (len(users[j]) + 2.0))
            for j in users
            if i in users and j != i and users[i] & users[j]
        }
        least = sorted(similar.values(), reverse=True)[:4]
        for j, value in similar.items():
            if value >= least[-1]:
                scores[j] = scores.get(j, 0.0) + value
    return scores


def neighbours(
    events: Sequence[Event], history: list[int], user: str, similarity: Callable[[list[int], float], float]
) -> list[tuple[float, list[int]]]:
    """The 3 nearest of the 6 newest other sessions that share an item, with their similarities."""
    sessions = histories(events)
    last = {u: (n, time) for n, (u, _, time) in enumerate(events)}
    sharing = [u for u in sessions if u != user and set(sessions[u]) & set(history)]
    newest = sorted(sharing, key=lambda u: -last[u][0])[:6]
    similar = [(similarity(sessions[u], max(last[v][1] for v in newest) - last[u][1]), sessions[u]) for u in newest]
    return sorted(similar, key=lambda pair: -pair[0])[:3]


def plain_v_sknn(events: Sequence[Event], history: list[int], user: str) -> dict[int, float]:
    def similarity(session: list[int], age: float) -> float:
        del age
        return sum((place + 1) / len(history) for place, i in enumerate(history) if i in session)

    scores: dict[int, float] = {}
    for value, session in neighbours(events, history, user, similarity):
        for j in session:
            scores[j] = scores.get(j, 0.0) + value
    return scores


def plain_stan(events: Sequence[Event], history: list[int], user: str) -> dict[int, float]:
    def similarity(session: list[int], age: float) -> float:
        common = sum(exp((place + 1 - len(history)) / 1.02) for place, i in enumerate(history) if i in session)
        return common / sqrt(len(session)) * exp(-age / (5 * DAY))

    scores: dict[int, float] = {}
    for value, session in neighbours(events, history, user, similarity):
        match = session.index(next(i for i in reversed(history) if i in session))
        for place, j in enumerate(session):
            scores[j] = scores.get(j, 0.0) + value * exp(-abs(place - match) / 2.05)
    return scores


def ease_weights(events: Sequence[Event]) -> np.ndarray:
    found = histories(events)
    taken = np.zeros((len(found), ITEMS + 1))
    for row, history in zip(taken, found.values(), strict=True):
        row[history] = 1.0
    inverse = np.linalg.inv(taken.T @ taken + 3.0 * np.eye(ITEMS + 1))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def plain_ease(events: Sequence[Event], history: list[int], user: str) -> dict[int, float]:
    """The interval ends with set-up, or with the log."""
    del user
    fitted = ease_weights(events if len(events) == EVENTS else events[:SETUP])
    return dict(enumerate(np.maximum(fitted[history].sum(axis=0), 0.0).tolist()))


PLAIN = {FewItemKnn: plain_item_knn, FewVSknn: plain_v_sknn, FewStan: plain_stan, LightEase: plain_ease}

every_one = pytest.mark.parametrize("make", PLAIN)


def assert_scored(strategy: HistoryCounter, windows: Windows, row: int, events: Sequence[Event], at: int) -> None:
    """The scores of a window with the history before event `at`, by the counts of the events given."""
    user = str(windows.users[row])
    history = histories(LOG.events[:at]).get(user, [])
    scores, evidence = strategy._scores(windows, row, ITEMS)
    expected = np.zeros(ITEMS + 1)
    for item, score in PLAIN[type(strategy)](events, history, user).items():
        expected[item] = score
    sessions = histories(events).values()
    assert evidence == sum(i in session for session in sessions for i in history)
    np.testing.assert_allclose(scores, expected if evidence else 0.0, rtol=1e-5, atol=1e-6)


@every_one
def test_scores_are_those_of_plain_loops_at_each_event(make, tmp_path):
    strategy = make(LOG.context(tmp_path))
    for row in range(len(LOG.stream)):
        assert_scored(strategy, LOG.stream, row, LOG.events[: SETUP + row], SETUP + row)
        strategy.observe(LOG.stream[slice(row, row + 1)])
    assert strategy.trained_windows == 0


@every_one
def test_a_window_of_set_up_is_scored_by_the_history_of_its_moment(make, tmp_path):
    strategy = make(LOG.context(tmp_path))
    strategy.observe(LOG.stream)
    strategy.learn()
    before = strategy.memory_bytes
    for row in range(0, SETUP, 7):
        assert_scored(strategy, LOG.setup, row, LOG.events, row)
    strategy.score(LOG.setup.at(LOG.timeline.end))
    assert strategy.memory_bytes == before > 0


def test_weights_of_ease_are_the_closed_form_with_a_zero_diagonal(tmp_path):
    strategy = LightEase(LOG.context(tmp_path))
    size = len(strategy._weights)
    np.testing.assert_allclose(strategy._weights, ease_weights(LOG.events[:SETUP])[:size, :size], rtol=1e-4, atol=1e-6)
    assert not strategy._weights.diagonal().any()
    strategy.observe(LOG.stream)
    assert len(strategy._weights) == size, "fitted at the end of an interval alone"
    strategy.learn()
    np.testing.assert_allclose(strategy._weights, ease_weights(LOG.events), rtol=1e-4, atol=1e-6)


def test_ease_refuses_a_catalogue_that_is_too_large(tmp_path):
    class Tiny(Ease):
        largest = ITEMS - 1

    with pytest.raises(ConfigError, match=r"at most 15 x 15; the log has 16 items"):
        Tiny(LOG.context(tmp_path))


@every_one
def test_the_less_is_known_of_a_history_the_more_popularity_weighs(make, tmp_path):
    strategy = make(LOG.context(tmp_path))
    strategy._popularity.resize(ITEMS)
    popularity = strategy._popularity.regional_by(0, ALL)
    windows = LOG.stream
    empty = replace(windows, contexts=np.zeros_like(windows.contexts), earlier=np.zeros_like(windows.earlier))
    np.testing.assert_allclose(strategy._probabilities(empty), np.tile(popularity, (len(windows), 1)))
    for row, answer in enumerate(strategy._probabilities(windows)):
        scores, evidence = strategy._scores(windows, row, ITEMS)
        known = evidence / (evidence + LOG.config.trend.shrinkage)
        own = scores / scores.sum() if scores.any() else scores
        np.testing.assert_allclose(answer, known * own + (1.0 - known) * popularity)


@every_one
@pytest.mark.parametrize("repeats", [False, True])
def test_ranks_are_among_what_exists_and_items_taken_before_come_last_without_repeats(make, repeats, tmp_path):
    log = Log(f"windows.repeats={str(repeats).lower()}")
    asked, strategy = make(log.context(tmp_path / "asked")), make(log.context(tmp_path / "observed"))
    ranks = strategy.observe(log.stream).ranks
    seen = set()
    for row, target in enumerate(log.stream.targets.tolist()):
        one = log.stream[slice(row, row + 1)]
        existence = log.timeline.existence(one.positions)
        asked._popularity.resize(existence.items)
        answer = asked._answers(one, existence)[0]
        history = histories(log.events[: SETUP + row]).get(str(one.users[0]), [])
        assert (answer[history] > 0.0).all() if repeats else not answer[history].any()
        held = set() if repeats else set(one.contexts[0].tolist())
        rivals = [i for i in range(1, existence.items + 1) if existence.existing[i] and i not in {*held, target}]
        ahead, level = (sum(compare(answer[i], answer[target]) for i in rivals) for compare in (np.greater, np.equal))
        is_scored = existence.existing[target] and target not in held
        assert ranks[row] == (1 + ahead + level // 2 if is_scored else 0)
        seen.add((bool(existence.existing[target]), target in history, existence.existing.sum() < existence.items))
        asked.observe(one)
    assert {exists for exists, _, _ in seen} == {taken for _, taken, _ in seen} == {gone for _, _, gone in seen}
