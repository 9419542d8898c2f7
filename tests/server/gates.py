"""Gates under a world's revision, to compare a server's answers with."""

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import pytest

from consumers.runtime.topic_reader import value_of
from pipeline.config import Config
from pipeline.events.existence import Existence
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.recommend.event_scorer import EventScorer
from pipeline.regions.live import LiveRegions
from pipeline.regions.revision import Revision
from pipeline.setup.artifacts import SetUp
from pipeline.streams.topics import REGIONS
from tests.server import world
from tests.server.world import SETTINGS, World, taken, the_setup


def gate_of(world: World, settings: Config = SETTINGS) -> EventScorer:
    """A gate under the world's revision."""
    setup = the_setup()
    catalogue = OpenCatalogue(setup.catalogue, None)
    host = AdapterHost(copy.deepcopy(setup.backbone), settings.adapter)
    live = LiveRegions(setup.bank, host, world.store, setup.backbone_sha256, catalogue)
    live.apply(Revision.from_record(value_of(next(iter(world.log.read(REGIONS, 0, 0, 1))))))
    gate = EventScorer(setup, settings, live, catalogue)
    gate.follow()
    return gate


def everything() -> Existence:
    """Existence of all items of set-up."""
    return Existence.of_all(len(the_setup().catalogue))


def ranked(gate: EventScorer, history: np.ndarray) -> dict[int, float]:
    """Candidates of a gate for a history, and their probabilities."""
    assert gate.online is not None
    windows, existence = taken(history[None]), everything()
    batch = gate.score(windows, existence)
    opened = gate.online.origin_prior.opened(batch.origin_features(the_setup().bank, windows.since_setup))
    query = gate._queries(batch, windows.contexts, windows.earlier, windows.since_setup, opened)[0]
    stage = gate.online.second_stage
    (found,) = stage.candidates([query], [existence.allowed(0, history)])
    scores = stage.scores([found])[0].astype(np.float64)
    shares = np.exp(scores - scores.max())
    return dict(zip(found.rows.tolist(), (shares / shares.sum()).tolist(), strict=True))


@contextmanager
def with_setup(
    patch: pytest.MonkeyPatch, made: Callable[[], SetUp], settings: Config, *modules: ModuleType
) -> Iterator[None]:
    """Put another set-up and other settings in the place of those of the world.

    Args:
        patch: undoes it.
        made: the set-up.
        settings: of a pipeline over it.
        modules: further ones that ask for the usual set-up.
    """
    own = sys.modules[__name__]
    for module in (world, own, *modules):
        patch.setattr(module, "the_setup", made)
    for module in (world, own):
        patch.setattr(module, "SETTINGS", settings)
    for cached in (world.origins, world._shapes):
        cached.cache_clear()
    yield
    for cached in (world.origins, world._shapes):
        cached.cache_clear()
