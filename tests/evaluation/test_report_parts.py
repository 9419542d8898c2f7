import re
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.report import drift, tables, words
from pipeline.evaluation.report.figure import INK, axes, draw
from pipeline.evaluation.report.labels import Box, place, spread
from pipeline.evaluation.report.lines import rolling
from pipeline.evaluation.report.verdict import verdict
from pipeline.evaluation.summary import summarise
from tests.evaluation.synthetic_run import edit, facts, predictions


def metrics(**strategies: float) -> dict[str, Any]:
    made = predictions(strategies, (0, 1))
    return summarise(made, facts(made), resamples=200)


def test_labels_on_a_line_keep_their_distance_and_their_order() -> None:
    placed = spread([5.0, 5.1, 0.2, 9.9], 1.0, 0.0, 10.0)
    order = np.argsort([5.0, 5.1, 0.2, 9.9])
    assert np.all(np.diff(np.array(placed)[order]) >= 1.0 - 1e-9)
    assert min(placed) >= 0
    assert max(placed) <= 10


def test_labels_that_have_room_stay_where_they_are() -> None:
    assert spread([1.0, 5.0, 9.0], 1.0, 0.0, 10.0) == [1.0, 5.0, 9.0]


@pytest.mark.parametrize("seed", range(5))
def test_labels_in_a_plane_hide_neither_each_other_nor_a_point(seed: int) -> None:
    points = [(float(x), float(y)) for x, y in np.random.default_rng(seed).uniform(150, 280, (14, 2))]
    boxes = place(points, [f"strategy_{i}" for i in range(14)], 12.0, Box(0, 0, 700, 400))
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert not any(box.left < x < box.right and box.bottom < y < box.top for box in boxes for x, y in points)
    assert all(box.beyond(Box(0, 0, 700, 400)) == 0 for box in boxes)


def test_a_figure_takes_its_colours_from_the_page_and_names_no_host() -> None:
    svg = draw(
        "one",
        'a "figure"',
        100,
        lambda figure: axes(figure, left=30, right=5, top=5, bottom=20).plot([1, 2], color=INK),
    )
    assert "var(--ink)" in svg
    assert "#010101" not in svg
    assert "://" not in svg
    assert 'aria-label="a &quot;figure&quot;"' in svg
    assert "var(--sans)" in svg
    assert "DejaVu" not in svg


def test_ids_of_two_figures_do_not_meet() -> None:
    ids = [
        re.findall(
            r' id="([^"]*)"',
            draw(name, "", 100, lambda figure: axes(figure, left=9, right=9, top=9, bottom=9).plot([1])),
        )
        for name in ("one", "two")
    ]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])


def test_a_label_stays_text_whatever_it_looks_like() -> None:
    name = '</svg><script>x</script> $\\frac$ url(#x) id="y" : #010101 推薦'
    svg = draw("one", "", 100, lambda figure: figure.text(0.5, 0.5, name))
    assert "<script" not in svg
    assert "url(#x)" in svg
    assert "推薦" in svg


def test_rolling_means_by_hand() -> None:
    at, values = rolling(np.array([1.0, 0, 0, 1]), np.array([0.0, 2, 3, 7]), 2)
    assert at.tolist() == [2, 3, 7]
    assert values.tolist() == [0.5, 0, 0.5]


def test_the_verdict_says_who_leads_and_by_how_much() -> None:
    sentence = verdict(metrics(raie=0.4, static=0.05))[0]
    assert re.match(r"raie leads on the stream: \d\d\.\d% of its lists of ten held the item", sentence)
    assert "above static (95% interval +" in sentence
    assert "chance" not in sentence


def test_the_verdict_names_an_interval_that_includes_zero() -> None:
    found = metrics(raie=0.12, adapter=0.12)
    row = next(row for row in found["comparisons"] if row["slice"] == "F+T")
    assert row["low"] < 0 < row["high"]
    assert "which includes zero: the lead may be chance" in verdict(found)[0]


def test_the_verdict_turns_the_interval_when_another_leads() -> None:
    found = metrics(raie=0.05, adapter=0.4)
    row = next(row for row in found["comparisons"] if row["slice"] == "F+T")
    text = verdict(found)[0]
    assert text.startswith("adapter leads")
    assert f"interval {words.signed(-row['high'])} to {words.signed(-row['low'])}" in text


def test_the_verdict_sorts_the_others_by_their_intervals() -> None:
    found = metrics(raie=0.2, better=0.4, equal=0.2, worse=0.02)
    assert "On the stream raie is ahead of worse, level with equal, behind better." in verdict(found)


def test_many_others_are_counted() -> None:
    found = metrics(raie=0.4, **{f"s{number}": 0.02 for number in range(6)})
    assert re.search(r"On the stream raie is ahead of s\d, s\d, s\d and 3 more\.", " ".join(verdict(found)))


