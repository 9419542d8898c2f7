"""A new set-up beside the running pipeline: forked, judged, switched to, and left again, each event once in both.

RAIE_SOAK=1 tries it on a broker, too, as `make soak` does.
"""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from adapters_store import AdaptersStore
from consumers.backup.archive import opened
from consumers.backup.backup import back_up
from consumers.backup.restore import restore
from consumers.erasure.inventory import BY_PRUNING, take_inventory
from consumers.erasure.purge import Purges
from consumers.gate.changelog import read_snapshot
from consumers.refresh.preparation import prepare_generation
from consumers.refresh.pruning import prune
from consumers.refresh.shadow import judgement
from consumers.refresh.stretch import starts_of
from consumers.refresh.switching import roll_back, switch, switch_by_force
from consumers.retention.plan import make_plan
from consumers.runtime.generations import active_log, read_acts, read_generations, write_act
from consumers.runtime.lag import lags
from consumers.runtime.stage import Point
from pipeline.config import LogSettings
from pipeline.errors import ConfigError, LogError
from pipeline.events.erasure import Erasure
from pipeline.events.generation import Act, GenerationAct, State
from pipeline.events.loaded_history import LoadedHistory
from pipeline.recommend.online_state import OnlineState
from pipeline.recommend.start import start
from pipeline.setup.storage import load_setup
from pipeline.streams import Log, Record, SqliteLog
from pipeline.streams.topics import GATED, INTERACTIONS, USERS
from tests import broker
from tests.consumers.gating import read, said, write
from tests.consumers.refreshed import (
    LATER,
    LEARNED,
    SECONDS,
    Refreshed,
    begun,
    ids,
    operator,
    states,
    stream,
    with_shadow,
)
from tests.consumers.run_of_raie import the_setup
from tests.consumers.test_loop import Killed, Killer

KINDS = ["sqlite", *(["kafka"] if os.environ.get("RAIE_SOAK") else [])]


def log_of_kind(kind: str, folder: Path, request: pytest.FixtureRequest) -> LogSettings:
    if kind == "kafka":
        return broker.settings(url=request.getfixturevalue("kafka_url"), partitions=2)
    return LogSettings(url=f"sqlite:///{folder / 'log.sqlite'}", partitions=2)


@pytest.fixture(params=KINDS)
def on_any_log(request: pytest.FixtureRequest, tmp_path: Path) -> Refreshed:
    """The same on a log of either kind."""
    if request.param == "kafka":
        return with_shadow(tmp_path, broker.settings(url=request.getfixturevalue("kafka_url"), partitions=2))
    made: Refreshed = request.getfixturevalue("pipeline")
    return made


def test_each_generation_gates_each_event_once_and_holds_the_same_histories(on_any_log: Refreshed) -> None:
    on_any_log.gate(2).run()
    assert on_any_log.gated(1) == ids(0, LATER)
    assert on_any_log.gated(2) == ids(LEARNED, LATER)
    assert on_any_log.histories(2) == on_any_log.histories(1)


def test_what_users_took_before_the_fork_is_of_the_time_of_the_new_set_up(pipeline: Refreshed) -> None:
    """As in a replay: the new regions have learned it, and it speaks for none of the stream."""
    assert any(record["since_setup"] for record in pipeline.users(1).values())
    before = pipeline.users(2)
    assert before and not any(record["since_setup"] for record in before.values())
    pipeline.gate(2).run()
    taken = Counter(event.user_id for event in stream(LEARNED, LATER))
    for user, record in pipeline.users(2).items():
        assert record["since_setup"] == min(taken[user], len(record["history"]))


