"""Publishing, loading, listing and pruning, on each kind of root."""

import random
from pathlib import Path

import numpy as np
import pytest

from adapters_store import AdaptersStore, parse_version_name, version_name
from adapters_store.errors import AdapterRefused, StoreError
from adapters_store.manifest import Validation, parse_manifest
from tests.adapters_store.small_adapter import BACKBONE, NAME, fields, tensors


def test_what_is_published_is_loaded_bit_for_bit(store: AdaptersStore) -> None:
    manifest = store.publish(**fields())
    loaded = store.load(NAME, backbone_sha256=BACKBONE)
    assert loaded.manifest == manifest == store.show(NAME) == store.verify(NAME)
    assert loaded.config == fields()["config"]
    assert loaded.tensors.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert np.array_equal(loaded.tensors[name], tensor)


def test_the_manifest_says_what_it_was_told(store: AdaptersStore) -> None:
    manifest = store.publish(**fields())
    assert (manifest.name, manifest.region_id, manifest.version, manifest.parent) == (NAME, 3, 7, "r0003_v0006")
    assert (manifest.backbone_sha256, manifest.edit_id, manifest.rank, manifest.seed) == (BACKBONE, "e1", 8, 1)
    assert manifest.targets == ("q", "v")
    assert manifest.validation == Validation(before={"recall@10": 0.1}, after={"recall@10": 0.2})
    assert manifest.size > sum(tensor.nbytes for tensor in tensors().values())
    assert len(manifest.sha256) == len(manifest.checksum) == 64


def test_equal_content_is_equal_bytes_wherever_it_is_published(tmp_path: Path) -> None:
    shuffled = dict(sorted(tensors().items(), reverse=True))
    for root, content in (("a", tensors()), ("b", shuffled)):
        AdaptersStore(tmp_path / root).publish(**fields(tensors=content))
    files = sorted((tmp_path / "a" / NAME).iterdir())
    assert [file.name for file in files] == ["adapter.safetensors", "adapter_config.json", "manifest.json"]
    assert all(file.read_bytes() == (tmp_path / "b" / NAME / file.name).read_bytes() for file in files)


def test_any_finite_number_survives_the_manifest(store: AdaptersStore) -> None:
    draw = random.Random(3)
    numbers = {f"m{n}": draw.uniform(-1, 1) * 10.0 ** draw.randint(-300, 300) for n in range(500)} | {"whole": 1}
    manifest = store.publish(**fields(before=numbers))
    assert store.show(NAME).validation.before == numbers
    assert parse_manifest(manifest.to_bytes()) == manifest


def test_a_transposed_tensor_and_a_scalar_keep_their_content(store: AdaptersStore) -> None:
    odd = {"t": np.arange(6, dtype=np.float32).reshape(2, 3).T, "s": np.array(2.5), "h": np.ones(3, np.float16)}
    store.publish(**fields(tensors=odd))
    loaded = store.load(NAME, backbone_sha256=BACKBONE).tensors
    assert all(np.array_equal(loaded[name], odd[name]) and loaded[name].shape == odd[name].shape for name in odd)


def test_publishing_again_changes_nothing(store: AdaptersStore) -> None:
    first = store.publish(**fields())
    assert store.publish(**fields()) == first
    assert store.names() == [NAME]


@pytest.mark.parametrize("change", [{"tensors": tensors(1)}, {"config": {}}, {"seed": 2}, {"after": {}}])
def test_a_version_never_changes(store: AdaptersStore, change: dict[str, object]) -> None:
    before = store.publish(**fields())
    with pytest.raises(StoreError, match=r"region 3, version 7 .* versions never change"):
        store.publish(**fields(**change))
    assert store.verify(NAME) == before


def test_versions_are_listed_by_region(store: AdaptersStore) -> None:
    assert store.list() == []
    for region_id, version in ((12, 1), (3, 2), (3, 1)):
        store.publish(**fields(region_id=region_id, version=version))
    assert [manifest.name for manifest in store.list()] == ["r0003_v0001", "r0003_v0002", "r0012_v0001"]
    assert [manifest.version for manifest in store.list(3)] == [1, 2]


