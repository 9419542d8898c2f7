"""Replay with a bounded catalogue: every strategy runs over the same items, and `raie` uses rows again."""

import numpy as np
import pytest

from pipeline.datasets.dataset import read_dataset
from pipeline.evaluation.predictions import read_predictions
from pipeline.evaluation.replay import replay
from pipeline.strategies import DEFAULT
from pipeline.strategies.raie.replayed import Raie
from tests.replay.conftest import silent
from tests.replay.small import config, context_of, emerging, plan

MOST = 120
DAYS = 7 * 86_400.0
QUICK = ("setup.max_epochs=1", "replay.parts=2", "windows.length=4")


@pytest.mark.parametrize(
    "settings",
    [
        ("protocol=prequential", f"items.time_to_live={DAYS}", f"items.most={MOST}"),
        ("protocol=windows", f"items.most={MOST}"),
    ],
    ids=["prequential", "windows"],
)
def test_every_strategy_misses_exactly_the_targets_that_do_not_exist(settings, tmp_path):
    log = read_dataset(emerging(1_000))
    names, planned = list(DEFAULT), plan(*QUICK, *settings, log=log)
    assert len(planned.timeline.evictions) > 2
    replay(log, config(*QUICK, *settings), names, 1, tmp_path / "run", silent, lambda: 0.0)
    made = read_predictions(tmp_path / "run" / "predictions.parquet")
    for part, windows in planned.by_slice.items():
        found = [
            planned.timeline.existence(windows.positions[i : i + 1]).includes(windows.targets[i : i + 1])[0]
            for i in range(len(windows))
        ]
        assert not all(found), part
        for name in names:
            np.testing.assert_array_equal(made.get(name, 0, part).rank > 0, found, err_msg=f"{name} {part}")


def test_raie_gives_the_rows_of_evicted_items_to_others(setup, tmp_path):
    settings = (f"items.most={MOST}",)
    planned = plan(*settings)
    raie = Raie(context_of(setup, tmp_path, *settings, planned=planned))
    for part in planned.update_intervals(3):
        raie.observe(part)
        raie.learn()
    catalogue, timeline = raie._items.catalogue, planned.timeline
    assert catalogue.rows < len(timeline.item_ids)
    hidden = set(timeline.existence(np.array([timeline.end])).hidden.tolist())
    there = {timeline.item_ids[row - 1] for row in range(1, len(timeline.item_ids) + 1) if row not in hidden}
    late = raie._items.of(planned.scored["S"])[1]
    gone = set(late.hidden.tolist())
    assert {catalogue.ids[row] for row in range(1, catalogue.rows + 1) if row not in gone} == there
    raie.close()
