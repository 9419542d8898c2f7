"""Download of public logs.

The checksum is verified before the archive is opened, unsafe archives are refused, and the folder appears complete or
not at all.
"""

import hashlib
import re
import shutil
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pipeline.datasets.public import KnownDataset, known
from pipeline.errors import DataError

CHUNK = 1 << 18
"""Bytes read at a time."""

LARGEST = 4 << 30
"""Maximum unpacked size of an archive in bytes."""

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)
"""Errors of the standard library for truncated, unsupported or encrypted archives (or a full disk)."""

Opener = Callable[[str], AbstractContextManager[BinaryIO]]
Progress = Callable[[int], None]


def _open(url: str) -> AbstractContextManager[BinaryIO]:
    response: AbstractContextManager[BinaryIO] = urllib.request.urlopen(url, timeout=60)
    return response


def fetch(
    name: str,
    out: Path,
    sha256: str | None = None,
    opener: Opener = _open,
    progress: Progress = lambda _: None,
) -> Path:
    """Download a public log into a new folder.

    Args:
        name: one of `KNOWN`.
        out: parent of the new folder, which has that name.
        sha256: expected checksum of the archive, in place of the registered one; required if none is registered.
        opener: opens a URL for reading.
        progress: called with the number of bytes so far, after each chunk.

    Returns:
        The folder, readable by `read_dataset`.

    Raises:
        DataError: unknown name, no checksum, existing folder, no connection, wrong checksum, unsafe archive.
    """
    dataset = known(name)
    expected = _expected(dataset, sha256)
    target = out / name
    if target.exists():
        raise DataError(f"{target} is there already; remove it to fetch {name} again")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=out) as folder:
        archive = Path(folder) / "archive.zip"
        found = _download(dataset.url, archive, opener, progress)
        if found != expected:
            raise DataError(f"{dataset.url} has sha256 {found}, expected {expected}: nothing was unpacked")
        _unpack(archive, dataset.folder, Path(folder) / "content")
        (Path(folder) / "content").rename(target)
    return target


def _expected(dataset: KnownDataset, sha256: str | None) -> str:
    expected = sha256 or dataset.sha256
    if expected is None:
        raise DataError(
            f"no checksum is on record for {dataset.name}: its archive changes. Download {dataset.url} yourself, "
            "inspect it, and pass its checksum with --sha256"
        )
    if not re.fullmatch(r"[0-9a-fA-F]{64}", expected):
        raise DataError(f"a sha256 has 64 hexadecimal digits, unlike {expected!r}")
    return expected.lower()


def _download(url: str, file: Path, opener: Opener, progress: Progress) -> str:
    digest = hashlib.sha256()
    done = 0
    try:
        with opener(url) as response, file.open("wb") as out:
            while chunk := response.read(CHUNK):
                out.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                progress(done)
    except OSError as error:
        raise DataError(f"{url} could not be downloaded: {error}") from error
    return digest.hexdigest()


def _unpack(archive: Path, folder: str, target: Path) -> None:
    """Unpack the files below `folder` of a zip archive into `target`."""
    try:
        with zipfile.ZipFile(archive) as content:
            members = [m for m in content.infolist() if m.filename.startswith(folder) and not m.is_dir()]
            _refuse_hostile(content.infolist())
            if not members:
                raise DataError(f"the archive has nothing below {folder}")
            for member in members:
                file = target / member.filename.removeprefix(folder)
                file.parent.mkdir(parents=True, exist_ok=True)
                with content.open(member) as source, file.open("wb") as out:
                    shutil.copyfileobj(source, out)
    except DAMAGED as error:
        raise DataError(f"the archive cannot be unpacked: {error}") from error


def _refuse_hostile(members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in member.filename:
            raise DataError(f"the archive wants to write to {member.filename!r}: nothing was unpacked")
    size = sum(member.file_size for member in members)
    if size > LARGEST:
        raise DataError(f"the archive would unpack to {size} bytes, more than {LARGEST}: nothing was unpacked")
