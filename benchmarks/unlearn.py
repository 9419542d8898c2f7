"""Time of unlearning users beside one retraining, and what adapters show of the users' windows before and after.

    python -m benchmarks.unlearn --events 12000 --users 20

Simulates a log, replays it, and unlearns random users, each from the ledger of the replay. Prints one JSON object:

    edits, versions      published edits of the replay, and adapter versions
    users                that were unlearned, and those of them that adapters had learned from
    seconds              median and longest of the unlearnings; one retraining of the backbone on set-up and stream
    ratios               the same over that retraining
    trained              windows trained on in an unlearning, counting each pass, median; in all edits of the replay
    gain                 membership: loss of the backbone minus that of the adapter in force, in nats, mean over users,
                         on windows that adapters were trained on: `own` are of the user, `others` of all others.
                         `before` and `after` the unlearning, and the standard error over users of the difference
    auc                  share of pairs of an own and another window in which the own has the higher gain, before and
                         after: 0.5 where the adapter does not tell them apart
"""

import argparse
import copy
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from adapters_store import AdaptersStore
from benchmarks.inject import context_of, retraining
from consumers.runtime.malformed import unreported
from consumers.runtime.revisions import RevisionFollower
from consumers.trainer.job import JobRunner
from pipeline.arrays import Array
from pipeline.config import Config, load_config
from pipeline.datasets.simulator import simulate, write
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import ERASURE, Edit, Evidence, Operation, Outcome, held_out
from pipeline.events.gated import read_events
from pipeline.events.unlearning import unlearning_request
from pipeline.events.windows import Windows
from pipeline.models.lora.host import AdapterHost
from pipeline.models.seeding import make_deterministic
from pipeline.regions.bank import RegionBank
from pipeline.regions.mixing import next_item_probabilities
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.raie.replayed import Raie
from pipeline.streams import SqliteLog
from pipeline.streams.topics import GATED, ITEMS, REGIONS

Ledgered = Sequence[tuple[Edit, Outcome]]

MOST_WINDOWS = 2_000
"""Windows of others that gains are measured on, about."""

BATCH = 512
"""Windows scored together."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=12_000)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--scenario", default="emerging")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="setting, as for `raie`")
    given = parser.parse_args(arguments)
    make_deterministic()
    config = load_config(overrides=("items.text_encoder=hashing", "replay.retrain_every=1", *given.settings))
    with TemporaryDirectory() as folder:
        write(simulate(given.scenario, 0, given.events), Path(folder) / "data")
        print(json.dumps(measured(Path(folder), given.users, config), indent=2))


def measured(folder: Path, users: int, config: Config) -> dict[str, Any]:
    """Return times and gains of the unlearnings of random users."""
    context, plan = context_of(folder, config)
    raie = Raie(replace(context, setup=_fresh(context.setup)))
    raie.observe(plan.stream)
    raie.close()
    ledger = [(edit, outcome) for edit, outcome in raie.ledger if outcome.published]
    one = retraining(replace(context, setup=_fresh(context.setup)), plan)
    chosen = np.random.default_rng(0).permutation(sorted(set(_users(folder).values())))[:users].tolist()
    runs = [_unlearned(folder, user, context, ledger) for user in chosen]
    seconds = [run["seconds"] for run in runs]
    found = [run for run in runs if run["own"]]
    return {
        "edits": len(ledger),
        "versions": sum(outcome.version is not None for _, outcome in ledger),
        "users": {"unlearned": len(runs), "learned": len(found)},
        "seconds": {"median": float(np.median(seconds)), "longest": max(seconds), "retraining": one},
        "ratios": {"median": float(np.median(seconds)) / one, "longest": max(seconds) / one},
        "trained": {
            "median": float(np.median([run["trained"] for run in runs])),
            "replay": sum(outcome.trained_windows for _, outcome in ledger),
        },
        "gain": {whose: _change([run[whose] for run in found]) for whose in ("own", "others")},
        "auc": {when: float(np.mean([run["auc"][i] for run in found])) for i, when in enumerate(("before", "after"))},
    }


def _users(folder: Path) -> Mapping[int, str]:
    """Offset in `gated` -> user."""
    with closing(SqliteLog(folder / "state" / "log.sqlite")) as log:
        return {record.offset: str(record.key) for record in log.read(GATED, 0, 0, log.end_offset(GATED, 0))}


def _unlearned(folder: Path, user: str, context: StrategyContext, ledger: Ledgered) -> dict[str, Any]:
    """Unlearn a user on a copy of the replay's log and store."""
    with TemporaryDirectory() as copied:
        shutil.copytree(folder / "state", copied, dirs_exist_ok=True)
        with closing(SqliteLog(Path(copied) / "log.sqlite")) as log:
            store, edit = AdaptersStore(Path(copied) / "adapters"), _request(log, user, context)
            gains = _Gains(context, log, store, _learned(context.config, ledger), _users(folder), user)
            before = gains.bank(log, store)
            first = gains.of(before)
            runner = JobRunner(_fresh(context.setup), context.config, log, store)
            began = time.perf_counter()
            outcome, revision = runner.apply(edit, log.end_offset(REGIONS, 0))
            seconds = time.perf_counter() - began
            assert revision is not None
            pairs = (first, gains.of(revision.after(before)))
    is_measured = all(len(own) and len(others) for own, others in pairs)
    return {
        "seconds": seconds,
        "trained": outcome.trained_windows,
        "own": [float(own.mean()) for own, _ in pairs] if is_measured else None,
        "others": [float(others.mean()) for _, others in pairs] if is_measured else None,
        "auc": [_auc(*pair) for pair in pairs] if is_measured else None,
    }


