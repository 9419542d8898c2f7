"""Evidence of an edit in packed form, some eleven bytes a window, where a list of it would outgrow a record of the log.

    offsets, regions    differences of one window to the next, as compressed 64-bit integers
    ids                 the first `ID_BYTES` bytes of the sha256 of each event id

The ids themselves are in `gated`, at the offsets. Their hashes show that it is the log of the edit.
"""

import base64
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

ID_BYTES = 6

HASHED = "#"
"""First character of an id that stands for its hash, in hexadecimal digits after it."""

Cells = tuple[str, int, int]
"""Event id, offset in `gated`, region id."""


def hashed_id(event_id: str) -> str:
    """Return what stands for an event id in packed evidence."""
    return HASHED + hashlib.sha256(event_id.encode("utf-8", "surrogatepass")).hexdigest()[: 2 * ID_BYTES]


def pack(evidence: Sequence[Cells]) -> dict[str, str]:
    """Pack evidence; `unpack` gives it back with hashed ids."""
    ids = bytes.fromhex("".join(hashed_id(event_id)[1:] for event_id, _, _ in evidence))
    offsets, regions = [offset for _, offset, _ in evidence], [region_id for _, _, region_id in evidence]
    return {"offsets": _packed(offsets), "regions": _packed(regions), "ids": base64.b64encode(ids).decode("ascii")}


def unpack(packed: Mapping[str, Any]) -> Iterator[Cells]:
    """Yield packed evidence.

    Raises:
        LookupError, TypeError, ValueError: it is none, or its parts have different lengths.
    """
    ids = base64.b64decode(packed["ids"], validate=True).hex()
    width = 2 * ID_BYTES
    count = len(ids) // width
    names = (HASHED + ids[start : start + width] for start in range(0, len(ids), width))
    return zip(names, _unpacked(packed["offsets"], count), _unpacked(packed["regions"], count), strict=True)


def _packed(numbers: Sequence[int]) -> str:
    differences = np.diff(np.array(numbers, dtype="<i8"), prepend=0)
    return base64.b64encode(zlib.compress(differences.astype("<i8").tobytes(), 9)).decode("ascii")


def _unpacked(text: str, count: int) -> list[int]:
    """Numbers of a packed column; a record of another program may hold anything, of any length."""
    reader = zlib.decompressobj()
    try:
        raw = reader.decompress(base64.b64decode(text, validate=True), 8 * count + 1)
    except zlib.error as error:
        raise ValueError(f"it cannot be decompressed: {error}") from None
    if len(raw) != 8 * count:
        raise ValueError(f"it does not hold {count} numbers")
    numbers: list[int] = np.cumsum(np.frombuffer(raw, dtype="<i8")).tolist()
    return numbers
