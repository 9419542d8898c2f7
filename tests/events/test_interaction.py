import math

import pytest

from pipeline.errors import BadEvent
from pipeline.events.interaction import MAX_ID_LENGTH, parse_interaction

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
        ({"timestamp": "9999-12-31"}, "bad_timestamp"),
        ({"value": {}}, "bad_value"),
        ({"value": "nan"}, "bad_value"),
        ({"event_id": 1.5}, "bad_event_id"),
    ],
)
def test_a_broken_interaction_is_refused_for_what_is_broken(change, reason):
    with pytest.raises(BadEvent) as refusal:
        parse_interaction({**GOOD, **change})
    assert refusal.value.reason == reason


def test_what_is_no_object_is_refused():
    with pytest.raises(BadEvent, match="not_an_object"):
        parse_interaction(["u", "i", 1])