def _request(log: SqliteLog, user: str, context: StrategyContext) -> Edit:
    """Write what a live log has beside a replay's, and a request; return the edit that answers it."""
    with log.producer("gate").transaction() as transaction:
        for item in context.items.values():
            transaction.send(ITEMS, item.to_record(), key=item.item_id, timestamp=0.0)
        transaction.send(GATED, unlearning_request(), key=user, timestamp=0.0)
    reason = {"signal": ERASURE, "requests": [transaction.offsets[-1][2]]}
    return Edit("u" * 24, Operation.UNLEARN, 0, None, 0, 0, reason, (), (), 0, 0.0, 0)


def _learned(config: Config, ledger: Ledgered) -> list[Evidence]:
    """Windows that adapters were trained on, each once."""
    found: dict[int, Evidence] = {}
    for edit, _ in ledger:
        if edit.operation in (Operation.ADD, Operation.UPDATE):
            judged = held_out(edit.reason, len(edit.windows), config.edits)
            found |= {e.offset: e for e, unseen in zip(edit.windows, judged, strict=True) if not unseen}
    return [found[offset] for offset in sorted(found)]


class _Gains:
    """Gains of the adapters in force on windows of a user, and on those of others.

    Args:
        context: set-up and configuration.
        log: has the windows.
        store: has the versions.
        learned: windows that adapters were trained on.
        users: offset in `gated` -> user.
        user: whose windows are told from those of others.
    """

    def __init__(
        self,
        context: StrategyContext,
        log: SqliteLog,
        store: AdaptersStore,
        learned: Sequence[Evidence],
        users: Mapping[int, str],
        user: str,
    ) -> None:
        setup, config = _fresh(context.setup), context.config
        events_of = partial(read_events, log, setup_items=setup.catalogue.item_ids)
        host, encoder = AdapterHost(setup.backbone, config.adapter), context.encoder
        self._workspace = Workspace(setup, host, store, encoder, context.items.get, events_of, config.windows.length)
        self._setup = setup
        own = [e for e in learned if users[e.offset] == user]
        others = [e for e in learned if users[e.offset] != user]
        self._evidence = (tuple(own), tuple(others[:: max(1, len(others) // MOST_WINDOWS)]))

    def bank(self, log: SqliteLog, store: AdaptersStore) -> RegionBank:
        """Regions in force."""
        bank = self._setup.bank
        for _, revision in RevisionFollower(bank, store.arrays, unreported).poll(log):
            bank = revision.after(bank)
        return bank

    def of(self, bank: RegionBank) -> tuple[Array, Array]:
        """Gains on own windows and on those of others, mean over the adapters in force."""
        own, others = self._evidence
        every = Edit("m" * 24, Operation.UPDATE, 0, None, 0, 0, {}, (*own, *others), (), 0, 0.0, 0)
        self._workspace.prepare(every, bank)
        return self._gain(own, bank), self._gain(others, bank)

    def _gain(self, evidence: Sequence[Evidence], bank: RegionBank) -> Array:
        """(n,) losses of the backbone minus those of the adapter: the mean over the adapters in force."""
        windows, names = self._workspace.windows_of(evidence), [name for name in bank.adapters if name]
        if not len(windows) or not names:
            return np.zeros(0)
        losses = {name: self._losses(windows, name) for name in (None, *names)}
        gains: Array = np.mean([losses[None] - losses[name] for name in names], axis=0)
        return gains

    def _losses(self, windows: Windows, name: str | None) -> Array:
        host, existence = self._workspace.host, self._workspace.existence
        found = []
        for start in range(0, len(windows), BATCH):
            batch = windows[slice(start, start + BATCH)]
            probabilities = next_item_probabilities(host, batch.contexts, name, existence).cpu().numpy()
            found.append(-np.log(np.maximum(probabilities[np.arange(len(batch)), batch.targets], 1e-12)))
        return np.concatenate(found).astype(np.float64)


def _fresh(setup: SetUp) -> SetUp:
    """A set-up with a backbone of its own: whoever gets it wraps that."""
    return replace(setup, backbone=copy.deepcopy(setup.backbone))


def _auc(own: Array, others: Array) -> float:
    """Share of pairs in which the own value is higher; ties count half."""
    ordered = np.sort(others)
    below, upto = (np.searchsorted(ordered, own, side) for side in ("left", "right"))
    return float((below + upto).mean() / (2 * len(others)))


def _change(pairs: Sequence[Sequence[float]]) -> dict[str, float]:
    """Means before and after, and the standard error of the mean difference."""
    before, after = np.array(pairs).T
    error = float((after - before).std(ddof=1) / np.sqrt(len(pairs))) if len(pairs) > 1 else float("nan")
    return {"before": float(before.mean()), "after": float(after.mean()), "error": error}


if __name__ == "__main__":
    main()