def test_histories_that_are_loaded_after_a_fork_stand_before_what_came_live_in_each_generation(
    pipeline: Refreshed,
) -> None:
    users = {event.user_id for event in stream(0, LATER)}
    pipeline.gate(2).run()
    with closing(pipeline.open()) as log, log.producer("loader").transaction() as transaction:
        for user in sorted(users):
            loaded = LoadedHistory(user, ("i0001", "i0002"), (), (), 1.0)
            transaction.send(INTERACTIONS, loaded.to_record(), key=user, timestamp=1.0)
    for generation in (1, 2):
        pipeline.gate(generation).run()
    assert pipeline.histories(2) == pipeline.histories(1)
    latest = {user: record["latest"] for user, record in pipeline.users(1).items() if user in users}
    assert {user: record["latest"] for user, record in pipeline.users(2).items() if user in users} == latest


@pytest.mark.parametrize("point", [Point.POLLED, Point.HANDLED, Point.COMMITTING, Point.COMMITTED])
def test_killed_at_any_point_the_gate_in_the_shadow_loses_and_doubles_nothing(
    pipeline: Refreshed, point: Point
) -> None:
    for _ in range(2):
        with pytest.raises(Killed):
            pipeline.gate(2, at=Killer(point, 1)).run()
    pipeline.gate(2).run()
    assert pipeline.gated(2) == ids(LEARNED, LATER)
    assert pipeline.histories(2) == pipeline.histories(1)


def test_set_up_learns_the_stretch_before_the_fork_and_nothing_after_it(prepared: Refreshed) -> None:
    made = load_setup(prepared.root / "generations" / "2")
    assert made.log is not None
    assert made.log.until == max(event.timestamp for event in stream(0, LEARNED))
    assert made.backbone_sha256 != load_setup(prepared.root).backbone_sha256
    with closing(prepared.open()) as log:
        new = read_generations(log).all[2]
        assert sum(new.ends) == log.end_offset(INTERACTIONS, 0) + log.end_offset(INTERACTIONS, 1) - LATER + LEARNED


def test_records_that_both_gates_send_to_the_partition_of_their_user_count_once_in_each(pipeline: Refreshed) -> None:
    with closing(pipeline.open()) as log:
        write(log, [{**said(e), "event_id": None} for e in stream(LATER, LATER + 60)], partition=0)
    for generation in (1, 2, 1, 2):
        pipeline.gate(generation).run()
    assert len(pipeline.gated(1)) == LATER + 60 == len(set(pipeline.gated(1)))
    assert len(pipeline.gated(2)) == LATER - LEARNED + 60 == len(set(pipeline.gated(2)))
    assert pipeline.histories(2) == pipeline.histories(1)


def test_a_stretch_takes_the_same_share_of_each_partition(prepared: Refreshed) -> None:
    with closing(prepared.log(1)) as log:
        ends = [log.end_offset(INTERACTIONS, p) for p in range(2)]
        assert starts_of(log, ends, 10**9) == [0, 0]
        starts = starts_of(log, ends, 500)
    shares = [(end - start) / end for start, end in zip(starts, ends, strict=True)]
    assert sum(ends) - sum(starts) == pytest.approx(500, abs=2) and shares[0] == pytest.approx(shares[1], abs=0.01)


def test_a_fork_between_any_two_commits_of_a_running_gate_is_whole(tmp_path: Path) -> None:
    made = begun(tmp_path, LogSettings(url=f"sqlite:///{tmp_path / 'log.sqlite'}", partitions=2), stream(0, 40))
    gate = Thread(target=made.gate(1).run)
    made.write(stream(40, LATER))
    gate.start()
    new = made.prepare()
    gate.join()
    made.gate(1).run()
    made.gate(2).run()
    assert made.histories(2) == made.histories(1)
    found = made.gated(2)
    assert len(set(found)) == len(found) and set(found) <= set(made.gated(1)) == set(ids(0, LATER))
    with closing(made.open()) as log:
        read_on = [r.value for p, end in enumerate(new.ends) for r in log.read(INTERACTIONS, p, end, 10**6)]
    # What a turn had handled ahead of the fork is in the histories and nowhere else.
    assert len({str(value["event_id"]) for value in read_on if value} - set(found)) <= 64


