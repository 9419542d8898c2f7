"""One meaning of a JSON object: a line of a file and a record of the log give the same event or the same refusal."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from consumers.gate.event_time_buffer import Arrival
from consumers.gate.parser import InteractionParser
from consumers.producer.feed import _value
from consumers.runtime.item_records import item_of
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.readers.rows import ReadOptions
from pipeline.errors import BadEvent, DataError
from pipeline.events.counting import CountingRule
from pipeline.events.erasure import Erasure
from pipeline.events.interaction import Interaction
from pipeline.events.item import Item
from pipeline.events.versioning import versioned
from pipeline.streams.interface import Record

QUICK = settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
GOOD = {"user_id": "first", "item_id": "i0", "timestamp": 1_500_000_000, "rating": 3, "event_id": "e0", "more": 1}

cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from(["NA", " spaced ", "7.0", 7.0, "7", 7, 20240501, 1.5e9, 1.5e12, 1_500_000_000_000, "x" * 300]),
    st.sampled_from(["2019-10-01T00:00:00Z", "2019-10-01 00:00:00 UTC", "2024/05/01", "1970-08-23T06:28:21Z", "soon"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)
# One name of each rank: two names of one rank make a file doubtful as a whole.
KEYS = (
    *("user_id", "User", "session"),
    *("item_id", "item", "sku"),
    *("timestamp", "event_time", "date"),
    *("rating", "value"),
    *("event_id", "more", "title"),
)
records = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, cells))
likely = st.fixed_dictionaries(
    {
        "User": st.sampled_from(["ann", 7.0, " spaced ", 7]),
        "item": st.sampled_from(["i/1", 3, "3.0", " 3 "]),
        "event_time": st.sampled_from(["2019-10-01T00:00:00Z", 1.5e9, 1_500_000_000_000, "1500000000", "2024-05-01"]),
    },
    optional=dict.fromkeys(("rating", "value", "event_id", "session"), cells),
)


def record(value: object, key: str | None = None, topic: str = "interactions") -> Record:
    return Record(topic, 0, 0, key, value, 1.0)  # type: ignore[arg-type]


def live(
    value: object, columns: dict[str, str] | None = None, rule: CountingRule | None = None
) -> Interaction | str | None:
    """Event that the gate makes of a record, reason of its refusal, or nothing."""
    parser = InteractionParser(columns or {}, rule or CountingRule(), lambda _: False)
    try:
        arrival = parser.parse(record(value), 0)
    except BadEvent as error:
        return error.reason
    if arrival is None:
        return None
    assert isinstance(arrival, Arrival)
    return arrival.event


def filed(folder: Path, *values: object, **columns: Any) -> list[Interaction] | str:
    """Events that the reader makes of JSON lines, or its refusal of the file."""
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, values)))
    try:
        return list(read_dataset(folder / "log.jsonl", ReadOptions(**columns)).interactions)
    except DataError as error:
        return str(error)


@QUICK
@given(st.lists(st.one_of(records, likely), max_size=8))
def test_lines_of_a_file_are_the_events_and_refusals_of_records(tmp_path, some):
    file = tmp_path / "log.jsonl"
    file.write_text("\n".join(map(json.dumps, (GOOD, *some))))
    dataset = read_dataset(file)
    events, reasons = {}, Counter()
    for value in (GOOD, *some):
        made = live(value)
        if isinstance(made, str) or made.event_id in events:
            reasons["duplicate" if isinstance(made, Interaction) else made] += 1
        else:
            events[made.event_id] = made
    # A number beside others that are no dates is no date in a file, whose other times are known.
    assume(not any(20240501 in value.values() or "20240501" in value.values() for value in some))
    assert {e.event_id: e for e in dataset.interactions} == events
    assert dataset.refused.counts == reasons


@QUICK
@given(st.one_of(records, likely))
def test_a_file_of_one_line_is_the_event_of_one_record(tmp_path, value):
    made, read = live(value), filed(tmp_path, value)
    if isinstance(made, Interaction):
        assert read == [made]
    else:
        assert isinstance(read, str)
        assert made in read or "has no column" in read or "holds no row with named fields" in read


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (
            {"user": 7.0, "item": " spaced ", "ts": "2019-10-01T00:00:00Z", "rating": 4},
            ("7", "spaced", 1569888000.0, 4.0),
        ),
        ({"User_ID": "7", "movieId": 3, "event_time": 1_500_000_000_000}, ("7", "3", 1.5e9, None)),
        ({"user_id": "a", "user": "b", "item_id": 1, "date": 20240501, "value": "2"}, ("a", "1", 1714521600.0, 2.0)),
        ({"user_id": None, "user": "b", "item_id": 1, "timestamp": "1500000000.5"}, ("b", "1", 1500000000.5, None)),
    ],
)
def test_names_and_forms_of_producers(tmp_path, given, meant):
    event = live(given)
    assert isinstance(event, Interaction)
    assert (event.user_id, event.item_id, event.timestamp, event.value) == meant
    assert filed(tmp_path, given) == [event]


def test_two_keys_of_equal_rank_are_refused_by_name(tmp_path):
    doubtful = {"user": "a", "customer_id": "b", "item_id": "i", "timestamp": 1}
    assert live(doubtful) == "ambiguous_user_id"
    assert "user and customer_id can each be the user" in str(filed(tmp_path, doubtful))


def test_named_columns_hold_for_both_and_not_for_what_the_pipeline_writes(tmp_path):
    columns = {"user_id": "member_id", "item_id": "event_id", "timestamp": "time"}
    foreign = {"member_id": "m", "event_id": "thing", "time": 5}
    event = live(foreign, columns)
    assert isinstance(event, Interaction)
    assert (event.user_id, event.item_id) == ("m", "thing")
    assert filed(tmp_path, foreign, **columns) == [event]
    assert live(_value(event, {"past": True}), columns) == event
    assert live({"user_id": "u", "item_id": "i", "time": 5}, columns) == "missing_user_id"


def test_an_erasure_names_its_user_as_an_event_does():
    parser = InteractionParser({}, CountingRule(), lambda _: False)
    for value in ({"user": 7.0}, {"user_id": " 7 "}, {"uid": "7", "item": 1, "movie_id": 2}):
        assert parser.parse(record({"erase": True, **value}), 0) == Erasure("7", 1.0, is_dated=False)
        assert parser.parse(record({"erase": True, **value, "time": 1.5e12}), 0) == Erasure("7", 1.5e9)
    with pytest.raises(BadEvent, match="missing_user_id"):
        parser.parse(record({"erase": True, "name": "x"}), 0)
    with pytest.raises(BadEvent, match="bad_timestamp"):
        parser.parse(record({"erase": True, "user_id": "7", "timestamp": "soon"}), 0)


KINDS = {"view": True, "purchase": True, "dislike": False}
kinds = st.sampled_from(["view", "Purchase", " dislike ", "refund", 3, None, "NA", ["view"]])
of_kinds = st.lists(st.builds(lambda value, kind: {**value, "event": kind}, likely, kinds), max_size=8)


@QUICK
@given(of_kinds)
def test_kinds_that_do_not_count_are_left_out_of_files_and_of_the_log(tmp_path, some):
    good = {**GOOD, "event": "view"}
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, (good, *some))))
    dataset = read_dataset(tmp_path / "log.jsonl", ReadOptions(event_types=KINDS))
    events, reasons, left_out = {}, Counter(), 0
    for value in (good, *some):
        made = live(value, rule=CountingRule(event_types=KINDS))
        if made is None:
            left_out += 1
        elif isinstance(made, str) or made.event_id in events:
            reasons["duplicate" if isinstance(made, Interaction) else made] += 1
        else:
            events[made.event_id] = made
    assert {e.event_id: e for e in dataset.interactions} == events
    assert (dataset.refused.counts, dataset.not_counted) == (reasons, left_out)


def test_without_a_table_kinds_are_not_looked_at(tmp_path):
    value = {"user_id": "u", "item_id": "i", "timestamp": 5, "event": "dislike", "action": "refund"}
    assert filed(tmp_path, value) == [live(value)]


def test_a_table_of_kinds_needs_the_column(tmp_path):
    plain = {"user_id": "u", "item_id": "i", "timestamp": 5, "act": "dislike"}
    assert "looks like event_type" in str(filed(tmp_path, plain, event_types=KINDS))
    assert len(filed(tmp_path, {**plain, "act": "view"}, event_types=KINDS, event_type="act")) == 1
    assert "1 rows are of a kind that does not count" in str(
        filed(tmp_path, plain, event_types=KINDS, event_type="act")
    )


item_records = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("item_id", "id", "Title", "name", "text", "year", "genres", "brand", "price", "expires", "available_from"),
        cells,
    )
    | {"attributes": st.one_of(cells, st.dictionaries(st.sampled_from(["a", "price"]), cells, max_size=2))},
)


@QUICK
@given(st.lists(item_records, min_size=1, max_size=6))
def test_items_of_a_file_are_the_items_of_records(tmp_path, some):
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\nann,~,1500000000\n")
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, ({"item_id": "~"}, *some))))
    dataset = read_dataset(tmp_path)
    items, reasons = {"~": Item("~")}, Counter()
    for value in some:
        try:
            item = item_of(record(value, topic="items"))
        except BadEvent as error:
            reasons[error.reason] += 1
            continue
        reasons["duplicate_item"] += item.item_id in items
        items.setdefault(item.item_id, item)
    assert dataset.items == items
    assert dataset.refused.counts == +reasons


@pytest.mark.parametrize(
    ("given", "item"),
    [
        (
            {"id": 7.0, "title": "Heat", "year": 1995, "genres": ["Crime", "Drama"], "price": 5},
            ("7", "Heat (1995). Crime, Drama"),
        ),
        ({"item_id": "i", "text": "Heat (1995). Crime", "attributes": {"studio": "W"}}, ("i", "Heat (1995). Crime")),
        ({"item_id": "i", "text": "Heat (1995). Crime", "studio": "W"}, ("i", "Heat (1995). Crime")),
        ({"item_id": "i", "studio": "W"}, ("i", "")),
    ],
)
def test_items_of_producers(given, item):
    made = item_of(record(given, topic="items"))
    assert (made.item_id, made.text) == item
    assert made.attributes in ({"price": "5"}, {"studio": "W"})


@pytest.mark.parametrize("text", [5, ["a"], {"a": 1}, True, "x" * 100_001])
def test_a_text_is_text(tmp_path, text):
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\nann,i,1500000000\n")
    (tmp_path / "items.jsonl").write_text(json.dumps({"item_id": "i", "text": text}))
    assert read_dataset(tmp_path).refused.counts == {"bad_text": 1}
    with pytest.raises(BadEvent, match="bad_text"):
        item_of(record({"item_id": "i", "text": text}, topic="items"))


def test_what_the_pipeline_writes_comes_back_as_it_was():
    item = Item("i/1", "Toy Story (1995). Adventure, Animation", {"studio": "Pixar", "year": "1995"}, 5.0, 9.0)
    assert item_of(record(versioned(item.to_record()), topic="items")) == item
    assert item_of(record({"text": "no id"}, key="i/2", topic="items")) == Item("i/2", "no id")
