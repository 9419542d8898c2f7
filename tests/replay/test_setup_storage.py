"""A set-up on disk: the same again, bit for bit, or refused."""

import copy
import json
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from pipeline.errors import BackboneError, DataError
from pipeline.models.backbones.base import fingerprint
from pipeline.setup.calibration import Calibration
from pipeline.setup.storage import load_setup, save_setup
from pipeline.strategies.registry import STRATEGIES
from tests.replay.small import context_of, plan

FILES = ("catalogue.json", "regions.json", "arrays.safetensors", "manifest.json", "backbone/model.safetensors")


@pytest.fixture
def root(setup, tmp_path):
    save_setup(setup, tmp_path / "root")
    return tmp_path / "root"


def test_what_is_loaded_is_what_was_saved(setup, root):
    loaded = load_setup(root)
    assert fingerprint(loaded.backbone, loaded.catalogue.encoder) == loaded.backbone_sha256 == setup.backbone_sha256
    for name, value in setup.backbone.state_dict().items():
        assert torch.equal(value, loaded.backbone.state_dict()[name])
    assert loaded.catalogue.sha256 == setup.catalogue.sha256
    assert loaded.catalogue.texts == setup.catalogue.texts
    assert loaded.catalogue.encoder == setup.catalogue.encoder != ""
    assert loaded.recalls == setup.recalls
    assert [r.to_record() for r in loaded.bank.regions] == [r.to_record() for r in setup.bank.regions]
    assert loaded.bank.origins.to_record() == setup.bank.origins.to_record()
    pairs = [(getattr(loaded, name), getattr(setup, name)) for name in ("counts", "reference", "reference_regions")]
    pairs += [(getattr(loaded.calibration, f.name), getattr(setup.calibration, f.name)) for f in fields(Calibration)]
    pairs += list(zip(loaded.newest, setup.newest, strict=True))
    for one, other in pairs:
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("precision", [np.float32, np.float16])
def test_text_embeddings_stay_in_their_file_and_keep_their_precision(setup, tmp_path, precision):
    vectors = setup.catalogue.vectors.astype(precision)
    backbone = copy.deepcopy(setup.backbone)
    backbone.items.hold_texts(torch.from_numpy(vectors).dtype)
    save_setup(
        replace(setup, backbone=backbone, catalogue=replace(setup.catalogue, vectors=vectors)), tmp_path / "root"
    )
    loaded = load_setup(tmp_path / "root")
    assert loaded.catalogue.vectors.dtype == loaded.backbone.items.readable_texts()._stored.dtype == precision
    assert np.array_equal(loaded.catalogue.vectors, vectors)
    before = (tmp_path / "root" / "arrays.safetensors").read_bytes()
    loaded.catalogue.vectors[:] = 0.0
    assert (tmp_path / "root" / "arrays.safetensors").read_bytes() == before


def test_raie_makes_the_same_of_it(setup, root, tmp_path):
    made = []
    for number, start in enumerate((setup, load_setup(root))):
        raie = STRATEGIES["raie"](context_of(start, tmp_path / f"state{number}"))
        made.append(raie.observe(plan().stream))
    np.testing.assert_array_equal(made[0].ranks, made[1].ranks)
    np.testing.assert_array_equal(made[0].confidence, made[1].confidence)


def test_saving_twice_gives_the_same_files(setup, root, tmp_path):
    save_setup(setup, tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (root / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_refused_and_named(root, name):
    content = bytearray((root / name).read_bytes())
    content[len(content) // 2] ^= 1
    (root / name).write_bytes(bytes(content))
    with pytest.raises((DataError, BackboneError), match="raie setup") as refused:
        load_setup(root)
    assert name.rsplit("/")[-1] in str(refused.value) or "manifest.json" in str(refused.value)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_and_named(root, name):
    (root / name).unlink()
    with pytest.raises((DataError, BackboneError), match=f"{name.rsplit('/')[-1]} cannot be read.*raie setup"):
        load_setup(root)


def vouch_for(root, name):
    """Have the manifest say that a file is as it was saved."""
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["files"][name] = sha256((root / name).read_bytes()).hexdigest()
    (root / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("array", "named"),
    [("calibration.moved_lane", "moved_lane of its calibration"), ("newest.contexts", "newest windows of set-up")],
)
def test_a_set_up_of_another_version_is_refused_with_what_to_do(root, array, named):
    arrays = load_file(root / "arrays.safetensors")
    del arrays[array]
    save_file(arrays, root / "arrays.safetensors")
    vouch_for(root, "arrays.safetensors")
    with pytest.raises(DataError, match=rf"lacks {named}: another version .*raie setup"):
        load_setup(root)


def test_a_set_up_whose_gate_looked_at_windows_in_another_way_is_refused_too(root):
    regions = json.loads((root / "regions.json").read_text())
    del regions["origins"]["coverage"]
    (root / "regions.json").write_text(json.dumps(regions))
    vouch_for(root, "regions.json")
    with pytest.raises(DataError, match=r"taken since set-up: run `raie setup`"):
        load_setup(root)


def test_another_backbone_is_refused(root):
    manifest = json.loads((root / "manifest.json").read_text())
    (root / "manifest.json").write_text(json.dumps({**manifest, "backbone_sha256": "0" * 64}))
    with pytest.raises(DataError, match="is another backbone"):
        load_setup(root)


def test_nothing_is_written_over(setup, root):
    with pytest.raises(DataError, match="exists, and a stored set-up"):
        save_setup(setup, root)


def test_an_empty_folder_may_be_written_into(setup, tmp_path):
    (tmp_path / "root").mkdir()
    save_setup(setup, tmp_path / "root")
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert load_setup(tmp_path / "root").backbone_sha256 == setup.backbone_sha256


def test_a_mounted_folder_is_filled_from_inside(setup, tmp_path):
    # Beside a mount nothing can be written.
    (tmp_path / "mounts" / "root" / "lost+found").mkdir(parents=True)
    identity = (tmp_path / "mounts" / "root").stat().st_ino
    save_setup(setup, tmp_path / "mounts" / "root")
    assert (tmp_path / "mounts" / "root").stat().st_ino == identity
    assert [path.name for path in (tmp_path / "mounts").iterdir()] == ["root"]
    assert load_setup(tmp_path / "mounts" / "root").backbone_sha256 == setup.backbone_sha256


@pytest.mark.parametrize("moved", [0, 1, 2, 4])
def test_what_an_interrupted_set_up_left_is_replaced(setup, tmp_path, moved, monkeypatch):
    renamed = []

    def rename(path: Path, target: Path) -> Path:
        if target.parent.name == "root":
            if len(renamed) == moved:
                raise KeyboardInterrupt
            renamed.append(target)
        return plain(path, target)

    plain = Path.rename
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        save_setup(setup, tmp_path / "root")
    monkeypatch.undo()
    with pytest.raises(DataError):
        load_setup(tmp_path / "root")
    save_setup(setup, tmp_path / "root")
    assert load_setup(tmp_path / "root").backbone_sha256 == setup.backbone_sha256
    assert not (tmp_path / "root" / ".draft").exists()
