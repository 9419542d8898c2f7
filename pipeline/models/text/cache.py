"""Disk cache of text vectors, by encoder and text.

A shard is one safetensors file of `keys` (n, 32) uint8 and `vectors` (n, dimensions) float32. Its name is
the sha256 of its bytes, so a torn or altered shard is detected on reading, and two processes never write
different bytes to one name: concurrent processes may both compute a vector, without conflict.
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pipeline.models.text.base import Progress, TextEncoder, Vectors

CHUNK = 1024
"""Texts in a shard: the most that a killed run loses, and the interval of progress reports."""

MAX_SHARDS = 32
"""Number of shards above which they are merged, since items that arrive one by one leave one file each."""

KEY_BYTES = 32


class CachedEncoder:
    """Text encoder that computes only the vectors that its folder lacks."""

    def __init__(self, encoder: TextEncoder, folder: Path, on_progress: Progress | None = None) -> None:
        """Wrap an encoder.

        Args:
            encoder: computes missing vectors.
            folder: of the cache, with a sub-folder for each encoder; created when needed.
            on_progress: called with (done, total) while missing vectors are computed.
        """
        self.name = encoder.name
        self.dimensions = encoder.dimensions
        self.identity = encoder.identity
        self._encoder = encoder
        self._folder = folder / encoder.identity[:16]
        self._on_progress = on_progress
        self._cached: dict[bytes, Vectors] = {}
        self._read: set[str] = set()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see `TextEncoder.encode`."""
        keys = [_key(self.identity, text) for text in texts]
        if any(key not in self._cached for key in keys):
            self._read_shards()
            self._compute({key: text for key, text in zip(keys, texts, strict=True) if key not in self._cached})
        vectors = np.zeros((len(keys), self.dimensions), dtype=np.float32)
        for row, key in zip(vectors, keys, strict=True):
            row[:] = self._cached[key]
        return vectors

    def _compute(self, missing: dict[bytes, str]) -> None:
        keys = list(missing)
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            vectors = self._encoder.encode([missing[key] for key in chunk])
            self._write_shard(chunk, vectors)
            if self._on_progress is not None:
                self._on_progress(start + len(chunk), len(keys))

    def _read_shards(self) -> None:
        """Read shards that are new to this process, delete corrupt ones, and merge them above `MAX_SHARDS`."""
        for path in sorted(self._folder.glob("*.safetensors")):
            if path.name not in self._read:
                self._read_shard(path)
        if len(self._read) > MAX_SHARDS:
            self._merge_shards()

    def _read_shard(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return  # another process merged it just now; the merged shard is read next time
        shard = _parse(content, self.dimensions) if _shard_name(content) == path.name else None
        if shard is None:
            path.unlink(missing_ok=True)
            return
        self._remember(path.name, *shard)

    def _merge_shards(self) -> None:
        merged, self._read = self._read, set()
        self._write_shard(list(self._cached), np.stack(list(self._cached.values())))
        for name in merged - self._read:
            (self._folder / name).unlink(missing_ok=True)

    def _write_shard(self, keys: list[bytes], vectors: Vectors) -> None:
        packed = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), KEY_BYTES)
        content = save({"keys": packed, "vectors": np.ascontiguousarray(vectors, dtype=np.float32)})
        name = _shard_name(content)
        _write_atomically(self._folder / name, content)
        self._remember(name, keys, vectors)

    def _remember(self, name: str, keys: list[bytes], vectors: Vectors) -> None:
        self._read.add(name)
        # The first vector stays, also where another process stored one that differs in the last bits.
        for key, vector in zip(keys, vectors, strict=True):
            self._cached.setdefault(key, vector)


def _key(identity: str, text: str) -> bytes:
    return hashlib.sha256(f"{identity}\0{text}".encode("utf-8", "surrogatepass")).digest()


def _shard_name(content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()}.safetensors"


def _parse(content: bytes, dimensions: int) -> tuple[list[bytes], Vectors] | None:
    """Keys and vectors of a shard, or None for content that is no valid shard."""
    try:
        tensors = load(content)
        keys, vectors = tensors["keys"], tensors["vectors"]
    except (SafetensorError, KeyError):
        return None
    if keys.dtype != np.uint8 or vectors.dtype != np.float32:
        return None
    if keys.shape != (len(vectors), KEY_BYTES) or vectors.shape != (len(vectors), dimensions):
        return None
    return [key.tobytes() for key in keys], vectors


def _write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically.

    It is not synced to the disk: a shard torn by a power cut fails the hash in its name and is computed again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
