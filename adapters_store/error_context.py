"""Context of the store's errors: region, version, path and advice."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from adapters_store.errors import AdapterRefused, StoreError
from adapters_store.manifest import is_version_name, parse_version_name


@contextmanager
def error_context(root: str, entry: str = "") -> Iterator[None]:
    """Turn every error of the block into one that names the location.

    Args:
        root: root of the store.
        entry: entry of the root that the block works on; "" for the root itself.

    Raises:
        AdapterRefused: for one of the block, with its reason.
        StoreError: for any other error of the store, the manifest or the file system.
    """
    location = _location(root, entry)
    try:
        yield
    except AdapterRefused as refusal:
        if location in str(refusal):
            raise
        detail = str(refusal).removeprefix(f"{refusal.reason}: ")
        raise AdapterRefused(refusal.reason, f"{location}: {detail}") from refusal
    except StoreError as error:
        if location in str(error):
            raise
        raise type(error)(f"{location}: {error}") from error
    except ValidationError as error:
        raise StoreError(f"{location}: the manifest would be invalid: {error}") from error
    except OSError as error:
        advice = "free space" if error.errno == errno.ENOSPC else "check the disk and the permissions"
        raise StoreError(f"{location}: {error}; {advice}, then try again; nothing half-done is visible") from error


def _location(root: str, entry: str) -> str:
    if not is_version_name(entry):
        return f"{root}/{entry}".rstrip("/")
    region_id, version = parse_version_name(entry)
    return f"region {region_id}, version {version} ({root}/{entry})"
