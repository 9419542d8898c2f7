"""Retention removes what is beyond its limits and nothing that is in force, held by a stage or needed by an edit."""

import math
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters_store.errors import AdapterRefused
from consumers.backup.contents import read_named
from consumers.cli.dead_letters import list_dead_letters
from consumers.cli.main import app
from consumers.monitor.changelog import ReadPositions, read_newest, snapshot_outputs
from consumers.retention.needs import Edits, first_needed
from consumers.retention.plan import DAY, make_plan
from consumers.retention.pruner import GRACE, Pruner
from consumers.runtime.stage import Turn
from consumers.server.rollback import roll_back
from consumers.trainer.stage import TrainerStage
from pipeline.config import Config
from pipeline.events.control import PIN, ControlAct
from pipeline.events.dead_letter import DeadLetter
from pipeline.events.edit import Edit, Evidence, Operation, Outcome
from pipeline.streams import Log, MemoryLog, SqliteLog
from pipeline.streams.sqlite.log import DELETED
from pipeline.streams.topics import (
    CONTROL,
    DEAD_LETTERS,
    EDITS,
    GATED,
    INTERACTIONS,
    OUTCOMES,
    REGIONS,
    pipeline_topics,
)
from pipeline.telemetry import new_metrics
from tests.consumers import recorded
from tests.consumers.gating import changed, count, events, fill, gate_loop, said, write
from tests.consumers.recorded import monitor_loop
from tests.consumers.run_of_raie import empty_store, the_run
from tests.consumers.test_monitor_stage import Killed, Killer, by_time, expected, lockstep, written_edits
from tests.server.test_unlearning import unlearn
from tests.server.world import SETTINGS, A, World

LATER = 1e6
"""Seconds after now, at which everything is old."""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def limited(config: Config, **limits: object) -> Config:
    return config.model_copy(update={"retention": config.retention.model_copy(update={"every": 1.0, **limits})})


class Rounds:
    """Rounds of retention, one at each call.

    Attributes:
        lines: everything that was said.
    """

    def __init__(self, store: Any, config: Config, later: float = LATER) -> None:
        self.clock, self.metrics, self.lines = Clock(), new_metrics(), list[str]()
        self._pruner = Pruner(store, config, self.metrics, self.lines.append, self.clock, lambda: time.time() + later)

    def __call__(self, log: Log, wait: float = GRACE) -> None:
        self.clock.now += wait
        self._pruner(log)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.open_both()
    for seed in range(4):
        world.update(A, seed)
    yield world
    world.close()


def edit(offsets: range, edit_id: str = "edit") -> Edit:
    windows = tuple(Evidence(f"e{offset}", offset, A) for offset in offsets)
    return Edit(edit_id, Operation.UPDATE, A, None, 1, 0, {"signal": "loss"}, windows, (), 10, 1.0, 0)


def gate(world: World, number: int) -> None:
    """Write records to `gated` that the monitor has read."""
    for n in range(number):
        world.send(GATED, {"n": n}, f"u{n}")
    with closing(world.log.consumer("monitor", (GATED,), "m")) as consumer:
        consumer.poll(10_000, 0.0)
        with world.producer.transaction() as transaction:
            transaction.commit_offsets(consumer)


def test_by_default_everything_is_kept(world: World) -> None:
    gate(world, 5)
    before = {path: path.stat().st_mtime_ns for path in world.folder.rglob("*") if path.is_file()}
    rounds = Rounds(world.store, SETTINGS)
    for _ in range(3):
        rounds(world.log, 1e4)
    assert rounds.lines == []
    adapters = {path for path in before if "adapters" in path.parts}
    assert len(adapters) == 18
    assert all(path.stat().st_mtime_ns == before[path] for path in adapters)
    assert world.log.start_offset(GATED, 0) == 0


def test_old_versions_go_in_two_rounds_and_the_newest_of_each_region_stay(world: World) -> None:
    rounds = Rounds(world.store, limited(SETTINGS, version_days=1, versions=1))
    assert world.store.names() == [*(f"r0004_v000{n}" for n in range(1, 6)), "r0005_v0001"]
    rounds(world.log)
    assert len(world.store.names()) == 6 and rounds.lines == []
    assert world.store.marked() == ["r0004_v0001", "r0004_v0002", "r0004_v0003"]
    rounds(world.log, GRACE / 2)
    assert len(world.store.names()) == 6
    rounds(world.log, GRACE / 2)
    assert world.store.names() == ["r0004_v0004", "r0004_v0005", "r0005_v0001"]
    assert rounds.lines == ["retention removed versions r0004_v0001, r0004_v0002, r0004_v0003"]
    assert count(rounds.metrics, "pruned_total") == 3
    with pytest.raises(AdapterRefused, match="missing"):
        roll_back(world.log, world.producer, world.store, A, "r0004_v0001", "me", 1.0)


