"""Files of ROOT that belong to a log: the set-up, and of the adapters store what the log names.

The log is saved first. A version and an array file are complete before the log names them, and never change, so
whatever the saved log names is there, unless it was pruned since.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from adapters_store import AdaptersStore, ArrayFile
from adapters_store.array_files import MAX_BYTES
from adapters_store.backends.interface import ARRAYS, MARK
from adapters_store.errors import AdapterRefused
from consumers.gate.changelog import chunk_of
from consumers.runtime.adapters_in_force import read_adapters_in_force
from consumers.runtime.ledger import arrays_ever_named
from consumers.runtime.malformed import readable, unreported
from consumers.runtime.topic_reader import new_records
from pipeline.errors import BackupError
from pipeline.setup.storage import BACKBONE, HASHED, MANIFEST
from pipeline.streams.interface import Log
from pipeline.streams.topics import TREND


@dataclass(frozen=True)
class Named:
    """Versions and files of the adapters store that a log names.

    Attributes:
        needed: versions in force.
        others: versions that a rollback or `raie edits rerun` may want.
        arrays: sha256 of array files without which no stage starts.
    """

    needed: set[str]
    others: set[str]
    arrays: set[str]


def read_named(log: Log) -> Named:
    """Read what a log names."""
    found = read_adapters_in_force(log)
    return Named(set(found.all), set(found.left), arrays_ever_named(log) | set(_snapshots(log).values()))


def setup_files(root: Path) -> Iterator[Path]:
    """Yield the files of a set-up, relative to its folder; the manifest is the last."""
    yield from sorted(path.relative_to(root) for path in (root / BACKBONE).rglob("*") if path.is_file())
    yield from (Path(name) for name in HASHED)
    yield Path(MANIFEST)


def copy_setup(root: Path, to: Path) -> None:
    """Copy the set-up into a new folder."""
    for path in setup_files(root):
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, to / path)


def copy_store(named: Named, store: Path, to: Path) -> list[str]:
    """Copy what a log names, and check the copy.

    Args:
        named: see `read_named`.
        store: folder of the adapters store.
        to: folder of the copy.

    Returns:
        The versions that were left out, with the reason: none of them is in force. Those that retention removed are
        not among them.

    Raises:
        BackupError: one that is needed is missing or damaged.
    """
    to.mkdir(parents=True, exist_ok=True)
    copy, left_out = AdaptersStore(to), []
    for name in sorted(named.needed | named.others):
        try:
            # Retention may remove it meanwhile; what is missing of it is seen in the copy.
            with suppress(FileNotFoundError, shutil.Error):
                shutil.copytree(store / name, to / name, copy_function=shutil.copyfile)
            copy.verify(name)
        except AdapterRefused as refusal:
            if name in named.needed:
                raise _unusable(name, refusal) from refusal
            shutil.rmtree(to / name, ignore_errors=True)
            if refusal.reason != "missing" or not (store / f"{name}{MARK}").exists():
                left_out.append(f"{name} ({refusal.reason})")
    for sha256 in sorted(named.arrays):
        _copy_arrays(f"{sha256}.safetensors", sha256, store / ARRAYS, copy, to / ARRAYS)
    # After the versions: of one that was pruned meanwhile the mark is there.
    for mark in store.glob(f"*{MARK}"):
        shutil.copyfile(mark, to / mark.name)
    return left_out


def _copy_arrays(file: str, sha256: str, store: Path, copy: AdaptersStore, to: Path) -> None:
    to.mkdir(exist_ok=True)
    try:
        with suppress(FileNotFoundError):
            shutil.copyfile(store / file, to / file)
        size = (to / file).stat().st_size if (to / file).exists() else MAX_BYTES
        copy.arrays.read(ArrayFile(sha256, size))
    except AdapterRefused as refusal:
        raise _unusable(f"{ARRAYS}/{file}", refusal) from refusal


def _unusable(name: str, refusal: AdapterRefused) -> BackupError:
    return BackupError(
        f"{name} is in force and cannot be backed up ({refusal}). If it was replaced meanwhile, run the same command "
        "again; else roll its region back, or restore the file from an earlier backup"
    )


def _snapshots(log: Log) -> dict[str, str]:
    """File of the newest snapshot of each gate that has one in the store."""
    newest: dict[str, str] = {}
    for chunk in readable(new_records(log, TREND, 0), chunk_of, unreported):
        newest.pop(chunk["gate"], None)
        if "file" in chunk:
            newest[chunk["gate"]] = chunk["file"]["sha256"]
    return newest
