"""A server during a split: each user has one generation, whichever server answers, and clicks are counted."""

from pathlib import Path

from consumers.runtime.generations import log_in, read_generations
from pipeline.events.generation import Act
from pipeline.events.request_id import parse_request_id
from pipeline.events.split import Split
from pipeline.streams.topics import FEEDBACK
from tests.server.test_succession import Successors, act, generation, knows, prepare
from tests.server.world import Server, World, eventually, serving

USERS = [f"user-{number}" for number in range(40)]


def begin(world: World, share: float) -> Split:
    act(world, Act.SPLIT, 2, share=share)
    found = read_generations(world.log).split
    assert found is not None
    return found


def split_of(server: Server) -> object:
    return server.ask("GET", "/split")[1]


def answers(server: Server) -> dict[str, tuple[int, str]]:
    """User -> generation and request id, half of them asked for together."""
    half = len(USERS) // 2
    found = [server.recommend(user_id=user, k=3) for user in USERS[:half]]
    found += server.ask("POST", "/recommend/users", {"user_ids": USERS[half:], "k": 3})[1]["answers"]
    return {user: (one["generation"], one["request_id"]) for user, one in zip(USERS, found, strict=True)}


def test_a_user_has_the_same_generation_on_every_server_and_after_a_restart(world: World) -> None:
    prepare(world)
    split = begin(world, 0.5)
    expected = {user: split.arm(split.bucket(user)) for user in USERS}
    assert set(expected.values()) == {1, 2}
    for instance in ("one", "two", "one"):
        with serving(world, instance=instance, succeeds=Successors(world)) as server:
            eventually(lambda server=server: split_of(server) is not None)  # type: ignore[misc]
            found = answers(server)
            assert {user: number for user, (number, _) in found.items()} == expected
            for user, (number, request_id) in found.items():
                answered = parse_request_id(request_id)
                assert answered is not None
                assert (answered.generation, answered.split, answered.part) == (number, 1, split.bucket(user))


def test_each_generation_gets_the_feedback_on_its_answers_and_the_page_has_the_outcome(world: World) -> None:
    prepare(world)
    with serving(world, succeeds=Successors(world)) as server:
        assert split_of(server) is None
        assert parse_request_id(server.recommend(user_id="a0", k=3)["request_id"]).split is None
        begin(world, 0.5)
        eventually(lambda: split_of(server) is not None)
        found = answers(server)
        told = [{"request_id": one, "kind": "impression", "item_ids": []} for _, one in found.values()]
        told += [{"request_id": one, "kind": "click", "item_ids": []} for number, one in found.values() if number == 2]
        assert server.ask("POST", "/feedback", told)[0] == 202
        shown = {number: sum(one == number for one, _ in found.values()) for number in (1, 2)}

        def counted() -> bool:
            body = split_of(server)
            arms = [
                (body[side]["generation"], body[side]["shown"], body[side]["clicked"]) for side in ("tried", "others")
            ]
            return arms == [(2, shown[2], shown[2]), (1, shown[1], 0)]

        eventually(counted)
        for number, records in ((1, shown[1]), (2, 2 * shown[2])):
            own = log_in(world.log, number)
            assert sum(own.end_offset(FEEDBACK, partition) for partition in range(2)) == records
        # One that starts later has read the same.
        with serving(world, instance="late", succeeds=Successors(world)) as late:
            eventually(lambda: split_of(late) is not None)
            eventually(lambda: split_of(late) == split_of(server))


def test_requests_without_a_user_or_as_of_a_revision_are_of_the_generation_that_answers(world: World) -> None:
    prepare(world)
    with serving(world, succeeds=Successors(world)) as server:
        begin(world, 1.0)
        eventually(lambda: split_of(server) is not None)
        assert server.recommend(user_id="of-two", k=3)["generation"] == 2 and knows(server, "of-two")
        for body in ({"history": ["i0001"]}, {"user_id": "of-two", "revision": -1}):
            answer = server.recommend(k=3, **body)
            assert (answer["generation"], parse_request_id(answer["request_id"]).split) == (1, None)


def test_it_ends_by_a_share_of_nobody_and_a_switch_needs_no_further_service(world: World) -> None:
    prepare(world)
    successors = Successors(world)
    with serving(world, succeeds=successors) as server:
        begin(world, 1.0)
        eventually(lambda: split_of(server) is not None)
        act(world, Act.SPLIT, 2, share=0.0)
        eventually(lambda: split_of(server) is None)
        assert server.recommend(user_id="a0", k=3)["generation"] == 1
        eventually(lambda: successors.opened[0].follower.ended is not None)
        begin(world, 1.0)
        eventually(lambda: split_of(server) is not None)
        act(world, Act.SWITCH, 2, **{"from": 1})
        eventually(lambda: generation(server) == 2)
        assert split_of(server) is None and knows(server, "of-two")
        assert len(successors.opened) == 2 and successors.opened[1].follower.ended is None


def test_a_generation_that_cannot_be_opened_leaves_all_users_where_they_are(world: World) -> None:
    successors = Successors(world)
    prepare(world)
    with serving(world, succeeds=successors) as server:
        successors.damaged = True
        begin(world, 1.0)
        where = Path("generations/2")
        eventually(lambda: any(f"{where} is damaged; the server stays with" in line for line in successors.said))
        answer = server.recommend(user_id="a0", k=3)
        assert (answer["generation"], split_of(server)) == (1, None)
