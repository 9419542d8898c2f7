"""The monitor's changelog, topic `monitor`: snapshots of its state in chunks, and the steps after each.

A *step* holds the offsets up to which `gated`, `outcomes` and `regions` were read. It is in the transaction that
committed these offsets and the edits of the step. The monitor is a function of the three topics and the steps, so the
newest snapshot and the steps after it give exactly the monitor of the last commit.

    chunk … chunk snapshot step step step …          keys: chunk-00000 …, snapshot, step-000000 …

Keys start over with each snapshot, and a snapshot has no fewer chunks than the one before (the last are empty), so
compaction leaves one snapshot and the steps after it. A snapshot follows at once where a user was erased: nothing of
the user is left once the one before is gone. The newest snapshot is
searched from the end of the topic backwards: a restart reads little more than it needs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from consumers.runtime.snapshots import decode, encode, search_backwards
from consumers.runtime.stage import Output
from pipeline.errors import LogError
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import MONITOR


@dataclass(frozen=True)
class ReadPositions:
    """Offsets up to which one step of the monitor read.

    Attributes:
        gated, outcomes, regions, items: next offset to read of these topics.
        whole: in lockstep, whether a batch was complete, so that a decision was due.
    """

    gated: int = 0
    outcomes: int = 0
    regions: int = 0
    whole: bool = True
    items: int = 0


@dataclass(frozen=True)
class MonitorSnapshot:
    """The newest snapshot in the changelog, and the steps after it.

    Attributes:
        number: of the snapshot, 0 without one.
        state: of the driver; None without a snapshot.
        at: positions that it had read up to.
        steps: after the snapshot.
        chunks: its number of chunks.
    """

    number: int = 0
    state: Mapping[str, Any] | None = None
    at: ReadPositions = ReadPositions()
    steps: Sequence[ReadPositions] = field(default=())
    chunks: int = 0


def step_output(number: int, count: int, step: ReadPositions, timestamp: float) -> Output:
    """Make the record of the `count`-th step after snapshot `number`."""
    value = {"kind": "step", "snapshot": number, **asdict(step)}
    return Output(MONITOR, value, f"step-{count:06d}", timestamp, 0)


def snapshot_outputs(
    number: int, state: Mapping[str, Any], at: ReadPositions, timestamp: float, least: int = 0
) -> list[Output]:
    """Make the records of a snapshot, to be written in one transaction, with at least so many chunks."""
    encoded = encode(json.dumps(state, separators=(",", ":"), allow_nan=False).encode("ascii"))
    chunks = [*encoded.chunks, *[""] * (least - len(encoded.chunks))]
    outputs = [
        Output(MONITOR, {"kind": "chunk", "snapshot": number, "data": chunk}, f"chunk-{i:05d}", timestamp, 0)
        for i, chunk in enumerate(chunks)
    ]
    length = len(chunks)
    value = {"kind": "snapshot", "snapshot": number, "chunks": length, "sha256": encoded.sha256, **asdict(at)}
    return [*outputs, Output(MONITOR, value, "snapshot", timestamp, 0)]


def read_newest(log: Log) -> MonitorSnapshot:
    """Read the newest snapshot and the steps after it.

    Raises:
        LogError: the snapshot is damaged.
    """
    return search_backwards(log, MONITOR, _newest) or MonitorSnapshot()


def _newest(records: Sequence[Record], everything: bool) -> MonitorSnapshot | None:
    """The newest snapshot in these records; None if its first chunk lies before them."""
    last = max((i for i, r in enumerate(records) if _value(r)["kind"] == "snapshot"), default=None)
    if last is None:
        return MonitorSnapshot(steps=_steps(records, 0)) if everything else None
    snapshot = _value(records[last])
    number, before = snapshot["snapshot"], [_value(r) for r in records[:last]]
    chunks = [v["data"] for v in before if v["kind"] == "chunk" and v["snapshot"] == number]
    if len(chunks) < snapshot["chunks"] and not everything:
        return None
    steps = _steps(records[last + 1 :], number)
    return MonitorSnapshot(number, _state(chunks, snapshot), _step(snapshot), steps, snapshot["chunks"])


def _state(chunks: Sequence[str], snapshot: Mapping[str, Any]) -> Mapping[str, Any]:
    raw = decode(chunks, snapshot["sha256"])
    if raw is None:
        raise LogError(
            f"state {snapshot['snapshot']} of the monitor is damaged in topic {MONITOR}: its "
            f"{snapshot['chunks']} chunks do not give what was written; restore the log from a backup"
        )
    state: dict[str, Any] = json.loads(raw)
    return state


def _steps(records: Sequence[Record], number: int) -> list[ReadPositions]:
    values = [_value(r) for r in records]
    return [_step(v) for v in values if v["kind"] == "step" and v["snapshot"] == number]


def _step(value: Mapping[str, Any]) -> ReadPositions:
    # Steps of schema 1 did not read `items`.
    return ReadPositions(value["gated"], value["outcomes"], value["regions"], value["whole"], value.get("items", 0))


def _value(record: Record) -> Mapping[str, Any]:
    if record.value is None or "kind" not in record.value:
        raise LogError(f"{MONITOR}/{record.partition} holds no state of a monitor at offset {record.offset}")
    return record.value
