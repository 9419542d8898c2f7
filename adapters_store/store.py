"""The adapters store: complete, immutable versions of region adapters under one root.

    publish ──► a version is there whole, verified and durable, or not at all
    load ─────► a version that passed every check, or AdapterRefused with the reason
    prune ────► what nobody needs goes; its name stays spent

Which version of a region is live is not known here: that is the log's to say.
"""

import errno
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import ValidationError

from adapters_store.backend import TEMPORARY, Checkpoint, Files
from adapters_store.errors import AdapterRefused, StoreError
from adapters_store.local import LocalFiles
from adapters_store.manifest import (
    CONFIG,
    FORMAT,
    MANIFEST,
    WEIGHTS,
    Manifest,
    Validation,
    canonical_json,
    file_entry,
    parse_version_name,
    version_name,
)
from adapters_store.object_store import ObjectFiles
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
        checkpoint: is told of the steps of a publication: `adapter.written`, `adapter.synced`,
            `adapter.verified`, `adapter.renamed`. Fault tests end the process there.

    Raises:
        StoreError: here and in every method, if the root cannot be read or written.
    """

    def __init__(self, root: str | Path, *, checkpoint: Checkpoint = _no_checkpoint) -> None:
        self._files = _open_files(root)
        self._checkpoint = checkpoint
        self.root = self._files.root

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
        """Publish a version; doing so again with the same content changes nothing.

        Args:
            region_id: the region it is for, 0..9999.
            version: n-th adapter of the region, 0..9999.
            tensors: weights by name, floating point and finite.
            config: the adapter's configuration, as JSON can hold it.
            backbone_sha256: of the backbone it was trained on.
            edit_id: the edit that made it.
            parent: name of the version it was trained from, or None.
            rank: of the low-rank matrices.
            targets: names of the adapted modules; kept sorted.
            seed: of its training.
            before: metrics of the incumbent on held-out windows.
            after: the same of this version.

        Returns:
            Its manifest.

        Raises:
            StoreError: if other bytes stand or stood under this name, or the disk is full; nothing changed.
            AdapterRefused: `not_finite`, `bad_dtype`, `bad_weights`.
        """
        name = version_name(region_id, version)
        with self._explained(name):
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
        """Return a version after checking all there is to check.

        Raises:
            AdapterRefused: with reason `bad_name`, `missing`, `unsafe_path`, `unexpected_file`, `oversize`, or
                one of `integrity.check_version`.
        """
        return self._load(name, backbone_sha256)

    def verify(self, name: str) -> Manifest:
        """Check a version as `load` does, but for its backbone; return its manifest."""
        return self._load(name, None).manifest

    def show(self, name: str) -> Manifest:
        """Return the manifest of a version, without reading its weights; raises where the manifest is damaged."""
        parse_version_name(name)
        with self._explained(name):
            return check_manifest(name, self._files.read(name, [MANIFEST])[MANIFEST])

    def uri(self, name: str) -> str:
        """Return where a version lies, for the log to record."""
        parse_version_name(name)
        return f"{self.root}/{name}"

    def names(self, region_id: int | None = None) -> Names:
        """Return the names of all versions, sound or not, sorted."""
        with self._explained():
            return [
                entry
                for entry in self._files.entries()
                if _is_version(entry, region_id) and self._files.published(entry)
            ]

    def prune(self, keep: Collection[str]) -> Names:
        """Remove the versions that are not in `keep`, and what unfinished publications left behind.

        A publication in progress on this machine is left alone (in an object store it cannot be seen: see
        `object_files`). A removed version leaves a mark of a few bytes: only the same content may ever be
        published under its name again.

        Returns:
            The names of the entries removed, sorted.

        Raises:
            AdapterRefused: `bad_name`, if a name in `keep` is none; nothing is removed.
        """
        kept = {version_name(*parse_version_name(name)) for name in keep}
        with self._explained():
            doomed = [
                entry
                for entry in self._files.entries()
                if entry.startswith(TEMPORARY) or (_is_version(entry) and entry not in kept)
            ]
        return [entry for entry in doomed if self._remove(entry)]

    def remove(self, doomed: Collection[str]) -> Names:
        """Remove these versions and no others, and what unfinished publications left behind; see `prune`.

        Returns:
            The names of the entries removed, sorted.

        Raises:
            AdapterRefused: `bad_name`, if one of the names is none; nothing is removed.
        """
        named = {version_name(*parse_version_name(name)) for name in doomed}
        with self._explained():
            entries = [entry for entry in self._files.entries() if entry.startswith(TEMPORARY) or entry in named]
        return [entry for entry in entries if self._remove(entry)]

    def list(self, region_id: int | None = None) -> Manifests:
        """Return the manifests of all versions (of one region), by name; raises as `show` does."""
        return [self.show(name) for name in self.names(region_id)]

    def _publish(self, name: str, manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
        if self._files.published(name):
            return self._same(name, manifest)
        if self._files.read_mark(name) not in (None, manifest.checksum):
            raise StoreError("other content stood under this name before it was pruned: take the next version")
        try:
            self._files.publish(name, files, lambda found: check_version(name, found, None), self._checkpoint)
        except FileExistsError:
            return self._same(name, manifest)
        return manifest

    def _same(self, name: str, manifest: Manifest) -> Manifest:
        if self.verify(name).checksum != manifest.checksum:
            raise StoreError("it is already published with other content, and versions never change: take the next")
        return manifest

    def _load(self, name: str, backbone_sha256: str | None) -> LoadedAdapter:
        parse_version_name(name)
        with self._explained(name):
            return check_version(name, self._files.read(name), backbone_sha256)

    def _remove(self, entry: str) -> bool:
        with self._explained(entry):
            try:
                if _is_version(entry) and self._files.published(entry):
                    self._files.mark(entry, self._checksum(entry))
                return self._files.remove(entry)
            except FileNotFoundError:
                # Another prune was faster.
                return False

    def _checksum(self, name: str) -> str:
        try:
            return self.show(name).checksum
        except AdapterRefused:
            # What it once was cannot be told any more: its name is spent for every content.
            return ""

    @contextmanager
    def _explained(self, entry: str = "") -> Iterator[None]:
        place = _place(self.root, entry)
        try:
            yield
        except AdapterRefused as refusal:
            if place in str(refusal):
                raise
            detail = str(refusal).removeprefix(f"{refusal.reason}: ")
            raise AdapterRefused(refusal.reason, f"{place}: {detail}") from refusal
        except StoreError as error:
            if place in str(error):
                raise
            raise StoreError(f"{place}: {error}") from error
        except ValidationError as error:
            raise StoreError(f"{place}: the manifest would be invalid: {error}") from error
        except OSError as error:
            advice = "free space" if error.errno == errno.ENOSPC else "check the disk and the permissions"
            raise StoreError(f"{place}: {error}; {advice}, then try again; nothing half-done is visible") from error


def _is_version(entry: str, region_id: int | None = None) -> bool:
    try:
        found, _ = parse_version_name(entry)
    except AdapterRefused:
        return False
    return region_id in (None, found)


def _place(root: str, entry: str) -> str:
    if not _is_version(entry):
        return f"{root}/{entry}".rstrip("/")
    region_id, version = parse_version_name(entry)
    return f"region {region_id}, version {version} ({root}/{entry})"


def _open_files(root: str | Path) -> Files:
    try:
        if isinstance(root, Path) or "://" not in root:
            return LocalFiles(Path(root).expanduser())
        system, path = fsspec.url_to_fs(root)
        return LocalFiles(Path(path)) if isinstance(system, LocalFileSystem) else ObjectFiles(system, path, root)
    except (ImportError, ValueError, OSError) as error:
        raise StoreError(f"the adapters store cannot use {root}: {error}") from error
