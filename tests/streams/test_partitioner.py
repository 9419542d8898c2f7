"""Keys are placed as the clients of Kafka place them."""

import pytest
from kafka.partitioner.default import murmur2 as murmur2_of_the_client

from pipeline.streams.partitioner import PARTITIONERS, murmur2, partition_of

OF_KAFKA = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}
"""Signed hashes in the tests of Kafka's Java client."""


@pytest.mark.parametrize("key", OF_KAFKA)
def test_murmur2_is_that_of_the_java_client(key: str) -> None:
    assert murmur2(key.encode()) == OF_KAFKA[key] % 2**32


def test_murmur2_is_that_of_kafka_python_for_keys_of_any_length() -> None:
    keys = [bytes(range(start, start + length)) for length in range(40) for start in (0, 200)]
    assert [murmur2(key) for key in keys] == [murmur2_of_the_client(key) % 2**32 for key in keys]


def test_a_hash_with_the_sign_bit_gives_the_partition_of_the_java_client() -> None:
    assert partition_of("21", 7) == (-973932308 & 0x7FFFFFFF) % 7


def test_each_rule_places_a_key_somewhere_else() -> None:
    keys = [f"u{i}".encode() for i in range(1_000)]
    placed = {name: [place(key, 8) for key in keys] for name, place in PARTITIONERS.items()}
    for name, partitions in placed.items():
        assert set(partitions) == set(range(8))
        agreeing = {
            other: sum(a == b for a, b in zip(partitions, placed[other], strict=True))
            for other in placed
            if other != name
        }
        assert all(80 < count < 180 for count in agreeing.values()), "by chance, one in eight"


def test_without_a_key_it_is_the_first() -> None:
    assert partition_of(None, 8) == 0
