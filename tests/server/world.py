"""A set-up, a log and a store with two stream regions, and servers over them on ports of their own."""

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import uvicorn

from adapters_store import AdaptersStore
from consumers.gate.changelog import OnlineSnapshot, snapshot_outputs
from consumers.http.listening import listen
from consumers.runtime.user_tables import UserTables
from consumers.server.http.app import make_app
from consumers.server.service import Edges, Service, asked_in_setup
from consumers.server.succession import Succession
from pipeline.config import AccessSettings, Config
from pipeline.evaluation.replay import prepare
from pipeline.events.erasure import erasure_key
from pipeline.events.gated import GatedEvent, GateStamp
from pipeline.events.item_status import ARRIVED, EVICTED, ItemStatus
from pipeline.events.user_state import UserState
from pipeline.events.windows import History, Windows
from pipeline.models.lora.host import AdapterHost
from pipeline.models.seeding import make_deterministic
from pipeline.models.text_vectors import TextVectors
from pipeline.recommend.backends import HostBackend
from pipeline.recommend.online_state import OnlineState
from pipeline.recommend.scorer import Scorer
from pipeline.recommend.start import start
from pipeline.regions.origin_classifier import fit_origins
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.revision import Revision
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from pipeline.streams import Log, SqliteLog
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import GATED, ITEMS, REGIONS, USERS, pipeline_topics
from pipeline.telemetry import new_metrics
from tests.gated import gated_event, online
from tests.models.backbones.small import windows_of
from tests.replay.small import config, dataset, plan
from tests.tokens import access_of

SETTINGS = config("trend.half_lives=[20, 100]", "trend.shrinkage=5", "log.partitions=2", "ranking.events=500")
A, B = 4, 5
"""Ids of the stream regions; set-up has 1, 2 and 3."""
LENGTH = SETTINGS.windows.length
TOKEN = "a token with all roles"
PATIENCE = 20.0
"""Seconds after which a condition that was waited for has failed."""

Json = Any


@cache
def the_setup() -> SetUp:
    make_deterministic()
    return set_up(SETTINGS, prepare(dataset(), SETTINGS, lambda *_: None)[1], plan().setup[slice(-700, None)], seed=0)


def item_id(row: int) -> str:
    """Id of the item of set-up in a catalogue row, from 1."""
    return the_setup().catalogue.item_ids[row - 1]


def histories(first: int, n: int = 100) -> np.ndarray:
    """(n, length) windows over 20 consecutive items; the first item decides if they belong to set-up, A or B."""
    starts = np.random.default_rng(first).integers(20, size=n)
    rows: np.ndarray = (starts[:, None] + np.arange(LENGTH)) % 20 + first
    return rows


def first_taken(row: int) -> GatedEvent:
    """An event of a user of the first set-up region, with an empty window."""
    inputs = online(probability=0.01, setup_shares=[(0, 1.0)])
    return gated_event(target=item_id(row), window=[], backbone_probability=0.01, online=inputs)


def taken(rows: np.ndarray, since_setup: int = LENGTH) -> Windows:
    """Windows of (n, length) items, so many of them taken since set-up."""
    return windows_of(rows, np.ones(len(rows), dtype=np.int64), since_setup)


def histories_of(windows: Windows) -> list[History]:
    """The items of windows over items of set-up, by id."""
    rows = zip(windows.contexts.tolist(), windows.since_setup.tolist(), strict=True)
    return [History.of([item_id(row) for row in context if row], LENGTH, since) for context, since in rows]


FIRSTS = {A: 1, B: 101}


@cache
def origins() -> OriginModel:
    """Origin classifier for windows of A, of B and of set-up."""
    setup = the_setup()
    host = AdapterHost(copy.deepcopy(setup.backbone), SETTINGS.adapter)
    known = [setup.encoded]
    for first in FIRSTS.values():
        windows = histories(first)
        recent = np.full(len(windows), LENGTH)
        known.append(setup.view(host.states(windows, None), windows, recent))
    coverage = np.ones((2, len(setup.bank.setup)))
    return fit_origins(list(FIRSTS), known, coverage, [1.0, 0.5, 0.5], SETTINGS.gate.penalty)


def region(region_id: int, version: int, adapter: str | None, adapter_weight: float = 0.8) -> Region:
    centroid = np.eye(the_setup().bank.regions[0].centroid.shape[0])[region_id]
    return Region(
        region_id, version, Status.LIVE, Origin.STREAM, None, centroid, 0.5, 20.0, 0.1, adapter, 10, adapter_weight
    )


