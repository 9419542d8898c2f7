"""Ids of events without one, and the hash of a dataset's content: both over columns.

The values are those of `parse_interaction` and of the fields' `repr`, one event after the other.
"""

import hashlib
from binascii import hexlify
from collections.abc import Iterable
from math import isnan
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
from numpy.typing import NDArray

from pipeline.events.interaction import DIGEST_BYTES, SEPARATOR
from pipeline.events.interactions import Interactions
from pipeline.events.item import Item

STEP = 250_000
"""Rows whose text is made at a time."""


def made_ids(events: Interactions) -> NDArray[Any]:
    """Return (n,) ids made of the other fields of the events."""
    users, items = _strings(events.user_ids), _strings(events.item_ids)
    parts = [np.zeros(0, dtype=f"S{2 * DIGEST_BYTES}")]
    for start in range(0, len(events), STEP):
        part = events[start : start + STEP]
        ids = [users.take(_codes(part.users)), items.take(_codes(part.items))]
        parts.append(_hashed(_joined(SEPARATOR, [*ids, _floats(part.timestamps), _floats(part.values)])))
    return np.concatenate(parts)


def repeat_ids(ids: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[Any]:
    """Return ids for identical events.

    Args:
        ids: (n,) ids that occurred before.
        numbers: (n,) number of times that each did.
    """
    texts = [f"{id_.decode()}{SEPARATOR}{number}" for id_, number in zip(ids.tolist(), numbers.tolist(), strict=True)]
    return _hashed(pyarrow.array(texts, pyarrow.string()))


def content_hash(events: Interactions, items: Iterable[Item]) -> str:
    """Return the SHA-256 of events, in order, and items."""
    digest = hashlib.sha256()
    users, places = [_reprs(table) for table in (events.user_ids, events.item_ids)]
    for start in range(0, len(events), STEP):
        part = events[start : start + STEP]
        ids = _reprs(part.event_id_texts())
        fields = [ids, users.take(_codes(part.users)), places.take(_codes(part.items))]
        texts = _joined(", ", [*fields, _floats(part.timestamps), _floats(part.values)])
        digest.update("".join(f"({text})" for text in texts.to_pylist()).encode())
    for item in items:
        # Moments only where given, so that logs of items without them keep their hash.
        content = (item.item_id, item.text, sorted(item.attributes.items()), *item.moments.items())
        digest.update(repr(content).encode())
    return digest.hexdigest()


def _hashed(contents: Any) -> NDArray[Any]:
    blake2b = hashlib.blake2b
    texts = contents.cast(pyarrow.binary()).to_numpy(zero_copy_only=False)
    digests = b"".join([blake2b(text, digest_size=DIGEST_BYTES).digest() for text in texts])
    return np.frombuffer(hexlify(digests), dtype=f"S{2 * DIGEST_BYTES}")


def _joined(separator: str, columns: list[Any]) -> Any:
    return pyarrow.compute.binary_join_element_wise(*columns, separator)


def _strings(texts: NDArray[np.object_]) -> Any:
    return pyarrow.array(texts, pyarrow.string())


def _codes(codes: NDArray[np.int32]) -> Any:
    return pyarrow.array(codes)


def _reprs(texts: NDArray[Any]) -> Any:
    return pyarrow.array([repr(text) for text in texts.tolist()], pyarrow.string())


def _floats(numbers: NDArray[np.float64]) -> Any:
    """Return the `repr` of each number, `None` for NaN."""
    whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < 1e15) & ~((numbers == 0) & np.signbit(numbers))
    if bool(whole.all()):
        return _joined("", [pyarrow.array(numbers.astype(np.int64)).cast(pyarrow.string()), ".0"])
    different, codes = np.unique(numbers, return_inverse=True)
    texts = ["None" if isnan(number) else repr(number) for number in different.tolist()]
    return pyarrow.array(texts, pyarrow.string()).take(pyarrow.array(codes))
