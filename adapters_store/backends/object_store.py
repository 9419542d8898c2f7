"""Backend on an object store: the files of a version are keys, accessed through fsspec.

An object store has no rename, so the manifest makes a version complete: it is written last, after the other files
were read back. An array file is one key, and one write is atomic. There are no locks either: an abandoned publication
cannot be distinguished from one in progress, so no version may be removed during a publication.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from adapters_store.backends.interface import ARRAYS, FILES, LIMITS, MARK, Checkpoint, Verify, VerifyArrays
from adapters_store.errors import AdapterRefused
from adapters_store.manifest import MANIFEST


class ObjectStoreBackend:
    """`Backend` in an fsspec file system.

    Args:
        system: an `fsspec.AbstractFileSystem`.
        root: path in it.
        url: URL of the root, for messages and records.
    """

    def __init__(self, system: Any, root: str, url: str) -> None:
        self.root = url
        self._system = system
        self._root = root.rstrip("/")

    def entries(self) -> list[str]:
        """See `Backend.entries`."""
        return self._names(self._root)

    def published(self, name: str) -> bool:
        """See `Backend.published`: the manifest, written last, completes a version."""
        return MANIFEST in self._names(f"{self._root}/{name}")

    def read(self, name: str, wanted: Sequence[str] = FILES) -> dict[str, bytes]:
        """See `Backend.read`."""
        folder = f"{self._root}/{name}"
        found = self._names(folder)
        if MANIFEST not in found:
            raise AdapterRefused("missing", "there is no such version: it was never published here, or was pruned")
        if extra := sorted(set(found) - set(FILES)):
            raise AdapterRefused("unexpected_file", f"{extra[0]!r} is no file of a version: remove the version")
        return {file: self._read_file(f"{folder}/{file}", LIMITS[file]) for file in wanted}

    def publish(self, name: str, files: Mapping[str, bytes], verify: Verify, checkpoint: Checkpoint) -> None:
        """See `Backend.publish`."""
        folder = f"{self._root}/{name}"
        if self.published(name):
            raise FileExistsError(name)
        self._system.makedirs(folder, exist_ok=True)
        for file in FILES[:-1]:
            self._system.pipe_file(f"{folder}/{file}", files[file])
        checkpoint("adapter.written")
        # A write that returned is durable in an object store: no sync is needed.
        checkpoint("adapter.synced")
        read_back = {file: self._read_file(f"{folder}/{file}", LIMITS[file]) for file in FILES[:-1]}
        verify({**read_back, MANIFEST: files[MANIFEST]})
        checkpoint("adapter.verified")
        self._system.pipe_file(f"{folder}/{MANIFEST}", files[MANIFEST])
        checkpoint("adapter.renamed")

    def remove(self, entry: str) -> bool:
        """See `Backend.remove`."""
        path = f"{self._root}/{entry}"
        # The manifest first: without it the version is gone, even if the next removal fails.
        if self.published(entry):
            self._system.rm_file(f"{path}/{MANIFEST}")
        self._system.rm(path, recursive=True)
        return True

    def mark(self, name: str, content: str) -> None:
        """See `Backend.mark`."""
        self._system.pipe_file(f"{self._root}/{name}{MARK}", content.encode("ascii"))

    def unmark(self, name: str) -> None:
        """See `Backend.unmark`."""
        with suppress(FileNotFoundError):
            self._system.rm_file(f"{self._root}/{name}{MARK}")

    def read_mark(self, name: str) -> str | None:
        """See `Backend.read_mark`."""
        try:
            return bytes(self._system.cat_file(f"{self._root}/{name}{MARK}")).decode("ascii")
        except FileNotFoundError:
            return None

    def array_files(self) -> list[str]:
        """See `Backend.array_files`."""
        return self._names(f"{self._root}/{ARRAYS}")

    def read_array_file(self, name: str, limit: int) -> bytes:
        """See `Backend.read_array_file`."""
        return self._read_file(f"{self._root}/{ARRAYS}/{name}", limit)

    def read_array_head(self, name: str, size: int) -> bytes:
        """See `Backend.read_array_head`."""
        path = f"{self._root}/{ARRAYS}/{name}"
        try:
            return bytes(self._system.cat_file(path, start=0, end=size))
        except FileNotFoundError:
            raise AdapterRefused("missing", f"{path} does not exist, or was removed meanwhile") from None

    def write_array_file(self, name: str, raw: bytes, verify: VerifyArrays, checkpoint: Checkpoint) -> None:
        """See `Backend.write_array_file`: checked once it is there, which no record names yet."""
        checkpoint("arrays.written")
        # A write that returned is durable in an object store: no sync is needed.
        checkpoint("arrays.synced")
        self._system.makedirs(f"{self._root}/{ARRAYS}", exist_ok=True)
        self._system.pipe_file(f"{self._root}/{ARRAYS}/{name}", raw)
        verify(self.read_array_file(name, len(raw)))
        checkpoint("arrays.verified")
        checkpoint("arrays.renamed")

    def remove_array_file(self, name: str) -> None:
        """See `Backend.remove_array_file`."""
        self._system.rm_file(f"{self._root}/{ARRAYS}/{name}")

    def _names(self, path: str) -> list[str]:
        try:
            listing = self._system.ls(path, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(str(each).rstrip("/").rsplit("/", 1)[-1] for each in listing)

    def _read_file(self, path: str, limit: int) -> bytes:
        try:
            size = int(self._system.size(path))
            if size > limit:
                raise AdapterRefused("oversize", f"{path} has {size:,} bytes, over the limit of {limit:,}")
            return bytes(self._system.cat_file(path))
        except FileNotFoundError:
            raise AdapterRefused("missing", f"{path} does not exist, or was removed meanwhile") from None
