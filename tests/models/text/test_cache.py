from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from pipeline.models.text import cache as cache_module
from pipeline.models.text.base import Vectors
from pipeline.models.text.cache import CachedEncoder
from pipeline.models.text.hashing import HashingEncoder


class CountingEncoder(HashingEncoder):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return super().encode(texts)


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_a_text_is_encoded_once_even_across_instances(tmp_path: Path) -> None:
    first, second = CountingEncoder(), CountingEncoder()
    CachedEncoder(first, tmp_path).encode(["a", "b", "a"])
    vectors = CachedEncoder(second, tmp_path).encode(["b", "c", "a"])
    assert (first.asked, second.asked) == (["a", "b"], ["c"])
    np.testing.assert_array_equal(vectors, HashingEncoder().encode(["b", "c", "a"]))


def test_another_encoder_shares_nothing(tmp_path: Path) -> None:
    CachedEncoder(CountingEncoder(), tmp_path).encode(["a"])
    other = CountingEncoder()
    other.identity = "0" * 64
    CachedEncoder(other, tmp_path).encode(["a"])
    assert other.asked == ["a"]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign"])
def test_a_corrupt_shard_is_computed_anew_and_rewritten(tmp_path: Path, damage: str) -> None:
    CachedEncoder(HashingEncoder(), tmp_path).encode(["a", "b"])
    (shard,) = shards(tmp_path)
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    damaged = {"flip": bytes(content), "cut": bytes(content[:-40]), "empty": b"", "foreign": b"not a shard"}
    shard.write_bytes(damaged[damage])
    encoder = CountingEncoder()
    vectors = CachedEncoder(encoder, tmp_path).encode(["a", "b"])
    assert encoder.asked == ["a", "b"]
    np.testing.assert_array_equal(vectors, HashingEncoder().encode(["a", "b"]))
    again = CountingEncoder()
    CachedEncoder(again, tmp_path).encode(["a", "b"])
    assert again.asked == []
    assert len(shards(tmp_path)) == 1


def test_a_well_named_file_that_is_no_shard_is_removed(tmp_path: Path) -> None:
    cached = CachedEncoder(HashingEncoder(), tmp_path)
    cached.encode(["a"])
    stranger = shards(tmp_path)[0].parent / cache_module._shard_name(b"stranger")
    stranger.write_bytes(b"stranger")
    CachedEncoder(HashingEncoder(), tmp_path).encode(["b"])
    assert not stranger.exists()


def test_progress_is_told_of_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "CHUNK", 2)
    told: list[tuple[int, int]] = []
    cached = CachedEncoder(HashingEncoder(), tmp_path, lambda done, total: told.append((done, total)))
    cached.encode(["a"])
    cached.encode(["a", "b", "c", "d", "b"])
    assert told == [(1, 1), (2, 3), (3, 3)]


def test_items_that_arrive_one_by_one_do_not_leave_a_file_each(tmp_path: Path) -> None:
    texts = [f"item {i}" for i in range(2 * cache_module.MAX_SHARDS)]
    cached = CachedEncoder(HashingEncoder(), tmp_path)
    for text in texts:
        cached.encode([text])
    assert len(shards(tmp_path)) <= cache_module.MAX_SHARDS + 1
    fresh = CountingEncoder()
    CachedEncoder(fresh, tmp_path).encode(texts)
    assert fresh.asked == []


def test_a_killed_run_keeps_its_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "CHUNK", 2)

    def die(done: int, _total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CachedEncoder(HashingEncoder(), tmp_path, die).encode(list("abcdef"))
    encoder = CountingEncoder()
    CachedEncoder(encoder, tmp_path).encode(list("abcdef"))
    assert encoder.asked == ["e", "f"]


def _encode_one_by_one(folder: Path, start: int) -> int:
    cached = CachedEncoder(HashingEncoder(), folder)
    for i in range(start, start + 60):
        cached.encode([f"item {i}"])
    return start


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_encode_one_by_one, [tmp_path, tmp_path], [0, 30])) == [0, 30]
    encoder = CountingEncoder()
    texts = [f"item {i}" for i in range(90)]
    vectors = CachedEncoder(encoder, tmp_path).encode(texts)
    assert encoder.asked == []
    np.testing.assert_array_equal(vectors, HashingEncoder().encode(texts))
    assert not list(tmp_path.rglob("*.partial"))
