"""The benchmark of streams whose drift is known: what it reads off the scored interactions."""

import argparse

import numpy as np
import pytest

from benchmarks.known_drift import _one_region, _recurring, _successive, difference


def scored(n: int, **columns: object) -> dict[str, np.ndarray]:
    usual: dict[str, object] = {
        "slice": "F",
        "user_id": "theirs",
        "cold": False,
        "position": np.arange(n),
        "timestamp": np.arange(n, dtype=np.float64),
        "rank": 11,
    }
    return {name: np.array(np.broadcast_to(value, n)) for name, value in (usual | columns).items()}


def test_after_each_turn_the_first_events_of_the_drifting_users_count() -> None:
    truth = [
        {"from": 60.0, "until": 80.0, "users": ["theirs"], "items": []},
        {"from": 20.0, "until": 40.0, "users": ["theirs"], "items": []},
    ]
    times, users = np.arange(100), np.where(np.arange(100) % 2 == 0, "theirs", "others")
    # Right right after the second coming, and wrong otherwise; others are always right.
    rank = np.where((users == "others") | ((times >= 60) & (times < 64)), 1, 11)
    found = _recurring(scored(100, user_id=users, rank=rank), truth, argparse.Namespace(after=4))
    assert found["away"] == found["back"] == found["home"] == 0.0
    assert found["again"] == 0.5, "two of the first four events of theirs come before 64"
    assert found["returns"] == pytest.approx(0.5 / 3)


def test_where_nothing_drifted_is_told_from_where_something_did() -> None:
    slices = np.array(["S", "S", "S_new", "T", "T", "T"])
    users = np.array(["others", "theirs", "others", "theirs", "theirs", "others"])
    rank, cold = np.array([1, 11, 11, 10, 1, 1]), np.array([False] * 4 + [True, False])
    found = _one_region(scored(6, slice=slices, user_id=users, rank=rank, cold=cold), [{"users": ["theirs"]}], None)
    assert found == {"untouched S": 1.0, "untouched S_new": 0.0, "untouched T": 1.0, "drifted T": 1.0, "F+T": 1.0}


def test_who_has_changed_by_then_is_told_from_who_has_not() -> None:
    truth = [
        {"from": 6.0, "until": 9.0, "users": ["one", "two"], "items": []},
        {"from": 3.0, "until": 6.0, "users": ["one"], "items": []},
    ]
    users = np.array(["one", "two", "others"] * 3)
    # Right are, of all those of the stream, the second before his change and the first after both.
    rank = np.array([11] * 4 + [1, 11] + [1, 11, 11])
    slices = np.array(["S_new"] * 3 + ["F"] * 3 + ["T"] * 3)
    found = _successive(scored(9, slice=slices, user_id=users, rank=rank), truth, argparse.Namespace())
    assert found == {"changed": 1 / 3, "untouched": 1 / 3, "S_new": 0.0, "F+T": 2 / 6}


def test_an_interval_speaks_of_streams() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.random(30)
    sure = difference(theirs + 0.1, theirs)
    assert sure == {"difference": 0.1, "low": 0.1, "high": 0.1}
    unsure = difference(theirs + rng.normal(0.0, 1.0, 30), theirs)
    assert unsure["low"] < 0.0 < unsure["high"]
