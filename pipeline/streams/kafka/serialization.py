"""Serialization of records for a broker.

A broker stamps records of our topics on arrival (`admin.py` gives the reason), so event time is stored in a header,
and the wall clock of the writer in another one. Records of foreign producers have neither; their event time, and the
time at which they were written, is the record's own stamp: the broker's in our topics (`LogAppendTime`), the producer's
in topics of another type.
"""

from typing import Any

from pipeline.streams.codec import MAX_TIMESTAMP, decode_key, decode_timestamp, decode_value
from pipeline.streams.interface import Record

EVENT_TIME = "t"
"""Header of the event time: milliseconds since 1970, 8 bytes, big-endian."""

WRITTEN_AT = "written-at"
"""Header of the writer's wall clock at the commit, encoded alike."""


TRACEPARENT = "traceparent"
"""Header of the W3C trace context, as every tracing library names it."""

LONGEST_TRACEPARENT = 512
"""Most bytes of that header that are read: this version of the standard has 55."""


def encode_headers(timestamp: int, written: int, traceparent: str | None = None) -> list[tuple[str, bytes]]:
    """Return the headers of a record: event time and time of writing in milliseconds, and a trace context if any."""
    headers = [(EVENT_TIME, timestamp.to_bytes(8, "big")), (WRITTEN_AT, written.to_bytes(8, "big"))]
    return headers if traceparent is None else [*headers, (TRACEPARENT, traceparent.encode("ascii"))]


def decode_record(topic: str, raw: Any) -> Record:
    """Return the record of a broker's message; foreign bytes become a stub, so it never fails."""
    written = _stamp(raw, WRITTEN_AT)
    return Record(
        topic,
        raw.partition,
        raw.offset,
        decode_key(raw.key),
        decode_value(raw.value),
        decode_timestamp(max(0, _stamp(raw, EVENT_TIME))),
        None if written < 0 else decode_timestamp(written),
        raw.value,
        _traceparent(raw),
    )


def _traceparent(raw: Any) -> str | None:
    """Return the trace context of a message, None where it has none, or bytes that cannot be one."""
    found = next((value for name, value in raw.headers if name == TRACEPARENT and value), None)
    if found is None or len(found) > LONGEST_TRACEPARENT or not found.isascii():
        return None
    return str(found, "ascii")


def _stamp(raw: Any, header: str) -> int:
    """Return the milliseconds of a header, or the record's own stamp where it has none: -1 if it has no stamp."""
    for name, value in raw.headers:
        if name == header and value is not None and len(value) == 8:
            return min(int.from_bytes(value, "big"), int(MAX_TIMESTAMP * 1000))
    return int(raw.timestamp)
