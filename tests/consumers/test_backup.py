"""A pipeline that was backed up while it ran goes on elsewhere as if nothing had happened; damage is named.

RAIE_SOAK=1 tries it on a broker, too, and from one kind of log to the other, as `make soak` does.
"""

import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from adapters_store import AdaptersStore
from consumers.backup.archive import MANIFEST, opened
from consumers.backup.backup import back_up
from consumers.backup.restore import restore
from consumers.cli.main import app
from consumers.runtime.adapters_in_force import read_adapters_in_force
from consumers.runtime.log_binding import bind_log
from consumers.runtime.runner import adapters_of, binding_of, log_of
from pipeline.config import Config, LogSettings
from pipeline.errors import BackupError, DataError, LogError
from pipeline.streams import open_log
from pipeline.streams.topics import GATED
from tests import broker
from tests.consumers.forking import Nursery
from tests.consumers.gating import changed, read
from tests.consumers.soak import PARTITIONS, Driver, left, one_thread, prepare, write_stream
from tests.upgrade.test_upgrade import FIXTURE, GATED_BEFORE

EVENTS = 1_000
"""Events of the data set, half of them the stream."""

PAIRS = [("sqlite", "sqlite")]
if os.environ.get("RAIE_SOAK"):
    PAIRS += [("sqlite", "kafka"), ("kafka", "sqlite"), ("kafka", "kafka")]


def in_lockstep(log: LogSettings) -> Config:
    return changed(consumers={"lockstep": True, "snapshot_events": 60}).model_copy(update={"log": log})


def new_log(kind: str, folder: Path, request: pytest.FixtureRequest) -> LogSettings:
    if kind == "kafka":
        return broker.settings(url=request.getfixturevalue("kafka_url"), partitions=PARTITIONS)
    return LogSettings(url=f"sqlite:///{folder / 'log.sqlite'}", partitions=PARTITIONS)


@dataclass
class OnSharedImports(Driver):
    """A driver that leaves the process with all imports to the next one."""

    def end(self) -> None:
        self.stop()


@dataclass(frozen=True)
class Backed:
    """A pipeline that ran in lockstep to its end, and backups of it from halfway."""

    folder: Path
    config: Config
    events: int
    backup: Path
    zipped: Path


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with closing(Nursery()) as nursery:
        yield nursery


@pytest.fixture(scope="module")
def backed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, nursery: Nursery) -> Backed:
    folder = tmp_path_factory.mktemp("backed")
    return run_and_back_up(folder, new_log("sqlite", folder, request), nursery)


def run_and_back_up(folder: Path, log: LogSettings, nursery: Nursery) -> Backed:
    config = in_lockstep(log)
    with one_thread():
        feed = prepare(folder, EVENTS, config)
    with closing(log_of(config)) as opened_log:
        bind_log(opened_log, "test", config, binding_of(folder / "root", config))
    write_stream(feed, config)
    backup, zipped = folder / "backups" / "half", folder / "backups" / "half.zip"

    def halfway() -> None:
        assert back_up(folder / "root", config, backup, 1.0) == []
        back_up(folder / "root", config, zipped, 1.0)

    OnSharedImports(folder, len(feed.stream), Random(0), halfway=halfway, nursery=nursery).run(limit=300)
    return Backed(folder, config, len(feed.stream), backup, zipped)


def restored(source: Path, folder: Path, log: LogSettings) -> Config:
    """Restore a backup into a new folder, in which a driver can run."""
    folder.mkdir()
    config = in_lockstep(log)
    with opened(source) as archive:
        restore(archive, folder / "root", config)
    (folder / "config.json").write_text(config.model_dump_json())
    return config


