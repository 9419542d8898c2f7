"""Assignment of interactions to segments, from the plan, the set-up, and the ledger of `raie`."""

import copy
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from pipeline.evaluation.protocols import Plan
from pipeline.evaluation.segments import Segments
from pipeline.events.edit import Edit, Outcome
from pipeline.events.windows import PADDING, Ids, Windows, taken_rows
from pipeline.models.backbones.base import Backbone
from pipeline.models.catalogue import Catalogue
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.base import grown
from pipeline.strategies.timeline import Timeline

BATCH = 1_024
"""Windows whose candidates are counted together."""

SINCE_SETUP = ("F", "T")
"""Slices since set-up, in event order."""


def segments_of(
    plan: Plan, setup_regions: Sequence[Mapping[str, Ids]], edited: Sequence[set[int]]
) -> dict[str, Segments]:
    """Segments of every slice of a plan.

    Occurrences of an item are counted over the windows of F, then of T. In the protocol `windows` these are a part of
    the interactions, so an item may have occurred in the stream before the first window with it.

    Args:
        plan: of the replay.
        setup_regions: for each seed, the likeliest set-up region of each window, by slice.
        edited: for each seed, the set-up regions that `raie` edited; empty without `raie`.
    """
    setup = [plan.setup, plan.scored["S_new"]]
    targets = np.unique(np.concatenate([windows.targets for windows in setup]))
    users = np.unique(np.concatenate([windows.users for windows in setup]))
    occurrences = _occurrences(plan, targets)
    segments = {}
    for name, windows in plan.by_slice.items():
        setup_region = np.stack([of_seed[name] for of_seed in setup_regions])
        masks = [np.isin(row, sorted(regions)) for row, regions in zip(setup_region, edited, strict=False)]
        segments[name] = Segments(
            windows.event_ids,
            candidates_of(windows, plan.timeline),
            occurrences[name],
            np.isin(windows.users, users),
            setup_region,
            np.stack(masks) if masks else None,
        )
    return segments


def candidates_of(windows: Windows, timeline: Timeline) -> Ids:
    """(n,) candidates of a rank: items that exist, less those of the history other than the target if they are none."""
    taken = taken_rows(windows.contexts)
    ordered = np.sort(np.where(taken == windows.targets[:, None], PADDING, taken), axis=1)
    distinct = np.where(np.diff(ordered, axis=1, prepend=PADDING) > 0, ordered, PADDING)
    found = [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(windows), BATCH):
        positions, items = windows.positions[start : start + BATCH], distinct[start : start + BATCH]
        existence = timeline.existence(positions)
        excluded = [existence.includes(column) for column in existence.held(items).T]
        found.append(existence.counts(len(positions)) - np.sum(excluded, axis=0, dtype=np.int64))
    return np.concatenate(found)


def _occurrences(plan: Plan, known: Ids) -> dict[str, Ids]:
    """Occurrences of `Segments`, by slice; `known` are the items of S."""
    sizes = [len(plan.by_slice[name]) for name in SINCE_SETUP]
    stream = np.concatenate([plan.by_slice[name].targets for name in SINCE_SETUP])
    counted = np.where(np.isin(stream, known), 0, _running_numbers(stream))
    since = dict(zip(SINCE_SETUP, np.split(counted, np.cumsum(sizes)[:-1]), strict=True))
    return {name: since.get(name, np.zeros(len(windows), dtype=np.int64)) for name, windows in plan.by_slice.items()}


def _running_numbers(targets: Ids) -> Ids:
    """(n,) number of each row among the rows with its target, from 1."""
    counts = np.unique(targets, return_counts=True)[1]
    numbers = np.empty(len(targets), dtype=np.int64)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    numbers[np.argsort(targets, kind="stable")] = np.arange(len(targets)) - starts + 1
    return numbers


def setup_regions_of(plan: Plan, setup: SetUp, catalogue: Catalogue, batch_size: int) -> dict[str, Ids]:
    """Most probable set-up region of every window of a plan, by slice; the catalogue has all items of the windows."""
    backbone = grown(copy.deepcopy(setup.backbone), catalogue)
    return {name: _setup_tops(windows, setup, backbone, batch_size) for name, windows in plan.by_slice.items()}


def edited_regions(ledger: Iterable[tuple[Edit, Outcome]], setup: SetUp) -> set[int]:
    """Set-up regions that published edits changed, or that their alarms named."""
    known = {region.region_id for region in setup.bank.regions}
    named: set[int] = set()
    for edit, outcome in ledger:
        if outcome.published:
            named |= {edit.region_id, *edit.reason.get("regions", ())}
            named |= set() if edit.other_region_id is None else {edit.other_region_id}
    return named & known


@torch.inference_mode()
def _setup_tops(windows: Windows, setup: SetUp, backbone: Backbone, batch_size: int) -> Ids:
    vectors = backbone.items.all()
    found = [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(windows), batch_size):
        batch = windows[slice(start, start + batch_size)]
        states = backbone.hidden(backbone.windows(batch.contexts), vectors)
        found.append(setup.bank.posterior(setup.view(states, batch.contexts, batch.since_setup)).setup_tops)
    return np.concatenate(found)
