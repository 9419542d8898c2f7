"""Teacher of a generation that is prepared: the one that answered at the fork, as its gate routed and scored then.

Regions, adapters and items are those of the log up to the offsets that the fork names, so that a preparation which was
interrupted goes on with the same teacher.
"""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adapters_store import AdaptersStore
from consumers.runtime.item_records import AT_ONCE, ItemFollower
from consumers.runtime.ledger import destroyed_versions
from consumers.runtime.malformed import unreported
from consumers.runtime.revisions import RevisionFollower
from pipeline.config import Config
from pipeline.events.generation import Generation
from pipeline.events.windows import PADDING, Ids, Windows, places_in_sequence
from pipeline.models.catalogue import Catalogue
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.text import reopen_text_encoder
from pipeline.regions.live import LiveRegions
from pipeline.setup.artifacts import SetUp
from pipeline.setup.teacher import Teacher
from pipeline.streams.interface import Log
from pipeline.streams.topics import ITEMS, REGIONS


def teacher_at_fork(
    log: Log, fork: Generation, old: SetUp, store: AdaptersStore, config: Config, catalogue: Catalogue, windows: Windows
) -> tuple[Teacher, Sequence[str]]:
    """Read the teacher of a generation.

    An adapter that is refused, or was destroyed, gives way to the last good one of its region, else to the backbone, as
    in a gate.

    Args:
        log: as the generation sees it that answered at the fork.
        fork: the one that is prepared.
        old: set-up of the one that answered; not changed.
        store: its adapter versions.
        config: the whole tree.
        catalogue: of the new set-up.
        windows: all of the new set-up, one for each event, in event order and rows of the catalogue.

    Returns:
        The teacher, and the versions in force that were refused.

    Raises:
        LogError: a revision is damaged, or its arrays cannot be read.
        BackboneError: there is no text encoder as the old set-up has it.
    """
    cache = Path(config.items.cache).expanduser()
    encoder = reopen_text_encoder(old.catalogue.encoder, config.items.text_encoder, cache)
    known = OpenCatalogue(old.catalogue, encoder)
    ItemFollower(known, AT_ONCE, unreported).poll(log, fork.until.get(ITEMS))
    known.advance(float(windows.timestamps[-1]))
    host = AdapterHost(copy.deepcopy(old.backbone), config.adapter)
    live = LiveRegions(old.bank, host, store, old.backbone_sha256, known)
    live.follow(known)
    refused = _apply(live, log, fork, store)
    since = taken_after(windows, -np.inf if old.log is None else old.log.until)
    return Teacher.of(old, live, config.gate.floor, known.row_of, known.existing(), catalogue, since), refused


def _apply(live: LiveRegions, log: Log, fork: Generation, store: AdaptersStore) -> list[str]:
    """Apply all revisions before a fork; return the versions in force that were refused."""
    destroyed, wanted = destroyed_versions(log).keys(), live.bank
    for _, revision in RevisionFollower(live.bank, store.arrays, unreported).poll(log, fork.until.get(REGIONS)):
        kept = revision.without(destroyed)
        live.apply_with_fallback(kept)
        wanted = kept.after(wanted)
    named = {region.adapter for region in wanted.stream if region.adapter} | set(wanted.injection.names)
    return sorted(named - {region.adapter for region in live.bank.stream} - set(live.bank.injection.names))


def taken_after(windows: Windows, until: float) -> Ids:
    """(n,) number of items of windows that were taken after a moment.

    Args:
        windows: one for each event of their users, in event order.
        until: seconds since 1970.
    """
    users, number = np.unique(windows.users, return_inverse=True)
    before = np.bincount(number[windows.timestamps <= until], minlength=len(users))
    held = (windows.contexts != PADDING).sum(axis=1)
    taken: Ids = np.clip(places_in_sequence(windows.users) - before[number], 0, held)
    return taken
