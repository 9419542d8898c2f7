"""The codec of snapshots, and the search for the newest."""

from collections.abc import Sequence
from random import Random

import pytest

from consumers.runtime.malformed import unreported
from consumers.runtime.snapshots import CHUNK, FIRST_LOOK, decode, encode, search_backwards
from pipeline.streams import MemoryLog, Record
from pipeline.streams.topics import MONITOR, pipeline_topics


@pytest.mark.parametrize("length", [0, 10, CHUNK])
def test_chunks_give_the_bytes_back_and_damage_is_detected(length: int) -> None:
    raw = Random(0).randbytes(length)
    encoded = encode(raw)
    assert len(encoded.chunks) == (2 if length == CHUNK else 1)
    assert max(map(len, encoded.chunks)) <= CHUNK
    assert decode(encoded.chunks, encoded.sha256) == raw
    assert decode(encoded.chunks, "0" * 64) is None
    assert decode(["not base85 ,", *encoded.chunks], encoded.sha256) is None
    assert decode([], encoded.sha256) is None


@pytest.mark.parametrize("sought", [0, 5, 400, 499])
def test_the_search_widens_from_the_end_until_it_finds(sought: int) -> None:
    log = MemoryLog()
    log.create_topics(pipeline_topics(1))
    with log.producer("monitor").transaction() as transaction:
        for number in range(500):
            transaction.send(MONITOR, {"kind": "step", "n": number}, key=str(number), timestamp=0.0)
    lengths: list[int] = []

    def find(records: Sequence[Record], everything: bool) -> int | None:
        lengths.append(len(records))
        assert everything is (records[0].offset == 0)
        return next((r.offset for r in records if r.key == str(sought)), None)

    end = log.end_offset(MONITOR, 0)
    assert search_backwards(log, MONITOR, end, lambda record: record, find, unreported) == sought
    assert lengths[0] <= FIRST_LOOK
    assert lengths == sorted(lengths)
    assert search_backwards(log, MONITOR, end, lambda record: record, lambda *_: None, unreported) is None
