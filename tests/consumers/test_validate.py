"""`raie events validate`: what the gate would refuse, line by line; and values in other formats than JSON."""

import io
import json
import sys

import pytest

from consumers.gate.dead_letters import dead_letter, readable
from pipeline.errors import BadEvent
from pipeline.streams import Record
from pipeline.streams.codec import decode_value
from tests.replay.small import raie

GOOD = {"user": "ann", "item": 7.0, "ts": "2024-05-01T12:00:00Z", "rating": 2}
LINES = b"\n".join(
    [
        json.dumps(GOOD).encode(),
        b"",
        b'{"user": "ann", "item": "i", "ts": "soon"}',
        b"[1]",
        b'{"user": "ann", "item": "i"',
        b"\x00\x00\x00\x00\x07\x06ann\x02",
        b'{"erase": true, "user_id": "ann"}',
    ]
)


def test_refusals_are_shown_by_line_and_reason(tmp_path, capsys):
    (tmp_path / "log.jsonl").write_bytes(LINES)
    ended = raie(capsys, "events", "validate", tmp_path / "log.jsonl")
    shown = [line.split(": ")[:2] for line in ended.out.splitlines()]
    assert ended.code == 2
    assert shown[:-1] == [
        ["line 3", "bad_timestamp"],
        ["line 4", "not_an_object"],
        ["line 5", "bad_json"],
        ["line 6", "avro_or_protobuf"],
    ]
    assert ended.out.splitlines()[-1].startswith("2 of 6 records can be used; refused: 1 bad_timestamp")


def test_standard_input_items_and_settings(monkeypatch, capsys):
    def said(text: bytes, *arguments: str):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        return raie(capsys, "events", "validate", "-", *arguments)

    assert (said(json.dumps(GOOD).encode()).code, said(b"").out) == (0, "0 of 0 records can be used\n")
    items = said(b'{"id": 1, "title": "Heat"}\n{"id": 2, "expires": "soon"}', "--topic", "items")
    assert (items.code, "line 2: bad_expires" in items.out) == (2, True)
    kinds = said(json.dumps({**GOOD, "event": "refund"}).encode(), "--set", "data.event_types={view: true}")
    assert "unknown_event_type" in kinds.out
    assert said(b"", "--topic", "gated").code == 2
    assert "no-such-file" in raie(capsys, "events", "validate", "no-such-file").err


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x00\x00\x00\x00\x01\x06ann", "avro_or_protobuf"),
        (b"\x00\x00\x00\x00\x01\x00\n\x03ann", "avro_or_protobuf"),
        (b'\x00\x00\x00\x00\x01{"user_id":"ann"}', "json_with_schema_id"),
        (b"Obj\x01\x04\x14avro.codec", "avro"),
        (b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08\x06ann", "avro"),
        (b"\x00", "bad_json"),
        (b"not json", "bad_json"),
    ],
)
def test_a_dead_letter_names_the_format_of_a_value_that_is_no_json(raw, reason):
    record = Record("interactions", 0, 0, None, decode_value(raw), 1.0)
    with pytest.raises(BadEvent) as refusal:
        readable(record)
    assert refusal.value.reason == reason
    assert ("Avro" in refusal.value.detail) == reason.startswith("avro")
    assert dead_letter(record, refusal.value).value["reason"] == reason


def test_json_in_any_encoding_of_unicode_is_still_json():
    for encoding in ("utf-8", "utf-16-be", "utf-16-le", "utf-32-be"):
        assert decode_value(json.dumps(GOOD).encode(encoding)) == GOOD
