"""Finds the traits of interactions: from the plan, the set-up, and the ledger of `raie`."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from pipeline.evaluation.protocols import Plan
from pipeline.evaluation.segments import Segments
from pipeline.events.edit import Edit, Outcome
from pipeline.events.windows import PADDING, Ids, Windows
from pipeline.setup.artifacts import SetUp


def traits_of(
    plan: Plan, items: int, setup_regions: Sequence[Mapping[str, Ids]], edited: Sequence[set[int]]
) -> dict[str, Segments]:
    """Traits of every slice of a plan.

    Args:
        plan: what was asked.
        items: size of the catalogue.
        setup_regions: for each seed, the likeliest set-up region of each window, by slice.
        edited: for each seed, the set-up regions that `raie` edited; empty where it did not run.
    """
    setup = [plan.setup, plan.scored["S_new"]]
    targets = np.unique(np.concatenate([windows.targets for windows in setup]))
    users = np.unique(np.concatenate([windows.users for windows in setup]))
    made = {}
    for name, windows in plan.asked.items():
        setup_region = np.stack([of_seed[name] for of_seed in setup_regions])
        touched = [np.isin(row, sorted(regions)) for row, regions in zip(setup_region, edited, strict=False)]
        made[name] = Segments(
            windows.event_ids,
            candidates_of(windows, items),
            np.isin(windows.targets, targets),
            np.isin(windows.users, users),
            setup_region,
            np.stack(touched) if touched else None,
        )
    return made


def candidates_of(windows: Windows, items: int) -> Ids:
    """(n,) items that a rank is counted among: the catalogue less the other items of the history."""
    ordered = np.sort(np.where(windows.contexts == windows.targets[:, None], PADDING, windows.contexts), axis=1)
    fresh = np.diff(ordered, axis=1, prepend=PADDING) > 0
    candidates: Ids = items - fresh.sum(axis=1)
    return candidates


def setup_shares_of(plan: Plan, setup: SetUp, batch_size: int) -> dict[str, Ids]:
    """The likeliest set-up region of every window that is asked about, by slice."""
    return {name: _tastes(windows, setup, batch_size) for name, windows in plan.asked.items()}


def edited_regions(ledger: Iterable[tuple[Edit, Outcome]], setup: SetUp) -> set[int]:
    """Set-up regions that a published edit moved, ended, or was called for by."""
    known = {region.region_id for region in setup.bank.regions}
    named: set[int] = set()
    for edit, outcome in ledger:
        if outcome.published:
            named |= {edit.region_id, *edit.reason.get("regions", ())}
            named |= set() if edit.other_region_id is None else {edit.other_region_id}
    return named & known


@torch.inference_mode()
def _tastes(windows: Windows, setup: SetUp, batch_size: int) -> Ids:
    vectors = setup.backbone.items.all()
    found = [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(windows), batch_size):
        batch = windows[slice(start, start + batch_size)]
        states = setup.backbone.hidden(torch.from_numpy(batch.contexts), vectors)
        found.append(setup.bank.posterior(setup.view(states, batch.contexts, batch.since_setup)).setup_tops)
    return np.concatenate(found)
