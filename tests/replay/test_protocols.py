"""Which windows set up, stream and score: by their event ids, against a plain reading of the log."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from pipeline.datasets.dataset import read_dataset
from pipeline.errors import DataError
from pipeline.events.windows import Windows
from tests.replay.small import EVENTS, dataset, emerging, plan, rows_of, write_log

PROTOCOLS = ("prequential", "windows")


def ids(windows: Windows) -> list[str]:
    return windows.event_ids.tolist()


def of_slice(name: str) -> list:
    slices = plan().slices
    return [e for e in dataset().interactions if slices.of(e.timestamp) == name]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_s_new_is_the_last_window_of_each_user_with_five_in_s(protocol):
    counts = Counter(e.user_id for e in of_slice("S"))
    last = {e.user_id: e.event_id for e in of_slice("S") if counts[e.user_id] >= 5}
    planned = plan(f"protocol={protocol}", "windows.length=4")
    assert len(last) > 10
    assert min(counts.values()) < 5  # the log has users who must not be held out
    assert sorted(ids(planned.scored["S_new"])) == sorted(last.values())
    assert not planned.scored["S_new"].cold.any()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_s_new_is_neither_set_up_on_nor_streamed(protocol):
    planned = plan(f"protocol={protocol}", "windows.length=4")
    new = set(ids(planned.scored["S_new"]))
    assert new.isdisjoint(ids(planned.setup))
    assert new.isdisjoint(ids(planned.stream))
    assert new.isdisjoint(ids(planned.scored["S"]))
    assert sorted([*ids(planned.setup), *new]) == sorted(e.event_id for e in of_slice("S"))


def test_prequential_streams_every_interaction_of_f_and_t_in_order():
    planned = plan()
    assert ids(planned.stream) == [e.event_id for e in (*of_slice("F"), *of_slice("T"))]
    assert ids(planned.observed["F"]) == [e.event_id for e in of_slice("F")]
    assert len(planned.stream) + len(planned.setup) + len(planned.scored["S_new"]) == EVENTS
    assert ids(planned.scored["S"]) == ids(planned.setup)
    # They are asked after the stream, whatever exists then.
    assert set(planned.scored["S"].positions.tolist()) == {EVENTS}


def test_prequential_histories_cross_slices_and_hold_what_came_before():
    planned = plan("windows.length=4")
    history = defaultdict(list)
    at = {e.event_id: i for i, e in enumerate(dataset().interactions)}
    rows, before = planned.timeline.row_of, []
    for event in dataset().interactions:
        before.append([0, 0, 0, 0, *history[event.user_id]][-4:])
        history[event.user_id].append(rows[event.item_id])
    for windows in planned.by_slice.values():
        expected = [before[at[event_id]] for event_id in ids(windows)]
        assert windows.contexts.tolist() == expected
    assert planned.stream.cold.any()
    assert not planned.stream.cold.all()


def test_parts_are_equal_and_in_order():
    planned = plan()
    parts = planned.update_intervals(7)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert [event_id for part in parts for event_id in ids(part)] == ids(planned.stream)
    assert len(planned.update_intervals(10**6)) == len(planned.stream)


def test_windows_are_full_and_inside_their_slice():
    planned = plan("protocol=windows", "windows.length=4", "windows.stride=3")
    rows = planned.timeline.row_of
    for name in ("F", "T", "S"):
        by_user = defaultdict(list)
        for event in of_slice(name):
            by_user[event.user_id].append(event)
        step = 1 if name == "F" else 3
        expected = {
            events[place].event_id: [rows[e.item_id] for e in events[place - 4 : place]]
            for events in by_user.values()
            for place in range(4, len(events), step)
        }
        for event_id in ids(planned.scored["S_new"]):
            expected.pop(event_id, None)
        found = planned.by_slice[name]
        assert len(found) > 10
        assert dict(zip(ids(found), found.contexts.tolist(), strict=True)) == expected


def test_windows_learn_f_and_score_t_without_learning():
    planned = plan("protocol=windows", "windows.length=4")
    assert list(planned.observed) == ["F"]
    assert list(planned.scored) == ["S_new", "S", "T"]


def test_windows_longer_than_anyones_slice_are_refused_with_the_way_out():
    with pytest.raises(
        DataError, match=r"no user has more than 900 interactions inside slice S and F and T.*windows\.length"
    ):
        plan("protocol=windows", "windows.length=900")


def test_facts_count_what_is_scored():
    planned = plan()
    facts = planned.facts()
    events = of_slice("T")
    in_setup = {e.item_id for e in of_slice("S")}
    assert facts["T"].windows == len(events)
    assert facts["T"].users == len({e.user_id for e in events})
    assert facts["T"].items == len({e.item_id for e in events})
    assert facts["T"].unseen_share == pytest.approx(np.mean([e.item_id not in in_setup for e in events]))
    assert facts["T"].unseen_share > 0.1
    assert facts["S"].unseen_share == 0.0
    assert facts["S"].windows == len(planned.scored["S"])


def test_milliseconds_are_the_same_log(tmp_path):
    header, *rows = rows_of(emerging())
    folder = write_log(tmp_path / "ms", [header, *([user, item, f"{time}000"] for user, item, time in rows)])
    assert ids(plan(log=read_dataset(folder)).stream) == ids(plan().stream)


def test_order_within_a_second_is_that_of_event_ids_and_not_of_the_file(tmp_path):
    header, *rows = rows_of(emerging())
    slow = [[user, item, str(int(time) // 500_000 * 500_000)] for user, item, time in rows]
    one = plan(log=read_dataset(write_log(tmp_path / "one", [header, *slow])))
    other = plan(log=read_dataset(write_log(tmp_path / "other", [header, *reversed(slow)])))
    assert ids(one.stream) == ids(other.stream)
    np.testing.assert_array_equal(one.stream.contexts, other.stream.contexts)
    pairs = list(zip(one.stream.timestamps.tolist(), ids(one.stream), strict=True))
    assert pairs == sorted(pairs)
    assert len(set(one.stream.timestamps.tolist())) < len(pairs) / 10


def test_the_readers_threshold_counts_unless_one_is_set(tmp_path):
    header, *rows = rows_of(emerging())
    rated = [[user, item, time, str(number % 5 + 1)] for number, (user, item, time) in enumerate(rows)]
    log = replace(read_dataset(write_log(tmp_path / "rated", [[*header, "rating"], *rated])), positive_from=4.0)
    for setting, share in (("data.positive_from=null", 2), ("data.positive_from=5", 1)):
        planned = plan(setting, log=log)
        assert len(planned.setup) + len(planned.scored["S_new"]) + len(planned.stream) == EVENTS * share // 5
    with pytest.raises(
        DataError, match=r"none of the 2000 interactions has a value of at least 99.*data\.positive_from"
    ):
        plan("data.positive_from=99", log=log)
