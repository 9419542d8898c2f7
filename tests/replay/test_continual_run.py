"""Continual runs, and figures by segment."""

import json
from collections import Counter
from functools import partial
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError
from pipeline.evaluation.continual_run import ContinualResults, plan_slices, slice_ranks
from pipeline.evaluation.replay import replay
from pipeline.evaluation.segment_masks import candidates_of, edited_regions, setup_regions_of
from pipeline.evaluation.summary import metrics_schema
from pipeline.events.windows import Windows, no_earlier
from pipeline.metrics.continual import MEASURES
from pipeline.strategies.base import Scored
from pipeline.strategies.timeline import Stream, Timeline
from tests.replay.conftest import silent
from tests.replay.small import config, context_of, dataset, plan

SLICES = 3
NAMES = ("static", "lora_rows", "raie")


@pytest.fixture(scope="module")
def sliced(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sliced") / "run"
    replay(dataset(), config(), NAMES, 1, out, silent, lambda: 0.0, SLICES)
    return out


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def rows_of(folder: Path, name: str) -> list[dict]:
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def scored(folder: Path, strategy: str) -> list[tuple[int, dict]]:
    """Rank and segments of every interaction of the stream by a user with history."""
    segments = {(row["slice"], row["event_id"]): row for row in rows_of(folder, "traits")}
    rows = [r for r in rows_of(folder, "predictions") if r["strategy"] == strategy and r["slice"] in ("F", "T")]
    return [(r["rank"], segments[r["slice"], r["event_id"]]) for r in rows if not r["cold"]]


def ids(windows: Windows) -> set[str]:
    return set(windows.event_ids.tolist())


def test_held_out_windows_are_never_shown_and_everything_else_is_once_and_in_order():
    planned, cut = plan(), plan_slices(plan(), SLICES, config().replay)
    shown = [event for parts in cut.learned for part in parts for event in part.event_ids.tolist()]
    held = [ids(windows) for windows in cut.held_out]
    assert set.union(*held[1:]).isdisjoint(shown)
    assert set(shown) | set.union(*held[1:]) == ids(planned.stream)
    assert shown == [event for event in planned.stream.event_ids.tolist() if event in set(shown)]
    assert held[0] == ids(planned.scored["S_new"])
    assert not any(windows.cold.any() for windows in cut.held_out)
    assert 0.05 < sum(map(len, held[1:])) / len(planned.stream) < 0.15
    assert [len(parts) for parts in cut.learned] == [1] * SLICES


def test_slices_are_equal_stretches_of_the_stream():
    cut = plan_slices(plan(), SLICES, config().replay)
    sizes = [sum(map(len, parts)) + len(held) for parts, held in zip(cut.learned, cut.held_out[1:], strict=True)]
    assert max(sizes) - min(sizes) <= 1
    for held, parts in zip(cut.held_out[1:], cut.learned[1:], strict=False):
        assert held.timestamps[-1] <= parts[0].timestamps[0]


def test_more_slices_than_can_be_judged_are_refused_with_the_way_out():
    with pytest.raises(DataError, match=r"--slices, or raise replay\.slice_held_out"):
        plan_slices(plan(), 500, config().replay)


class Counting:
    """Ranks a target by how many windows it has observed: the results matrix is known in advance."""

    name = "counting"
    trained_windows = memory_bytes = 0

    def __init__(self) -> None:
        self.learned = 0

    def observe(self, windows: Windows) -> Scored:
        return self.score(windows)

    def learn(self) -> None:
        self.learned += 1

    def score(self, windows: Windows) -> Scored:
        return Scored(np.full(len(windows), 12 - self.learned))

    def close(self) -> None:
        pass


def test_row_i_is_what_was_said_after_slice_i():
    cut = plan_slices(plan(), SLICES, config().replay)
    results = ContinualResults(cut)
    results.add("counting", 0, slice_ranks(Counting(), cut, partial(silent, "slices")))
    document = results.document()
    # Ranks fall from 12 to 9, a place a slice: from the second slice on every target is in the list.
    found = document["strategies"]["counting"]["recall@10"]
    assert found["matrix"] == [[0.0] * 4, [0.0] * 4, [1.0] * 4, [1.0] * 4]
    assert found["adaptation"]["mean"] == pytest.approx(2 / 3)
    assert found["forward_transfer"]["mean"] == pytest.approx(1 / 2)
    assert found["retention"] == {"mean": None, "std": None, "per_seed": [None]}


def test_the_matrix_can_be_recomputed_from_the_ranks(sliced):
    document = metrics(sliced)
    jsonschema.validate(document, metrics_schema())
    rows = pq.read_table(sliced / "slices.parquet")
    columns = {name: np.array(rows[name]) for name in ("strategy", "after", "slice", "rank")}
    for name in NAMES:
        found = document["continual"]["strategies"][name]["recall@10"]
        for i in range(SLICES + 1):
            for j in range(SLICES + 1):
                asked = (columns["strategy"] == name) & (columns["after"] == i) & (columns["slice"] == j)
                assert asked.sum() == document["continual"]["windows"][j]
                assert found["matrix"][i][j] == pytest.approx(
                    np.isin(columns["rank"][asked], range(1, 11)).mean(), rel=1e-5
                )
        for measure, of in MEASURES.items():
            assert found[measure]["mean"] == pytest.approx(of(np.array(found["matrix"])), abs=1e-5)


def test_what_never_learns_forgets_nothing_and_what_learns_starts_like_it(sliced):
    found = metrics(sliced)["continual"]["strategies"]
    static = found["static"]["recall@10"]
    assert (
        static["forgetting"]["mean"] == static["backward_transfer"]["mean"] == static["forward_transfer"]["mean"] == 0
    )
    assert static["retention"]["mean"] == 1.0
    assert found["lora_rows"]["recall@10"]["matrix"][0] == static["matrix"][0]
    assert found["lora_rows"]["recall@10"]["matrix"][-1] != static["matrix"][-1]


def test_the_pass_slice_after_slice_leaves_the_other_figures_alone(sliced, finished):
    other = metrics(finished)["strategies"]
    for name in ("static", "raie"):
        assert metrics(sliced)["strategies"][name] == other[name]
    assert "continual" not in metrics(finished)


def existing() -> list[set[int]]:
    """Rows that exist at each event of the log, and after it: those of S, then all that were taken before."""
    planned, order = plan(), dataset().interactions
    rows = planned.timeline.row_of
    found = [set(range(1, planned.timeline.setup_items + 1))]
    for event in order:
        found.append(found[-1] | {rows[event.item_id]})
    return found


def test_traits_are_those_of_a_plain_reading(finished, setup):
    planned = plan()
    rows = rows_of(finished, "traits")
    known_items = set(planned.setup.targets.tolist()) | set(planned.scored["S_new"].targets.tolist())
    known_users = set(planned.setup.users.tolist()) | set(planned.scored["S_new"].users.tolist())
    by_event = {(row["slice"], row["event_id"]): row for row in rows}
    times, exists = Counter[int](), existing()
    assert len(by_event) == len(rows) == sum(map(len, planned.by_slice.values()))
    for name, windows in planned.by_slice.items():
        for i in range(len(windows)):
            row, context = by_event[name, str(windows.event_ids[i])], set(windows.contexts[i].tolist())
            assert row["warm_target"] == (int(windows.targets[i]) in known_items)
            times[int(windows.targets[i])] += name in ("F", "T")
            assert row["occurrence"] == (0 if row["warm_target"] else times[int(windows.targets[i])])
            assert row["known_user"] == (str(windows.users[i]) in known_users)
            there = exists[int(windows.positions[i])]
            assert row["candidates"] == len(there) - len(context & there - {int(windows.targets[i])})
    assert {row["taste"] for row in rows} <= {region.region_id for region in setup.bank.regions}


def test_a_rank_never_lies_beyond_the_candidates(finished):
    candidates = {(r["slice"], r["event_id"]): r["candidates"] for r in rows_of(finished, "traits")}
    for row in rows_of(finished, "predictions"):
        assert 0 <= row["rank"] <= candidates[row["slice"], row["event_id"]]


def test_an_item_that_stands_twice_in_a_history_is_left_out_once():
    contexts = np.array([[0, 0, 3], [3, 3, 5], [2, 3, 4]])
    names = np.array(["a", "b", "c"])
    windows = Windows(
        contexts,
        np.array([1, 1, 3]),
        names,
        names,
        np.zeros(3),
        np.zeros(3, dtype=np.int64),
        np.arange(3),
        no_earlier(3),
    )
    ten = Timeline(
        {}, [f"i{row:02}" for row in range(10)], Stream(0, np.zeros(3), ["i00"] * 3, [], ["u"] * 3), config().items
    )
    assert candidates_of(windows, ten).tolist() == [9, 8, 8]


def test_split_figures_are_those_of_their_rows(finished):
    document = metrics(finished)
    stream = [(1 <= rank <= 10, trait) for rank, trait in scored(finished, "raie")]
    found, sizes = document["strategies"]["raie"]["splits"]["F+T"], document["splits"]["F+T"]
    for name, wanted in {
        "warm_target": lambda t: t["warm_target"],
        "cold_target": lambda t: not t["warm_target"],
        "target_in_setup": lambda t: t["occurrence"] == 0,
        "target_first": lambda t: t["occurrence"] == 1,
        "target_2_to_5": lambda t: t["occurrence"] in range(2, 6),
        "target_later": lambda t: t["occurrence"] > 5,
        "known_user": lambda t: t["known_user"],
        "new_user": lambda t: not t["known_user"],
        "edited": lambda t: t["edited"],
        "untouched": lambda t: not t["edited"],
    }.items():
        hits = [hit for hit, trait in stream if wanted(trait)]
        assert sizes[name] == [len(hits)]
        expected = pytest.approx(np.mean(hits), abs=1e-5) if hits else None
        assert found[name]["recall@10"]["mean"] == expected
    for region, share in found["regions"][0].items():
        assert share == pytest.approx(np.mean([hit for hit, t in stream if t["taste"] == int(region)]), abs=1e-5)
    assert sum(sizes["regions"][0].values()) == len(stream)


def test_auc_without_sampling_lies_where_the_sampled_one_does(finished):
    stream = [(rank, trait["candidates"]) for rank, trait in scored(finished, "static")]
    exact = np.mean([(c - rank) / (c - 1) if rank else 0.0 for rank, c in stream])
    assert metrics(finished)["strategies"]["static"]["F+T"]["auc"]["mean"] == pytest.approx(exact, abs=0.01)


def test_edited_regions_are_those_that_published_edits_name(finished, setup):
    ledger = [json.loads(line) for line in (finished / "ledger.jsonl").read_text().splitlines()]
    setup_ids = {region.region_id for region in setup.bank.regions}
    named = set()
    for edit in ledger:
        if edit["status"] == "published":
            named |= {edit["region_id"], edit["other_region_id"], *edit["reason"].get("regions", [])}
    marked = {r["taste"] for r in rows_of(finished, "traits") if r["edited"]}
    seen = set(
        np.concatenate(
            list(setup_regions_of(plan(), setup, context_of(setup, finished).catalogue, 512).values())
        ).tolist()
    )
    assert marked == named & setup_ids & seen
    assert edited_regions([], setup) == set()
