"""Delay of each kind of edit with few and with many opened regions, and the monitor's cost of an event.

    python -m benchmarks.edit_delays --regions 1000

Gated events are drawn, and a monitor decides on them after each `STEP`. A stub stands for the trainers: it ends one
edit after the other, in their order, each after as many events as its training would take, and publishes all but the
Expands of opened regions. In both cases four regions have 5% of the events each, one 25%, all the others 15% together,
and six set-up regions 40%. Updates keep the trainer busy for most of the time, so that one is nearly always pending.
After `WARM` events come the causes of all other edits at once:

    update    none: events from one Update to the next of a region
    expand    windows of a set-up region come to lie between it and another one
    refit     the loss of a set-up region rises, and the largest opened region has learned its windows
    add       the same; the Expand before was rejected
    merge     the centroids of two regions come to coincide
    retire    a region has no visits any more

For each: events from the cause until the edit has ended, median over `--seeds`. `observe` and `decide` are the
monitor's processor time an event, in microseconds, the latter with outcomes. `ratios` are those of many regions over
few. Prints one JSON object.
"""

import argparse
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from adapters_store import version_name
from benchmarks.gated_streams import REGIONS, UNUSED, Array, monitor
from pipeline.config import load_config
from pipeline.events.edit import Edit, Evidence, Operation, Outcome
from pipeline.events.gated import GatedEvent
from pipeline.regions.bank import RegionBank
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Origin, Region, Status

WARM, LEAST_AFTER, MOST_AFTER, STEP = 6_400, 6_400, 40_960, 128
"""Events before the causes, events after them at least and at most, and events between two decisions."""

WATCHED = UPDATED, KEPT, MERGED, RETIRED, LARGEST = 7, 8, 9, 10, 11
"""Ids of the opened regions that the causes are about."""

SHARES = {UPDATED: 0.05, KEPT: 0.05, MERGED: 0.05, RETIRED: 0.05, LARGEST: 0.25}
OTHERS = 0.15
"""Share of the events of all other opened regions."""

DOUBTED, DRIFTED = 3, 1
"""Set-up regions whose windows come to lie between regions, and whose loss rises."""

NEEDED = 64
"""New windows that an Update needs."""

SPEED = 2.0
"""Windows that the trainer learns in the time of an event, counted once per pass."""

