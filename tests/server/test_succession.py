"""A server follows the generations of the log: it opens the other one beside, and swaps without losing a request."""

import copy
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest

from consumers.runtime.generations import create_topics, log_in, write_act
from consumers.runtime.user_tables import UserTables
from consumers.server.service import Edges, Service
from consumers.server.succession import Succession
from pipeline.config import Config
from pipeline.errors import DataError
from pipeline.events.generation import Act, GenerationAct
from pipeline.events.user_state import UserState
from pipeline.events.windows import History
from pipeline.streams import SqliteLog
from pipeline.streams.topics import USERS
from tests.server.world import LENGTH, SETTINGS, Server, World, eventually, histories, item_id, serving, the_setup

MANY = 6
"""Clients at once."""


class Successors:
    """Opens services of further generations of a world, and counts them."""

    def __init__(self, world: World, settings: Config = SETTINGS, instance: str = "test") -> None:
        self.world, self.opened, self.damaged = world, list[Service](), False
        self.settings, self.instance = settings, instance

    def __call__(self, first: Service) -> Succession:
        self._metrics = first.metrics
        self.said: list[str] = []
        return Succession(self.world.folder, partial(SqliteLog, self.world.log_path), self.open, self.said.append)

    def open(self, root: Path) -> Service:
        if self.damaged:
            self.damaged = False
            raise DataError(f"{root} is damaged")
        number = 1 if root == self.world.folder else int(root.name)
        setup = replace(the_setup(), backbone=copy.deepcopy(the_setup().backbone))
        edges = Edges(lambda: log_in(SqliteLog(self.world.log_path), number), time.time, self.said.append)
        tables = UserTables(root / "users" / self.instance, interval=0.0)
        own = Service(setup, self.settings, root / "adapters", tables, self.instance, edges, self._metrics)
        self.opened.append(own)
        return self.opened[-1]


def act(world: World, kind: Act, number: int, **details: object) -> None:
    write_act(world.log, GenerationAct(kind, number, "test", details), 1.7e9)


def prepare(world: World) -> None:
    """Write the acts and one user of a second generation, as its preparation and its gate do."""
    own = create_topics(world.log, 2, 2)
    state = UserState(History.of([item_id(row) for row in histories(40, 1)[0].tolist()], LENGTH, LENGTH))
    with own.producer("gate").transaction() as transaction:
        transaction.send(USERS, state.to_record(0), key="of-two", timestamp=1.6e9)
    act(world, Act.BEGIN, 2)
    act(world, Act.FORK, 2, starts=[0, 0], ends=[0, 0], beside=1, gated=0)
    act(world, Act.READY, 2, root="f" * 64, folder="generations/2")


def generation(server: Server) -> int:
    return int(server.ask("GET", "/status")[1]["generation"])


def knows(server: Server, user_id: str) -> bool:
    """True if the generation that answers has a history of a user."""
    return bool(server.recommend(user_id=user_id, k=3)["answered_by"] != "trend")


def test_it_swaps_without_losing_a_request_and_goes_back(world: World) -> None:
    successors, stop, found = Successors(world), Event(), Counter[object]()
    prepare(world)
    with serving(world, succeeds=successors) as server:

        def ask() -> None:
            while not stop.is_set():
                status, answer = server.ask("POST", "/recommend", {"user_id": "a0", "k": 3})
                found[status, len(answer.get("items", answer))] += 1

        clients = [Thread(target=ask) for _ in range(MANY)]
        for client in clients:
            client.start()
        try:
            assert not knows(server, "of-two")
            act(world, Act.SWITCH, 2, **{"from": 1})
            eventually(lambda: generation(server) == 2)
            assert knows(server, "of-two") and not knows(server, "a0")
            # The first one is closed after its last request, and not before.
            eventually(lambda: server.service.follower.ended is not None)
            act(world, Act.SWITCH, 1, **{"from": 2})
            eventually(lambda: generation(server) == 1)
            assert knows(server, "a0") and not knows(server, "of-two")
        finally:
            stop.set()
            for client in clients:
                client.join()
    assert set(found) == {(200, 3)} and found.total() > 2 * MANY
    assert all(service.follower.ended is not None for service in successors.opened)


def test_a_generation_that_cannot_be_opened_leaves_the_old_one_in_place_and_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.server.succession.PAUSE", 0.1)
    successors = Successors(world)
    prepare(world)
    with serving(world, succeeds=successors) as server:
        successors.damaged = True
        act(world, Act.SWITCH, 2, **{"from": 1})
        eventually(lambda: any("generations/2 is damaged; the server stays with" in line for line in successors.said))
        assert server.ask("GET", "/readyz")[0] == 200
        eventually(lambda: generation(server) == 2)
