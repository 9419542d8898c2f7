"""Single-precision counts of a catalogue that grows: the same sums as of a table made anew."""

import numpy as np
import pytest
import torch

from pipeline.arrays import Array
from pipeline.online.popularity_batch import PopularityBatch

REGIONS, LIVES, WINDOWS = 3, 2, 8


def counts_of(items: int, seed: int = 0) -> Array:
    """(regions + 1, half_lives, items + 1) counts; those of an item depend on its row and the seed alone."""
    rows = [np.random.default_rng([seed, row]).random((REGIONS + 1, LIVES)) for row in range(items + 1)]
    return np.stack(rows, axis=2)


def usual_of(items: int) -> Array:
    return np.arange(items + 1) / np.arange(items + 1).sum()


def sums(table: PopularityBatch, items: int) -> torch.Tensor:
    """(n, items + 1) sums of the table's rows by weights that do not depend on the table."""
    rng = np.random.default_rng(7)
    windows = np.repeat(np.arange(WINDOWS), 2)
    regions = rng.integers(REGIONS, size=2 * WINDOWS)
    total = torch.zeros(WINDOWS, items + 1)
    table.add(total, windows, regions, rng.random((2 * WINDOWS, LIVES)), rng.random((WINDOWS, LIVES + 1)))
    return total


WEIGHT = np.array([1.5, 1.0])


def test_a_table_follows_a_catalogue_that_grows() -> None:
    """Into room that the rows have anyway, beyond it, and into the slack."""
    table = PopularityBatch(counts_of(12), WEIGHT, usual_of(12))
    memory = []
    for items in (13, 200, 201):
        table.resize(counts_of(items), WEIGHT, usual_of(items), [])
        assert torch.equal(sums(table, items), sums(PopularityBatch(counts_of(items), WEIGHT, usual_of(items)), items))
        memory.append(table._rows.data_ptr())
    assert memory[1] == memory[2], "an arrival within the slack copies no table"


@pytest.mark.parametrize("items", [30, 31, 300])
def test_a_reused_row_has_the_counts_of_its_new_item(items: int) -> None:
    table = PopularityBatch(counts_of(30), WEIGHT, usual_of(30))
    counts = counts_of(items)
    counts[:, :, [4, 9]] = 0.0
    stale = sums(table, 30)
    table.resize(counts, WEIGHT, usual_of(items), [4, 9])
    found = sums(table, items)
    assert torch.equal(found, sums(PopularityBatch(counts, WEIGHT, usual_of(items)), items))
    assert (found[:, [4, 9]] < stale[:, [4, 9]]).all()


def test_events_count_in_a_grown_table() -> None:
    table = PopularityBatch(counts_of(30), WEIGHT, usual_of(30))
    counts, later = counts_of(31), 4.0 * WEIGHT
    table.resize(counts, WEIGHT, usual_of(31), [])
    counts[:, :, 31] += later
    table.update(counts, later, 31)
    expected = sums(PopularityBatch(counts, WEIGHT, usual_of(31)), 31)
    # The weights of the counts are given in units of the newest event: both tables have those of their beginning.
    assert torch.equal(sums(table, 31), expected)


@pytest.mark.parametrize("factor", [0.25, 2.0**70])
def test_weights_out_of_bounds_are_taken_over_with_all_counts(factor: float) -> None:
    table = PopularityBatch(counts_of(30), WEIGHT, usual_of(30))
    table.resize(counts_of(31) * factor, WEIGHT * factor, usual_of(31), [])
    made_anew = PopularityBatch(counts_of(31) * factor, WEIGHT * factor, usual_of(31))
    assert torch.equal(sums(table, 31), sums(made_anew, 31))


def test_probabilities_of_fewer_items_get_the_counts_of_theirs() -> None:
    """A batch that was scored before an item arrived."""
    table = PopularityBatch(counts_of(31), WEIGHT, usual_of(31))
    assert torch.equal(sums(table, 30), sums(table, 31)[:, :31])
