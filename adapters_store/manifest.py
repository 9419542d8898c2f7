"""Names and manifests of versions.

A manifest lists every file with its size and sha256, and includes its own checksum; it is written in one canonical
form and read back only in that form. So any changed bit of a version is detected, and equal content is equal bytes: a
manifest contains no time of day, host or path.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from adapters_store.errors import AdapterRefused, StoreError

FORMAT: Final = 1
"""Version of the manifest format; raised when an older reader could misread a manifest."""

WEIGHTS: Final = "adapter.safetensors"
CONFIG: Final = "adapter_config.json"
MANIFEST: Final = "manifest.json"

MAX_NUMBER: Final = 9999
"""Highest region id and version: names have a fixed width, so that none is a prefix of another."""

_NAME = re.compile(r"r([0-9]{4})_v([0-9]{4})")

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Number = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Name = Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]


def version_name(region_id: int, version: int) -> str:
    """Return the name of a version, such as `r0003_v0007`.

    Raises:
        StoreError: if one of the numbers has more than four digits or is negative.
    """
    if not 0 <= region_id <= MAX_NUMBER or not 0 <= version <= MAX_NUMBER:
        raise StoreError(f"region {region_id}, version {version}: both must lie in 0..{MAX_NUMBER}")
    return f"r{region_id:04d}_v{version:04d}"


def parse_version_name(name: str) -> tuple[int, int]:
    """Return (region_id, version).

    Raises:
        AdapterRefused: `bad_name`, unless the name has the form of `version_name`.
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise AdapterRefused("bad_name", f"{str(name)[:80]!r} is no version name; one looks like r0003_v0007")
    return int(match[1]), int(match[2])


def is_version_name(entry: str, region_id: int | None = None) -> bool:
    """Return True for the name of a version (of this region)."""
    try:
        found, _ = parse_version_name(entry)
    except AdapterRefused:
        return False
    return region_id in (None, found)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileEntry(_Strict):
    """One file of a version: its size in bytes and its sha256."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Validation(_Strict):
    """Metrics on held-out windows by name, of the incumbent (`before`) and of this version (`after`)."""

    before: Mapping[str, FiniteFloat] = {}
    after: Mapping[str, FiniteFloat] = {}


class Manifest(_Strict):
    """Metadata of one version.

    Attributes:
        format_version: see `FORMAT`.
        region_id: region of the adapter, 0 for injected items.
        version: n-th adapter of that region.
        backbone_sha256: hash of the backbone that it was trained on, the only one it fits.
        edit_id: edit that produced it.
        parent: name of the version it was trained from, or None.
        rank: rank of its low-rank matrices, 0 for injected items.
        targets: names of the adapted modules.
        seed: seed of its training.
        validation: metrics on which the decision to publish it rests.
        files: entries of the other files of the version, by name.
    """

    format_version: Annotated[int, Field(ge=FORMAT, le=FORMAT)]
    region_id: Number
    version: Number
    backbone_sha256: Sha256
    edit_id: Annotated[str, Field(min_length=1, max_length=256)]
    parent: Name | None
    rank: Annotated[int, Field(ge=0)]
    targets: tuple[str, ...]
    seed: int
    validation: Validation
    files: Mapping[str, FileEntry]

    @property
    def name(self) -> str:
        """The version's name."""
        return version_name(self.region_id, self.version)

    @property
    def size(self) -> int:
        """Size of the weights in bytes."""
        return self.files[WEIGHTS].bytes

    @property
    def sha256(self) -> str:
        """The sha256 of the weights."""
        return self.files[WEIGHTS].sha256

    @property
    def checksum(self) -> str:
        """The sha256 of the manifest's content, and through the listed hashes of the whole version."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the content of the manifest file."""
        return canonical_json({**self.model_dump(mode="json"), "checksum": self.checksum})


def canonical_json(value: Mapping[str, object]) -> bytes:
    """Return canonical JSON: sorted keys, indented, ASCII, with a final newline.

    Raises:
        StoreError: if a value has no JSON form, such as NaN.
    """
    try:
        text = json.dumps(value, sort_keys=True, indent=2, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"the content cannot be written as JSON: {error}") from error
    return text.encode("ascii") + b"\n"


def file_entry(raw: bytes) -> FileEntry:
    """Return the entry of a file with these bytes."""
    return FileEntry(bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest())


def parse_manifest(raw: bytes) -> Manifest:
    """Parse the content of a manifest file.

    Raises:
        AdapterRefused: `bad_manifest`, unless `raw` equals the manifest's `to_bytes`.
    """
    try:
        content = json.loads(raw)
        checksum = content.pop("checksum")
        manifest = Manifest.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise AdapterRefused("bad_manifest", f"field {field}: {first['msg']}") from error
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise AdapterRefused("bad_manifest", "it is no JSON object with a checksum") from error
    if checksum != manifest.checksum or raw != manifest.to_bytes():
        raise AdapterRefused("bad_manifest", "its content does not match its checksum, so it is corrupt: restore it")
    if set(manifest.files) != {WEIGHTS, CONFIG}:
        raise AdapterRefused("bad_manifest", f"it must list {WEIGHTS} and {CONFIG}, not {sorted(manifest.files)}")
    return manifest
