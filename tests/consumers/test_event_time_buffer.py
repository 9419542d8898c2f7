"""Event time of a partition, and the event ids that are remembered."""

from heapq import nlargest
from random import Random

import pytest

from consumers.gate.event_time_buffer import CORROBORATED, LOOKED_AT, Arrival, EventTimeBuffer
from consumers.gate.user_store import UserStore
from pipeline.events.interaction import Interaction
from pipeline.events.user_state import DIGEST, digest


@pytest.mark.parametrize("disorder", [0, 5, 1_000])
def test_a_moment_is_reached_by_the_third_newest_of_the_stamps_looked_at(disorder: int) -> None:
    rng, lateness = Random(disorder), 3.0
    stamps = [max(0.0, i + rng.uniform(-disorder, disorder)) for i in range(500)]
    buffer: EventTimeBuffer[None] = EventTimeBuffer(0, set(), lateness)
    for offset, stamp in enumerate(stamps):
        before = nlargest(CORROBORATED, stamps[max(0, offset - LOOKED_AT) : offset])
        reached = before[-1] if len(before) == CORROBORATED else 0.0
        event = Interaction(str(offset), "u", "i", stamp)
        assert buffer.add(Arrival(0, offset, event, False, -1, False)) is (stamp + lateness < reached)


def test_an_event_id_is_known_where_a_digest_begins_and_nowhere_else() -> None:
    users = UserStore(length=2, remembered=3, remembered_items=0, setup_items=())
    for event_id in "abcd":
        state = users.append("u", "i", event_id, 0.0, -1, past=False)
    assert [event_id for event_id in "abcde" if state.has_seen(event_id)] == ["b", "c", "d"]
    state.seen = b"x" + digest("e") + bytes(DIGEST - 1)
    assert not state.has_seen("e")
    state.seen += digest("e")
    assert state.has_seen("e")
