"""A server goes on answering whatever records anyone has written into any topic."""

from random import Random

from pipeline.events.feedback import Feedback
from pipeline.events.user_state import UserState
from pipeline.events.windows import History
from pipeline.streams.topics import FEEDBACK, GATED, INTERACTIONS, ITEMS, USERS, pipeline_topics
from tests.random_records import flood
from tests.server.world import Server, World, eventually, first_taken

GOOD = {
    INTERACTIONS: {"user_id": "u1", "item_id": "i1", "timestamp": 1.7e9},
    ITEMS: {"item_id": "i1", "text": "a title"},
    FEEDBACK: Feedback("r", "click", ["i1"], 4, "r0004_v0001", 0).to_record(),
    USERS: UserState(History(("i1",), 1), "e1", 1.0).to_record(0),
    GATED: first_taken(1).to_record(),
}


def test_a_server_survives_any_record_of_any_topic(world: World, server: Server) -> None:
    for topic in (topic.name for topic in pipeline_topics()):
        flood(world.log, topic, [GOOD.get(topic, {"kind": "x"})], 350, Random(topic))
    world.user("late", [1, 2, 3])
    eventually(lambda: bool(server.service.users.history("late").items))
    assert server.service.unready() is None
    assert server.recommend(user_id="a0")["items"]
