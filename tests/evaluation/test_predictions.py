from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError
from pipeline.evaluation.alignment import align
from pipeline.evaluation.predictions import SCHEMA, Predictions, read_predictions, write_predictions
from tests.evaluation.synthetic_run import predictions


def columns(**changes: Any) -> dict[str, Any]:
    made = {"event_id": ["a", "b"], "user_id": ["u", "v"], "rank": [1, 0], "cold": [False, True]}
    return made | {"position": [0, 1], "timestamp": [1.0, 2.0]} | changes


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    made = predictions()
    write_predictions(made, tmp_path / "p.parquet")
    read = read_predictions(tmp_path / "p.parquet")
    assert len(read) == len(made) == 5 * 3 * 2000
    for (key, block), (read_key, read_block) in zip(made, read, strict=True):
        assert key == read_key
        for name in block.__slots__:
            np.testing.assert_array_equal(getattr(block, name), getattr(read_block, name))


def test_bytes_do_not_depend_on_the_order_of_strategies(tmp_path: Path) -> None:
    for name, order in (("one", ("x", "y")), ("two", ("y", "x"))):
        made = Predictions()
        for strategy in order:
            made.append(strategy, 0, "T", **columns())
            made.append(strategy, 0, "S", **columns())
        write_predictions(made, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_no_region_is_null_and_never_minus_one(tmp_path: Path) -> None:
    made = Predictions()
    made.append("raie", 0, "F", **columns(region_id=[7, -1], confidence=[0.5, np.nan]))
    made.append("static", 0, "F", **columns())
    write_predictions(made, tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.schema.equals(SCHEMA)
    assert table.column("region_id").to_pylist() == [7, None, None, None]
    assert table.column("confidence").to_pylist() == [0.5, None, None, None]


def test_no_predictions_are_a_file_too(tmp_path: Path) -> None:
    write_predictions(Predictions(), tmp_path / "p.parquet")
    assert len(read_predictions(tmp_path / "p.parquet")) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": [1, -1]}, "negative rank"),
        ({"position": [0, 0]}, "each position once"),
        ({"user_id": ["u"]}, "user_id of"),
    ],
)
def test_blocks_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Predictions().append("raie", 0, "F", **columns(**change))


def test_a_block_is_appended_once_and_to_a_known_slice() -> None:
    made = Predictions()
    made.append("raie", 0, "F", **columns())
    with pytest.raises(DataError, match="exists already"):
        made.append("raie", 0, "F", **columns())
    with pytest.raises(DataError, match="unknown slice 'Q'"):
        made.append("raie", 0, "Q", **columns())


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    write_predictions(predictions(), tmp_path / "p.parquet")
    pq.write_table(pq.read_table(tmp_path / "p.parquet").drop_columns(["rank"]), tmp_path / "q.parquet")
    with pytest.raises(DataError, match="has the columns"):
        read_predictions(tmp_path / "q.parquet")


def test_alignment_follows_positions_and_not_rows() -> None:
    made = Predictions()
    made.append("a", 0, "F", **columns())
    made.append("b", 0, "F", **columns(event_id=["b", "a"], user_id=["v", "u"], cold=[True, False], position=[1, 0]))
    made.append("a", 0, "T", **columns(event_id=["c", "d"]))
    made.append("b", 0, "T", **columns(event_id=["c", "d"]))
    rows = align(made, ["F", "T"])
    assert rows.ranks[:, 0].tolist() == [[1, 0, 1, 0], [0, 1, 1, 0]]
    assert rows.user.tolist() == [0, 1, 0, 1]
    assert rows.where(~rows.cold).ranks[:, 0].tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("other", [{"event_id": ["a", "c"]}, {"user_id": ["u", "w"]}, {"cold": [True, True]}])
def test_strategies_asked_about_different_interactions_are_refused(other: dict[str, Any]) -> None:
    made = Predictions()
    made.append("a", 0, "F", **columns())
    made.append("b", 0, "F", **columns(**other))
    with pytest.raises(DataError, match="other interactions"):
        align(made, ["F"])


def test_a_strategy_without_a_slice_others_have_is_refused() -> None:
    made = Predictions()
    made.append("a", 0, "F", **columns())
    made.append("b", 0, "T", **columns())
    with pytest.raises(DataError, match="has no predictions on slice F"):
        align(made, ["F"])
