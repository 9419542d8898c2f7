"""Interpolation grid: shares of the components, and the points by which a target is in the list."""

import numpy as np
import pytest

from pipeline.metrics.ranking import rank_of_targets
from pipeline.online.interpolation import GRID, LIST_LENGTH, hits_of

ITEMS = 40


def test_grid_points_are_shares_of_the_components_and_differ() -> None:
    np.testing.assert_allclose(GRID.sum(axis=1), 1.0)
    assert (GRID >= 0.0).all()
    assert len(np.unique(GRID, axis=0)) == len(GRID)


@pytest.mark.parametrize("components", [2, 4])
def test_hits_are_ranks_at_each_grid_point(components: int) -> None:
    """Random components, equal ones, and items that tie with the target in each of them."""
    rng, found = np.random.default_rng(components), []
    # A window without items taken since set-up has the first two components alone.
    points = GRID if components == 4 else np.column_stack([GRID[:, 0], 1.0 - GRID[:, 0]])
    for case in range(600):
        probabilities = rng.random((components, ITEMS + 1))
        if case % 3 == 1:
            probabilities = probabilities[:1] + 0.2 * probabilities
        target, excluded = int(rng.integers(1, ITEMS + 1)), rng.integers(0, ITEMS + 1, size=6)
        if case % 3 == 2:
            probabilities[:, rng.integers(0, ITEMS + 1, size=8)] = probabilities[:, [target]]
        mixed = sum(points[:, [i]] * probabilities[i] for i in range(components))
        ranks = rank_of_targets(mixed, np.full(len(GRID), target), np.tile(excluded, (len(GRID), 1)))
        hits = hits_of(probabilities, target, excluded)
        assert hits == (ranks <= LIST_LENGTH).tolist()
        found.append(hits)
    shares = np.mean(found, axis=0)
    assert ((shares > 0.1) & (shares < 0.9)).all(), "each point finds some targets and misses others"
