"""`raie adapters` on a store and a log."""

import json

import pytest

from tests.replay.small import raie
from tests.server.world import A, B, World

Out = pytest.CaptureFixture[str]


def test_versions_are_listed_with_what_judged_them(world: World, capsys: Out) -> None:
    world.update(A, seed=3)
    ended = raie(capsys, "adapters", "list", "--adapters", world.store.root)
    lines = ended.out.splitlines()
    assert [line.split()[0] for line in lines] == ["r0004_v0001", "r0004_v0002", "r0005_v0001"]
    assert "edit edit-4-1, rank 1 -> 0.5" in lines[0]
    assert len(raie(capsys, "adapters", "list", "--adapters", world.store.root, "--region", B).out.splitlines()) == 1


def test_a_version_is_shown_as_json(world: World, capsys: Out) -> None:
    shown = json.loads(raie(capsys, "adapters", "show", "--adapters", world.store.root, "r0004_v0001").out)
    assert (shown["region_id"], shown["version"], shown["edit_id"]) == (A, 1, "edit-4-1")


def test_two_versions_are_compared_tensor_by_tensor(world: World, capsys: Out) -> None:
    world.update(A, seed=3)
    out = raie(capsys, "adapters", "diff", "--adapters", world.store.root, "r0004_v0001", "r0004_v0002").out
    assert "items.projection.lora_A.weight" in out
    assert out.splitlines()[-1] == "item rows: 20 and 20, 20 in both"
    same = raie(capsys, "adapters", "diff", "--adapters", world.store.root, "r0004_v0001", "r0004_v0001").out
    assert all(line.endswith(" 0 apart") for line in same.splitlines()[:-1])


def test_a_damaged_version_fails_the_check_and_only_it(world: World, capsys: Out) -> None:
    assert raie(capsys, "adapters", "verify", "--adapters", world.store.root).code == 0
    path = world.folder / "adapters" / "r0004_v0001" / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    ended = raie(capsys, "adapters", "verify", "--adapters", world.store.root)
    assert ended.code == 2
    assert ended.out.splitlines()[0].startswith("r0004_v0001: wrong_size")
    assert ended.out.splitlines()[1] == "r0005_v0001: sound"
    assert raie(capsys, "adapters", "verify", "--adapters", world.store.root, "r0005_v0001").code == 0


def test_a_region_is_rolled_back_and_what_cannot_be_is_refused(world: World, capsys: Out) -> None:
    def rollback(*arguments: str) -> tuple[int, str, str]:
        store = ("--adapters", world.store.root, "--log", f"sqlite:///{world.log_path}")
        ended = raie(capsys, "adapters", "rollback", *store, *arguments)
        return ended.code, ended.out.strip(), ended.err.strip()

    code, _, err = rollback(str(A))
    assert code == 2
    assert "never had another version live" in err
    world.update(A, seed=3)
    assert rollback(str(A)) == (0, "revision 2: region 4 is back at r0004_v0001, from r0004_v0002", "")
    assert rollback(str(A), "--to", "r0004_v0002")[1].endswith("is back at r0004_v0002, from r0004_v0001")
    assert rollback("1")[0] == 2
