"""Serialization of records for a broker.

A broker stamps records of our topics on arrival (`admin.py` gives the reason), so event time is stored in a header.
Records of foreign producers have no such header; their event time is the broker's stamp.
"""

from typing import Any

from pipeline.streams.codec import MAX_TIMESTAMP, decode_key, decode_timestamp, decode_value
from pipeline.streams.interface import Record

EVENT_TIME = "t"
"""Header of the event time: milliseconds since 1970, 8 bytes, big-endian."""


def encode_headers(timestamp: int) -> list[tuple[str, bytes]]:
    """Return the headers of a record with this event time, in milliseconds."""
    return [(EVENT_TIME, timestamp.to_bytes(8, "big"))]


def decode_record(topic: str, raw: Any) -> Record:
    """Return the record of a broker's message; foreign bytes become a stub, so it never fails."""
    return Record(
        topic, raw.partition, raw.offset, decode_key(raw.key), decode_value(raw.value), decode_timestamp(_stamp(raw))
    )


def _stamp(raw: Any) -> int:
    for name, value in raw.headers:
        if name == EVENT_TIME and value is not None and len(value) == 8:
            return min(int.from_bytes(value, "big"), int(MAX_TIMESTAMP * 1000))
    return max(0, int(raw.timestamp))
