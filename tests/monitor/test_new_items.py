"""Arrivals fire injections: which items are due, and what becomes of their windows."""

import json

import pytest

from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.monitor.new_items import MOST_CONTEXTS, MOST_WAIT
from pipeline.monitor.snapshot import restore, snapshot
from tests.monitor.test_monitor import Driven, config

QUIET = ("edits.inject_items=4", "monitor.expected_run=1000000")


@pytest.fixture
def driven() -> Driven:
    made = Driven(config(*QUIET))
    for _ in range(64):
        made.show(1)
    return made


def decided(driven: Driven) -> list[Edit]:
    return [e for e in driven.monitor.decide() if e.operation is Operation.INJECT]


def end(driven: Driven, edit: Edit, published: bool) -> None:
    outcome = Outcome(edit.edit_id, Operation.INJECT, 0, published, "")
    driven.monitor.apply(outcome, driven.monitor.state.bank)


def test_arrivals_fire_an_injection_once_there_are_enough(driven: Driven) -> None:
    driven.monitor.note_items(["a", "b", "i1"], [])
    driven.show(1, target="c")
    assert decided(driven) == []  # Three, as `i1` is of set-up.
    driven.monitor.note_items(["d"], [])
    (edit,) = decided(driven)
    assert (edit.region_id, edit.base_version, edit.items) == (0, 0, ("a", "b", "c", "d"))
    assert [e.event_id for e in edit.windows] == ["e000064"]
    assert len(edit.samples) == 65
    assert Edit.from_record(json.loads(json.dumps(edit.to_record()))) == edit
    assert decided(driven) == [], "one at a time"


def test_windows_before_a_first_interaction_do_not_judge_if_the_item_did_not_exist(driven: Driven) -> None:
    for item in "abcd":
        driven.show(1, target=item, rank=0)
    (edit,) = decided(driven)
    assert (len(edit.windows), len(edit.samples)) == (4, 64)


def test_news_of_a_published_injection_are_used_up(driven: Driven) -> None:
    driven.monitor.note_items("abcd", [])
    (edit,) = decided(driven)
    driven.show(1, target="a")
    end(driven, edit, published=True)
    assert {item: len(windows) for item, windows in driven.monitor.state.new_items.news.items()} == {"a": 1}


def test_after_a_rejected_injection_the_next_waits_for_twice_as_many_items(driven: Driven) -> None:
    driven.monitor.note_items("abcd", [])
    end(driven, decided(driven)[0], published=False)
    driven.monitor.note_items("efg", [])
    assert decided(driven) == []
    driven.monitor.note_items("h", [])
    (edit,) = decided(driven)
    assert len(edit.items) == 8


def test_news_that_are_always_rejected_are_given_up(driven: Driven) -> None:
    driven.monitor.note_items([f"n{n}" for n in range(MOST_WAIT)], [])
    rejected = 0
    while edits := decided(driven):
        end(driven, edits[0], published=False)
        rejected += 1
    assert rejected == 9  # 4, 8, ... 1,024
    assert driven.monitor.state.new_items.news == {}


def test_evicted_items_are_forgotten_and_frequent_ones_left_to_adapters(driven: Driven) -> None:
    for _ in range(MOST_CONTEXTS + 5):
        driven.show(1, target="a")
    driven.monitor.note_items("bcd", ["b"])
    news = driven.monitor.state.new_items.news
    assert {item: len(windows) for item, windows in news.items()} == {"a": MOST_CONTEXTS, "c": 0, "d": 0}


def test_a_monitor_goes_on_from_its_snapshot(driven: Driven) -> None:
    driven.monitor.note_items("ab", [])
    driven.show(1, target="c")
    again = Driven(config(*QUIET))
    restore(again.monitor, json.loads(json.dumps(snapshot(driven.monitor))), driven.monitor.state.bank)
    for each in (driven, again):
        each.monitor.note_items("d", [])
    assert decided(again) == decided(driven) != []


def test_zero_switches_injections_off() -> None:
    made = Driven(config("edits.inject_items=0"))
    for n in range(200):
        made.show(1, target=f"n{n}")
    assert decided(made) == []