@pytest.mark.parametrize(("kind", "target"), PAIRS)
def test_restored_from_a_running_pipeline_it_ends_with_the_same_ledger_and_adapters(
    backed: Backed, nursery: Nursery, tmp_path: Path, request: pytest.FixtureRequest, kind: str, target: str
) -> None:
    if kind == "kafka":
        backed = run_and_back_up(tmp_path, new_log(kind, tmp_path, request), nursery)
    folder = tmp_path / "there"
    config = restored(backed.zipped, folder, new_log(target, folder, request))
    with closing(log_of(config)) as log:
        assert 0 < len(read(log, GATED)) < backed.events
    OnSharedImports(folder, backed.events, Random(0), nursery=nursery).run(limit=300)
    found, expected = left(folder), left(backed.folder)
    assert len(expected.versions) >= 2 and found.versions == expected.versions
    assert found.ledger == expected.ledger
    assert found.gated == expected.gated
    assert (found.outcomes, found.live, found.torn) == (expected.outcomes, expected.live, [])


def weights(folder: Path) -> str:
    """Name of a file of the adapters store in a backup."""
    return str(next((folder / "root" / "adapters").glob("r*/adapter.safetensors")).relative_to(folder))


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def refused(folder: Path, tmp_path: Path, message: str) -> None:
    """A backup is refused by name, checked alone or restored, and nothing is written."""
    there = tmp_path / "there"
    log = LogSettings(url=f"sqlite:///{there / 'log.sqlite'}", partitions=PARTITIONS)
    with pytest.raises(BackupError, match=message), opened(folder) as archive:
        restore(archive, there / "root", in_lockstep(log))
    assert not there.exists()
    done = CliRunner().invoke(app, ["restore", "--from", str(folder), "--check"])
    assert done.exit_code == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, b"", "adapter.safetensors has 0 bytes, not"),
        ("log.sqlite", None, "log.sqlite is missing"),
        ("root/more.json", b"{}", "root/more.json is not of the backup"),
        (MANIFEST, b"{", "manifest.json is damaged"),
        (MANIFEST, None, "has no manifest.json: it is no backup, or an incomplete one"),
        (MANIFEST, b'{"format": 99}', "has format 99, this version reads 1"),
    ],
)
def test_a_damaged_backup_is_refused_by_name(
    backed: Backed, tmp_path: Path, name: str | None, content: bytes | None, message: str
) -> None:
    folder = shutil.copytree(backed.backup, tmp_path / "backup")
    file = folder / (name or weights(folder))
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_bytes(content)
    refused(folder, tmp_path, message)


def test_a_changed_bit_is_refused_by_name_in_a_folder_and_in_a_file(backed: Backed, tmp_path: Path) -> None:
    folder = shutil.copytree(backed.backup, tmp_path / "backup")
    flip(folder / "log.sqlite", 5_000)
    refused(folder, tmp_path, "log.sqlite is not what was saved: its sha256 differs")
    file = Path(shutil.copyfile(backed.zipped, tmp_path / "backup.zip"))
    with zipfile.ZipFile(file) as archive:
        at = archive.getinfo("log.sqlite").header_offset
    flip(file, at + 500)
    refused(file, tmp_path, "log.sqlite (cannot be read|is not what was saved)")
    file.write_bytes(backed.zipped.read_bytes()[:-30])
    refused(file, tmp_path, "is damaged")


def test_a_changed_manifest_cannot_lead_out_of_the_folder(backed: Backed, tmp_path: Path) -> None:
    folder = shutil.copytree(backed.backup, tmp_path / "backup")
    record = json.loads((folder / MANIFEST).read_text())
    record["files"]["../elsewhere"] = record["files"].pop("log.sqlite")
    (folder / MANIFEST).write_text(json.dumps(record))
    refused(folder, tmp_path, "manifest.json is damaged")


def test_nothing_is_overwritten(backed: Backed, tmp_path: Path) -> None:
    log = LogSettings(url=f"sqlite:///{tmp_path / 'log.sqlite'}", partitions=PARTITIONS)
    with pytest.raises(BackupError, match="a backup is never overwritten"):
        back_up(backed.folder / "root", backed.config, backed.backup, 1.0)
    with opened(backed.backup) as archive:
        with pytest.raises(DataError, match="a stored set-up is never overwritten"):
            restore(archive, backed.folder / "root", in_lockstep(log))
        with pytest.raises(LogError, match="a log is never overwritten"):
            restore(archive, tmp_path / "root", backed.config)
        with pytest.raises(LogError, match="exists with partitions=4"):
            other = log.model_copy(update={"partitions": 8})
            restore(archive, tmp_path / "other", in_lockstep(other))