DIMENSIONS = 64
OVERRIDES = (
    *(f"edits.min_windows={NEEDED}", f"edits.update_windows={NEEDED}", "edits.boundary_windows=48"),
    *("edits.pool_windows=1024", "edits.passes_per_event=20", "edits.add_steps=20", "edits.cool_down=64"),
    *("training.epochs=2", "training.batch_size=64", "monitor.expected_run=1000000", "edits.inject_items=0"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few-regions", type=int, default=6)
    parser.add_argument("--regions", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    few, many = (medians(number, given.seeds) for number in (given.few_regions, given.regions))
    ratios = {name: round(many[name] / few[name], 2) for name in few}
    found = {"few": few, "many": many, "ratios": ratios, "load": [load, os.getloadavg()[0]], "settings": vars(given)}
    print(json.dumps(found, indent=2))


def medians(regions: int, seeds: int) -> dict[str, float]:
    """Medians over so many runs, by kind of edit, and of the processor time."""
    runs = [Run(regions, seed).measured() for seed in range(seeds)]
    return {name: round(median(run[name] for run in runs), 1) for name in runs[0]}


@dataclass(frozen=True)
class Job:
    """A pending edit at the trainer, and the event at which it ends."""

    edit: Edit
    ends_at: float


class Run:
    """One monitor with so many opened regions, and its traffic.

    Args:
        regions: opened ones, `WATCHED` included.
        seed: of monitor and traffic.
    """

    def __init__(self, regions: int, seed: int) -> None:
        self._config = load_config(overrides=[*OVERRIDES, f"edits.max_regions={REGIONS + regions + 16}"])
        self._rng = np.random.default_rng((seed, 7))
        self._monitor = monitor(self._config, seed)
        self._ids = [*WATCHED, *range(LARGEST + 1, LARGEST + 1 + regions - len(WATCHED))]
        self.bank = self._opened()
        self._jobs = deque[Job]()
        self._free_at = 0.0
        self._at = 0
        self._found: dict[str, list[float]] = {}
        self._spent = {"observe": 0.0, "decide": 0.0}

    def measured(self) -> dict[str, float]:
        """Events from each cause to the end of its edit, and microseconds of an event."""
        for event in self._traffic():
            self._show(event)
            if self._at % STEP == 0:
                self._decide()
                if self._at == WARM:
                    self._bring_together()
                if self._at >= WARM + LEAST_AFTER and self._is_complete():
                    break
        ended = {name: found[0] - WARM for name, found in self._found.items() if name != "update"}
        updates = np.diff(self._found["update"])
        spent = {name: 1e6 * seconds / self._at for name, seconds in self._spent.items()}
        return {"update": float(updates.mean()), **dict(sorted(ended.items())), **spent}

    def _is_complete(self) -> bool:
        return self._found.keys() >= {"update", "expand", "refit", "add", "merge", "retire"}

    def _opened(self) -> RegionBank:
        """Open the regions in the monitor's state; each of the others has some of the windows of its next Update."""
        state, rng = self._monitor.state, self._rng
        centroids = _unit(rng.normal(size=(len(self._ids) + REGIONS, DIMENSIONS)))
        base = [replace(r, centroid=c) for r, c in zip(state.bank.setup, centroids, strict=False)]
        opened = [
            Region(i, 1, Status.LIVE, Origin.STREAM, None, c, 0.5, 20.0, 0.001, version_name(i, 1))
            for i, c in zip(self._ids, centroids[REGIONS:], strict=True)
        ]
        bank = RegionBank((*base, *opened), _origins(self._ids))
        for place, region in enumerate(opened):
            state.regions[region.region_id] = region_state = state.new_region_state(region, {})
            region_state.learned_windows = region_state.fitted_windows = NEEDED
            known = NEEDED * (place % NEEDED) // NEEDED
            region_state.fresh.extend(Evidence(f"{region.region_id}-{n}", 0, region.region_id) for n in range(known))
        state.set_bank(bank)
        state.next_region_id = max(self._ids) + 1
        return bank

    def _traffic(self) -> Iterator[GatedEvent]:
        """Draw events; those after `WARM` have the causes."""
        others = self._ids[len(WATCHED) :]
        setup = (1.0 - sum(SHARES.values()) - OTHERS) / REGIONS
        shares = dict.fromkeys(range(1, REGIONS + 1), setup) | SHARES | dict.fromkeys(others, OTHERS / len(others))
        ids, chances = np.array(list(shares)), np.array(list(shares.values()))
        left = np.where(ids == RETIRED, 0.0, chances)
        for start in range(0, WARM + MOST_AFTER, STEP):
            usual = start < WARM
            found = self._rng.choice(ids, STEP, p=chances if usual else left / left.sum())
            scores, losses = self._rng.normal(size=(STEP, 3)), self._rng.gamma(2.0, size=STEP)
            for n, region_id in enumerate(found.tolist()):
                yield _event(start + n, region_id, scores[n], float(losses[n]), usual)

    def _show(self, event: GatedEvent) -> None:
        began = time.process_time()
        self._monitor.observe(event, self._at)
        self._spent["observe"] += time.process_time() - began
        self._at += 1

    def _decide(self) -> None:
        """End the edits whose time has come, and decide on new ones."""
        while self._jobs and self._jobs[0].ends_at <= self._at:
            edit = self._jobs.popleft().edit
            outcome = self._carry_out(edit)
            began = time.process_time()
            self._monitor.apply(outcome, self.bank)
            self._spent["decide"] += time.process_time() - began
            self._note(edit)
        began = time.process_time()
        made: list[Edit] = []
        while edits := self._monitor.decide():
            made += edits
        self._spent["decide"] += time.process_time() - began
        for edit in made:
            self._free_at = max(self._free_at, self._at) + self._cost(edit) / SPEED
            self._jobs.append(Job(edit, self._free_at))

    def _note(self, edit: Edit) -> None:
        """Note the end of an edit that one of the causes has led to."""
        regions = {edit.region_id, edit.other_region_id, *edit.reason.get("regions", ())}
        name = str(edit.operation)
        if edit.operation is Operation.EXPAND and edit.other_region_id is None:
            name = "refit" if DRIFTED in regions and edit.reason["signal"] != "audit" else "other"
        wanted = {"update": UPDATED, "expand": DOUBTED, "add": DRIFTED, "merge": MERGED, "retire": RETIRED}
        is_caused = name == "update" or edit.at_event > WARM
        if is_caused and name != "other" and wanted.get(name, DRIFTED) in regions:
            self._found.setdefault(name, []).append(float(self._at))

    def _cost(self, edit: Edit) -> float:
        """Windows that an edit learns, counted once per pass; one that trains none takes as long as a few windows."""
        trains = edit.operation in (Operation.UPDATE, Operation.ADD)
        return len(edit.windows) * (edit.passes or self._config.training.epochs) if trains else NEEDED / 2

    def _carry_out(self, edit: Edit) -> Outcome:
        is_published = edit.operation is not Operation.EXPAND or edit.other_region_id is not None
        if is_published:
            self.bank = _published(self.bank, edit)
        paid = edit.operation in (Operation.UPDATE, Operation.ADD)
        cost = int(0.9 * self._cost(edit)) if paid else 0
        return Outcome(edit.edit_id, edit.operation, edit.region_id, is_published, "", trained_windows=cost)

    def _bring_together(self) -> None:
        """Move the centroid of one region to that of another, as Updates may."""
        near = self.bank[KEPT].centroid + 0.01 * self.bank[UPDATED].centroid
        self.bank = self.bank.changed(replace(self.bank[MERGED], centroid=near / np.linalg.norm(near)))
        self._monitor.set_bank(self.bank)


def _event(number: int, region_id: int, scores: Array, loss: float, usual: bool) -> GatedEvent:
    """One event of a region; after the causes, with their scores."""
    setup_region = region_id if region_id <= REGIONS else number % REGIONS + 1
    narrow, rises = (not usual and setup_region == region_id == cause for cause in (DOUBTED, DRIFTED))
    return GatedEvent(
        event_id=str(number),
        user_id=f"{region_id}-{number % 997}",
        timestamp=float(number),
        region_id=region_id,
        setup_region=setup_region,
        setup_rival=setup_region % REGIONS + 1,
        setup_margin=-6.0 if narrow else float(scores[1]),
        angle=float(scores[0]),
        loss=loss + 12.0 * rises,
        rarity=float(scores[2]),
        **{**UNUSED, "route": [region_id] if region_id > REGIONS else []},
    )


def _published(bank: RegionBank, edit: Edit) -> RegionBank:
    """Regions after an edit, in the fields that the monitor reads."""
    if edit.operation is Operation.ADD:
        i = edit.region_id
        centroid = _unit(np.random.default_rng(i).normal(size=(1, DIMENSIONS)))[0]
        adapter, opened_at = version_name(i, 1), edit.at_event
        new = Region(i, 1, Status.LIVE, Origin.STREAM, None, centroid, 0.5, 20.0, 0.001, adapter, opened_at)
        return bank.changed(new).rebound(_origins([*bank.origins.origins, i]))
    region = bank[edit.region_id]
    if edit.operation is Operation.UPDATE:
        version = region.version + 1
        return bank.changed(replace(region, version=version, adapter=version_name(region.region_id, version)))
    if edit.operation is Operation.EXPAND:
        return bank.rebound(bank.origins)
    gone = edit.region_id if edit.operation is Operation.RETIRE else edit.other_region_id
    status = Status.RETIRED if edit.operation is Operation.RETIRE else Status.MERGED
    ended = replace(bank[gone or 0], status=status)
    return bank.changed(ended).rebound(_origins([i for i in bank.origins.origins if i != gone]))


def _origins(ids: Sequence[int]) -> OriginModel:
    """Boundaries of these regions, without any features: the monitor reads the ids alone."""
    known = len(ids)
    return OriginModel(tuple(ids), np.zeros((known, 0)), np.zeros(0), np.zeros(0), np.zeros((known + 1, known + 1)))


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
