"""Faults 2, 3, 10, 13, 16 and 17 on the path from the store to an answer: a damaged adapter never answers."""

import errno
import json
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from adapters_store.backends.interface import TEMPORARY
from adapters_store.errors import StoreError
from pipeline.events.request_id import parse_request_id
from tests.server.world import (
    TOKEN,
    A,
    B,
    Server,
    World,
    adapter_tensors,
    eventually,
    item_id,
    region,
    serving,
    the_setup,
)


def refused(server: Server) -> dict[str, int]:
    return dict(server.service.live.refusals)


def expect_refusal(server: Server, name: str, revision: int, reason: str) -> None:
    """Assert that the revision is in force, with the previous version in place of its adapter."""
    server.served(revision)
    assert refused(server) == {reason: 1}
    answer = server.recommend(user_id="a0")
    assert (answer["adapter"], answer["answered_by"], answer["revision"]) == ("r0004_v0001", "adapter", revision)
    assert server.ask("GET", f"/regions/{A}")[1]["refused"] == name
    assert f'raie_refused_adapters_total{{reason="{reason}"}} 1.0' in server.ask("GET", "/metrics")[1]
    assert any(f"{reason}: " in said for said in server.said)


def announce(world: World, name: str) -> int:
    return world.announce(region(A, world.versions[A], name))


@pytest.mark.parametrize("keep", [0, 7, 4096, -1])
def test_a_torn_adapter_keeps_the_old_one_serving(world: World, server: Server, keep: int) -> None:
    name = world.publish(A, seed=9)
    weights = world.folder / "adapters" / name / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    expect_refusal(server, name, announce(world, name), "wrong_size")


@pytest.mark.parametrize("file", ["adapter.safetensors", "adapter_config.json", "manifest.json"])
def test_a_flipped_bit_keeps_the_old_one_serving(world: World, server: Server, file: str) -> None:
    name = world.publish(A, seed=9)
    path = world.folder / "adapters" / name / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))
    expect_refusal(server, name, announce(world, name), "bad_manifest" if file == "manifest.json" else "hash_mismatch")


@pytest.mark.parametrize("trick", ["symlink", "missing", "pickle"])
def test_a_hostile_version_keeps_the_old_one_serving(world: World, server: Server, trick: str, tmp_path: Path) -> None:
    name = world.publish(A, seed=9)
    folder = world.folder / "adapters" / name
    canary = tmp_path / "canary"
    if trick == "symlink":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    elif trick == "missing":
        shutil.rmtree(folder)
    else:
        (folder / "adapter.pkl").write_bytes(b"cos\nsystem\n(S'touch " + os.fsencode(canary) + b"'\ntR.")
    reason = {"symlink": "unsafe_path", "missing": "missing", "pickle": "unexpected_file"}[trick]
    expect_refusal(server, name, announce(world, name), reason)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "r0004_v0002\0", "r0004_v0002/..", ""])
def test_a_hostile_name_in_the_log_is_refused_before_anything_is_opened(
    world: World, server: Server, name: str
) -> None:
    revision = world.announce(region(A, 2, name or "r4_v2"))
    expect_refusal(server, name or "r4_v2", revision, "bad_name")


def test_tensors_of_another_shape_keep_the_old_one_serving(world: World, server: Server) -> None:
    tensors = {key: value[:1] for key, value in adapter_tensors(list(range(1, 21)), 3).items()}
    world.store.publish(
        A,
        2,
        tensors,
        {"items": [item_id(row) for row in range(1, 21)]},
        backbone_sha256=the_setup().backbone_sha256,
        edit_id="e",
        parent=None,
        rank=8,
        targets=["qkv"],
        seed=0,
        before={},
        after={},
    )
    world.versions[A] = 2
    expect_refusal(server, "r0004_v0002", announce(world, "r0004_v0002"), "wrong_tensors")


def test_a_region_without_any_good_version_is_answered_by_the_backbone_and_says_so(world: World) -> None:
    shutil.rmtree(world.folder / "adapters" / "r0004_v0001")
    with serving(world) as fresh:
        answer = fresh.recommend(user_id="a0")
        assert (answer["region_id"], answer["adapter"], answer["answered_by"]) == (A, None, "backbone")
        assert answer["stood_in"]
        assert fresh.recommend(user_id="b0")["adapter"] == "r0005_v0001"
        assert "raie_backbone_stood_in_total 1.0" in fresh.ask("GET", "/metrics")[1]


def test_reload_takes_up_what_was_repaired(world: World, server: Server) -> None:
    name = world.publish(A, seed=9)
    folder = world.folder / "adapters" / name
    folder.rename(world.folder / "aside")
    expect_refusal(server, name, announce(world, name), "missing")
    (world.folder / "aside").rename(folder)
    assert server.ask("POST", "/admin/reload", {"by": "ann"}, TOKEN)[0] == 202
    eventually(lambda: server.recommend(user_id="a0")["adapter"] == name)
    assert server.ask("GET", f"/regions/{A}")[1]["refused"] is None