def test_a_damaged_version_is_refused_in_force_and_left_out_otherwise(backed: Backed, tmp_path: Path) -> None:
    root = shutil.copytree(backed.folder / "root", tmp_path / "root")
    with closing(log_of(backed.config)) as log:
        use = read_adapters_in_force(log)
    other, needed = sorted(use.left)[0], sorted(use.regions)[0]
    flip(adapters_of(root) / other / "adapter.safetensors", -1)
    assert back_up(root, backed.config, tmp_path / "one", 1.0) == [f"{other} (hash_mismatch)"]
    with opened(tmp_path / "one") as archive:
        assert not any(other in name for name in archive.manifest.files)
    flip(adapters_of(root) / needed / "adapter.safetensors", -1)
    with pytest.raises(BackupError, match=f"{needed} is in force and cannot be backed up"):
        back_up(root, backed.config, tmp_path / "two", 1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "root"], "nothing is left of it"
    shutil.copytree(adapters_of(backed.folder / "root") / needed, adapters_of(root) / needed, dirs_exist_ok=True)
    AdaptersStore(adapters_of(root)).remove([other])
    assert back_up(root, backed.config, tmp_path / "three", 1.0) == [], "retention took it"


def test_the_set_up_of_another_log_is_refused(backed: Backed, tmp_path: Path) -> None:
    root = shutil.copytree(backed.folder / "root", tmp_path / "root")
    facts = json.loads((root / "manifest.json").read_text())
    (root / "manifest.json").write_text(json.dumps(facts | {"backbone_sha256": "another"}))
    with pytest.raises(LogError, match="was begun with another set-up"):
        back_up(root, backed.config, tmp_path / "backup", 1.0)


def test_the_commands_say_what_a_backup_holds(backed: Backed, tmp_path: Path) -> None:
    url, to = backed.config.log.url, str(tmp_path / "end.zip")
    options = ["--set", f"log.url={url}", "--set", f"log.partitions={PARTITIONS}"]
    root = str(backed.folder / "root")
    length = ["--set", f"windows.length={backed.config.windows.length}"]
    done = CliRunner().invoke(app, ["backup", "--root", root, "--to", to, *options, *length])
    assert done.exit_code == 0, done.output
    assert f"{to}: {url} as of 2" in done.stdout
    assert "adapter versions: r" in done.stdout
    checked = CliRunner().invoke(app, ["restore", "--from", to, "--check"])
    assert checked.exit_code == 0 and "every file is undamaged" in checked.stdout
    there = ["--root", str(tmp_path / "root"), "--set", f"log.url=sqlite:///{tmp_path / 'log.sqlite'}"]
    done = CliRunner().invoke(app, ["restore", "--from", to, *there, "--set", f"log.partitions={PARTITIONS}"])
    assert done.exit_code == 0, done.output
    assert f"start the stages with `raie up --root {tmp_path / 'root'}`" in done.stdout
    assert CliRunner().invoke(app, ["restore", "--from", to]).exit_code == 2


def test_a_pipeline_of_the_version_before_is_backed_up_before_it_is_migrated(tmp_path: Path) -> None:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path, filter="data")
    config = changed(windows={"length": 5})
    of = {name: config.log.model_copy(update={"url": f"sqlite:///{tmp_path / name}", "partitions": 2}) for name in "lm"}
    shutil.move(tmp_path / "log.sqlite", tmp_path / "l")
    assert back_up(tmp_path / "root", config.model_copy(update={"log": of["l"]}), tmp_path / "b", 1.0) == []
    with opened(tmp_path / "b") as backup:
        restore(backup, tmp_path / "again", config.model_copy(update={"log": of["m"]}))
    with closing(open_log(of["m"].url)) as log:
        assert log.end_offset(GATED, 0) == GATED_BEFORE
    compared = [path.relative_to(tmp_path / "root") for path in (tmp_path / "root").rglob("*") if path.is_file()]
    assert len(compared) > 6
    for path in compared:
        assert (tmp_path / "again" / path).read_bytes() == (tmp_path / "root" / path).read_bytes()
