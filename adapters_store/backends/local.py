"""Backend on a local disk: one folder per version, and one of array files.

Publishing: fill a temporary folder, sync it, read it back and verify it, rename it. A writer holds a lock on its
temporary folder, which the system releases when the process dies: a folder without a lock is an orphan. An array file
is filled in a temporary folder, too, and moved out of it.

Reading: every name is opened relative to a folder that is already open, without following links, so the checked file
is the file that is read, and files outside the root cannot be reached.
"""

import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapters_store.backends.interface import (
    ARRAYS,
    FILES,
    LIMITS,
    MARK,
    TEMPORARY,
    Checkpoint,
    Verify,
    VerifyArrays,
)
from adapters_store.errors import AdapterRefused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LocalBackend:
    """`Backend` in a folder, which is created if it is missing."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        # Resolved once: the root itself may be a link, its entries may not.
        self._root = root.resolve()
        self.root = str(self._root)

    def entries(self) -> list[str]:
        """See `Backend.entries`."""
        return sorted(path.name for path in self._root.iterdir())

    def published(self, name: str) -> bool:
        """See `Backend.published`: a finished version alone has its own name."""
        return os.path.lexists(self._root / name)

    def read(self, name: str, wanted: Sequence[str] = FILES) -> dict[str, bytes]:
        """See `Backend.read`."""
        with _opened(self._root, _FOLDER) as root, _folder(name, root) as folder:
            with os.scandir(folder) as listing:
                _check_listing({entry.name for entry in listing})
            return {file: _read_file(file, folder, LIMITS[file]) for file in wanted}

    def publish(self, name: str, files: Mapping[str, bytes], verify: Verify, checkpoint: Checkpoint) -> None:
        """See `Backend.publish`."""
        with self._locked_temporary(name) as temporary:
            self._fill(temporary, files, verify, checkpoint)
            _rename_new(temporary, self._root / name)
            _sync(self._root)
        checkpoint("adapter.renamed")

    def remove(self, entry: str) -> bool:
        """See `Backend.remove`."""
        path = self._root / entry
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return True
        with _opened(path, _FOLDER) as folder:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            # Renamed first: a reader finds the complete version, or none.
            doomed = self._temporary(entry)
            path.rename(doomed)
            shutil.rmtree(doomed)
        _sync(self._root)
        return True

    def mark(self, name: str, content: str) -> None:
        """See `Backend.mark`."""
        temporary = self._temporary(name)
        _write(temporary, content.encode("ascii"))
        _sync(temporary)
        temporary.replace(self._root / f"{name}{MARK}")
        _sync(self._root)

    def unmark(self, name: str) -> None:
        """See `Backend.unmark`."""
        (self._root / f"{name}{MARK}").unlink(missing_ok=True)
        _sync(self._root)

    def read_mark(self, name: str) -> str | None:
        """See `Backend.read_mark`."""
        try:
            return (self._root / f"{name}{MARK}").read_text("ascii")
        except FileNotFoundError:
            return None

    def array_files(self) -> list[str]:
        """See `Backend.array_files`."""
        folder = self._root / ARRAYS
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def read_array_file(self, name: str, limit: int) -> bytes:
        """See `Backend.read_array_file`."""
        with _opened(self._root, _FOLDER) as root, _folder(ARRAYS, root) as folder:
            return _read_file(name, folder, limit)

    def read_array_head(self, name: str, size: int) -> bytes:
        """See `Backend.read_array_head`."""
        with _opened(self._root, _FOLDER) as root, _folder(ARRAYS, root) as folder, _file(name, folder) as descriptor:
            return os.read(descriptor, size)

    def write_array_file(self, name: str, raw: bytes, verify: VerifyArrays, checkpoint: Checkpoint) -> None:
        """See `Backend.write_array_file`."""
        folder = self._root / ARRAYS
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            _sync(self._root)
        with self._locked_temporary(name) as temporary:
            _write(temporary / name, raw)
            checkpoint("arrays.written")
            _sync(temporary / name)
            checkpoint("arrays.synced")
            with _opened(temporary, _FOLDER) as opened:
                verify(_read_file(name, opened, len(raw)))
            checkpoint("arrays.verified")
            (temporary / name).replace(folder / name)
            _sync(folder)
        checkpoint("arrays.renamed")

    def remove_array_file(self, name: str) -> None:
        """See `Backend.remove_array_file`."""
        (self._root / ARRAYS / name).unlink()

    @contextmanager
    def _locked_temporary(self, name: str) -> Iterator[Path]:
        """A temporary folder that only this process removes while the block runs, and that is gone after it."""
        temporary = self._temporary(name)
        temporary.mkdir()
        try:
            with _opened(temporary, _FOLDER) as folder:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield temporary
        finally:
            # No-op once renamed. A failure to clean up must not hide the first failure; the next removal tries again.
            shutil.rmtree(temporary, ignore_errors=True)

    def _temporary(self, name: str) -> Path:
        return self._root / f"{TEMPORARY}{name.removeprefix(TEMPORARY)[:16]}-{secrets.token_hex(6)}"

    def _fill(self, folder: Path, files: Mapping[str, bytes], verify: Verify, checkpoint: Checkpoint) -> None:
        for file in FILES:
            _write(folder / file, files[file])
        checkpoint("adapter.written")
        for path in (*(folder / file for file in FILES), folder):
            _sync(path)
        checkpoint("adapter.synced")
        verify(self.read(folder.name))
        checkpoint("adapter.verified")


@contextmanager
def _opened(path: str | Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _folder(name: str, root: int) -> Iterator[int]:
    try:
        descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=root)
    except FileNotFoundError:
        raise AdapterRefused("missing", f"there is no {name}: it was never published here, or was pruned") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise AdapterRefused("unsafe_path", "it is a link or a file where a folder should be: remove it") from None
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_listing(found: set[str]) -> None:
    if missing := sorted(set(FILES) - found):
        raise AdapterRefused("missing", f"{missing[0]} does not exist: the version is incomplete")
    if extra := sorted(found - set(FILES)):
        raise AdapterRefused(
            "unexpected_file", f"{extra[0]!r} is no file of a version; only {', '.join(FILES)} are read"
        )


def _read_file(file: str, folder: int, limit: int) -> bytes:
    with _file(file, folder) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > limit:
            raise AdapterRefused("oversize", f"{file} has {size:,} bytes, over the limit of {limit:,}")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(limit)


@contextmanager
def _file(file: str, folder: int) -> Iterator[int]:
    """Open a regular file of a folder."""
    try:
        descriptor = os.open(file, _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise AdapterRefused("unsafe_path", f"{file} is a link or a device: remove it") from None
        if error.errno == errno.ENOENT:
            raise AdapterRefused("missing", f"{file} does not exist, or was removed meanwhile") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise AdapterRefused("unsafe_path", f"{file} is no regular file: remove it")
        yield descriptor
    finally:
        os.close(descriptor)


def _rename_new(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, "the name is taken", str(target)) from None
        raise


def _write(path: Path, raw: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(raw)


def _sync(path: Path) -> None:
    with _opened(path, os.O_RDONLY | os.O_CLOEXEC) as descriptor:
        os.fsync(descriptor)
