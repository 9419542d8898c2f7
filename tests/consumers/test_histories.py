"""From a log to a live pipeline: set-up learns from everything, and the gate takes over the histories, once."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.gate.user_store import UserStore
from pipeline.datasets.simulator import simulate, write
from pipeline.events.loaded_history import LoadedHistory
from pipeline.events.user_state import UserState
from pipeline.events.windows import History
from pipeline.setup.storage import MANIFEST, load_setup
from pipeline.streams import SqliteLog
from pipeline.streams.topics import INTERACTIONS, USERS, pipeline_topics
from tests.consumers.gating import PARTITIONS, changed, gate_loop, gated, letters, read, users
from tests.consumers.gating import write as write_events
from tests.consumers.run_of_raie import the_setup
from tests.replay.small import SET, Ended, raie

LENGTH, REMEMBERED, ITEMS = 3, 4, 5
Event = tuple[str, str]


def with_a_key() -> UserState:
    """The state of a new user."""
    return UserState(History(), keys=(b"a key of 16 bytes",))


def appended(state: UserState, events: Sequence[Event], *, live: bool) -> UserState:
    """A user's state after events, as the gate has it."""
    store = UserStore(LENGTH, REMEMBERED, ITEMS, ())
    store._states["ann"] = state
    for item, event_id in events:
        if not state.has_seen(event_id):
            store.append("ann", item, event_id, float(event_id[1:]), -1, past=not live)
    return state


def loaded(events: Sequence[Event]) -> LoadedHistory:
    items, ids = [item for item, _ in events], [event_id for _, event_id in events]
    left = list(dict.fromkeys(reversed(items[:-LENGTH])))[:ITEMS][::-1]
    return LoadedHistory("ann", items[-LENGTH:], left, ids[-REMEMBERED:], float(ids[-1][1:]))


def load(state: UserState, events: Sequence[Event]) -> UserState:
    state.load(loaded(events), LENGTH, REMEMBERED, ITEMS)
    return state


taken = st.lists(st.sampled_from("abcdefgh"), max_size=9)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(taken.filter(bool), taken, st.integers(0, 9), st.integers(0, 3))
def test_a_loaded_history_is_that_of_its_events_whenever_it_comes(past, live, at, overlap):
    before = [(item, f"e{n}") for n, item in enumerate(past)]
    after = [(item, f"e{n}") for n, item in enumerate(live, len(past))]
    expected = appended(appended(with_a_key(), before, live=False), after, live=True)
    # The live topic may begin with the last events of the log.
    again = [*before[len(before) - min(overlap, len(before)) :], *after] if at + overlap <= LENGTH else after
    at += overlap if again is not after else 0
    state = load(appended(with_a_key(), again[:at], live=True), before)
    appended(state, again[at:], live=True)
    for _ in range(2):
        assert (state.history, state.event_id if live else "") == (expected.history, expected.event_id if live else "")
        assert set(state.taken) | set(state.history.items) >= set(expected.taken) | set(expected.history.items)
        assert state.timestamp == expected.timestamp
        now = UserState.from_record(state.to_record(0), LENGTH, ())
        assert load(state, before) == now


