"""Complete, immutable, verified versions of region adapters."""

from adapters_store.errors import AdapterRefused, StoreError
from adapters_store.manifest import FileEntry, Manifest, Validation, parse_version_name, version_name
from adapters_store.store import AdaptersStore
from adapters_store.verification import LoadedAdapter

__all__ = [
    "AdapterRefused",
    "AdaptersStore",
    "FileEntry",
    "LoadedAdapter",
    "Manifest",
    "StoreError",
    "Validation",
    "parse_version_name",
    "version_name",
]
