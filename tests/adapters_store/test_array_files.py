"""Array files: named by their content, there whole or not at all, and refused where anything is wrong with them."""

import hashlib
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adapters_store import AdaptersStore, ArrayFile
from adapters_store.errors import AdapterRefused, StoreError
from tests.adapters_store.elsewhere import elsewhere
from tests.adapters_store.small_adapter import NAME, fields

STEPS = ("arrays.written", "arrays.synced", "arrays.verified", "arrays.renamed")


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"centroid.4": rng.normal(size=500), "weights": rng.normal(size=(40, 3)), "none": np.zeros((0, 3))}


def path_of(root: Path, file: ArrayFile) -> Path:
    return root / "arrays" / f"{file.sha256}.safetensors"


def test_what_is_written_is_read(store: AdaptersStore) -> None:
    file = store.arrays.write(arrays(), "e1")
    found = store.arrays.read(file)
    assert {name: array.shape for name, array in found.items()} == {n: a.shape for n, a in arrays().items()}
    assert all((found[name] == array).all() and found[name].dtype == array.dtype for name, array in arrays().items())
    assert store.arrays.names() == [file.sha256]
    assert store.arrays.made_by(file.sha256) == "e1"


def test_a_file_is_named_by_its_content_and_its_edit(store: AdaptersStore) -> None:
    file = store.arrays.write(arrays(), "e1")
    assert store.arrays.write(dict(reversed(arrays().items())), "e1") == file
    others = [
        store.arrays.write(arrays(1), "e1"),
        store.arrays.write(arrays(), "e2"),
        store.arrays.write(arrays(), None),
    ]
    assert len({file, *others}) == 4
    assert [store.arrays.made_by(other.sha256) for other in others] == ["e1", "e2", None]
    assert store.arrays.names() == sorted(each.sha256 for each in (file, *others))


def test_removed_is_what_is_named_and_nothing_else(store: AdaptersStore) -> None:
    kept, gone = (store.arrays.write(arrays(seed), None) for seed in range(2))
    store.publish(**fields())
    assert store.arrays.remove([gone.sha256, "0" * 64]) == [gone.sha256]
    assert store.remove([NAME]) == [NAME]
    assert store.remove([NAME]) == []
    assert store.arrays.names() == [kept.sha256]
    store.arrays.read(kept)
    with pytest.raises(AdapterRefused, match=rf"missing: .*arrays/{gone.sha256}.* restore the file from a backup"):
        store.arrays.read(gone)
    assert store.arrays.made_by(gone.sha256) is None


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_a_file_is_whole_or_not_there(root: Path, step: str) -> None:
    assert elsewhere("arrays", root, step).returncode == -signal.SIGKILL
    store = AdaptersStore(root)
    complete = step == "arrays.renamed"
    assert len(store.arrays.names()) == complete
    left = [path.name for path in root.iterdir() if path.name != "arrays"]
    assert len(left) == (not complete)
    file = store.arrays.write(arrays(), "e1")
    assert store.arrays.names() == [file.sha256], "what was left is used again"
    assert store.remove([]) == left, "the next trainer removes the rest"
    assert [path.name for path in root.iterdir()] == ["arrays"]
    store.arrays.read(file)


@pytest.mark.parametrize("step", STEPS)
def test_stopped_by_an_error_it_cleans_up_after_itself(root: Path, step: str) -> None:
    def checkpoint(name: str) -> None:
        if name == step:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        AdaptersStore(root, checkpoint=checkpoint).arrays.write(arrays(), None)
    assert [path.name for path in root.iterdir()] == ["arrays"]
    assert len(AdaptersStore(root).arrays.names()) == (step == "arrays.renamed")


def test_all_steps_are_passed_in_order(url: str) -> None:
    passed: list[str] = []
    AdaptersStore(url, checkpoint=passed.append).arrays.write(arrays(), None)
    assert tuple(passed) == STEPS


def test_a_disk_that_takes_no_more_leaves_nothing_behind(root: Path) -> None:
    result = elsewhere("arrays", root, limit=2000)
    assert result.stdout.startswith("StoreError"), result
    assert "nothing half-done is visible" in result.stdout
    assert [path.name for path in root.rglob("*")] == ["arrays"]
    assert elsewhere("arrays", root).stdout == ""
    assert len(AdaptersStore(root).arrays.names()) == 1


