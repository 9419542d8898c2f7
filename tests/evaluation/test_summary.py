import ast
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError

from pipeline.errors import DataError
from pipeline.evaluation.predictions import Predictions, write_predictions
from pipeline.evaluation.report.verdict import verdict
from pipeline.evaluation.summary import REPORTED, canonical_json, metrics_schema, summarise, write_summary
from tests.evaluation.synthetic_run import facts, predictions

ROOT = Path(__file__).parents[2]
Document = dict[str, Any]


def validate(document: Document) -> None:
    Draft202012Validator(metrics_schema()).validate(json.loads(canonical_json(document)))


def tiny(
    ranks: dict[str, list[list[int]]], cold: tuple[bool, ...] = (False, False, False, True), users: str = "uuvw"
) -> Predictions:
    made = Predictions()
    for strategy, of_seeds in ranks.items():
        for seed, row in enumerate(of_seeds):
            made.append(
                strategy,
                seed,
                "F",
                event_id=list("abcd"),
                user_id=list(users),
                rank=row,
                cold=cold,
                position=range(4),
                timestamp=np.arange(4.0),
            )
    return made


def of(made: Predictions) -> Document:
    return summarise(made, facts(made), resamples=50)


def of_tiny(made: Predictions) -> Document:
    return summarise(made, dataclasses.replace(facts(made), segments={}), resamples=50)


def test_the_schema_is_one_and_the_output_keeps_it() -> None:
    Draft202012Validator.check_schema(metrics_schema())
    validate(of(predictions()))
    validate(of(predictions({"static": 0.1}, (7,))))


@pytest.mark.parametrize(
    "where", [(), ("slices", "F"), ("strategies", "raie"), ("strategies", "raie", "F"), ("edits",)]
)
def test_the_schema_refuses_what_nobody_promised(where: tuple[str, ...]) -> None:
    document = of(predictions({"raie": 0.1, "static": 0.1}, (0,)))
    inner = document
    for key in where:
        inner = inner[key]
    inner["surprise"] = 1
    with pytest.raises(ValidationError):
        validate(document)


def test_figures_by_hand_and_cold_users_apart() -> None:
    figures = of_tiny(tiny({"raie": [[1, 11, 3, 1], [1, 2, 3, 90]]}))["strategies"]["raie"]
    assert figures["F"]["recall@10"]["per_seed"] == pytest.approx([2 / 3, 1], rel=1e-5)
    assert figures["F"]["recall@10"]["std"] == pytest.approx(np.std([2 / 3, 1], ddof=1), rel=1e-5)
    assert figures["F+T"] == figures["F"]
    assert figures["F"]["ndcg@10"]["per_seed"][0] == pytest.approx(1.5 / 3)
    assert figures["cold"]["F"]["recall@10"] == {"mean": 0.5, "std": 0.707107, "per_seed": [1.0, 0.0]}


def test_one_seed_has_no_spread_and_an_empty_slice_no_mean() -> None:
    figures = of_tiny(tiny({"raie": [[1, 2, 3, 4]]}, cold=(False,) * 4))["strategies"]["raie"]
    assert figures["F"]["recall@10"] == {"mean": 1.0, "std": 0.0, "per_seed": [1.0]}
    assert figures["cold"]["F"]["recall@10"] == {"mean": None, "std": None, "per_seed": [None]}


def test_what_was_not_scored_counts_as_a_miss_and_against_coverage() -> None:
    figures = of_tiny(tiny({"raie": [[1, 0, 1, 1]]}))["strategies"]["raie"]
    assert figures["coverage"] == 0.75
    assert figures["F"]["recall@10"]["mean"] == pytest.approx(2 / 3, rel=1e-5)


def test_raie_is_compared_with_every_other_on_every_slice() -> None:
    rows = of(predictions())["comparisons"]
    assert {(row["a"], row["b"], row["slice"]) for row in rows} == {
        ("raie", other, name)
        for other in ("adapter_replay", "ensemble", "popularity_recent", "static")
        for name in REPORTED
    }


def test_a_comparison_is_the_difference_of_the_published_means() -> None:
    document = of(predictions())
    means = {name: row["F+T"]["recall@10"]["mean"] for name, row in document["strategies"].items()}
    for row in document["comparisons"]:
        if row["slice"] == "F+T":
            assert row["difference"] == pytest.approx(means["raie"] - means[row["b"]], abs=2e-6)
            assert row["low"] <= row["difference"] <= row["high"]


def test_one_user_gives_no_interval_and_no_claim() -> None:
    ranks = {"raie": [[1, 1, 1, 1]], "static": [[99, 99, 99, 1]]}
    alone = of_tiny(tiny(ranks, users="uuuu"))
    validate(alone)
    assert alone["comparisons"] == []
    (sentence, *_) = verdict(alone)
    assert "leads" not in sentence and "no interval" in sentence
    assert "leads" in verdict(of_tiny(tiny(ranks)))[0]


def test_two_runs_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_summary(of(predictions()), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_facts_that_are_missing_are_named() -> None:
    made = predictions({"raie": 0.1}, (0,))
    with pytest.raises(DataError, match="raie"):
        summarise(made, dataclasses.replace(facts(made), trained_windows={}))
    with pytest.raises(DataError, match="one number for each"):
        summarise(made, dataclasses.replace(facts(made), trained_windows={"raie": [1, 2]}))


def test_segments_of_other_interactions_are_refused() -> None:
    made = tiny({"raie": [[1, 2, 3, 4]]})
    with pytest.raises(DataError, match="segments of 500 interactions of slice S, and predictions of 0"):
        summarise(made, facts(made))


def test_a_figure_is_recomputed_by_the_lines_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = predictions()
    write_predictions(made, tmp_path / "predictions.parquet")
    monkeypatch.chdir(tmp_path)
    lines = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert len([line for line in lines.splitlines() if line]) == 5
    exec(lines, {})
    printed = ast.literal_eval(capsys.readouterr().out)
    published = of(made)["strategies"]["raie"]["F+T"]["recall@10"]
    assert sorted(printed["seed"]) == [0, 1, 2]
    assert sorted(printed["hit_mean"]) == pytest.approx(sorted(published["per_seed"]), rel=1e-5)
