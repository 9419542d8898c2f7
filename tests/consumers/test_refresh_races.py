"""Races of a preparation with erasures, compaction, retention and pruning: nothing that it needs is lost."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from adapters_store import AdaptersStore
from consumers.erasure.purge import Purges
from consumers.refresh import fork
from consumers.refresh.preparation import prepare_generation
from consumers.refresh.pruning import prune
from consumers.refresh.switching import roll_back, switch_by_force
from consumers.retention.plan import make_plan
from consumers.runtime.compaction import compact
from consumers.runtime.generations import active_log, read_generations
from consumers.runtime.topic_reader import compacted_records
from pipeline.config import LogSettings
from pipeline.events.erasure import Erasure
from pipeline.events.generation import State
from pipeline.streams import Log, SqliteLog, Topic
from pipeline.streams.topics import INTERACTIONS, USERS
from tests.consumers.gating import read
from tests.consumers.refreshed import LATER, SECONDS, Refreshed, begun, operator, states, stream
from tests.consumers.test_loop import Killed


@pytest.fixture
def made(tmp_path: Path) -> Refreshed:
    return begun(tmp_path, LogSettings(url=f"sqlite:///{tmp_path / 'log.sqlite'}", partitions=2), stream(0, 40))


def prepared_until(made: Refreshed, point: str) -> None:
    """A preparation that is killed at a point."""

    def progress(stage: str, *_: int) -> None:
        if stage == point:
            raise Killed

    with pytest.raises(Killed):
        prepare_generation(replace(made.inputs(), progress=progress))


def known(made: Refreshed, generation: int) -> set[str]:
    """Users whose newest record is no tombstone."""
    with closing(made.log(generation)) as log:
        newest = {str(r.key): r.value for p in range(2) for r in read(log, USERS, p)}
    return {user for user, value in newest.items() if value is not None}


def test_an_erasure_during_a_fork_is_kept_for_the_gate_that_takes_over_from_it(
    made: Refreshed, monkeypatch: pytest.MonkeyPatch
) -> None:
    users_of, user = fork._users, stream(0, 40)[0].user_id
    assert user in made.users(1)

    def overtaken(log: Log, partition: int, moment: fork.Moment) -> Iterator[fork.User]:
        users = list(users_of(log, partition, moment))
        if any(key == user for key, _, _ in users):
            with closing(made.open()) as whole:
                with whole.producer("test").transaction() as transaction:
                    transaction.send(INTERACTIONS, Erasure(user, 4e9).to_record(), key=user, timestamp=1.0)
                made.gate(1).run()
                assert isinstance(whole, SqliteLog)
                compact(whole)
                Purges({}, lambda: 5e9)(whole)
        return iter(users)

    monkeypatch.setattr(fork, "_users", overtaken)
    made.prepare()
    assert user in known(made, 2)
    made.gate(2).run()
    assert user not in known(made, 2)
    assert user not in known(made, 1)


def test_a_compaction_during_a_reading_hides_no_key(tmp_path: Path) -> None:
    with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
        log.create_topics([Topic("table", kept="compacted", key="k")])
        producer = log.producer("test")

        def put(key: int) -> None:
            with producer.transaction() as transaction:
                transaction.send("table", {"n": key}, key=f"k{key}", timestamp=0.0)

        for key in range(600):
            put(key)
        found = set()
        for record in compacted_records(log, "table", 0):
            found.add(record.key)
            if len(found) == 1:
                put(599)
                assert log.compact("table") == 1
        assert found == {f"k{key}" for key in range(600)}


def test_retention_keeps_what_a_preparation_learns_from(made: Refreshed) -> None:
    prepared_until(made, "reading the newest interactions")
    limits = made.config.retention.model_copy(update={"interaction_days": 0.0})
    made.write(stream(40, LATER))
    made.gate(1).run()
    with closing(made.open()) as log:
        one = read_generations(log).all[2]
        assert one.state is State.PREPARING and one.is_forked
        cuts = make_plan(active_log(log), AdaptersStore(made.root / "adapters"), limits, 4e9).cuts
        assert [cut.until for cut in cuts if cut.topic == INTERACTIONS] == list(one.starts)
        assert {cut.held_by for cut in cuts if cut.held} == {
            "the refresh that prepares generation 2, which learns from it"
        }


def test_a_set_up_beside_which_another_is_prepared_is_not_pruned(pipeline: Refreshed) -> None:
    pipeline.gate(2).run()
    with closing(pipeline.open()) as log:
        switch_by_force(log, 2, pipeline.config.refresh, operator())
        pipeline.gate(2).run()
        prepared_until(pipeline, "reading the newest interactions")
        assert read_generations(log).all[3].beside == 2
        roll_back(log, 1.0, at_once=True, operator=operator())
        assert prune(log, pipeline.root, pipeline.config, "test", SECONDS + 3600.0) == []
        assert states(pipeline)[2] is State.STANDBY


def test_tables_of_users_in_a_folder_of_their_own_go_with_their_generation(pipeline: Refreshed, tmp_path: Path) -> None:
    pipeline.gate(2).run()
    folder = tmp_path / "users elsewhere"
    for process in ("gate-0", "generations/2/gate-0"):
        (folder / process).mkdir(parents=True)
        (folder / process / "00000.users").touch()
    users = pipeline.config.users.model_copy(update={"folder": str(folder)})
    with closing(pipeline.open()) as log:
        switch_by_force(log, 2, pipeline.config.refresh, operator())
        config = pipeline.config.model_copy(update={"users": users})
        assert prune(log, pipeline.root, config, "test", SECONDS + 3600.0) == [1]
    assert [str(path.relative_to(folder)) for path in folder.rglob("*.users")] == ["generations/2/gate-0/00000.users"]
