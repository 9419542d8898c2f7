"""Storage of a set-up on disk, from which replay and consumers start.

A stored set-up is a folder: `backbone/` (see `pipeline.models.backbones.checkpoint`), `catalogue.json` (items and their
texts), `regions.json` (set-up regions and the gate), `arrays.safetensors` (text embeddings, counts, calibration,
reference sample) and `manifest.json`, which holds the sha256 of the others and facts of the log, and is written last.
None of them can run code: arrays are safetensors, and the rest is JSON.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pipeline.config import ComputeSettings
from pipeline.errors import DataError
from pipeline.models.backbones.checkpoint import load_backbone, save_backbone
from pipeline.models.catalogue import Catalogue
from pipeline.models.placement import ON_CPU, Placement
from pipeline.regions.bank import RegionBank
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Region
from pipeline.setup.artifacts import SetUp, SetupEvents, TrainingLog
from pipeline.setup.calibration import Calibration

BACKBONE, MANIFEST = "backbone", "manifest.json"
CATALOGUE, REGIONS, ARRAYS = "catalogue.json", "regions.json", "arrays.safetensors"
VECTORS = "vectors"
"""Array of the text embeddings."""
DTYPES = {"F16": np.float16, "F32": np.float32}
"""Types of text embeddings, as safetensors names them."""
HASHED = (CATALOGUE, REGIONS, ARRAYS)
DRAFT = ".draft"
"""Folder in which a set-up is written before it is moved to its place."""
TRAINING = ".training"
"""Folder of the checkpoint of a set-up that is not complete yet (`pipeline.setup.checkpoint`)."""
LOST_FOUND = "lost+found"
"""Folder that a mounted file system has at its top."""

_REPAIR = "restore the folder from a backup, or run `raie setup` again"
_EVENTS = tuple(field.name for field in fields(SetupEvents))
_RANKING = "ranking."
_CALIBRATION = tuple(field.name for field in fields(Calibration))

Arrays = Mapping[str, NDArray[Any]]


def refuse_existing(root: Path) -> None:
    """Check that the folder of a new set-up does not exist or is empty.

    Raises:
        DataError: it exists with content, or is a file or link.
    """
    if root.is_symlink() or (root.exists() and not (root.is_dir() and _is_empty(root))):
        raise DataError(f"{root} exists, and a stored set-up is never overwritten: name a new folder or remove it")


def _is_empty(root: Path) -> bool:
    """True for a folder without anything but the remains of an interrupted set-up, if any."""
    names = {path.name for path in root.iterdir()} - {LOST_FOUND, TRAINING}
    return not names or DRAFT in names <= {DRAFT, BACKBONE, *HASHED}


def save_setup(setup: SetUp, root: Path) -> None:
    """Write a set-up into a new folder; it is complete once it has its manifest, which comes last.

    The checkpoint of its training is removed then.

    Everything is written inside the folder: it may be a mount, beside which nothing can be written.

    Args:
        setup: its backbone is not wrapped by an adapter host.
        root: does not exist yet, or is empty; its parents are created.

    Raises:
        DataError: the folder is not empty.
        BackboneError: the backbone has adapters.
        OSError: the folder cannot be written.
    """
    refuse_existing(root)
    draft = root / DRAFT
    for remains in (draft, root / BACKBONE):
        shutil.rmtree(remains, ignore_errors=True)
    draft.mkdir(parents=True)
    save_backbone(setup.backbone, draft / BACKBONE, setup.catalogue.encoder)
    catalogue, bank = setup.catalogue, setup.bank
    _write_json(
        draft / CATALOGUE,
        {"item_ids": catalogue.item_ids, "texts": catalogue.texts, "encoder": catalogue.encoder},
    )
    regions = {"regions": [r.to_record() for r in bank.regions], "origins": bank.origins.to_record()}
    _write_json(draft / REGIONS, {**regions, "gate_version": bank.gate_version, "recalls": setup.recalls})
    save_file(_arrays(setup), draft / ARRAYS)
    hashes = {name: _sha256(draft / name) for name in HASHED}
    log = {} if setup.log is None else {"log": setup.log.to_record()}
    facts = {"backbone_sha256": setup.backbone_sha256, "compute": setup.backbone.placement.to_record(), **log}
    _write_json(draft / MANIFEST, {"files": hashes, **facts})
    for name in (BACKBONE, *HASHED, MANIFEST):
        (draft / name).rename(root / name)
    draft.rmdir()
    shutil.rmtree(root / TRAINING, ignore_errors=True)


def load_setup(root: Path, compute: ComputeSettings | None = None) -> SetUp:
    """Read a set-up that `save_setup` wrote.

    Args:
        root: its folder.
        compute: where the backbone is to compute; None: it stays on the CPU, for a process that never runs it.

    Returns:
        The set-up as saved, bit for bit.

    Raises:
        ConfigError: the backbone cannot compute here as it did in set-up; the message names setting and remedy.
        DataError: a file is missing, damaged, or not the one that was saved; the message names it and the remedy.
        BackboneError: the same for the files of the backbone.
    """
    manifest = _json(root / MANIFEST)
    _verify(root, manifest)
    regions, arrays = _json(root / REGIONS), _load_arrays(root / ARRAYS)
    backbone = load_backbone(root / BACKBONE, _placement(root, manifest, compute))
    expected = str(manifest.get("backbone_sha256"))
    found = _json(root / BACKBONE / "backbone.json").get("sha256")
    if found != expected:
        raise DataError(f"{root / BACKBONE} is another backbone ({found}) than the set-up's ({expected}); {_REPAIR}")
    return SetUp(
        backbone=backbone,
        backbone_sha256=expected,
        catalogue=_catalogue(_json(root / CATALOGUE), arrays),
        counts=arrays["counts"],
        bank=_bank(root / REGIONS, regions),
        calibration=_calibration(root / ARRAYS, arrays),
        reference=arrays["reference"],
        reference_regions=arrays["reference_tastes"],
        recalls=tuple(regions["recalls"]),
        newest=_newest(root / ARRAYS, arrays),
        events=_events(root / ARRAYS, arrays),
        log=TrainingLog.from_record(manifest["log"]) if "log" in manifest else None,
        ranking={name.removeprefix(_RANKING): a for name, a in arrays.items() if name.startswith(_RANKING)},
    )


def check_placement(root: Path, compute: ComputeSettings) -> None:
    """Check that the backbone of a set-up can compute here as it did in set-up, without reading it.

    Raises:
        ConfigError: it cannot; the message names setting and remedy.
        DataError: there is no set-up.
    """
    _placement(root, _json(root / MANIFEST), compute)


def _placement(root: Path, manifest: Mapping[str, Any], compute: ComputeSettings | None) -> Placement:
    """Placement of the backbone; earlier versions computed on the CPU in float32 and did not say so."""
    made = {**ON_CPU.to_record(), **manifest.get("compute", {})}
    if compute is None:
        return Placement.of_stored(ComputeSettings(device="cpu"), {**made, "device": "cpu"}, str(root))
    return Placement.of_stored(compute, made, f"the set-up in {root}")


def read_training_log(root: Path) -> TrainingLog:
    """Read which log a stored set-up learned from.

    Raises:
        DataError: there is no set-up, or an earlier version of the program wrote it.
    """
    manifest = _json(root / MANIFEST)
    if "log" not in manifest:
        raise DataError(
            f"{root} does not say which log it learned from, because an earlier version of the program wrote it: run "
            "`raie setup` again, or feed histories and stream with `raie produce`"
        )
    return TrainingLog.from_record(manifest["log"])


def _arrays(setup: SetUp) -> dict[str, NDArray[Any]]:
    arrays = {
        VECTORS: setup.catalogue.vectors,
        "counts": setup.counts,
        "reference": setup.reference,
        "reference_tastes": setup.reference_regions,
        "newest.contexts": setup.newest[0],
        "newest.targets": setup.newest[1],
    }
    arrays |= {f"events.{name}": getattr(setup.events, name) for name in _EVENTS}
    arrays |= {f"calibration.{name}": getattr(setup.calibration, name) for name in _CALIBRATION}
    arrays |= {f"{_RANKING}{name}": array for name, array in setup.ranking.items()}
    # The format stores memory in its physical order, so a view would be written in the wrong order.
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}


def _catalogue(record: Mapping[str, Any], arrays: Arrays) -> Catalogue:
    return Catalogue(tuple(record["item_ids"]), tuple(record["texts"]), arrays[VECTORS], record["encoder"])


def _bank(path: Path, record: Mapping[str, Any]) -> RegionBank:
    regions = tuple(Region.from_record(region) for region in record["regions"])
    return RegionBank(regions, _origins(path, record["origins"]), record["gate_version"])


def _origins(path: Path, record: Mapping[str, Any]) -> OriginModel:
    if "coverage" not in record:
        raise DataError(
            f"{path} was written by a version of the program whose gate has no feature of items taken since "
            "set-up: run `raie setup` again, or continue with that version"
        )
    return OriginModel.from_record(record)


def _calibration(path: Path, arrays: Arrays) -> Calibration:
    missing = [name for name in _CALIBRATION if f"calibration.{name}" not in arrays]
    if missing:
        raise _of_another_version(path, f"{', '.join(missing)} of its calibration")
    return Calibration(**{name: arrays[f"calibration.{name}"] for name in _CALIBRATION})


def _newest(path: Path, arrays: Arrays) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if "newest.contexts" not in arrays:
        raise _of_another_version(path, "newest windows of set-up")
    return arrays["newest.contexts"], arrays["newest.targets"]


def _events(path: Path, arrays: Arrays) -> SetupEvents:
    """Newest events of set-up; earlier versions stored only windows that the backbone was trained on."""
    if "events.targets" in arrays:
        return SetupEvents(**{name: arrays[f"events.{name}"] for name in _EVENTS})
    contexts, targets = _newest(path, arrays)
    number = len(targets)
    return SetupEvents(contexts, np.zeros((number, 0), np.int32), targets, np.zeros(number, dtype=np.bool_))


def _of_another_version(path: Path, missing: str) -> DataError:
    return DataError(
        f"{path} lacks {missing}: another version of the program wrote it; run `raie setup` again, or continue with "
        "that version"
    )


def _verify(root: Path, manifest: Mapping[str, Any]) -> None:
    recorded = manifest.get("files")
    for name in HASHED:
        expected = recorded.get(name) if isinstance(recorded, dict) else None
        found = _sha256(root / name)
        if found != expected:
            raise DataError(
                f"{root / name} is not what was saved: its sha256 is {found}, {MANIFEST} says {expected}; {_REPAIR}"
            )


def _load_arrays(path: Path) -> Arrays:
    """Arrays by name; text embeddings stay in the file, and are read from it where they are needed."""
    try:
        with safe_open(path, "numpy") as file:
            names = set(file.keys()) - {VECTORS}
            arrays = {name: file.get_tensor(name) for name in names}
        return {**arrays, VECTORS: _mapped(path, VECTORS)}
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read ({error}); {_REPAIR}") from error


def _mapped(path: Path, name: str) -> NDArray[Any]:
    """One array of a safetensors file, in memory only while it is read.

    The file begins with the length of its header in 8 bytes, little-endian, and the header, JSON.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
    if 0 in entry["shape"]:
        return np.zeros(entry["shape"], dtype=DTYPES[entry["dtype"]])
    # Copied where it is written: the file stays as it is.
    at = 8 + length + entry["data_offsets"][0]
    return np.asarray(np.memmap(path, DTYPES[entry["dtype"]], mode="c", offset=at, shape=tuple(entry["shape"])))


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    # Python writes the shortest digits that read back as the same double, without rounding.
    path.write_text(json.dumps(document, sort_keys=True) + "\n", encoding="utf-8")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); {_REPAIR}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object, not a {type(content).__name__}; {_REPAIR}")
    return content


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); {_REPAIR}") from error