def test_versions_that_are_young_enough_stay(world: World) -> None:
    rounds = Rounds(world.store, limited(SETTINGS, version_days=1, versions=0), later=0.0)
    rounds(world.log)
    rounds(world.log)
    assert len(world.store.names()) == 6 and world.store.marked() == []


def test_pinned_versions_and_incumbents_of_trials_stay_until_they_are_let_go(world: World) -> None:
    world.send(CONTROL, ControlAct(PIN, "me", A, "r0004_v0002").to_record(), str(A))
    newest, _ = world.update(A, 9, canary=0.5)
    rounds = Rounds(world.store, limited(SETTINGS, version_days=0, versions=0))
    for _ in range(2):
        rounds(world.log)
    assert world.store.names() == ["r0004_v0002", "r0004_v0005", newest, "r0005_v0001"]
    world.send(REGIONS, {"regions": [], "origins": None, "gate_version": 1, "passed": newest}, str(A))
    world.send(CONTROL, ControlAct(PIN, "me", A, None).to_record(), str(A))
    for _ in range(2):
        rounds(world.log)
    assert world.store.names() == [newest, "r0005_v0001"]


def test_versions_that_an_unlearn_destroyed_are_in_use_no_more_and_those_in_their_place_are(world: World) -> None:
    world.send(CONTROL, ControlAct(PIN, "me", A, "r0004_v0002").to_record(), str(A))
    before = read_named(world.log)
    assert "r0004_v0002" in before.needed
    destroyed = {name for name in before.needed | before.others if name.startswith("r0004")}
    earlier, newest, _ = unlearn(world)
    named = read_named(world.log)
    assert newest in named.needed and earlier in named.others
    assert destroyed.isdisjoint(named.needed | named.others)
    rounds = Rounds(world.store, limited(SETTINGS, version_days=0, versions=0))
    for _ in range(2):
        rounds(world.log)
    assert world.store.names() == [newest, "r0005_v0001"]


def test_a_rollback_that_began_before_the_mark_keeps_its_version(world: World) -> None:
    rounds = Rounds(world.store, limited(SETTINGS, version_days=0, versions=0))
    plain = world.store.check_available
    # The rollback has looked at the version, and commits after the round that marks it.
    world.store.check_available = lambda name: (plain(name), rounds(world.log))[0]  # type: ignore[method-assign]
    roll_back(world.log, world.producer, world.store, A, "r0004_v0002", "me", 1.0)
    world.store.check_available = plain  # type: ignore[method-assign]
    assert "r0004_v0002" in world.store.marked()
    for _ in range(3):
        rounds(world.log)
    assert world.store.names() == ["r0004_v0002", "r0005_v0001"]
    assert world.store.marked() == []
    world.store.verify("r0004_v0002")


def test_a_marked_version_cannot_be_put_in_force_and_says_why(world: World) -> None:
    Rounds(world.store, limited(SETTINGS, version_days=0, versions=0))(world.log)
    with pytest.raises(AdapterRefused, match=r"version 2 .*about to be removed, as `retention`"):
        roll_back(world.log, world.producer, world.store, A, "r0004_v0002", "me", 1.0)
    Rounds(world.store, limited(SETTINGS, version_days=0, versions=9))(world.log)
    assert world.store.marked() == [], "the limits are wider now"
    roll_back(world.log, world.producer, world.store, A, "r0004_v0002", "me", 1.0)


def test_while_an_edit_is_under_way_it_finds_what_was_in_force_since_it_was_decided(world: World) -> None:
    rounds = Rounds(world.store, limited(SETTINGS, version_days=0, versions=0))
    world.send(EDITS, edit(range(3)).to_record(), str(A))
    newest, _ = world.update(A, 9)
    for _ in range(2):
        rounds(world.log)
    assert world.store.names() == ["r0004_v0005", newest, "r0005_v0001"]
    assert rounds.lines[0].startswith("retention keeps 1 versions beyond the limits: an edit needs them")
    world.send(OUTCOMES, Outcome("edit", Operation.UPDATE, A, False, "").to_record(), "edit")
    for _ in range(2):
        rounds(world.log)
    assert world.store.names() == [newest, "r0005_v0001"]


