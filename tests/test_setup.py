"""Set-up holds out what nothing that is learned gives away."""

import numpy as np

from pipeline.config import Config
from pipeline.setup import validation_mask


def users_of(*sizes: int) -> np.ndarray:
    """Users with so many windows each, their windows shuffled into one stream."""
    names = np.repeat([f"u{i}" for i in range(len(sizes))], sizes)
    return np.random.default_rng(0).permutation(names)


def test_newest_windows_of_every_user_are_held_out() -> None:
    users = users_of(40, 100, 25, 3, 7)
    mask = validation_mask(users, Config(), 0)
    for user in np.unique(users):
        held_out = mask[users == user]
        assert not np.any(np.diff(held_out.astype(int)) < 0), "a learned window follows one that is held out"
        assert abs(held_out.sum() - 0.1 * len(held_out)) < 1.0


def test_share_holds_over_users_who_have_one_window_each() -> None:
    mask = validation_mask(users_of(*[1] * 5_000), Config(), 0)
    assert 0.08 < mask.mean() < 0.12


def test_something_is_held_out_and_something_is_learned() -> None:
    config = Config(setup={"validation_share": 1e-9})
    assert validation_mask(users_of(4, 4), config, 0).sum() == 1
    for seed in range(20):
        assert not validation_mask(users_of(1, 1), Config(setup={"validation_share": 0.49}), seed).all()