def adapter_tensors(rows: Sequence[int], seed: int) -> dict[str, np.ndarray]:
    """Random weights as large as those of a trained adapter."""
    rng = np.random.default_rng(seed)
    return {key: rng.normal(size=shape, scale=0.3).astype(np.float32) for key, shape in _shapes(len(rows)).items()}


@cache
def _shapes(rows: int) -> dict[str, tuple[int, ...]]:
    host = AdapterHost(copy.deepcopy(the_setup().backbone), SETTINGS.adapter)
    host.create("r0001_v0001", list(range(1, rows + 1)), parent=None, seed=0)
    return {key: value.shape for key, value in host.tensors("r0001_v0001").items()}


def texts() -> TextVectors:
    """Text embeddings of set-up."""
    vectors = the_setup().catalogue.vectors
    return TextVectors(np.concatenate([np.zeros((1, vectors.shape[1]), dtype=np.float32), vectors]))


def fresh_state(settings: Config = SETTINGS) -> OnlineState:
    """Origin prior and second stage of a gate at its start."""
    setup = the_setup()
    online = OnlineState(setup, settings, texts, ["", *setup.catalogue.item_ids])
    host = AdapterHost(copy.deepcopy(setup.backbone), settings.adapter)
    scorer = Scorer(HostBackend(host), setup.view, settings.gate.floor)
    start(online.second_stage, setup, partial(asked_in_setup, setup, scorer), np.zeros(online.regions))
    return online


@dataclass
class World:
    """One log and one store.

    Attributes:
        folder: holds both.
        opens: another log than one in the folder.
    """

    folder: Path
    opens: Callable[[], Log] | None = None

    def __post_init__(self) -> None:
        self.log_path = self.folder / "log.sqlite"
        self.log = (self.opens or partial(SqliteLog, self.log_path))()
        self.log.create_topics(pipeline_topics(partitions=2))
        self.producer = self.log.producer("test")
        self.store = AdaptersStore(self.folder / "adapters")
        self.bank = the_setup().bank
        self.versions: dict[int, int] = {}
        self.events: dict[str, int] = {}

    def send(self, topic: str, value: Mapping[str, object] | None, key: str) -> int:
        """Write a record; return its offset."""
        with self.producer.transaction() as transaction:
            transaction.send(topic, value, key=key, timestamp=1.6e9)
        return transaction.offsets[0][2]

    def publish(self, region_id: int, seed: int, others: Sequence[str] = ()) -> str:
        """Put the next version of a region into the store, without a revision; it also moves other items."""
        version = self.versions[region_id] = self.versions.get(region_id, 0) + 1
        items = [*(item_id(row) for row in range(FIRSTS[region_id], FIRSTS[region_id] + 20)), *others]
        manifest = self.store.publish(
            region_id,
            version,
            adapter_tensors(range(len(items)), seed),
            {"items": list(items)},
            backbone_sha256=the_setup().backbone_sha256,
            edit_id=f"edit-{region_id}-{version}",
            parent=None,
            rank=SETTINGS.adapter.rank,
            targets=["qkv"],
            seed=seed,
            before={"rank": 1.0},
            after={"rank": 0.5},
        )
        return manifest.name

    def announce(self, *regions: Region, moved: bool = False, canary: float = 0.0) -> int:
        """Write a revision, on trial where it is for a share of users; return its offset."""
        bank = self.bank.changed(*regions)
        self.bank = replace(bank, origins=origins(), gate_version=1) if moved else bank
        record = Revision.of(self.bank, regions, moved)
        value = record.to_record() | {"edit_id": "e", "validation": None, "canary": canary}
        return self.send(REGIONS, value, str(regions[0].region_id))

    def open_both(self) -> None:
        """Open A and B, each with its first version."""
        opened = [region(i, self.versions[i], name) for i, name in ((i, self.publish(i, seed=i)) for i in (A, B))]
        self.announce(*opened, moved=True)

    def update(self, region_id: int, seed: int, canary: float = 0.0) -> tuple[str, int]:
        """Publish and announce the next version; return its name and the revision."""
        name = self.publish(region_id, seed)
        return name, self.announce(region(region_id, self.versions[region_id], name), canary=canary)

    def user(self, user_id: str, history: Sequence[int], since_setup: int = LENGTH) -> None:
        """Write the history of a user, as catalogue rows, negative where disliked."""
        disliked = [place for place, row in enumerate(history) if row < 0]
        state = UserState(History.of([item_id(abs(row)) for row in history], LENGTH, since_setup, disliked))
        self.send(USERS, state.to_record(0), user_id)

    def erase(self, user_id: str) -> None:
        """Erase a user, as a gate does."""
        erased = UserState(History(), timestamp=1.6e9).to_record(0)
        home = partition_of(user_id, self.log.topic(USERS).partitions)
        with self.producer.transaction() as transaction:
            transaction.send(USERS, None, key=user_id, timestamp=1.6e9)
            transaction.send(USERS, erased, key=erasure_key(user_id), partition=home, timestamp=1.6e9)
            transaction.send(GATED, None, key=user_id, timestamp=1.6e9)

    def item(self, item_id: str, text: str, **fields: object) -> int:
        """Write the record of an item, as a producer does; return its offset."""
        return self.send(ITEMS, {"item_id": item_id, "text": text, **fields}, item_id)

    def arrived(self, item_id: str) -> int:
        """Write that an item arrived, as the monitor does."""
        return self._status(item_id, ARRIVED)

    def evict(self, item_id: str) -> int:
        """Write that an item was evicted, as the monitor does."""
        return self._status(item_id, EVICTED)

    def _status(self, item_id: str, status: str) -> int:
        said = ItemStatus(item_id, status, 1.6e9, self.log.end_offset(ITEMS, 0))
        return self.send(ITEMS, said.to_record(), said.key)

    def withdraw(self, row: int) -> None:
        self.send(ITEMS, None, item_id(row))

    def snapshot(self, online: OnlineState, gate: str = "gate") -> None:
        """Write a snapshot, as the gate does."""
        kept = OnlineSnapshot(online.to_arrays(), online.events, 0, self.log.end_offset(GATED, 0))
        self.events[gate] = online.events
        with self.producer.transaction() as transaction:
            for out in snapshot_outputs(gate, kept, 1.6e9):
                transaction.send(out.topic, out.value, key=out.key, timestamp=out.timestamp)

    def gated(self, event: GatedEvent, gate: str = "gate", next_item: int = 0) -> None:
        """Write an event as a gate does that has read so many records of items."""
        stamped = replace(event, stamp=GateStamp(gate, self.events[gate], 0, next_item))
        self.send(GATED, stamped.to_record(), "somebody")
        self.events[gate] += 1

    def taken(self, row: int) -> None:
        """Write an event in which a user of the first set-up region takes an item."""
        if "gate" not in self.events:
            self.snapshot(fresh_state())
        self.gated(first_taken(row))

    def close(self) -> None:
        self.log.close()


