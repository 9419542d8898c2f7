from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.config import Config
from pipeline.datasets.splits import Slices
from pipeline.errors import DataError
from pipeline.evaluation.protocols import Plan
from pipeline.evaluation.segment_masks import segments_of
from pipeline.evaluation.segments import read_setup_regions, write_segments
from pipeline.events.windows import Windows, no_earlier
from pipeline.strategies.timeline import Stream, Timeline
from tests.evaluation.synthetic_run import SEEDS, segments

PARTS = ["target_in_setup", "target_first", "target_2_to_5", "target_later"]


def windows(*targets: int) -> Windows:
    n = len(targets)
    names = np.array([f"e{i}" for i in range(n)], dtype=np.str_)
    contexts, nothing = np.zeros((n, 2), dtype=np.int64), np.zeros(n, dtype=np.int64)
    return Windows(
        contexts, np.array(targets, dtype=np.int64), names, names, np.zeros(n), nothing, nothing, no_earlier(n)
    )


def nine_items() -> Timeline:
    """Nine items of set-up and a stream without events."""
    stream = Stream(0, np.zeros(0), [], [], [])
    return Timeline({}, [str(number) for number in range(1, 10)], stream, Config().items)


def test_occurrences_are_counted_from_the_first_of_f_to_the_last_of_t_for_items_that_s_lacks() -> None:
    observed = {"F": windows(9, 1, 8, 9, 7), "T": windows(9, 8, 6, 9, 2)}
    plan = Plan(Slices(0, 0), windows(1, 1), observed, {"S_new": windows(2), "S": windows(1, 1)}, nine_items())
    regions = {name: np.zeros(len(part), dtype=np.int64) for name, part in plan.by_slice.items()}
    found = segments_of(plan, [regions], [])
    assert found["F"].occurrence.tolist() == [1, 0, 1, 2, 1]
    assert found["T"].occurrence.tolist() == [3, 2, 1, 4, 0]
    assert [found[name].occurrence.tolist() for name in ("S", "S_new")] == [[0, 0], [0]]


def test_each_interaction_has_exactly_one_kind_of_target() -> None:
    found = segments(2)["F"]
    masks = np.stack([found.splits()[name] for name in PARTS])
    assert masks.shape == (4, 2, 700)
    assert (masks.sum(axis=0) == 1).all()
    limits = {name: {int(n) for n in found.occurrence[mask[0]]} for name, mask in zip(PARTS, masks, strict=True)}
    assert limits == dict(zip(PARTS, [{0}, {1}, {2, 3, 4, 5}, {6, 7, 8, 9}], strict=True))


def test_traits_of_a_version_without_occurrences_are_read(tmp_path: Path) -> None:
    path, made = tmp_path / "traits.parquet", segments(len(SEEDS))
    write_segments(made, SEEDS, path)
    table = pq.read_table(path)
    assert table.column("occurrence").to_pylist()[:700] == made["F"].occurrence.tolist()
    pq.write_table(table.drop_columns(["occurrence"]), path)
    found = read_setup_regions(path)
    assert found[SEEDS[1], "T"].tolist() == made["T"].setup_region[1].tolist()
    pq.write_table(table.drop_columns(["taste"]), path)
    with pytest.raises(DataError, match="must have the columns seed, slice, position, taste"):
        read_setup_regions(path)
