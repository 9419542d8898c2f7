"""Where versions lie: folders of a local disk, or keys of an object store.

Either way a version is published at once: on a disk by renaming a finished folder, in an object store by
writing its manifest last. And either way a reader gets the bytes of exactly the expected files, or a refusal.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from adapters_store.manifest import CONFIG, MANIFEST, WEIGHTS

FILES = (WEIGHTS, CONFIG, MANIFEST)
"""The files of a version, in order of writing: the manifest comes last."""

TEMPORARY = ".tmp-"
"""Begins the name of what is being filled or removed."""

MARK = ".pruned"
"""Ends the name of the mark that a removed version leaves: its name is spent, and must not come to mean
other bytes. The mark holds the checksum of its manifest."""

MAX_MANIFEST_BYTES = 1_000_000
MAX_WEIGHTS_BYTES = 1_000_000_000
"""Beyond these a file is refused unread."""

LIMITS = {WEIGHTS: MAX_WEIGHTS_BYTES, CONFIG: MAX_MANIFEST_BYTES, MANIFEST: MAX_MANIFEST_BYTES}

Checkpoint = Callable[[str], None]
"""Is told of each step of a publication; a fault test ends the process there."""

Verify = Callable[[Mapping[str, bytes]], object]
"""Raises unless the files read back make a valid version."""


class Files(Protocol):
    """What the store needs of a place. Errors are `OSError`, or `AdapterRefused` where content is at fault."""

    root: str

    def entries(self) -> list[str]:
        """Return the names of everything directly under the root."""

    def published(self, name: str) -> bool:
        """Tell whether this entry of the root is a version, sound or not, rather than an unfinished one."""

    def read(self, name: str, wanted: Sequence[str] = FILES) -> dict[str, bytes]:
        """Return the content of the wanted files of a version, whose name was checked.

        Raises:
            AdapterRefused: `missing`, `unsafe_path`, `unexpected_file`, `oversize`.
        """

    def publish(self, name: str, files: Mapping[str, bytes], verify: Verify, checkpoint: Checkpoint) -> None:
        """Write a version, visible whole or not at all.

        Raises:
            FileExistsError: if the name is taken.
        """

    def remove(self, entry: str) -> bool:
        """Remove an entry of the root; return False if someone is at work in it."""

    def mark(self, name: str, content: str) -> None:
        """Write the mark of a version about to be removed; `content` is ASCII."""

    def read_mark(self, name: str) -> str | None:
        """Return the mark of a removed version, or None."""
