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
from itertools import count, pairwise
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
from tests.consumers.gating import changed
from tests.consumers.run_of_raie import the_setup

PARTITIONS, USERS_OF_THE_STREAM = 4, 60
EVENTS = 20_000
"""Events of the long form."""

RATE = 400.0
"""Events that are sent a second; an event a second is their own time."""

HORIZON = 6_000.0
"""Allowed lateness in seconds of event time: 15 seconds of the stream, in which a killed gate is back."""

QUIET = 3.0
"""Seconds of a poll without records after which waiting events are handled: a killed gate is back by then, too."""

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
        """End all gates."""
        for name in list(self._running):
            self.leave(name)
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
        found = watch(opened, gates, events, kills, began + limit)
        feeding.join()
    with closing(log_of(config)) as opened:
        moved = verify(opened, found, events)
    return {"events": events, "kills": gates.kills, "sent_on": moved, "seconds": round(time.monotonic() - began, 1)}


def prepare(folder: Path, log: LogSettings) -> Config:
    """Write the set-up and the configuration of the gates, and create the topics."""
    changes: Json = {"gate": {"horizon": HORIZON}, "consumers": {"poll_timeout": QUIET}}
    config = changed(**changes).model_copy(update={"log": log})
    save_setup(the_setup(), folder / "root")
    (folder / "config.json").write_text(config.model_dump_json())
    log_of(config).close()
    return config


def watch(log: Log, gates: Gates, events: int, kills: int, deadline: float) -> list[Json]:
    """Kill gates as the stream goes on, until all of it is gated; return the records of `gated`."""
    found: list[Json] = []
    third = iter((lambda: gates.start("c"), lambda: gates.leave("c")))
    position, joins = 0, iter((0.35, 0.7, 2.0))
    join = next(joins)
    for _ in count():
        for record in new_records(log, GATED, position):
            position = record.offset + 1
            found.append(value_of(record))
        read = sum(log.end_offset(INTERACTIONS, p) for p in range(PARTITIONS)) / (1.75 * events)
        if len(found) >= events:
            break
        assert time.monotonic() < deadline, f"{len(found)} of {events} gated in time, after {gates.kills} kills"
        gates.check()
        if read > join:
            next(third)()
            join = next(joins)
        if gates.kills < kills and read > (gates.kills + 1) / (kills + 1.5):
            gates.kill_one()
        time.sleep(0.1)
    assert gates.kills == kills
    return found


def verify(log: Log, found: Sequence[Json], events: int) -> int:
    """Check that nothing is lost or twice, that order is event time, and that each user has one state.

    Returns:
        Number of records that were sent on.
    """
    expected = {str(event["event_id"]): event for event in mixed(events)}
    assert Counter(g["event_id"] for g in found) == Counter(expected)
    by_user: dict[str, list[Json]] = defaultdict(list)
    for record in found:
        by_user[record["user_id"]].append(record)
    for user, records in by_user.items():
        assert all(a["timestamp"] < b["timestamp"] for a, b in pairwise(records)), f"{user} is out of order"
        for before, after in pairwise(records):
            window = [*before["window"], before["target"]]
            assert after["window"] == window[-len(after["window"]) :], f"the history of {user} has a gap"
            assert len(after["window"]) >= min(len(window), len(before["window"]))
    return _verify_places(log, expected)


def _verify_places(log: Log, expected: Mapping[str, Json]) -> int:
    """Check that each event is on its home partition once, and the states of users as well."""
    at_home: Counter[str] = Counter()
    elsewhere: Counter[str] = Counter()
    for partition in range(PARTITIONS):
        values = [value_of(r) for r in log.read(INTERACTIONS, partition, 0, log.end_offset(INTERACTIONS, partition))]
        for value in values:
            places = at_home if partition_of(value["user_id"], PARTITIONS) == partition else elsewhere
            places[value["event_id"]] += 1
        states = log.read(USERS, partition, 0, log.end_offset(USERS, partition))
        assert all(r.key == SENT_ON or partition_of(r.key, PARTITIONS) == partition for r in states)
    assert at_home == Counter(dict.fromkeys(expected, 1))
    assert set(elsewhere.values()) == {1}
    return elsewhere.total()


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
