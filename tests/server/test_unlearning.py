"""Servers after an Unlearn: no destroyed version answers, whatever holds it."""

from pipeline.regions.revision import Revision
from pipeline.regions.unlearned import Replacement, Unlearned
from pipeline.streams.topics import REGIONS
from tests.server.world import TOKEN, A, Server, World, eventually, region


def unlearn(world: World) -> tuple[str, str, int]:
    """Replace the first versions of A by the next two, and destroy them; return both and the revision."""
    old = [f"r{A:04d}_v{number:04d}" for number in range(1, world.versions[A] + 1)]
    earlier, newest = (world.publish(A, seed) for seed in (7, 8))
    changed = region(A, world.versions[A], newest)
    world.bank = world.bank.changed(changed)
    standing = dict.fromkeys(old, Replacement(earlier, 0.5)) | {old[-1]: Replacement(newest, 1.0)}
    revision = Revision.of(world.bank, (changed,), False, edit_id="u", unlearned=Unlearned((), standing))
    offset = world.send(REGIONS, revision.to_record(), "gate")
    world.store.remove(old)
    return earlier, newest, offset


def test_neither_a_pin_nor_a_trial_nor_an_older_view_holds_a_destroyed_version(world: World, server: Server) -> None:
    pin = {"region_id": A, "adapter": "r0004_v0001", "by": "ann"}
    assert server.ask("POST", "/admin/pin", pin, TOKEN)[0] == 202
    _, on_trial = world.update(A, seed=3, canary=0.5)
    server.served(on_trial)
    assert server.recommend(user_id="a0")["adapter"] == "r0004_v0001"
    assert server.recommend(user_id="a0", revision=0)["adapter"] == "r0004_v0001"
    _, newest, revision = unlearn(world)
    server.served(revision)
    eventually(lambda: server.recommend(user_id="a0")["adapter"] == newest)
    assert server.recommend(user_id="a0", revision=0)["adapter"] is None, "the backbone answers for what is gone"
    assert {name for name in server.service.live.adapters if name.startswith(f"r{A:04d}")} == {newest}


def test_a_rollback_restores_what_stands_for_the_version_before(world: World, server: Server) -> None:
    world.update(A, seed=3)
    earlier, newest, revision = unlearn(world)
    server.served(revision)
    shown = [one["adapter"] for one in server.service.activity.versions()[A]]
    assert newest in shown and earlier in shown and not {"r0004_v0001", "r0004_v0002"} & set(shown)
    assert server.ask("POST", "/admin/rollback", {"region_id": A, "by": "ann", "to": "r0004_v0001"}, TOKEN)[0] == 409
    status, answer = server.ask("POST", "/admin/rollback", {"region_id": A, "by": "ann"}, TOKEN)
    assert status == 200, answer
    eventually(lambda: server.recommend(user_id="a0")["adapter"] == earlier)
