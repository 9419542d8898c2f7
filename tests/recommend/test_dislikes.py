"""Dislikes in a window: the backbone reads them, and nothing counts them as taken."""

import numpy as np
import torch

from pipeline.events.windows import History
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.online.dense_scores import DenseScores
from pipeline.recommend.candidates.query import Query, recent_shares
from pipeline.regions.features import GateView, familiarity
from pipeline.regions.region import Origin, Region, Status
from tests.models.backbones.small import ITEMS, TITLES, small_catalogue

CONTEXT = np.array([0, 5, -2, 1, -4])


def query(context: np.ndarray) -> Query:
    shares = np.ones(1)
    return Query(context, np.array([0, 7]), shares, 0.5, 0.0, {"model": DenseScores(np.zeros(ITEMS + 1))})


def test_the_second_stage_sees_what_was_taken_alone() -> None:
    found = query(CONTEXT)
    assert found.window.tolist() == [5, 1]
    assert found.taken_context.tolist() == [0, 0, 0, 5, 1]
    assert found.taken.tolist() == [1, 5, 7]
    assert found.history(3).tolist() == [7, 5, 1]
    liked = query(np.abs(CONTEXT))
    assert liked.taken_context is liked.context


def test_a_dislike_is_an_item_of_the_window_since_set_up_as_any_other() -> None:
    assert recent_shares(CONTEXT[None], np.array([2])).tolist() == [0.5]
    assert query(CONTEXT).since_setup == 2


def test_gate_features_know_the_items_of_dislikes() -> None:
    counts = np.arange(ITEMS + 1)
    states = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0))
    region = Region(1, 1, Status.LIVE, Origin.BASE, None, np.eye(4)[0], 0.5, 20.0, 1.0, None, 0)
    view = GateView(counts, (region,))
    signed, liked = (view(states, one[None], np.array([2])) for one in (CONTEXT, np.abs(CONTEXT)))
    np.testing.assert_array_equal(signed.features, liked.features)
    assert familiarity(np.abs(CONTEXT)[None], counts)[0, 0] == 0


def test_a_catalogue_gives_dislikes_negative_rows_and_leaves_out_what_it_does_not_know() -> None:
    catalogue = OpenCatalogue(small_catalogue(TITLES), None)
    history = History(("i05", "nobody", "i02", "i01", "i04"), 3, disliked=(1, 2, 4))
    contexts, since_setup = catalogue.contexts([history, history], 3)
    assert contexts.tolist() == [[-2, 1, -4]] * 2
    assert since_setup.tolist() == [3, 3]
    catalogue.withdraw("i04")
    read = catalogue.read(history, catalogue.existence())
    assert read == History(("i05", "i02", "i01"), 2, disliked=(1,))
