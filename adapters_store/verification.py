"""Verification of a version: pure functions that return the content of its files, or raise."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from adapters_store.errors import AdapterRefused
from adapters_store.manifest import (
    CONFIG,
    MANIFEST,
    WEIGHTS,
    Manifest,
    file_entry,
    parse_manifest,
    parse_version_name,
)

Array = NDArray[np.generic]

DTYPES = ("float16", "float32", "float64")
"""Allowed types of weights: floating-point types that numpy and safetensors share."""

_REPAIR = "restore the version from a backup, or roll its region back to another one"


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """A version that passed every check.

    Attributes:
        manifest: its metadata.
        config: the adapter's configuration.
        tensors: its weights by name, finite and of a type in `DTYPES`.
    """

    manifest: Manifest
    config: Mapping[str, object]
    tensors: Mapping[str, Array]


def check_version(name: str, files: Mapping[str, bytes], backbone_sha256: str | None) -> LoadedAdapter:
    """Return the content of a version's files.

    Args:
        name: name of the version.
        files: content by file name: `adapter.safetensors`, `adapter_config.json`, `manifest.json`.
        backbone_sha256: hash of the backbone that it must fit, or None to skip this check.

    Raises:
        AdapterRefused: `bad_manifest`, `wrong_name`, `wrong_size`, `hash_mismatch`, `wrong_backbone`,
            `bad_weights`, `bad_dtype`, `not_finite`, `bad_config`.
    """
    manifest = check_manifest(name, files[MANIFEST])
    for file in (WEIGHTS, CONFIG):
        _check_file(file, files[file], manifest)
    if backbone_sha256 not in (None, manifest.backbone_sha256):
        raise AdapterRefused(
            "wrong_backbone",
            f"it was trained on backbone {manifest.backbone_sha256[:12]}, this one is {str(backbone_sha256)[:12]}: "
            "serve it with its own backbone, or retrain the region",
        )
    return LoadedAdapter(manifest, _config(files[CONFIG]), read_tensors(files[WEIGHTS]))


def check_manifest(name: str, raw: bytes) -> Manifest:
    """Return the manifest of the version `name`.

    Raises:
        AdapterRefused: `bad_manifest` or `wrong_name`.
    """
    manifest = parse_manifest(raw)
    if (manifest.region_id, manifest.version) != parse_version_name(name):
        raise AdapterRefused("wrong_name", f"its manifest is that of {manifest.name}: a version was copied or renamed")
    return manifest


def write_tensors(tensors: Mapping[str, Array]) -> bytes:
    """Return tensors as safetensors; equal tensors give equal bytes.

    Raises:
        AdapterRefused: `bad_dtype` or `not_finite`, or `bad_weights` if there is no tensor.
    """
    _check_tensors(tensors)
    # No metadata: its order in the header is not deterministic.
    return safetensors.numpy.save({name: np.array(tensor, order="C") for name, tensor in tensors.items()})


def read_tensors(raw: bytes) -> dict[str, Array]:
    """Return the tensors of a safetensors file. No other format is read, so no code can run.

    Raises:
        AdapterRefused: `bad_weights`, `bad_dtype` or `not_finite`.
    """
    try:
        tensors = cast("dict[str, Array]", safetensors.numpy.load(raw))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise AdapterRefused("bad_weights", f"{WEIGHTS} is no valid safetensors file ({error}): {_REPAIR}") from error
    _check_tensors(tensors)
    return tensors


def _check_file(file: str, raw: bytes, manifest: Manifest) -> None:
    entry = manifest.files[file]
    if len(raw) != entry.bytes:
        raise AdapterRefused("wrong_size", f"{file} has {len(raw)} bytes, not {entry.bytes}, so it is torn: {_REPAIR}")
    if file_entry(raw) != entry:
        raise AdapterRefused("hash_mismatch", f"{file} does not match its manifest, so it is corrupt: {_REPAIR}")


def _check_tensors(tensors: Mapping[str, Array]) -> None:
    if not tensors:
        raise AdapterRefused("bad_weights", "it has no tensor")
    for name, tensor in tensors.items():
        if tensor.dtype.name not in DTYPES:
            raise AdapterRefused("bad_dtype", f"tensor {name} is {tensor.dtype}; weights are {', '.join(DTYPES)}")
        if not np.isfinite(tensor).all():
            raise AdapterRefused("not_finite", f"tensor {name} has NaN or infinite values: the training diverged")


def _config(raw: bytes) -> dict[str, object]:
    try:
        config = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise AdapterRefused("bad_config", f"{CONFIG} is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise AdapterRefused("bad_config", f"{CONFIG} must be an object with fields")
    return config
