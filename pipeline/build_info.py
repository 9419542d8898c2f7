"""Versions of what a run depends on."""

import platform
from importlib.metadata import PackageNotFoundError, version

PROGRAM = "raie-stream"
PACKAGES = (PROGRAM, "numpy", "peft", "safetensors", "scipy", "torch", "transformers")
"""What can change a figure."""


def version_of(package: str) -> str:
    """Version of an installed package; a checkout that was not installed says so."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def versions() -> dict[str, str]:
    """Version of Python and of every package that can change a figure."""
    return {"python": platform.python_version(), **{package: version_of(package) for package in PACKAGES}}
