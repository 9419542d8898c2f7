"""Rewritten ledger: the revisions that stand for those of before an Unlearn, from the first edit carried out again.

It is a file of the adapters store: the next Unlearn starts from these states, and not from those that users were erased
from.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adapters_store import ArrayFile, ArrayFiles
from pipeline.regions.revision import Revision

_JSON = "revisions"
"""Name of the only array: the bytes of a JSON array of records."""


@dataclass(frozen=True)
class Rewritten:
    """Part of a ledger.

    Attributes:
        first: number of revisions before it that stay as they are.
        revisions: that follow them, each with the edit that it comes from.
    """

    first: int
    revisions: Sequence[Revision]


def write_rewritten(part: Rewritten, files: ArrayFiles, made_by: str) -> ArrayFile:
    """Write a part of a ledger.

    Raises:
        StoreError: the file cannot be written.
    """
    content = {"first": part.first, "revisions": [revision.to_record() for revision in part.revisions]}
    raw = json.dumps(content, separators=(",", ":")).encode()
    return files.write({_JSON: np.frombuffer(raw, dtype=np.uint8)}, made_by)


def read_rewritten(file: ArrayFile, files: ArrayFiles) -> Rewritten:
    """Read a part of a ledger back.

    Raises:
        StoreError: the file is missing or damaged.
        LookupError, TypeError, ValueError: it is another file.
    """
    content = json.loads(files.read(file)[_JSON].tobytes())
    return Rewritten(content["first"], [Revision.from_record(record) for record in content["revisions"]])
