"""Refreshes in replay: a new set-up from the stream so far, judged in shadow, then in force or not."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.evaluation.replay import prepare
from pipeline.events.windows import Windows
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up, validation_mask
from pipeline.setup.teacher import Teacher, TeacherAnswers
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.raie.refreshed import REFRESHES, Past, RaieRefresh
from pipeline.strategies.raie.replayed import Raie
from tests.replay.conftest import silent
from tests.replay.small import config, context_of, dataset, plan, reading
from tests.replay.test_honesty import assert_honest

EVERY, JUDGED, EVENTS = 128, 64, 260
"""A refresh after 128 events, decided after 192, and a second one after 256, which is on trial at the end."""

SOON = (f"refresh.every_events={EVERY}", f"refresh.judged_events={JUDGED}", "setup.max_epochs=1", "ranking.events=2000")
ALWAYS, NEVER = "refresh.least_gain=-2", "refresh.least_gain=2"


def test_dislikes_are_refused_as_a_replay_would_count_them_otherwise_than_a_gate(tmp_path):
    examples = context_of(None, tmp_path, "backbone.kind=causal_lm", "backbone.model=any", "backbone.format=examples")
    with pytest.raises(ConfigError, match=r"raie_refresh does not know backbone\.format `examples`"):
        RaieRefresh(examples)


def stream() -> Windows:
    return plan().stream[slice(0, EVENTS)]


@pytest.fixture(scope="module")
def made(setup: SetUp, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Raie | RaieRefresh]:
    """`raie`, and its refreshes where they are always and never switched to, after the same events."""
    strategies: dict[str, Raie | RaieRefresh] = {}
    for name, make, setting in (("raie", Raie, NEVER), ("never", RaieRefresh, NEVER), ("always", RaieRefresh, ALWAYS)):
        strategies[name] = make(context_of(setup, tmp_path_factory.mktemp(name), *SOON, setting))
        strategies[name].ranks = strategies[name].observe(stream()).ranks
        strategies[name].close()
    return strategies


def test_a_set_up_that_is_not_better_changes_no_answer_and_costs_its_windows(made):
    raie, never = made["raie"], made["never"]
    assert never.ranks.tolist() == raie.ranks.tolist()
    assert [refresh.switched for refresh in never.refreshes] == [False, False]
    cost = sum(refresh.epochs * refresh.windows for refresh in never.refreshes)
    assert cost > 0
    assert never.trained_windows >= raie.trained_windows + cost


def test_a_better_one_answers_after_it_was_judged_and_not_before(made):
    raie, always = made["raie"], made["always"]
    decided = EVERY + JUDGED
    assert always.ranks[:decided].tolist() == raie.ranks[:decided].tolist()
    assert always.ranks[decided:].tolist() != raie.ranks[decided:].tolist()
    assert always._serving.setup.backbone_sha256 != raie.live._backbone_sha256


def test_what_was_counted_goes_along_by_item_and_what_regions_counted_does_not(made):
    before, after = made["raie"], made["always"]._serving.pipeline
    counts = []
    for raie in (before, after):
        stage, ids = raie._gate.online.second_stage.to_arrays(), raie._items.catalogue.ids
        counted = {i: stage["popularity.counts"][:, -1, row].tolist() for row, i in enumerate(ids) if i}
        counts.append({item_id: values for item_id, values in counted.items() if any(values)})
    assert counts[0] == counts[1]
    totals = [raie._gate.online.second_stage.to_arrays()["popularity.totals"] for raie in (before, after)]
    np.testing.assert_array_equal(totals[0][:, -1], totals[1][:, -1])
    assert totals[1][:, :-1].sum() < totals[0][:, :-1].sum()


def test_items_of_the_stream_so_far_are_those_of_the_new_set_up(made):
    timeline, setup = plan().timeline, made["always"]._serving.setup
    begun = timeline.last_row(int(stream().positions[EVERY - 1]))
    assert begun > timeline.setup_items
    assert setup.catalogue.item_ids == tuple(timeline.item_ids[:begun])


def test_only_items_since_the_new_set_up_count_as_new(made):
    windows = stream()
    newer = made["always"]._serving.dated(windows).since_setup
    assert not newer[:EVERY].any()
    assert (newer <= windows.since_setup).all()
    for row in range(EVERY, EVENTS):
        since = int((windows.users[EVERY:row] == windows.users[row]).sum())
        assert newer[row] == min(since, windows.since_setup[row])


def test_refreshes_are_written_and_one_on_trial_at_the_end_is_not_switched_to(made):
    lines = (made["always"]._context.folder / REFRESHES).read_text().splitlines()
    first, second = map(json.loads, lines)
    assert (first["at_event"], first["switched"]) == (EVERY, True)
    assert (second["at_event"], second["switched"]) == (2 * EVERY, False)
    warm = ~stream().cold
    assert first["judgement"]["events"] == int(warm[EVERY : EVERY + JUDGED].sum())
    assert second["judgement"]["events"] == int(warm[2 * EVERY :].sum())


@pytest.mark.parametrize("begin_from", ["scratch", "distilled"])
def test_a_new_set_up_knows_nothing_of_what_comes_after_it(begin_from, setup, tmp_path):
    begun = (ALWAYS, f"refresh.begin_from={begin_from}")

    def make(context: StrategyContext) -> RaieRefresh:
        settings = config(*SOON, *begun, "refresh.every_events=64", "monitor.expected_run=1e6", "trend.half_lives=[]")
        return RaieRefresh(replace(context, config=settings))

    assert_honest(make, setup, tmp_path)


def test_windows_held_out_once_are_held_out_for_ever():
    learned, parts = plan().setup, [stream()[slice(0, 128)], stream()[slice(128, None)]]
    past = Past(learned, config(), 0)
    warm = ~learned.cold
    np.testing.assert_array_equal(past.newest(10**6)[1][warm], validation_mask(int(warm.sum()), config(), 0))
    past.add(parts[0])
    windows, once = past.newest(10**6)
    assert not windows.since_setup.any()
    assert once[len(learned) :].any() and not once[windows.cold].any()
    past.add(parts[1])
    windows, again = past.newest(10**6)
    np.testing.assert_array_equal(again[: len(once)], once)
    newest, held_out = past.newest(150)
    assert newest.event_ids.tolist() == windows.event_ids[-150:].tolist()
    np.testing.assert_array_equal(held_out, again[-150:])


def test_a_training_can_begin_from_the_backbone_of_before(setup, tmp_path):
    still = ("setup.learning_rate=1e-9", "setup.max_epochs=1", "trend.half_lives=[]", ALWAYS)
    strategy = RaieRefresh(context_of(setup, tmp_path, *SOON, *still, "refresh.begin_from=backbone"))
    strategy.observe(stream()[slice(0, EVERY + JUDGED)])
    strategy.close()
    before, after = setup.backbone, strategy._serving.setup.backbone
    known = len(setup.catalogue) + 1
    torch.testing.assert_close(after.items.rows.weight[1:known], before.items.rows.weight[1:known], atol=1e-5, rtol=0.0)
    assert after is not before


@pytest.mark.parametrize("way", [(), ("setup.train=lora", "compute.precision=bfloat16")], ids=["all", "lora"])
def test_any_backbone_can_be_distilled_and_the_teacher_is_of_the_pipeline_that_serves(way, tmp_path, monkeypatch):
    settings = [*way, *(f"backbone.{name}={value}" for name, value in reading("items").items() if way)]
    made = set_up(config(*settings), prepare(dataset(), config(), silent)[1], plan().setup, seed=0)
    context = context_of(made, tmp_path, *SOON, *settings, ALWAYS, "refresh.begin_from=distilled")
    strategy, seen = RaieRefresh(context), []

    def remember(self: Teacher, windows: Windows, device: torch.device) -> TeacherAnswers:
        seen.append(self)
        return answer(self, windows, device)

    answer = Teacher.answer
    monkeypatch.setattr(Teacher, "answer", remember)
    strategy.observe(stream()[slice(0, EVERY + JUDGED)])
    strategy.close()
    (teacher,), (refresh,) = seen, strategy.refreshes
    assert refresh.switched and teacher.backbone_sha256 == made.backbone_sha256
    assert len(teacher.since_setup) == refresh.windows
    # Those of set-up have none since; of the others each has all.
    assert 0 < (teacher.since_setup > 0).sum() <= EVERY
    assert teacher.known.sum() >= np.count_nonzero(made.counts)
