"""Index of item vectors against a comparison with all of them."""

import numpy as np
import pytest

from pipeline.arrays import Vectors
from pipeline.retrieval.item_index import BEST, NONE, ItemIndex
from pipeline.retrieval.retriever import FOUND

ITEMS, WIDTH, TOPICS = 6_000, 24, 60


def vectors(rows: np.ndarray) -> Vectors:
    """(m, WIDTH) vectors, each near the direction of one topic, the same for a row whichever others are asked for."""
    topics = np.random.default_rng(0).normal(size=(TOPICS, WIDTH))
    own = np.stack([np.random.default_rng(1_000 + row).normal(size=WIDTH) for row in rows.tolist()])
    return (topics[rows % TOPICS] + 0.7 * own).astype(np.float32)


def queries(n: int) -> Vectors:
    return vectors(np.arange(n) * 7) + np.random.default_rng(2).normal(size=(n, WIDTH), scale=0.3).astype(np.float32)


@pytest.fixture(scope="module")
def all_vectors() -> Vectors:
    return vectors(np.arange(ITEMS))


def empty(known: Vectors) -> ItemIndex:
    """An index whose cells are made for 4,000 items."""
    return ItemIndex(known[:4_000], queries(64), FOUND)


def put(index: ItemIndex, rows: np.ndarray, put_in: Vectors) -> None:
    index.put(rows, put_in, index.cells_of(put_in))


def best(known: Vectors, among: np.ndarray, asked: Vectors) -> np.ndarray:
    return among[np.argsort(-(asked @ known[among].T), axis=1, kind="stable")[:, :BEST]]


def recall(index: ItemIndex, known: Vectors, among: np.ndarray) -> float:
    asked = queries(100)[50:]
    found = index.search(asked, FOUND)
    return float(np.mean([np.isin(of, rows).mean() for of, rows in zip(best(known, among, asked), found, strict=True)]))


def test_it_finds_almost_all_of_the_best_in_a_part_of_the_cells(all_vectors: Vectors) -> None:
    index, rows = empty(all_vectors), np.arange(4_000)
    put(index, rows, all_vectors[:4_000])
    assert index.probed < index.cells / 2
    assert recall(index, all_vectors, rows) >= 0.99


def test_what_codes_lose_does_not_make_it_look_at_all_cells(all_vectors: Vectors) -> None:
    index = ItemIndex(all_vectors[:4_000], queries(64), BEST)
    index.put(np.arange(4_000), all_vectors[:4_000], index.cells_of(all_vectors[:4_000]))
    asked = queries(64)
    found = index.search(asked, BEST)
    shares = [
        np.isin(of, rows).mean() for of, rows in zip(best(all_vectors, np.arange(4_000), asked), found, strict=True)
    ]
    assert np.mean(shares) < 0.99, "codes lose some of the best: the case asked about"
    assert index.probed < index.cells / 2


def test_it_finds_them_after_arrivals_and_withdrawals(all_vectors: Vectors) -> None:
    index, gone = empty(all_vectors), np.arange(0, 4_000, 3)
    put(index, np.arange(4_000), all_vectors[:4_000])
    put(index, np.arange(4_000, ITEMS), all_vectors[4_000:])
    index.drop(gone)
    kept = np.setdiff1d(np.arange(ITEMS), gone)
    assert len(index) == len(kept)
    assert not np.isin(index.search(queries(100), FOUND), gone).any()
    assert recall(index, all_vectors, kept) >= 0.99


def test_what_is_found_depends_on_the_items_and_not_on_the_way_to_them(all_vectors: Vectors) -> None:
    one, other, rows = empty(all_vectors), empty(all_vectors), np.arange(4_000)
    put(one, rows, all_vectors[:4_000])
    put(other, np.arange(3_000, ITEMS), all_vectors[3_000:])
    put(other, rows[::-1][:2_000], all_vectors[rows[::-1][:2_000]])
    other.drop(np.arange(4_000, ITEMS))
    put(other, np.arange(2_000), all_vectors[:2_000])
    assert np.array_equal(*(np.sort(of.search(queries(40), FOUND), axis=1) for of in (one, other)))


def test_a_row_that_is_put_in_again_has_its_new_vector(all_vectors: Vectors) -> None:
    index, rows = empty(all_vectors), np.arange(100)
    put(index, rows, all_vectors[:100])
    put(index, np.array([7]), 50.0 * all_vectors[8:9])
    assert len(index) == 100
    assert index.search(all_vectors[8:9], 10)[0, 0] == 7


def test_a_list_that_ends_with_a_whole_block_can_grow(all_vectors: Vectors) -> None:
    index, known = ItemIndex(all_vectors[:50], queries(8), FOUND), np.arange(ITEMS)
    one_cell = index.like()
    packer = one_cell._packer
    for start in range(0, ITEMS, packer.block_size):
        rows = known[start : start + packer.block_size]
        one_cell.put(rows, all_vectors[rows], np.zeros(len(rows), dtype=np.int64))
    at_once = index.like()
    at_once.put(known, all_vectors, np.zeros(ITEMS, dtype=np.int64))
    found = [np.sort(of.search(queries(20), FOUND), axis=1) for of in (one_cell, at_once)]
    assert np.array_equal(*found)
    assert recall(one_cell, all_vectors, known) >= 0.99


def test_vectors_with_more_dimensions_than_codes(all_vectors: Vectors) -> None:
    wide = np.tile(all_vectors[:2_000], 13)
    index = ItemIndex(wide, np.tile(queries(64), 13), FOUND)
    put(index, np.arange(2_000), wide)
    found = index.search(np.tile(queries(50), 13), FOUND)
    exact = best(all_vectors, np.arange(2_000), queries(50))
    assert np.mean([np.isin(of, rows).mean() for of, rows in zip(exact, found, strict=True)]) >= 0.99


def test_fewer_items_than_are_asked_for_leave_places_empty(all_vectors: Vectors) -> None:
    index = ItemIndex(all_vectors[:20], queries(8), FOUND)
    index.drop(np.arange(5))
    put(index, np.arange(3), all_vectors[:3])
    found = index.search(queries(2), 10)
    assert (np.sort(found, axis=1)[:, -3:] == np.arange(3)).all()
    assert (found[:, 3:] == NONE).all()
    assert index.search(queries(1)[:0], 10).shape == (0, 10)


def test_it_finds_the_best_of_the_admitted_items_whatever_cells_they_lie_in(all_vectors: Vectors) -> None:
    index = empty(all_vectors)
    put(index, np.arange(ITEMS), all_vectors)
    asked = queries(100)[50:60]
    # Of one topic in sixty, often far from the query; of every tenth item, among all others.
    for admitted in (np.arange(ITEMS) % TOPICS == 7, np.arange(ITEMS) % 10 == 3):
        among, shares = np.flatnonzero(admitted), []
        for query, of in zip(asked, best(all_vectors, among, asked), strict=True):
            found = index.search_within(query, FOUND, admitted)
            assert admitted[found].all()
            assert min(len(among), BEST) <= len(found) <= FOUND
            shares.append(np.isin(of, found).mean())
        assert np.mean(shares) >= 0.99
    few = np.isin(np.arange(ITEMS), [5, 4_321])
    assert set(index.search_within(asked[0], BEST, few).tolist()) == {5, 4_321}
