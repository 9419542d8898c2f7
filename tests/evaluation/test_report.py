import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.evaluation.predictions import write_predictions
from pipeline.evaluation.report import build_report
from pipeline.evaluation.report.build import LINES_SHOWN
from pipeline.evaluation.summary import summarise, write_summary
from tests.evaluation.synthetic_run import edit, facts, predictions, run_folder

SECTIONS = [
    "strategies",
    "lengths",
    "tradeoff",
    "cost",
    "stream",
    "comparisons",
    "slices",
    "parts",
    "gate",
    "regions",
    "edits",
    "edit-effect",
    "cold",
    "reproduction",
]
FIGURES = 8
OPTIONAL = ["timings.json", "ledger.jsonl", "statistics.parquet", "regions.parquet", "run.json"]
VOID = {"meta", "br", "path", "use", "rect", "image"}


class Page(HTMLParser):
    """What stands in a page: sections, tags, text, every id, every attribute that could leave it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if given.get("id") else []
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]
        self.sections += [given["id"] or ""] if tag == "section" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def page(folder: Path) -> Page:
    return Page(build_report(folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("run") / "full")


def test_every_section_stands_and_every_tag_is_closed(folder: Path) -> None:
    found = page(folder)
    assert found.sections == SECTIONS
    assert found.open == []
    assert found.tags.count("svg") == FIGURES
    assert "is missing" not in found.words
    assert "Not drawn" not in found.words


def test_the_page_stands_alone(folder: Path) -> None:
    text = build_report(folder).read_text(encoding="utf-8")
    found = Page(text)
    assert "://" not in text
    assert "@import" not in text
    assert not {"script", "link", "iframe", "img"} & set(found.tags)
    assert all(link.startswith("#") for link in found.links)


def test_ids_are_unique_and_what_is_referred_to_exists(folder: Path) -> None:
    found = page(folder)
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links} <= set(found.ids)


def test_equal_files_give_equal_bytes(tmp_path: Path) -> None:
    one, two = (build_report(run_folder(tmp_path / name)).read_bytes() for name in ("one", "two"))
    assert one == two


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    name = """<script>alert("1")</script>'"&$^_{"""
    found = page(run_folder(tmp_path, name=name, text=name))
    assert "script" not in found.tags
    assert found.sections == SECTIONS
    assert found.words.count(name) > 40


