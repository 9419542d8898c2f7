"""Index of a process: made from set-up, so that every process with the same set-up has the same cells."""

import sys
from collections.abc import Sequence

import numpy as np
import torch

from pipeline.config import Config
from pipeline.events.windows import PADDING
from pipeline.models.placement import ON_CPU
from pipeline.models.text_vectors import TextVectors
from pipeline.recommend.backends import Backend, RetrievingBackend
from pipeline.recommend.candidates.text import direction
from pipeline.retrieval.adapted_items import AdaptedItems
from pipeline.retrieval.retriever import KnownItems, Retriever
from pipeline.setup.artifacts import SetUp

QUERIES = 128
"""Held-out windows of set-up that the cells are chosen by."""


def with_index(
    exact: Backend, items: AdaptedItems, ids: Sequence[str], setup: SetUp, config: Config
) -> RetrievingBackend:
    """Backend that scores a large catalogue by an index.

    Args:
        exact: scores all items.
        items: vectors, texts and adapters of the same process.
        ids: id of every catalogue row; it may grow.
        setup: the state before any event.
        config: setting `ranking.exact_items`.
    """
    # Another device scores all items in less time than it takes to copy what an index finds.
    is_on_cpu = setup.backbone.placement.device == ON_CPU.device
    most = config.ranking.exact_items if is_on_cpu else sys.maxsize

    return RetrievingBackend(exact, items, most, lambda: Retriever(items, ids, _known(setup)))


@torch.inference_mode()
def _known(setup: SetUp) -> KnownItems:
    """Items and held-out windows of set-up, also where texts of its items have changed since."""
    texts, table = TextVectors(setup.catalogue.vectors).all(), setup.backbone.items
    own = table.rows.weight[1 : len(texts) + 1]
    vectors = own if table.projection is None else own + table.projection(torch.from_numpy(texts))
    with_padding = torch.cat([vectors.new_zeros(1, vectors.shape[1]), vectors])
    contexts = setup.events.contexts[setup.events.sample_held_out(QUERIES)]
    if not len(contexts):
        contexts, _ = setup.calibration.sample(QUERIES)
    states = setup.backbone.last(setup.backbone.windows(contexts), with_padding)
    padded = TextVectors(np.concatenate([np.zeros_like(texts[:1]), texts]))
    directions = np.stack([direction(padded, context[context > PADDING]) for context in contexts])
    return KnownItems(vectors.numpy(), texts, states.numpy(), directions)
