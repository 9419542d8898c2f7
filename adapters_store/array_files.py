"""Array files: arrays of a record of the log that are too large for it, named by their content.

The record has the hash and size of its file. The file is complete before the record is written, and never changes, so a
reader finds exactly what was written, or an error that names the file. A process that dies between the two leaves a
file that no record names; doing the same again writes the same file.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from adapters_store.backends.interface import ARRAYS, Backend, Checkpoint
from adapters_store.error_context import error_context
from adapters_store.errors import AdapterRefused

Arrays = Mapping[str, NDArray[Any]]

HEAD_BYTES = 65_536
"""Bytes of a file that hold its header, which is far shorter."""

MAX_BYTES = 1_000_000_000
"""Maximum size of an array file; a larger one is refused unread."""

_SUFFIX = ".safetensors"
_SHA256 = re.compile("[0-9a-f]{64}")
_MADE_BY = "made_by"
"""Metadata of a file: one entry, as several have no fixed order in the header."""


@dataclass(frozen=True)
class ArrayFile:
    """Reference to an array file.

    Attributes:
        sha256: of the file, in hexadecimal digits; the file is named by it.
        bytes: size of the file.
    """

    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        if not isinstance(self.sha256, str) or not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{str(self.sha256)[:80]!r} is no sha256 of an array file")
        if not isinstance(self.bytes, int) or not 0 < self.bytes <= MAX_BYTES:
            raise ValueError(f"an array file cannot have {str(self.bytes)[:20]} bytes")


class ArrayFiles:
    """The array files of a store, in the folder `arrays` under its root. Processes and threads may share it.

    Args:
        backend: of the store.
        checkpoint: called at the steps of writing: `arrays.written`, `arrays.synced`, `arrays.verified`,
            `arrays.renamed`. Fault tests end the process there.

    Raises:
        StoreError: in every method, if the root cannot be read or written.
    """

    def __init__(self, backend: Backend, checkpoint: Checkpoint) -> None:
        self._backend, self._checkpoint = backend, checkpoint

    def write(self, arrays: Arrays, made_by: str | None) -> ArrayFile:
        """Write arrays; equal ones of the same origin give the same file, which is then as good as new.

        Args:
            arrays: by name, at least one; numbers are finite.
            made_by: origin of the arrays, for whoever removes files that no record names; None for no such origin.

        Raises:
            StoreError: the disk is full; nothing changed.
            AdapterRefused: `not_finite`.
        """
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise AdapterRefused("not_finite", f"array {name} has NaN or infinite values")
        ordered = {name: np.array(array, order="C") for name, array in arrays.items()}
        raw = safetensors.numpy.save(ordered, None if made_by is None else {_MADE_BY: made_by})
        file = ArrayFile(hashlib.sha256(raw).hexdigest(), len(raw))
        with self._naming(file.sha256):
            self._backend.write_array_file(
                file.sha256 + _SUFFIX, raw, lambda found: _check(found, file), self._checkpoint
            )
        return file

    def read(self, file: ArrayFile) -> dict[str, NDArray[Any]]:
        """Return the arrays of a file.

        Raises:
            AdapterRefused: `missing`, `unsafe_path`, `oversize`, `wrong_size`, `hash_mismatch`, `bad_arrays`; the
                message names the file.
        """
        with self._naming(file.sha256):
            try:
                raw = self._backend.read_array_file(file.sha256 + _SUFFIX, file.bytes)
                _check(raw, file)
                return safetensors.numpy.load(raw)
            except (SafetensorError, ValueError, KeyError, TypeError) as error:
                raise AdapterRefused("bad_arrays", f"it is no safetensors file ({error}); {_REPAIR}") from error
            except AdapterRefused as refusal:
                detail = str(refusal).removeprefix(f"{refusal.reason}: ")
                raise AdapterRefused(refusal.reason, f"{detail}; {_REPAIR}") from refusal

    def names(self) -> list[str]:
        """Return the hashes of all array files, damaged ones included, sorted."""
        with error_context(self._backend.root, ARRAYS):
            entries = self._backend.array_files()
        return [entry.removesuffix(_SUFFIX) for entry in entries if _is_name(entry)]

    def made_by(self, sha256: str) -> str | None:
        """Return the origin of a file; None where it has none, and where it is damaged or gone."""
        with self._naming(sha256):
            try:
                return _origin_in(self._backend.read_array_head(sha256 + _SUFFIX, HEAD_BYTES))
            except AdapterRefused:
                return None

    def remove(self, doomed: Collection[str]) -> list[str]:
        """Remove the files of these hashes, and no others.

        Returns:
            The hashes of the files removed, sorted.

        Raises:
            ValueError: one of them is no hash; nothing is removed.
        """
        if not all(_SHA256.fullmatch(sha256) for sha256 in doomed):
            raise ValueError("only array files are removed, by their sha256")
        return [sha256 for sha256 in sorted(doomed) if self._remove(sha256)]

    def _remove(self, sha256: str) -> bool:
        with self._naming(sha256):
            try:
                self._backend.remove_array_file(sha256 + _SUFFIX)
            except FileNotFoundError:
                # Another process removed it first.
                return False
        return True

    def _naming(self, sha256: str) -> AbstractContextManager[None]:
        """Context in which every error names a file."""
        return error_context(self._backend.root, f"{ARRAYS}/{sha256}{_SUFFIX}")


_REPAIR = "restore the file from a backup of the store"


def _is_name(entry: str) -> bool:
    return entry.endswith(_SUFFIX) and bool(_SHA256.fullmatch(entry.removesuffix(_SUFFIX)))


def _check(raw: bytes, file: ArrayFile) -> None:
    if len(raw) != file.bytes:
        raise AdapterRefused("wrong_size", f"it has {len(raw):,} bytes, not {file.bytes:,}, so it is torn")
    if hashlib.sha256(raw).hexdigest() != file.sha256:
        raise AdapterRefused("hash_mismatch", "its content is not that of its name, so it is corrupt")


def _origin_in(raw: bytes) -> str | None:
    """Origin in the header of a safetensors file: its length in 8 bytes, then JSON."""
    try:
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        made_by = header["__metadata__"][_MADE_BY]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return made_by if isinstance(made_by, str) else None
