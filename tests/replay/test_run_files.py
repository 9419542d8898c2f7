"""What a replay leaves behind: whole, recomputable, and the same bytes the second time."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.dataset import read_dataset
from pipeline.errors import RaieError
from pipeline.evaluation.predictions import Predictions, read_predictions
from pipeline.evaluation.replay import replay
from pipeline.evaluation.summary import metrics_schema
from pipeline.events.windows import Windows
from pipeline.strategies import DEFAULT
from tests.replay.conftest import silent
from tests.replay.small import config, dataset, emerging, plan

SAME_BYTES = (
    "metrics.json",
    "ledger.jsonl",
    "predictions.parquet",
    "traits.parquet",
    "statistics.parquet",
    "regions.parquet",
    "run.json",
)


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def predictions(folder: Path) -> Predictions:
    return read_predictions(folder / "predictions.parquet")


def existed(windows: Windows) -> np.ndarray:
    """True for targets that are not a first interaction: the small log announces no item."""
    known, stream = plan().timeline.setup_items, plan().stream
    first = dict(zip(stream.targets[::-1].tolist(), stream.positions[::-1].tolist(), strict=True))
    pairs = zip(windows.targets.tolist(), windows.positions.tolist(), strict=True)
    return np.array([row <= known or first[row] < position for row, position in pairs])


def test_metrics_fit_their_schema_and_everyone_is_in_them(finished):
    jsonschema.validate(metrics(finished), metrics_schema())
    assert set(metrics(finished)["strategies"]) == set(DEFAULT)


def test_every_interaction_of_the_plan_is_scored_by_everyone(finished):
    planned, made = plan(), predictions(finished)
    for name, windows in planned.by_slice.items():
        for strategy in DEFAULT:
            block = made.get(strategy, 0, name)
            assert block.event_id.tolist() == windows.event_ids.tolist()
            assert block.cold.tolist() == windows.cold.tolist()
            assert ((block.rank > 0) == existed(windows)).all()
            assert block.rank.max() <= len(planned.timeline.item_ids)
    shown = np.concatenate([existed(windows) for windows in planned.by_slice.values()])
    for row in metrics(finished)["strategies"].values():
        assert row["coverage"] == pytest.approx(shown.mean(), abs=1e-5) != 1.0
    assert sum(block.cold.sum() for _, block in made) > 0


def test_figures_can_be_recomputed_from_the_predictions(finished):
    made = predictions(finished)
    for strategy, row in metrics(finished)["strategies"].items():
        blocks = {name: made.get(strategy, 0, name) for name in ("S", "S_new", "F", "T")}
        hits = {name: np.isin(block.rank, range(1, 11))[~block.cold] for name, block in blocks.items()}
        hits["F+T"] = np.concatenate([hits["F"], hits["T"]])
        for name, hit in hits.items():
            assert row[name]["recall@10"]["mean"] == pytest.approx(hit.mean(), rel=1e-5)


def test_costs_and_edits_are_those_of_the_ledger(finished):
    ledger = [json.loads(line) for line in (finished / "ledger.jsonl").read_text().splitlines()]
    document = metrics(finished)
    assert {edit["operation"] for edit in ledger} >= {"add"}
    assert document["strategies"]["raie"]["trained_windows"] == [sum(edit["cost"]["windows"] for edit in ledger)]
    for kind, counts in document["edits"].items():
        status = [e for e in ledger if (e["status"] == "rejected") == (kind == "rejected")]
        assert counts == [len([e for e in status if kind in ("rejected", e["operation"])])]
    streamed = set(plan().stream.event_ids.tolist())
    assert all(set(edit["windows"]) <= streamed for edit in ledger)
    assert document["strategies"]["static"]["trained_windows"] == [0]
    assert (
        document["strategies"]["lora_replay"]["trained_windows"][0]
        > document["strategies"]["lora"]["trained_windows"][0]
        > 0
    )


def test_the_map_holds_every_region_once_and_no_more_windows_than_it_may(finished):
    rows = pq.read_table(finished / "regions.parquet").to_pylist()
    centroids = [row for row in rows if row["kind"] == "centroid"]
    ids = [row["region_id"] for row in centroids]
    assert len(ids) == len(set(ids))
    live = [row for row in centroids if row["status"] == "live"]
    assert len(live) == metrics(finished)["regions"]["end"][0]
    assert 100 < len(rows) - len(centroids) <= 1500
    assert {row["region_id"] for row in rows} == set(ids)
    assert sum(row["windows"] for row in centroids) == len(plan().stream)
    assert np.isfinite([[row["x"], row["y"]] for row in rows]).all()


def test_statistics_count_windows_of_the_stream_once(finished):
    rows = pq.read_table(finished / "statistics.parquet").to_pylist()
    assert {row["seed"] for row in rows} == {0}
    assert 0 < sum(row["windows"] for row in rows) <= len(plan().stream)
    assert {row["at_event"] for row in rows} == set(
        np.cumsum([len(part) for part in plan().update_intervals(3)]).tolist()
    )


def test_the_report_and_timings_cover_every_strategy(finished):
    page = (finished / "report.html").read_text()
    assert all(name in page for name in DEFAULT)
    assert "is missing" not in page
    assert set(json.loads((finished / "timings.json").read_text())["strategies"]) == set(DEFAULT)


def test_a_second_run_writes_the_same_bytes_over_the_first(tmp_path):
    log, strategies, out = read_dataset(emerging(1_000)), ["static", "lora_replay", "raie"], tmp_path / "run"
    written = []
    for _ in range(2):
        replay(log, config(), strategies, 2, out, silent, lambda: 0.0)
        written.append({name: (out / name).read_bytes() for name in SAME_BYTES})
    for name in SAME_BYTES:
        assert written[0][name] == written[1][name], name
    made = predictions(out)
    assert made.seeds == [0, 1]
    assert made.get("static", 0, "T").rank.tolist() != made.get("static", 1, "T").rank.tolist()


def test_the_company_a_strategy_keeps_does_not_change_it(finished, tmp_path):
    replay(dataset(), config(), ["raie"], 1, tmp_path / "run", silent, lambda: 0.0)
    for name in ("S", "S_new", "F", "T"):
        alone, among = predictions(tmp_path / "run").get("raie", 0, name), predictions(finished).get("raie", 0, name)
        assert alone.rank.tolist() == among.rank.tolist()


def test_without_raie_its_files_are_not_written_and_those_of_an_earlier_run_are_gone(tmp_path):
    log, out = read_dataset(emerging(1_000)), tmp_path / "run"
    replay(log, config(), ["raie"], 1, out, silent, lambda: 0.0)
    (out / "notes.txt").write_text("mine")
    replay(log, config("protocol=windows", "windows.length=4"), ["popularity"], 1, out, silent, lambda: 0.0)
    names = {path.name for path in out.iterdir()}
    expected = {"metrics.json", "predictions.parquet", "traits.parquet", "timings.json", "run.json", "report.html"}
    expected.add("notes.txt")
    assert names == expected
    jsonschema.validate(metrics(out), metrics_schema())
    assert metrics(out)["protocol"] == "windows"


def test_windows_protocol_runs_every_strategy(tmp_path):
    log, settings = read_dataset(emerging(1_000)), ("protocol=windows", "windows.length=4")
    shorter = config(*settings, "setup.max_epochs=1", "replay.parts=2")
    replay(log, shorter, list(DEFAULT), 1, tmp_path / "run", silent, lambda: 0.0)
    made, planned = predictions(tmp_path / "run"), plan(*settings, log=log)
    for name, windows in planned.by_slice.items():
        assert made.get("raie", 0, name).event_id.tolist() == windows.event_ids.tolist()
    assert metrics(tmp_path / "run")["strategies"]["finetune"]["trained_windows"] == [len(planned.observed["F"])]


@pytest.mark.parametrize("strategies", [["static", "lore"], []])
def test_unknown_strategies_are_refused_before_anything_is_made(tmp_path, strategies):
    with pytest.raises(RaieError, match="is no strategy; known strategies: static, popularity"):
        replay(dataset(), config(), strategies, 1, tmp_path / "run", silent, lambda: 0.0)
    assert list(tmp_path.iterdir()) == []
