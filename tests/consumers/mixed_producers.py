"""Three clients write the events of the same users, by three partitioners, while gates are killed and come and go.

python -m tests.consumers.mixed_producers     20,000 events, on a broker of its own
"""

import json
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from confluent_kafka import Producer
from kafka import KafkaProducer

from consumers.runtime.runner import log_of
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.config import Config, LogSettings
from pipeline.events.user_state import SENT_ON
from pipeline.setup.storage import save_setup
from pipeline.streams import Log
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import GATED, INTERACTIONS, USERS
from tests.broker import Broker
from tests.broker import settings as of_a_broker
from tests.consumers.forking import Nursery
from tests.consumers.gating import changed, with_users
from tests.consumers.run_of_raie import the_setup

PARTITIONS, USERS_OF_THE_STREAM = 4, 60
EVENTS = 20_000
"""Events of the long form."""

RATE = 400.0
"""Events that are sent a second; an event a second is their own time."""

HORIZON = 6_000.0
"""Allowed lateness in seconds of event time: 15 seconds of the stream, in which a killed gate is back."""

QUIET = 15.0
"""Seconds of a poll without records after which waiting events are handled whatever may come: longer than any pause."""

LATER = "end"
"""Start of the ids of events that end the stream: they are so late that all others are due."""

Json = Mapping[str, Any]
Send = Callable[[str, bytes], None]


def mixed(events: int) -> Iterator[Json]:
    """Events in order of their time."""
    rng, items = Random(1), the_setup().catalogue.item_ids
    for number in range(events):
        user = f"u{rng.randrange(USERS_OF_THE_STREAM)}"
        yield {"event_id": f"e{number:06d}", "user_id": user, "item_id": rng.choice(items), "timestamp": 1.6e9 + number}


@contextmanager
def clients(log: LogSettings) -> Iterator[Sequence[Send]]:
    """One by murmur2, one by CRC32, and one without keys."""
    servers, topic = log.url.removeprefix("kafka://"), f"{log.prefix}{INTERACTIONS}"
    java_like, librdkafka = KafkaProducer(bootstrap_servers=servers), Producer({"bootstrap.servers": servers})
    yield (
        lambda user, value: java_like.send(topic, value, key=user.encode()),
        lambda user, value: librdkafka.produce(topic, value, user),
        lambda _, value: librdkafka.produce(topic, value),
    )
    java_like.flush()
    java_like.close()
    assert librdkafka.flush(30) == 0


def feed(log: LogSettings, events: int) -> None:
    """Send the events at their rate, each by a client that is drawn."""
    rng, began = Random(2), time.monotonic()
    with clients(log) as send:
        for number, event in enumerate(mixed(events)):
            rng.choice(send)(str(event["user_id"]), json.dumps(event).encode())
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))


@dataclass
class Gates:
    """Gates as processes that are killed and started again, and one that joins halfway and leaves again.

    Attributes:
        folder: has the set-up and the configuration.
        rng: draws who is killed.
        kills: number of deaths so far.
    """

    folder: Path
    rng: Random
    kills: int = 0
    _running: dict[str, int] = field(default_factory=dict)
    _nursery: Nursery = field(default_factory=Nursery)

    def start(self, name: str) -> None:
        """Start a gate."""
        words = self.folder / f"{name}.err"
        self._running[name] = self._nursery.start(["gate", name, str(self.folder), "0", str(words)])

    def kill_one(self) -> None:
        """Kill a gate without warning, and start it again."""
        name = self.rng.choice(sorted(self._running))
        self._end(name, signal.SIGKILL)
        self.kills += 1
        self.start(name)

    def leave(self, name: str) -> None:
        """Ask a gate to end."""
        self._end(name, signal.SIGTERM)

    def check(self) -> None:
        """Check that no gate has ended by itself."""
        for name, pid in self._running.items():
            code = self._nursery.code(pid)
            assert code is None, f"{name} ended with {code}: {(self.folder / f'{name}.err').read_text()[-2000:]}"

    def close(self) -> None:
        """End all gates at once: one that waits for records would end after its poll."""
        for name in list(self._running):
            self._end(name, signal.SIGKILL)
        self._nursery.close()

    def _end(self, name: str, by: signal.Signals) -> None:
        pid = self._running.pop(name)
        os.kill(pid, by)
        while self._nursery.code(pid) is None:
            time.sleep(0.01)


def run(folder: Path, log: LogSettings, events: int, kills: int, limit: float) -> dict[str, Any]:
    """Feed and gate a stream with kills and a rebalance, and verify what is in the log.

    Args:
        folder: for set-up and configuration.
        log: a broker.
        events: of the stream.
        kills: deaths, spread over the stream.
        limit: seconds after which it is given up.
    """
    config = prepare(folder, log)
    feeding = Thread(target=feed, args=(log, events))
    gates, began = Gates(folder, Random(3)), time.monotonic()
    with closing(log_of(config)) as opened, closing(gates):
        for name in "ab":
            gates.start(name)
        feeding.start()
        watcher = watch(opened, gates, events, kills, began + limit)
        feeding.join()
        watcher.poll()
        moved = verify(watcher, events)
    return {
        "events": events,
        "kills": gates.kills,
        "sent_on": moved,
        "behind": watcher.behind,
        "seconds": round(time.monotonic() - began, 1),
    }


