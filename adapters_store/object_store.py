"""Versions as keys of an object store, through fsspec.

There is no rename there, so the manifest is the publication: a version without one is not there. It is
written last, after the other files were read back. There are no locks either: an unfinished version cannot be
told from one being written, so `prune` must not run there while something publishes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from adapters_store.backend import FILES, LIMITS, MARK, Checkpoint, Verify
from adapters_store.errors import AdapterRefused
from adapters_store.manifest import MANIFEST


class ObjectFiles:
    """`Files` in an fsspec file system.

    Args:
        system: an `fsspec.AbstractFileSystem`.
        root: path in it.
        url: how to name the place to a person.
    """

    def __init__(self, system: Any, root: str, url: str) -> None:
        self.root = url
        self._system = system
        self._root = root.rstrip("/")

    def entries(self) -> list[str]:
        """See `Files.entries`."""
        return self._names(self._root)

    def published(self, name: str) -> bool:
        """See `Files.published`: here the manifest, written last, makes the version."""
        return MANIFEST in self._names(f"{self._root}/{name}")

    def read(self, name: str, wanted: Sequence[str] = FILES) -> dict[str, bytes]:
        """See `Files.read`."""
        folder = f"{self._root}/{name}"
        found = self._names(folder)
        if MANIFEST not in found:
            raise AdapterRefused("missing", "there is no such version: it was never published here, or was pruned")
        if extra := sorted(set(found) - set(FILES)):
            raise AdapterRefused("unexpected_file", f"{extra[0]!r} does not belong here: remove the version")
        return {file: self._read_file(f"{folder}/{file}", LIMITS[file]) for file in wanted}

    def publish(self, name: str, files: Mapping[str, bytes], verify: Verify, checkpoint: Checkpoint) -> None:
        """See `Files.publish`."""
        folder = f"{self._root}/{name}"
        if self.published(name):
            raise FileExistsError(name)
        self._system.makedirs(folder, exist_ok=True)
        for file in FILES[:-1]:
            self._system.pipe_file(f"{folder}/{file}", files[file])
        checkpoint("adapter.written")
        # A write that returned is durable in an object store: there is nothing to sync.
        checkpoint("adapter.synced")
        read_back = {file: self._read_file(f"{folder}/{file}", LIMITS[file]) for file in FILES[:-1]}
        verify({**read_back, MANIFEST: files[MANIFEST]})
        checkpoint("adapter.verified")
        self._system.pipe_file(f"{folder}/{MANIFEST}", files[MANIFEST])
        checkpoint("adapter.renamed")

    def remove(self, entry: str) -> bool:
        """See `Files.remove`."""
        path = f"{self._root}/{entry}"
        # The manifest first: without it the version is gone, whatever becomes of the rest.
        if self.published(entry):
            self._system.rm_file(f"{path}/{MANIFEST}")
        self._system.rm(path, recursive=True)
        return True

    def mark(self, name: str, content: str) -> None:
        """See `Files.mark`."""
        self._system.pipe_file(f"{self._root}/{name}{MARK}", content.encode("ascii"))

    def read_mark(self, name: str) -> str | None:
        """See `Files.read_mark`."""
        try:
            return bytes(self._system.cat_file(f"{self._root}/{name}{MARK}")).decode("ascii")
        except FileNotFoundError:
            return None

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
            raise AdapterRefused("missing", f"{path} is not there: the version is incomplete") from None