def test_what_carrying_out_an_edit_again_needs_stays_as_long_as_its_windows_do(world: World) -> None:
    gate(world, 20)
    base = world.log.end_offset(REGIONS, 0)
    world.send(EDITS, edit(range(5, 10)).to_record(), str(A))
    world.send(OUTCOMES, Outcome("edit", Operation.UPDATE, A, True, "").to_record(), "edit")
    offset = world.update(A, 7)[1]
    record: Any = next(iter(world.log.read(REGIONS, 0, offset, offset + 1))).value
    world.send(REGIONS, record | {"edit_id": "edit", "base_revision": base}, str(A))
    world.update(A, 8)
    for limits in ({}, {"gated_records": 15}):
        rounds = Rounds(world.store, limited(SETTINGS, version_days=0, versions=0, **limits))
        for _ in range(2):
            rounds(world.log)
        assert world.store.names() == ["r0004_v0005", "r0004_v0006", "r0004_v0007", "r0005_v0001"]
    monitor_has_a_snapshot(world, at=20)
    rounds = Rounds(world.store, limited(SETTINGS, version_days=0, versions=0, gated_records=14))
    for _ in range(2):
        rounds(world.log)
    assert world.log.start_offset(GATED, 0) == 6
    assert world.store.names() == ["r0004_v0007", "r0005_v0001"]


def monitor_has_a_snapshot(world: World, at: int) -> None:
    state = {"monitor": {"watched": [], "ended": []}}
    with world.producer.transaction() as transaction:
        for out in snapshot_outputs(1, state, ReadPositions(gated=at), 1.0):
            transaction.send(out.topic, out.value, key=out.key, timestamp=1.0)


def test_windows_that_nothing_needs_go_while_a_monitor_runs_and_its_edits_stay_the_same(tmp_path: Path) -> None:
    path, settings = tmp_path / "log.sqlite", lockstep(snapshot_events=32)
    with closing(SqliteLog(path)) as log:
        rounds = Rounds(empty_store(), limited(settings, gated_days=0))

        class Pruned(recorded.World):
            def go_on(self) -> None:
                super().go_on()
                rounds(self.log)

        world, killer = Pruned(log, the_run(), settings), Killer(60)
        while not world.stop.is_set():
            with suppress(Killed):
                monitor_loop(world, settings, partial(SqliteLog, path), killer).run()
        assert by_time(written_edits(log)) == by_time(expected())
        assert len(killer.kills) >= 3
        first, end = log.start_offset(GATED, 0), log.end_offset(GATED, 0)
        assert 0 < first < end
        assert count(rounds.metrics, "pruned_total") == first
        assert any("retention keeps" in line and "a window that the monitor may base" in line for line in rounds.lines)


def test_an_unlearning_holds_the_windows_of_all_edits(world: World) -> None:
    gate(world, 20)
    settle_monitor(world.log)
    unlearn = replace(edit(range(0), "unlearn"), operation=Operation.UNLEARN)
    ended = [edit(range(3, 6), "one"), edit(range(9, 12), "two")]
    kept = first_needed(world.log, read_newest(world.log), Edits([], ended, math.inf))
    assert kept.offset > 3
    held = first_needed(world.log, read_newest(world.log), Edits([unlearn], ended, math.inf))
    assert (held.offset, held.by) == (3, "an Unlearn, which carries edits out again")


def test_a_gate_that_starts_again_finds_what_it_gated_since_its_snapshot(tmp_path: Path) -> None:
    stream = [said(event) for event in events()[1]][:200]
    found: dict[bool, list[str]] = {}
    for pruned in (False, True):
        folder = tmp_path / str(pruned)
        open_log = partial(SqliteLog, folder / "log.sqlite")
        with closing(open_log()) as log:
            config = limited(changed(consumers={"snapshot_events": 60}), gated_days=0, interaction_days=0)
            rounds, seen = Rounds(empty_store(), config), list[str]()
            fill(log, stream[:110])
            gate_loop(open_log, folder, config).run()
            seen += gated_since(log, 0)
            settle_monitor(log)
            if pruned:
                assert (
                    first_needed(log, read_newest(log), Edits([], [], math.inf)).by == "the newest snapshot of gate g"
                )
                rounds(log)
            write(log, stream[110:])
            gate_loop(open_log, folder, config).run()
            found[pruned] = seen + gated_since(log, len(seen))
            if pruned:
                assert 0 < log.start_offset(GATED, 0) < 110
                assert all(log.start_offset(INTERACTIONS, n) > 0 for n in range(2))
    assert found[True] == found[False]
    assert len(found[True]) == len(stream)


def gated_since(log: Log, offset: int) -> list[str]:
    """Everything that the gate has computed for each event, pseudonyms aside."""
    records = log.read(GATED, 0, offset, log.end_offset(GATED, 0))
    return [str({k: v for k, v in (r.value or {}).items() if k != "user_id"}) for r in records]


