"""The monitor's changelog, topic `monitor`: its state in parts every so often, and each step since.

A *step* says how far `gated`, `outcomes` and `regions` were read; it is in the transaction that committed the
offsets and the edits it led to. A monitor is a function of these three and of the steps, so the newest state and
the steps after it give the monitor of the last commit again, and never one beyond.

    chunk … chunk snapshot step step step …          keys: chunk-00000 …, snapshot, step-000000 …

Keys start over with each snapshot, so compaction leaves one state and the steps after it. The newest snapshot is
found from the end of the topic backwards: a restart reads what it needs and no more.
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
    """How far one step of the monitor read.

    Attributes:
        gated, outcomes, regions: offsets of these topics before which everything was taken in.
        whole: in lockstep, whether a batch was complete, so that it could be decided upon.
    """

    gated: int = 0
    outcomes: int = 0
    regions: int = 0
    whole: bool = True


@dataclass(frozen=True)
class Kept:
    """What the changelog holds.

    Attributes:
        number: of the snapshot, 0 where there is none.
        state: as it was written down, or None.
        at: how far it had read.
        steps: those after it.
    """

    number: int = 0
    state: Mapping[str, Any] | None = None
    at: ReadPositions = ReadPositions()
    steps: Sequence[ReadPositions] = field(default=())


def step_output(number: int, count: int, step: ReadPositions, timestamp: float) -> Output:
    """The record of the `count`-th step after snapshot `number`."""
    value = {"kind": "step", "snapshot": number, **asdict(step)}
    return Output(MONITOR, value, f"step-{count:06d}", timestamp, 0)


def snapshot_outputs(number: int, state: Mapping[str, Any], at: ReadPositions, timestamp: float) -> list[Output]:
    """The records of a state, to be written in one transaction."""
    encoded = encode(json.dumps(state, separators=(",", ":"), allow_nan=False).encode("ascii"))
    outputs = [
        Output(MONITOR, {"kind": "chunk", "snapshot": number, "data": chunk}, f"chunk-{i:05d}", timestamp, 0)
        for i, chunk in enumerate(encoded.chunks)
    ]
    length = len(encoded.chunks)
    value = {"kind": "snapshot", "snapshot": number, "chunks": length, "sha256": encoded.sha256, **asdict(at)}
    return [*outputs, Output(MONITOR, value, "snapshot", timestamp, 0)]


def read_newest(log: Log) -> Kept:
    """Read the newest state and the steps after it.

    Raises:
        LogError: the state is damaged.
    """
    return search_backwards(log, MONITOR, _newest) or Kept()


def _newest(records: Sequence[Record], everything: bool) -> Kept | None:
    """What the records hold; None where more of them are needed to tell."""
    place = max((i for i, r in enumerate(records) if _value(r)["kind"] == "snapshot"), default=None)
    if place is None:
        return Kept(steps=_steps(records, 0)) if everything else None
    snapshot = _value(records[place])
    number, before = snapshot["snapshot"], [_value(r) for r in records[:place]]
    chunks = [v["data"] for v in before if v["kind"] == "chunk" and v["snapshot"] == number]
    if len(chunks) < snapshot["chunks"] and not everything:
        return None
    return Kept(number, _state(chunks, snapshot), _step(snapshot), _steps(records[place + 1 :], number))


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
    return ReadPositions(value["gated"], value["outcomes"], value["regions"], value["whole"])


def _value(record: Record) -> Mapping[str, Any]:
    if record.value is None or "kind" not in record.value:
        raise LogError(f"{MONITOR}/{record.partition} holds no state of a monitor at offset {record.offset}")
    return record.value
