"""`raie ingest` as a process, alone and under `raie up`."""

import json
import os
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from consumers.http.tokens import sha256_of
from tests.replay.small import raie

ROOT = Path(__file__).parents[2]


def command(folder: Path, *more: str) -> list[str]:
    settings = (f"log.url=sqlite:///{folder}/log.sqlite", "log.partitions=1", "ingest.port=0")
    return [*more, *(word for setting in settings for word in ("--set", setting))]


def test_it_takes_events_until_it_is_stopped(tmp_path: Path) -> None:
    tokens = json.dumps({"shop": {"roles": ["ingest"], "sha256": sha256_of("secret")}})
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAIE__ACCESS__TOKENS": tokens}
    run = [sys.executable, "-m", "consumers.cli.main", *command(tmp_path, "ingest")]
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            found = re.match(r"http://127\.0\.0\.1:(\d+); every call needs one of 1 tokens$", process.stderr.readline())
            assert found
            connection = HTTPConnection("127.0.0.1", int(found[1]), timeout=20)
            body = json.dumps([{"user": "ann", "item": "i1", "ts": 1.7e9}])
            headers = {"Content-Type": "application/json", "Authorization": "Bearer secret"}
            connection.request("POST", "/events", body, headers)
            assert connection.getresponse().status == 202
            connection.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) in (0, -signal.SIGTERM)
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_lockstep_takes_no_other_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = raie(capsys, *command(tmp_path, "ingest"), "--set", "consumers.lockstep=true")
    assert ended.code == 2 and "consumers.lockstep is on" in ended.err
    assert not (tmp_path / "log.sqlite").exists()


def test_up_runs_it_where_it_is_asked_to(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    up = command(tmp_path, "up", "--ingest", "--root", str(tmp_path / "root"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "consumers.cli.main", *up], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            assert any(re.match(r"http://127\.0\.0\.1:\d+ ", line) for line in lines)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
