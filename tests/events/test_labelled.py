"""Windows of labelled examples: what came before, liked or not, and no dislike of what did not exist yet."""

import numpy as np
import pytest

from pipeline.events.existence import Absence, Existence
from pipeline.events.interaction import Interaction
from pipeline.events.interactions import Interactions
from pipeline.events.labelled import labelled_contexts, with_existing_dislikes
from pipeline.events.windows import Histories, Windows, preceding_windows

ROWS = {"a": 1, "b": 2, "c": 3}
LOG = [
    ("u", "a", 5.0),
    ("v", "b", 4.0),
    ("u", "b", 1.0),
    ("u", "d", 2.0),  # nobody has liked it, then or later
    ("u", "c", 1.0),
    ("v", "c", 5.0),
    ("u", "a", 5.0),
    ("u", "b", 5.0),
]
EVENTS = Interactions.of([Interaction(f"e{n}", u, i, float(n), value) for n, (u, i, value) in enumerate(LOG)])
COUNTS = EVENTS.values >= 4


def windows(length: int = 3, earlier: int = 2) -> Windows:
    return preceding_windows(EVENTS, ROWS, Histories(length, earlier), since_setup=True, counts=COUNTS)


def test_a_window_holds_likes_and_dislikes_in_the_order_of_events() -> None:
    found = windows()
    assert found.event_ids.tolist() == ["e0", "e1", "e5", "e6", "e7"]
    assert found.contexts.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 2], [-2, -4, -3], [-4, -3, 1]]
    assert found.targets.tolist() == [1, 2, 3, 1, 2]
    assert found.positions.tolist() == [0, 1, 2, 3, 4]
    assert found.since_setup.tolist() == [0, 0, 1, 3, 3]


def test_only_what_was_taken_is_remembered_once_it_has_left() -> None:
    assert windows().earlier.tolist() == [[0, 0], [0, 0], [0, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize("cut", [0, 3, 5, len(LOG)])
def test_dislikes_carry_on_from_call_to_call(cut: int) -> None:
    histories, parts = Histories(3, 2), []
    for part, counts in ((EVENTS[:cut], COUNTS[:cut]), (EVENTS[cut:], COUNTS[cut:])):
        parts.append(preceding_windows(part, ROWS, histories, since_setup=True, counts=counts))
    for name in ("contexts", "targets", "since_setup", "earlier"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(windows(), name))


def test_a_dislike_is_read_where_its_item_exists() -> None:
    # Item c exists from window 4 on, and the item without a row never does.
    read = with_existing_dislikes(windows(), Existence(3, np.zeros(0, dtype=np.int64), [Absence(3, 0, 4)]))
    assert read.contexts.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 2], [0, 0, -2], [0, -3, 1]]
    assert read.since_setup.tolist() == [0, 0, 1, 1, 2]


def test_later_events_change_no_window() -> None:
    whole = labelled_contexts(EVENTS, COUNTS, ROWS, length=3)
    part = labelled_contexts(EVENTS[:6], COUNTS[:6], ROWS, length=3)
    some = windows()[:3]
    np.testing.assert_array_equal(part.of(some).contexts, whole.of(some).contexts)


def test_what_was_disliked_is_a_candidate() -> None:
    existence = Existence.of_all(4)
    context = np.array([[1, -2, 3]])
    assert existence.candidates(np.array([2]), context).tolist() == [True]
    assert existence.candidates(np.array([3]), context).tolist() == [False]
