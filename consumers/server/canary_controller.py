"""Ends canary trials: the verdict on their clicks becomes a record of `regions`, written once by the first server."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict

from adapters_store import AdaptersStore
from consumers.server.feedback import Tally
from consumers.server.rollback import roll_back
from consumers.server.views.region_history import RegionHistory, read_history
from pipeline.events.control import PASS, ControlAct
from pipeline.recommend.ab_test import Trial, Verdict
from pipeline.recommend.canary import Canary
from pipeline.regions.bank import RegionBank
from pipeline.regions.revision import Revision
from pipeline.streams.interface import FencedError, Log, Producer
from pipeline.streams.topics import CONTROL, REGIONS


def current_trial(canary: Canary, tally: Tally) -> Trial:
    """Statistics of a trial, from the clicks that this server has read."""
    return Trial.of(tally.trial(canary), canary.reached)


def end_trial(
    log: Log,
    store: AdaptersStore,
    canary: Canary,
    trial: Trial,
    verdict: Verdict,
    by: str,
    now: float,
    setup: RegionBank | None = None,
) -> None:
    """Write the end of a trial: a new revision and a record of `control`, in one transaction.

    All servers read the same clicks at about the same time, and write as one producer: opening it fences the others,
    and the log is read afterwards. So one of them writes, and the rest find the trial ended or are fenced.

    Args:
        log: opened for this call alone.
        store: must have the incumbent undamaged if it is rolled back to.
        canary: the trial.
        trial: its statistics.
        verdict: the decision.
        by: name of this server.
        now: seconds since 1970.
        setup: see `read_history`.

    Raises:
        StoreError: the incumbent is damaged, or a file of a revision; nothing is written to the log.
    """
    producer = log.producer("canary")
    history, _ = read_history(log, setup, store.arrays)
    if history.canaries.get(canary.region_id) != canary:
        return
    why = {"canary": {"verdict": str(verdict), **asdict(trial)}}
    with suppress(FencedError):
        if verdict is Verdict.WORSE:
            roll_back(log, producer, store, canary.region_id, canary.incumbent, by, now, why, setup)
        else:
            act = ControlAct(PASS, by, canary.region_id, canary.adapter, details=why).to_record()
            _pass(producer, history, canary, act, now)


def _pass(producer: Producer, history: RegionHistory, canary: Canary, act: Mapping[str, object], now: float) -> None:
    """Write that a version answers all users; no region changes, so no pending edit becomes outdated."""
    revision = Revision.of(history.bank, (), moved=False, passed=canary.adapter).to_record()
    with producer.transaction() as transaction:
        for topic, value in ((REGIONS, revision), (CONTROL, act)):
            transaction.send(topic, value, key=str(canary.region_id), timestamp=now)