def settle_monitor(log: Log) -> None:
    """Let the monitor's group have read everything, with a snapshot."""
    end = log.end_offset(GATED, 0)
    with closing(log.consumer("monitor", (GATED,), "m")) as consumer:
        consumer.poll(100_000, 0.0)
        with log.producer("monitor").transaction() as transaction:
            transaction.commit_offsets(consumer)
            for out in snapshot_outputs(end, {"monitor": {"watched": [], "ended": []}}, ReadPositions(gated=end), 1.0):
                transaction.send(out.topic, out.value, key=out.key, timestamp=1.0)


def refuse(log: Log, number: int) -> None:
    """Write dead letters."""
    with log.producer("gate").transaction() as transaction:
        for n in range(number):
            letter = DeadLetter("bad_item", f"item {n}", INTERACTIONS, 0, n, None, None)
            transaction.send(DEAD_LETTERS, letter.to_record(), key="bad_item", timestamp=1.0)


def test_dead_letters_beyond_their_number_go_and_the_others_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with closing(SqliteLog(path)) as log:
        log.create_topics(pipeline_topics(2))
        refuse(log, 12)
        rounds = Rounds(empty_store(), limited(SETTINGS, dead_letter_records=5), later=0.0)
        rounds(log)
        assert rounds.lines == ["retention removed offsets 0..6 of dead-letters/0"]
    shown: list[str] = []
    of_log = SETTINGS.log.model_copy(update={"url": f"sqlite:///{path}"})
    list_dead_letters(SETTINGS.model_copy(update={"log": of_log}), None, shown.append)
    assert [line.rpartition(": ")[2] for line in shown] == [f"item {n}" for n in range(7, 12)]


def test_records_go_by_the_time_at_which_they_were_written() -> None:
    clock = Clock()
    log = MemoryLog(wall_clock=clock)
    log.create_topics(pipeline_topics(2))
    for clock.now in (0.0, 1 * DAY, 2 * DAY, 3 * DAY):
        refuse(log, 2)
    limits = SETTINGS.retention.model_copy(update={"dead_letter_days": 1.5})
    (cut,) = make_plan(log, empty_store(), limits, 3 * DAY).cuts
    assert (cut.until, cut.count, cut.held) == (4, 4, 0)


def test_a_large_deletion_lets_others_write_in_between(tmp_path: Path) -> None:
    with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
        log.create_topics(pipeline_topics(2))
        with log.producer("p").transaction() as transaction:
            for n in range(2 * DELETED + 10):
                transaction.send(GATED, {"n": n}, key="a", timestamp=1.0)
        firsts: list[int] = []
        write = log._database.write
        log._database.write = lambda: (firsts.append(log.start_offset(GATED, 0)), write())[1]  # type: ignore[method-assign]
        log.delete_before(GATED, 0, 2 * DELETED + 5)
        assert firsts == [0, DELETED, 2 * DELETED]
        assert [r.offset for r in log.read(GATED, 0, 2 * DELETED + 5, 2 * DELETED + 10)] == [*range(10_005, 10_010)]
        log.delete_before(GATED, 0, 3)
        assert log.start_offset(GATED, 0) == 2 * DELETED + 5


def test_the_command_shows_what_goes_and_what_is_kept(world: World) -> None:
    gate(world, 20)
    log = f"log.url=sqlite:///{world.log_path}"
    root = ["retention", "--root", str(world.folder), "--set", log, "--set", "log.partitions=2"]
    done = CliRunner().invoke(app, root)
    assert done.output == "nothing is beyond the limits (settings retention.*)\n"
    limits = ["--set", "retention.version_days=0", "--set", "retention.versions=2", "--set", "retention.gated_days=0"]
    done = CliRunner().invoke(app, [*root, *limits])
    assert done.output.splitlines() == [
        "goes: versions r0004_v0001, r0004_v0002",
        "kept beyond the limits: 20 gated; gated/0 from 0 on: the monitor's newest snapshot",
    ]
    monitor_has_a_snapshot(world, at=15)
    done = CliRunner().invoke(app, [*root, *limits])
    assert "goes: offsets 0..14 of gated/0" in done.output
    assert world.store.marked() == [] and world.log.start_offset(GATED, 0) == 0


def test_rounds_are_those_of_the_trainer_that_has_the_first_partition(tmp_path: Path) -> None:
    with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
        log.create_topics(pipeline_topics(2))
        members = {name: log.consumer("trainer", (EDITS,), name) for name in ("t0", "t1")}
        child: Any = None
        rounds: list[str] = []
        for _ in range(3):
            for name, member in members.items():
                member.poll(1, 0.0)
                stage = TrainerStage(child, new_metrics(), upkeep=lambda _, name=name: rounds.append(name))
                stage.handle(Turn([], member, log))
        assert [member.assignment for member in members.values()] == [[(EDITS, 0)], [(EDITS, 1)]]
        assert rounds == ["t0"] * 3
