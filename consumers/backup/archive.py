"""A backup on disk: a folder, or a zip file of it, with a manifest that names every file with its size and sha256.

    manifest.json    written last: without it there is no backup
    log.sqlite       the log as of one moment (`pipeline.streams.sqlite.saved`)
    root/...         files of the set-up and of the adapters store

Nothing in it can run code: JSON, SQLite and safetensors.
"""

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any

from pipeline.build_info import PROGRAM, version_of
from pipeline.errors import BackupError

FORMAT = 1
"""Version of the layout, raised by each change: earlier versions of the program refuse later ones."""

MANIFEST = "manifest.json"
ZIP = ".zip"
"""End of the name of a backup in one file."""

CHUNK = 1 << 20
"""Bytes that are read at once."""


@dataclass(frozen=True)
class Entry:
    """One file of a backup."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Content of a backup.

    Attributes:
        made_at: wall clock before anything was read, in seconds since 1970.
        source: URL of the log.
        files: file by its name, with `/` between folders.
    """

    made_at: float
    source: str
    files: Mapping[str, Entry]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.bytes for entry in self.files.values())

    def to_record(self) -> dict[str, Any]:
        """Return the JSON object, with its own sha256."""
        record = {"format": FORMAT, "program": f"{PROGRAM} {version_of(PROGRAM)}", **asdict(self)}
        return record | {"sha256": _sha256_of(record)}

    @classmethod
    def from_bytes(cls, raw: bytes, where: str) -> "Manifest":
        """Read a manifest.

        Raises:
            BackupError: it is damaged, or of another format.
        """
        try:
            record = json.loads(raw)
            if record["format"] != FORMAT:
                raise BackupError(f"{where} has format {record['format']}, this version reads {FORMAT}")
            if record.pop("sha256") != _sha256_of(record):
                raise ValueError("its sha256 is another one")
            files = {_checked(name): Entry(**entry) for name, entry in record["files"].items()}
            return cls(record["made_at"], record["source"], files)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise BackupError(f"{where} is damaged ({error}): use another backup") from error


class Archive:
    """A complete backup, to be read.

    Args:
        path: the folder or zip file, for messages.
        root: its content.
        names: files that it has.

    Attributes:
        manifest: what it should have.

    Raises:
        BackupError: it has no manifest, or a damaged one.
    """

    def __init__(self, path: Path, root: Traversable, names: set[str]) -> None:
        self._path, self._root, self._names = path, root, names
        if MANIFEST not in names:
            raise BackupError(f"{path} has no {MANIFEST}: it is no backup, or an incomplete one")
        self.manifest = Manifest.from_bytes((root / MANIFEST).read_bytes(), f"{path}/{MANIFEST}")

    def verify(self) -> None:
        """Check every file.

        Raises:
            BackupError: names each one that is missing, damaged or not of the backup.
        """
        files = self.manifest.files
        problems = [f"{name} is not of the backup" for name in sorted(self._names - {MANIFEST, *files})]
        problems += [problem for name in sorted(files) if (problem := self._problem(name))]
        if problems:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise BackupError(f"{self._path} is damaged: use another backup\n{listed}")

    def extract(self, name: str, to: Path) -> None:
        """Copy one file, durably.

        Raises:
            BackupError: it is missing or damaged.
        """
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("xb") as out:
            problem = self._problem(name, out)
            out.flush()
            os.fsync(out.fileno())
        if problem:
            to.unlink()
            raise BackupError(f"{self._path} is damaged: {problem}; use another backup")

    def _problem(self, name: str, out: IO[bytes] | None = None) -> str | None:
        """Fault of a file, which is read once and copied on the way; None for none."""
        if name not in self._names:
            return f"{name} is missing"
        entry, digest, size = self.manifest.files[name], hashlib.sha256(), 0
        try:
            with self._root.joinpath(name).open("rb") as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    if out is not None:
                        out.write(chunk)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            return f"{name} cannot be read ({error})"
        if size != entry.bytes:
            return f"{name} has {size:,} bytes, not {entry.bytes:,}"
        return None if digest.hexdigest() == entry.sha256 else f"{name} is not what was saved: its sha256 differs"


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a backup.

    Raises:
        BackupError: there is none, or an incomplete one.
    """
    if path.is_dir():
        names = {str(PurePosixPath(file.relative_to(path))) for file in path.rglob("*") if not file.is_dir()}
        yield Archive(path, path, names)
        return
    try:
        with zipfile.ZipFile(path) as file:
            yield Archive(path, zipfile.Path(file), {info.filename for info in file.infolist() if not info.is_dir()})
    except FileNotFoundError as error:
        raise BackupError(f"there is no backup at {path}") from error
    except zipfile.BadZipFile as error:
        raise BackupError(f"{path} is damaged ({error}): use another backup") from error


@contextmanager
def written(to: Path, made_at: float, source: str) -> Iterator[Path]:
    """Open a folder that becomes a new backup when the block ends, complete or not at all.

    Args:
        to: does not exist yet; a zip file if its name ends so, else a folder.
        made_at: see `Manifest`.
        source: likewise.

    Raises:
        BackupError: it exists.
    """
    if to.exists():
        raise BackupError(f"{to} exists, and a backup is never overwritten: name a new one")
    to.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=to.parent, prefix=f".{to.name}-") as name:
        draft = Path(name) / "backup"
        draft.mkdir()
        yield draft
        files = {str(file.relative_to(draft)): _entry(file) for file in sorted(draft.rglob("*")) if file.is_file()}
        record = Manifest(made_at, source, files).to_record()
        (draft / MANIFEST).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        _entry(draft / MANIFEST)
        if to.suffix == ZIP:
            draft = _zipped(draft, Path(name) / to.name)
        draft.rename(to)
        _sync(to.parent)


def _zipped(folder: Path, to: Path) -> Path:
    with zipfile.ZipFile(to, "x", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(folder))
    _entry(to)
    return to


def _entry(file: Path) -> Entry:
    """Size and sha256 of a file, which is on the disk afterwards."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        digest = hashlib.file_digest(opened, "sha256")
    return Entry(file.stat().st_size, digest.hexdigest())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256_of(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _checked(name: str) -> str:
    """A name that stays within the folder that it is extracted to."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name:
        raise ValueError(f"{name[:80]!r} is no name of a file in a backup")
    return name