def test_an_interrupted_preparation_goes_on_with_the_same_stretch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = begun(tmp_path, LogSettings(url=f"sqlite:///{tmp_path / 'log.sqlite'}", partitions=2), stream(0, 40))

    def killed_at(point: str) -> Callable[..., None]:
        def progress(stage: str, *_: int) -> None:
            if stage == point:
                raise Killed

        return progress

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("consumers.refresh.preparation.fork", lambda *_: killed_at("fork")("fork"))
        made.prepare()
    assert states(made) == {1: State.ACTIVE, 2: State.PREPARING}
    for point in ("reading the newest interactions", "set-up", "starting the shadow"):
        with pytest.raises(Killed):
            prepare_generation(replace(made.inputs(), progress=killed_at(point)))
        made.write(stream(40, 60))
    new = made.prepare()
    # Of the second one nobody knows which users were copied.
    assert states(made) == {1: State.ACTIVE, 2: State.STANDBY, 3: State.SHADOW}
    with closing(made.open()) as log:
        assert sum(new.ends) < sum(log.end_offset(INTERACTIONS, p) for p in range(2))
    made.gate(1).run()
    made.gate(3).run()
    assert made.histories(3) == made.histories(1)
    with pytest.raises(LogError, match="generation 3 runs in the shadow already"):
        made.prepare()


def test_a_set_up_that_does_not_pass_is_refused_with_its_numbers_and_changes_nothing(pipeline: Refreshed) -> None:
    settings = pipeline.config.refresh.model_copy(update={"least_gain": 0.9})
    with closing(pipeline.open()) as log:
        with pytest.raises(LogError, match="scored 0 events, and 50 are needed"):
            switch(log, settings, 1.0, operator())
        assert states(pipeline) == {1: State.ACTIVE, 2: State.SHADOW}
        pipeline.gate(2).run()
        found = switch(log, settings, 1.0, operator())
        assert not found.passed and found.events == LATER - LEARNED
        act = list(read_acts(log))[-1][0]
    assert (act.act, act.generation, act.details["judgement"]) == (Act.STOP, 2, found.to_record())
    assert states(pipeline) == {1: State.ACTIVE, 2: State.STANDBY}
    pipeline.write(stream(LATER, LATER + 40))
    pipeline.gate(1).run()
    assert pipeline.gated(1) == ids(0, LATER + 40)


def test_the_judgement_pairs_the_ranks_of_the_events_that_both_have_gated(pipeline: Refreshed) -> None:
    pipeline.gate(2).run()
    with closing(pipeline.open()) as log:
        generations = read_generations(log)
        found = judgement(log, generations, generations.all[2], pipeline.config.refresh)
        ranks = [
            {r.value["event_id"]: r.value["rank"] for r in read(pipeline.log(n), GATED) if r.value} for n in (1, 2)
        ]
    hits = [np.mean([0 < of[i] <= 10 for i in ids(LEARNED, LATER)]) for of in ranks]
    assert [found.before, found.after] == pytest.approx(hits)


def test_one_record_switches_and_another_goes_back_from_where_the_gate_stood(on_any_log: Refreshed) -> None:
    made, settings = on_any_log, on_any_log.config.refresh.model_copy(update={"least_gain": -1.0})
    made.gate(2).run()
    with closing(made.open()) as log:
        assert switch(log, settings, 1.0, operator()).passed
        assert states(made) == {1: State.STANDBY, 2: State.ACTIVE}
        assert active_log(log).generation == 2
        made.write(stream(LATER, LATER + 150))
        made.gate(2).run()
        assert all(lag.behind == 0 for lag in lags(active_log(log), 2) if lag.stage == "gate")
        with pytest.raises(LogError, match=r"the gate of generation 1 has 1.. interactions to read"):
            roll_back(log, 1.0, at_once=False, operator=operator())
        assert states(made) == {1: State.SHADOW, 2: State.ACTIVE}
        made.gate(1).run()
        assert roll_back(log, 1.0, at_once=False, operator=operator()).number == 1
        assert states(made) == {1: State.ACTIVE, 2: State.STANDBY}
        # Forward again, at once.
        assert roll_back(log, 1.0, at_once=True, operator=operator()).number == 2
    assert made.gated(1) == ids(0, LATER + 150)
    assert made.gated(2) == ids(LEARNED, LATER + 150)
    assert made.histories(2) == made.histories(1)


