"""Reading windows back from the records of `gated`."""

from collections.abc import Sequence

import numpy as np

from pipeline.errors import LogError
from pipeline.events.edit import Evidence
from pipeline.events.windows import Windows
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import GATED


def windows_of_records(records: Sequence[Record], length: int) -> Windows:
    """The windows that records of `gated` hold, in the order given."""
    values = [r.value for r in records if r.value is not None]
    return Windows(
        np.array([v["window"] for v in values], dtype=np.int64).reshape(len(values), length),
        np.array([v["target"] for v in values], dtype=np.int64),
        np.array([v["user_id"] for v in values], dtype=np.str_),
        np.array([v["event_id"] for v in values], dtype=np.str_),
        np.array([v["timestamp"] for v in values], dtype=np.float64),
        np.array([v.get("since_setup", 0) for v in values], dtype=np.int64),
    )


def read_windows(log: Log, evidence: Sequence[Evidence], length: int) -> Windows:
    """The windows of evidence, by offset.

    Raises:
        RecordsLostError: some are deleted already; names their offsets.
        LogError: at one of the offsets another event stands than the evidence says.
    """
    wanted = {e.offset: e.event_id for e in evidence}
    start, end = (min(wanted), max(wanted) + 1) if wanted else (0, 0)
    records = [r for r in log.read(GATED, 0, start, end) if r.offset in wanted]
    found = {r.offset: r.value["event_id"] for r in records if r.value is not None}
    strange = sorted(offset for offset, event_id in wanted.items() if found.get(offset) != event_id)
    if strange:
        raise LogError(
            f"{GATED}/0 does not hold event {wanted[strange[0]]} at offset {strange[0]} any more ({len(strange)} of "
            f"{len(wanted)} windows differ): the log is another one than that of the edit"
        )
    return windows_of_records(records, length)
