"""Pseudonyms in `gated` and dead letters: one a user, stable while the user is there, and nobody's after an erasure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from consumers.gate.user_store import UserStore
from consumers.runtime.stage import Point
from pipeline.events.erasure import Erasure
from pipeline.events.pseudonym import new_key, pseudonym
from pipeline.events.user_state import UserState, merged
from pipeline.events.windows import History
from pipeline.streams import Log, Record, SqliteLog
from pipeline.streams.topics import DEAD_LETTERS, GATED, USERS
from tests.consumers.gating import (
    OpenLog,
    changed,
    events,
    fill,
    gate_loop,
    gated,
    letters,
    named,
    read,
    said,
    users,
    users_by_pseudonym,
    write,
)
from tests.consumers.schema_2 import to_schema_2
from tests.consumers.test_erasure import ERASED_AT, ERASURE, HISTORY, begin, event, run_gate, run_monitor, taken_by
from tests.consumers.test_gate_faults import open_any_log  # noqa: F401
from tests.consumers.test_loop import Killed, Killer

STREAM = [said(e) for e in events()[1][:120]]
USER_OF = {str(value["event_id"]): str(value["user_id"]) for value in STREAM}


@pytest.fixture
def open_log(tmp_path: Path) -> OpenLog:
    return lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0)


def names_of_users(log: Log) -> dict[str, set[str]]:
    """User -> names in `gated`, by the ids of the events."""
    found = defaultdict(set)
    for record in read(log, GATED):
        assert record.value is not None and record.key == record.value["user_id"]
        found[USER_OF[str(record.value["event_id"])]].add(str(record.key))
    return found


def check_one_each(log: Log) -> None:
    """Check that each user has one pseudonym, that of the key in the state of the user."""
    found = names_of_users(log)
    assert len(gated(log)) == len(STREAM) and found.keys() == set(USER_OF.values())
    by_pseudonym = {name: user for name, user in users_by_pseudonym(log).items() if user in found}
    assert {user: {name} for name, user in by_pseudonym.items()} == found
    assert len(by_pseudonym) == len(found), "no two users share one"


def test_a_user_has_one_pseudonym_before_and_after_a_restart(open_any_log: OpenLog, tmp_path: Path) -> None:  # noqa: F811
    with closing(open_any_log()) as log:
        fill(log, STREAM[:60])
        gate_loop(open_any_log, tmp_path, changed()).run()
        before = names_of_users(log)
        write(log, STREAM[60:])
        gate_loop(open_any_log, tmp_path, changed()).run()
        check_one_each(log)
        assert {user: names_of_users(log)[user] for user in before} == before


@pytest.mark.parametrize("point", Point)
def test_killed_anywhere_a_gate_keeps_the_pseudonyms_that_it_has_written(
    open_log: OpenLog, tmp_path: Path, point: Point
) -> None:
    fill(open_log(), STREAM)
    for passing in (2, 4, 3, 2):
        with suppress(Killed):
            gate_loop(open_log, tmp_path, changed(), at=Killer(point, passing), most=24).run()
    gate_loop(open_log, tmp_path, changed(), most=24).run()
    check_one_each(open_log())


def test_no_topic_but_users_and_interactions_has_a_user_id(open_log: OpenLog, tmp_path: Path) -> None:
    log, user = open_log(), "unmistakable"
    sent = {**event(1), "user_id": user, "event_id": "e1"}
    refused: Sequence[Mapping[str, Any]] = [
        {**sent, "timestamp": "soon"},
        {**sent, "schema": 4},
        {**sent, "value": user, "event_id": "e2"},
    ]
    begin(log, [sent])
    run_gate(open_log, tmp_path)
    write(log, [*refused, {**sent, "user_id": f"{user}, but not known", "timestamp": "soon"}])
    run_gate(open_log, tmp_path)
    (name,) = [name for name, of in users_by_pseudonym(log).items() if of == user]
    assert [(letter["reason"], letter["user_id"]) for letter in letters(log)] == [
        ("bad_timestamp", name),
        ("newer_schema", name),
        ("bad_value", name),
        ("bad_timestamp", None),
    ]
    assert letters(log)[2]["detail"] == "value must be a number, not '...'"
    for topic in (GATED, DEAD_LETTERS):
        assert user not in "".join(f"{record.key} {record.raw!r}" for record in read(log, topic))


def test_after_an_erasure_a_user_gets_another_pseudonym(open_log: OpenLog, tmp_path: Path) -> None:
    log = open_log()
    begin(log, HISTORY)
    run_gate(open_log, tmp_path)
    write(log, [ERASURE, event(51), event(52)])
    run_gate(open_log, tmp_path)
    names = {g["event_id"]: g["user_id"] for g in gated(log)}
    assert names["ann-51"] == names["ann-52"] != names["ann-0"]
    assert [record.key for record in read(log, GATED) if record.value is None] == [names["ann-0"]]
    # The new user's state has the new key alone.
    assert len((users(log)["ann"] or {})["keys"]) == 1


def test_the_erasure_of_a_stranger_leaves_nothing_in_gated(open_log: OpenLog, tmp_path: Path) -> None:
    begin(open_log(), [Erasure("nobody", ERASED_AT).to_record()])
    run_gate(open_log, tmp_path)
    assert read(open_log(), GATED) == []


def test_a_user_of_an_earlier_version_gets_a_key_and_is_erased_under_both_names(
    open_log: OpenLog, tmp_path: Path
) -> None:
    log = open_log()
    begin(log, HISTORY)
    run_gate(open_log, tmp_path)
    to_schema_2(log)
    run_monitor(open_log)
    # Events that were gated under the user id are known; others go on where the history ends.
    write(log, [*HISTORY, event(40), event(41)])
    run_gate(open_log, tmp_path)
    assert taken_by(log, "ann") == [f"ann-{number}" for number in range(42)]
    assert len(named(log)[-1]["window"]) == changed().windows.length
    names = {g["event_id"]: g["user_id"] for g in gated(log)}
    assert names["ann-0"] == "ann" and names["ann-40"] == names["ann-41"] != "ann"
    assert (users(log)["ann"] or {})["keys"][0] == "" and "keys" not in (users(log)["bob"] or {})
    assert {"ann", "bob", names["ann-40"]} == set(run_monitor(open_log)._driver.monitor.state.users)
    write(log, [ERASURE, Erasure("bob", ERASED_AT).to_record()])
    run_gate(open_log, tmp_path)
    erased = [record.key for record in read(log, GATED) if record.value is None]
    assert sorted(map(str, erased)) == sorted(["ann", "bob", names["ann-40"]])
    assert not run_monitor(open_log)._driver.monitor.state.users


def state_with(*keys: bytes, at: float = 1.0) -> dict[str, Any]:
    return UserState(History(("i",), 1), f"e{at}", at, keys=keys).to_record(5)


def restored(record: Mapping[str, Any], committed: int) -> UserStore:
    store = UserStore(3, 4, 5, ())
    store.restore([Record(USERS, 0, 0, "ann", record, 1.0)], committed, lambda *_: None)
    return store


def test_a_state_merged_of_several_keeps_every_name() -> None:
    one, other, keyless = new_key(), new_key(), state_with(at=3.0)
    assert "keys" not in keyless
    record = merged([state_with(other, at=2.0), keyless, state_with(one)], 5)
    store = restored(record, 5)
    expected = {pseudonym(one, "ann"), pseudonym(other, "ann"), "ann"}
    assert set(store.names("ann")) == expected
    erased = store.erase(Erasure("ann", 9.0))
    assert erased is not None and set(erased.names) == expected
    assert "keys" not in merged([keyless, keyless], 5)


def test_a_position_that_is_moved_back_takes_back_no_key() -> None:
    key = new_key()
    store = restored(state_with(key), committed=4)
    assert store.history("ann") == History()
    assert store.names("ann") == (pseudonym(key, "ann"),)
    assert store.append("ann", "j", "e", 1.0, -1, past=False).keys == (key,)


def test_pseudonyms_are_of_key_and_user() -> None:
    key = new_key()
    assert pseudonym(key, "ann") == pseudonym(key, "ann")
    assert len({pseudonym(key, "ann"), pseudonym(key, "bob"), pseudonym(new_key(), "ann")}) == 3
