"""The AsyncAPI 3 document of the pipeline: every topic, its records and their schemas.

`python -m consumers.runtime.asyncapi > docs/asyncapi.json` regenerates the file; a test compares the two.
"""

import json
import sys
from typing import Any

from consumers.runtime.record_schemas import RecordSchema, record_schemas, version_property
from pipeline.events.versioning import SCHEMA
from pipeline.streams.interface import Topic
from pipeline.streams.topics import FEEDBACK, INTERACTIONS, ITEMS, pipeline_topics

FROM_OUTSIDE = (INTERACTIONS, ITEMS, FEEDBACK)
"""Topics that producers outside the pipeline write to."""

DESCRIPTION = (
    "Values are JSON objects in UTF-8, at most 1 MB. Readers ignore fields that they do not know. Producers write to "
    "interactions, items and feedback; a value of these that cannot be used becomes a record of dead-letters."
)


def document() -> dict[str, Any]:
    """Return the document as a JSON object."""
    records = record_schemas()
    topics = {topic.name: topic for topic in pipeline_topics()}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "raie-stream", "version": f"{SCHEMA}.0.0", "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {name: _channel(topic, records) for name, topic in topics.items()},
        "operations": {name: _operation(topic) for name, topic in topics.items()},
        "components": {
            "messages": {one.name: _message(one, topics[one.topic]) for one in records},
            "schemas": {one.name: _payload(one) for one in records},
        },
    }


def _channel(topic: Topic, records: list[RecordSchema]) -> dict[str, Any]:
    names = [one.name for one in records if one.topic == topic.name]
    return {
        "address": topic.name,
        "description": f"Kept: {topic.kept}. Key: {topic.key}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }


def _operation(topic: Topic) -> dict[str, Any]:
    action = "receive" if topic.name in FROM_OUTSIDE else "send"
    return {"action": action, "channel": {"$ref": f"#/channels/{topic.name}"}}


def _message(record: RecordSchema, topic: Topic) -> dict[str, Any]:
    return {
        "name": record.name,
        "summary": record.schema["description"],
        "payload": {"$ref": f"#/components/schemas/{record.name}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}}},
    }


def _payload(record: RecordSchema) -> dict[str, Any]:
    properties = {**record.schema.get("properties", {}), "schema": version_property()}
    return {**record.schema, "properties": properties}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=1) + "\n")