def test_without_the_optional_files_every_section_says_so(folder: Path, tmp_path: Path) -> None:
    for name in ("metrics.json", "predictions.parquet"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    found = page(tmp_path)
    assert found.sections == SECTIONS
    assert found.tags.count("svg") == 5
    for name in OPTIONAL:
        assert f"{name} is missing" in found.words


@pytest.mark.parametrize("name", ["metrics.json", "predictions.parquet"])
def test_what_is_no_finished_run_is_refused(tmp_path: Path, name: str) -> None:
    run_folder(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"no {name}"):
        build_report(tmp_path)


def test_a_torn_ledger_is_named_with_its_line(tmp_path: Path) -> None:
    run_folder(tmp_path, edits=2)
    with (tmp_path / "ledger.jsonl").open("a", encoding="utf-8") as ledger:
        ledger.write('{"seed": 0, "edit')
    with pytest.raises(DataError, match=r"ledger\.jsonl, line 3"):
        build_report(tmp_path)


def test_an_empty_ledger_and_a_full_one(tmp_path: Path) -> None:
    assert "made no edit" in page(run_folder(tmp_path / "none", edits=0)).words
    many = page(run_folder(tmp_path / "many", edits=230))
    assert "30 more edits are in ledger.jsonl" in many.words


def test_the_published_figures_stand_in_the_table(folder: Path) -> None:
    found = page(folder)
    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["strategies"]
    for row in figures.values():
        assert f"{row['F+T']['recall@10']['mean']:.4f}" in found.words


def test_a_run_without_slices_and_splits_says_so(tmp_path: Path) -> None:
    made = predictions({"raie": 0.1, "static": 0.1}, (0,))
    plain = dataclasses.replace(facts(made), segments={}, continual=None, memory_bytes={})
    write_predictions(made, tmp_path / "predictions.parquet")
    write_summary(summarise(made, plain, resamples=50), tmp_path / "metrics.json")
    found = page(tmp_path)
    assert found.sections == SECTIONS
    assert "replay with --slices N" in found.words
    assert "has no segments by target, user and region" in found.words


def test_figures_by_target_stand_in_one_table_with_their_numbers(folder: Path) -> None:
    text = build_report(folder).read_text(encoding="utf-8")
    section = text[text.index('<section id="parts">') : text.index('<section id="gate">')]
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    split, sizes = metrics["strategies"]["raie"]["splits"]["F+T"], metrics["splits"]["F+T"]
    names = ["warm_target", "cold_target", "target_first", "target_2_to_5", "target_later"]
    (heads,) = re.findall(r'<thead><tr><th scope="col">strategy</th>(.*known in S.*)</tr></thead>', section)
    assert re.findall(r"\(([\d,]+)\)", heads) == [f"{sizes[name][0]:,}" for name in names]
    row = re.findall(r'<tr class="ours">(.*?)</tr>', section)[0]
    assert re.findall(r"0\.\d{4}", row) == [f"{split[name]['recall@10']['mean']:.4f}" for name in names]


def test_first_interactions_are_counted_in_the_facts_of_f_and_t(folder: Path) -> None:
    slices = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["slices"]
    words = page(folder).words
    for name in ("F", "T"):
        assert 0 < slices[name]["first_interactions"] < slices[name]["windows"]
        assert f"{slices[name]['first_interactions']} first interactions with a new item" in words
    assert words.count("first interactions with a new item") == 2


def test_metrics_of_a_version_without_occurrences_still_make_a_report(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "predictions.parquet").write_bytes((folder / "predictions.parquet").read_bytes())
    old = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for facts_of_slice in old["slices"].values():
        del facts_of_slice["first_interactions"]
    parts = [row["splits"][name] for row in (old, *old["strategies"].values()) for name in ("F+T", "S_new")]
    for part in parts:
        for name in [name for name in part if name.startswith("target_")]:
            del part[name]
    (tmp_path / "metrics.json").write_text(json.dumps(old), encoding="utf-8")
    words = page(tmp_path).words
    assert "known in S (" in words
    assert "2nd to 5th" not in words
    assert "miss of every strategy" not in words


def test_many_strategies_leave_the_figures_of_lines_readable(tmp_path: Path) -> None:
    many = {f"other_{number}": 0.2 - 0.001 * number for number in range(30)} | {"raie": 0.01}
    made = predictions(many, (0,))
    write_predictions(made, tmp_path / "predictions.parquet")
    write_summary(summarise(made, facts(made), resamples=50), tmp_path / "metrics.json")
    text = build_report(tmp_path).read_text(encoding="utf-8")
    stream = text[text.index('<section id="stream">') : text.index('<section id="comparisons">')]
    assert stream.count("other_") == LINES_SHOWN - 1
    assert ">raie<" in stream
    assert "raie and the best of the others" in stream
    assert text.count("other_29") > 3


def test_the_effect_of_each_edit_is_shown(tmp_path: Path) -> None:
    made = run_folder(tmp_path, edits=0)
    known, unknown = ({**edit(0), "at_event": at, "region_id": 1} for at in (600, 1_190))
    unknown["region_id"] = 2
    (made / "ledger.jsonl").write_text("".join(json.dumps(e) + "\n" for e in (known, unknown)), encoding="utf-8")
    text = build_report(made).read_text(encoding="utf-8")
    section = text[text.index('<section id="edit-effect">') : text.index('<section id="cold">')]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', section)
    assert [name for name, _ in rows] == ["mean edit", "mean edit", "600", "1,190"]
    effect = re.compile(r"[+−]0\.\d{4} \([+−]0\.\d{4} to [+−]0\.\d{4}\)</td>")
    assert [bool(effect.search(cells)) for _, cells in rows] == [True, True, True, False]


def test_without_static_no_edit_effect_is_shown(tmp_path: Path) -> None:
    assert "Not computed: it needs a published edit" in page(run_folder(tmp_path, name="other")).words
