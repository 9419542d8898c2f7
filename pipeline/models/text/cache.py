"""Vectors kept on disk, by what was encoded and by what.

A shard is one safetensors file of `keys` (n, 32) uint8 and `vectors` (n, dimensions) float32. Its name is
the sha256 of its bytes, so a torn or altered shard is known by reading it, and two processes never write
different bytes to one name: they may both compute a vector, but never harm each other.
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
"""Texts encoded between two shards: what a killed run loses at most, and how often progress is told."""

MAX_SHARDS = 32
"""Shards from which on they are merged: items that arrive one by one would leave a file each."""

KEY_BYTES = 32


class CachedEncoder:
    """Answers from a folder where it can, and asks the encoder for the rest."""

    def __init__(self, encoder: TextEncoder, folder: Path, on_progress: Progress | None = None) -> None:
        """Wrap an encoder.

        Args:
            encoder: computes what is not kept yet.
            folder: where vectors are kept, a sub-folder for each encoder; made when needed.
            on_progress: called with (done, total) as texts that were not kept are encoded.
        """
        self.name = encoder.name
        self.dimensions = encoder.dimensions
        self.identity = encoder.identity
        self._encoder = encoder
        self._folder = folder / encoder.identity[:16]
        self._on_progress = on_progress
        self._kept: dict[bytes, Vectors] = {}
        self._read: set[str] = set()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see `TextEncoder.encode`."""
        keys = [_key(self.identity, text) for text in texts]
        if any(key not in self._kept for key in keys):
            self._read_shards()
            self._compute({key: text for key, text in zip(keys, texts, strict=True) if key not in self._kept})
        vectors = np.zeros((len(keys), self.dimensions), dtype=np.float32)
        for row, key in zip(vectors, keys, strict=True):
            row[:] = self._kept[key]
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
        """Read the shards that this process has not read yet; remove the corrupt, merge the many."""
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
        self._write_shard(list(self._kept), np.stack(list(self._kept.values())))
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
        # The first answer stands, also where another process kept one that differs in the last bits.
        for key, vector in zip(keys, vectors, strict=True):
            self._kept.setdefault(key, vector)


def _key(identity: str, text: str) -> bytes:
    return hashlib.sha256(f"{identity}\0{text}".encode("utf-8", "surrogatepass")).digest()


def _shard_name(content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()}.safetensors"


def _parse(content: bytes, dimensions: int) -> tuple[list[bytes], Vectors] | None:
    """Return keys and vectors of a shard, or None where it is not one."""
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
    """Write a file that is there whole or not at all.

    It is not synced to the disk: after a power cut the name tells a torn shard, and it is computed anew.
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
