"""Servers that share the users by partition answer as one server that has all of them."""

import json
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from consumers.server.peers import Peers
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.events.generation import Act
from pipeline.streams.partitioner import partition_of
from tests.replay.small import raie
from tests.server.test_succession import Successors, act, generation, prepare
from tests.server.world import SETTINGS, TOKEN, Json, Server, World, eventually, histories, serving, the_setup

USERS = [*(f"{kind}{i}" for kind in "ab" for i in range(5)), *(f"s{i}" for i in range(3))]
BODIES = ({"k": 5}, {"k": 8, "explain": True, "exclude": "taken"}, {"k": 3, "revision": -1})


@pytest.fixture
def ports() -> list[int]:
    """Two ports that are free."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return [one.getsockname()[1], two.getsockname()[1]]


def urls_of(ports: Sequence[int]) -> list[str]:
    return [f"http://127.0.0.1:{port}" for port in ports]


def of_group(ports: Sequence[int], place: int) -> Config:
    """Settings of a server in a group."""
    shared = SETTINGS.server.model_copy(update={"peers": urls_of(ports), "place": place})
    return SETTINGS.model_copy(update={"server": shared})


def started(world: World, ports: Sequence[int], place: int, **more: object):  # type: ignore[no-untyped-def]
    """A server of a group, as a context."""
    return serving(world, instance=f"server-{place}", settings=of_group(ports, place), port=ports[place], **more)


@contextmanager
def group(world: World, ports: Sequence[int]) -> Iterator[list[Server]]:
    with started(world, ports, 0) as one, started(world, ports, 1) as two:
        yield [one, two]


def answer(server: Server, user_id: str, **options: Json) -> Json:
    """An answer without its id, which is drawn."""
    found = server.recommend(user_id=user_id, **options)
    return {name: value for name, value in found.items() if name != "request_id"}


def user_in(partition: int) -> str:
    return next(user for user in USERS if partition_of(user, 2) == partition)


def test_every_server_answers_for_all_users_as_one_that_has_them(world: World, ports: list[int]) -> None:
    with serving(world, instance="whole") as whole, group(world, ports) as servers:
        for options in BODIES:
            for user_id in (*USERS, "a stranger"):
                expected = answer(whole, user_id, **options)
                assert [answer(server, user_id, **options) for server in servers] == [expected, expected]
        # What names no user is answered by the server that was asked.
        history = {"history": the_setup().catalogue.item_ids[:3], "k": 4}
        lists = [server.ask("POST", "/recommend", history)[1]["items"] for server in (whole, *servers)]
        assert lists[0] == lists[1] == lists[2]
        passed_on = 'raie_passed_on_total{outcome="answered"}'
        counts = [re.search(rf"{re.escape(passed_on)} (\S+)", server.ask("GET", "/metrics")[1]) for server in servers]
        assert sum(float(count[1]) for count in counts if count) == len(BODIES) * (len(USERS) + 1)


def test_several_users_are_split_and_merged_in_their_order(world: World, ports: list[int]) -> None:
    asked = {"user_ids": [*USERS, "nobody", USERS[0]], "k": 4}
    with serving(world, instance="whole") as whole, group(world, ports) as servers:
        expected = whole.ask("POST", "/recommend/users", asked)[1]["answers"]
        for server in servers:
            found = server.ask("POST", "/recommend/users", asked)[1]["answers"]
            assert [one["user_id"] for one in found] == asked["user_ids"]
            for one, other in zip(found, expected, strict=True):
                assert [item["item_id"] for item in one["items"]] == [item["item_id"] for item in other["items"]]
                assert (one["adapter"], one["region_id"]) == (other["adapter"], other["region_id"])


def test_a_server_keeps_its_own_users_alone_new_ones_too(world: World, ports: list[int]) -> None:
    with group(world, ports) as servers:
        newcomers = [next(name for i in range(99) if partition_of(name := f"n{i}", 2) == p) for p in (0, 1)]
        for name in newcomers:
            world.user(name, histories(1, 1)[0].tolist())
        for place, server in enumerate(servers):
            own = sorted(user for user in [*USERS, *newcomers] if partition_of(user, 2) == place)
            eventually(lambda server=server, own=own: server.service.users.ids() == own)  # type: ignore[misc]
            assert server.ask("GET", "/status")[1]["users"] == len(own)
            files = {path.name for path in (world.folder / "users" / f"server-{place}").glob("*.users")}
            assert files == {f"{place:05d}.users"}
        for name in newcomers:
            assert {answer(server, name)["answered_by"] for server in servers} == {"adapter"}


def test_a_server_out_of_reach_is_named_and_missed_until_it_is_back(world: World, ports: list[int]) -> None:
    mine, theirs = user_in(0), user_in(1)
    with started(world, ports, 0) as one:
        with started(world, ports, 1) as two:
            expected = answer(two, theirs, k=5)
            assert answer(one, theirs, k=5) == expected
        for path, body in (("/recommend", {"user_id": theirs}), ("/recommend/users", {"user_ids": [mine, theirs]})):
            status, problem = one.ask("POST", path, body)
            assert status == 503 and urls_of(ports)[1] in problem["detail"] and "server.peers" in problem["detail"]
        assert answer(one, mine)["answered_by"] != "trend"
        assert one.ask("POST", "/trending", {})[0] == 200
        with started(world, ports, 1):
            assert answer(one, theirs, k=5) == expected


class Never(threading.Event):
    """An event that does not happen."""

    def set(self) -> None:
        pass


def test_no_one_is_a_stranger_while_a_server_reads_its_users(world: World, ports: list[int]) -> None:
    mine, theirs = user_in(0), user_in(1)
    with group(world, ports) as (one, two):
        two.service.follower.caught_up = Never()
        for server in (one, two):
            status, problem = server.ask("POST", "/recommend", {"user_id": theirs})
            assert (status, problem["detail"]) == (503, "the users of this server are still being read")
            assert answer(server, mine)["answered_by"] != "trend"
        two.service.follower.caught_up = threading.Event()
        eventually(two.service.follower.caught_up.is_set)
        assert answer(one, theirs)["answered_by"] != "trend"


def test_servers_that_disagree_send_nothing_around(world: World, ports: list[int]) -> None:
    theirs = user_in(1)
    with (
        started(world, ports, 0) as one,
        serving(world, instance="other", settings=of_group(ports[::-1], 0), port=ports[1]),
    ):
        status, problem = one.ask("POST", "/recommend", {"user_id": theirs})
        assert status == 503 and "they disagree on server.peers" in problem["detail"]


class Stub(BaseHTTPRequestHandler):
    """Another server, which refuses a request and keeps what it was sent."""

    came: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.came.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        found = json.dumps({"detail": "too much"}).encode()
        self.send_response(429)
        self.send_header("Retry-After", "7")
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    def log_message(self, *_: object) -> None:
        pass


def test_the_request_is_passed_on_as_it_came_and_a_refusal_is_passed_back(world: World, ports: list[int]) -> None:
    Stub.came.clear()
    with HTTPServer(("127.0.0.1", ports[1]), Stub) as other, started(world, ports, 0) as one:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        body = {"user_id": user_in(1), "k": 2, "filter": {"brand": "acme"}, "only_items": ["ä"]}
        status, problem = one.ask("POST", "/recommend", body, headers={"traceparent": trace})
        other.shutdown()
    ((path, headers, sent),) = Stub.came
    assert (status, problem) == (429, {"detail": "too much"})
    assert (path, json.loads(sent)) == ("/recommend", body)
    assert (headers["authorization"], headers["traceparent"]) == (f"Bearer {TOKEN}", trace)


def test_a_switch_of_the_generation_keeps_the_shares(world: World, ports: list[int]) -> None:
    prepare(world)
    successors = [Successors(world, of_group(ports, place), f"server-{place}") for place in (0, 1)]
    with (
        started(world, ports, 0, succeeds=successors[0]) as one,
        started(world, ports, 1, succeeds=successors[1]) as two,
    ):
        servers = [one, two]
        assert {answer(server, "of-two")["answered_by"] for server in servers} == {"trend"}
        act(world, Act.SWITCH, 2, **{"from": 1})
        eventually(lambda: all(generation(server) == 2 for server in servers))
        found = [answer(server, "of-two") for server in servers]
        assert found[0] == found[1] and found[0]["answered_by"] != "trend"
        assert sorted(len(successor.opened[0].users) for successor in successors) == [0, 1]
        assert {answer(server, "a0")["answered_by"] for server in servers} == {"trend"}


@pytest.mark.parametrize(
    ("peers", "place", "problem"),
    [
        (["http://a:1", "http://b:1"], None, "server.place is not: give each server its place"),
        (["http://a:1", "http://b:1"], 2, "server.place is 2, and server.peers names 2 servers"),
        (["http://a:1", "http://a:1"], 0, "names a server twice"),
        (["http://a:1", "http://b:1", "http://c:1"], 0, "there are 2 \\(log.partitions\\)"),
    ],
)
def test_what_is_no_group_is_refused_by_name(peers: list[str], place: int | None, problem: str) -> None:
    settings = SETTINGS.server.model_copy(update={"peers": peers, "place": place})
    with pytest.raises(ConfigError, match=problem):
        Peers.of(settings, 2)


def test_a_server_of_no_group_does_not_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = partial(raie, capsys, "serve", "--root", tmp_path, "--set")
    ended = command("server.peers=[http://a:1, http://b:1]")
    assert ended.code == 2 and "server.place" in ended.err
    ended = command("server.peers=[a:1]")
    assert ended.code == 2 and "server.peers.0" in ended.err


def test_every_partition_is_of_one_server() -> None:
    for servers in (1, 2, 3):
        urls = tuple(f"http://s{i}:1" for i in range(servers))
        shares = [Peers(urls, place, 8) for place in range(servers)]
        assert sorted(partition for peers in shares for partition in peers.own) == list(range(8))
        for user_id in USERS:
            (owner,) = [peers.place for peers in shares if partition_of(user_id, 8) in peers.own]
            assert {peers.place_of(user_id) for peers in shares} == {owner}
