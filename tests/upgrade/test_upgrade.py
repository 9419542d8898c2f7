"""A pipeline that the version before wrote is opened by this one and goes on: ROOT, log and store.

`pipeline.tar.xz` holds all three after 2,499 events of a small simulated log, with one adapter published. It was made
with commit a166b65 by `raie simulate emerging --events 5000 --seed 1`, `raie setup`, `raie up` and `raie produce`
under `SETTINGS`. Adapter bytes are not compared: they follow the processor.
"""

import csv
import json
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from adapters_store import AdaptersStore
from consumers.runtime.ledger import Ledger
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.streams import Log, open_log
from pipeline.streams.topics import EDITS, GATED, INTERACTIONS, STATISTICS

FIXTURE = Path(__file__).with_name("pipeline.tar.xz")
GATED_BEFORE = 2_499
MORE = 230
PATIENCE = 90.0

SETTINGS = (
    *("items.text_encoder=hashing", "windows.length=5", "backbone.hidden_size=8", "backbone.blocks=1"),
    *("setup.regions=3", "setup.max_epochs=4", "setup.reference_windows=256", "trend.held_out=64"),
    *("edits.min_windows=64", "edits.boundary_windows=32", "edits.update_windows=256", "edits.add_steps=10"),
    *("consumers.snapshot_events=500", "consumers.statistics_events=100", "log.partitions=2", "adapter.rank=2"),
    "monitor.expected_run=20000",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline as the version before left it."""
    folder = tmp_path_factory.mktemp("pipeline")
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def raie(folder: Path, *arguments: str) -> list[str]:
    """The command line of `raie` on the pipeline's log."""
    settings = [f"--set={setting}" for setting in (*SETTINGS, f"log.url=sqlite:///{folder / 'log.sqlite'}")]
    return [sys.executable, "-m", "consumers.cli.main", *arguments, *settings]


def said(folder: Path, *arguments: str) -> str:
    """Output of a command that succeeds."""
    done = subprocess.run(raie(folder, *arguments), capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[None]:
    """A long-running command, asked to stop at the end."""
    with (folder / f"{arguments[0]}.out").open("w") as out:
        process = subprocess.Popen(raie(folder, *arguments), cwd=folder, stdout=out, stderr=out)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def at_event(log: Log) -> int:
    """Events that the monitor has seen, by its newest statistics."""
    newest: Any = new_records(log, STATISTICS, 0)[-1].value
    return int(newest["at_event"])


def send_more(folder: Path, log: Log) -> None:
    """Let users of the log take known items after all that came before."""
    with (folder / "data/interactions.csv").open() as file:
        rows = list(csv.DictReader(file))[-MORE:]
    latest = float(rows[-1]["timestamp"])
    with log.producer("somebody").transaction() as transaction:
        for n, row in enumerate(rows):
            value = {"event_id": f"more-{n}", "user_id": row["user_id"], "item_id": row["item_id"]}
            transaction.send(INTERACTIONS, value | {"timestamp": latest + n}, key=row["user_id"], timestamp=latest + n)


@pytest.fixture(scope="module")
def continued(folder: Path) -> Path:
    """The same after gate, monitor and trainer of this version took more events."""
    with closing(open_log(f"sqlite:///{folder / 'log.sqlite'}")) as log:
        assert log.end_offset(GATED, 0) == GATED_BEFORE
        send_more(folder, log)
        refused = subprocess.run(
            raie(folder, "topics", "check"), capture_output=True, text=True, check=False, cwd=folder
        )
        assert "run `raie topics migrate` once" in refused.stderr
        assert "users moved to the partition of their key" in said(folder, "topics", "migrate")
        with running(folder, "up", "--root", str(folder / "root")):
            eventually(lambda: log.end_offset(GATED, 0) == GATED_BEFORE + MORE, "the events are gated")
            eventually(lambda: at_event(log) >= GATED_BEFORE + MORE - 100, "the monitor goes on")
    return folder


def test_gate_and_monitor_go_on_where_the_version_before_stopped(continued: Path) -> None:
    with closing(open_log(f"sqlite:///{continued / 'log.sqlite'}")) as log:
        gated = new_records(log, GATED, 0)
    assert [record.written_at is None for record in gated] == [True] * GATED_BEFORE + [False] * MORE
    records: list[Any] = [record.value for record in gated]
    numbers = [record["number"] for record in records]
    assert numbers == list(range(GATED_BEFORE + MORE)), "no event is lost, or counted twice"
    after = records[GATED_BEFORE:]
    added, gone = {"popularity_rank", "items", "batch", "earlier", "candidates"}, {"surest", "hits"}
    assert set(after[0]) == (set(records[0]) | added) - gone, "fields of the mixture went, others were added"
    assert not all(record["cold"] for record in after), "histories are those of before"
    assert any(record["route"] for record in after), "the region that was opened before answers"
    assert min(record["revision"] for record in after) == 2, "the revisions of before are in force"


def test_edits_regions_and_versions_of_before_are_listed(continued: Path) -> None:
    assert len(said(continued, "edits").splitlines()) >= 5
    regions = said(continued, "regions", "--root", str(continued / "root"))
    assert "adapter r0004_v0001" in regions
    store = AdaptersStore(continued / "root/adapters")
    assert "r0004_v0001" in store.names()
    store.verify("r0004_v0001")


def test_the_windows_of_edits_of_before_are_known_by_event_id(continued: Path) -> None:
    with closing(open_log(f"sqlite:///{continued / 'log.sqlite'}")) as log:
        before = [edit for edit, _ in Ledger(log, log.topic(EDITS).partitions).poll() if edit.at_event < GATED_BEFORE]
        windows = [window for edit in before for window in (*edit.windows, *edit.samples)]
        found = {r.offset: value_of(r)["event_id"] for r in log.read_at(GATED, 0, [w.offset for w in windows])}
    assert len(before) == 1 and len(windows) > 64
    assert all(found[window.offset] == window.event_id for window in windows)


def test_the_server_answers_from_what_was_there(continued: Path) -> None:
    with running(continued, "serve", "--root", str(continued / "root"), "--set=server.port=0"):
        printed = continued / "serve.out"
        eventually(lambda: "http://" in printed.read_text(), "the server says its address")
        address = next(word for word in printed.read_text().split() if word.startswith("http://")).rstrip("/,.;")
        eventually(lambda: ready(address), "the log is read")
        body = json.dumps({"user_id": "u00024", "k": 5}).encode()
        request = Request(f"{address}/recommend", body, {"Content-Type": "application/json"})
        with urlopen(request) as response:
            answer = json.load(response)
    assert len(answer["items"]) == 5
    assert answer["revision"] >= 0
    assert answer["answered_by"] in ("adapter", "backbone")


def ready(address: str) -> bool:
    """True once the server has read the log."""
    try:
        with urlopen(f"{address}/readyz") as response:
            return response.status == 200
    except OSError:
        return False
