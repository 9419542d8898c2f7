"""Downloading a public log: verified before it is opened, unpacked without trust, in place whole or not at all."""

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
"""Most bytes an archive may unpack to."""

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)
"""What the standard library raises on archives that are torn, of an unknown method, or encrypted (or a full disk)."""

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
        out: folder below which a folder of that name is made.
        sha256: what the archive must hash to, instead of what is on record; required where nothing is.
        opener: opens a URL for reading.
        progress: called with the number of bytes so far, after each chunk.

    Returns:
        The folder, fit for `read_dataset`.

    Raises:
        DataError: unknown name, no checksum, folder there already, no connection, wrong checksum, hostile archive.
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
            "look at it, and pass what it hashes to with --sha256"
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
