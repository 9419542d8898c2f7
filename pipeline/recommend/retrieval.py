"""Index of a process: made from set-up, so that every process with the same set-up has the same cells."""

import sys
from collections.abc import Callable, Collection, Sequence

import numpy as np

from pipeline.config import Config
from pipeline.models.backbones.base import last_states
from pipeline.models.placement import ON_CPU
from pipeline.recommend.backends import Backend, RetrievingBackend
from pipeline.recommend.candidates.text import direction
from pipeline.retrieval.adapted_items import AdaptedItems
from pipeline.retrieval.retriever import Queries, Retriever
from pipeline.setup.artifacts import SetUp

QUERIES = 128
"""Held-out windows of set-up that the cells are chosen by."""


def with_index(
    exact: Backend,
    items: AdaptedItems,
    names: Callable[[], Collection[str]],
    ids: Sequence[str],
    setup: SetUp,
    config: Config,
) -> RetrievingBackend:
    """Backend that scores a large catalogue by an index.

    Args:
        exact: scores all items.
        items: vectors, texts and adapters of the same process.
        names: returns the names of the adapters that are loaded.
        ids: id of every catalogue row; it may grow.
        setup: the state before any event.
        config: setting `ranking.exact_items`.
    """
    # Another device scores all items in less time than it takes to copy what an index finds.
    is_on_cpu = setup.backbone.placement.device == ON_CPU.device
    most = config.ranking.exact_items if is_on_cpu else sys.maxsize

    def make() -> Retriever:
        contexts = setup.events.contexts[setup.events.sample_held_out(QUERIES)]
        if not len(contexts):
            contexts, _ = setup.calibration.sample(QUERIES)
        texts = items.texts()
        directions = np.stack([direction(texts, context[context > 0]) for context in contexts])
        queries = Queries(last_states(exact.states(contexts)).numpy(), directions)
        return Retriever(items, ids, len(setup.catalogue), queries)

    return RetrievingBackend(exact, items, names, most, make)
