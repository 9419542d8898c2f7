import math

import pytest

from pipeline.errors import BadEvent
from pipeline.events.item import MAX_TEXT_LENGTH, Item, parse_item

MAY = 1_714_521_600.0
"""2024-05-01, in seconds."""


def test_what_is_no_object_is_refused():
    with pytest.raises(BadEvent, match="not_an_object"):
        parse_item(["u", "i", 1])


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
        ({"item_id": "1", "available_from": "soon"}, "bad_available_from"),
        ({"item_id": "1", "available_from": -1}, "bad_available_from"),
        ({"item_id": "1", "available_from": "1950-01-01"}, "bad_available_from"),
        ({"item_id": "1", "available_from": True}, "bad_available_from"),
        ({"item_id": "1", "expires": ["2024-05-01"]}, "bad_expires"),
        # Its seconds would pass for milliseconds of 1978.
        ({"item_id": "1", "expires": "9999-12-31"}, "bad_expires"),
        ({"item_id": "1", "available_from": MAY, "expires": "2024-05-01"}, "bad_expires"),
        ({"item_id": "1", "available_from": MAY, "expires": MAY - 1}, "bad_expires"),
    ],
)
def test_a_broken_item_is_refused_for_what_is_broken(record, reason):
    with pytest.raises(BadEvent) as refusal:
        parse_item(record)
    assert refusal.value.reason == reason


@pytest.mark.parametrize("cell", [MAY, "1714521600", MAY * 1000, "2024-05-01", "2024-05-01T02:00:00+02:00", 20240501])
def test_a_moment_has_the_forms_of_a_timestamp(cell):
    assert parse_item({"item_id": "1", "available_from": cell}) == Item("1", available_from=MAY)
    assert parse_item({"item_id": "1", "expires": cell, "attributes": {}}) == Item("1", expires=MAY)


@pytest.mark.parametrize("cell", [None, "", "  ", "NA", math.nan])
def test_an_absent_moment_is_none_and_no_attribute(cell):
    assert parse_item({"item_id": "1", "available_from": cell, "expires": cell}) == Item("1")


def test_only_the_attributes_named_as_such_are_left_as_they_are():
    nested = {"item_id": "1", "expires": MAY, "attributes": {"expires": "soon"}}
    assert parse_item(nested) == Item("1", "", {"expires": "soon"}, expires=MAY)


def test_a_record_holds_only_the_moments_that_are_given():
    bare, whole = Item("1", "x", {"a": "b"}), Item("2", available_from=MAY, expires=MAY + 0.5)
    assert bare.to_record() == {"item_id": "1", "text": "x", "attributes": {"a": "b"}}
    assert whole.to_record()["expires"] == MAY + 0.5
    for item in (bare, whole, Item("3", expires=MAY)):
        assert parse_item(item.to_record()) == item


@pytest.mark.parametrize(("text", "expected"), [(" \n\t ", ""), ("  Heat \n  (1995)\n", "Heat \n  (1995)")])
def test_white_space_at_the_ends_of_a_text_does_not_count(text, expected):
    assert parse_item({"item_id": "1", "text": text}).text == expected


def test_an_id_counts_by_case_but_without_white_space_at_its_ends():
    ids = [parse_item({"item_id": cell}).item_id for cell in ("Heat 1", "\tHeat 1 \n", "heat 1")]
    assert ids == ["Heat 1", "Heat 1", "heat 1"]
