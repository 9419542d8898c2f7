"""Windows of labelled examples: what came before, liked or not, and nothing that nobody had liked yet."""

import numpy as np

from pipeline.events.interaction import Interaction
from pipeline.events.interactions import Interactions
from pipeline.events.labelled import labelled_contexts

ROWS = {"a": 1, "b": 2, "c": 3, "d": 4}
LOG = [
    ("u", "a", 5.0),
    ("v", "b", 4.0),
    ("u", "b", 1.0),  # disliked, and v has liked it
    ("u", "d", 2.0),  # nobody has liked it, then or later
    ("u", "c", 1.0),  # nobody has liked it yet
    ("v", "c", 5.0),
    ("u", "c", 1.0),
    ("u", "a", 5.0),
    ("u", "b", 5.0),
]


def test_a_window_holds_likes_and_dislikes_in_the_order_of_events() -> None:
    events = Interactions.of([Interaction(f"e{n}", u, i, float(n), value) for n, (u, i, value) in enumerate(LOG)])
    found = labelled_contexts(events, events.values >= 4, {k: v for k, v in ROWS.items() if k != "d"}, length=3)
    windows = dict(zip(found.place_of, found.of(list(found.place_of)).tolist(), strict=True))
    assert windows == {"e0": [0, 0, 0], "e1": [0, 0, 0], "e5": [0, 0, 2], "e7": [1, -2, -3], "e8": [-2, -3, 1]}


def test_later_events_change_no_window() -> None:
    events = Interactions.of([Interaction(f"e{n}", u, i, float(n), value) for n, (u, i, value) in enumerate(LOG)])
    whole = labelled_contexts(events, events.values >= 4, ROWS, length=3)
    part = labelled_contexts(events[:6], events[:6].values >= 4, ROWS, length=3)
    ids = list(part.place_of)
    np.testing.assert_array_equal(part.of(ids), whole.of(ids))
