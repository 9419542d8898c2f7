"""Evidence in the log: the packed form of many windows, and their event ids."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.events.edit import MOST_LISTED_BYTES, Edit, Evidence, Operation
from pipeline.events.gated import EvidenceError, read_events, with_event_ids
from pipeline.events.packed_evidence import hashed_id, pack, unpack
from pipeline.streams import MemoryLog
from pipeline.streams.codec import MAX_VALUE_BYTES, encode_value
from pipeline.streams.topics import GATED, pipeline_topics
from tests.gated import gated_event

WINDOWS = 1_500


class DeletingLog(MemoryLog):
    """A log that deletes its first records as soon as it was asked for its start."""

    deleted = 0

    def start_offset(self, topic: str, partition: int) -> int:
        start = super().start_offset(topic, partition)
        self.delete_before(topic, partition, self.deleted)
        return start


@pytest.fixture
def log() -> DeletingLog:
    """A log with many gated events, of ids as long as a producer may make them."""
    log = DeletingLog()
    log.create_topics(pipeline_topics(1))
    with log.producer("gate").transaction() as transaction:
        for n in range(WINDOWS):
            event = gated_event(event_id=name(n), timestamp=float(n))
            transaction.send(GATED, event.to_record(), key="u", partition=0, timestamp=event.timestamp)
    return log


def name(n: int) -> str:
    return f"{n:06d}-{'é' * 240}"


def edit(windows: list[Evidence], samples: list[Evidence]) -> Edit:
    reason = {"signal": "loss", "regions": [1]}
    return Edit("e" * 24, Operation.ADD, 7, None, 0, 0, reason, tuple(windows), tuple(samples), 9, 1.0, 3, 4)


def of(numbers: range, region_id: int = 7) -> list[Evidence]:
    return [Evidence(name(n), n, region_id) for n in numbers]


def test_few_windows_are_listed_by_event_id() -> None:
    one = edit(of(range(20)), of(range(3), 9))
    assert one.to_log() == one.to_record()
    assert one.to_log()["windows"][0] == [name(0), 0, 7]


def test_many_windows_are_packed_and_their_ids_read_from_the_log(log: MemoryLog) -> None:
    one = edit(of(range(WINDOWS)), [*of(range(0, WINDOWS, 2), 8), *of(range(1, WINDOWS, 3), 9)])
    assert sum(len(e.event_id) for e in one.windows) > MOST_LISTED_BYTES
    record = one.to_log()
    assert len(encode_value(record) or b"") < 40_000
    again = Edit.from_record(json.loads(json.dumps(record)))
    assert [(e.offset, e.region_id) for e in again.samples] == [(e.offset, e.region_id) for e in one.samples]
    assert replace(again, windows=(), samples=()) == replace(one, windows=(), samples=())
    assert all(e.is_of(name(e.offset)) for e in (*again.windows, *again.samples))
    assert with_event_ids(again, log).windows == one.windows
    assert [e.event_id for e in read_events(log, again.windows, [])] == [e.event_id for e in one.windows]
    assert Edit.from_record(again.to_record()) == again


def test_the_largest_edit_fits_a_record() -> None:
    """Full pools of 32,768 windows, the most that a configuration may have, and as many samples as may be."""
    rng = np.random.default_rng(0)
    offsets = np.sort(rng.choice(10**9, 2 * 32_768 + 8_192, replace=False)).tolist()
    evidence = [Evidence(f"event-{offset}", offset, 1 + n // 64) for n, offset in enumerate(offsets)]
    record = edit(evidence[:32_768], evidence[32_768:]).to_log()
    assert len(encode_value(record) or b"") < MAX_VALUE_BYTES


def packed_edit() -> Edit:
    """An edit of nine windows that are packed, however few they are."""
    record = edit(of(range(9)), []).to_record()
    return Edit.from_record({**record, "windows": pack(record["windows"])})


def test_hashes_stay_where_the_windows_are_gone(log: MemoryLog) -> None:
    packed = packed_edit()
    log.delete_before(GATED, 0, 4)
    found = with_event_ids(packed, log).windows
    assert [e.event_id for e in found] == [*(hashed_id(name(n)) for n in range(4)), *(name(n) for n in range(4, 9))]


def test_hashes_stay_where_windows_are_deleted_during_the_read(log: DeletingLog) -> None:
    packed, log.deleted = packed_edit(), 4
    assert with_event_ids(packed, log) == packed


def test_packed_windows_of_another_log_are_no_evidence(log: MemoryLog) -> None:
    packed = [Evidence(hashed_id("another"), 5, 7)]
    with pytest.raises(EvidenceError, match="at offset 5"):
        read_events(log, packed, [])
    assert with_event_ids(edit(packed, []), log).windows == tuple(packed)


GOOD = pack([("a", 1, 2), ("b", 5, 2)])


@pytest.mark.parametrize(
    "packed",
    [
        {**GOOD, "ids": "****"},
        {**GOOD, "offsets": GOOD["ids"]},
        {**GOOD, "offsets": pack([("a", 1, 2)])["offsets"]},
        {**GOOD, "regions": pack([("a", 1, 2)] * 100_000)["regions"]},
        {**GOOD, "regions": None},
        {"ids": GOOD["ids"]},
    ],
)
def test_a_damaged_pack_is_no_record(packed: dict[str, str]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        list(unpack(packed))
    assert list(unpack(GOOD)) == [(hashed_id("a"), 1, 2), (hashed_id("b"), 5, 2)]
