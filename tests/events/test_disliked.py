"""Dislikes in records: written where there are any, read back, refused where they name no item."""

import pytest

from pipeline.errors import BadEvent
from pipeline.events.gated import GatedEvent
from pipeline.events.loaded_history import LoadedHistory
from pipeline.events.user_state import UserState, digest, merged
from pipeline.events.windows import History
from tests.gated import gated_event

SIZES = (3, 10, 5)
"""Items of a window, event ids and items that are remembered."""


def state(*events: tuple[str, bool], since_setup: bool = True) -> UserState:
    """A user after interactions with items, each taken or disliked."""
    made = UserState(History())
    for item, disliked in events:
        made.append(item, SIZES[0], SIZES[2], since_setup=since_setup, disliked=disliked)
        made.seen += digest(f"e-{item}")
    return made


def read(record: dict[str, object]) -> UserState:
    return UserState.from_record(record, SIZES[0], [])


def test_a_user_without_dislikes_is_written_as_before() -> None:
    assert "disliked" not in state(("a", False)).to_record(0)
    assert "disliked" not in gated_event(window=["i1"]).to_record()


def test_a_user_keeps_dislikes_in_the_window_and_none_of_those_that_left() -> None:
    user = state(("a", True), ("b", False), ("c", False), ("d", True), ("e", False))
    assert user.history == History(("c", "d", "e"), 3, disliked=(1,))
    assert user.taken == ("b",)
    assert read(user.to_record(0)).history == user.history


def test_an_event_keeps_the_places_of_dislikes() -> None:
    event = gated_event(window=["i1", "i2", "i3"], disliked=[0, 2])
    found = GatedEvent.from_record(event.to_record(), [])
    assert found.history.disliked == (0, 2)
    assert found.history.taken == ("i2",)


@pytest.mark.parametrize("places", [[3], [-1], [1, 0], [0, 0], ["0"], [True], 1, [0.0]])
def test_places_that_no_item_has_are_refused(places: object) -> None:
    record = {**state(("a", False), ("b", False), ("c", False)).to_record(0), "disliked": places}
    with pytest.raises((ValueError, TypeError)):
        read(record)
    with pytest.raises((ValueError, TypeError)):
        GatedEvent.from_record({**gated_event(window=["i1", "i2"]).to_record(), "disliked": places}, [])
    loaded = {"user_id": "u", "timestamp": 1.0, "history": ["a", "b"], "disliked": places}
    with pytest.raises(BadEvent, match="disliked must be ascending places among 2 items"):
        LoadedHistory.from_record(loaded)


def test_states_of_one_user_are_merged_with_their_dislikes() -> None:
    records = [state(("a", True), ("b", False)).to_record(0), state(("c", False), ("d", True)).to_record(0)]
    for moment, record in enumerate(records):
        record["latest"] = {"event_id": "", "timestamp": float(moment)}
    assert read(merged(records, 0)).history == History(("b", "c", "d"), 3, disliked=(2,))
    assert "disliked" not in merged([state(("a", False)).to_record(0)], 0)


def test_a_loaded_history_brings_dislikes_and_a_second_time_changes_nothing() -> None:
    loaded = LoadedHistory("u", ["a", "b"], ["z"], ["e-a", "e-b"], 2.0, [1.0, 2.0], [0.5], (0,))
    assert LoadedHistory.from_record(loaded.to_record()) == loaded
    user = state(("b", False), ("c", True))
    for _ in range(2):
        user.load(loaded, *SIZES)
        assert user.history == History(("a", "b", "c"), 1, disliked=(0, 2))
        assert user.taken == ("z",)
    user.load(LoadedHistory("u", ["w", "a", "b"], [], ["e-w", "e-a", "e-b"], 2.0, disliked=[0]), *SIZES)
    assert user.history == History(("a", "b", "c"), 1, disliked=(2,))
    assert user.taken == ("z",)


def test_what_is_later_than_an_erasure_keeps_its_dislikes() -> None:
    loaded = LoadedHistory("u", ["a", "b", "c"], [], [], 3.0, [1.0, 2.0, 3.0], [], [0, 2])
    later = loaded.after(1.5)
    assert later is not None
    assert (later.items, later.disliked) == (["b", "c"], (1,))