class Live:
    """A gate over a log of its own, with the set-up of the recorded run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = self.open()
        self.log.create_topics(pipeline_topics(PARTITIONS))

    def open(self) -> SqliteLog:
        return SqliteLog(self.folder / "log.sqlite", lease=1.0)

    def write(self, *values: dict[str, object]) -> None:
        write_events(self.log, values)

    def run(self) -> None:
        gate_loop(self.open, self.folder, changed()).run()


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(tmp_path)


KNOWN = the_setup().catalogue.item_ids
HISTORY = LoadedHistory("ann", KNOWN[:4], KNOWN[10:12], ["e2", "e3"], 3.0)


def event(number: int) -> dict[str, object]:
    return {"user_id": "ann", "item_id": KNOWN[20 + number], "timestamp": 1e9 + number, "event_id": f"l{number}"}


def test_a_history_reaches_the_window_of_the_event_behind_it(live):
    live.write(HISTORY.to_record(), event(0))
    live.run()
    assert [(g["window"], g["since_setup"]) for g in gated(live.log)] == [([*KNOWN[:4]], 0)]
    assert users(live.log)["ann"]["taken"] == [*KNOWN[10:12]]


def test_a_running_gate_takes_it_over_in_front_of_what_came_live_and_once(live):
    live.write(event(0))
    live.run()
    live.write(HISTORY.to_record())
    live.run()
    state = users(live.log)["ann"]
    live.write(HISTORY.to_record(), event(1), {"user_id": "ann", "item_id": "x", "timestamp": 2.0, "event_id": "e2"})
    live.run()
    assert [g["window"] for g in gated(live.log)] == [[], [*KNOWN[:4], KNOWN[20]]]
    assert [g["since_setup"] for g in gated(live.log)] == [0, 1]
    assert state["history"] == [*KNOWN[:4], KNOWN[20]]
    live.write(HISTORY.to_record())
    live.run()
    changed_since = [record.value for p in range(PARTITIONS) for record in read(live.log, USERS, p)][-2:]
    without = [{name: value for name, value in one.items() if name != "input"} for one in changed_since]
    assert without[0] == without[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"history": []}, "bad_history"),
        ({"history": "abc"}, "bad_history"),
        ({"taken": {"a": 1}}, "bad_history"),
        ({"history": [None]}, "missing_history"),
        ({"event_ids": [True]}, "bad_event_ids"),
        ({"user_id": None}, "missing_user_id"),
        ({"timestamp": "soon"}, "bad_timestamp"),
    ],
)
def test_a_history_that_is_none_is_a_dead_letter(live, change, reason):
    live.write({**HISTORY.to_record(), **change})
    live.run()
    assert [letter["reason"] for letter in letters(live.log)] == [reason]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("year") / "log"
    write(simulate("quiet", 3, 1500), folder)
    return folder


@pytest.fixture(scope="module")
def root(data: Path) -> Path:
    """A set-up of the whole log."""
    return data.parent / "root"


class Commands:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.url, self.capsys = f"sqlite:///{folder / 'log.sqlite'}", capsys
        self.path = folder / "log.sqlite"

    def __call__(self, *arguments: str | Path) -> Ended:
        sets = ("--set", f"log.url={self.url}", "--set", f"log.partitions={PARTITIONS}")
        return raie(self.capsys, *arguments, *SET, *sets)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(tmp_path, capsys)


WHOLE = ("--set", "data.finetune_from=1")


def test_set_up_of_everything_then_histories_then_live(run, data, root):
    made = run("setup", "--data", data, "--out", root, *WHOLE)
    assert made.code == 0, made.err
    setup = load_setup(root)
    with (data / "interactions.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["timestamp"]))
    assert setup.log is not None
    assert setup.log.until == float(rows[-1]["timestamp"])
    # Every window with a history is learned or held out for early stopping; none is kept for a replay.
    held_out = len(setup.calibration.targets)
    assert int(setup.counts.sum()) + held_out == len(rows) - len({row["user_id"] for row in rows})
    first = run("histories", "load", "--data", data, "--root", root)
    again = run("histories", "load", "--data", data, "--root", root)
    number = len({row["user_id"] for row in rows})
    assert first.out == again.out == f"{number:,} histories written to {run.url}\n"
    values = [r.value for p in range(PARTITIONS) for r in read(SqliteLog(run.path), INTERACTIONS, p)]
    assert len(values) == 2 * number
    newest = {row["user_id"]: row["item_id"] for row in rows}
    assert {value["user_id"]: value["history"][-1] for value in values} == newest


def test_nothing_is_left_to_replay_or_to_produce(run, data, tmp_path):
    for command in (("replay", "--out", tmp_path / "run"), ("produce",)):
        ended = run(command[0], "--data", data, *command[1:], *WHOLE)
        assert ended.code == 2
        assert "raie histories load" in ended.err
    ended = run("setup", "--data", data, "--out", tmp_path / "r", *WHOLE, "--set", "protocol=windows")
    assert "set protocol to prequential" in ended.err


def test_another_log_or_a_root_of_before_is_refused_by_name(run, data, root, tmp_path):
    if not root.exists():
        run("setup", "--data", data, "--out", root, *WHOLE)
    write(simulate("quiet", 4, 1500), tmp_path / "other")
    ended = run("histories", "load", "--data", tmp_path / "other", "--root", root)
    assert (ended.code, "other is not the log that the set-up learned from" in ended.err) == (2, True)
    old = tmp_path / "old"
    old.mkdir()
    manifest = json.loads((root / MANIFEST).read_text())
    del manifest["log"]
    (old / MANIFEST).write_text(json.dumps(manifest))
    ended = run("histories", "load", "--data", data, "--root", old)
    assert (ended.code, "run `raie setup` again" in ended.err) == (2, True)
