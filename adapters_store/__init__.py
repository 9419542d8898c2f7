"""Complete, immutable, verified versions of region adapters, and files of arrays that records of the log name."""

from adapters_store.array_files import ArrayFile, ArrayFiles
from adapters_store.errors import AdapterRefused, StoreError
from adapters_store.manifest import FileEntry, Manifest, Validation, parse_version_name, version_name
from adapters_store.store import AdaptersStore
from adapters_store.verification import LoadedAdapter

__all__ = [
    "AdapterRefused",
    "AdaptersStore",
    "ArrayFile",
    "ArrayFiles",
    "FileEntry",
    "LoadedAdapter",
    "Manifest",
    "StoreError",
    "Validation",
    "parse_version_name",
    "version_name",
]
