"""Acts of administrators are in `control`, with the token that allowed them; records of before are read."""

from pathlib import Path

import pytest

from pipeline.config import LogSettings
from pipeline.events.control import ControlAct
from pipeline.streams.topics import CONTROL, INTERACTIONS
from tests.consumers.gating import read
from tests.ingest.running import ingesting
from tests.replay.small import raie
from tests.tokens import access_of

TOKEN = "a token of some length"
ERASURE = {"erase": True, "user_id": "ann"}
EVENT = {"user": "ann", "item": "i1", "ts": 1.7e9}


def test_an_erasure_needs_the_role_admin(tmp_path: Path) -> None:
    log = LogSettings(url=f"sqlite:///{tmp_path}/log.sqlite", partitions=1)
    with ingesting(log, access_of(TOKEN, "ingest")) as running:
        status, answer = running.post("/events", [EVENT, ERASURE], TOKEN)
        assert (status, answer["accepted"], answer["refused"][0]["reason"]) == (202, 1, "not_allowed")
        assert [record.value for record in read(running.log, INTERACTIONS)] == [EVENT]
        assert read(running.log, CONTROL) == []


def test_an_erasure_is_recorded_with_the_token_and_without_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = LogSettings(url=f"sqlite:///{tmp_path}/log.sqlite", partitions=1)
    with ingesting(log, access_of(TOKEN, "ingest", "admin")) as running:
        assert running.post("/events", [ERASURE, EVENT, {**ERASURE, "user_id": "bob"}], TOKEN)[0] == 202
        (record,) = read(running.log, CONTROL)
        assert record.value == {"act": "erase", "by": "ingest test", "token": "test", "users": 2}
        assert record.timestamp > 1.7e9
        with running.log.producer("old").transaction() as transaction:
            old = {"act": "rollback", "by": "eve", "region_id": 4, "from": "r0004_v0002", "to": "r0004_v0001"}
            transaction.send(CONTROL, old, key="4", timestamp=1.6e9)
            transaction.send(CONTROL, {"act": "pin", "region_id": "x"}, key="4", timestamp=1.6e9)
            transaction.send(CONTROL, {"kind": "settled", "gated": 4}, key="settled", timestamp=1.6e9)
    shown = raie(capsys, "acts", "--set", f"log.url={log.url}", "--set", "log.partitions=1").out.splitlines()
    assert len(shown) == 2
    assert "erase     by ingest test, token test: users 2" in shown[0]
    assert shown[1] == (
        "2020-09-13 12:26:40+00:00  rollback  by eve, without a token: region 4, from r0004_v0002, to r0004_v0001"
    )


def test_an_act_is_read_as_it_was_written() -> None:
    for act in (ControlAct("pin", "ann", 4, "r0004_v0001", "ops"), ControlAct("erase", "x", token="ops")):
        assert ControlAct.from_record(act.to_record()) == act
    assert "token" not in ControlAct("reload", "ann").to_record()
