"""Versions of Python and of the packages that a run depends on."""

import platform
from importlib.metadata import PackageNotFoundError, version

PROGRAM = "raie-stream"
PACKAGES = (PROGRAM, "numpy", "peft", "safetensors", "scipy", "torch", "transformers")
"""Packages whose version can change a result."""


def version_of(package: str) -> str:
    """Return the version of an installed package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that can change a result."""
    return {"python": platform.python_version(), **{package: version_of(package) for package in PACKAGES}}
