"""State of the monitor: regions, pending edits, budget, and counts that rules read."""

import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import is_not
from typing import NamedTuple

import numpy as np

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.drift import DriftDetector, build_detector
from pipeline.drift.subsampling import phases, stride
from pipeline.events.edit import Edit, Operation
from pipeline.monitor import signals
from pipeline.monitor.near_pairs import NearPairs
from pipeline.monitor.new_items import NewItems
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.signals import Overlap, Signal
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Origin, Region
from pipeline.setup.calibration import Calibration


@dataclass(frozen=True, slots=True)
class Move:
    """A user whose next window of a phase lies in another set-up region than the one before."""

    at_event: int
    origin: int
    target: int
    user: str


@dataclass(slots=True)
class LastShown:
    """Number of a user's windows so far, and the set-up region of the last one shown in each phase."""

    windows: int
    setup_regions: list[int | None]


class Visit(NamedTuple):
    """Region in which an event is counted, and its likeliest set-up region."""

    region_id: int
    setup_region: int


class EventTally(NamedTuple):
    """Scores of one event.

    Attributes:
        confidence, margin: highest posterior, and its lead over the second.
        novelty: p-value of the angle.
        recall, popularity_recall: 1 where the target is in the list of the answer, and of decayed popularity.
    """

    confidence: float
    margin: float
    novelty: float
    # Snapshots of schema 1 end here.
    recall: float = 0.0
    popularity_recall: float = 0.0


