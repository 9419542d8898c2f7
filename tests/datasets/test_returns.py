"""The share of returns, and what a replay says of them."""

import numpy as np
import pytest

from pipeline.datasets.returns import share_of_returns
from pipeline.events.interaction import Interaction
from pipeline.events.interactions import Interactions
from tests.replay.small import SET, raie, write_log


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_share_of_windows_that_hold_their_target(seed):
    rng = np.random.default_rng(seed)
    pairs = [(f"u{rng.integers(4)}", f"i{rng.integers(9)}") for _ in range(60)]
    events = Interactions.of([Interaction(str(n), user, item, float(n)) for n, (user, item) in enumerate(pairs)])
    for length in (1, 3, 100):
        held = [item in [i for u, i in pairs[:n] if u == user][-length:] for n, (user, item) in enumerate(pairs)]
        assert share_of_returns(events, length) == pytest.approx(sum(held) / len(held))


def test_one_event_returns_to_nothing():
    assert share_of_returns(Interactions.of([Interaction("e", "u", "i", 1.0)]), 10) == 0.0


@pytest.mark.parametrize(("repeats", "said"), [("false", True), ("true", False)])
def test_a_replay_of_returns_says_so_unless_they_are_allowed(tmp_path, capsys, repeats, said):
    rows = [[f"u{n % 40}", f"i{n % 40 * 3 + n // 40 % 3}", str(1_700_000_000 + 60 * n)] for n in range(1200)]
    log = write_log(tmp_path / "log", [["user_id", "item_id", "timestamp"], *rows])
    setting = ("--set", f"windows.repeats={repeats}", "--strategies", "popularity")
    ended = raie(capsys, "replay", "--data", log, "--out", tmp_path / "run", *SET, *setting)
    assert ended.code == 0, ended.err
    # The first three items of each user are no returns.
    assert ("90.0% of the interactions return" in ended.out) is said
