"""The monitor's changelog, topic `monitor`: snapshots of its state in chunks, and the steps after each.

A *step* holds the offsets up to which `gated`, `outcomes` and `regions` were read. It is in the transaction that
committed these offsets and the edits of the step. The monitor is a function of the three topics and the steps, so the
newest snapshot and the steps after it give exactly the monitor of the last commit.

    chunk … chunk snapshot step step step …          keys: chunk-00000 …, snapshot, step-000000 …

Keys start over with each snapshot, and a snapshot has no fewer chunks than the one before (the last are empty), so
compaction leaves one snapshot and the steps after it. A snapshot follows at once where a user was erased: nothing of
the user is left once the one before is gone. The newest snapshot is
searched from the end of the topic backwards: a restart reads little more than it needs.

A record of another program is skipped. What is damaged is found by what is then missing, and is an error: chunks by
the snapshot's sha256, steps by their numbers, and a snapshot by the committed offset, which its steps must reach.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from consumers.runtime.malformed import OnSkipped, unreported
from consumers.runtime.snapshots import decode, encode, search_backwards
from consumers.runtime.stage import Output
from consumers.runtime.topic_reader import value_of
from pipeline.errors import LogError
from pipeline.events.field_types import checked
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import MONITOR

Part = tuple[int, Mapping[str, Any]]
"""Number in the key of a record, 0 for a snapshot, and its value."""

_FIELDS: Mapping[str, Mapping[str, type]] = {
    "chunk": {"snapshot": int, "data": str},
    "snapshot": {"snapshot": int, "chunks": int, "sha256": str},
    "step": {"snapshot": int},
}
"""Kind of a record -> its fields beside the positions, and their types."""


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


def read_newest(log: Log, on_skipped: OnSkipped = unreported) -> MonitorSnapshot:
    """Read the newest snapshot and the steps after it.

    Args:
        log: has the topic.
        on_skipped: called with each record that is no part of a state.

    Raises:
        LogError: the snapshot is damaged, or a step after it.
    """
    end = log.acknowledged_end(MONITOR, 0)
    return search_backwards(log, MONITOR, end, _part, _newest, on_skipped) or MonitorSnapshot()


def _part(record: Record) -> Part:
    """Value of a record, and the number in its key.

    Raises:
        LookupError, TypeError, ValueError: it is a record of another program.
    """
    value = value_of(record)
    kind, _, number = (record.key or "").partition("-")
    if kind != value["kind"] or not all(isinstance(value[name], of) for name, of in _FIELDS[kind].items()):
        raise ValueError("it is no part of a state under its key")
    if kind != "chunk":
        checked(_step(value))
    return (int(number) if number else 0), value


def _newest(parts: Sequence[Part], everything: bool) -> MonitorSnapshot | None:
    """The newest snapshot in these records; None if its first chunk lies before them."""
    last = max((i for i, (_, value) in enumerate(parts) if value["kind"] == "snapshot"), default=None)
    if last is None:
        return MonitorSnapshot(steps=_steps(parts, 0)) if everything else None
    snapshot, before = parts[last][1], [value for _, value in parts[:last]]
    number = snapshot["snapshot"]
    chunks = [v["data"] for v in before if v["kind"] == "chunk" and v["snapshot"] == number]
    if len(chunks) < snapshot["chunks"] and not everything:
        return None
    steps = _steps(parts[last + 1 :], number)
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


def _steps(parts: Sequence[Part], number: int) -> list[ReadPositions]:
    """Steps after a snapshot, all of them: one that is missing joined two decisions into one."""
    steps = [(place, value) for place, value in parts if value["kind"] == "step" and value["snapshot"] == number]
    if [place for place, _ in steps] != list(range(1, len(steps) + 1)):
        raise LogError(f"a step after state {number} of the monitor is damaged in topic {MONITOR}: restore a backup")
    return [_step(value) for _, value in steps]


def _step(value: Mapping[str, Any]) -> ReadPositions:
    # Steps of schema 1 did not read `items`.
    return ReadPositions(value["gated"], value["outcomes"], value["regions"], value["whole"], value.get("items", 0))
