"""Torn, corrupt and hostile versions: all refused, none of their code run, nothing outside the root touched."""

import json
import os
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from adapters_store import AdaptersStore
from adapters_store.errors import AdapterRefused, StoreError
from adapters_store.manifest import CONFIG, MANIFEST, WEIGHTS, file_entry, parse_manifest
from tests.adapters_store.small_adapter import BACKBONE, NAME, fields


def refused(store: AdaptersStore, name: str = NAME) -> str:
    with pytest.raises(AdapterRefused) as caught:
        store.load(name, backbone_sha256=BACKBONE)
    return caught.value.reason


def forge(folder: Path, file: str, raw: bytes) -> None:
    """Put `raw` in the place of a file, with a matching manifest."""
    manifest = parse_manifest((folder / MANIFEST).read_bytes())
    forged = manifest.model_copy(update={"files": {**manifest.files, file: file_entry(raw)}})
    (folder / file).write_bytes(raw)
    (folder / MANIFEST).write_bytes(forged.to_bytes())


class Canary:
    """Leaves a trace where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._path),)


def test_a_file_cut_anywhere_is_refused(local: AdaptersStore, published: Path) -> None:
    for file in (WEIGHTS, CONFIG, MANIFEST):
        whole = (published / file).read_bytes()
        for length in {*range(0, len(whole), 4096), *range(0, min(len(whole), 200), 7), len(whole) - 1}:
            (published / file).write_bytes(whole[:length])
            assert refused(local) in {"wrong_size", "bad_manifest"}, (file, length)
        (published / file).write_bytes(whole + b"\n")
        assert refused(local) in {"wrong_size", "bad_manifest"}
        (published / file).write_bytes(whole)
    local.verify(NAME)


def test_weights_cut_with_a_manifest_that_vouches_for_it_are_refused(local: AdaptersStore, published: Path) -> None:
    whole = (published / WEIGHTS).read_bytes()
    for length in (*range(0, len(whole), 4096), 3, 8, 9, 100, len(whole) - 1):
        forge(published, WEIGHTS, whole[:length])
        assert refused(local) == "bad_weights", length


def test_200_of_200_flipped_bits_are_refused(local: AdaptersStore, published: Path) -> None:
    files = {file: (published / file).read_bytes() for file in (WEIGHTS, CONFIG, MANIFEST)}
    positions = [(file, at) for file, raw in files.items() for at in range(len(raw))]
    draw = random.Random(5)
    # Half of them in the two small files, which a draw by size would hardly ever meet.
    small = [position for position in positions if position[0] != WEIGHTS]
    for file, at in draw.sample(positions, 100) + draw.sample(small, 100):
        raw = bytearray(files[file])
        raw[at] ^= 1 << draw.randrange(8)
        (published / file).write_bytes(raw)
        assert refused(local) in {"hash_mismatch", "bad_manifest"}, (file, at)
        (published / file).write_bytes(files[file])
    local.verify(NAME)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(local: AdaptersStore, published: Path, value: float) -> None:
    forge(published, WEIGHTS, safetensors.numpy.save({"w": np.array([1.0, value], np.float32)}))
    assert refused(local) == "not_finite"


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../outside",
        "/etc/passwd",
        "/dev/zero",
        "r0003_v0007/../../outside",
        "r0003_v0007/",
        "r0003_v0007\n",
        "r0003_v0007\0",
        "\0",
        "r3_v7",
        "r00003_v0007",
        "R0003_v0007",
        "r0003_v000٧",
        "file:///etc/passwd",
        ".tmp-r0003_v0007-0",
        "a" * 10_000,
    ],
)
def test_a_hostile_name_is_refused_before_anything_is_opened(
    local: AdaptersStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> int:
        raise AssertionError("something was opened")

    monkeypatch.setattr(os, "open", opened)
    assert refused(local, name) == "bad_name"


def test_a_link_in_the_place_of_a_version_is_refused(local: AdaptersStore, published: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.move(published, outside)
    published.symlink_to(outside, target_is_directory=True)
    assert refused(local) == "unsafe_path"
    assert local.remove([NAME]) == [NAME]
    assert len(list(outside.iterdir())) == 3


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG, MANIFEST])
def test_a_link_a_pipe_a_folder_in_the_place_of_a_file_are_refused(
    local: AdaptersStore, published: Path, tmp_path: Path, file: str
) -> None:
    outside = tmp_path / "outside"
    shutil.move(published / file, outside)
    (published / file).symlink_to(outside)
    assert refused(local) == "unsafe_path"
    (published / file).unlink()
    (published / file).symlink_to("/dev/zero")
    assert refused(local) == "unsafe_path"
    (published / file).unlink()
    os.mkfifo(published / file)
    assert refused(local) == "unsafe_path"
    (published / file).unlink()
    (published / file).mkdir()
    assert refused(local) == "unsafe_path"


def test_an_oversize_file_is_refused_unread(local: AdaptersStore, published: Path) -> None:
    with (published / MANIFEST).open("r+b") as stream:
        stream.truncate(10**12)
    assert refused(local) == "oversize"


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter.pt", "weights.pkl"])
def test_a_pickle_beside_the_weights_is_refused_and_never_loaded(
    local: AdaptersStore, published: Path, tmp_path: Path, name: str
) -> None:
    (published / name).write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    assert refused(local) == "unexpected_file"
    assert not (tmp_path / "canary").exists()


def test_a_pickle_in_the_place_of_the_weights_is_refused_and_never_loaded(
    local: AdaptersStore, published: Path, tmp_path: Path
) -> None:
    raw = pickle.dumps(Canary(tmp_path / "canary"))
    for file in (WEIGHTS, CONFIG):
        sound = (published / file).read_bytes()
        forge(published, file, raw)
        assert refused(local) in {"bad_weights", "bad_config"}
        forge(published, file, sound)
    assert not (tmp_path / "canary").exists()
    pickle.loads(raw)
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG, MANIFEST])
def test_a_version_that_lacks_a_file_is_refused(local: AdaptersStore, published: Path, file: str) -> None:
    (published / file).unlink()
    assert refused(local) == "missing"


def test_a_version_under_another_name_is_refused(local: AdaptersStore, published: Path, root: Path) -> None:
    shutil.copytree(published, root / "r0004_v0007")
    assert refused(local, "r0004_v0007") == "wrong_name"


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"checksum": 1}', "[" * 100_000, "\x00"])
def test_a_manifest_that_is_none_is_refused(local: AdaptersStore, published: Path, content: str) -> None:
    (published / MANIFEST).write_text(content)
    assert refused(local) == "bad_manifest"


@pytest.mark.parametrize("change", [{"format_version": 2}, {"extra": 1}, {"rank": "8"}, {"files": {}}])
def test_a_manifest_of_another_schema_is_refused(
    local: AdaptersStore, published: Path, change: dict[str, object]
) -> None:
    content = json.loads((published / MANIFEST).read_bytes()) | change
    (published / MANIFEST).write_text(json.dumps(content))
    assert refused(local) == "bad_manifest"


def test_a_refusal_names_region_version_path_and_what_to_do(local: AdaptersStore, published: Path) -> None:
    (published / WEIGHTS).write_bytes(b"short")
    with pytest.raises(
        AdapterRefused, match=r"region 3, version 7 \(/.*/r0003_v0007\): .* restore the version"
    ) as caught:
        local.load(NAME, backbone_sha256=BACKBONE)
    assert str(caught.value).count(str(published)) == 1


def test_a_damaged_version_is_listed_by_name_removed_and_its_name_spent(local: AdaptersStore, published: Path) -> None:
    (published / MANIFEST).write_bytes(b"short")
    assert local.names() == [NAME]
    with pytest.raises(AdapterRefused, match="bad_manifest"):
        local.list()
    assert local.remove([NAME]) == [NAME]
    with pytest.raises(StoreError, match="take the next version"):
        local.publish(**fields())
    local.publish(**fields(version=8))


def test_torn_weights_are_replaced_by_pruning_and_publishing_the_same_again(
    local: AdaptersStore, published: Path
) -> None:
    (published / WEIGHTS).write_bytes(b"short")
    with pytest.raises(AdapterRefused, match="wrong_size"):
        local.publish(**fields())
    assert local.remove([NAME]) == [NAME]
    local.publish(**fields())
    local.verify(NAME)
