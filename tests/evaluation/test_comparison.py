"""One page over several runs."""

import json
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.evaluation.report import build_comparison
from pipeline.evaluation.report.compare import Run, strategies_of
from tests.evaluation.synthetic_run import run_folder
from tests.evaluation.test_report import Page

SECTIONS = ["adaptation", "retention", "differences", "cost", "relative", "settings"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [run_folder(folder / "one", text="first"), run_folder(folder / "two", text="second", name="other")]


def page(runs: list[Path], out: Path) -> Page:
    return Page(build_comparison(runs, out).read_text(encoding="utf-8"))


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def test_every_run_stands_beside_the_others(runs: list[Path], tmp_path: Path) -> None:
    found = page(runs, tmp_path / "page.html")
    assert found.sections == SECTIONS
    assert found.open == []
    assert found.tags.count("svg") == 1
    for folder in runs:
        for row in metrics(folder)["strategies"].values():
            for name in ("F+T", "S_new"):
                assert f"{row[name]['recall@10']['mean']:.4f}" in found.words


def test_the_page_stands_alone_and_equal_runs_give_equal_bytes(runs: list[Path], tmp_path: Path) -> None:
    one, two = (build_comparison(runs, tmp_path / name).read_text(encoding="utf-8") for name in ("one", "two"))
    assert one == two
    assert "://" not in one
    found = Page(one)
    assert not {"script", "link", "iframe", "img"} & set(found.tags)
    assert all(link.startswith("#") for link in found.links)
    assert len(found.ids) == len(set(found.ids))


def test_a_strategy_that_one_run_lacks_has_a_dash_there(runs: list[Path], tmp_path: Path) -> None:
    text = build_comparison(runs, tmp_path / "page.html").read_text(encoding="utf-8")
    rows = [part.split("</tr>")[0] for part in text.split('<th scope="row">other</th>')[1:]]
    assert len(rows) == 4
    assert all(row.startswith("<td>–</td><td") and row.count("–") == 1 for row in rows)


def test_only_settings_that_differ_are_listed(runs: list[Path], tmp_path: Path) -> None:
    words = page(runs, tmp_path / "page.html").words
    assert "config.regions.note" in words
    assert "config.regions.k" not in words
    same = page([runs[0], run_folder(tmp_path / "again", text="first")], tmp_path / "same.html").words
    assert "No setting, version or data hash in the run.json files differs" in same


def test_strategies_stand_by_their_mean_place(runs: list[Path]) -> None:
    order = strategies_of([Run(folder.name, metrics(folder), None) for folder in runs])
    assert set(order) == {"raie", "adapter_replay", "ensemble", "popularity_recent", "static", "other"}
    assert order.index("raie") < order.index("popularity_recent") < order.index("static")


def test_without_raie_the_figure_says_why_it_is_not_drawn(runs: list[Path], tmp_path: Path) -> None:
    document = metrics(runs[0])
    del document["strategies"]["raie"]
    document["comparisons"] = []
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "metrics.json").write_text(json.dumps(document), encoding="utf-8")
    found = page([runs[1], tmp_path / "three"], tmp_path / "page.html")
    assert found.tags.count("svg") == 0
    assert "a run lacks raie" in found.words


def test_a_run_given_twice_and_what_is_no_run_are_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="given twice"):
        build_comparison([runs[0], runs[0] / ".." / "one"], tmp_path / "page.html")
    with pytest.raises(DataError, match=r"not a finished run: it has no metrics\.json"):
        build_comparison([runs[0], tmp_path], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_runs_of_one_name_are_told_apart_by_their_paths(runs: list[Path], tmp_path: Path) -> None:
    other = run_folder(tmp_path / "elsewhere" / "one")
    assert str(other) in page([runs[0], other], tmp_path / "page.html").words


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    name = """<script>alert("1")</script>'"&$^_{"""
    folders = [run_folder(tmp_path / number, name=name, text=f"{number} {name}") for number in ("1", "2")]
    found = page(folders, tmp_path / "page.html")
    assert "script" not in found.tags
    assert found.words.count(name) > 4
