"""Owner of the catalogue: who arrives unannounced, and who is evicted when."""

import json
import math

from pipeline.config import ItemSettings
from pipeline.monitor.item_owner import ItemOwner


def test_the_time_to_live_of_every_item_of_set_up_begins_with_the_stream() -> None:
    owner = ItemOwner("abc", ItemSettings(time_to_live=10.0))
    owner.observe("x", 100.0)
    assert owner.evict() == []
    owner.observe("x", 111.0)
    assert owner.evict() == ["a", "b", "c"]
    assert len(owner) == 1


def test_the_longest_untaken_go_first_where_there_are_too_many() -> None:
    owner = ItemOwner("ab", ItemSettings(most=3))
    for number, item_id in enumerate("acdc"):
        owner.observe(item_id, float(number))
    assert owner.evict() == ["b"]
    owner.observe("e", 9.0)
    assert owner.evict() == ["a"]


def test_an_arrival_is_an_item_that_nobody_announced_once() -> None:
    owner = ItemOwner("a", ItemSettings(most=2))
    owner.announce("told", math.inf)
    owner.announce("later", 50.0)
    assert [owner.observe(i, 1.0) for i in ("a", "told", "later", "new", "new")] == [False, False, False, True, False]
    assert owner.evict() == ["a", "told"]
    assert [owner.observe(i, 2.0) for i in ("told", "a")] == [True, True]


def test_an_announced_item_counts_from_its_latest_moment_on() -> None:
    owner = ItemOwner("a", ItemSettings(time_to_live=10.0))
    for moment in (20.0, 30.0):
        owner.announce("x", moment)
    owner.observe("a", 25.0)
    assert len(owner) == 1
    owner.observe("a", 31.0)
    assert len(owner) == 2
    owner.observe("a", 42.0)
    assert owner.evict() == ["x"]


def test_a_thousand_announcements_of_one_item_take_no_memory() -> None:
    owner = ItemOwner("a", ItemSettings())
    for number in range(1_000):
        owner.announce("x", 5_000.0 + number % 7)
    assert len(owner._moments) < 10
    assert len(owner.state()["moments"]) == 1


def test_it_goes_on_from_its_state() -> None:
    settings = ItemSettings(time_to_live=10.0, most=5)
    owner = ItemOwner("abc", settings)
    owner.announce("told", math.inf)
    owner.announce("later", 12.0)
    owner.observe("b", 1.0)
    again = ItemOwner((), settings)
    again.restore(json.loads(json.dumps(owner.state())))
    for one in (owner, again):
        assert [one.observe(i, 12.0) for i in ("told", "new")] == [False, True]
        assert one.evict() == ["a", "c", "b"]
        assert len(one) == 3
    assert again.state() == json.loads(json.dumps(owner.state())) or again.state() == owner.state()
