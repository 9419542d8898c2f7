"""What an edit's training costs."""

import pytest

from pipeline.config import load_config
from pipeline.editing import passes
from pipeline.edits import Edit, Evidence, Operation


def edit(operation: Operation, windows: int, replayed: int) -> Edit:
    evidence = [Evidence(f"e{i}", i, 3) for i in range(windows + replayed)]
    return Edit("x", operation, 3, None, 1, 0, {}, tuple(evidence[:windows]), tuple(evidence[windows:]), 9, 0.0, 1)


@pytest.mark.parametrize(
    ("epochs", "windows", "replayed", "expected"),
    [(2, 100, 0, 2), (2, 100, 100, 1), (2, 100, 30, 1), (4, 100, 100, 2), (3, 100, 50, 2), (1, 100, 100, 1)],
)
def test_what_an_update_replays_shares_its_passes(epochs: int, windows: int, replayed: int, expected: int) -> None:
    config = load_config(None, [f"training.epochs={epochs}"])
    found = passes(config, edit(Operation.UPDATE, windows, replayed))
    assert found == expected
    assert found == 1 or found * (windows + replayed) <= epochs * windows, "an Update that replays costs no more"


def test_the_samples_of_other_edits_are_not_trained_on() -> None:
    assert passes(load_config(None, ["training.epochs=2"]), edit(Operation.ADD, 100, 400)) == 2
