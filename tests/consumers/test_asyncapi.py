"""The AsyncAPI document is what the generator makes, and its schemas are those of real records."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from consumers.producer.feed import _value
from consumers.runtime.asyncapi import document
from consumers.runtime.lockstep import settled
from consumers.runtime.type_schemas import descriptions
from pipeline.events.control import PIN, ControlAct
from pipeline.events.dead_letter import Replayed
from pipeline.events.feedback import Feedback
from pipeline.events.gated import GatedEvent
from pipeline.events.item import Item
from pipeline.events.item_status import ARRIVED, ItemStatus
from pipeline.events.loaded_history import LoadedHistory
from pipeline.events.statistics import StatisticsInterval
from pipeline.streams import SqliteLog
from pipeline.streams.topics import TREND, pipeline_topics
from tests.architecture.sources import ROOT
from tests.consumers.gating import changed, events, gate_loop, gated, letters, read, said, users
from tests.consumers.gating import fill as fill_log
from tests.consumers.run_of_raie import the_run

DOCUMENT = document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
INTERNAL = {"OnlineSnapshot", "MonitorState"}


def refs(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        yield from ([node["$ref"]] if "$ref" in node else [])
        for child in node.values():
            yield from refs(child)
    elif isinstance(node, list):
        for child in node:
            yield from refs(child)


def test_the_file_is_what_the_generator_makes():
    assert json.loads((ROOT / "docs/asyncapi.json").read_text()) == DOCUMENT, (
        "python -m consumers.runtime.asyncapi > docs/asyncapi.json"
    )


def test_every_topic_and_reference_is_there():
    assert set(DOCUMENT["channels"]) == set(DOCUMENT["operations"]) == {topic.name for topic in pipeline_topics()}
    for ref in refs(DOCUMENT):
        node: Any = DOCUMENT
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
    assert all(channel["messages"] for channel in DOCUMENT["channels"].values())


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_each_schema_is_one_and_describes_every_field(name):
    Draft7Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["description"]
    constant = {key for key, shape in SCHEMAS[name]["properties"].items() if "const" in shape}
    named = {"Settled": {"gated"}}.get(name, set())
    assert {k for k, shape in SCHEMAS[name]["properties"].items() if not shape.get("description")} <= constant | named


def fits(name: str, record: Mapping[str, Any]) -> None:
    """A record is valid, and has no field that the schema does not describe."""
    Draft7Validator(SCHEMAS[name]).validate(json.loads(json.dumps(record)))
    if name not in INTERNAL:
        assert set(record) <= set(SCHEMAS[name]["properties"])


def broken(name: str, record: Mapping[str, Any]) -> list[str]:
    """Required fields without which a record is still valid."""
    validator = Draft7Validator(SCHEMAS[name])
    required = SCHEMAS[name].get("required", [])
    return [key for key in required if validator.is_valid({k: v for k, v in record.items() if k != key})]


def test_records_of_a_replay_fit():
    for record in the_run().gated:
        fits("GatedEvent", record.value)
    for record in the_run().outcomes:
        fits("Outcome", record.value)
    for record in the_run().regions:
        fits("Revision", record.value)
    for edit, _ in the_run().ledger:
        fits("Edit", edit.to_record())
    assert broken("Edit", the_run().ledger[0][0].to_record()) == []
    assert broken("GatedEvent", the_run().gated[0].value) == []


def test_records_of_a_gate_fit(tmp_path: Path):
    def open_log() -> SqliteLog:
        return SqliteLog(tmp_path / "log.sqlite", lease=1.0)

    fill_log(open_log(), [*(said(e) for e in events()[1][:80]), {"user_id": "poison"}])
    gate_loop(open_log, tmp_path, changed()).run()
    log = open_log()
    for record in gated(log):
        fits("GatedEvent", record)
        assert "gate" in record
    for state in users(log).values():
        fits("UserState", state or {})
    for letter in letters(log):
        fits("DeadLetter", letter)
    for record in read(log, TREND):
        fits("OnlineSnapshot", record.value or {})
    assert letters(log)


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("Interaction", {"user_id": 7, "item_id": "i", "timestamp": "2024-05-01", "rating": 4}),
        ("Interaction", _value(events()[1][0], {"sequence": 3, "cut": True})),
        ("Erasure", {"erase": True, "user_id": "ann"}),
        ("History", LoadedHistory("ann", ["a"], ["b"], ["e"], 5.0).to_record()),
        ("Item", Item("i", "Heat", {"a": "b"}, 5.0).to_record()),
        ("Item", {"text": "its key is its id", "available_from": "when_taken"}),
        ("ItemStatus", ItemStatus("i", ARRIVED, 5.0, 3).to_record()),
        ("Feedback", Feedback("r", "click", ["i"], 4, "r0004_v0001", 7).to_record()),
        ("ControlAct", ControlAct(PIN, "ann", 4, "r0004_v0001").to_record()),
        ("Replayed", Replayed((1, 2)).to_record()),
        ("Settled", settled(7, 1.0).value),
        ("StatisticsInterval", StatisticsInterval(1, 2.0, [{"region_id": 1}]).to_record()),
    ],
)
def test_records_of_producers_fit(name, record):
    known = {key: value for key, value in record.items() if key not in ("rating", "sequence", "cut")}
    fits(name, known)
    Draft7Validator(SCHEMAS[name]).validate(record)
    assert broken(name, record) == []


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("Interaction", {"user_id": [7], "item_id": "i", "timestamp": 1}),
        ("Interaction", {"user_id": "u", "item_id": "i", "timestamp": None}),
        ("Edit", {**the_run().ledger[0][0].to_record(), "operation": "guess"}),
        ("Feedback", {"kind": "click"}),
    ],
)
def test_what_is_none_does_not_fit(name, record):
    assert not Draft7Validator(SCHEMAS[name]).is_valid(record)


def test_descriptions_are_those_of_the_docstring():
    texts = descriptions(GatedEvent)
    assert texts["event_id"] == texts["timestamp"] == "of the interaction; seconds of event time."
    assert texts["loss"].endswith("it does not depend on how many other items there are.")
    assert set(texts) == set(GatedEvent.__dataclass_fields__)
