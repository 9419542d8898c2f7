"""Request of `gated` to unlearn a user: what was trained with the windows under its key is to be trained without them.

    unlearn     true

The gate writes it before the tombstone of the user, under the same key. Its own offset bounds the windows: what stands
before it under its key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pipeline.events.edit import Edit, Evidence
from pipeline.events.versioning import versioned
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import GATED


def unlearning_request() -> Mapping[str, Any]:
    """The value of a request."""
    return versioned({"unlearn": True})


def is_unlearning_request(record: Record) -> bool:
    """True for a record of `gated` that is a request."""
    return record.value is not None and record.value.get("unlearn") is True


def is_event(record: Record) -> bool:
    """True for a record of `gated` that is neither a tombstone nor a request."""
    return record.value is not None and not is_unlearning_request(record)


@dataclass(frozen=True)
class ForgottenWindows:
    """Windows of erased users.

    Attributes:
        offsets: their offsets in `gated`, in order.
        complete: True if `gated` still holds the first window of each user since set-up, and so all of them.
    """

    offsets: tuple[int, ...]
    complete: bool

    @cached_property
    def as_set(self) -> frozenset[int]:
        """The offsets."""
        return frozenset(self.offsets)


def windows_of_requests(log: Log, requests: Sequence[int]) -> ForgottenWindows:
    """Find the windows that requests are about.

    Args:
        log: has the topic.
        requests: offsets of the requests.

    Raises:
        LookupError: one of the requests is not in the log any more.
    """
    until: dict[str, int] = {}
    for request in requests:
        record = next(log.read(GATED, 0, request, request + 1), None)
        if record is None or record.key is None or not is_unlearning_request(record):
            raise LookupError(f"{GATED}/0 holds no request at offset {request}")
        until[record.key] = request
    return windows_before(log, until)


def windows_before(log: Log, until: Mapping[str, int]) -> ForgottenWindows:
    """Find the windows of users, each before an offset.

    Args:
        log: has the topic.
        until: name of the user in `gated` -> the offset.
    """
    start, end = log.start_offset(GATED, 0), max(until.values(), default=0)
    # Where nothing is lost, a user without windows never had one.
    first = dict.fromkeys(until, start == 0)
    seen: set[str] = set()
    offsets: list[int] = []
    for record in log.read(GATED, 0, min(start, end), end):
        name = str(record.key)
        if name in until and record.offset < until[name] and is_event(record):
            if name not in seen:
                first[name] = _is_first(record.value or {})
                seen.add(name)
            offsets.append(record.offset)
    # Of what retention removed during the reading some may have been passed over.
    return ForgottenWindows(tuple(offsets), all(first.values()) and log.start_offset(GATED, 0) == start)


def _is_first(record: Mapping[str, Any]) -> bool:
    """True if an event of `gated` is its user's first since set-up: what came before it are dislikes, which have none.

    Of a window of dislikes alone, taken items may have left.
    """
    since = record.get("since_setup")
    if since is None:
        # Records of the first versions lack the field.
        return False
    items = len(record["window"])
    disliked = sum(place >= items - since for place in record.get("disliked", ()))
    return bool(since == disliked and (since < max(items, 1) or not record.get("earlier")))


def touches(edit: Edit | None, forgotten: ForgottenWindows, kept_from: int) -> bool:
    """Return whether an edit rests on a forgotten window, or may: windows of both are gone from `gated`."""
    evidence = () if edit is None else (*edit.windows, *edit.samples)
    lost = not forgotten.complete and any(e.offset < kept_from for e in evidence)
    return lost or not forgotten.as_set.isdisjoint(e.offset for e in evidence)


def without(edit: Edit, forgotten: ForgottenWindows) -> Edit:
    """Return an edit without forgotten windows."""

    def left(evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
        return tuple(e for e in evidence if e.offset not in forgotten.as_set)

    return replace(edit, windows=left(edit.windows), samples=left(edit.samples))