class State:
    """State of a monitor: its inputs, and what it has learned from the stream. Rules read it.

    Args:
        config: sections `monitor`, `edits`, `gate`, `training`, `windows`.
        bank: set-up regions.
        calibration: their scores on held-out set-up windows.
        seed: of everything random, and of the edits' trainings.
        setup_items: ids of the items of set-up.

    Attributes:
        config, seed: as given.
        stride: windows of a user from one that a detector is shown to the next.
        phases: of moves; see `pipeline.drift.subsampling`.
        angles: sorted angles of held-out set-up windows to the centroid of their region, radians, by region id.
        setup_scores: (n, compared signals) scores of the same windows, by region id.
        bank: the present regions.
        at_event: number of stream events so far.
        timestamp: latest event time so far, seconds.
        warm_events: number of stream events with a non-empty window.
        trained_windows: passes over windows that the edits have cost so far.
        next_region_id: id of the next new region; none is issued twice.
        regions: states of live regions by id.
        ended: states of regions that ended since the last statistics, by id.
        pending: edits without an outcome, by id.
        requests: offsets in `gated` of requests to unlearn a user that no edit has answered.
        unlearnings: number of Unlearns so far.
        boundary_waits: True if a boundary edit was due at the last decision and had to wait for another edit.
        users: by id.
        moves: the newest.
        visits: the newest.
        tally: events since the last statistics, by region id.
        new_items: items that set-up lacks.
    """

    def __init__(
        self, config: Config, bank: RegionBank, calibration: Calibration, seed: int, setup_items: Collection[str]
    ) -> None:
        self.config = config
        self.seed = seed
        self.stride = stride(config)
        self.phases = phases(self.stride)
        self.bank = bank
        self.at_event = 0
        self.timestamp = 0.0
        self.warm_events = 0
        self.trained_windows = 0
        self.next_region_id = max(r.region_id for r in bank.regions) + 1
        self.regions: dict[int, RegionState] = {}
        self.ended: dict[int, RegionState] = {}
        self.pending: dict[str, Edit] = {}
        self.requests: list[int] = []
        self.unlearnings = 0
        self.boundary_waits = False
        self.users: dict[str, LastShown] = {}
        self.moves: deque[Move] = deque(maxlen=config.edits.pool_windows)
        self.visits: deque[Visit] = deque(maxlen=config.monitor.visits_window)
        self.tally: dict[int, list[EventTally]] = {}
        self.new_items = NewItems(setup_items, config.edits)
        self._near = NearPairs(config.edits.merge_angle)
        self._by_origin: dict[Origin, list[RegionState]] = {}
        self._grouped: list[RegionState] = []
        self.angles: dict[int, list[float]] = {}
        self.setup_scores: dict[int, Array] = {}
        self._calibrate(calibration)

    def _calibrate(self, calibration: Calibration) -> None:
        """Make the states of the set-up regions, with their scores on held-out set-up windows as reference."""
        for region in self.bank.setup:
            region_id, reference = region.region_id, self._reference(calibration, region.region_id)
            compared = [reference[signal.name][0] for signal in signals.SIGNALS if signal.compared]
            self.angles[region_id] = sorted(calibration.angles[calibration.regions == region_id].tolist())
            self.setup_scores[region_id] = np.column_stack(compared)
            self.regions[region_id] = self.new_region_state(region, reference)

    def new_region_state(self, region: Region, reference: Mapping[str, Sequence[Array]]) -> RegionState:
        """Make the state of a region without any window; the caller adds it to `regions`.

        Args:
            region: of the state.
            reference: values from before the stream by signal, one array a phase; signals may be missing.
        """
        size = self.config.edits.pool_windows
        return RegionState(
            region,
            self._detectors(region, reference),
            observations=deque(maxlen=size),
            moves=[deque(maxlen=64) for _ in self.phases],
            sample=deque(maxlen=size),
            fresh=deque(maxlen=size),
        )

    def set_bank(self, bank: RegionBank) -> None:
        """Replace the regions; states of regions that are not live any more go to `ended`."""
        self.bank = bank
        for region in bank.live:
            if region.region_id in self.regions:
                self.regions[region.region_id].region = region
        for region_id in set(self.regions) - {r.region_id for r in bank.live}:
            self.ended[region_id] = self.regions.pop(region_id)

    def of_origin(self, origin: Origin) -> Sequence[RegionState]:
        """States of live regions of this origin, by id."""
        states = list(self.regions.values())
        # Regions come and go at edits, and rules ask for them at each decision.
        if len(states) != len(self._grouped) or any(map(is_not, states, self._grouped)):
            self._grouped = states
            ordered = [w for _, w in sorted(self.regions.items())]
            self._by_origin = {each: [w for w in ordered if w.region.origin is each] for each in Origin}
        return self._by_origin.get(origin, ())

    def near_pairs(self) -> Sequence[tuple[int, int]]:
        """Ids of pairs of regions whose centroids are about as near as Merge wants; see `NearPairs`."""
        return self._near.of(self.bank)

    def largest_stream_region(self) -> RegionState | None:
        """State of the stream region with the largest sample, if there is one."""
        opened = self.of_origin(Origin.STREAM)
        return max(opened, key=lambda w: len(w.sample)) if opened else None

    def affordable_windows(self) -> int:
        """Number of windows of an edit that the budget pays for now, at the usual passes."""
        passes = self.config.training.epochs * (1.0 - self.config.edits.held_out)
        return max(0, int(self._passes_left() / passes))

    def full_passes(self, windows: int) -> int:
        """Passes of the first training of an adapter: `edits.add_steps` steps, at least the usual passes.

        Args:
            windows: of the edit, held-out ones included.
        """
        training, edits = self.config.training, self.config.edits
        return max(training.epochs, math.ceil(edits.add_steps * training.batch_size / self._trained_on(windows)))

    def affordable_passes(self, windows: int) -> int:
        """Passes over an edit's windows that the budget pays for; at least the usual ones."""
        return max(self.config.training.epochs, int(self._passes_left() / self._trained_on(windows)))

    def _trained_on(self, windows: int) -> float:
        """Expected number of an edit's windows that are not held out."""
        return windows * (1.0 - self.config.edits.held_out)

    def _passes_left(self) -> float:
        """Passes over windows left in the budget, after those of pending edits."""
        training = self.config.training
        paid = (Operation.UPDATE, Operation.ADD)
        pending = sum(
            len(e.windows) * (e.passes or training.epochs) for e in self.pending.values() if e.operation in paid
        )
        return self.config.edits.passes_per_event * self.warm_events - self.trained_windows - pending

    def _detectors(self, region: Region, reference: Mapping[str, Sequence[Array]]) -> dict[str, list[DriftDetector]]:
        """Detectors of each signal that is switched on and that such a region has, one a phase."""
        used = signals.in_use(self.config.monitor, region.origin)
        statistics = sum(self._phases(signal) for signal in used) * len(self.bank.setup)

        def build(signal: Signal, phase: int, values: Array) -> DriftDetector:
            seed = signals.detector_seed(self.seed, region.region_id, signal, phase, used)
            binary, run = signal.score is None, self._expected_run(signal)
            return build_detector(self.config.monitor, values, run, statistics, seed, binary=binary)

        found = {signal: reference.get(signal.name, [np.zeros(0)] * self._phases(signal)) for signal in used}
        return {s.name: [build(s, phase, of) for phase, of in enumerate(values)] for s, values in found.items()}

    def _phases(self, signal: Signal) -> int:
        """Detectors that a region has for a signal."""
        return len(self.phases) if signal.overlap is Overlap.PHASES else 1

    def _expected_run(self, signal: Signal) -> float:
        """Least mean number of values between false alarms of a detector, from `monitor.expected_run` in events."""
        events = self.config.monitor.expected_run
        # A user's move shows in one event of a stride, and the phases share the false alarms.
        return events * len(self.phases) / self.stride if signal.overlap is Overlap.PHASES else events

    def _reference(self, calibration: Calibration, region_id: int) -> dict[str, list[Array]]:
        """Scores of a set-up region on held-out set-up windows, by signal, one array a phase."""
        of_region, left = calibration.regions == region_id, calibration.moved_from == region_id
        moves = [calibration.moved[left & (calibration.moved_lane == phase)] for phase in range(len(self.phases))]
        known = {s.name: [s.reference(calibration)[of_region]] for s in signals.SIGNALS if s.reference is not None}
        return known | {signal.name: moves for signal in signals.of_moves()}
