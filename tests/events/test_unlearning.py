"""Windows of an erased user in `gated`, and whether all of them are still there."""

from typing import Any

import pytest

from pipeline.events.unlearning import windows_before
from pipeline.streams import MemoryLog
from pipeline.streams.topics import GATED, pipeline_topics
from tests.gated import gated_event

ITEMS = [f"i{n}" for n in range(4)]


@pytest.mark.parametrize(
    ("first", "complete"),
    [
        ({"window": [], "since_setup": 0}, True),
        ({"window": ITEMS, "since_setup": 0}, True),
        ({"window": ITEMS, "since_setup": 1}, False),
        ({"window": ITEMS, "since_setup": 2, "disliked": [2, 3]}, True),
        ({"window": ITEMS, "since_setup": 2, "disliked": [3]}, False),
        ({"window": ITEMS, "since_setup": 1, "disliked": [0]}, False),
        ({"window": ITEMS, "since_setup": 4, "disliked": [0, 1, 2, 3]}, True),
        ({"window": ITEMS, "since_setup": 4, "disliked": [0, 1, 2, 3], "earlier": ["taken"]}, False),
    ],
)
def test_a_user_is_complete_whose_first_window_has_only_dislikes_since_setup(
    first: dict[str, Any], complete: bool
) -> None:
    log = MemoryLog()
    log.create_topics(pipeline_topics(1))
    with log.producer("gate").transaction() as transaction:
        for key, window in (("another", {}), ("u", first)):
            transaction.send(GATED, gated_event(**window).to_record(), key=key, partition=0, timestamp=0.0)
    log.delete_before(GATED, 0, 1)
    found = windows_before(log, {"u": 2})
    assert (found.offsets, found.complete) == ((1,), complete)
