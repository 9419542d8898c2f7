"""Stores on a local path, a file URL and an object store in memory."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from adapters_store import AdaptersStore
from tests.adapters_store.small_adapter import NAME, fields


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "adapters"


@pytest.fixture
def local(root: Path) -> AdaptersStore:
    return AdaptersStore(root)


@pytest.fixture
def published(local: AdaptersStore, root: Path) -> Path:
    """The folder of a sound version."""
    local.publish(**fields())
    return root / NAME


@pytest.fixture(params=["path", "file", "memory"])
def url(request: pytest.FixtureRequest, root: Path) -> Iterator[str]:
    if request.param == "memory":
        yield (url := f"memory://{secrets.token_hex(6)}/adapters")
        system, path = fsspec.url_to_fs(url)
        if system.exists(path):
            system.rm(path, recursive=True)
    else:
        yield str(root) if request.param == "path" else root.as_uri()


@pytest.fixture
def store(url: str) -> AdaptersStore:
    return AdaptersStore(url)
