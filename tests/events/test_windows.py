"""Windows: what preceded each interaction, user by user."""

import numpy as np
import pytest

from pipeline.events.interaction import Interaction
from pipeline.events.windows import Histories, History, Windows, concatenate, places_in_sequence, preceding_windows

ROW_OF = {f"i{row}": row for row in range(1, 10)}


def log(*pairs: tuple[str, int]) -> list[Interaction]:
    return [Interaction(f"e{n}", user, f"i{row}", float(n)) for n, (user, row) in enumerate(pairs)]


def windows(length: int = 3) -> Windows:
    events = log(("ann", 1), ("bob", 5), ("ann", 2), ("ann", 3), ("ann", 4), ("bob", 6))
    return preceding_windows(events, ROW_OF, Histories(length), since_setup=True)


def test_a_window_is_what_preceded_left_padded_and_oldest_first() -> None:
    expected = [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [0, 0, 5]]
    assert windows().contexts.tolist() == expected
    assert windows().targets.tolist() == [1, 5, 2, 3, 4, 6]


def test_a_window_never_holds_its_own_target() -> None:
    found = windows(length=10)
    assert not (found.contexts == found.targets[:, None]).any()


def test_users_events_and_times_stay_with_their_windows() -> None:
    found = windows()
    assert found.users.tolist() == ["ann", "bob", "ann", "ann", "ann", "bob"]
    assert found.event_ids.tolist() == [f"e{n}" for n in range(6)]
    assert found.timestamps.tolist() == [0, 1, 2, 3, 4, 5]


def test_cold_is_who_had_no_history() -> None:
    assert windows().cold.tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize("cut", [0, 1, 3, 6])
def test_histories_carry_on_from_call_to_call(cut: int) -> None:
    events = log(("ann", 1), ("bob", 5), ("ann", 2), ("ann", 3), ("ann", 4), ("bob", 6))
    histories = Histories(3)
    parts = [
        preceding_windows(part, ROW_OF, histories, since_setup=True, first=first)
        for part, first in ((events[:cut], 0), (events[cut:], cut))
    ]
    joined = concatenate(parts)
    for name in ("contexts", "targets", "users", "event_ids", "timestamps", "since_setup", "positions"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(windows(), name))


@pytest.mark.parametrize("chosen", [slice(1, 3), np.array([2, 1]), np.arange(6) % 2 == 0])
def test_choosing_windows_chooses_in_every_array(chosen: slice | np.ndarray) -> None:
    found = windows()[chosen]
    order = np.arange(6)[chosen]
    assert len(found) == len(order)
    assert found.event_ids.tolist() == [f"e{n}" for n in order]
    np.testing.assert_array_equal(found.contexts, windows().contexts[order])


def test_a_window_given_out_does_not_change_when_its_user_goes_on() -> None:
    histories = Histories(2)
    preceding_windows(log(("ann", 1)), ROW_OF, histories, since_setup=True)
    before = histories.history("ann")
    preceding_windows(log(("ann", 2)), ROW_OF, histories, since_setup=True)
    assert before.rows.tolist() == [0, 1]
    assert histories.history("ann").rows.tolist() == [1, 2]


def test_a_stranger_has_an_empty_window_and_leaves_no_trace() -> None:
    histories = Histories(2)
    with pytest.raises(ValueError, match="read-only"):
        histories.history("eve").rows[0] = 7
    assert histories.history("eve").rows.tolist() == [0, 0]
    assert len(histories) == 0


def test_a_window_says_how_many_of_its_items_set_up_did_not_see() -> None:
    past, since = (
        log(("ann", 1), ("ann", 2)),
        log(("ann", 3), ("bob", 5), ("ann", 4), ("ann", 5), ("ann", 6), ("bob", 7)),
    )
    histories = Histories(3)
    counts = [
        preceding_windows(part, ROW_OF, histories, since_setup=later).since_setup.tolist()
        for part, later in ((past, False), (since, True))
    ]
    assert counts == [[0, 0], [0, 0, 1, 2, 3, 1]]


def test_no_interactions_make_no_windows() -> None:
    found = preceding_windows([], ROW_OF, Histories(3), since_setup=True)
    assert found.contexts.shape == (0, 3)
    assert len(found) == 0


def test_a_place_counts_the_earlier_windows_of_the_same_user() -> None:
    assert places_in_sequence(windows().users).tolist() == [0, 0, 1, 2, 3, 1]


def test_a_history_knows_which_of_its_items_were_disliked() -> None:
    history = History()
    for number, disliked in enumerate((False, True, False, True)):
        history = history.append(f"i{number}", 3, since_setup=number > 1, disliked=disliked)
    assert history == History(("i1", "i2", "i3"), 2, disliked=(0, 2))
    assert history.taken == ("i2",)
    assert history.without([1]) == History(("i1", "i3"), 1, disliked=(0, 1))
    assert history.without([0]) == History(("i2", "i3"), 2, disliked=(1,))
    assert History.of(("i1", "i2", "i3"), 2, 9, (0, 1)) == History(("i2", "i3"), 2, disliked=(0,))
