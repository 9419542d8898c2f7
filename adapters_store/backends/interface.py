"""Interface of a storage backend: folders of a local disk, or keys of an object store.

A version is published atomically: on a disk by renaming a finished folder, in an object store by writing its manifest
last. A read returns the bytes of exactly the expected files, or raises. An array file is written atomically, too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from adapters_store.manifest import CONFIG, MANIFEST, WEIGHTS

FILES = (WEIGHTS, CONFIG, MANIFEST)
"""Files of a version, in order of writing: the manifest is the last."""

TEMPORARY = ".tmp-"
"""Prefix of folders that are being filled or removed."""

MARK = ".pruned"
"""Suffix of the mark of a removed version: its name must not be used for other content.

The mark holds the checksum of the version's manifest."""

MAX_MANIFEST_BYTES = 1_000_000
MAX_WEIGHTS_BYTES = 1_000_000_000
"""Maximum size of a file; a larger one is refused unread."""

LIMITS = {WEIGHTS: MAX_WEIGHTS_BYTES, CONFIG: MAX_MANIFEST_BYTES, MANIFEST: MAX_MANIFEST_BYTES}

ARRAYS = "arrays"
"""Folder of the root that holds the array files."""

Checkpoint = Callable[[str], None]
"""Called with the name of each step of a publication; fault tests end the process there."""

Verify = Callable[[Mapping[str, bytes]], object]
"""Called with the files read back; raises unless they form a valid version."""


VerifyArrays = Callable[[bytes], object]
"""Called with an array file as it was read back; raises unless it is the one that was written."""


class Backend(Protocol):
    """Storage of versions under one root.

    Its methods raise `OSError`, or `AdapterRefused` for faulty content.
    """

    root: str

    def entries(self) -> list[str]:
        """Return the names of all entries directly under the root."""

    def published(self, name: str) -> bool:
        """Return True if this entry of the root is a complete version, valid or not; False if it is unfinished."""

    def read(self, name: str, wanted: Sequence[str] = FILES) -> dict[str, bytes]:
        """Return the content of these files of a version; `name` must be a valid version name.

        Raises:
            AdapterRefused: `missing`, `unsafe_path`, `unexpected_file`, `oversize`.
        """

    def publish(self, name: str, files: Mapping[str, bytes], verify: Verify, checkpoint: Checkpoint) -> None:
        """Write a version atomically.

        Raises:
            FileExistsError: if the name is taken.
        """

    def remove(self, entry: str) -> bool:
        """Remove an entry of the root; return False if a publication in progress has locked it."""

    def mark(self, name: str, content: str) -> None:
        """Write the mark of a version before its removal; `content` is ASCII."""

    def unmark(self, name: str) -> None:
        """Remove the mark of a version, if it has one."""

    def read_mark(self, name: str) -> str | None:
        """Return the mark of a removed version, or None."""

    def array_files(self) -> list[str]:
        """Return the names of all entries of the folder of array files."""

    def read_array_file(self, name: str, limit: int) -> bytes:
        """Return the content of an array file; a longer one than `limit` bytes is refused unread.

        Raises:
            AdapterRefused: `missing`, `unsafe_path`, `oversize`.
        """

    def read_array_head(self, name: str, size: int) -> bytes:
        """Return the first bytes of an array file, at most `size` of them.

        Raises:
            AdapterRefused: `missing`, `unsafe_path`.
        """

    def write_array_file(self, name: str, raw: bytes, verify: VerifyArrays, checkpoint: Checkpoint) -> None:
        """Write an array file atomically; it replaces one of the same name."""

    def remove_array_file(self, name: str) -> None:
        """Remove an array file."""