def test_the_verdict_states_retention() -> None:
    found = metrics(raie=0.02, static=0.1)
    ours, best = (words.mean(found, name, "S_new") for name in ("raie", "static"))
    text = f"static keeps most (Recall@10 {best:.4f} on S_new); raie has {ours:.4f} and is behind static there."
    assert verdict(found)[2].endswith(text)


def test_an_untrained_strategy_above_raie_is_named() -> None:
    found = metrics(raie=0.05, popularity_recent=0.3)
    assert any("Without training, popularity_recent (0.3" in text for text in verdict(found))
    assert not any("Without training" in text for text in verdict(metrics(raie=0.3, popularity_recent=0.05)))


def test_the_verdict_states_the_cost() -> None:
    found = metrics(raie=0.2, lora=0.1)
    found["strategies"]["raie"]["trained_windows"], found["strategies"]["lora"]["trained_windows"] = [40, 60], [200]
    assert "raie was trained on 50 windows after set-up, 25% of lora." in verdict(found)
    for row in found["strategies"].values():
        row["trained_windows"] = [0, 0]
    assert "No strategy was trained after set-up." in verdict(found)


@pytest.mark.parametrize(
    ("stream", "retention", "found"),
    [
        (0.03, 0.04, "Regions helped here, on F+T and S_new: against the frozen backbone"),
        (0.03, 0.01, "Regions helped here, on F+T: against"),
        (-0.03, 0.01, "Regions did harm here, on F+T: against"),
        (0.03, -0.04, "Regions helped on F+T and did harm on S_new: against"),
        (0.01, -0.01, "Regions made no difference here that can be told from chance: against"),
    ],
)
def test_the_verdict_says_whether_regions_mattered(stream: float, retention: float, found: str) -> None:
    document = metrics(raie=0.2, static_ranked=0.2)
    for row in document["comparisons"]:
        middle = {"F+T": stream, "S_new": retention}.get(row["slice"], 0.0)
        row |= {"difference": middle, "low": middle - 0.02, "high": middle + 0.02}
    sentence = verdict(document)[-1]
    assert sentence.startswith(found)
    assert f"{words.signed(stream)} on F+T (95% interval {words.signed(stream - 0.02)} to" in sentence
    assert sentence.endswith("Live regions: 3 at first, 5 at the end.")


def test_regions_are_judged_by_the_closest_strategy_without_them() -> None:
    assert "(raie_one)" in verdict(metrics(raie=0.2, raie_k1_ranked=0.1, raie_one=0.1))[-1]
    assert verdict(metrics(raie=0.2, lora=0.1))[-1].endswith(
        "was not measured: replay raie_one or raie_k1_ranked beside raie."
    )


def test_a_run_without_raie_has_a_verdict() -> None:
    text = verdict(metrics(static=0.1, adapter=0.3))
    assert text[0].startswith("adapter leads on the stream")
    assert not any("raie" in sentence or "egions" in sentence for sentence in text)


@pytest.mark.parametrize(("value", "text"), [(-0.01234, "−0.0123"), (0.5, "+0.5000"), (-0.00001, "+0.0000")])
def test_signs_are_written_as_signs(value: float, text: str) -> None:
    assert words.signed(value) == text


def test_the_best_of_each_column_is_marked_and_raie_stands_out() -> None:
    timings = {"total_seconds": 3, "strategies": {"raie": {"train": 2.0}, "static": {"train": 1.0}}}
    table = tables.strategies(metrics(raie=0.4, static=0.05), timings)
    assert [row.name for row in table.rows] == ["raie", "static"]
    assert [row.ours for row in table.rows] == [True, False]
    marked = {title: [row.cells[i].best for row in table.rows] for i, title in enumerate(table.columns)}
    assert marked["F+T Recall@10"] == [True, False]
    assert marked["coverage"] == [False, False]
    assert marked["trained windows"] == [False, True]
    assert marked["seconds"] == [False, True]


def test_edits_are_told_in_stream_order_and_capped() -> None:
    table = tables.edits([edit(number) for number in reversed(range(250))])
    assert len(table.rows) == tables.EDITS_SHOWN
    assert [row.name for row in table.rows[:2]] == ["20", "40"]
    assert table.rows[2].cells[2].text == "4 and 1"


def test_settings_are_flattened_by_name() -> None:
    assert list(tables.settings({"a": {"b": 1, "c": [2]}, "d": None})) == [("a.b", "1"), ("a.c", "[2]"), ("d", "None")]


def test_only_the_busiest_regions_are_drawn() -> None:
    rows = [{"region_id": region, "windows": region} for region in range(20)]
    assert drift.busiest(rows) == list(range(12, 20))


def test_an_edit_of_the_gate_has_a_row_of_its_own_below_the_regions() -> None:
    svg = drift.time_line("one", "", [edit(0), {**edit(2), "region_id": "gate"}, {**edit(3), "region_id": 11}])
    assert [svg.index(f">{name}<") for name in ("region 2", "region 11", "gate")] == sorted(
        svg.index(f">{name}<") for name in ("region 2", "region 11", "gate")
    )
