"""A split of the users: who is on which side, and what the records of `generations` make of it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pipeline.events.buckets import BUCKETS
from pipeline.events.generation import Act, GenerationAct, Generations
from pipeline.events.request_id import Answered, parse_request_id
from pipeline.events.split import Split

USERS = [f"u{number:05d}" for number in range(20_000)]
SPLIT = Split(number=3, salt=1, generation=2, beside=1, share=0.3, since=1.7e9, by="ann")


def tried(split: Split) -> set[str]:
    """Users who are answered by the generation of a split."""
    return {user for user in USERS if split.arm(split.bucket(user)) == split.generation}


def test_a_share_is_of_that_size_and_only_grows_by_users_who_are_added() -> None:
    shares = (0.001, 0.1, 0.3, 0.5, 1.0)
    found = [tried(replace(SPLIT, share=share)) for share in shares]
    for share, users in zip(shares, found, strict=True):
        # Whole buckets, from the first one on; five standard errors of so many users.
        whole = np.ceil(share * BUCKETS) / BUCKETS
        assert abs(len(users) / len(USERS) - whole) <= 5 * np.sqrt(whole * (1 - whole) / len(USERS))
    assert all(one < more for one, more in pairwise(found))


def test_the_sides_hang_on_user_and_experiment_alone() -> None:
    # Written down: another process, machine or version must find the same.
    assert [SPLIT.bucket(user) for user in ("ann", "bob", "Zoë")] == [623, 115, 303]
    assert tried(replace(SPLIT, number=9, generation=5, beside=4, since=0.0, by="bob")) == tried(SPLIT)
    other = tried(replace(SPLIT, salt=2))
    # Of another experiment the sides are independent.
    assert 0.2 < len(other & tried(SPLIT)) / len(other) < 0.4


def act(kind: Act, generation: int = 2, by: str = "ann", **details: object) -> tuple[GenerationAct, float]:
    return GenerationAct(kind, generation, by, details), 5.0


def in_shadow() -> Generations:
    fork = act(Act.FORK, starts=[0], ends=[9], beside=1, gated=3)
    return Generations().after([act(Act.BEGIN), fork, act(Act.READY, root="f", folder="generations/2")])


def test_an_experiment_keeps_its_users_until_it_ends_and_another_one_draws_anew() -> None:
    first = in_shadow().after([(act(Act.SPLIT, share=0.1)[0], 7.0)])
    assert first.split == Split(1, 1, 2, 1, 0.1, 7.0, "ann")
    assert first.all == in_shadow().all
    grown = first.after([act(Act.SPLIT, share=0.5, by="bob")])
    assert grown.split == Split(2, 1, 2, 1, 0.5, 5.0, "bob")
    ended = grown.after([act(Act.SPLIT, share=0)])
    assert (ended.split, ended.splits) == (None, 3)
    again = ended.after([act(Act.SPLIT, share=0.5)])
    assert again.split is not None and again.split.salt == 4


@pytest.mark.parametrize("end", [act(Act.SWITCH, **{"from": 1}), act(Act.STOP)])
def test_a_split_ends_with_the_shadow(end: tuple[GenerationAct, float]) -> None:
    split = in_shadow().after([act(Act.SPLIT, share=0.5)])
    assert split.split is not None and split.after([end]).split is None


@pytest.mark.parametrize("share", [-0.1, 1.1, "0.5", None, True, float("nan"), 0])
def test_what_is_no_share_changes_nothing(share: object) -> None:
    assert in_shadow().problem(act(Act.SPLIT, share=share)[0]) is not None
    assert in_shadow().after([act(Act.SPLIT, share=share)]) == in_shadow()


def test_only_a_generation_in_the_shadow_can_have_a_share() -> None:
    problem = in_shadow().problem(act(Act.SPLIT, generation=1, share=0.5)[0])
    assert problem == "generation 1 is active"


@pytest.mark.parametrize(
    ("answered", "request_id"),
    [
        (Answered(4, "r0004_v0002", 17), "4.r0004_v0002.17"),
        (Answered(None, None, -1, generation=1), "-.-.-1"),
        (Answered(4, "r0004_v0002", 17, 9, 3, 2), "4.r0004_v0002.17.9.3.g2"),
        (Answered(4, None, 0, generation=2, split=3, part=1023), "4.-.0.g2.s3.1023"),
        (Answered(4, "r0004_v0002", 17, 9, 3, 1, 5, 0), "4.r0004_v0002.17.9.3.g1.s5.0"),
    ],
)
def test_a_request_id_holds_the_origin_of_its_answer(answered: Answered, request_id: str) -> None:
    made = answered.request_id(16 * "a")
    assert made == f"{16 * 'a'}.{request_id}"
    read = parse_request_id(made)
    # The first generation is not named where nothing is compared: ids are those of earlier versions.
    assert read == (answered if ".g" in request_id else replace(answered, generation=None))


@pytest.mark.parametrize("end", [".g0", ".g2.s3", ".g2.s3.1024", ".s3.5", ".g", ".g2.9.3"])
def test_what_no_server_gave_is_no_request_id(end: str) -> None:
    assert parse_request_id(f"{16 * 'a'}.4.-.0{end}") is None
