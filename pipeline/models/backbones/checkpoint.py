"""Saving and loading a backbone.

A saved backbone is a folder: `config.json` (its shape), `model.safetensors` (its weights), `item_texts.safetensors`
(the text embeddings and tokens that it reads), `backbone.json` (its kind and the sha256 of the others) and, for a
language model that has one, `tokenizer` (from which items that arrive later get their rows).
None of them can run code: weights are safetensors, and the rest is JSON.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer

from pipeline.errors import BackboneError
from pipeline.models.backbones.base import Backbone, fingerprint, fingerprint_with_texts
from pipeline.models.backbones.factory import KINDS
from pipeline.models.placement import NONE, ON_CPU, Placement
from pipeline.models.quantization import plain_tensors, quantize_empty
from pipeline.models.seeding import Undrawn, seeded
from pipeline.models.weight_files import sha256_of

CONFIG, WEIGHTS, TEXTS, RECORD = "config.json", "model.safetensors", "item_texts.safetensors", "backbone.json"
TOKENIZER = "tokenizer"

_REPAIR = "restore the folder from a backup, or run `raie setup` again"


def save_backbone(model: Backbone, folder: Path, encoder: str) -> str:
    """Write a backbone into a new folder, atomically.

    Args:
        model: not wrapped by an adapter host.
        folder: does not exist yet; its parents are made.
        encoder: identity of the text encoder, "" without text.

    Returns:
        The fingerprint: sha256 over weights and encoder.

    Raises:
        BackboneError: the model has adapters, or the folder exists.
    """
    kind = next((name for name, architecture in KINDS.items() if type(model) is architecture), None)
    if kind is None or any(".base_layer." in name for name in model.state_dict()):
        raise BackboneError(
            f"a {type(model).__name__} with adapters cannot be saved: save it before adapters are attached"
        )
    if folder.exists():
        raise BackboneError(
            f"{folder} exists, and a saved backbone is never overwritten: choose another folder or remove this one"
        )
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    sha256 = fingerprint(model, encoder)
    _write(model, {"kind": kind, "sha256": sha256, "encoder": encoder}, draft)
    draft.rename(folder)
    return sha256


def load_backbone(folder: Path, placement: Placement = ON_CPU) -> Backbone:
    """Read a backbone that `save_backbone` wrote.

    Args:
        folder: has its files.
        placement: where it computes, and the precision and quantisation that it was saved in.

    Returns:
        The backbone, in evaluation mode, its weights as they were saved, bit for bit.

    Raises:
        BackboneError: a file is missing, damaged, or not the one that was saved; the message names it and the remedy.
    """
    record = _json(folder / RECORD)
    architecture = KINDS.get(str(record.get("kind")))
    if architecture is None:
        raise BackboneError(f"{folder / RECORD}: kind {record.get('kind')!r} is none of {', '.join(KINDS)}; {_REPAIR}")
    model = _empty(architecture, folder / CONFIG, str(record.get("config_sha256")))
    if placement.quantization != NONE:
        # Before they are converted: weights that nobody wrote take no memory.
        quantize_empty(model.quantizable(), placement.precision)
        model.quantization = placement.quantization
    model.place(replace(placement, device=ON_CPU.device))
    _fill(model, _tensors(folder / WEIGHTS), folder / WEIGHTS)
    saved = _tensors(folder / TEXTS)
    if "text" in saved:
        model.items.hold_texts(saved["text"].dtype)
    for name, tensor in model.item_texts().items():
        if name not in saved or saved[name].shape != tensor.shape:
            raise BackboneError(f"{folder / TEXTS} does not hold {name} of shape {tuple(tensor.shape)}; {_REPAIR}")
        tensor.copy_(saved[name])
    _verify(model, record, folder)
    if "tokenizer_sha256" in record:
        model.tokenizer = _tokenizer(folder / TOKENIZER, record["tokenizer_sha256"])
    model.eval()  # type: ignore[no-untyped-call]
    return model.place(placement)


def _write(model: Backbone, record: dict[str, str], folder: Path) -> None:
    model.config.save_pretrained(folder)
    weights = {name: value.detach().cpu().clone() for name, value in plain_tensors(model.state_dict()).items()}
    save_file(weights, folder / WEIGHTS)
    save_file({name: value.detach().cpu().clone() for name, value in model.item_texts().items()}, folder / TEXTS)
    record = {**record, "config_sha256": sha256_of(folder / CONFIG), "texts_sha256": sha256_of(folder / TEXTS)}
    if model.tokenizer is not None:
        model.tokenizer.save_pretrained(folder / TOKENIZER)
        record["tokenizer_sha256"] = _sha256_of_files(folder / TOKENIZER)
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _verify(model: Backbone, record: Mapping[str, Any], folder: Path) -> None:
    """Compare what was loaded with the hashes in the record; a backbone of an earlier version keeps its fingerprint."""
    texts = record.get("texts_sha256")
    if texts is not None and (read := sha256_of(folder / TEXTS)) != texts:
        raise BackboneError(
            f"{folder / TEXTS} is not what was saved: its sha256 is {read}, {RECORD} says {texts}; {_REPAIR}"
        )
    found = fingerprint_with_texts(model) if texts is None else fingerprint(model, str(record.get("encoder", "")))
    if found != record.get("sha256"):
        files = f"{folder / WEIGHTS}" if texts is not None else f"{folder / WEIGHTS} or {folder / TEXTS}"
        raise BackboneError(
            f"{files} is not what was saved: the sha256 is {found}, {RECORD} says {record.get('sha256')}; {_REPAIR}"
        )


def _empty(architecture: type[Backbone], path: Path, expected: str) -> Backbone:
    """Backbone of the shape in a configuration file, with weights that the caller replaces."""
    described = _json(path)
    # Some settings, such as the number of heads, change every score and no weight.
    if (found := sha256_of(path)) != expected:
        raise BackboneError(f"{path} is not what was saved: its sha256 is {found}, {RECORD} says {expected}; {_REPAIR}")
    shape: Any = architecture.config_class
    try:
        # Every weight is in the file: `_fill` refuses a file that lacks one.
        with seeded(0), Undrawn():
            return architecture(shape.from_dict(described))
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise BackboneError(f"{path} does not describe a {architecture.__name__} ({error}); {_REPAIR}") from error


def _fill(model: Backbone, weights: dict[str, Tensor], path: Path) -> None:
    held = plain_tensors(model.state_dict())
    shapes = {name: tuple(tensor.shape) for name, tensor in held.items()}
    strange = {name: tuple(tensor.shape) for name, tensor in weights.items()}.items() ^ shapes.items()
    if strange:
        found = ", ".join(f"{name} {shape}" for name, shape in sorted(strange)[:2])
        raise BackboneError(f"{path} does not fit the backbone described beside it ({found}); {_REPAIR}")
    for name, tensor in held.items():
        tensor.copy_(weights[name])


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BackboneError(f"{path} cannot be read ({error}); {_REPAIR}") from error


def _tokenizer(folder: Path, expected: str) -> Any:
    if (found := _sha256_of_files(folder)) != expected:
        raise BackboneError(
            f"{folder} is not what was saved: its sha256 is {found}, {RECORD} says {expected}; {_REPAIR}"
        )
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _sha256_of_files(folder: Path) -> str:
    """Hash over the names and contents of the files in a folder."""
    listed = "".join(f"{path.name} {sha256_of(path)}\n" for path in sorted(folder.glob("*")))
    return hashlib.sha256(listed.encode()).hexdigest()


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path} cannot be read ({error}); {_REPAIR}") from error
    if not isinstance(content, dict):
        raise BackboneError(f"{path} must hold a JSON object, not a {type(content).__name__}; {_REPAIR}")
    return content
