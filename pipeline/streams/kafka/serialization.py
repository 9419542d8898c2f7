"""A record on its way to a broker and back.

A broker stamps records of our topics on arrival (`topics.py` says why), so event time goes in a header. Records of
foreign producers have none; there the broker's stamp stands for it.
"""

from typing import Any

from pipeline.streams.codec import MAX_TIMESTAMP, decode_key, decode_timestamp, decode_value
from pipeline.streams.interface import Record

EVENT_TIME = "t"
"""Header with the event time: milliseconds since 1970, 8 bytes, the highest first."""


def headers(timestamp: int) -> list[tuple[str, bytes]]:
    """Return the headers of a record of this event time, in milliseconds."""
    return [(EVENT_TIME, timestamp.to_bytes(8, "big"))]


def decoded(topic: str, raw: Any) -> Record:
    """Return what a broker's record says; never fails, whatever foreign bytes it holds."""
    return Record(
        topic, raw.partition, raw.offset, decode_key(raw.key), decode_value(raw.value), decode_timestamp(_stamp(raw))
    )


def _stamp(raw: Any) -> int:
    for name, value in raw.headers:
        if name == EVENT_TIME and value is not None and len(value) == 8:
            return min(int.from_bytes(value, "big"), int(MAX_TIMESTAMP * 1000))
    return max(0, int(raw.timestamp))
