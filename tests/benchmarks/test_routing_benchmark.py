"""The benchmark of mixed batches, over a small catalogue: all ways are compared, and have a ratio."""

import json

import pytest
from torch import get_num_threads, set_num_threads

from benchmarks.routing import main


@pytest.fixture(autouse=True)
def _threads_as_before():  # type: ignore[no-untyped-def]
    threads = get_num_threads()
    yield
    set_num_threads(threads)


def test_every_way_answers_alike_and_has_a_ratio(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "--regions 1 4 --peft-most 1 --batch 8 --length 5 --items 90 --rows 7 --text 12 --threads 1 --repeats 1"
    monkeypatch.setattr("sys.argv", ["routing.py", *small.split()])
    main()
    found = json.loads(capsys.readouterr().out)
    once = ("peft_switch_over_backbone", "peft_names_over_backbone")
    for name, ratios in found["ratios"].items():
        assert list(ratios) == (["1"] if name in once else ["1", "4"])
        assert min(ratios.values()) > 0.0
    difference = found["largest_relative_difference_to_ours"]
    assert max(difference["peft_switch"].values()) < 1e-4
