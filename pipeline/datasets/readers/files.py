"""Files of a log: which ones there are, and plain versions of compressed and UTF-16 files."""

import bz2
import codecs
import gzip
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow

from pipeline.errors import DataError

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json", ".txt", ".dat", ".data", ".log")
"""Endings of files that can be logs or items, without that of their compression."""

FURTHER = (".inter", ".item", ".user")
"""Endings of RecBole's files."""

LARGEST = 64 << 30
"""Maximum unpacked size of an archive in bytes."""

CARRIAGE_RETURNS = "cr"
MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""Byte order marks of UTF-16."""

DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, pyarrow.ArrowException)


def _zstd(path: Path) -> Any:
    return pyarrow.input_stream(str(path), compression="zstd")


OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _zstd}
"""Endings of compressed files, and the functions that open them."""


def visible(folder: Path) -> list[Path]:
    """Return the files of a folder that can belong to a log, by name.

    Left out are files that systems and tools put beside data: `._x`, `.DS_Store`, `_SUCCESS`.
    """
    return [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith((".", "_"))]


def is_log_name(name: str) -> bool:
    """Return True for the name of a plain file that can be a log: by its ending, or `out.NAME` as KONECT has it."""
    return Path(name).suffix.lower() in (*SUFFIXES, *FURTHER) or name.startswith("out.")


@contextmanager
def plain_files(path: Path) -> Iterator[Path]:
    """Yield a path with the same files, each of them plain: not compressed, and not in UTF-16.

    It is the path itself where all are; else a temporary folder, or a file in one.

    Raises:
        DataError: a compressed file is damaged, or it would unpack to more than `LARGEST`.
    """
    with TemporaryDirectory(prefix="raie-") as scratch:
        try:
            plain = _plain(path, Path(scratch))
        except DAMAGED as error:
            raise DataError(f"{path} cannot be read or unpacked: {error}") from error
        yield plain


def _plain(path: Path, scratch: Path) -> Path:
    files = visible(path) if path.is_dir() else [path]
    packed = [file for file in files if _needs_work(file)]
    if not packed:
        return path
    for file in files:
        if file not in packed:
            (scratch / file.name).symlink_to(file.resolve())
    for file in packed:
        _unpack(file, scratch)
    return scratch if path.is_dir() else _only(scratch)


def _needs_work(file: Path) -> bool:
    suffix = file.suffix.lower()
    if suffix in OPENERS:
        return is_log_name(file.stem)
    return suffix == ".zip" or (is_log_name(file.name) and suffix != ".parquet" and _form(file) is not None)


def _form(file: Path) -> str | None:
    """Return `utf-16` or a variant for a file in it, `cr` for lines that end with carriage returns, else None.

    UTF-16 is recognised by its mark, or because half of the bytes are 0.
    """
    with file.open("rb") as content:
        first = content.read(1 << 16)
    if first.startswith(MARKS):
        return "utf-16"
    if b"\r" in first and b"\n" not in first:
        return CARRIAGE_RETURNS
    halves = {"utf-16-le": first[1:256:2], "utf-16-be": first[:256:2]}
    return next((codec for codec, half in halves.items() if half.count(0) > 0.8 * len(half) > 4), None)


def _unpack(file: Path, scratch: Path) -> None:
    suffix = file.suffix.lower()
    if suffix == ".zip":
        _unpack_zip(file, scratch)
        return
    target = scratch / (file.stem if suffix in OPENERS else file.name)
    if suffix in OPENERS:
        with OPENERS[suffix](file) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
    _as_utf_8(file if suffix not in OPENERS else target, target)


def _as_utf_8(file: Path, target: Path) -> None:
    form = None if target.suffix.lower() == ".parquet" else _form(file)
    if form is None:
        return
    # latin-1 keeps every byte.
    codecs_, newline = (("latin-1", "latin-1"), None) if form == CARRIAGE_RETURNS else ((form, "utf-8"), "")
    draft = target.with_name(f".{target.name}")
    with (
        file.open(encoding=codecs_[0], errors="replace", newline=newline) as source,
        draft.open("w", encoding=codecs_[1], newline="\n") as out,
    ):
        shutil.copyfileobj(source, out, 1 << 20)
    draft.replace(target)


def _unpack_zip(file: Path, scratch: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        members = [member for member in archive.infolist() if _is_wanted(member)]
        if sum(member.file_size for member in members) > LARGEST:
            raise DataError(f"{file} would unpack to more than {LARGEST} bytes: nothing was unpacked")
        for member in members:
            inner = scratch / PurePosixPath(member.filename).name
            if inner.exists():
                raise DataError(f"{file} holds several files named {inner.name}: unpack it and name one with --data")
            with archive.open(member) as source, inner.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            if _needs_work(inner) and inner.suffix.lower() != ".zip":
                _unpack(inner, scratch)
                if inner.suffix.lower() in OPENERS:
                    inner.unlink()


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    if member.is_dir() or any(part.startswith((".", "__MACOSX")) for part in parts):
        return False
    name = Path(parts[-1])
    return is_log_name(name.stem if name.suffix.lower() in OPENERS else name.name) or name.name == "truth.json"


def _only(folder: Path) -> Path:
    """Return the only file of a folder, or the folder."""
    files = visible(folder)
    return files[0] if len(files) == 1 else folder
