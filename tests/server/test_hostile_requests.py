"""Requests that no client should send: every one has an answer, short and without what it sent."""

import json
import logging
import socket
import struct
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection

import pytest

from tests.server.world import PATIENCE, TOKEN, Server, World, eventually

SECRET = "private-words"
HEADERS = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\n"
HALF = '"\\ud83d"'


def posted(server: Server, path: str, body: bytes | Iterable[bytes], token: str | None = TOKEN) -> tuple[int, bytes]:
    """Return status and body of an answer; pieces of a body are sent chunked."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        connection.request("POST", path, body, headers, encode_chunked=not isinstance(body, bytes))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.fixture
def half_sent(server: Server) -> Iterator[socket.socket]:
    """A connection that has announced a body of 100 bytes and sent one."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        head = f"POST /recommend HTTP/1.1\r\n{HEADERS}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
        connection.sendall(head.encode())
        yield connection


@pytest.mark.parametrize(
    "body",
    [
        f'{{"user_id": {HALF}, "k": 2}}',
        f'{{"history": [{HALF}]}}',
        f'{{"user_id": "a0", "exclude": [{HALF}]}}',
        f'{{"user_id": "a0", {HALF}: 1}}',
        f"{HALF}",
        '{"user_id": "a0", "k": NaN}',
        '{"user_id": "a0", "revision": -Infinity}',
        '{"user_id": "a0", "k": 1e999}',
        '{"user_id": NaN}',
        '{"user_id": "a0", "k": ' + "9" * 5000 + "}",
        '{"user_id": "a0", "history": ' + "[" * 20_000 + "]" * 20_000 + "}",
        '{"user_id": "' + "i" * 257 + '"}',
        '{"user_id": "a\\u0000"}',
        '{"user_id": ""}',
        '{"user_id": true}',
        '{"user_id": 7.5}',
        '{"user_id": ["a0"]}',
        '{"user_id": "a0"',
        "null",
        "",
    ],
)
def test_a_body_that_no_record_could_store_is_refused(server: Server, body: str) -> None:
    status, answer = posted(server, "/recommend", body.encode())
    assert (status, set(json.loads(answer))) == (422, {"detail"})
    assert len(answer) < 2000


@pytest.mark.parametrize("raw", [b'{"user_id": "\xed\xa0\xbd"}', b'{"user_id": "\xff"}'])
def test_bytes_that_are_not_utf8_are_refused(server: Server, raw: bytes) -> None:
    assert posted(server, "/recommend", raw)[0] == 422


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/feedback", f'[{{"request_id": {HALF}, "kind": "click", "item_ids": []}}]'),
        ("/feedback", f'[{{"request_id": "x", "kind": "click", "item_ids": [{HALF}]}}]'),
        ("/feedback", '[{"request_id": "x", "kind": "click", "item_ids": [NaN]}]'),
        ("/admin/rollback", f'{{"region_id": 4, "by": {HALF}}}'),
        ("/admin/rollback", '{"region_id": Infinity, "by": "ann"}'),
        ("/admin/pin", f'{{"region_id": 4, "adapter": null, "by": {HALF}}}'),
        ("/admin/reload", f'{{"by": {HALF}}}'),
    ],
)
def test_the_other_calls_refuse_it_too(server: Server, path: str, body: str) -> None:
    assert posted(server, path, body.encode(), TOKEN)[0] == 422


def test_ids_are_text_or_whole_numbers_as_in_events(world: World, server: Server) -> None:
    world.user("7", [1, 2, 3])
    assert server.recommend(user_id=7)["items"][0]["title"]
    first = server.recommend(user_id="a0", k=1)["items"][0]["item_id"]
    history = server.recommend(history=[first])
    assert server.recommend(history=[f" {first} "])["items"] == history["items"]
    if first.isdecimal():
        assert server.recommend(history=[int(first)])["items"] == history["items"]


