"""The parts of the logs one by one: codec, shares of a group, the topic table, URLs."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.errors import LogError
from pipeline.streams import MemoryLog, SqliteLog, Topic, open_log
from pipeline.streams.assignment import Member, assign_ranges, plan_moves
from pipeline.streams.codec import UNREADABLE, decode_key, decode_value, encode_value
from pipeline.streams.kafka.serialization import decode_record, encode_headers
from pipeline.streams.memory import ABORT
from pipeline.streams.topics import REGIONS, pipeline_topics


def test_equal_content_is_equal_bytes() -> None:
    assert encode_value({"b": 1, "a": {"d": 2, "c": "ü"}}) == encode_value({"a": {"c": "ü", "d": 2}, "b": 1})
    assert encode_value({"b": 1.0, "a": None}) == b'{"a":null,"b":1.0}'
    assert encode_value(None) is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "bad_json"),
        (b"", "bad_json"),
        (b"\xff\xfe\x00", "bad_json"),
        (b'{"x": NaN}', "bad_json"),
        (b"[" * 100_000, "bad_json"),
        (b"[1]", "not_an_object"),
        (b"null", "not_an_object"),
    ],
)
def test_reading_foreign_bytes_never_fails_but_says_what_they_are(raw: bytes, reason: str) -> None:
    stub = decode_value(raw)
    assert stub is not None
    assert stub[UNREADABLE] == reason
    assert stub["bytes"] == len(raw)
    json.dumps(stub)


def test_a_foreign_key_is_read_somehow() -> None:
    assert decode_key(b"\xff") == "�"
    assert decode_key(None) is None


def test_the_headers_of_a_message_are_its_times_and_its_own_stamp_stands_in_for_them() -> None:
    message = SimpleNamespace(partition=0, offset=7, key=None, value=b"{}", timestamp=5_000, headers=[])
    foreign = decode_record("one", message)
    assert (foreign.timestamp, foreign.written_at) == (5.0, 5.0)
    message.headers = encode_headers(1_500, 2_250)
    ours = decode_record("one", message)
    assert (ours.timestamp, ours.written_at) == (1.5, 2.25)
    message.headers, message.timestamp = [("written-at", b"noon")], -1
    unstamped = decode_record("one", message)
    assert (unstamped.timestamp, unstamped.written_at) == (0.0, None)


@pytest.mark.parametrize("partitions", [1, 2, 3, 8])
@pytest.mark.parametrize("readers", [1, 2, 3, 5, 9])
def test_a_share_is_even_contiguous_and_complete(partitions: int, readers: int) -> None:
    members = [Member(f"m{number}", ("t",)) for number in range(readers)]
    owners = assign_ranges(members, {"t": partitions, "unread": 2})
    assert sorted(owners) == [("t", number) for number in range(partitions)]
    sequence = [owners["t", number] for number in range(partitions)]
    assert sequence == sorted(sequence)
    sizes = [sequence.count(member.token) for member in members[:partitions]]
    assert max(sizes) - min(sizes) <= 1


def test_nobody_claims_what_a_live_member_still_holds() -> None:
    members = [Member("a", ("t",)), Member("b", ("t",))]
    held = {("t", 0): "a", ("t", 1): "a"}
    assert plan_moves("b", members, held, {"t": 2}).claim == ()
    assert plan_moves("a", members, held, {"t": 2}).release == (("t", 1),)
    assert plan_moves("b", members, {("t", 0): "a"}, {"t": 2}).claim == (("t", 1),)
    assert plan_moves("b", members[1:], held, {"t": 2}).claim == (("t", 0), ("t", 1))


def test_aborted_records_are_markers_in_the_memory_log() -> None:
    log = MemoryLog()
    log.create_topics([Topic("one")])
    with pytest.raises(ZeroDivisionError), log.producer("p").transaction() as transaction:
        transaction.send("one", {"n": 1}, timestamp=0.0)
        transaction.send("one", {"n": 2}, timestamp=0.0)
        raise ZeroDivisionError
    with log.producer("p").transaction() as transaction:
        transaction.send("one", {"n": 3}, timestamp=0.0)
    first, second, third = log.contents("one")
    assert first is second is ABORT
    assert third == next(log.read("one", 0, 0, 3))
    assert transaction.offsets == [("one", 0, 2)]


def test_offsets_are_committed_in_their_own_log_only() -> None:
    here, there = MemoryLog(), MemoryLog()
    for log in (here, there):
        log.create_topics([Topic("one")])
    consumer = there.consumer("g", ["one"], "a")
    with here.producer("p").transaction() as transaction, pytest.raises(LogError, match="of another"):
        transaction.commit_offsets(consumer)


def test_the_topic_table_keeps_what_the_design_needs() -> None:
    topics = {topic.name: topic for topic in pipeline_topics(partitions=6)}
    assert len(topics) == len(pipeline_topics())
    assert (topics[REGIONS].partitions, topics[REGIONS].kept) == (1, "forever")
    assert topics["users"].partitions == topics["interactions"].partitions == 6
    assert topics["gated"].partitions == 1
    assert {name for name, topic in topics.items() if topic.kept == "compacted"} == {
        *("users", "items", "trend", "monitor", "feeds"),
    }
    assert all(topic.key for topic in topics.values())


def test_a_url_opens_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_log("memory:"), MemoryLog)
    log = open_log(f"sqlite:///{tmp_path}/deep/er/log.db")
    assert isinstance(log, SqliteLog)
    assert log.path == tmp_path / "deep" / "er" / "log.db"
    log.close()
    monkeypatch.chdir(tmp_path)
    open_log("sqlite:///here.db").close()
    assert (tmp_path / "here.db").exists()


@pytest.mark.parametrize("url", ["", "sqlite:///", "log.db", "sqlite://log.db"])
def test_what_is_no_url_of_a_log_says_what_is(url: str) -> None:
    with pytest.raises(LogError, match="sqlite:///PATH"):
        open_log(url)
