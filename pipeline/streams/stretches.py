"""Stretches of a partition that hold given offsets."""

from collections.abc import Iterator, Sequence


def stretches(offsets: Sequence[int], gap: int) -> Iterator[tuple[int, int]]:
    """Yield ranges, end excluded, that hold all offsets, with less than a gap between two neighbours of one range.

    Args:
        offsets: sorted.
        gap: offsets that are cheaper to read than to jump over.
    """
    start = 0
    for place in range(1, len(offsets) + 1):
        if place == len(offsets) or offsets[place] - offsets[place - 1] >= gap:
            yield offsets[start], offsets[place - 1] + 1
            start = place
