"""The adapters store: complete, immutable versions of region adapters under one root, and array files beside them.

    publish ──► writes a version: complete, verified and durable, or not at all
    load ─────► returns a version that passed every check, or raises AdapterRefused with the reason
    mark ─────► announces that versions will be removed: none of them can be put in force any more
    remove ───► removes them; their names stay reserved

The store does not record which version of a region is live; the topic `regions` does.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from adapters_store.array_files import ArrayFiles
from adapters_store.backends.interface import MARK, TEMPORARY, Backend, Checkpoint
from adapters_store.backends.local import LocalBackend
from adapters_store.backends.object_store import ObjectStoreBackend
from adapters_store.error_context import error_context
from adapters_store.errors import AdapterRefused, NameTaken, StoreError
from adapters_store.manifest import (
    CONFIG,
    FORMAT,
    MANIFEST,
    WEIGHTS,
    Manifest,
    Validation,
    canonical_json,
    file_entry,
    is_version_name,
    parse_version_name,
    version_name,
)
from adapters_store.verification import Array, LoadedAdapter, check_manifest, check_version, write_tensors

# `list` is a method below, and its name hides the type inside the class.
Names = list[str]
Manifests = list[Manifest]


def _no_checkpoint(_: str) -> None:
    """Do nothing at the steps of a publication."""


class AdaptersStore:
    """Versions of adapters under a root. Processes and threads may share the root.

    Args:
        root: a folder (created if missing), or any fsspec URL (`file:///x`, `s3://bucket/x`).
        checkpoint: called at the steps of a publication: `adapter.written`, `adapter.synced`, `adapter.verified`,
            `adapter.renamed`, and of writing an array file. Fault tests end the process there.

    Attributes:
        root: as given, resolved.
        arrays: files of arrays that are too large for a record of the log.

    Raises:
        StoreError: here and in every method, if the root cannot be read or written.
    """

    def __init__(self, root: str | Path, *, checkpoint: Checkpoint = _no_checkpoint) -> None:
        self._backend = _open_backend(root)
        self._checkpoint = checkpoint
        self.root = self._backend.root
        self.arrays = ArrayFiles(self._backend, checkpoint)

    def publish(
        self,
        region_id: int,
        version: int,
        tensors: Mapping[str, Array],
        config: Mapping[str, object],
        *,
        backbone_sha256: str,
        edit_id: str,
        parent: str | None,
        rank: int,
        targets: Sequence[str],
        seed: int,
        before: Mapping[str, float],
        after: Mapping[str, float],
    ) -> Manifest:
        """Publish a version; publishing the same content again changes nothing.

        Args:
            region_id: region of the adapter, 0..9999.
            version: n-th adapter of the region, 0..9999.
            tensors: weights by name, floating point and finite.
            config: the adapter's configuration; its values must have a JSON form.
            backbone_sha256: hash of the backbone that it was trained on.
            edit_id: edit that produced it.
            parent: name of the version it was trained from, or None.
            rank: rank of the low-rank matrices.
            targets: names of the adapted modules; stored sorted.
            seed: seed of its training.
            before: metrics of the incumbent on held-out windows.
            after: metrics of this version on them.

        Returns:
            Its manifest.

        Raises:
            NameTaken: the name has or had other content; nothing changed.
            StoreError: the disk is full; nothing changed.
            AdapterRefused: `not_finite`, `bad_dtype`, `bad_weights`.
        """
        name = version_name(region_id, version)
        with error_context(self.root, name):
            files = {WEIGHTS: write_tensors(tensors), CONFIG: canonical_json(config)}
            manifest = Manifest(
                format_version=FORMAT,
                region_id=region_id,
                version=version,
                backbone_sha256=backbone_sha256,
                edit_id=edit_id,
                parent=parent,
                rank=rank,
                targets=tuple(sorted(targets)),
                seed=seed,
                validation=Validation(before=dict(before), after=dict(after)),
                files={file: file_entry(raw) for file, raw in files.items()},
            )
            return self._publish(name, manifest, {**files, MANIFEST: manifest.to_bytes()})

    def load(self, name: str, *, backbone_sha256: str) -> LoadedAdapter:
        """Return a version that passed every check.

        Raises:
            AdapterRefused: with reason `bad_name`, `missing`, `unsafe_path`, `unexpected_file`, `oversize`, or
                one of `verification.check_version`.
        """
        return self._load(name, backbone_sha256)

    def verify(self, name: str) -> Manifest:
        """Check a version as `load` does, without the check of its backbone; return its manifest."""
        return self._load(name, None).manifest

    def show(self, name: str) -> Manifest:
        """Return the manifest of a version, without reading its weights; raises where the manifest is damaged."""
        parse_version_name(name)
        with error_context(self.root, name):
            return check_manifest(name, self._backend.read(name, [MANIFEST])[MANIFEST])

    def has_weights(self, name: str, tensors: Mapping[str, Array]) -> bool:
        """Return whether a version holds these weights, byte for byte; False for one that is gone or damaged."""
        try:
            return self.show(name).sha256 == file_entry(write_tensors(tensors)).sha256
        except AdapterRefused:
            return False

    def names(self, region_id: int | None = None) -> Names:
        """Return the names of all versions, valid or not, sorted."""
        with error_context(self.root):
            return [
                entry
                for entry in self._backend.entries()
                if is_version_name(entry, region_id) and self._backend.published(entry)
            ]

    def mark(self, doomed: Collection[str]) -> None:
        """Mark versions for removal: from now on `check_available` refuses them, and `load` does not yet.

        Raises:
            AdapterRefused: `bad_name`.
        """
        for name in doomed:
            parse_version_name(name)
            with error_context(self.root, name):
                self._backend.mark(name, self._checksum(name))

    def marked(self) -> Names:
        """Return the names of the versions that are marked and still there, sorted."""
        with error_context(self.root):
            entries = set(self._backend.entries())
        return [name for name in self.names() if f"{name}{MARK}" in entries]

    def unmark(self, spared: Collection[str]) -> None:
        """Remove the marks of these versions, which stay."""
        for name in spared:
            parse_version_name(name)
            with error_context(self.root, name):
                self._backend.unmark(name)

    def reserve(self, names: Collection[str]) -> None:
        """Let nothing be published under these names, as if they had been versions that were removed.

        Raises:
            AdapterRefused: `bad_name`.
        """
        for name in names:
            parse_version_name(name)
            with error_context(self.root, name):
                self._backend.mark(name, "")

    def check_available(self, name: str) -> None:
        """Check that a version may be put in force: it is undamaged, and not about to be removed.

        Raises:
            AdapterRefused: `pruned` for a marked one, else as `verify` does.
        """
        self.verify(name)
        with error_context(self.root, name):
            if self._backend.read_mark(name) is not None:
                raise AdapterRefused("pruned", "it is about to be removed, as `retention` in the configuration says")

    def remove(self, doomed: Collection[str]) -> Names:
        """Remove these versions and no others, and the remains of unfinished publications.

        A publication in progress on this machine is left alone (in an object store it cannot be detected: see
        `object_store`). A removed version leaves a mark of a few bytes: only the same content can be published under
        its name again.

        Returns:
            The names of the entries removed, sorted.

        Raises:
            AdapterRefused: `bad_name`, if one of the names is invalid; nothing is removed.
        """
        named = {version_name(*parse_version_name(name)) for name in doomed}
        with error_context(self.root):
            entries = [entry for entry in self._backend.entries() if entry.startswith(TEMPORARY) or entry in named]
        return [entry for entry in entries if self._remove(entry)]

    def list(self, region_id: int | None = None) -> Manifests:
        """Return the manifests of all versions (of one region), by name; raises as `show` does."""
        return [self.show(name) for name in self.names(region_id)]

    def _publish(self, name: str, manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
        if self._backend.published(name):
            return self._same(name, manifest)
        if self._backend.read_mark(name) not in (None, manifest.checksum):
            raise NameTaken("a pruned version with other content had this name: take the next version")
        try:
            self._backend.publish(name, files, lambda found: check_version(name, found, None), self._checkpoint)
        except FileExistsError:
            return self._same(name, manifest)
        return manifest

    def _same(self, name: str, manifest: Manifest) -> Manifest:
        if self.verify(name).checksum != manifest.checksum:
            raise NameTaken("it is already published with other content, and versions never change: take the next")
        return manifest

    def _load(self, name: str, backbone_sha256: str | None) -> LoadedAdapter:
        parse_version_name(name)
        with error_context(self.root, name):
            return check_version(name, self._backend.read(name), backbone_sha256)

    def _remove(self, entry: str) -> bool:
        with error_context(self.root, entry):
            try:
                if is_version_name(entry) and self._backend.published(entry):
                    self._backend.mark(entry, self._checksum(entry))
                return self._backend.remove(entry)
            except FileNotFoundError:
                # Another process removed it first.
                return False

    def _checksum(self, name: str) -> str:
        try:
            return self.show(name).checksum
        except AdapterRefused:
            # Its content cannot be determined any more: no content may be published under its name.
            return ""


def _open_backend(root: str | Path) -> Backend:
    try:
        if isinstance(root, Path) or "://" not in root:
            return LocalBackend(Path(root).expanduser())
        system, path = fsspec.url_to_fs(root)
        return (
            LocalBackend(Path(path)) if isinstance(system, LocalFileSystem) else ObjectStoreBackend(system, path, root)
        )
    except (ImportError, ValueError, OSError) as error:
        raise StoreError(f"the adapters store cannot use {root}: {error}") from error
