"""`raie recommend`: answers for many users in a file, the same as those over HTTP."""

import json

import pytest
from typer.testing import CliRunner, Result

from consumers.cli.main import app
from consumers.runtime.log_binding import KEY
from pipeline.events.request_id import parse_request_id
from pipeline.setup.storage import save_setup
from pipeline.streams.partitioner import CURRENT
from pipeline.streams.topics import CONTROL
from tests.server.world import SETTINGS, World, item_id, serving, the_setup

BRAND = {"brand": "acme"}


@pytest.fixture
def shop(world: World) -> World:
    """The set-up in a folder beside the log; thirty items have a brand."""
    save_setup(the_setup(), world.folder / "root")
    world.send(CONTROL, {"kind": KEY, "partitioner": CURRENT}, KEY)
    for row in range(1, 31):
        world.item(item_id(row), the_setup().catalogue.texts[row - 1], attributes=BRAND)
    return world


def run(shop: World, *words: str, stdin: str | None = None) -> Result:
    settings = [
        f"windows.length={SETTINGS.windows.length}",
        f"log.url=sqlite:///{shop.log_path}",
        f"log.partitions={SETTINGS.log.partitions}",
        f"trend.half_lives={json.dumps(list(SETTINGS.trend.half_lives))}",
        f"trend.shrinkage={SETTINGS.trend.shrinkage}",
        f"ranking.events={SETTINGS.ranking.events}",
        f"items.text_encoder={SETTINGS.items.text_encoder}",
    ]
    given = [word for setting in settings for word in ("--set", setting)]
    folders = ("--root", str(shop.folder / "root"), "--adapters", str(shop.folder / "adapters"))
    return CliRunner().invoke(app, ["recommend", *folders, *given, *words], stdin)


def test_all_users_are_answered_as_by_the_server_with_rules_and_ids_for_feedback(shop: World) -> None:
    out, asked = shop.folder / "out" / "answers.jsonl", {"k": 4, "filter": BRAND, "exclude": "nothing"}
    done = run(shop, "--users", "all", "--out", str(out), "--request", json.dumps(asked))
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert f"{len(lines)} answers written to {out}, as of revision 0" in done.stdout
    assert list(out.parent.iterdir()) == [out]
    with serving(shop) as server:
        assert [line["user_id"] for line in lines] == server.service.users.ids()
        for line in lines:
            answer = server.recommend(user_id=line["user_id"], **asked)
            assert line.keys() == {*answer, "user_id"}
            assert [item["item_id"] for item in line["items"]] == [item["item_id"] for item in answer["items"]]
            named = parse_request_id(line["request_id"])
            assert named is not None
            assert (named.adapter, named.region_id) == (answer["adapter"], answer["region_id"])


def test_users_of_a_file_are_answered_in_its_order_each_once(shop: World) -> None:
    users, out = shop.folder / "users.txt", shop.folder / "answers.jsonl"
    users.write_text("b1\n\nnobody\n a0 \nb1\n")
    done = run(shop, "--users", str(users), "--out", str(out))
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["user_id"] for line in lines] == ["b1", "nobody", "a0"]
    assert [line["answered_by"] for line in lines] == ["adapter", "trend", "adapter"]
    # Servers may share the users: the command reads all of them.
    group = "server.peers=[http://127.0.0.1:1,http://127.0.0.1:2]"
    assert run(shop, "--users", "-", "--out", str(out), "--set", group, stdin="a1\n").exit_code == 0
    assert json.loads(out.read_text())["user_id"] == "a1"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--request", '{"filter": {"prize": 3}}'), "no item has an attribute 'prize': they have brand"),
        (("--request", '{"k": 0, "typo": 1}'), "k: Input should be greater than or equal to 1"),
        (("--request", "{k}"), "--request is no JSON"),
        (("--request", '{"revision": 99}'), "revision 99 is not there yet: the newest is 0"),
        (("--users", "missing.txt"), "missing.txt"),
    ],
)
def test_what_cannot_be_answered_says_why_and_leaves_the_file_as_it_was(
    shop: World, words: tuple[str, ...], says: str
) -> None:
    out = shop.folder / "answers.jsonl"
    out.write_text("before")
    done = run(shop, "--users", "all", "--out", str(out), *words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert out.read_text() == "before" and not list(shop.folder.glob("*.part"))
