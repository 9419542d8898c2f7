"""A server whose revisions have their arrays in files: it answers the same, and waits for a file that is missing."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters_store import AdaptersStore
from adapters_store.errors import AdapterRefused
from consumers.gate import changelog
from consumers.gate.changelog import OnlineSnapshot, snapshot_outputs
from consumers.gate.snapshot_files import SnapshotFiles
from consumers.runtime.malformed import unreported
from consumers.runtime.revisions import RevisionFollower
from consumers.server.known_versions import KnownVersions
from consumers.server.rollback import roll_back
from consumers.server.views.region_history import RegionHistory, read_history
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.regions import revision_arrays
from pipeline.regions.bank import RegionBank
from pipeline.regions.encoded import Encoded
from pipeline.regions.region import Region
from pipeline.regions.revision import Revision
from pipeline.regions.revision_arrays import by_reference
from pipeline.streams import Log, SqliteLog, UnavailableError
from pipeline.streams.topics import CONTROL, REGIONS, TREND, pipeline_topics
from tests.adapters_store.small_adapter import fields
from tests.regions.wide import add, bank, update
from tests.server.world import (
    FIRSTS,
    TOKEN,
    A,
    B,
    Server,
    World,
    eventually,
    first_taken,
    fresh_state,
    histories,
    origins,
    region,
    serving,
    the_setup,
)

WIDE, MANY = 4_096, 60


class FiledWorld(World):
    """A world whose revisions have their arrays in files, as those of a trainer with wide regions."""

    def announce(self, *regions: Region, moved: bool = False, canary: float = 0.0) -> int:
        self.bank = self.bank.changed(*regions)
        self.bank = replace(self.bank, origins=origins(), gate_version=1) if moved else self.bank
        edit_id = f"edit-{self.log.end_offset(REGIONS, 0)}"
        revision = by_reference(Revision.of(self.bank, regions, moved, edit_id=edit_id), self.store.arrays)
        assert revision.arrays is not None
        return self.send(REGIONS, revision.to_record() | {"canary": canary}, str(regions[0].region_id))

    def file_of(self, revision: int) -> Path:
        (record,) = self.log.read(REGIONS, 0, revision, revision + 1)
        named: Any = (record.value or {})["arrays"]
        return self.folder / "adapters" / "arrays" / f"{named['sha256']}.safetensors"

    def hide(self, revision: int) -> Callable[[], None]:
        """Take the file of a revision away; return the function that puts it back."""
        path, elsewhere = self.file_of(revision), self.folder / f"hidden-{revision}"
        path.rename(elsewhere)

        def restore() -> None:
            shutil.move(elsewhere, path)

        return restore


def begun(folder: Path, kind: type[World]) -> World:
    folder.mkdir()
    world = kind(folder)
    world.open_both()
    for user, first in (("a0", FIRSTS[A]), ("b0", FIRSTS[B]), ("s0", 41)):
        world.user(user, histories(first, 1)[0].tolist())
    return world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FiledWorld]:
    monkeypatch.setattr(revision_arrays, "LARGEST_INLINE", 0)
    world = begun(tmp_path / "filed", FiledWorld)
    assert isinstance(world, FiledWorld)
    yield world
    world.close()


@pytest.fixture
def server(world: FiledWorld) -> Iterator[Server]:
    with serving(world) as server:
        yield server


def answers(server: Server) -> list[Any]:
    found = [server.recommend(user_id=user) for user in ("a0", "b0", "s0")]
    return [{**answer, "request_id": ""} for answer in found]


def test_a_server_answers_as_with_arrays_in_records(world: FiledWorld, tmp_path: Path) -> None:
    inline = begun(tmp_path / "inline", World)
    found = []
    for one in (world, inline):
        one.update(A, seed=9)
        with serving(one) as server:
            found.append(answers(server))
    assert found[0] == found[1]
    assert found[0][0]["adapter"] == "r0004_v0002"
    inline.close()


def test_a_missing_file_keeps_the_regions_of_before_until_it_is_back(world: FiledWorld, server: Server) -> None:
    server.served(0)
    before = answers(server)
    name, missing = world.publish(A, seed=9), world.log.end_offset(REGIONS, 0)
    changed = region(A, 2, name)
    planned = by_reference(Revision.of(world.bank, (changed,), False, edit_id="e"), world.store.arrays).arrays
    assert planned is not None
    world.store.arrays.remove([planned.sha256])
    # Announced without its file: as in a store that lost it.
    record = Revision((replace(changed, centroid=np.zeros(0)),), None, 1, "e", arrays=planned).to_record()
    assert world.send(REGIONS, record, str(A)) == missing
    eventually(lambda: server.service.live.refusals["missing"] == 1)
    world.bank = world.bank.changed(changed)
    _, later = world.update(B, seed=10)
    eventually(lambda: server.service.live.refusals["missing"] == 2)
    assert answers(server) == before, "a later revision waits, too"
    assert [server.ask("GET", path)[0] for path in ("/readyz", "/healthz")] == [200, 200]
    assert any(f"arrays/{planned.sha256}.safetensors: " in said and "restore the file" in said for said in server.said)
    assert 'raie_refused_adapters_total{reason="missing"} 2.0' in server.ask("GET", "/metrics")[1]
    with serving(world, instance="late") as late:
        assert answers(late) == before, "a server that starts now, too"
        restored = world.store.arrays.write({f"centroid.{A}": changed.centroid}, "e")
        assert restored == planned
        assert server.ask("POST", "/admin/reload", {"by": "ann"}, TOKEN)[0] == 202
        for one in (server, late):
            one.served(later)
        assert answers(server) == answers(late)
    assert answers(server)[0]["adapter"] == name


def test_a_damaged_file_is_counted_by_reason(world: FiledWorld, server: Server) -> None:
    server.served(0)
    path = world.file_of(0)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with serving(world, instance="late") as late:
        eventually(lambda: late.service.live.refusals["hash_mismatch"] == 1)
        assert late.ask("GET", "/readyz")[0] == 200
        assert {answer["answered_by"] for answer in answers(late)} == {"backbone"}
        assert late.service.live.view.revision == -1
    assert answers(server)[0]["answered_by"] == "adapter", "what is read is not read again"


def test_an_older_revision_is_answered_as_of_the_last_one_that_can_be_read(world: FiledWorld, server: Server) -> None:
    _, first = world.update(A, seed=9)
    _, second = world.update(A, seed=10)
    _, newest = world.update(A, seed=11)
    server.served(newest)
    restore = world.hide(second)
    assert server.recommend(user_id="a0", revision=second)["revision"] == first
    restore()
    answer = server.recommend(user_id="a0", revision=second)
    assert (answer["revision"], answer["adapter"]) == (second, "r0004_v0003")


def test_a_rollback_writes_its_file_before_its_record(
    world: FiledWorld, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, revision = world.update(A, seed=9)
    server.served(revision)
    files = world.store.arrays.names()

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    producer = world.log.producer("killed")
    monkeypatch.setattr(producer, "transaction", kill)
    with pytest.raises(Killed):
        roll_back(world.log, producer, world.store, A, None, "ann", 1.6e9)
    orphans = set(world.store.arrays.names()) - set(files)
    assert len(orphans) == 1
    assert world.log.end_offset(REGIONS, 0) == revision + 1
    status, answer = server.ask("POST", "/admin/rollback", {"region_id": A, "by": "ann"}, TOKEN)
    assert status == 200, answer
    server.served(answer["revision"])
    assert world.file_of(answer["revision"]).stem in orphans, "what was left is used"
    assert set(world.store.arrays.names()) == {*files, *orphans}
    assert answers(server)[0]["adapter"] == "r0004_v0001"


def test_a_rollback_over_a_missing_file_writes_nothing_and_names_it(world: FiledWorld, server: Server) -> None:
    _, revision = world.update(A, seed=9)
    server.served(revision)
    restore = world.hide(revision)
    status, answer = server.ask("POST", "/admin/rollback", {"region_id": A, "by": "ann"}, TOKEN)
    assert status == 503
    assert "restore the file" in answer["detail"]
    with pytest.raises(AdapterRefused, match="restore the file"):
        roll_back(world.log, world.log.producer("x"), world.store, A, None, "ann", 1.6e9)
    assert (world.log.end_offset(REGIONS, 0), world.log.end_offset(CONTROL, 0)) == (revision + 1, 0)
    restore()
    assert server.ask("POST", "/admin/rollback", {"region_id": A, "by": "ann"}, TOKEN)[0] == 200


def test_feedback_on_a_version_whose_file_was_missing_counts_once_it_is_back(world: FiledWorld) -> None:
    name, revision = world.update(A, seed=9)
    known, restore = KnownVersions((), world.store.arrays), world.hide(revision)
    for _ in range(2):
        known.poll(world.log)
        assert known.has(A, "r0004_v0001", 0)
        assert not known.has(A, name, revision)
    restore()
    known.poll(world.log)
    assert known.has(A, name, revision)


def test_a_server_takes_over_a_snapshot_whose_state_is_a_file(
    world: FiledWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelog, "LARGEST_INLINE", 0)
    state = fresh_state()
    state.second_stage.count(state.query_of(first_taken(77), the_catalogue()), 77)
    kept = OnlineSnapshot(state.to_arrays(), 9, 0, 0)
    replace_file = SnapshotFiles(world.store.arrays, "gate", lambda: 0.0, 3_600.0).replace
    (out,) = snapshot_outputs("gate", kept, 1.6e9, replace_file)
    world.send(TREND, out.value if isinstance(out.value, dict) else None, str(out.key))
    with serving(world) as server:
        assert server.service.online.gate == "gate"
        np.testing.assert_array_equal(server.service.online.overall(), state.overall())
    (name,) = [name for name in world.store.arrays.names() if (world.store.arrays.made_by(name) or "")[:5] == "gate "]
    world.store.arrays.remove([name])
    with serving(world, instance="late") as late:
        assert any(f"arrays/{name}.safetensors" in said and "trend stays as it was" in said for said in late.said)
        assert late.ask("GET", "/readyz")[0] == 200
        assert answers(late)


def the_catalogue() -> OpenCatalogue:
    return OpenCatalogue(the_setup().catalogue, None)


# --- many wide regions ------------------------------------------------------------------------------------


def windows(width: int) -> Encoded:
    rng = np.random.default_rng(3)
    means = rng.normal(size=(8, width))
    return Encoded(means / np.linalg.norm(means, axis=1, keepdims=True), rng.normal(size=(8, width)), np.ones((8, 3)))


def followed(log: Log, store: AdaptersStore) -> RegionBank:
    """The regions of a gate, a monitor or a trainer."""
    now = bank(WIDE)
    for _, revision in RevisionFollower(now, store.arrays, unreported).poll(log):
        now = revision.after(now)
    return now


def publish(store: AdaptersStore, name: str) -> None:
    region_id, version = int(name[1:5]), int(name[-4:])
    store.publish(**fields(region_id=region_id, version=version, parent=None, edit_id=f"edit-{name}"))


def test_sixty_regions_of_width_4096_are_published_served_and_rolled_back(tmp_path: Path) -> None:
    log, store, now = SqliteLog(tmp_path / "log.sqlite"), AdaptersStore(tmp_path / "adapters"), bank(WIDE)
    log.create_topics(pipeline_topics(2))
    producer = log.producer("trainer")

    def announce(revision: Revision) -> None:
        for changed in revision.regions:
            publish(store, str(changed.adapter))
        record = by_reference(revision, store.arrays).to_record()
        with producer.transaction() as transaction:
            transaction.send(REGIONS, record, key="4", timestamp=0.0)

    for _ in range(MANY):
        revision = add(now, WIDE)
        announce(revision)
        now = revision.after(now)
    revision = update(now, 40)
    announce(revision)
    now = revision.after(now)

    history, _ = read_history(log, bank(WIDE), store.arrays)
    for found in (followed(log, store), history.bank):
        assert len(found.stream) == MANY
        posterior = found.posterior(windows(WIDE))
        assert np.array_equal(posterior.probabilities, now.posterior(windows(WIDE)).probabilities)
        assert found[40].adapter == "r0040_v0002"

    offset, plan = roll_back(log, log.producer("server"), store, 40, None, "ann", 1.0, setup=bank(WIDE))
    assert (offset, plan.restored) == (MANY + 1, ["r0040_v0001"])
    after = followed(log, store)
    assert (after[40].adapter, after[40].version, len(after.stream)) == ("r0040_v0001", 3, MANY)
    assert np.array_equal(after.origins.weights, now.origins.weights)
    assert RegionHistory(bank(WIDE)).after(new(log), store.arrays).bank[40].adapter == "r0040_v0001"
    newest = Path(store.root) / "arrays"
    assert len(list(newest.iterdir())) == MANY + 2

    store.arrays.remove(store.arrays.names()[:1])
    with pytest.raises(UnavailableError, match="restore the file"):
        followed(log, store)


def new(log: Log) -> list[Any]:
    return list(log.read(REGIONS, 0, 0, log.end_offset(REGIONS, 0)))
