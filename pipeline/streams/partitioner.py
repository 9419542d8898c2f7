"""Partitioners: the rule by which a record's key decides its partition.

Records are placed by murmur2, as by the clients of Kafka in Java and Python. librdkafka, and the clients built on it,
place by CRC32; earlier versions of this program placed by blake2b. These two explain the placement of other records.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping

from pipeline.streams.codec import encode_key

Partitioner = Callable[[bytes, int], int]
"""Function of key and number of partitions that returns the partition."""

_SEED, _MULTIPLIER = 0x9747B28C, 0x5BD1E995
_WORD = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF


def partition_of(key: str | None, partitions: int) -> int:
    """Return the partition of a key, the same in every process and on every log; 0 for None."""
    raw = encode_key(key)
    return 0 if raw is None or partitions == 1 else by_murmur2(raw, partitions)


def by_murmur2(key: bytes, partitions: int) -> int:
    """Place by the low 31 bits of murmur2: the default of Kafka's Java client and of kafka-python."""
    return (murmur2(key) & _POSITIVE) % partitions


def by_crc32(key: bytes, partitions: int) -> int:
    """Place by CRC32: the default of librdkafka (confluent-kafka, kcat, and clients in Go, .NET and others)."""
    return zlib.crc32(key) % partitions


def by_blake2b(key: bytes, partitions: int) -> int:
    """Place by blake2b: the rule of earlier versions of this program."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % partitions


CURRENT, EARLIER = "murmur2", "blake2b"
"""Names of the rule in use and of the rule of earlier versions."""

PARTITIONERS: Mapping[str, Partitioner] = {CURRENT: by_murmur2, "crc32": by_crc32, EARLIER: by_blake2b}
"""Known partitioners by name."""


def murmur2(data: bytes) -> int:
    """Return the 32-bit MurmurHash2 of bytes with the seed of Kafka (Austin Appleby, 2008)."""
    whole = len(data) & ~3
    state = (_SEED ^ len(data)) & _WORD
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        mixed = word * _MULTIPLIER & _WORD
        state = (state * _MULTIPLIER ^ (mixed ^ mixed >> 24) * _MULTIPLIER) & _WORD
    if whole < len(data):
        state = (state ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _WORD
    state = (state ^ state >> 13) * _MULTIPLIER & _WORD
    return state ^ state >> 15
