import math

import pytest

from pipeline.errors import BadEvent
from pipeline.events.interaction import MAX_ID_LENGTH, MAX_TEXT_LENGTH, Item, parse_interaction, parse_item

GOOD = {"user_id": "u", "item_id": "i", "timestamp": 1_000_000_000}


def test_a_good_interaction_comes_back_as_it_is():
    event = parse_interaction({**GOOD, "value": "4.5", "event_id": "e1"})
    assert (event.event_id, event.user_id, event.item_id) == ("e1", "u", "i")
    assert (event.timestamp, event.value) == (1e9, 4.5)


def test_whole_numbers_are_fit_to_be_ids():
    assert parse_interaction({**GOOD, "user_id": 7, "item_id": 0}).user_id == "7"


def test_milliseconds_and_seconds_name_the_same_event():
    assert parse_interaction({**GOOD, "timestamp": 1_000_000_000_000}) == parse_interaction(GOOD)


def test_the_content_id_depends_on_every_field():
    changed = [{"user_id": "v"}, {"item_id": "j"}, {"timestamp": 1_000_000_001}, {"value": 1}]
    ids = {parse_interaction({**GOOD, **change}).event_id for change in [{}, *changed]}
    assert len(ids) == 5


def test_the_content_id_does_not_run_fields_together():
    one = parse_interaction({**GOOD, "user_id": "ab", "item_id": "c"})
    two = parse_interaction({**GOOD, "user_id": "a", "item_id": "bc"})
    assert one.event_id != two.event_id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user_id": None}, "missing_user_id"),
        ({"user_id": ""}, "missing_user_id"),
        ({"user_id": True}, "bad_user_id"),
        ({"user_id": ["u"]}, "bad_user_id"),
        ({"user_id": "u" * (MAX_ID_LENGTH + 1)}, "bad_user_id"),
        ({"user_id": "a\0b"}, "bad_user_id"),
        ({"item_id": "\ud800"}, "bad_item_id"),
        ({"item_id": 1.5}, "bad_item_id"),
        ({"timestamp": None}, "missing_timestamp"),
        ({"timestamp": "soon"}, "bad_timestamp"),
        ({"timestamp": math.nan}, "bad_timestamp"),
        ({"timestamp": "inf"}, "bad_timestamp"),
        ({"timestamp": -1}, "bad_timestamp"),
        ({"timestamp": 10**400}, "bad_timestamp"),
        ({"timestamp": 1_600_000_000_000_000}, "bad_timestamp"),
        ({"value": {}}, "bad_value"),
        ({"value": "nan"}, "bad_value"),
        ({"event_id": 1.5}, "bad_event_id"),
    ],
)
def test_a_broken_interaction_is_refused_for_what_is_broken(change, reason):
    with pytest.raises(BadEvent) as refusal:
        parse_interaction({**GOOD, **change})
    assert refusal.value.reason == reason


@pytest.mark.parametrize("parse", [parse_interaction, parse_item])
def test_what_is_no_object_is_refused(parse):
    with pytest.raises(BadEvent, match="not_an_object"):
        parse(["u", "i", 1])


def test_other_fields_of_an_item_become_attributes():
    assert parse_item({"item_id": 1, "text": "x", "year": 1995, "gone": None}) == Item("1", "x", {"year": "1995"})
    assert parse_item({"item_id": 1, "text": None, "attributes": {"a": 1}}) == Item("1", "", {"a": "1"})


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"text": "x"}, "missing_item_id"),
        ({"item_id": "1", "text": 5}, "bad_text"),
        ({"item_id": "1", "text": "x" * (MAX_TEXT_LENGTH + 1)}, "bad_text"),
        ({"item_id": "1", "text": "\udfff"}, "bad_text"),
        ({"item_id": "1", "attributes": "x"}, "bad_attributes"),
    ],
)
def test_a_broken_item_is_refused_for_what_is_broken(record, reason):
    with pytest.raises(BadEvent) as refusal:
        parse_item(record)
    assert refusal.value.reason == reason
