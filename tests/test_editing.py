"""What an edit's training costs."""

import pytest

from pipeline.editing import passes


@pytest.mark.parametrize(
    ("epochs", "windows", "replayed", "expected"),
    [(2, 100, 0, 2), (2, 100, 100, 1), (2, 100, 30, 1), (4, 100, 100, 2), (3, 100, 50, 2), (1, 100, 100, 1)],
)
def test_what_an_update_replays_shares_its_passes(epochs: int, windows: int, replayed: int, expected: int) -> None:
    found = passes(epochs, windows, replayed)
    assert found == expected
    assert found == 1 or found * (windows + replayed) <= epochs * windows, "an Update that replays costs no more"
