"""Reading windows back from the records of `gated`."""

from collections.abc import Sequence

import numpy as np

from pipeline.logs.base import Record
from pipeline.windows import Windows


def windows_of_records(records: Sequence[Record], length: int) -> Windows:
    """The windows that records of `gated` hold, in the order given."""
    values = [r.value for r in records if r.value is not None]
    return Windows(
        np.array([v["window"] for v in values], dtype=np.int64).reshape(len(values), length),
        np.array([v["target"] for v in values], dtype=np.int64),
        np.array([v["user_id"] for v in values], dtype=np.str_),
        np.array([v["event_id"] for v in values], dtype=np.str_),
        np.array([v["timestamp"] for v in values], dtype=np.float64),
    )
