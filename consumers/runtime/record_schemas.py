"""JSON Schemas of the records of every topic, made from the record types."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consumers.runtime.lockstep import SETTLED
from consumers.runtime.type_schemas import Schema, schema_of
from pipeline.datasets.readers.names import EVENT_TYPE, ITEM_MOMENTS, TIERS
from pipeline.events.cells import MAX_ID_LENGTH
from pipeline.events.control import ControlAct
from pipeline.events.dead_letter import REPLAYED, DeadLetter, Replayed
from pipeline.events.edit import EVIDENCE, Edit, Outcome
from pipeline.events.erasure import Erasure
from pipeline.events.feed_position import FeedPosition
from pipeline.events.feedback import Feedback
from pipeline.events.gated import KEYS, GatedEvent, GateStamp, OnlineFeatures
from pipeline.events.generation import GenerationAct
from pipeline.events.interaction import Interaction
from pipeline.events.item import Item
from pipeline.events.item_status import ItemStatus
from pipeline.events.loaded_history import LoadedHistory
from pipeline.events.statistics import StatisticsInterval
from pipeline.events.user_state import UserState
from pipeline.events.versioning import SCHEMA
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Region
from pipeline.regions.revision import Revision
from pipeline.streams import topics

ID: Schema = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}, {"type": "number"}]}
"""An id: text, or a whole number."""

MOMENT: Schema = {"type": ["number", "string"]}
"""A time: seconds or milliseconds since 1970, ISO-8601, or a date such as 20240501."""

ARRAYS: Schema = {"type": "array", "items": {"type": "array"}}
OBJECT: Schema = {"type": "object"}


@dataclass(frozen=True)
class RecordSchema:
    """The schema of one kind of record.

    Attributes:
        topic: name of its topic.
        name: name of the kind.
        schema: JSON Schema of the value.
    """

    topic: str
    name: str
    schema: Schema


def record_schemas() -> list[RecordSchema]:
    """Return the schemas of all kinds of record, by topic."""
    return [RecordSchema(topic, name, schema) for topic, kinds in _by_topic().items() for name, schema in kinds.items()]


def _by_topic() -> dict[str, dict[str, Schema]]:
    evidence = {name: {"anyOf": [ARRAYS, {**OBJECT, "description": "Packed."}]} for name in EVIDENCE}
    internal = {**OBJECT, "description": "Part of a stage's state. Only the version that wrote it reads it."}
    return {
        topics.INTERACTIONS: {
            "Interaction": _interaction(),
            "History": _with(schema_of(LoadedHistory, {"items": "history"}), load={"const": True}),
            "Erasure": _erasure(),
        },
        topics.ITEMS: {"Item": _item(), "ItemStatus": schema_of(ItemStatus)},
        topics.GATED: {"GatedEvent": _gated(), "UnlearningRequest": _request()},
        topics.USERS: {"UserState": _user()},
        topics.TREND: {"OnlineSnapshot": internal},
        topics.EDITS: {"Edit": schema_of(Edit, shapes=evidence)},
        topics.OUTCOMES: {"Outcome": schema_of(Outcome)},
        topics.REGIONS: {"Revision": _revision()},
        topics.FEEDBACK: {"Feedback": schema_of(Feedback)},
        topics.CONTROL: {
            "ControlAct": _without(schema_of(ControlAct), "details"),
            "Replayed": _with(schema_of(Replayed), kind={"const": REPLAYED}),
            "Settled": _settled(),
        },
        topics.FEEDS: {"FeedPosition": schema_of(FeedPosition)},
        topics.MONITOR: {"MonitorState": internal},
        topics.STATISTICS: {"StatisticsInterval": schema_of(StatisticsInterval)},
        topics.DEAD_LETTERS: {"DeadLetter": schema_of(DeadLetter)},
        topics.GENERATIONS: {"GenerationAct": _without(schema_of(GenerationAct), "details")},
    }


def _interaction() -> Schema:
    ids = dict.fromkeys(("event_id", "user_id", "item_id"), ID)
    shapes = {**ids, "timestamp": MOMENT, "value": {"type": [*MOMENT["type"], "null"]}}
    schema = schema_of(Interaction, shapes=shapes)
    schema["properties"][EVENT_TYPE] = {"description": "Kind of event; see the setting data.event_types."}
    for name, tiers in TIERS.items():
        others = ", ".join(alias for tier in tiers for alias in tier)
        text = schema["properties"][name]["description"]
        schema["properties"][name]["description"] = f"{text} Names, without case and separators: {others}."
    return {**schema, "required": ["user_id", "item_id", "timestamp"]}


def _erasure() -> Schema:
    schema = _with(schema_of(Erasure, shapes={"user_id": ID, "timestamp": MOMENT}), erase={"const": True})
    schema = _without(schema, "is_dated")
    # The event time of the log counts where the value has none.
    return {**schema, "required": ["erase", "user_id"]}


def _item() -> Schema:
    moment = {"type": [*MOMENT["type"], "null"]}
    schema = schema_of(Item, shapes={"item_id": ID, **dict.fromkeys(ITEM_MOMENTS, moment)})
    # The key of the record is the id where the value has none.
    return {**schema, "required": []}


def _gated() -> Schema:
    event = _without(schema_of(GatedEvent, KEYS), "online", "stamp")
    features = {"probability": "model_chance", "setup_shares": "tastes"}
    stamp = {"next_revision": "revision", "next_item": "items"}
    for part in (schema_of(OnlineFeatures, features, {"tastes": ARRAYS}), schema_of(GateStamp, stamp)):
        event["properties"] |= part["properties"]
    return event


def _request() -> Schema:
    text = "Request to unlearn the user of its key: the windows before it are evidence no more."
    return _with({**OBJECT, "description": text}, unlearn={"const": True})


def _user() -> Schema:
    schema = _without(schema_of(UserState), "event_id", "timestamp")
    schema["properties"] |= {
        "history": {"description": "Item ids, oldest first.", "type": "array"},
        "disliked": {
            "description": "Places in `history` of items that were disliked; the others were taken.",
            "type": "array",
            "items": {"type": "integer"},
        },
        "since_setup": {"description": "Number of these, the newest ones, after set-up.", "type": "integer"},
        "forked": {
            "description": "Number of those before them that came live, before the gate was forked.",
            "type": "integer",
        },
        "latest": {"description": "Id and time of the newest event.", **OBJECT},
        "seen": {"description": "Digests of the newest event ids, as base64.", "type": "string"},
        "keys": {
            "description": "Hex keys of the user's pseudonyms in `gated`; an empty one is of records with the user id.",
            "type": "array",
            "items": {"type": "string"},
        },
        "input": {"description": "Offset of `interactions` committed with the record.", "type": "integer"},
    }
    return {**schema, "required": ["history", "latest", "seen", "input"]}


def _revision() -> Schema:
    region = schema_of(Region, {"adapter_weight": "trust"})
    origins = schema_of(OriginModel)
    origins["properties"]["tastes"] = {"description": "Number of set-up regions.", "type": "integer"}
    nullable = {"anyOf": [origins, {"type": "null"}]}
    return schema_of(Revision, shapes={"regions": {"type": "array", "items": region}, "origins": nullable})


def _settled() -> Schema:
    text = "Lockstep: every edit due to records of `gated` before this offset has ended."
    return _with({**OBJECT, "description": text}, kind={"const": SETTLED}, gated={"type": "integer"})


def _with(schema: Schema, **properties: Schema) -> Schema:
    """Return a schema with further properties, all of them required."""
    required = [*schema.get("required", []), *properties]
    return {**schema, "properties": {**schema.get("properties", {}), **properties}, "required": required}


def _without(schema: Schema, *names: str) -> Schema:
    properties = {name: shape for name, shape in schema["properties"].items() if name not in names}
    return {**schema, "properties": properties, "required": [n for n in schema["required"] if n not in names]}


def version_property() -> Mapping[str, Any]:
    """Return the schema of `schema`, the major version of a record, which any record may have."""
    return {"description": "Major version of the record; 1 where it is missing.", "type": "integer", "maximum": SCHEMA}