def test_of_two_switches_at_once_the_first_counts(pipeline: Refreshed) -> None:
    with closing(pipeline.open()) as log:
        assert switch_by_force(log, None, pipeline.config.refresh, operator()).number == 2
        late = GenerationAct(Act.SWITCH, 2, "bob", {"from": 1})
        with pytest.raises(LogError, match="generation 2 answers, not 1"):
            write_act(log, late, SECONDS)
        assert read_generations(log).after([(late, SECONDS)]) == read_generations(log)
        with pytest.raises(LogError, match="no generation runs in the shadow"):
            switch_by_force(log, None, pipeline.config.refresh, operator())


def test_an_erasure_reaches_the_shadow_and_an_erased_user_is_not_learned(pipeline: Refreshed) -> None:
    user = stream(LEARNED, LATER)[0].user_id
    with closing(pipeline.open()) as log, log.producer("test").transaction() as transaction:
        erasure = Erasure(user, 4e9).to_record()
        transaction.send(INTERACTIONS, erasure, key=user, timestamp=1.0)
    for generation in (1, 2):
        pipeline.gate(generation).run()
        assert user not in {k for k, v in newest_users(pipeline, generation).items() if v is not None}
    with closing(pipeline.open()) as log:
        write_act(log, GenerationAct(Act.STOP, 2, "test"), SECONDS)
    new = pipeline.prepare()
    made = load_setup(pipeline.root / new.folder)
    taken = {event.item_id for event in stream(0, LATER)}
    assert new.number == 3 and set(made.catalogue.item_ids) <= taken | set(load_setup(pipeline.root).catalogue.item_ids)
    pipeline.gate(3).run()
    assert user not in pipeline.histories(3)


def newest_users(made: Refreshed, generation: int) -> dict[str, object]:
    with closing(made.log(generation)) as log:
        return {str(r.key): r.value for p in range(2) for r in read(log, USERS, p)}


def test_interactions_are_kept_for_a_generation_that_stands_by_until_it_is_pruned(pipeline: Refreshed) -> None:
    pipeline.gate(2).run()
    limits = pipeline.config.retention.model_copy(update={"interaction_days": 0.0})
    store = AdaptersStore(pipeline.root / "adapters")
    with closing(pipeline.open()) as log:
        switch_by_force(log, 2, pipeline.config.refresh, operator())
        pipeline.write(stream(LATER, LATER + 40))
        pipeline.gate(2).run()
        held = make_plan(active_log(log), store, limits, 4e9).cuts
        assert {cut.held_by for cut in held if cut.held} == {"the gate of generation 1, which has not read it"}
        assert prune(log, pipeline.root, pipeline.config, "test", SECONDS + 1.0) == []
        assert prune(log, pipeline.root, pipeline.config, "test", SECONDS + 3600.0, days=1.0) == []
        assert prune(log, pipeline.root, pipeline.config, "test", SECONDS + 3600.0) == [1]
        assert not any(cut.held for cut in make_plan(active_log(log), store, limits, 4e9).cuts)
        with pytest.raises(LogError, match="nothing to go back to"):
            roll_back(log, 1.0, at_once=True, operator=operator())
        with pytest.raises(LogError, match="no topic gated"):
            log.topic(GATED)
    assert sorted(path.name for path in pipeline.root.iterdir()) == ["generations"]
    pipeline.write(stream(LATER + 40, LATER + 60))
    pipeline.gate(2).run()
    assert pipeline.gated(2) == ids(LEARNED, LATER + 60)


def test_lockstep_is_refused(pipeline: Refreshed) -> None:
    consumers = pipeline.config.consumers.model_copy(update={"lockstep": True})
    lockstep = pipeline.config.model_copy(update={"consumers": consumers})
    with pytest.raises(ConfigError, match=r"consumers\.lockstep"):
        prepare_generation(replace(pipeline.inputs(), config=lockstep))


