"""Snapshots of state in a changelog topic: one codec for the bytes, one search for the newest.

A snapshot is zlib-compressed, base85-encoded and cut into chunks, each of which fits into a record. The sha256 of the
bytes before compression is in the record too, so that damage is detected.
"""

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from consumers.runtime.malformed import OnSkipped, readable
from pipeline.streams.interface import Log, Record

CHUNK = 400_000
"""Most characters of a chunk: well within any broker's limit for a record."""

FIRST_LOOK = 64
"""Offsets before the end that are read first; each further attempt reads four times as many."""

P = TypeVar("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Encoded:
    """Bytes as they are written.

    Attributes:
        chunks: the text, in pieces of at most `CHUNK` characters.
        sha256: of the bytes, in hexadecimal digits.
    """

    chunks: Sequence[str]
    sha256: str


def encode(raw: bytes) -> Encoded:
    """Compress bytes and cut them into chunks."""
    text = base64.b85encode(zlib.compress(raw, 1)).decode("ascii")
    chunks = [text[i : i + CHUNK] for i in range(0, len(text), CHUNK)]
    return Encoded(chunks, hashlib.sha256(raw).hexdigest())


def decode(chunks: Iterable[str], sha256: str) -> bytes | None:
    """Bytes of chunks in order; None where they are damaged."""
    try:
        raw = zlib.decompress(base64.b85decode("".join(chunks)))
    except (ValueError, zlib.error):
        return None
    return raw if hashlib.sha256(raw).hexdigest() == sha256 else None


def search_backwards(
    log: Log,
    topic: str,
    end: int,
    parse: Callable[[Record], P],
    find: Callable[[Sequence[P], bool], T | None],
    on_skipped: OnSkipped,
) -> T | None:
    """Search partition 0 of a topic from its end, in a range that widens until something is found.

    Args:
        log: has the topic.
        topic: its name.
        end: its end.
        parse: reads a record; raises one of `MALFORMED` for that of another program.
        find: called with what was read of a range that ends with the topic, and True where it begins with the topic,
            too; returns None where it needs earlier records.
        on_skipped: called with each record in the last range that cannot be read.

    Returns:
        The first result that is not None; None where all records hold none.
    """
    look = FIRST_LOOK
    skipped: list[tuple[Record, Exception]] = []
    while True:
        start = max(0, end - look)
        skipped.clear()
        parts = readable(log.read(topic, 0, start, end), parse, lambda *one: skipped.append(one))
        found = find(list(parts), start == 0)
        if found is not None or start == 0:
            for one in skipped:
                on_skipped(*one)
            return found
        look *= 4
