"""Stretches of a partition that hold given offsets."""

import pytest

from pipeline.streams.stretches import stretches


@pytest.mark.parametrize(
    ("offsets", "gap", "found"),
    [
        ([], 3, []),
        ([5], 3, [(5, 6)]),
        ([5, 7, 10, 11], 3, [(5, 8), (10, 12)]),
        ([5, 7, 10, 11], 4, [(5, 12)]),
        ([0, 1, 2], 1, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_neighbours_nearer_than_the_gap_share_a_stretch(
    offsets: list[int], gap: int, found: list[tuple[int, int]]
) -> None:
    assert list(stretches(offsets, gap)) == found
