"""Ending trials: what their clicks say becomes a record of `regions`, once, whichever server is first."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict

from adapters_store import AdaptersStore
from consumers.runtime.topic_reader import new_records
from consumers.server.feedback import Tally
from consumers.server.rollback import control_record, roll_back
from consumers.server.views.region_history import Logged
from pipeline.recommend.ab_test import Trial, Verdict
from pipeline.recommend.canary import Canary
from pipeline.regions.revision import Revision
from pipeline.streams.interface import FencedError, Log, Producer
from pipeline.streams.topics import CONTROL, REGIONS


def standing(canary: Canary, tally: Tally) -> Trial:
    """How a trial stands, by the clicks that are known here."""
    return Trial.of(tally.trial(canary), canary.reached)


def settle(log: Log, store: AdaptersStore, canary: Canary, trial: Trial, verdict: Verdict, by: str, now: float) -> None:
    """Write down what a trial has come to: a new revision and a record of `control`, in one transaction.

    Servers see the same clicks at the same time. All write as one producer: who opens it fences the others, and then
    reads what they wrote. So of several one writes, and the rest find the trial ended or are fenced.

    Args:
        log: opened for this alone.
        store: must have the incumbent, whole, where it is rolled back to.
        canary: what is on trial.
        trial: what it has come to.
        verdict: what that says.
        by: which server says so.
        now: seconds since 1970.

    Raises:
        AdapterRefused: the incumbent is not what it should be; nothing is written.
    """
    producer = log.producer("canary")
    logged = Logged.of(new_records(log, REGIONS, 0))
    if logged.canaries.get(canary.region_id) != canary:
        return
    why = {"canary": {"verdict": str(verdict), **asdict(trial)}}
    with suppress(FencedError):
        if verdict is Verdict.WORSE:
            roll_back(log, producer, store, canary.region_id, canary.incumbent, by, now, why)
        else:
            act = control_record("pass", by, region_id=canary.region_id, adapter=canary.adapter, **why)
            _let_pass(producer, logged, canary, act, now)


def _let_pass(producer: Producer, logged: Logged, canary: Canary, act: Mapping[str, object], now: float) -> None:
    """Write that a version is everybody's: no region changes, so no edit under way is overtaken."""
    revision = Revision.of(logged.bank, (), moved=False, passed=canary.adapter).to_record()
    with producer.transaction() as transaction:
        for topic, value in ((REGIONS, revision), (CONTROL, act)):
            transaction.send(topic, value, key=str(canary.region_id), timestamp=now)
