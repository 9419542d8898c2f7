"""Publishing through crashes, full disks and races: a version is there whole, or not at all."""

import signal
import threading
from pathlib import Path

import fsspec
import pytest

from adapters_store import AdaptersStore
from adapters_store.errors import AdapterRefused, StoreError
from tests.adapters_store.elsewhere import elsewhere
from tests.adapters_store.small_adapter import BACKBONE, NAME, fields, tensors

STEPS = ("adapter.written", "adapter.synced", "adapter.verified", "adapter.renamed")


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_a_version_is_whole_or_not_there(root: Path, step: str) -> None:
    assert elsewhere("publish", root, step).returncode == -signal.SIGKILL
    store = AdaptersStore(root)
    complete = step == "adapter.renamed"
    assert store.names() == ([NAME] if complete else [])
    orphans = [path.name for path in root.iterdir() if path.name != NAME]
    assert len(orphans) == (0 if complete else 1)
    assert store.remove([]) == orphans
    store.publish(**fields())
    assert store.load(NAME, backbone_sha256=BACKBONE).manifest.edit_id == "e1"
    assert [path.name for path in root.iterdir()] == [NAME]


@pytest.mark.parametrize("step", STEPS)
def test_stopped_by_an_error_it_cleans_up_after_itself(url: str, step: str) -> None:
    def checkpoint(name: str) -> None:
        if name == step:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        AdaptersStore(url, checkpoint=checkpoint).publish(**fields())
    store = AdaptersStore(url)
    complete = step == "adapter.renamed"
    assert store.names() == ([NAME] if complete else [])
    if not complete:
        with pytest.raises(AdapterRefused, match="missing"):
            store.verify(NAME)
    store.publish(**fields())
    assert store.verify(NAME).seed == 1


def test_an_unfinished_version_in_an_object_store_is_collected_and_its_name_stays_free() -> None:
    def checkpoint(_: str) -> None:
        raise ZeroDivisionError

    url = "memory://unfinished/adapters"
    with pytest.raises(ZeroDivisionError):
        AdaptersStore(url, checkpoint=checkpoint).publish(**fields())
    store = AdaptersStore(url)
    assert store.remove([NAME]) == [NAME]
    store.publish(**fields(seed=2))
    system, path = fsspec.url_to_fs(url)
    system.rm(path, recursive=True)


def test_all_steps_are_passed_in_order(url: str) -> None:
    passed: list[str] = []
    store = AdaptersStore(url, checkpoint=passed.append)
    store.publish(**fields())
    store.publish(**fields())
    assert tuple(passed) == STEPS


def test_a_disk_that_takes_no_more_leaves_nothing_behind(root: Path) -> None:
    result = elsewhere("publish", root, limit=5000)
    assert result.stdout.startswith("StoreError region 3, version 7"), result
    assert "nothing half-done is visible" in result.stdout
    assert list(root.iterdir()) == []
    assert elsewhere("publish", root).stdout == ""
    AdaptersStore(root).verify(NAME)


def test_bytes_damaged_on_the_way_to_the_disk_are_not_published(root: Path) -> None:
    def checkpoint(step: str) -> None:
        if step == "adapter.written":
            (folder,) = root.iterdir()
            raw = bytearray((folder / "adapter.safetensors").read_bytes())
            raw[-1] ^= 1
            (folder / "adapter.safetensors").write_bytes(raw)

    with pytest.raises(AdapterRefused, match="hash_mismatch"):
        AdaptersStore(root, checkpoint=checkpoint).publish(**fields())
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("same", [True, False])
def test_of_two_writers_racing_one_wins_and_the_other_is_told(root: Path, same: bool) -> None:
    line = threading.Barrier(2, timeout=20)

    def checkpoint(step: str) -> None:
        if step == "adapter.verified":
            line.wait()

    outcomes: dict[int, object] = {}

    def write(writer: int) -> None:
        content = tensors(0 if same else writer)
        try:
            outcomes[writer] = AdaptersStore(root, checkpoint=checkpoint).publish(**fields(tensors=content))
        except StoreError as error:
            outcomes[writer] = error

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    store = AdaptersStore(root)
    winner = store.verify(NAME)
    assert [path.name for path in root.iterdir()] == [NAME]
    failures = [outcome for outcome in outcomes.values() if isinstance(outcome, StoreError)]
    assert len(failures) == (0 if same else 1)
    assert winner in outcomes.values()
    assert all("versions never change" in str(failure) for failure in failures)


def test_a_removal_leaves_a_publication_in_progress_alone(root: Path) -> None:
    removed: list[list[str]] = []
    other = AdaptersStore(root)
    store = AdaptersStore(root, checkpoint=lambda _: removed.append(other.remove([])))
    store.publish(**fields())
    assert removed == [[]] * 4
    assert store.verify(NAME).version == 7


def test_a_root_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot use"):
        AdaptersStore(tmp_path / "file" / "root")
    root = tmp_path / "root"
    store = AdaptersStore(root)
    root.rmdir()
    with pytest.raises(StoreError, match="check the disk and the permissions"):
        store.publish(**fields())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