def test_a_refusal_does_not_repeat_the_request(server: Server) -> None:
    feedback = [{"request_id": SECRET, "kind": "click", "item_ids": []}]
    for path, body in (
        ("/recommend", {"user_id": [SECRET]}),
        ("/recommend", {"user_id": SECRET, "history": [SECRET]}),
        ("/recommend", {"history": [[SECRET]] * 500}),
        ("/recommend", {"history": [SECRET] * 5000}),
        ("/recommend", {"user_id": SECRET * 50}),
        ("/feedback", feedback),
        ("/feedback", [{**feedback[0], "kind": SECRET}]),
    ):
        status, answer = posted(server, path, json.dumps(body).encode())
        assert status == 422
        assert SECRET.encode() not in answer
        assert len(answer) < 1000


def test_a_refusal_is_short_whatever_is_wrong(server: Server) -> None:
    for body in ({"k" * 100_000: 1}, {f"field{i}": i for i in range(20_000)}, {"history": [[]] * 200_000}):
        status, answer = posted(server, "/recommend", json.dumps(body).encode())
        assert status == 422
        assert len(answer) < 3000


def test_a_body_beyond_the_limit_is_refused_by_its_announced_length(server: Server) -> None:
    body = b'{"user_id": "' + b"a" * 10_000_000 + b'"}'
    status, answer = posted(server, "/recommend", body)
    assert status == 413
    assert "server.max_body" in json.loads(answer)["detail"]
    assert len(answer) < 200


def test_nothing_of_it_has_to_arrive(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(f"POST /feedback HTTP/1.1\r\n{HEADERS}Content-Length: 99999999\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_body_without_a_length_is_refused_where_it_passes_the_limit(server: Server) -> None:
    status, answer = posted(server, "/recommend", [b" " * 100_000] * 11)
    assert status == 413
    assert "server.max_body" in json.loads(answer)["detail"]


def test_a_body_of_the_limit_is_read(server: Server) -> None:
    body = b'{"user_id": "a0"}'.ljust(1_000_000)
    assert posted(server, "/recommend", body)[0] == 200
    assert posted(server, "/recommend", body + b" ")[0] == 413
    assert posted(server, "/recommend", [body[:500_000], body[500_000:]])[0] == 200


def test_a_slow_body_holds_up_nobody_else(server: Server, half_sent: socket.socket) -> None:
    assert server.ask("GET", "/healthz")[0] == 200
    assert server.recommend(user_id="a0")["items"]
    rest = b'"user_id": "a0"}'
    half_sent.sendall(rest.ljust(99))
    assert half_sent.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(server: Server, half_sent: socket.socket) -> None:
    half_sent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    half_sent.close()
    assert server.recommend(user_id="a0")["items"]


def test_feedback_too_large_for_a_record_is_refused(server: Server) -> None:
    request_id = server.recommend(user_id="a0")["request_id"]
    items = ["é" * 256] * 1000
    body = json.dumps([{"request_id": request_id, "kind": "click", "item_ids": items}], ensure_ascii=False).encode()
    status, answer = posted(server, "/feedback", body)
    assert status == 422
    assert "nothing was written" in json.loads(answer)["detail"]
    assert server.ask("POST", "/feedback", [{"request_id": request_id, "kind": "click", "item_ids": []}])[0] == 202


class Kept(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_an_unexpected_error_is_said_in_short_and_logged_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(server.service.edits, "newest", fails)
    kept, logger = Kept(), logging.getLogger("uvicorn.error")
    logger.addHandler(kept)
    try:
        status, answer = server.ask("GET", "/edits")
        eventually(lambda: bool(kept.records))
        # The log is written after the answer; a second record would stand before that of the next error.
        server.ask("GET", "/edits")
        eventually(lambda: len(kept.records) > 1)
    finally:
        logger.removeHandler(kept)
    assert (status, set(answer)) == (500, {"detail"})
    assert SECRET not in answer["detail"]
    assert len(kept.records) == 2
    assert all(record.exc_info is not None for record in kept.records)
    assert server.ask("GET", "/healthz")[0] == 200