def test_an_erasure_stays_in_the_log_for_a_gate_that_stands_by(pipeline: Refreshed) -> None:
    user, purge = stream(LEARNED, LATER)[0].user_id, Purges({}, lambda: 5e9)
    pipeline.gate(2).run()
    with closing(pipeline.open()) as log:
        assert isinstance(log, SqliteLog)
        switch_by_force(log, 2, pipeline.config.refresh, operator())
        with log.producer("test").transaction() as transaction:
            transaction.send(INTERACTIONS, Erasure(user, 4e9).to_record(), key=user, timestamp=1.0)
        pipeline.gate(2).run()
        purge(log)
        assert [record.value["erase"] for record in of_user(log, user)] == [True]
        left = take_inventory(active_log(log), user, pipeline.config).remainders[-1]
        assert (left.place, left.records, left.goes) == ("users of generation 1, and what it links", 1, BY_PRUNING)
        roll_back(log, 1.0, at_once=True, operator=operator())
        pipeline.gate(1).run()
        assert user not in {key for key, value in newest_users(pipeline, 1).items() if value is not None}
        purge(log)
        assert of_user(log, user) == []


def of_user(log: Log, user: str) -> list[Record]:
    return [r for p in range(2) for r in read(log, INTERACTIONS, p) if r.value and r.value["user_id"] == user]


def test_a_backup_has_every_generation_and_restored_each_goes_on(pipeline: Refreshed, tmp_path: Path) -> None:
    pipeline.gate(2).run()
    with closing(pipeline.open()) as log:
        switch_by_force(log, 2, pipeline.config.refresh, operator())
    back_up(pipeline.root, pipeline.config, tmp_path / "backup", 1.0)
    folder = tmp_path / "there"
    folder.mkdir()
    log = LogSettings(url=f"sqlite:///{folder / 'log.sqlite'}", partitions=2)
    there = Refreshed(folder, pipeline.config.model_copy(update={"log": log}))
    with opened(tmp_path / "backup") as archive:
        restore(archive, there.root, there.config)
    assert states(there) == {1: State.STANDBY, 2: State.ACTIVE}
    there.write(stream(LATER, LATER + 30))
    for generation in (1, 2):
        there.gate(generation).run()
    assert (there.gated(1), there.gated(2)) == (ids(0, LATER + 30), ids(LEARNED, LATER + 30))
    assert there.histories(2) == there.histories(1)


def test_the_weights_of_the_second_stage_go_along_and_the_new_one_begins_with_them(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    made = begun(tmp_path, LogSettings(url=url, partitions=2), stream(0, 60), half_lives=(50.0, 500.0))
    with closing(made.open()) as log:
        snapshot = read_snapshot(log, "g", AdaptersStore(made.root / "adapters").arrays)
    assert snapshot is not None
    new = made.prepare()
    carried = load_setup(made.root / new.folder).ranking
    assert sorted(carried) == sorted(name for name in snapshot.arrays if name.startswith("network."))
    assert all(np.array_equal(array, snapshot.arrays[name]) for name, array in carried.items())
    old = the_setup()
    texts = np.concatenate([np.zeros((1, old.catalogue.vectors.shape[1]), np.float32), old.catalogue.vectors])
    events = replace(old.events, held_out=np.zeros_like(old.events.held_out))
    steps = []
    for ranking in (carried, {}, {**carried, "network.means": np.zeros(1)}):
        setup = replace(old, ranking=ranking, events=events)
        state = OnlineState(setup, made.config, lambda: texts, ["", *old.catalogue.item_ids])
        start(state.second_stage, setup, lambda *_: [], np.zeros(state.regions))
        steps.append(int(state.to_arrays()["network.steps"]))
    # Weights over other features do not fit.
    assert steps == [int(carried["network.steps"]), 0, 0] and steps[0] > 0
