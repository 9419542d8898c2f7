"""What an edit costs, and how it is judged."""

import numpy as np
import pytest

from pipeline.editing import paired, passes


@pytest.mark.parametrize(
    ("epochs", "windows", "replayed", "expected"),
    [(2, 100, 0, 2), (2, 100, 100, 1), (2, 100, 30, 1), (4, 100, 100, 2), (3, 100, 50, 2), (1, 100, 100, 1)],
)
def test_what_an_update_replays_shares_its_passes(epochs: int, windows: int, replayed: int, expected: int) -> None:
    found = passes(epochs, windows, replayed)
    assert found == expected
    assert found == 1 or found * (windows + replayed) <= epochs * windows, "an Update that replays costs no more"


def test_the_error_of_a_judgement_counts_users_not_their_windows() -> None:
    before, after = np.array([3.0, 3.0, 5.0, 5.0]), np.array([2.0, 2.0, 5.0, 5.0])
    apart = paired("log_rank", before, after, np.array(["a", "b", "c", "d"]))
    together = paired("log_rank", before, after, np.array(["a", "a", "b", "b"]))
    assert apart.error == pytest.approx(np.std([1, 1, 0, 0], ddof=1) / 2)
    assert together.error == pytest.approx(np.std([1, 0], ddof=1) / np.sqrt(2))
    assert apart.better(1.0) and not together.better(1.0)


def test_one_user_alone_proves_nothing_but_may_improve_what_is_there() -> None:
    alone = paired("log_rank", np.array([3.0, 3.0]), np.array([1.0, 1.0]), np.array(["a", "a"]))
    assert alone.error is None
    assert alone.better(0.0)
    assert not alone.better(1.0)
    assert not alone.no_worse(1.0)