def test_a_full_disk_fails_a_publication_and_touches_no_answer(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system of 64 KB: a write fails with ENOSPC in the middle."""
    before = server.recommend(user_id="a0")
    room = 64_000
    real = os.write

    def write(descriptor: int, content: bytes) -> int:
        nonlocal room
        if len(content) > room:
            real(descriptor, content[:room])
            room = 0
            raise OSError(errno.ENOSPC, "No space left on device")
        room -= len(content)
        return real(descriptor, content)

    class Full:
        def __init__(self, path: Path, mode: str) -> None:
            self.file = open(path, mode)  # noqa: PTH123, SIM115

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, content: bytes) -> int:
            self.file.flush()
            return write(self.file.fileno(), content)

    monkeypatch.setattr(Path, "open", lambda path, mode="r", *_, **__: Full(path, mode))
    names = world.store.names()
    with pytest.raises(StoreError, match="free space"):
        for seed in range(20):
            world.publish(A, seed)
    monkeypatch.undo()
    assert set(world.store.names()) >= set(names)
    for name in world.store.names():
        world.store.verify(name)
    assert [p.name for p in (world.folder / "adapters").iterdir() if p.name.startswith(TEMPORARY)] == []
    assert server.recommend(user_id="a0")["items"] == before["items"]
    # Space is back: the same edit goes through.
    world.versions[A] = world.store.list(A)[-1].version
    name, revision = world.update(A, seed=50)
    server.served(revision)
    assert server.recommend(user_id="a0")["adapter"] == name


def test_requests_go_on_while_edits_are_published(world: World, server: Server) -> None:
    """Short form of a five-minute test: 40 publications under requests of three threads."""
    stop, failures, seen = threading.Event(), [], []
    server.recommend(user_id="a0")
    server.recommend(user_id="b0")
    full = server.service.live.adapter_memory().bytes

    def ask(user: str) -> None:
        while not stop.is_set():
            status, answer = server.ask("POST", "/recommend", {"user_id": user})
            (seen if status == 200 else failures).append(answer)

    threads = [threading.Thread(target=ask, args=(user,)) for user in ("a0", "b0", "s0")]
    for thread in threads:
        thread.start()
    live = {0: {A: "r0004_v0001", B: "r0005_v0001"}}
    sizes = []
    for i in range(40):
        region_id = (A, B)[i % 2]
        name, revision = world.update(region_id, seed=100 + i)
        live[revision] = live[max(live)] | {region_id: name}
        server.served(revision)
        sizes.append(server.service.live.adapter_memory().bytes)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(seen) > 40
    for answer in seen:
        assert answer["adapter"] == live[answer["revision"]].get(answer["region_id"])
    assert len({answer["revision"] for answer in seen}) > 3
    eventually(lambda: set(server.service.live.adapters) == set(live[max(live)].values()))
    # Two adapters, and for a moment a third that comes or goes: nothing is left of the forty others.
    assert max(sizes) <= 1.5 * full
    eventually(lambda: server.service.live.adapter_memory().bytes <= full)


def test_rollback_takes_less_than_a_second_and_is_a_record(world: World, server: Server) -> None:
    good = server.recommend(user_id="a0")
    _, bad = world.update(A, seed=66)
    server.served(bad)
    assert server.recommend(user_id="a0")["items"] != good["items"]
    started = time.monotonic()
    status, answer = server.ask("POST", "/admin/rollback", {"region_id": A, "by": "ann"}, TOKEN)
    assert status == 200
    server.served(answer["revision"])
    restored = server.recommend(user_id="a0")
    took = time.monotonic() - started
    assert took < 1.0
    assert answer["revision"] == bad + 1
    assert (restored["adapter"], restored["revision"]) == ("r0004_v0001", bad + 1)
    ids = [item["item_id"] for item in restored["items"]]
    assert ids == [item["item_id"] for item in good["items"]]
    np.testing.assert_allclose([i["score"] for i in restored["items"]], [i["score"] for i in good["items"]], rtol=1e-5)
    control = [record.value for record in world.log.read("control", 0, 0, world.log.end_offset("control", 0))]
    done = {"act": "rollback", "by": "ann", "token": "test", "region_id": A, "from": "r0004_v0002", "to": "r0004_v0001"}
    assert control == [done]
    # History only grows: what comes next is a version that was never used.
    state = server.ask("GET", f"/regions/{A}")[1]
    assert state["version"] == 3
    assert parse_request_id(restored["request_id"]).adapter == "r0004_v0001"
    assert json.dumps(state)


def test_there_is_no_rollback_to_what_never_was_or_is_damaged(world: World, server: Server) -> None:
    def roll(region_id: int, to: str | None = None) -> int:
        return server.ask("POST", "/admin/rollback", {"region_id": region_id, "to": to, "by": "ann"}, TOKEN)[0]

    end = world.log.end_offset("regions", 0)
    assert roll(1) == roll(A) == roll(A, "r0005_v0001") == 409
    _, revision = world.update(A, seed=66)
    server.served(revision)
    shutil.rmtree(world.folder / "adapters" / "r0004_v0001")
    assert roll(A) == 409
    assert world.log.end_offset("regions", 0) == end + 1
