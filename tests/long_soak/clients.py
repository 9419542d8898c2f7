"""Clients of a running pipeline that know nothing of it but HTTP: one sends events and items, one asks for lists."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from random import Random
from threading import Event
from typing import Any

from consumers.producer.feed import Feed

BATCHES = 5
"""Batches of events a second."""

PATIENCE = 30.0
"""Seconds after which an answer that did not come has failed."""


def call(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Send one request to this machine; return status and the decoded answer.

    Raises:
        OSError, HTTPException: there was no whole answer.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        raw = answer.read()
        return answer.status, json.loads(raw) if raw else None
    finally:
        connection.close()


@dataclass
class Sender:
    """Sends the events of a feed at a rate, each after its items; a batch that was not taken is sent again, as it is.

    Attributes:
        port: of the ingest service.
        feed: has the events.
        rate: events per second.
        stop: ends it before the feed ends.
        sent: monotonic time at which each event was durable in the log, by its id.
        users: user of each event, by its id.
        again: number of times that a batch was sent again.
        refused: records that were refused; there should be none.
    """

    port: int
    feed: Feed
    rate: float
    stop: Event = field(default_factory=Event)
    sent: dict[str, float] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    again: int = 0
    refused: list[object] = field(default_factory=list)

    def run(self) -> None:
        """Send until the end of the feed, or the stop."""
        began = time.monotonic()
        for batch in self._batches():
            pause = began + batch.start / self.rate - time.monotonic()
            if self.stop.wait(max(0.0, pause)):
                return
            items = [item.to_record() for number in batch for item in self.feed.arrivals.get(number, ())]
            if items:
                self._send("/items", items)
            events = [record_of(event) for event in self.feed.stream[batch.start : batch.stop]]
            self._send("/events", events)
            now = time.monotonic()
            for event in events:
                self.sent[event["event_id"]], self.users[event["event_id"]] = now, event["user_id"]

    def _batches(self) -> Iterator[range]:
        size, total = max(1, round(self.rate / BATCHES)), len(self.feed.stream)
        return (range(start, min(start + size, total)) for start in range(0, total, size))

    def _send(self, path: str, records: Sequence[Mapping[str, Any]]) -> None:
        while not self.stop.is_set():
            try:
                status, answer = call(self.port, "POST", path, records)
            except (OSError, HTTPException):
                status, answer = 503, None
            if status == 202:
                self.refused += answer["refused"]
                return
            assert status in (429, 503), (status, answer)
            self.again += 1
            self.stop.wait(0.2)


def record_of(event: Any) -> dict[str, Any]:
    """An event of a feed as a program of a shop would send it."""
    names = ("event_id", "user_id", "item_id", "timestamp")
    return {name: getattr(event, name) for name in names}


@dataclass
class Asker:
    """Asks for lists of users at a rate, and keeps what became of each request.

    Attributes:
        port: of the server.
        users: whose lists are asked for.
        rate: requests per second.
        stop: ends it.
        seconds: of each request that was answered.
        failed: status or error of each one that was not.
    """

    port: int
    users: Sequence[str]
    rate: float
    stop: Event
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Ask until the stop."""
        rng, began, asked = Random(0), time.monotonic(), 0
        while not self.stop.wait(max(0.0, began + asked / self.rate - time.monotonic())):
            asked += 1
            start = time.monotonic()
            try:
                status, answer = call(self.port, "POST", "/recommend", {"user_id": rng.choice(self.users), "k": 10})
            except (OSError, HTTPException) as error:
                self.failed.append(repr(error))
                continue
            if status == 200 and len(answer["items"]) == 10:
                self.seconds.append(time.monotonic() - start)
            else:
                self.failed.append(f"{status}: {answer}")