def test_a_collection_leaves_a_file_in_the_making_alone(root: Path) -> None:
    removed: list[list[str]] = []
    other = AdaptersStore(root)
    store = AdaptersStore(root, checkpoint=lambda _: removed.append(other.remove([])))
    store.arrays.read(store.arrays.write(arrays(), None))
    assert removed == [[]] * 4


def test_of_two_writers_of_one_file_both_succeed(root: Path) -> None:
    line = threading.Barrier(2, timeout=20)
    files: list[ArrayFile] = []

    def write() -> None:
        def checkpoint(step: str) -> None:
            if step == "arrays.verified":
                line.wait()

        files.append(AdaptersStore(root, checkpoint=checkpoint).arrays.write(arrays(), None))

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert files[0] == files[1]
    assert [path.name for path in root.rglob("*")] == ["arrays", f"{files[0].sha256}.safetensors"]


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(8))


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def fold(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_folder(path: Path) -> None:
    path.parent.rename(path.parents[1] / "elsewhere")
    path.parent.symlink_to(path.parents[1] / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "missing"),
        (flip, "hash_mismatch"),
        (cut, "wrong_size"),
        (lengthen, "oversize"),
        (link, "unsafe_path"),
        (fold, "unsafe_path"),
        (link_folder, "unsafe_path"),
    ],
)
def test_a_damaged_file_is_refused_by_reason(root: Path, damage: Callable[[Path], None], reason: str) -> None:
    store = AdaptersStore(root)
    file = store.arrays.write(arrays(), "e1")
    damage(path_of(root, file))
    with pytest.raises(AdapterRefused, match=f"arrays/{file.sha256}.safetensors") as caught:
        store.arrays.read(file)
    assert caught.value.reason == reason


def test_writing_a_damaged_file_again_restores_it(root: Path) -> None:
    store = AdaptersStore(root)
    file = store.arrays.write(arrays(), None)
    flip(path_of(root, file))
    assert store.arrays.write(arrays(), None) == file
    store.arrays.read(file)


def test_each_of_200_flipped_bits_is_refused(root: Path) -> None:
    store = AdaptersStore(root)
    file = store.arrays.write(arrays(), None)
    path, rng = path_of(root, file), np.random.default_rng(7)
    whole = path.read_bytes()
    for at in rng.integers(len(whole), size=200):
        raw = bytearray(whole)
        raw[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(raw)
        with pytest.raises(AdapterRefused, match="hash_mismatch"):
            store.arrays.read(file)


def test_a_file_of_another_format_under_a_true_hash_is_refused(root: Path) -> None:
    store, raw = AdaptersStore(root), b"\x80\x04K\x01."
    file = ArrayFile(hashlib.sha256(raw).hexdigest(), len(raw))
    (root / "arrays").mkdir()
    path_of(root, file).write_bytes(raw)
    with pytest.raises(AdapterRefused, match="bad_arrays"):
        store.arrays.read(file)
    assert store.arrays.made_by(file.sha256) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_not_written(store: AdaptersStore, value: float) -> None:
    with pytest.raises(AdapterRefused, match="not_finite"):
        store.arrays.write({"a": np.array([1.0, value])}, None)
    assert store.arrays.names() == []


@pytest.mark.parametrize("sha256", ["", "../outside", "/etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", 5, None])
def test_a_hostile_name_is_no_reference(sha256: object) -> None:
    with pytest.raises(ValueError, match="is no sha256"):
        ArrayFile(sha256, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, -1, 10**12, "5", None, 1.5])
def test_a_size_that_no_file_has_is_no_reference(size: object) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        ArrayFile("0" * 64, size)  # type: ignore[arg-type]


def test_other_files_in_the_folder_are_not_listed(root: Path) -> None:
    store = AdaptersStore(root)
    file = store.arrays.write(arrays(), None)
    (root / "arrays" / "notes.txt").write_text("")
    (root / "arrays" / "0.safetensors").write_text("")
    assert store.arrays.names() == [file.sha256]


def test_a_root_that_is_gone_says_so(root: Path) -> None:
    store = AdaptersStore(root)
    root.rmdir()
    with pytest.raises(StoreError, match="check the disk and the permissions"):
        store.arrays.write(arrays(), None)
