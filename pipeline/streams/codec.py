"""Encoding of records: equal content gives equal bytes on every log.

Encoded records are valid. Decoded ones may come from any program (a broker accepts bytes of any client), so decoding
never fails: bytes that are no JSON object become a *stub* with the reason, which the consumer writes to the dead
letters with topic, partition and offset.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import NoReturn

from pipeline.errors import LogError
from pipeline.streams.interface import OversizeError

MAX_VALUE_BYTES = 1_000_000
"""Maximum length of a value in bytes of JSON: within a broker's default limit of 1 MiB for a whole request."""

MAX_RECORD_BYTES = 1_048_576
"""Maximum length of a record, with key and frame: a broker's default limit."""

FRAME_BYTES = 128
"""Maximum overhead of a broker for a single record: lengths, stamps, checksum."""

MAX_TIMESTAMP = 9.0e15
"""Latest event time in seconds: its milliseconds fit the 63 bits of a broker's stamp."""

UNREADABLE = "_unreadable"
"""Field of a stub that holds the reason (`bad_json`, `not_an_object`, `oversize`, or a key of `FORMATS`)."""

FORMATS = {
    "avro": "the value is Avro, and the pipeline reads JSON objects",
    "avro_or_protobuf": "the value is Avro or Protobuf of a schema registry, and the pipeline reads JSON objects",
    "json_with_schema_id": "the value is JSON behind the id of a schema registry: send the object alone",
}
"""Reason -> explanation, for values in formats of other serializers."""


def encode_value(value: Mapping[str, object] | bytes | None) -> bytes | None:
    """Return the value as canonical JSON: sorted keys, no spaces, ASCII; None stays None, and so do encoded bytes.

    ASCII with escapes, because a lone surrogate (legal in JSON, found in malformed events) has no UTF-8 encoding.

    Raises:
        LogError: if it is no JSON object or holds NaN or infinity.
        OversizeError: if it is longer than `MAX_VALUE_BYTES`.
    """
    if value is None or isinstance(value, bytes):
        return value
    if not isinstance(value, Mapping):
        raise LogError(f"a value must be an object with fields, not {type(value).__name__}")
    try:
        text = _ENCODER.encode(value if isinstance(value, dict) else dict(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise LogError(f"the value cannot be written as JSON: {error}") from error
    if len(text) > MAX_VALUE_BYTES:
        raise OversizeError(
            f"the value takes {len(text):,} bytes, more than the allowed {MAX_VALUE_BYTES:,}; "
            f"write a reference to a file, or a stub with its hash",
            stub("oversize", text.encode("ascii")),
        )
    return text.encode("ascii")


def check_size(key: bytes | None, value: bytes | None, longest: int) -> None:
    """Check that key, value and frame take no more than `longest` bytes.

    Raises:
        OversizeError: if they do.
    """
    size = len(key or b"") + len(value or b"") + FRAME_BYTES
    if size > longest:
        raise OversizeError(
            f"the record takes {size:,} bytes with its key, more than the {longest:,} that the log takes; "
            f"write a reference to a file, or a stub with its hash",
            stub("oversize", value or b""),
        )


def decode_value(raw: bytes | None) -> Mapping[str, object] | None:
    """Return the JSON object written as `raw`, None for a tombstone, or a stub for anything else."""
    if raw is None:
        return None
    try:
        value = _DECODER.decode(raw.decode(json.detect_encoding(raw), "surrogatepass"))
    except (ValueError, RecursionError):
        return stub(_format(raw) or "bad_json", raw)
    return value if isinstance(value, dict) else stub("not_an_object", raw)


def _format(raw: bytes) -> str | None:
    """Return the format of a value by its first bytes, a key of `FORMATS`; None where it is none of them.

    A schema registry puts a zero byte and four bytes of an id in front. What follows tells JSON from the others alone:
    Protobuf without such a header has no mark at all.
    """
    if raw.startswith((b"Obj\x01", b"\xc3\x01")):
        return "avro"
    if raw[:1] != b"\0" or len(raw) < 6:
        return None
    return "json_with_schema_id" if raw[5:].lstrip().startswith(b"{") else "avro_or_protobuf"


def encode_key(key: str | None) -> bytes | None:
    """Return the key as UTF-8, lone surrogates included."""
    return None if key is None else key.encode("utf-8", "surrogatepass")


def decode_key(raw: bytes | None) -> str | None:
    """Return the key written as `raw`; invalid UTF-8 of foreign producers is replaced."""
    if raw is None:
        return None
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace")


def encode_timestamp(timestamp: float) -> int:
    """Return a time in whole milliseconds, the resolution of a broker.

    Raises:
        LogError: if it is no finite number of seconds from 1970 to `MAX_TIMESTAMP`.
    """
    if not math.isfinite(timestamp) or not 0 <= timestamp < MAX_TIMESTAMP:
        raise LogError(f"a record's timestamp must be seconds since 1970, finite and not before, not {timestamp!r}")
    return round(timestamp * 1000)


def decode_timestamp(milliseconds: int) -> float:
    """Return a time in seconds."""
    return milliseconds / 1000


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Created once: `json.dumps` and `json.loads` would create one for every value.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def stub(reason: str, raw: bytes) -> dict[str, object]:
    """Return the value that stands for bytes that cannot be stored."""
    return {UNREADABLE: reason, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