def prepare(folder: Path, log: LogSettings) -> Config:
    """Write the set-up and the configuration of the gates, and create the topics."""
    changes: Json = {"gate": {"horizon": HORIZON, "batch_size": 512}, "consumers": {"poll_timeout": QUIET}}
    config = changed(**changes).model_copy(update={"log": log})
    save_setup(the_setup(), folder / "root")
    (folder / "config.json").write_text(config.model_dump_json())
    log_of(config).close()
    return config


@dataclass
class Watcher:
    """Reads the log as the gates write it.

    Attributes:
        gated: records of `gated`, without those that end the stream.
        places: event id -> partitions of its records.
        behind: most events that had been sent and were not on their partition.
    """

    log: Log
    gated: list[Json] = field(default_factory=list)
    places: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    behind: int = 0
    _position: int = 0
    _positions: list[int] = field(default_factory=lambda: [0] * PARTITIONS)

    def poll(self) -> None:
        """Read what is new."""
        for record in new_records(self.log, GATED, self._position):
            self._position = record.offset + 1
            if not value_of(record)["event_id"].startswith(LATER):
                self.gated.append(value_of(record))
        for partition, start in enumerate(self._positions):
            for record in self.log.read(INTERACTIONS, partition, start, self.log.end_offset(INTERACTIONS, partition)):
                self._positions[partition] = record.offset + 1
                if not value_of(record)["event_id"].startswith(LATER):
                    self.places[value_of(record)["event_id"]].append(partition)

    def at_home(self, expected: Mapping[str, Json]) -> int:
        """Return the number of events that are on the partition of their user."""
        return sum(partition_of(expected[e]["user_id"], PARTITIONS) in places for e, places in self.places.items())


def watch(log: Log, gates: Gates, events: int, kills: int, deadline: float) -> Watcher:
    """Kill gates as the stream goes on, and end it once every event is on its partition."""
    watcher, expected, ended = Watcher(log), {e["event_id"]: e for e in mixed(events)}, False
    joins = [(0.35, gates.start), (0.7, gates.leave)]
    while len(watcher.gated) < events:
        watcher.poll()
        gates.check()
        home = watcher.at_home(expected)
        watcher.behind = max(watcher.behind, len(watcher.places) - home)
        assert time.monotonic() < deadline, f"{len(watcher.gated)} gated, {home} at home after {gates.kills} kills"
        if joins and home > joins[0][0] * events:
            joins.pop(0)[1]("c")
        if gates.kills < kills and home > (gates.kills + 1) / (kills + 1) * events - 1:
            gates.kill_one()
        if home == events and gates.kills == kills and not ended:
            ended = True
            end_stream(log, 1.6e9 + events + 2 * HORIZON)
        time.sleep(0.1)
    return watcher


def end_stream(log: Log, timestamp: float) -> None:
    """Write events to each partition that are so late that all others are due."""
    with log.producer("end").transaction() as transaction:
        for number in range(20 * PARTITIONS):
            event = {"event_id": f"{LATER}{number}", "user_id": f"late{number}", "item_id": "i", "timestamp": timestamp}
            transaction.send(INTERACTIONS, event, key=event["user_id"], timestamp=timestamp)


def verify(watcher: Watcher, events: int) -> int:
    """Check that nothing is lost or twice, that order is event time, and that each user has one state.

    Returns:
        Number of records that were sent on.
    """
    expected = {str(event["event_id"]): event for event in mixed(events)}
    found = with_users(watcher.log, watcher.gated)
    assert Counter(g["event_id"] for g in found) == Counter(list(expected))
    by_user: dict[str, list[Json]] = defaultdict(list)
    for record in found:
        by_user[record["user_id"]].append(record)
    for user, records in by_user.items():
        assert all(a["timestamp"] < b["timestamp"] for a, b in pairwise(records)), f"{user} is out of order"
        for before, after in pairwise(records):
            window = [*before["window"], before["target"]]
            assert after["window"] == window[-len(after["window"]) :], f"the history of {user} has a gap"
            assert len(after["window"]) >= min(len(window), len(before["window"]))
    return _verify_places(watcher, expected)


def _verify_places(watcher: Watcher, expected: Mapping[str, Json]) -> int:
    """Check that each event is on its home partition once, and that the states of users are there alone."""
    homes = {event_id: partition_of(event["user_id"], PARTITIONS) for event_id, event in expected.items()}
    assert all(places.count(homes[event_id]) == 1 for event_id, places in watcher.places.items())
    assert all(len(places) <= 2 for places in watcher.places.values())
    for partition in range(PARTITIONS):
        states = watcher.log.read(USERS, partition, 0, watcher.log.end_offset(USERS, partition))
        assert all(r.key == SENT_ON or partition_of(r.key, PARTITIONS) == partition for r in states)
    return sum(len(places) == 2 for places in watcher.places.values())


def main() -> None:
    """Run the long form, and print its result."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        broker = Broker(folder / "kafka")
        try:
            log = of_a_broker(url=broker.start(), partitions=PARTITIONS)
            print(json.dumps(run(folder, log, EVENTS, kills=10, limit=600.0)))
        finally:
            broker.stop()


if __name__ == "__main__":
    sys.exit(main())