@dataclass
class Server:
    """A server that listens, and a client of it."""

    port: int
    service: Service
    said: list[str]
    token: str | None = None

    def ask(
        self,
        method: str,
        path: str,
        body: Json = None,
        token: str | None = TOKEN,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Json]:
        """Return status and JSON (or text) of an answer; a server without tokens ignores that of the request."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"Content-Type": "application/json", **(headers or {})}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode()
            is_json = "json" in (response.getheader("content-type") or "")
            return response.status, json.loads(text) if is_json and text else text
        finally:
            connection.close()

    def recommend(self, **body: Json) -> Json:
        status, answer = self.ask("POST", "/recommend", body)
        assert status == 200, answer
        return answer

    def served(self, revision: int) -> None:
        """Wait until a revision is served."""
        eventually(lambda: self.service.live.view.revision >= revision)


def eventually(holds: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until a condition holds; fail after `PATIENCE` seconds."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Place(Protocol):
    """Paths of a log and of the parent folder of the adapters store."""

    folder: Path
    log_path: Path


@contextmanager
def serving(
    world: Place,
    token: str | None = TOKEN,
    instance: str = "test",
    settings: Config = SETTINGS,
    made: Callable[[], SetUp] = the_setup,
    opens: Callable[[], Log] | None = None,
    access: AccessSettings | None = None,
    succeeds: Callable[[Service], Succession] | None = None,
    port: int = 0,
) -> Iterator[Server]:
    """Serve a world until the block ends, with a token of all roles or with other settings of access."""
    said: list[str] = []
    listening = listen("127.0.0.1", port, "server")
    setup = replace(made(), backbone=copy.deepcopy(made().backbone))
    edges = Edges(opens or partial(SqliteLog, world.log_path), time.time, said.append)
    tables = UserTables(world.folder / "users" / instance, said.append, interval=0.0)
    service = Service(setup, settings, world.folder / "adapters", tables, instance, edges, new_metrics())
    succession = None if succeeds is None else succeeds(service)
    application = make_app(service, access or access_of(token), settings.server.max_body, succession)
    running = uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False))
    thread = threading.Thread(target=running.run, args=([listening],), daemon=True)
    thread.start()
    try:
        server = Server(listening.getsockname()[1], service, said, token)
        eventually(lambda: running.started and service.follower.caught_up.is_set())
        yield server
    finally:
        running.should_exit = True
        thread.join(PATIENCE)
        listening.close()
