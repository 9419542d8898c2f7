"""Functions behind `raie adapters`: values in, text for the terminal out."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

import numpy as np

from adapters_store import AdaptersStore, Manifest
from adapters_store.errors import AdapterRefused, StoreError
from consumers.runtime.generations import active_log
from consumers.server.rollback import roll_back
from pipeline.streams import open_existing_log


def listing(adapters: str, region_id: int | None) -> str:
    """One line for each version of a store, or of one region; a damaged version's line has the reason."""
    store = AdaptersStore(adapters)
    names = store.names(region_id)
    return "\n".join(_line(name, store) for name in names) if names else "no versions"


def manifest(adapters: str, version: str) -> str:
    """The manifest of a version as JSON."""
    return json.dumps(AdaptersStore(adapters).show(version).model_dump(mode="json"), indent=2)


def difference(adapters: str, one: str, other: str) -> str:
    """One line for each tensor: its norm in both versions, and the norm of the difference.

    Raises:
        StoreError: the versions belong to different backbones.
    """
    store = AdaptersStore(adapters)
    first, second = (store.load(name, backbone_sha256=store.show(name).backbone_sha256) for name in (one, other))
    if first.manifest.backbone_sha256 != second.manifest.backbone_sha256:
        raise StoreError(f"{one} and {other} are of different backbones: their weights cannot be compared")
    lines = [_compared(name, first.tensors, second.tensors) for name in sorted({*first.tensors, *second.tensors})]
    moved = [set(_moved(loaded.config)) for loaded in (first, second)]
    lines.append(f"item rows: {len(moved[0])} and {len(moved[1])}, {len(moved[0] & moved[1])} in both")
    return "\n".join(lines)


def check(adapters: str, versions: Sequence[str]) -> tuple[str, bool]:
    """Verify versions, all if none is named: one line each, and True if all are sound."""
    store = AdaptersStore(adapters)
    lines, sound = [], True
    for name in versions or store.names():
        try:
            store.verify(name)
            lines.append(f"{name}: sound")
        except AdapterRefused as refusal:
            lines.append(f"{name}: {refusal}")
            sound = False
    return "\n".join(lines) or "no versions", sound


def roll_region_back(
    adapters: str, log_url: str, region_id: int, to: str | None, by: str, clock: Callable[[], float] = time.time
) -> str:
    """Roll a region back, and describe the new revision in a sentence."""
    with closing(active_log(open_existing_log(log_url))) as log:
        store = AdaptersStore(adapters)
        revision, plan = roll_back(log, log.producer("rollback"), store, region_id, to, by, clock())
    restored = plan.restored[-1] if plan.restored else "no injected items"
    return f"revision {revision}: region {region_id} is back at {restored}, from {plan.left or 'the backbone'}"


def _line(name: str, store: AdaptersStore) -> str:
    try:
        found = store.show(name)
    except AdapterRefused as refusal:
        return f"{name}  {refusal}"
    validation = _validation(found)
    return f"{name}  from {found.parent or 'nothing'}, edit {found.edit_id}, {validation}, {_size(found):,} bytes"


def _validation(found: Manifest) -> str:
    before, after = found.validation.before, found.validation.after
    return ", ".join(f"{name} {before[name]:.4g} -> {after[name]:.4g}" for name in sorted({*before} & {*after}))


def _size(found: Manifest) -> int:
    return sum(entry.bytes for entry in found.files.values())


def _compared(name: str, first: Mapping[str, object], second: Mapping[str, object]) -> str:
    one, other = first.get(name), second.get(name)
    if one is None or other is None:
        return f"{name}: only in the {'second' if one is None else 'first'}"
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if a.shape != b.shape:
        return f"{name}: {a.shape} and {b.shape}"
    return f"{name}: {np.linalg.norm(a):.4g} and {np.linalg.norm(b):.4g}, {np.linalg.norm(a - b):.4g} apart"


def _moved(config: Mapping[str, object]) -> list[str]:
    """Items that a version moves, as text: ids, or the rows that versions of schema 1 list."""
    listed = config.get("items", config.get("rows"))
    return list(map(str, listed)) if isinstance(listed, list) else []
