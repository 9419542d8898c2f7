"""Files of weights: where an installed package has them, and their sha256."""

import hashlib
from importlib.util import find_spec
from pathlib import Path


def package_folder(name: str) -> Path | None:
    """Folder of an installed package by its import name, None where it is not installed; its code is not imported."""
    found = find_spec(name)
    return None if found is None or found.origin is None else Path(found.origin).parent


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