def test_another_backbone_is_refused(store: AdaptersStore) -> None:
    store.publish(**fields())
    with pytest.raises(AdapterRefused, match="serve it with its own backbone") as caught:
        store.load(NAME, backbone_sha256="c" * 64)
    assert caught.value.reason == "wrong_backbone"


def test_what_is_not_there_is_refused_by_name(store: AdaptersStore) -> None:
    with pytest.raises(AdapterRefused, match=r"missing: region 3, version 7 \(.*r0003_v0007\)") as caught:
        store.load(NAME, backbone_sha256=BACKBONE)
    assert caught.value.reason == "missing"


def test_a_removal_takes_what_is_named_and_says_so(store: AdaptersStore) -> None:
    for version in (1, 2, 3):
        store.publish(**fields(version=version))
    assert store.remove(["r0003_v0001", "r0003_v0003", "r0009_v0001"]) == ["r0003_v0001", "r0003_v0003"]
    assert store.names() == ["r0003_v0002"]
    assert store.verify("r0003_v0002").version == 2
    assert store.remove({"r0003_v0001"}) == []
    with pytest.raises(AdapterRefused, match="missing"):
        store.verify("r0003_v0003")


def test_the_name_of_a_removed_version_stays_spent(store: AdaptersStore) -> None:
    first = store.publish(**fields())
    store.remove([NAME])
    with pytest.raises(StoreError, match="pruned version with other content had this name"):
        store.publish(**fields(seed=2))
    assert store.publish(**fields()) == first
    assert store.verify(NAME) == first


def test_a_misspelt_name_removes_nothing(store: AdaptersStore) -> None:
    store.publish(**fields())
    for change in (store.remove, store.mark, store.unmark):
        with pytest.raises(AdapterRefused, match="bad_name"):
            change(["r3_v7"])
    assert (store.names(), store.marked()) == ([NAME], [])


def test_a_marked_version_is_loaded_and_not_put_in_force_until_the_mark_goes(store: AdaptersStore) -> None:
    store.publish(**fields())
    store.check_available(NAME)
    store.mark([NAME])
    assert store.marked() == [NAME]
    assert store.load(NAME, backbone_sha256=BACKBONE).manifest == store.publish(**fields())
    with pytest.raises(AdapterRefused, match="about to be removed") as caught:
        store.check_available(NAME)
    assert caught.value.reason == "pruned"
    store.unmark([NAME])
    store.check_available(NAME)
    store.remove([NAME])
    assert store.marked() == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"w": np.array([1.0, np.nan], np.float32)}, "not_finite"),
        ({"w": np.array([1.0, -np.inf])}, "not_finite"),
        ({"w": np.arange(3)}, "bad_dtype"),
        ({"w": np.ones(3, np.longdouble)}, "bad_dtype"),
        ({}, "bad_weights"),
    ],
)
def test_weights_that_cannot_be_served_are_not_published(
    store: AdaptersStore, content: dict[str, np.ndarray], reason: str
) -> None:
    with pytest.raises(AdapterRefused, match="region 3, version 7") as caught:
        store.publish(**fields(tensors=content))
    assert caught.value.reason == reason
    assert store.names() == []


@pytest.mark.parametrize(
    "change",
    [
        {"rank": -1},
        {"backbone_sha256": "short"},
        {"edit_id": ""},
        {"parent": "r3_v6"},
        {"after": {"recall@10": float("nan")}},
        {"config": {"r": float("nan")}},
        {"region_id": 10_000},
        {"version": -1},
    ],
    ids=str,
)
def test_a_manifest_that_makes_no_sense_is_not_published(store: AdaptersStore, change: dict[str, object]) -> None:
    with pytest.raises(StoreError, match="region"):
        store.publish(**fields(**change))
    assert store.names() == []


def test_names_have_a_fixed_width() -> None:
    assert version_name(3, 7) == NAME
    assert parse_version_name("r9999_v0000") == (9999, 0)
    with pytest.raises(StoreError, match="9999"):
        version_name(10_000, 1)


def test_a_root_of_no_known_kind_is_refused() -> None:
    with pytest.raises(StoreError, match="cannot use nosuch://x"):
        AdaptersStore("nosuch://x")
